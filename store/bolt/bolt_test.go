package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *Engine {
	t.Helper()
	e, err := Open(path, Options{LockTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func fresh(t testing.TB) *Engine {
	return open(t, filepath.Join(t.TempDir(), "data", "hourkey.db"))
}

func put(e *Engine, key, value string) error {
	return e.Update(context.Background(), func(c store.Change) error { return c.Put([]byte(key), []byte(value)) })
}

func read(t *testing.T, e *Engine, key string) string {
	t.Helper()
	var value string
	err := e.View(t.Context(), func(s store.Snapshot) error {
		raw, err := s.Get([]byte(key))
		value = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestConformance(t *testing.T) {
	storetest.Engine(t, func(t *testing.T) store.Engine { return fresh(t) })
}

func TestSecondBrokerOnTheSameStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	open(t, path)
	_, err := Open(path, Options{LockTimeout: 100 * time.Millisecond})
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "in use by another broker") {
		t.Errorf("got %v", err)
	}
}

func TestStoreReadableByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	e := open(t, path)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOpenOfWhatIsNoStore(t *testing.T) {
	folder := t.TempDir()
	if _, err := Open(folder, Options{}); err == nil {
		t.Error("a folder was opened")
	}
	path := filepath.Join(folder, "text")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no store "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("got %v", err)
	}
}

func TestStateSurvivesClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	e := open(t, path)
	if err := put(e, "a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if err := put(e, "b", "2"); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("Update after Close: %v", err)
	}
	if err := e.View(t.Context(), func(store.Snapshot) error { return nil }); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("View after Close: %v", err)
	}
	if got := read(t, open(t, path), "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
}

// What is queued when Close comes is still committed, or refused: nobody waits for ever.
func TestCloseUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	e := open(t, path)
	var wait sync.WaitGroup
	var kept sync.Map
	for i := range 32 {
		wait.Go(func() {
			key := string(rune('A' + i))
			if put(e, key, "1") == nil {
				kept.Store(key, true)
			}
		})
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	again := open(t, path)
	kept.Range(func(key, _ any) bool {
		if read(t, again, key.(string)) != "1" {
			t.Errorf("%v was confirmed and is gone", key)
		}
		return true
	})
}

func TestBackupOpensWhileWorkGoesOn(t *testing.T) {
	e := fresh(t)
	if err := put(e, "before", "1"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = e.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
		if err := put(e, "during", "1"); err != nil {
			t.Error(err)
		}
		return file.Write(p)
	}))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	copied := open(t, path)
	if read(t, copied, "before") != "1" || read(t, copied, "during") != "" {
		t.Error("the copy is not the state when it was begun")
	}
}

func TestInterruptedBackupIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	left := filepath.Join(filepath.Dir(path), "backup-123.new")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Index entries are empty values: a copy must not take them for something else.
func TestBackupKeepsEmptyValues(t *testing.T) {
	e := fresh(t)
	if err := errors.Join(put(e, "empty", ""), put(e, "full", "1")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	var out bytes.Buffer
	if err := errors.Join(e.Backup(t.Context(), &out), os.WriteFile(path, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	err := open(t, path).View(t.Context(), func(s store.Snapshot) error {
		if value, err := s.Get([]byte("empty")); value == nil || err != nil {
			t.Error("it is gone", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(e.db.Path()), leftovers)); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestObserverSeesEachCommit(t *testing.T) {
	var seen []time.Duration
	clock := time.Unix(0, 0)
	e, err := Open(filepath.Join(t.TempDir(), "db"), Options{
		Now:     func() time.Time { clock = clock.Add(time.Second); return clock },
		Observe: func(took time.Duration) { seen = append(seen, took) },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(put(e, "a", "1"), e.Update(t.Context(), func(store.Change) error { return nil }), put(e, "b", "1"), e.Close())
	if err != nil || len(seen) != 2 || seen[0] != time.Second {
		t.Errorf("%v, %v: a change without writes needs no commit", seen, err)
	}
}

var errDisk = errors.New("input/output error")

// A commit that fails before it becomes current: everybody in the group hears it, also who only looked at a
// neighbour's work, and nothing of it remains.
func TestCommitFails(t *testing.T) {
	e := fresh(t)
	real := e.commit
	e.commit = func(tx *bbolt.Tx) error { return errors.Join(errDisk, tx.Rollback()) }
	entered, leave := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		_ = e.Update(t.Context(), func(store.Change) error { close(entered); <-leave; return nil })
	})
	<-entered
	started := make(chan struct{}, 2)
	wait.Go(func() {
		started <- struct{}{}
		if err := put(e, "a", "1"); !errors.Is(err, errDisk) || broker.CodeOf(err) != broker.CodeUnavailable {
			t.Errorf("the writer got %v", err)
		}
	})
	<-started
	for len(e.queued()) < 1 {
		time.Sleep(time.Millisecond)
	}
	wait.Go(func() {
		err := e.Update(t.Context(), func(c store.Change) error {
			if seen, _ := c.Get([]byte("a")); string(seen) != "1" {
				t.Error("the neighbour's write is not seen")
			}
			return nil
		})
		if !errors.Is(err, errDisk) {
			t.Errorf("the neighbour that saw it got %v", err)
		}
	})
	for len(e.queued()) < 2 {
		time.Sleep(time.Millisecond)
	}
	close(leave)
	wait.Wait()
	e.commit = real
	if read(t, e, "a") != "" {
		t.Error("something of the failed commit remains")
	}
	if err := put(e, "b", "2"); err != nil {
		t.Errorf("it does not recover: %v", err)
	}
}

func (e *Engine) queued() []*call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.queue
}

// Only the last sync fails: the new state is seen already. A further commit settles it.
func TestLastSyncFailsOnce(t *testing.T) {
	e := fresh(t)
	real, failures := e.commit, 1
	e.commit = func(tx *bbolt.Tx) error {
		err := real(tx)
		if failures--; failures >= 0 {
			return errDisk
		}
		return err
	}
	if err := put(e, "a", "1"); err != nil {
		t.Errorf("a change that became durable is reported as %v", err)
	}
	failures = 2
	err := put(e, "b", "2")
	if !errors.Is(err, errUncertain) || broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if err := put(e, "c", "3"); err != nil {
		t.Errorf("it does not recover: %v", err)
	}
}
