// Package store keeps the broker's records and its event log in an engine.
//
// It owns: how a record is encoded, where it lies, the secondary indexes and their consistency, the
// format numbers that keep an old binary off newer data, and who is told when events were appended.
//
// It does not know: what a record means, how an engine writes to disk (store/bolt), how the log is
// built and proven (store/auditlog), any key (store/keys).
//
// It trusts: its Engine to be atomic and durable. It does not trust what lies in the engine to be
// undamaged: a record that cannot be read is an error, never a record with empty fields.
package store

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// Options of a Store.
type Options struct {
	// Formats says which format of a kind of record this binary knows, where that is not 1.
	Formats map[string]int // kind → newest known format
}

// Store implements broker.Store on an Engine. Its methods are safe for concurrent use.
type Store struct {
	engine  Engine
	log     Appender
	formats map[string]int // kind → newest known format, where not 1

	mu       sync.Mutex
	appended chan struct{} // closed at the next append; nil while nobody follows
}

var _ broker.Store = (*Store)(nil)

// Open puts a store on an engine. It refuses data that a newer binary has written (CodeConflict).
func Open(engine Engine, log Appender, options Options) (*Store, error) {
	if engine == nil || log == nil {
		return nil, errors.New("store: Open wants an engine and a log")
	}
	s := &Store{engine: engine, log: log, formats: options.Formats}
	prefix := []byte{formatPrefix}
	err := engine.View(context.Background(), func(snapshot Snapshot) error {
		return snapshot.Scan(prefix, after(prefix), func(key, value []byte) error {
			format, err := strconv.Atoi(string(value))
			if err != nil {
				return broker.Errorf(broker.CodeInternal, "the store's table of formats is damaged").Because(err)
			}
			return s.checkFormat(string(key[1:]), format)
		})
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// known is the newest format of a kind that this binary reads and writes.
func (s *Store) known(kind string) int {
	if format, listed := s.formats[kind]; listed {
		return format
	}
	return 1
}

func (s *Store) checkFormat(kind string, format int) error {
	if known := s.known(kind); format > known {
		return broker.Errorf(broker.CodeConflict, "the store holds a record of kind %q in format %d; this version of Hourkey knows formats up to %d", kind, format, known).
			WithNext("run the newer version that wrote this store, or restore a backup from before the upgrade")
	}
	return nil
}

// View implements broker.Store.
func (s *Store) View(ctx context.Context, read func(broker.Reader) error) error {
	return s.engine.View(ctx, func(snapshot Snapshot) error {
		return read(&reader{store: s, snapshot: snapshot})
	})
}

// Update implements broker.Store. An error of CodeUnavailable says that the engine could not make the
// change durable, and that nothing may be issued on it (invariant 2).
func (s *Store) Update(ctx context.Context, change func(broker.Tx) error) error {
	appended := false
	err := s.engine.Update(ctx, func(c Change) error {
		t := &tx{reader: reader{store: s, snapshot: c}, change: c}
		err := change(t)
		appended = t.appended
		return err
	})
	if err == nil && appended {
		s.wake()
	}
	return err
}

// Backup writes a copy of the store as it is now while work goes on. The copy holds no usable secret:
// keys are sealed under a key-encryption key that is not in it (invariant 7).
func (s *Store) Backup(ctx context.Context, to io.Writer) error { return s.engine.Backup(ctx, to) }

// Follow gives every event from number from on, first those that are there, then each as it is
// committed, until ctx ends (no error then) or each returns an error. No transaction is open while
// each runs, so that it may be slow; it keeps its own cursor.
func (s *Store) Follow(ctx context.Context, from uint64, each func(number uint64, event broker.Event) error) error {
	for ctx.Err() == nil {
		more := s.waitAppended()
		page, err := s.page(ctx, from)
		if err != nil {
			return err
		}
		for _, event := range page {
			if err := each(from, event); err != nil {
				return err
			}
			from++
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
	return nil
}

const followPage = 256 // events read per transaction

func (s *Store) page(ctx context.Context, from uint64) ([]broker.Event, error) {
	var page []broker.Event
	err := s.View(ctx, func(r broker.Reader) error {
		return r.Events(from, func(_ uint64, event broker.Event) error {
			page = append(page, event)
			if len(page) == followPage {
				return broker.ErrStop
			}
			return nil
		})
	})
	if ctx.Err() != nil {
		return nil, nil // the end that Follow was asked for
	}
	return page, err
}

// waitAppended gives a channel that is closed at the next append. Take it before looking.
func (s *Store) waitAppended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appended == nil {
		s.appended = make(chan struct{})
	}
	return s.appended
}

func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appended != nil {
		close(s.appended)
		s.appended = nil
	}
}
