package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// engineModel holds the engine against a map: changes of random puts, deletes and scans, some of which fail.
func engineModel(t *testing.T, e store.Engine) {
	model := map[string]string{}
	key := rapid.StringMatching(`[abc]{1,3}`)
	rapid.Check(t, func(r *rapid.T) {
		next := maps.Clone(model)
		fails := rapid.IntRange(0, 3).Draw(r, "fails") == 0
		err := e.Update(t.Context(), func(c store.Change) error {
			for range rapid.IntRange(1, 12).Draw(r, "steps") {
				step(r, c, next, key)
			}
			if fails {
				return errTest
			}
			return nil
		})
		if fails != errors.Is(err, errTest) {
			r.Fatal(err)
		}
		if !fails {
			model = next
		}
		if got := all(t, e); got != show(model, "", "") {
			r.Fatalf("got %q, want %q", got, show(model, "", ""))
		}
	})
}

func step(r *rapid.T, c store.Change, model map[string]string, key *rapid.Generator[string]) {
	k := key.Draw(r, "key")
	switch rapid.IntRange(0, 3).Draw(r, "do") {
	case 0:
		v := rapid.StringMatching(`[xyz]{0,3}`).Draw(r, "value")
		model[k] = v
		must(r, c.Put([]byte(k), []byte(v)))
	case 1:
		delete(model, k)
		must(r, c.Delete([]byte(k)))
	case 2:
		got, err := c.Get([]byte(k))
		must(r, err)
		if v, found := model[k]; found != (got != nil) || v != string(got) {
			r.Fatalf("%s is %q, want %q (%t)", k, got, v, found)
		}
	default:
		to := key.Draw(r, "to")
		if got := scan(c, k, to); got != show(model, k, to) {
			r.Fatalf("%s to %s: got %q, want %q", k, to, got, show(model, k, to))
		}
	}
}

func show(model map[string]string, from, to string) string {
	out := ""
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= from && (to == "" || k < to) {
			out += fmt.Sprintf("%s=%s ", k, model[k])
		}
	}
	return out
}

func must(r *rapid.T, err error) {
	if err != nil {
		r.Fatal(err)
	}
}

// storeModel holds the store against a map of records and a list of events.
func storeModel(t *testing.T, s broker.Store) {
	records, log := map[string]Thing{}, []string(nil)
	rapid.Check(t, func(r *rapid.T) {
		next, appended := maps.Clone(records), slices.Clone(log)
		fails := rapid.IntRange(0, 3).Draw(r, "fails") == 0
		err := s.Update(t.Context(), func(tx broker.Tx) error {
			for range rapid.IntRange(1, 8).Draw(r, "steps") {
				appended = storeStep(r, tx, next, appended)
			}
			for _, index := range []string{"", "owner/a", "owner/b", "due"} {
				got, err := idsIn(tx, index)
				must(r, err)
				equal(r, index, got, expected(next, index))
			}
			if fails {
				return errTest
			}
			return nil
		})
		if fails != errors.Is(err, errTest) {
			r.Fatal(err)
		}
		if !fails {
			records, log = next, appended
		}
		for _, index := range []string{"", "owner/a", "owner/b", "due"} {
			equal(r, index, ids(t, s, index), expected(records, index))
		}
		equal(r, "events", subjects(t, s, 0), log)
	})
}

func storeStep(r *rapid.T, tx broker.Tx, records map[string]Thing, log []string) []string {
	id := rapid.StringMatching(`[abc]{1,2}`).Draw(r, "id")
	switch rapid.IntRange(0, 2).Draw(r, "do") {
	case 0:
		x := Thing{ID: id, Owner: rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "owner"), Due: rapid.StringMatching(`[12]{0,2}`).Draw(r, "due")}
		records[id] = x
		must(r, tx.Save(&x))
	case 1:
		delete(records, id)
		must(r, tx.Delete(&Thing{ID: id}))
	default:
		must(r, tx.Append(Event(id)))
		log = append(log, fmt.Sprintf("%d:%s", len(log), id))
	}
	return log
}

// expected lists the ids of an index by order, then key.
func expected(records map[string]Thing, index string) (found []string) {
	things := slices.SortedFunc(maps.Values(records), func(a, b Thing) int {
		if index == "due" {
			return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for _, x := range things {
		if index == "" || index == "owner/"+x.Owner || index == "due" && x.Owner != "" {
			found = append(found, x.ID)
		}
	}
	return found
}

func equal(r *rapid.T, what string, got, want []string) {
	if !slices.Equal(got, want) {
		r.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
