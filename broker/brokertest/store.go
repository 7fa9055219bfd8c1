// Package brokertest holds what tests of the broker and of its callers need: a store in memory that
// records events and can fail, a clock that is set by hand, an issuer that keeps its credentials in a
// map, and a passkey that signs without a browser.
//
// It is imported by tests alone.
package brokertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// Store is a broker.Store in memory. The zero value is ready.
type Store struct {
	mu      sync.Mutex
	records map[string]entry // kind NUL key → record
	events  []broker.Event
	fail    error // what every Update answers, nil for none
	updates int
}

type entry struct {
	meta broker.Meta
	json []byte
}

var _ broker.Store = (*Store)(nil)

// Fail makes every Update fail with err, as a full disk would; nil mends it.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Log gives the events so far.
func (s *Store) Log() []broker.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Updates counts the successful updates so far.
func (s *Store) Updates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates
}

// View runs read on the present state.
func (s *Store) View(ctx context.Context, read func(broker.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	view := &tx{records: maps.Clone(s.records), events: s.events}
	s.mu.Unlock()
	return read(view)
}

// Update runs change on a copy, which replaces the state when change returns nil.
func (s *Store) Update(ctx context.Context, change func(broker.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	next := &tx{records: maps.Clone(s.records), events: slices.Clone(s.events)}
	if next.records == nil {
		next.records = map[string]entry{}
	}
	if err := change(next); err != nil {
		return err
	}
	s.records, s.events = next.records, next.events
	s.updates++
	return nil
}

type tx struct {
	records map[string]entry
	events  []broker.Event
}

func place(m broker.Meta) string { return m.Kind + "\x00" + m.Key }

func (t *tx) Load(record broker.Record) error {
	meta := record.Meta()
	found, ok := t.records[place(meta)]
	if !ok {
		return broker.Errorf(broker.CodeNotFound, "no %s %q", meta.Kind, meta.Key)
	}
	return json.Unmarshal(found.json, record)
}

func (t *tx) Scan(kind, index string, each func([]byte) error) error {
	type found struct {
		order, key string
		json       []byte
	}
	var all []found
	for _, e := range t.records {
		if e.meta.Kind != kind {
			continue
		}
		if index == "" {
			all = append(all, found{"", e.meta.Key, e.json})
		}
		for _, i := range e.meta.Index {
			if index != "" && i.Name == index {
				all = append(all, found{i.Order, e.meta.Key, e.json})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(strings.Compare(a.order, b.order), strings.Compare(a.key, b.key))
	})
	for _, f := range all {
		if err := each(f.json); err != nil {
			return unlessStop(err)
		}
	}
	return nil
}

func (t *tx) Events(from uint64, each func(uint64, broker.Event) error) error {
	for n := from; n < uint64(len(t.events)); n++ {
		if err := each(n, t.events[n]); err != nil {
			return unlessStop(err)
		}
	}
	return nil
}

func (t *tx) Height() (uint64, error) { return uint64(len(t.events)), nil }

func unlessStop(err error) error {
	if errors.Is(err, broker.ErrStop) {
		return nil
	}
	return err
}

func (t *tx) Save(record broker.Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	meta := record.Meta()
	t.records[place(meta)] = entry{meta, raw}
	return nil
}

func (t *tx) Delete(record broker.Record) error {
	delete(t.records, place(record.Meta()))
	return nil
}

func (t *tx) Append(event broker.Event) error {
	t.events = append(t.events, event)
	return nil
}
