package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/hourkey/hourkey/broker"
)

// envelope is how a record lies in the engine:
//
//	01                          layout of the envelope
//	uvarint                     format of the record (broker.Meta.Format)
//	uvarint                     number of index entries, then for each:
//	    uvarint, bytes          name
//	    uvarint, bytes          order
//	rest                        the record as JSON
//
// The entries are kept so that Save and Delete can remove them without knowing what an older binary
// derived them from. A new format must still be readable by decoding its JSON: fields are added, none
// changes its meaning. The number is there for older binaries, which keep off.
type envelope struct {
	format  int
	entries []byte // count entries, still encoded
	count   int
	json    []byte
}

const envelopeLayout = 1

var (
	errDamaged = errors.New("the stored record is damaged")
	errLayout  = errors.New("the stored record was written by a newer version of Hourkey")
)

// seal encodes a record with its place.
func seal(m broker.Meta, record broker.Record) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(512)
	head := append(out.AvailableBuffer(), envelopeLayout)
	head = binary.AppendUvarint(head, uint64(m.Format)) //nolint:gosec // checkMeta: at least 1
	head = binary.AppendUvarint(head, uint64(len(m.Index)))
	for _, e := range m.Index {
		head = appendText(appendText(head, e.Name), e.Order)
	}
	out.Write(head)
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(record); err != nil {
		return nil, broker.Errorf(broker.CodeInternal, "a record of kind %q cannot be encoded", m.Kind).Because(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func appendText(out []byte, text string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(text))), text...)
}

// unseal takes an envelope apart without copying.
func unseal(raw []byte) (envelope, error) {
	if len(raw) == 0 {
		return envelope{}, errDamaged
	}
	if raw[0] != envelopeLayout {
		return envelope{}, errLayout
	}
	format, raw, ok := cutNumber(raw[1:])
	if !ok || format == 0 {
		return envelope{}, errDamaged
	}
	count, raw, ok := cutNumber(raw)
	if !ok {
		return envelope{}, errDamaged
	}
	e := envelope{format: format, count: count, entries: raw}
	for range count {
		for range 2 {
			if _, raw, ok = cutText(raw); !ok {
				return envelope{}, errDamaged
			}
		}
	}
	e.entries, e.json = e.entries[:len(e.entries)-len(raw)], raw
	return e, nil
}

// each gives the index entries; the envelope was checked by unseal.
func (e envelope) each(entry func(name, order []byte) error) error {
	rest := e.entries
	for range e.count {
		var name, order []byte
		name, rest, _ = cutText(rest)
		order, rest, _ = cutText(rest)
		if err := entry(name, order); err != nil {
			return err
		}
	}
	return nil
}

// has tells whether the entry is among those of the envelope.
func (e envelope) has(want broker.Entry) bool {
	errFound := broker.ErrStop
	return e.each(func(name, order []byte) error {
		if string(name) == want.Name && string(order) == want.Order {
			return errFound
		}
		return nil
	}) != nil
}

// cutNumber reads a small number; numbers above a million are damage.
func cutNumber(raw []byte) (int, []byte, bool) {
	n, size := binary.Uvarint(raw)
	if size <= 0 || n > 1_000_000 {
		return 0, nil, false
	}
	return int(n), raw[size:], true
}

func cutText(raw []byte) (text, rest []byte, ok bool) {
	n, raw, ok := cutNumber(raw)
	if !ok || n > len(raw) {
		return nil, nil, false
	}
	return raw[:n], raw[n:], true
}
