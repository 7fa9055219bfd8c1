package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func engine(t testing.TB) *bolt.Engine {
	t.Helper()
	e, err := bolt.Open(filepath.Join(t.TempDir(), "hourkey.db"), bolt.Options{})
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

func on(t testing.TB, e store.Engine, formats map[string]int) (*store.Store, error) {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC) }
	return store.Open(e, auditlog.New(e, auditlog.Options{Now: now}), store.Options{Formats: formats})
}

func open(t testing.TB) *store.Store {
	t.Helper()
	s, err := on(t, engine(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Store(t, func(t *testing.T) broker.Store { return open(t) })
}

func saveThing(s *store.Store, x storetest.Thing) error {
	return s.Update(context.Background(), func(tx broker.Tx) error { return tx.Save(&x) })
}

func TestOldBinaryRefusesNewFormat(t *testing.T) {
	e := engine(t)
	newer, err := on(t, e, map[string]int{"thing": 2})
	if err != nil {
		t.Fatal(err)
	}
	old, err := on(t, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveThing(newer, storetest.Thing{ID: "a", Owner: "x", Shape: 2}); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if broker.CodeOf(err) != broker.CodeConflict || !strings.Contains(err.Error(), "format 2") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	_, err = on(t, e, nil)
	refused("Open", err)
	refused("Load", old.View(t.Context(), func(r broker.Reader) error { return r.Load(&storetest.Thing{ID: "a"}) }))
	for _, index := range []string{"", "owner/x"} {
		refused("Scan "+index, old.View(t.Context(), func(r broker.Reader) error {
			return r.Scan("thing", index, func([]byte) error { return nil })
		}))
	}
	refused("Save", saveThing(old, storetest.Thing{ID: "a"}))
	refused("Delete", old.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(&storetest.Thing{ID: "a"}) }))
}

func TestNewBinaryReadsOldFormat(t *testing.T) {
	e := engine(t)
	old, err := on(t, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveThing(old, storetest.Thing{ID: "a", Note: "old"}); err != nil {
		t.Fatal(err)
	}
	newer, err := on(t, e, map[string]int{"thing": 2})
	if err != nil {
		t.Fatal(err)
	}
	x := storetest.Thing{ID: "a", Shape: 2}
	if err := newer.View(t.Context(), func(r broker.Reader) error { return r.Load(&x) }); err != nil || x.Note != "old" {
		t.Errorf("%+v, %v", x, err)
	}
}

// A format that nobody announced must not be written: the next start would refuse the store.
func TestUnannouncedFormatIsNotWritten(t *testing.T) {
	if err := saveThing(open(t), storetest.Thing{ID: "a", Shape: 2}); broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("got %v", err)
	}
}

func TestDamagedRecordIsAnError(t *testing.T) {
	e := engine(t)
	s, err := on(t, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveThing(s, storetest.Thing{ID: "a", Owner: "x"}); err != nil {
		t.Fatal(err)
	}
	var good []byte
	key := []byte("rthing\x00a")
	if err := e.View(t.Context(), func(r store.Snapshot) error {
		raw, err := r.Get(key)
		good = append(good, raw...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for cut := range len(good) {
		err := e.Update(t.Context(), func(c store.Change) error { return c.Put(key, good[:cut:cut]) })
		if err != nil {
			t.Fatal(err)
		}
		x := storetest.Thing{ID: "a"}
		if err := s.View(t.Context(), func(r broker.Reader) error { return r.Load(&x) }); err == nil {
			t.Errorf("cut at %d it loads as %+v", cut, x)
		}
	}
	newer := append([]byte{9}, good[1:]...)
	if err := e.Update(t.Context(), func(c store.Change) error { return c.Put(key, newer) }); err != nil {
		t.Fatal(err)
	}
	if err := saveThing(s, storetest.Thing{ID: "a"}); err == nil {
		t.Error("an envelope of another layout was overwritten")
	}
}

func TestLoadIntoValue(t *testing.T) {
	err := open(t).View(t.Context(), func(r broker.Reader) error { return r.Load(valueRecord{}) })
	if broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("got %v", err)
	}
}

type valueRecord struct{}

func (valueRecord) Meta() broker.Meta { return broker.Meta{Kind: "value", Key: "k", Format: 1} }

func TestFollowMissesNothing(t *testing.T) {
	const total = 600
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan uint64, total)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Follow(ctx, 5, func(number uint64, _ broker.Event) error { seen <- number; return nil })
	}()
	for range total {
		err := s.Update(ctx, func(tx broker.Tx) error { return tx.Append(storetest.Event("a")) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for number := uint64(5); number < total; number++ {
		if got := <-seen; got != number {
			t.Fatalf("got event %d, want %d", got, number)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the end that was asked for is reported as %v", err)
	}
	stop := errors.New("enough")
	if err := s.Follow(t.Context(), 0, func(uint64, broker.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkSaveLeaseAndAppend(b *testing.B) {
	s := open(b)
	lease := broker.Lease{ID: "01j9zq", Request: "01j9zr", Agent: "claude-code", State: broker.LeaseLive, Created: time.Now(), Expires: time.Now()}
	event := storetest.Event("01j9zq")
	event.Data, _ = json.Marshal(lease)
	b.ReportAllocs()
	err := s.Update(b.Context(), func(tx broker.Tx) error {
		for b.Loop() {
			if err := errors.Join(tx.Save(&lease), tx.Append(event)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
