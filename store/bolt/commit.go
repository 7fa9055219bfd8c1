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
//
// There is no goroutine for this. Whoever finds nobody committing leads: it carries out the group and then
// passes the lead to the first of those who queued meanwhile. So a lone update never changes goroutines.

// most bounds how many updates go into one commit, so that none waits behind an endless one.
const most = 1024

// filled is how full bbolt leaves a page that it splits. Nearly all keys only grow (ids begin with the
// time, events with their number), so that a page is hardly ever written to again behind its end.
const filled = 0.9

// call is one Update on its way.
type call struct {
	change func(store.Change) error
	state  atomic.Int32
	err    error
	told   chan bool // true: lead the next group; false: err is the answer
}

// The states of a call.
const (
	queued    int32 = iota
	chosen          // its caller is to lead
	taken           // it is carried out, or has been
	withdrawn       // its caller gave up
)

// Update implements store.Engine. ctx counts while the update is queued; once its function has begun,
// Update waits for the disk, because only then is there an answer to give.
func (e *Engine) Update(ctx context.Context, change func(store.Change) error) error {
	if err := ctx.Err(); err != nil {
		return gaveUp(err)
	}
	c := &call{change: change, told: make(chan bool, 1)}
	lead, open := e.enqueue(c)
	if !open {
		return errClosed()
	}
	if !lead {
		select {
		case lead = <-c.told:
		case <-ctx.Done():
			if c.state.CompareAndSwap(queued, withdrawn) {
				return gaveUp(ctx.Err())
			}
			lead = <-c.told
		}
	}
	if lead {
		e.lead()
	}
	return c.err
}

// enqueue tells whether the caller is to lead.
func (e *Engine) enqueue(c *call) (lead, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false, false
	}
	e.queue = append(e.queue, c)
	lead = !e.led
	e.led = true
	return lead, true
}

// lead carries out what is queued, the caller's own among it. Those whom the last commit has woken get
// their turn first, because they often have something for this one; on an idle broker that takes no time.
func (e *Engine) lead() {
	defer e.pass()
	runtime.Gosched()
	e.run(e.next())
}

// next takes the next group from the queue.
func (e *Engine) next() []*call {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.queue), most)
	group := e.queue[:n:n]
	e.queue = e.queue[n:]
	if len(e.queue) == 0 {
		e.queue = nil // the group owns the memory now
	}
	return group
}

// pass gives the lead to the first who still waits.
func (e *Engine) pass() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ; len(e.queue) > 0; e.queue = e.queue[1:] {
		if first := e.queue[0]; first.state.CompareAndSwap(queued, chosen) {
			first.told <- true
			return
		}
	}
	e.led = false
	e.idle.Broadcast()
}

// run carries out one group and tells everybody in it.
func (e *Engine) run(group []*call) {
	fate := errGone
	group = take(group)
	defer func() { // deferred, so that nobody waits for ever, whatever a function did
		for _, c := range group {
			if fate != nil {
				c.err = fate
			}
			c.told <- false
		}
	}()
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
		if c.state.CompareAndSwap(queued, taken) || c.state.CompareAndSwap(chosen, taken) {
			kept = append(kept, c)
		}
	}
	return kept
}

// runAll runs each function and puts what the successful ones wrote into the bucket.
func runAll(bucket *bbolt.Bucket, group []*call) (changed bool, err error) {
	bucket.FillPercent = filled
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
