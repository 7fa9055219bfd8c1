package store

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
)

// pinned is a record that lies where a test wants it.
type pinned struct {
	At   broker.Meta `json:"-"`
	Text string      `json:"text"`
}

func (p *pinned) Meta() broker.Meta { return p.At }

func TestEnvelopeKeepsPlaceAndRecord(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := broker.Meta{Kind: "k", Key: "k", Format: rapid.IntRange(1, 300).Draw(r, "format")}
		for range rapid.IntRange(0, 5).Draw(r, "entries") {
			m.Index = append(m.Index, broker.Entry{Name: rapid.String().Draw(r, "name"), Order: rapid.String().Draw(r, "order")})
		}
		raw, err := seal(m, &pinned{m, rapid.String().Draw(r, "text")})
		if err != nil {
			r.Fatal(err)
		}
		e, err := unseal(raw)
		if err != nil || e.format != m.Format || !json.Valid(e.json) || bytes.ContainsRune(e.json, '\n') {
			r.Fatalf("%+v, %v", e, err)
		}
		var index []broker.Entry
		_ = e.each(func(name, order []byte) error {
			index = append(index, broker.Entry{Name: string(name), Order: string(order)})
			return nil
		})
		if diff := cmp.Diff(m.Index, index); diff != "" {
			r.Fatal(diff)
		}
	})
}

// FuzzUnseal gives the decoder what a damaged or tampered file holds: an error or a whole envelope.
func FuzzUnseal(f *testing.F) {
	m := broker.Meta{Kind: "k", Key: "k", Format: 1, Index: []broker.Entry{{Name: "owner/x", Order: "1"}}}
	good, err := seal(m, &pinned{m, "text"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, good[:5], nil, {1}, {2, 1, 0}, {1, 0, 0}, {1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, {1, 1, 1, 0xff, 0xff, 3}, bytes.Repeat([]byte{0xff}, 30)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := unseal(raw)
		if err != nil {
			return
		}
		count := 0
		_ = e.each(func(name, order []byte) error {
			if len(name)+len(order) > len(raw) {
				t.Error("an entry is longer than the envelope")
			}
			count++
			return nil
		})
		if count != e.count || e.format < 1 {
			t.Errorf("%d entries of %d, format %d", count, e.count, e.format)
		}
	})
}
