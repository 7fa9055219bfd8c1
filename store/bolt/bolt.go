// Package bolt is the embedded store engine: bbolt, with a group commit that does not wait.
//
// It owns: the data file, its lock and its mode, and the order in which updates are carried out.
//
// It does not know: what the keys and values mean.
//
// It trusts: the operating system's fdatasync, and that nobody else writes to the file.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// Options of an Engine. The zero value is good.
type Options struct {
	LockTimeout time.Duration // how long Open waits for another broker to leave; default 1 s
	// Observe is told how long each commit took on the disk. It needs Now.
	Observe func(time.Duration)
	Now     func() time.Time
}

// Engine implements store.Engine on one file. Close it.
type Engine struct {
	db     *bbolt.DB
	commit func(*bbolt.Tx) error // (*bbolt.Tx).Commit; tests make it fail
	watch  func() (stop func())

	mu     sync.Mutex
	queue  []*call    // waiting for the next commit
	led    bool       // somebody carries out a group
	idle   *sync.Cond // on mu: led became false
	closed bool
}

var _ store.Engine = (*Engine)(nil)

// pairs is the one bucket of the file.
var pairs = []byte("hourkey")

const (
	fileMode   = 0o600
	folderMode = 0o700
	// mapped is the address space set aside for the file. While the file is smaller, a long View, like
	// a backup, never makes an Update wait. It is no memory.
	mapped32, mapped64 = 256 << 20, 8 << 30
)

// Open opens the file at path, and makes it and its folder if they are not there: for the owner alone. A file that
// others could read is closed to them. A file that another process has open is CodeUnavailable.
func Open(path string, options Options) (*Engine, error) {
	if options.LockTimeout <= 0 {
		options.LockTimeout = time.Second
	}
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	db, err := bbolt.Open(path, fileMode, &bbolt.Options{
		Timeout: options.LockTimeout, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		InitialMmapSize: mapped(), OpenFile: openFile,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, broker.Errorf(broker.CodeUnavailable, "the store %s is in use by another broker", path).
			WithNext("stop the other hourkeyd first; commands for a running one go over its admin socket")
	}
	if err != nil {
		return nil, broker.Errorf(broker.CodeInternal, "the store %s cannot be opened", path).Because(err)
	}
	e := &Engine{db: db, commit: (*bbolt.Tx).Commit, watch: watcher(options)}
	e.idle = sync.NewCond(&e.mu)
	if err := errors.Join(e.makeBucket(), removeLeftovers(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return e, nil
}

func (e *Engine) makeBucket() error {
	found := false
	err := e.db.View(func(tx *bbolt.Tx) error {
		found = tx.Bucket(pairs) != nil
		return nil
	})
	if err != nil || found {
		return err
	}
	err = e.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(pairs)
		return err
	})
	return cannotWrite(err)
}

// openFile opens like os.OpenFile and takes the file's rights away from everybody but its owner.
func openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && info.Mode().Perm()&^fileMode != 0 {
		err = file.Chmod(fileMode)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func mapped() int {
	if strconv.IntSize == 64 {
		wide := int64(mapped64)
		return int(wide)
	}
	return mapped32
}

// watcher gives what measures one commit.
func watcher(options Options) func() func() {
	if options.Observe == nil || options.Now == nil {
		return func() func() { return func() {} }
	}
	return func() func() {
		start := options.Now()
		return func() { options.Observe(options.Now().Sub(start)) }
	}
}

// View implements store.Engine.
func (e *Engine) View(ctx context.Context, read func(store.Snapshot) error) error {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	err := e.db.View(func(tx *bbolt.Tx) error { return read(snapshot{tx.Bucket(pairs)}) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return errClosed()
	}
	return err
}

// Close commits what is queued, refuses what comes later, and closes the file. It waits for open Views.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	for e.led {
		e.idle.Wait()
	}
	return e.db.Close()
}

func errClosed() error {
	return broker.Errorf(broker.CodeUnavailable, "the store is closed: the broker is stopping")
}

func gaveUp(err error) error {
	return broker.Errorf(broker.CodeUnavailable, "the caller gave up before the store came to it; nothing was changed").Because(err)
}

// cannotWrite says what remains of a commit that failed: nothing, but for the rare case that durable tells of.
func cannotWrite(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errUncertain) {
		return broker.Errorf(broker.CodeUnavailable, "the disk failed while a change became current; it may have been kept").Because(err).
			WithNext("look at the disk of the data folder; what was kept is swept like after a crash")
	}
	problem := broker.Errorf(broker.CodeUnavailable, "the store cannot be written; nothing was changed").Because(err)
	if isFull(err) {
		problem.Message = "the disk of the store is full; nothing was changed"
		return problem.WithNext("free space for the data folder; the broker goes on by itself")
	}
	return problem
}

// isFull also looks at the words, because bbolt keeps only those of some causes.
func isFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
