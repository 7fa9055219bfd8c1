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

// Backup implements store.Engine. The copy can be opened by Open. It is made by writing what is there
// into a new file, not by copying the old one: the old one's free pages still hold what was deleted.
// The new file lies beside the store until it has been read, so that a slow reader holds up nothing.
func (e *Engine) Backup(ctx context.Context, to io.Writer) (err error) {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	file, err := os.CreateTemp(filepath.Dir(e.db.Path()), "backup-*.new") // mode 0600
	if err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	defer func() {
		err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	}()
	if err := e.compactInto(file.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(untilDone{ctx, to}, file); err != nil {
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

// untilDone is a writer that ends with its context.
type untilDone struct {
	ctx context.Context //nolint:containedctx // lives for one call of Backup
	to  io.Writer
}

func (w untilDone) Write(p []byte) (n int, err error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}
