package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

// Thing is a record of the tests.
type Thing struct {
	ID    string `json:"id"`
	Owner string `json:"owner,omitempty"`
	Due   string `json:"due,omitempty"`
	Note  string `json:"note,omitempty"`
	// Shape is the record's format, so that a test can play a newer binary.
	Shape int `json:"-"`
}

// Meta places things by owner and by when they are due.
func (x *Thing) Meta() broker.Meta {
	m := broker.Meta{Kind: "thing", Key: x.ID, Format: max(1, x.Shape)}
	if x.Owner != "" {
		m.Index = append(m.Index, broker.Entry{Name: "owner/" + x.Owner}, broker.Entry{Name: "due", Order: x.Due})
	}
	return m
}

// Store holds a store to the contract of broker.Store. open gives an empty one, and closes it at the end
// of the test.
func Store(t *testing.T, open func(t *testing.T) broker.Store) {
	for name, test := range map[string]func(*testing.T, broker.Store){
		"LoadGivesWhatWasSaved":         loadSaved,
		"AbsentIsNotFound":              absent,
		"StaleFieldsDoNotSurviveALoad":  staleFields,
		"IndexesFollowTheRecord":        indexesFollow,
		"ScanGoesByOrderThenKey":        scanOrder,
		"ScanEndsEarly":                 scanStops,
		"SaveAndDeleteDuringAScan":      changeDuringScan,
		"KindsAndNamesDoNotRunTogether": separate,
		"ZeroByteInAnIndex":             zeroByte,
		"EventsAreNumbered":             events,
		"FailedUpdateLeavesNoEvent":     failedUpdate,
		"ModelOfRecordsIndexesAndLog":   storeModel,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func update(t *testing.T, s broker.Store, change func(broker.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

func save(t *testing.T, s broker.Store, things ...Thing) {
	t.Helper()
	update(t, s, func(tx broker.Tx) error {
		for _, x := range things {
			if err := tx.Save(&x); err != nil {
				return err
			}
		}
		return nil
	})
}

func ids(t *testing.T, s broker.Store, index string) (found []string) {
	t.Helper()
	err := s.View(t.Context(), func(r broker.Reader) error {
		var err error
		found, err = idsIn(r, index)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func idsIn(r broker.Reader, index string) (found []string, err error) {
	err = r.Scan("thing", index, func(raw []byte) error {
		var x Thing
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		found = append(found, x.ID)
		return nil
	})
	return found, err
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func loadSaved(t *testing.T, s broker.Store) {
	saved := Thing{ID: "a", Owner: "alice", Note: `<&> "quoted"` + "\u2028\x01é"}
	update(t, s, func(tx broker.Tx) error {
		if err := tx.Save(&saved); err != nil {
			return err
		}
		inside := Thing{ID: "a"}
		err := tx.Load(&inside)
		same(t, inside, saved)
		return err
	})
	loaded := Thing{ID: "a"}
	if err := s.View(t.Context(), func(r broker.Reader) error { return r.Load(&loaded) }); err != nil {
		t.Fatal(err)
	}
	same(t, loaded, saved)
}

func absent(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a"})
	update(t, s, func(tx broker.Tx) error { return tx.Delete(&Thing{ID: "a"}) })
	update(t, s, func(tx broker.Tx) error { return tx.Delete(&Thing{ID: "never"}) })
	err := s.View(t.Context(), func(r broker.Reader) error { return r.Load(&Thing{ID: "a"}) })
	if broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("got %v, want not found", err)
	}
}

func staleFields(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a", Owner: "alice", Note: "a sealed handle"})
	x := Thing{ID: "a"}
	update(t, s, func(tx broker.Tx) error {
		if err := tx.Load(&x); err != nil {
			return err
		}
		erased := Thing{ID: "a", Owner: "alice"}
		if err := tx.Save(&erased); err != nil {
			return err
		}
		return tx.Load(&x)
	})
	same(t, x, Thing{ID: "a", Owner: "alice"})
}

func indexesFollow(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a", Owner: "alice", Due: "1"}, Thing{ID: "b", Owner: "alice", Due: "2"})
	same(t, ids(t, s, "owner/alice"), []string{"a", "b"})
	save(t, s, Thing{ID: "a", Owner: "bob", Due: "3"})
	same(t, ids(t, s, "owner/alice"), []string{"b"})
	same(t, ids(t, s, "owner/bob"), []string{"a"})
	same(t, ids(t, s, "due"), []string{"b", "a"})
	save(t, s, Thing{ID: "a"})
	same(t, ids(t, s, "owner/bob"), []string(nil))
	// Delete knows the entries from the store, not from the record that it is given.
	update(t, s, func(tx broker.Tx) error { return tx.Delete(&Thing{ID: "b"}) })
	same(t, ids(t, s, "due"), []string(nil))
	same(t, ids(t, s, ""), []string{"a"})
}

func scanOrder(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "d", Owner: "x", Due: "10"}, Thing{ID: "c", Owner: "x", Due: "1"}, Thing{ID: "a", Owner: "x", Due: "2"},
		Thing{ID: "b", Owner: "x", Due: "1"}, Thing{ID: "e", Owner: "x"})
	same(t, ids(t, s, "due"), []string{"e", "b", "c", "d", "a"})
	same(t, ids(t, s, ""), []string{"a", "b", "c", "d", "e"})
	same(t, ids(t, s, "owner/x"), []string{"a", "b", "c", "d", "e"})
}

func scanStops(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a"}, Thing{ID: "b"})
	for _, end := range []error{broker.ErrStop, fmt.Errorf("wrapped: %w", broker.ErrStop), errTest} {
		count := 0
		err := s.View(t.Context(), func(r broker.Reader) error {
			return r.Scan("thing", "", func([]byte) error { count++; return end })
		})
		if count != 1 || (err != nil) != errors.Is(end, errTest) {
			t.Errorf("%v: got %v after %d", end, err, count)
		}
	}
}

func changeDuringScan(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a", Owner: "x", Due: "1"}, Thing{ID: "b", Owner: "x", Due: "2"}, Thing{ID: "c", Owner: "x", Due: "3"})
	var seen []string
	update(t, s, func(tx broker.Tx) error {
		return tx.Scan("thing", "due", func(raw []byte) error {
			var x Thing
			if err := json.Unmarshal(raw, &x); err != nil {
				return err
			}
			seen = append(seen, x.ID)
			x.Due = "9" + x.Due
			return errors.Join(tx.Save(&x), tx.Delete(&Thing{ID: "c"}))
		})
	})
	same(t, seen, []string{"a", "b"})
	same(t, ids(t, s, "due"), []string{"a", "b"})
}

// Other is a record whose kind begins like that of Thing.
type Other struct {
	ID string `json:"id"`
}

// Meta places it next to things.
func (o *Other) Meta() broker.Meta {
	return broker.Meta{Kind: "thing2", Key: o.ID, Format: 1, Index: []broker.Entry{{Name: "owner/x"}}}
}

func separate(t *testing.T, s broker.Store) {
	save(t, s, Thing{ID: "a", Owner: "x"}, Thing{ID: "b", Owner: "xy"}, Thing{ID: "c\x00d", Owner: "x"})
	update(t, s, func(tx broker.Tx) error { return tx.Save(&Other{ID: "o"}) })
	same(t, ids(t, s, "owner/x"), []string{"a", "c\x00d"})
	same(t, ids(t, s, ""), []string{"a", "b", "c\x00d"})
	same(t, ids(t, s, "owner"), []string(nil))
}

func zeroByte(t *testing.T, s broker.Store) {
	for _, x := range []Thing{{ID: "a", Owner: "x\x00y"}, {ID: "a", Owner: "x", Due: "1\x002"}, {ID: ""}} {
		if err := s.Update(t.Context(), func(tx broker.Tx) error { return tx.Save(&x) }); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
}

// Event makes one of the tests' events.
func Event(subject string) broker.Event {
	return broker.Event{
		Type: broker.EventLeaseIssued, Time: time.Date(2026, 11, 21, 8, 0, 0, 123456789, time.UTC),
		Actor: "agent:claude-code", Subject: subject, Data: json.RawMessage(`{"scopes":["a:<b>:read"]}`),
	}
}

func subjects(t *testing.T, s broker.Store, from uint64) (found []string) {
	t.Helper()
	err := s.View(t.Context(), func(r broker.Reader) error {
		return r.Events(from, func(number uint64, event broker.Event) error {
			same(t, event, Event(event.Subject))
			found = append(found, fmt.Sprintf("%d:%s", number, event.Subject))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func events(t *testing.T, s broker.Store) {
	same(t, height(t, s), uint64(0))
	for _, pair := range [][2]string{{"a", "b"}, {"c", "d"}} {
		update(t, s, func(tx broker.Tx) error {
			err := errors.Join(tx.Append(Event(pair[0])), tx.Append(Event(pair[1])))
			n, heightErr := tx.Height()
			if n%2 != 0 || n == 0 {
				t.Errorf("inside, the log has %d events", n)
			}
			return errors.Join(err, heightErr)
		})
	}
	same(t, subjects(t, s, 0), []string{"0:a", "1:b", "2:c", "3:d"})
	same(t, subjects(t, s, 3), []string{"3:d"})
	same(t, subjects(t, s, 4), []string(nil))
	same(t, height(t, s), uint64(4))
	count := 0
	err := s.View(t.Context(), func(r broker.Reader) error {
		return r.Events(0, func(uint64, broker.Event) error { count++; return broker.ErrStop })
	})
	if err != nil || count != 1 {
		t.Errorf("%v after %d", err, count)
	}
}

func height(t *testing.T, s broker.Store) (n uint64) {
	t.Helper()
	err := s.View(context.Background(), func(r broker.Reader) error {
		var err error
		n, err = r.Height()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func failedUpdate(t *testing.T, s broker.Store) {
	update(t, s, func(tx broker.Tx) error { return tx.Append(Event("a")) })
	err := s.Update(t.Context(), func(tx broker.Tx) error {
		return errors.Join(tx.Append(Event("lost")), tx.Save(&Thing{ID: "lost", Owner: "x"}), errTest)
	})
	if !errors.Is(err, errTest) {
		t.Error(err)
	}
	update(t, s, func(tx broker.Tx) error { return tx.Append(Event("b")) })
	same(t, subjects(t, s, 0), []string{"0:a", "1:b"})
	same(t, ids(t, s, "owner/x"), []string(nil))
}
