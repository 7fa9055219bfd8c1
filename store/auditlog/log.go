// Package auditlog is the event log: a Merkle tree whose leaves are appended in the same transaction as
// the state they tell of, so that any later change can be proven (invariant 9).
//
// It owns: the encoding of an event as a leaf, the tree, signed checkpoints, the exported file and its
// verification, epochs, and the anchor file.
//
// It does not know: what an event means, where the signing key comes from (store/keys).
//
// It trusts: the engine to keep an event and its state together, and golang.org/x/mod/sumdb/tlog for
// the arithmetic of the tree (RFC 6962). It does not trust the engine's file to be unchanged: it never
// signs a tree that does not continue the one it signed before. Verify trusts nothing but a public key.
package auditlog

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// Options of a Log.
type Options struct {
	Now    func() time.Time // for checkpoints; required
	Random io.Reader        // names a new log; default crypto/rand
}

// Log implements store.Appender. Its methods are safe for concurrent use.
type Log struct {
	engine store.Engine
	now    func() time.Time
	random io.Reader
}

var _ store.Appender = (*Log)(nil)

// New gives the log that lies in engine; it begins with the first event.
func New(engine store.Engine, options Options) *Log {
	if options.Random == nil {
		options.Random = rand.Reader
	}
	return &Log{engine: engine, now: options.Now, random: options.Random}
}

// cloudEvent is an event as the log keeps and exports it (CloudEvents 1.0, JSON format). Its bytes are
// the leaf of the tree. actor is an extension attribute.
type cloudEvent struct {
	SpecVersion string           `json:"specversion"` // "1.0"
	ID          string           `json:"id"`          // the number, decimal
	Source      string           `json:"source"`      // "/hourkey/NAME/EPOCH"
	Type        broker.EventType `json:"type"`
	Time        time.Time        `json:"time"`
	Subject     string           `json:"subject,omitempty"`
	Actor       string           `json:"actor,omitempty"`
	ContentType string           `json:"datacontenttype,omitempty"`
	Data        json.RawMessage  `json:"data,omitempty"`
}

// Append implements store.Appender.
func (l *Log) Append(change store.Change, event broker.Event) error {
	h, err := l.headOrNew(change)
	if err != nil {
		return err
	}
	if event.Type == broker.EventRestored {
		if err := h.restored(event); err != nil {
			return err
		}
	}
	leaf, err := encode(h, event)
	if err != nil {
		return err
	}
	key := eventKey(h.size)
	value := h.add(leaf)
	if err := change.Put(key, value); err != nil {
		return err
	}
	return change.Put(headKey, h.encode())
}

// Height implements store.Appender.
func (l *Log) Height(snapshot store.Snapshot) (uint64, error) {
	h, _, err := readHead(snapshot)
	return h.size, err
}

// Events implements store.Appender.
func (l *Log) Events(snapshot store.Snapshot, from uint64, each func(number uint64, event broker.Event) error) error {
	return scanLeaves(snapshot, from, func(number uint64, _ tlog.Hash, leaf []byte) error {
		var ce cloudEvent
		if err := json.Unmarshal(leaf, &ce); err != nil {
			return damaged(fmt.Errorf("event %d: %w", number, err))
		}
		return each(number, broker.Event{Type: ce.Type, Time: ce.Time, Actor: ce.Actor, Subject: ce.Subject, Data: ce.Data})
	})
}

func encode(h *head, event broker.Event) (*bytes.Buffer, error) {
	ce := cloudEvent{
		SpecVersion: "1.0", ID: strconv.FormatUint(h.size, 10), Source: h.source(),
		Type: event.Type, Time: event.Time.UTC(), Subject: event.Subject, Actor: event.Actor,
	}
	if len(event.Data) > 0 {
		ce.ContentType = "application/json"
	}
	var out bytes.Buffer
	out.Grow(512 + len(event.Data))
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(ce); err != nil {
		return nil, broker.Errorf(broker.CodeInternal, "the event %s cannot be encoded", event.Type).Because(err)
	}
	out.Truncate(out.Len() - 1) // the encoder's newline
	return &out, appendData(&out, event)
}

// appendData writes the last field. The data is JSON already: the encoder would only read and copy it again,
// while everybody else waits for the transaction.
func appendData(out *bytes.Buffer, event broker.Event) error {
	if len(event.Data) == 0 {
		return nil
	}
	out.Truncate(out.Len() - 1) // the closing brace
	out.WriteString(`,"data":`)
	switch {
	case !json.Valid(event.Data):
		return broker.Errorf(broker.CodeInternal, "the data of the event %s is not JSON", event.Type)
	case bytes.ContainsAny(event.Data, "\n\r"): // one event, one line
		if err := json.Compact(out, event.Data); err != nil {
			return broker.Errorf(broker.CodeInternal, "the data of the event %s is not JSON", event.Type).Because(err)
		}
	default:
		out.Write(event.Data)
	}
	out.WriteByte('}')
	return nil
}

// Keys of the log, behind store.LogPrefix:
//
//	'l' 'c'              → the last signed checkpoint
//	'l' 'e' number       → an event, its number big-endian in 8 bytes, so that they sort
//	'l' 'h'              → the head
//
// An event's value is its JSON, then the hashes that it completes (its own, then those of the subtrees
// of which it is the last leaf, upwards; 32 bytes each), then one byte with their number.
var (
	checkpointKey = []byte{store.LogPrefix, 'c'}
	headKey       = []byte{store.LogPrefix, 'h'}
	eventsEnd     = []byte{store.LogPrefix, 'e' + 1}
)

const eventKeySize = 10

func eventKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, eventKeySize), store.LogPrefix, 'e'), number)
}

// splitLeaf takes an event's value apart.
func splitLeaf(value []byte) (leaf []byte, hashes []byte, err error) {
	if len(value) < 1 {
		return nil, nil, damaged(errTooShort)
	}
	count := int(value[len(value)-1])
	at := len(value) - 1 - count*tlog.HashSize
	if count == 0 || at < 0 {
		return nil, nil, damaged(errTooShort)
	}
	return value[:at], value[at : len(value)-1], nil
}

// scanLeaves gives the leaves from number from on, and refuses a gap.
func scanLeaves(snapshot store.Snapshot, from uint64, each func(number uint64, hash tlog.Hash, leaf []byte) error) error {
	next := from
	return snapshot.Scan(eventKey(from), eventsEnd, func(key, value []byte) error {
		if len(key) != eventKeySize || binary.BigEndian.Uint64(key[2:]) != next {
			return damaged(fmt.Errorf("event %d is missing", next))
		}
		leaf, hashes, err := splitLeaf(value)
		if err != nil {
			return err
		}
		next++
		return each(next-1, tlog.Hash(hashes[:tlog.HashSize]), leaf)
	})
}

func damaged(err error) error {
	return broker.Errorf(broker.CodeInternal, "the event log is damaged").Because(err).
		WithNext("run `hourkeyd audit verify` with a kept checkpoint, and restore a backup")
}
