package store

import (
	"context"
	"io"

	"github.com/hourkey/hourkey/broker"
)

// Engine keeps byte strings under byte strings, in byte order, durably. store/bolt is the default;
// storetest.Engine is what each must pass.
type Engine interface {
	// View shows one consistent state to read. It does not wait for an Update.
	View(ctx context.Context, read func(Snapshot) error) error
	// Update runs change exactly once, one at a time, and returns nil only when its changes are
	// durable. When change returns an error or panics, nothing of it remains.
	Update(ctx context.Context, change func(Change) error) error
	// Backup writes a copy of one consistent state, in the engine's own format, while work goes on.
	Backup(ctx context.Context, to io.Writer) error
}

// Snapshot is one state of an Engine. What it returns is valid until the function that was given it
// returns, and must not be changed.
type Snapshot interface {
	// Get gives the value of key, nil if there is none.
	Get(key []byte) ([]byte, error)
	// Scan gives the pairs with from <= key < to in byte order, as they were when the scan began; a nil
	// to means no end. An error of each ends the scan and is returned.
	Scan(from, to []byte, each func(key, value []byte) error) error
}

// Change is a Snapshot that can be written to, and that shows what was written.
type Change interface {
	Snapshot
	// Put keeps key and value: the caller must not change them afterwards.
	Put(key, value []byte) error
	// Delete removes key; removing what is not there is no error.
	Delete(key []byte) error
}

// Appender is the event log. It keeps its entries in the same engine, under keys that begin with
// LogPrefix, so that an event and the state it tells of become durable together (invariant 2).
type Appender interface {
	// Append gives the event the next number.
	Append(change Change, event broker.Event) error
	// Events gives the events from number from on, in order. An error of each ends it and is returned.
	Events(snapshot Snapshot, from uint64, each func(number uint64, event broker.Event) error) error
	// Height is the number of events.
	Height(snapshot Snapshot) (uint64, error)
}
