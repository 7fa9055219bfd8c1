// Package storetest is what every engine, and every store on it, must pass.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hourkey/hourkey/store"
)

// Engine holds an engine to the contract of store.Engine. open gives an empty one, and closes it at the
// end of the test.
func Engine(t *testing.T, open func(t *testing.T) store.Engine) {
	for name, test := range map[string]func(*testing.T, store.Engine){
		"ScanIsOrderedAndBounded":       scanIsOrdered,
		"ScanShowsTheStateAtItsBegin":   scanIsStable,
		"FailedChangeLeavesNothing":     failedChange,
		"PanickingChangeLeavesNothing":  panickingChange,
		"ExitingChangeStopsNobody":      exitingChange,
		"EachChangeRunsOnceAndAlone":    runsOnce,
		"FailingNeighboursInGroup":      failingNeighbours,
		"ViewSeesNoHalfChange":          wholeChanges,
		"CancelledBeforeItsTurn":        cancelled,
		"EmptyAndHugeKeysAreRefused":    badKeys,
		"ChangeUsedAfterItsEnd":         usedAfterEnd,
		"BackupOfARunningEngine":        backup,
		"ModelOfOverlappingChanges":     engineModel,
		"EmptyValueIsNotAbsent":         emptyValue,
		"ErrorOfEachEndsTheScan":        scanError,
		"AnsweredOnlyAfterTheNeighbour": seesNeighbours,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var errTest = errors.New("as the test wants it")

// put writes pairs "k", "v", "k", "v", …
func put(t *testing.T, e store.Engine, pairs ...string) {
	t.Helper()
	err := e.Update(t.Context(), func(c store.Change) error { return putAll(c, pairs...) })
	if err != nil {
		t.Fatal(err)
	}
}

func putAll(c store.Change, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := c.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// scan gives "k=v k=v …" of a range; an empty to is no end.
func scan(s store.Snapshot, from, to string) string {
	var out bytes.Buffer
	var end []byte
	if to != "" {
		end = []byte(to)
	}
	err := s.Scan([]byte(from), end, func(key, value []byte) error {
		fmt.Fprintf(&out, "%s=%s ", key, value)
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return out.String()
}

func all(t *testing.T, e store.Engine) string {
	t.Helper()
	var out string
	if err := e.View(t.Context(), func(s store.Snapshot) error { out = scan(s, "", ""); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func scanIsOrdered(t *testing.T, e store.Engine) {
	put(t, e, "b", "2", "a", "1", "c", "3", "ab", "12", "\xff", "z")
	want(t, all(t, e), "a=1 ab=12 b=2 c=3 \xff=z ")
	err := e.Update(t.Context(), func(c store.Change) error {
		if err := putAll(c, "aa", "own", "b", "own"); err != nil {
			return err
		}
		if err := c.Delete([]byte("ab")); err != nil {
			return err
		}
		want(t, scan(c, "a", "c"), "a=1 aa=own b=own ")
		want(t, scan(c, "aa", ""), "aa=own b=own c=3 \xff=z ")
		want(t, scan(c, "x", "x"), "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, all(t, e), "a=1 aa=own b=own c=3 \xff=z ")
}

func scanIsStable(t *testing.T, e store.Engine) {
	put(t, e, "a", "1", "b", "2", "c", "3")
	var seen []string
	err := e.Update(t.Context(), func(c store.Change) error {
		if err := putAll(c, "d", "4"); err != nil {
			return err
		}
		return c.Scan([]byte("a"), nil, func(key, _ []byte) error {
			seen = append(seen, string(key))
			if err := c.Delete([]byte("c")); err != nil {
				return err
			}
			return c.Put([]byte("z"+string(key)), []byte("new"))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, fmt.Sprint(seen), "[a b c d]")
	want(t, all(t, e), "a=1 b=2 d=4 za=new zb=new zc=new zd=new ")
}

func failedChange(t *testing.T, e store.Engine) {
	put(t, e, "a", "1")
	err := e.Update(t.Context(), func(c store.Change) error {
		if err := errors.Join(putAll(c, "a", "2", "b", "2"), c.Delete([]byte("a"))); err != nil {
			return err
		}
		return errTest
	})
	if !errors.Is(err, errTest) {
		t.Errorf("got %v, want the change's own error", err)
	}
	want(t, all(t, e), "a=1 ")
}

func panickingChange(t *testing.T, e store.Engine) {
	put(t, e, "a", "1")
	err := e.Update(t.Context(), func(c store.Change) error {
		_ = putAll(c, "a", "2")
		panic("as the test wants it")
	})
	if err == nil {
		t.Error("a panic was taken for success")
	}
	put(t, e, "b", "2")
	want(t, all(t, e), "a=1 b=2 ")
}

// A function that ends its goroutine, as a failing test does, must not leave the engine waiting for it.
func exitingChange(t *testing.T, e store.Engine) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = e.Update(t.Context(), func(c store.Change) error {
			_ = putAll(c, "a", "1")
			runtime.Goexit()
			return nil
		})
	}()
	<-gone
	put(t, e, "b", "2")
	want(t, all(t, e), "b=2 ")
}

func runsOnce(t *testing.T, e store.Engine) {
	const clients, each = 32, 20
	var inside, ran atomic.Int32
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range each {
				err := e.Update(t.Context(), func(c store.Change) error {
					if inside.Add(1) != 1 {
						t.Error("two changes at once")
					}
					defer inside.Add(-1)
					ran.Add(1)
					return increment(c, "n")
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	want(t, all(t, e), fmt.Sprintf("n=%d ", clients*each))
	want(t, fmt.Sprint(ran.Load()), fmt.Sprint(clients*each))
}

func increment(c store.Change, key string) error {
	raw, err := c.Get([]byte(key))
	if err != nil {
		return err
	}
	n := 0
	if raw != nil {
		if _, err := fmt.Sscan(string(raw), &n); err != nil {
			return err
		}
	}
	return putAll(c, key, fmt.Sprint(n+1))
}

// Every third client fails, by error or by panic, after it has written; the others' work is whole.
func failingNeighbours(t *testing.T, e store.Engine) {
	const clients = 60
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			err := e.Update(t.Context(), func(c store.Change) error {
				if err := errors.Join(increment(c, "n"), putAll(c, fmt.Sprintf("own-%02d", i), "x")); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return errTest
				case 2:
					panic("as the test wants it")
				}
				return nil
			})
			if (err == nil) != (i%3 == 0) {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	expect := fmt.Sprintf("n=%d ", clients/3)
	for i := 0; i < clients; i += 3 {
		expect += fmt.Sprintf("own-%02d=x ", i)
	}
	want(t, all(t, e), expect)
}

func wholeChanges(t *testing.T, e store.Engine) {
	put(t, e, "a", "0", "b", "0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			n := fmt.Sprint(i)
			if err := e.Update(t.Context(), func(c store.Change) error { return putAll(c, "a", n, "b", n) }); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		err := e.View(t.Context(), func(s store.Snapshot) error {
			a, _ := s.Get([]byte("a"))
			b, _ := s.Get([]byte("b"))
			if !bytes.Equal(a, b) {
				t.Errorf("a is %s while b is %s", a, b)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A caller that gives up while it is queued gets its error, and its function never runs.
func cancelled(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan struct{}), make(chan struct{})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		first <- e.Update(t.Context(), func(c store.Change) error {
			close(entered)
			<-leave
			return putAll(c, "a", "1")
		})
	}()
	<-entered
	go func() {
		second <- e.Update(ctx, func(c store.Change) error { return putAll(c, "b", "2") })
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	want(t, all(t, e), "a=1 ")
	if err := e.View(ctx, func(store.Snapshot) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: got %v, want the context's error", err)
	}
}

func badKeys(t *testing.T, e store.Engine) {
	for _, key := range [][]byte{nil, {}, bytes.Repeat([]byte("x"), 1<<16)} {
		err := e.Update(t.Context(), func(c store.Change) error { return c.Put(key, []byte("v")) })
		if err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	want(t, all(t, e), "")
}

func usedAfterEnd(t *testing.T, e store.Engine) {
	var kept store.Change
	if err := e.Update(t.Context(), func(c store.Change) error { kept = c; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := kept.Put([]byte("a"), []byte("1")); err == nil {
		t.Error("a change was taken after its end")
	}
	want(t, all(t, e), "")
}

func backup(t *testing.T, e store.Engine) {
	put(t, e, "a", "1")
	var out bytes.Buffer
	if err := e.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if out.Len() == 0 {
		t.Error("the backup is empty")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Backup(ctx, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func emptyValue(t *testing.T, e store.Engine) {
	err := e.Update(t.Context(), func(c store.Change) error {
		if err := c.Put([]byte("a"), nil); err != nil {
			return err
		}
		if value, err := c.Get([]byte("a")); value == nil || err != nil {
			t.Error("its own empty value is absent", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = e.View(t.Context(), func(s store.Snapshot) error {
		if value, err := s.Get([]byte("a")); value == nil || err != nil {
			t.Error("a stored empty value is absent", err)
		}
		if value, err := s.Get([]byte("b")); value != nil || err != nil {
			t.Error("what was never put is there", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func scanError(t *testing.T, e store.Engine) {
	put(t, e, "a", "1", "b", "2")
	count := 0
	err := e.View(t.Context(), func(s store.Snapshot) error {
		return s.Scan([]byte("a"), nil, func([]byte, []byte) error { count++; return errTest })
	})
	if !errors.Is(err, errTest) || count != 1 {
		t.Errorf("got %v after %d entries", err, count)
	}
}

// A change sees what those before it wrote, whether or not they share its commit.
func seesNeighbours(t *testing.T, e store.Engine) {
	const clients = 40
	var wait sync.WaitGroup
	var winners atomic.Int32
	for range clients {
		wait.Go(func() {
			err := e.Update(t.Context(), func(c store.Change) error {
				if taken, err := c.Get([]byte("prize")); err != nil || taken != nil {
					return errTest
				}
				return putAll(c, "prize", "mine")
			})
			if err == nil {
				winners.Add(1)
			}
		})
	}
	wait.Wait()
	want(t, fmt.Sprint(winners.Load()), "1")
}
