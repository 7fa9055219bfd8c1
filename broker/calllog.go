package broker

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	readsWithin = 100 * time.Millisecond // a read of the gateway is durable in the log so soon
	maxUnsaved  = 20_000                 // entries that wait for that; more are written one by one
)

// callEntry is one event of the gateway that is not written yet.
type callEntry struct {
	kind  EventType
	lease Lease
	data  CallEvent
}

// same tells whether two reads, or two refusals, are one line of the log, counted.
func (e callEntry) same(o callEntry) bool {
	return e.kind != EventCallAnswered && o.kind == e.kind && e.data.Refusal == o.data.Refusal && e.lease.ID == o.lease.ID && e.data.Operation == o.data.Operation && slices.Equal(e.data.Scopes, o.data.Scopes)
}

// callLog keeps what may be written a moment later. While the store refuses, it takes nothing more, so that
// nothing passes unrecorded for longer than readsWithin (invariant 6). The zero value is ready.
type callLog struct {
	mu      sync.Mutex
	entries []callEntry
	recent  map[string]int // lease + operation → its entry
	ready   chan struct{}  // has room for one: something waits
	failing bool
	writing bool // entries are on their way to the store
	served  bool // Run is there to write it
}

// add takes an entry; false: it must be written at once.
func (l *callLog) add(entry callEntry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.served || l.failing || len(l.entries) >= maxUnsaved {
		return false
	}
	l.put(entry)
	return true
}

// keep is add for what has happened and gates nothing: it waits even while the log fails.
func (l *callLog) keep(entry callEntry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.served || len(l.entries) >= 2*maxUnsaved {
		return false
	}
	l.put(entry)
	return true
}

func (l *callLog) put(entry callEntry) {
	key := entry.lease.ID + "\x00" + entry.data.Operation
	if at, seen := l.recent[key]; seen && l.entries[at].same(entry) {
		l.entries[at].data.Count++
		return
	}
	entry.data.Count = 1
	if l.recent == nil {
		l.recent = map[string]int{}
	}
	l.recent[key] = len(l.entries)
	l.entries = append(l.entries, entry)
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// late says that entries are on their way for too long: until they are there, nothing more may wait.
func (l *callLog) late() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = l.failing || l.writing
}

func (l *callLog) take() []callEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = true
	entries := l.entries
	l.entries, l.recent = nil, nil
	return entries
}

// done notes whether entries could be written; those that were not come first next time.
func (l *callLog) done(entries []callEntry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = false
	if l.failing = err != nil; l.failing {
		l.entries, l.recent = append(entries, l.entries...), nil
	}
}

func (l *callLog) serve(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served = on
	if l.ready == nil {
		l.ready = make(chan struct{}, 1)
	}
}

// writeCalls writes the gateway's entries until ctx ends, and what is left then.
func (b *Broker) writeCalls(ctx context.Context) {
	b.calls.serve(true)
	defer func() {
		b.calls.serve(false)
		_ = b.flushCalls(context.WithoutCancel(ctx)) // it has logged why
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.calls.ready:
		}
		select { // more will come in a moment: one commit for all
		case <-ctx.Done():
			return
		case <-time.After(readsWithin / 2):
		}
		for b.flushCalls(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(sweepEvery):
			}
		}
	}
}

func (b *Broker) flushCalls(ctx context.Context) error {
	entries := b.calls.take()
	if len(entries) == 0 {
		b.calls.done(nil, nil)
		return nil
	}
	late := time.AfterFunc(readsWithin/2, b.calls.late)
	defer late.Stop()
	err := b.appendOnly(ctx, func(tx Tx) error {
		for _, entry := range entries {
			if err := b.append(tx, entry.kind, "agent:"+entry.lease.Agent, entry.lease.ID, entry.data); err != nil {
				return err
			}
		}
		return nil
	})
	b.calls.done(entries, err)
	if err != nil {
		b.log.ErrorContext(ctx, "what passed the gateway could not be recorded yet: nothing more passes until it is", "error", err)
	}
	return err
}

// lives holds a context for each lease whose token was presented: done when the lease ends. The zero
// value is ready.
type lives struct {
	mu  sync.Mutex
	all map[string]*life // lease id →
}

type life struct {
	lease  Lease           // as it was presented
	ctx    context.Context //nolint:containedctx // this is what the type is for
	cancel context.CancelFunc
	timer  *time.Timer
}

// of gives the life of a lease, a new one if nothing holds it yet.
func (l *lives) of(lease Lease) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.all[lease.ID]; known != nil {
		return known.ctx
	}
	if l.all == nil {
		l.all = map[string]*life{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.all[lease.ID] = &life{lease: lease, ctx: ctx, cancel: cancel}
	return ctx
}

// until ends the life by itself after so long.
func (l *lives) until(id string, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.all[id]; known != nil && known.timer == nil {
		known.timer = time.AfterFunc(rest, func() { l.cut(id) })
	}
}

// cut ends the life: whatever goes on under it stops.
func (l *lives) cut(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.all[id]; known != nil {
		known.stop()
		delete(l.all, id)
	}
}

// cutWhere ends the lives of all leases that are named.
func (l *lives) cutWhere(named func(Lease) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, known := range l.all {
		if named(known.lease) {
			known.stop()
			delete(l.all, id)
		}
	}
}

func (l *life) stop() {
	l.cancel()
	if l.timer != nil {
		l.timer.Stop()
	}
}
