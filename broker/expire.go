package broker

import (
	"context"
	"encoding/json"
	"fmt"
)

// expireRequests ends requests that nobody decided, or collected, in time.
func (b *Broker) expireRequests(ctx context.Context) error {
	now := b.now()
	late, err := b.undone(ctx, func(request Request) (bool, error) {
		if !now.After(request.Deadline) {
			return false, ErrStop
		}
		return true, nil
	})
	if err != nil || len(late) == 0 {
		return err
	}
	return b.expire(ctx, late, "")
}

// outdated is what everybody reads who waited for a request that closeOutdated ended.
const outdated = "the configuration changed: ask again"

// closeOutdated ends requests that were decided under another configuration than the one in force: nobody can sign
// them, and nothing is issued for them (invariant 12). Else they would wait to their end, in inboxes and in their
// agents' share. It looks at all of them until none is left, and then not again before the next reload.
func (b *Broker) closeOutdated(ctx context.Context) error {
	files := b.files.Load()
	if b.upToDate == files {
		return nil
	}
	// Once a transaction has begun after the reload, what was decided before it is in the store, or never will be
	// (mayEnter): no scan misses it.
	if err := b.store.Update(ctx, func(Tx) error { return nil }); err != nil {
		return err
	}
	late, err := b.undone(ctx, func(request Request) (bool, error) { return request.Config != files.Hash, nil })
	if err != nil || b.files.Load() != files { // another reload: what was asked under its files is not late
		return err
	}
	if len(late) == 0 {
		b.upToDate = files
		return nil
	}
	return b.expire(ctx, late, outdated)
}

// undone lists, by deadline, pending and approved requests that are due, as many as one pass ends.
func (b *Broker) undone(ctx context.Context, due func(Request) (bool, error)) (late []Request, err error) {
	err = b.store.View(ctx, func(r Reader) error {
		return r.Scan("request", "deadline", func(raw []byte) error {
			var request Request
			if err := json.Unmarshal(raw, &request); err != nil {
				return fmt.Errorf("reading request: %w", err)
			}
			is, err := due(request)
			if err == nil && is {
				late = append(late, request)
			}
			if len(late) >= sweepAtMost {
				return ErrStop
			}
			return err
		})
	})
	return late, err
}

// expire ends requests in one transaction and wakes who awaits them.
func (b *Broker) expire(ctx context.Context, late []Request, words string) error {
	err := b.update(ctx, func(tx Tx) error {
		for _, request := range late {
			if err := b.close(tx, request, RequestExpired, EventRequestExpired, "broker", words); err != nil {
				return err
			}
		}
		return nil
	})
	b.changed.notify()
	return err
}

// close moves a request that is still as it was read to a state in which nothing can be collected. actor is who or
// what ended it; words are a human's, or ours.
func (b *Broker) close(tx Tx, was Request, state RequestState, kind EventType, actor, words string) error {
	now := Request{ID: was.ID}
	if err := tx.Load(&now); err != nil {
		return err
	}
	if now.State != was.State || !now.Deadline.Equal(was.Deadline) {
		return nil
	}
	if now.State == RequestPending {
		now.Decided, now.DecidedBy = b.now(), actor
	}
	now.State, now.Verdict, now.Was, now.ClosedBy = state, words, was.State, actor
	if err := tx.Save(&now); err != nil {
		return err
	}
	data := b.requestEvent(now)
	data.Was, data.Words, data.Seconds = was.State, words, b.now().Sub(now.Created).Seconds()
	return b.append(tx, kind, actor, now.ID, data)
}
