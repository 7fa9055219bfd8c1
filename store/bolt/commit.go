package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// The group commit. While one commit is on its way to the disk, updates queue; all of them go into the
// next one. Nobody waits for company, so that a lone update is as quick as the disk, and many share one fsync.
//
// Each function runs once, alone, over an overlay that is thrown away when the function fails, so that
// a failing neighbour leaves nothing behind. It sees what its neighbours before it wrote. That is why everybody,
// also who wrote nothing or failed, hears the fate of the commit: what they saw may never have come to be.

// most bounds how many updates go into one commit, so that none waits behind an endless one.
const most = 1024

// call is one Update on its way.
type call struct {
	change func(store.Change) error
	state  atomic.Int32
	err    error
	done   chan struct{}
}

// The states of a call.
const (
	queued int32 = iota
	taken        // the committer runs it, or has
	withdrawn
)

// Update implements store.Engine. ctx counts while the update is queued; once its function has begun,
// Update waits for the disk, because only then is there an answer to give.
func (e *Engine) Update(ctx context.Context, change func(store.Change) error) error {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	c := &call{change: change, done: make(chan struct{})}
	if !e.enqueue(c) {
		return errClosed()
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.state.CompareAndSwap(queued, withdrawn) {
			return gaveUp(ctx.Err())
		}
		<-c.done
	}
	return c.err
}

func (e *Engine) enqueue(c *call) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.queue = append(e.queue, c)
	e.poke()
	return true
}

// poke wakes the committer; one token is enough, because it takes all that is queued.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// commits is the committer. It ends when the engine is closed and the queue is empty.
func (e *Engine) commits() {
	ended := false
	defer func() {
		if !ended { // a function called runtime.Goexit, as a failing test does: go on without it
			go e.commits()
		}
	}()
	for {
		group, closed := e.next()
		if len(group) > 0 {
			e.run(group)
			continue
		}
		if closed {
			break
		}
		<-e.wake
	}
	ended = true
	close(e.done)
}

// next takes what is queued. Those whom the last commit has woken get their turn first: they often
// have something for this one.
func (e *Engine) next() (group []*call, closed bool) {
	runtime.Gosched()
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.queue), most)
	group, e.queue = e.queue[:n:n], e.queue[n:]
	if len(e.queue) == 0 {
		e.queue = nil // the group owns the memory now
	}
	return group, e.closed
}

// run carries out one group and tells everybody in it.
func (e *Engine) run(group []*call) {
	fate := errGone
	defer func() { // deferred, so that nobody waits for ever, whatever a function did
		for _, c := range group {
			if fate != nil {
				c.err = fate
			}
			close(c.done)
		}
	}()
	group = take(group)
	tx, err := e.db.Begin(true)
	if err != nil {
		fate = cannotWrite(err)
		return
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	changed, err := runAll(tx.Bucket(pairs), group)
	if err == nil && changed {
		err = e.durable(tx)
	}
	fate = cannotWrite(err)
}

var errGone = error(broker.Errorf(broker.CodeInternal, "the store's change ended without an answer; nothing was changed"))

// take keeps the calls that were not withdrawn meanwhile; from here on they cannot be.
func take(group []*call) []*call {
	kept := group[:0]
	for _, c := range group {
		if c.state.CompareAndSwap(queued, taken) {
			kept = append(kept, c)
		}
	}
	return kept
}

// runAll runs each function and puts what the successful ones wrote into the bucket.
func runAll(bucket *bbolt.Bucket, group []*call) (changed bool, err error) {
	view := change{snapshot: snapshot{bucket}}
	for _, c := range group {
		view.own = view.own[:0]
		if c.err = runOne(c.change, &view); c.err != nil || len(view.own) == 0 {
			continue
		}
		changed = true
		if err := view.apply(); err != nil {
			return false, err
		}
	}
	view.closed = true
	return changed, nil
}

// runOne turns a panic into an error: a mistake in one request must not stop the ending of keys
// (invariant 6). The stack goes to the operator's log with the error.
func runOne(f func(store.Change) error, view *change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = broker.Errorf(broker.CodeInternal, "the change failed in an unforeseen way; nothing was changed").
				Because(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return f(view)
}

// durable commits. bbolt writes the data, syncs it, writes the page that makes it current, and syncs
// that. When only the last step fails, everybody already sees the new state while the disk may not have it: a
// further, empty commit writes that page once more, and if it goes through, all is durable after all.
func (e *Engine) durable(tx *bbolt.Tx) error {
	id := tx.ID()
	stop := e.watch()
	err := e.commit(tx)
	stop()
	if err == nil {
		return nil
	}
	_ = tx.Rollback() // bbolt has not always done that itself; a second time does nothing
	if current, seen := e.current(); seen != nil || current < id {
		return err
	}
	again, beginErr := e.db.Begin(true)
	if beginErr != nil {
		return errors.Join(errUncertain, err)
	}
	defer func() { _ = again.Rollback() }()
	if e.commit(again) != nil {
		return errors.Join(errUncertain, err)
	}
	return nil
}

var errUncertain = errors.New("the last step of the commit failed twice")

// current is the number of the transaction whose state is seen.
func (e *Engine) current() (id int, err error) {
	err = e.db.View(func(tx *bbolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id, err
}
