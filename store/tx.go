package store

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"

	"github.com/hourkey/hourkey/broker"
)

// reader implements broker.Reader on one snapshot.
type reader struct {
	store    *Store
	snapshot Snapshot
}

// tx implements broker.Tx on one change.
type tx struct {
	reader
	change   Change
	appended bool
}

var (
	_ broker.Reader = (*reader)(nil)
	_ broker.Tx     = (*tx)(nil)
)

// Load implements broker.Reader. The record is emptied first, so that no field of an earlier use
// survives where the stored JSON leaves it out.
func (r *reader) Load(record broker.Record) error {
	m := record.Meta()
	target := reflect.ValueOf(record)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return broker.Errorf(broker.CodeInternal, "Load wants a pointer to a record of kind %q", m.Kind)
	}
	raw, err := r.snapshot.Get(recordKey(m.Kind, m.Key))
	if err != nil {
		return err
	}
	if raw == nil {
		return broker.Errorf(broker.CodeNotFound, "there is no such %s", m.Kind)
	}
	e, err := r.open(m.Kind, raw)
	if err != nil {
		return err
	}
	target.Elem().SetZero()
	if err := json.Unmarshal(e.json, record); err != nil {
		return damaged(m.Kind, err)
	}
	return nil
}

// Scan implements broker.Reader.
func (r *reader) Scan(kind, index string, each func(json []byte) error) error {
	var err error
	if index == "" {
		err = r.scanRecords(kind, each)
	} else {
		err = r.scanIndex(kind, index, each)
	}
	return unlessStopped(err)
}

func (r *reader) scanRecords(kind string, each func(json []byte) error) error {
	start := recordKey(kind, "")
	return r.snapshot.Scan(start, after(start), func(_, raw []byte) error {
		e, err := r.open(kind, raw)
		if err != nil {
			return err
		}
		return each(e.json)
	})
}

// scanIndex reads the records as they were when the scan began as far as the index goes; one that each
// has deleted meanwhile is passed over.
func (r *reader) scanIndex(kind, index string, each func(json []byte) error) error {
	start := indexStart(nil, kind, index)
	place := recordKey(kind, "")
	return r.snapshot.Scan(start, after(start), func(entry, _ []byte) error {
		_, key, ok := cutZero(entry[len(start):])
		if !ok {
			return damaged(kind, errDamaged)
		}
		raw, err := r.snapshot.Get(append(place[:len(place):len(place)], key...))
		if err != nil || raw == nil {
			return err
		}
		e, err := r.open(kind, raw)
		if err != nil {
			return err
		}
		return each(e.json)
	})
}

func cutZero(raw []byte) (before, behind []byte, found bool) {
	for at, b := range raw {
		if b == 0 {
			return raw[:at], raw[at+1:], true
		}
	}
	return nil, nil, false
}

// Events implements broker.Reader.
func (r *reader) Events(from uint64, each func(number uint64, event broker.Event) error) error {
	return unlessStopped(r.store.log.Events(r.snapshot, from, each))
}

// Height implements broker.Reader.
func (r *reader) Height() (uint64, error) { return r.store.log.Height(r.snapshot) }

// open takes an envelope apart and refuses a format that this binary does not know.
func (r *reader) open(kind string, raw []byte) (envelope, error) {
	e, err := unseal(raw)
	if err != nil {
		return envelope{}, damaged(kind, err)
	}
	return e, r.store.checkFormat(kind, e.format)
}

func damaged(kind string, err error) error {
	return broker.Errorf(broker.CodeInternal, "a stored record of kind %q cannot be read", kind).Because(err)
}

func unlessStopped(err error) error {
	if errors.Is(err, broker.ErrStop) {
		return nil
	}
	return err
}

// Save implements broker.Tx: it writes the record and makes the indexes say what Meta says.
func (t *tx) Save(record broker.Record) error {
	m := record.Meta()
	if err := checkMeta(m); err != nil {
		return err
	}
	if err := t.noteFormat(m); err != nil {
		return err
	}
	place := recordKey(m.Kind, m.Key)
	old, err := t.old(m.Kind, place)
	if err != nil {
		return err
	}
	if err := t.dropEntries(m, old, m.Index); err != nil {
		return err
	}
	for _, e := range m.Index {
		if old.has(e) {
			continue
		}
		if err := t.change.Put(indexKey(m.Kind, e.Name, e.Order, m.Key), nil); err != nil {
			return err
		}
	}
	raw, err := seal(m, record)
	if err != nil {
		return err
	}
	return t.change.Put(place, raw)
}

// Delete implements broker.Tx. Deleting what is not there is no error.
func (t *tx) Delete(record broker.Record) error {
	m := record.Meta()
	if err := checkMeta(m); err != nil {
		return err
	}
	place := recordKey(m.Kind, m.Key)
	old, err := t.old(m.Kind, place)
	if err != nil {
		return err
	}
	if err := t.dropEntries(m, old, nil); err != nil {
		return err
	}
	return t.change.Delete(place)
}

// Append implements broker.Tx.
func (t *tx) Append(event broker.Event) error {
	t.appended = true
	return t.store.log.Append(t.change, event)
}

// old gives what lies at the place now, an empty envelope if nothing does.
func (t *tx) old(kind string, place []byte) (envelope, error) {
	raw, err := t.change.Get(place)
	if err != nil || raw == nil {
		return envelope{}, err
	}
	return t.open(kind, raw)
}

// dropEntries removes the index entries of the old record, but for those that stay.
func (t *tx) dropEntries(m broker.Meta, old envelope, stay []broker.Entry) error {
	return old.each(func(name, order []byte) error {
		for _, e := range stay {
			if e.Name == string(name) && e.Order == string(order) {
				return nil
			}
		}
		return t.change.Delete(indexKey(m.Kind, string(name), string(order), m.Key))
	})
}

// noteFormat keeps the newest format of each kind, so that an older binary refuses at its start and not
// in the middle of its work. Format 1, the oldest, needs no note.
func (t *tx) noteFormat(m broker.Meta) error {
	if known := t.store.known(m.Kind); m.Format > known {
		return broker.Errorf(broker.CodeInternal, "a record of kind %q is saved in format %d, but the store was opened for %d: name it in store.Options.Formats", m.Kind, m.Format, known)
	}
	if m.Format == 1 {
		return nil
	}
	key := formatKey(m.Kind)
	raw, err := t.change.Get(key)
	if err != nil {
		return err
	}
	if noted, err := strconv.Atoi(string(raw)); err == nil && noted >= m.Format {
		return nil
	}
	return t.change.Put(key, strconv.AppendInt(nil, int64(m.Format), 10))
}
