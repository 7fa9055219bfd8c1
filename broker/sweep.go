package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	sweepEvery   = 500 * time.Millisecond
	orphansEvery = time.Hour
	sweepAtMost  = 500 // records of one kind in one pass
)

// Run sweeps until ctx ends: what is due twice a second, orphans and identities at start and hourly.
func (b *Broker) Run(ctx context.Context) error {
	var passes sync.WaitGroup
	defer func() {
		passes.Wait()
		_ = b.recordUnheard(context.WithoutCancel(ctx), true) // update has logged why
	}()
	passes.Go(func() { b.writeCalls(ctx) })
	passes.Go(func() { b.endInterrupted(ctx) })
	passes.Go(func() { every(ctx, orphansEvery, func() { b.sweepWide(ctx) }) })
	// A pass does not wait for the one before: a provider that hangs delays its own leases alone.
	every(ctx, sweepEvery, func() { passes.Go(func() { b.Sweep(ctx) }) })
	return ctx.Err()
}

// every calls f at once and then at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// sweepWide is what a pass over everything costs the providers.
func (b *Broker) sweepWide(ctx context.Context) {
	unreachable, err := b.Learn(ctx)
	if err != nil {
		b.log.WarnContext(ctx, "not every target was asked who it is", "error", err)
	}
	for ref, err := range unreachable {
		b.log.WarnContext(ctx, "a target could not be asked who it is", "target", ref.String(), "error", err)
	}
	if err := b.SweepOrphans(ctx); err != nil {
		b.log.ErrorContext(ctx, "the search for orphans is not complete", "error", err)
	}
	b.dropFormer(ctx)
}

// endInterrupted ends what was being issued when the broker was last stopped: nobody got it. So too what
// a freeze or a removal names: the broker may have stopped between its record and the ends.
func (b *Broker) endInterrupted(ctx context.Context) {
	ends := map[Cause][]Lease{}
	err := b.store.View(ctx, func(r Reader) error {
		open, err := list[Lease](r, "lease", "open")
		for _, lease := range open {
			cause, err := b.interrupted(r, lease)
			if err != nil {
				return err
			}
			if cause != "" {
				ends[cause] = append(ends[cause], lease)
			}
		}
		return err
	})
	if err != nil {
		b.log.ErrorContext(ctx, "interrupted leases could not be read", "error", err)
	}
	for cause, leases := range ends {
		b.endAll(ctx, leases, cause, "broker")
	}
}

// interrupted says why an open lease must end before its time, empty if it need not.
func (b *Broker) interrupted(r Reader, lease Lease) (Cause, error) {
	if lease.State == LeaseIssuing && !lease.Created.After(b.opened) {
		return CauseFailed, nil
	}
	agent := Agent{Name: lease.Agent}
	switch found, err := load(r, &agent); {
	case err != nil:
		return "", err
	case !found, agent.State == AgentRemoved:
		return CauseRevoked, nil
	}
	err := b.frozen(r, lease.Agent, lease.Task, append([]string{lease.Environment}, lease.Reaches...))
	if CodeOf(err) == CodeFrozen {
		return CauseFrozen, nil
	}
	return "", err
}

// Sweep is one pass over what is due: leases to end, requests to expire, records to forget.
func (b *Broker) Sweep(ctx context.Context) {
	due, err := b.dueLeases(ctx)
	if err != nil {
		b.log.ErrorContext(ctx, "due leases could not be read", "error", err)
	}
	b.endDue(ctx, b.endSilent(ctx, due))
	if !b.tidying.TryLock() {
		return // an earlier pass is still at it
	}
	defer b.tidying.Unlock()
	b.retryUnsaved(ctx)
	if err := errors.Join(b.expireRequests(ctx), b.closeOutdated(ctx), b.forget(ctx), b.recordUnheard(ctx, false)); err != nil {
		b.log.ErrorContext(ctx, "sweeping is not complete: it goes on", "error", err)
	}
}

// endDue ends leases that are due, each binding's in one pass at a time.
func (b *Broker) endDue(ctx context.Context, due []Lease) {
	bound := map[string][]Lease{} // binding → leases
	for _, lease := range due {
		bound[lease.Binding] = append(bound[lease.Binding], lease)
	}
	var wait sync.WaitGroup
	for binding, leases := range bound {
		if _, busy := b.sweeping.LoadOrStore(binding, struct{}{}); busy {
			continue
		}
		wait.Go(func() {
			defer b.sweeping.Delete(binding)
			b.endAll(ctx, leases, CauseExpired, "broker")
		})
	}
	wait.Wait()
}

// dueLeases lists leases whose time, or whose next attempt, has come.
func (b *Broker) dueLeases(ctx context.Context) (due []Lease, err error) {
	now, behind := b.now(), b.clockBehind() != nil
	err = b.store.View(ctx, func(r Reader) error {
		return r.Scan("lease", "due", func(raw []byte) error {
			var lease Lease
			if err := json.Unmarshal(raw, &lease); err != nil {
				return fmt.Errorf("reading lease: %w", err)
			}
			switch {
			case len(due) >= sweepAtMost, !behind && lease.due().After(now):
				return ErrStop
			case lease.due().After(now) && lease.Ordered.IsZero():
				// The clock was set back: nobody knows how long this key has lived, so it ends now (invariant 1).
			case lease.due().After(now):
				return nil
			}
			if _, busy := b.sweeping.Load(lease.Binding); busy {
				return nil
			}
			due = append(due, lease)
			return nil
		})
	})
	return due, err
}

// endSilent records, in one transaction, the end of leases that died by themselves: nothing could end
// them sooner, and nothing is left to end. It returns the others.
func (b *Broker) endSilent(ctx context.Context, due []Lease) (rest []Lease) {
	var silent []Lease
	for _, lease := range due {
		if !lease.EndsEarly && !b.now().Before(lease.Expires) {
			silent = append(silent, lease)
			continue
		}
		rest = append(rest, lease)
	}
	if len(silent) == 0 {
		return rest
	}
	err := b.update(ctx, func(tx Tx) error {
		for _, was := range silent {
			lease := Lease{ID: was.ID}
			if err := tx.Load(&lease); err != nil {
				return err
			}
			if !lease.Open() {
				continue
			}
			if lease.Cause == "" {
				lease.Cause, lease.By, lease.Ordered = CauseExpired, "broker", lease.Expires
			}
			lease.State, lease.Ended, lease.Handle = LeaseEnded, b.now(), nil
			if err := tx.Save(&lease); err != nil {
				return err
			}
			data := leaseEvent(lease)
			data.Seconds = lease.Ended.Sub(lease.Ordered).Seconds()
			if err := b.append(tx, EventLeaseEnded, lease.By, lease.ID, data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.log.ErrorContext(ctx, "ends could not be recorded yet", "error", err)
	}
	return rest
}

// retryUnsaved ends and records again what the store did not take.
func (b *Broker) retryUnsaved(ctx context.Context) {
	b.held.Range(func(_, held any) bool {
		if freeze, ok := held.(Freeze); ok {
			_ = b.recordFreeze(ctx, freeze) // it stays held, and update has logged why
		}
		return true
	})
	b.unsaved.Range(func(id, kept any) bool {
		if was, ok := kept.(Lease); ok && b.now().Before(was.Retry) {
			return true
		}
		if text, ok := id.(string); ok {
			lease, err := b.lease(ctx, text)
			if err == nil && !lease.Open() {
				b.unsaved.Delete(id)
				return true
			}
			if err == nil {
				_ = b.end(ctx, text, CauseFailed, "broker") // end logs and keeps it
			}
		}
		return ctx.Err() == nil
	})
}

// forget removes ceremonies, passkeys that nobody signed, idempotency keys and counts of refusals whose time is over.
func (b *Broker) forget(ctx context.Context) error {
	var records []Record
	err := b.store.View(ctx, func(r Reader) error {
		now := b.now()
		ceremonies, err1 := expired(r, "ceremony", now, func(c Ceremony) time.Time { return c.Expires })
		waiting, err2 := expired(r, "waiting-passkey", now, func(w WaitingPasskey) time.Time { return w.Expires })
		keys, err3 := expired(r, "idempotency", now, func(i idempotency) time.Time { return i.Expires })
		counts, err4 := expired(r, "refusals", now, func(f refusals) time.Time { return f.expires() })
		records = slices.Concat(ceremonies, waiting, keys, counts)
		return errors.Join(err1, err2, err3, err4)
	})
	if err != nil || len(records) == 0 {
		return err
	}
	return b.update(ctx, func(tx Tx) error {
		for _, record := range records {
			if err := tx.Delete(record); err != nil {
				return err
			}
		}
		return nil
	})
}

// expired lists records of the index "expires" up to now.
func expired[T any, P interface {
	*T
	Record
}](r Reader, kind string, now time.Time, at func(T) time.Time) (old []Record, err error) {
	err = r.Scan(kind, "expires", func(raw []byte) error {
		one := new(T)
		if err := json.Unmarshal(raw, one); err != nil {
			return fmt.Errorf("reading %s: %w", kind, err)
		}
		if at(*one).After(now) || len(old) >= sweepAtMost {
			return ErrStop
		}
		old = append(old, P(one))
		return nil
	})
	return old, err
}

// SweepOrphans ends what lives at a provider under a name of this installation, or of a former one,
// without an open lease (invariant 8). Another installation's names are never touched.
func (b *Broker) SweepOrphans(ctx context.Context) error {
	installation := b.Installation()
	var failed []error
	for ref, target := range b.Configuration().Targets {
		lister, can := target.Issuer.(Lister)
		if !can {
			continue
		}
		for _, id := range append([]string{installation.ID}, installation.Former...) {
			if err := b.sweepTarget(ctx, ref, target, lister, namePrefix(id)); err != nil {
				failed = append(failed, fmt.Errorf("orphans of %s: %w", ref, err))
			}
		}
	}
	return errors.Join(failed...)
}

func (b *Broker) sweepTarget(ctx context.Context, ref TargetRef, target Target, lister Lister, prefix string) error {
	began := b.now()
	ctx, cancel := context.WithTimeout(ctx, 4*providerTimeout)
	defer cancel()
	names, err := lister.List(ctx, prefix)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		id, ours := strings.CutPrefix(name, prefix)
		if !ours {
			continue
		}
		lease, err := b.lease(ctx, id)
		switch {
		case err == nil && (lease.Open() || lease.Ended.After(began)):
			continue
		case err != nil && CodeOf(err) != CodeNotFound:
			failed = append(failed, err)
			continue
		}
		failed = append(failed, b.endOrphan(ctx, ref, target, name))
	}
	return errors.Join(failed...)
}

func (b *Broker) endOrphan(ctx context.Context, ref TargetRef, target Target, name string) error {
	if err := target.Issuer.Revoke(ctx, name, nil); err != nil {
		return fmt.Errorf("ending orphan %s: %w", name, err)
	}
	b.log.WarnContext(ctx, "an orphan was ended", "name", name, "target", ref.String())
	return b.update(ctx, func(tx Tx) error {
		return b.append(tx, EventOrphanEnded, "broker", name, map[string]string{"environment": ref.Environment, "target": ref.Target})
	})
}
