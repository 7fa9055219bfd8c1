package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// moved is how many bytes of the copy are written per transaction.
const moved = 4 << 20

// leftovers is how the copies are named.
const leftovers = "backup-*.new"

// Backup implements store.Engine. The copy can be opened by Open. It is made by writing what is there
// into a new file, not by copying the old one: the old one's free pages still hold what was deleted.
// The new file lies beside the store until it has been read, so that a slow reader holds up nothing.
func (e *Engine) Backup(ctx context.Context, to io.Writer) (err error) {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	file, err := os.CreateTemp(filepath.Dir(e.db.Path()), leftovers) // mode 0600
	if err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	defer func() {
		err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	}()
	if err := e.compactInto(file.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(untilDone(ctx, to), file); err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	return nil
}

func (e *Engine) compactInto(path string) error {
	copied, err := bbolt.Open(path, fileMode, &bbolt.Options{NoSync: true, NoGrowSync: true, NoStatistics: true})
	if err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	err = bbolt.Compact(copied, e.db, moved)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = errClosed()
	}
	return errors.Join(cannotCopy(err), copied.Close())
}

func cannotCopy(err error) error {
	if err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	return nil
}

// untilDone gives a writer that ends with the context.
func untilDone(ctx context.Context, to io.Writer) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return to.Write(p)
	})
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// removeLeftovers removes what a backup left that a crash has interrupted. The store's lock is held.
func removeLeftovers(folder string) error {
	left, err := filepath.Glob(filepath.Join(folder, leftovers))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
