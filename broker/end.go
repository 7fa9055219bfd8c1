package broker

import (
	"context"
	"errors"
	"time"
)

// recordFor bounds a write that must not hold up an ending (invariant 6).
const recordFor = 2 * time.Second

// end brings one lease to its end: it says so in the store when that can be, ends the credential at the
// provider whether or not it could, and records the outcome. nil means that the credential is ended, or
// that its issuer can only let it expire.
func (b *Broker) end(ctx context.Context, id string, cause Cause, by string) error {
	return b.endAs(ctx, id, nil, cause, by)
}

// endAs is end with the handle of a lease whose second transaction did not come to pass.
func (b *Broker) endAs(ctx context.Context, id string, handle []byte, cause Cause, by string) error {
	defer b.endings.lock(id)()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*providerTimeout)
	defer cancel()
	lease, err := b.lease(ctx, id)
	if err != nil || !lease.Open() && handle == nil {
		return err
	}
	if kept, ok := b.unsaved.Load(id); ok { // ordered before, for this reason, and not written then
		was := kept.(Lease) //nolint:forcetypeassert // nothing else is kept there
		cause, by = was.Cause, was.By
		lease.Attempts, lease.Handle = max(lease.Attempts, was.Attempts), orHandle(lease.Handle, was.Handle)
	}
	if lease.Cause != "" { // somebody was quicker: why it ended stays
		cause, by = lease.Cause, lease.By
	}
	lease.Handle = orHandle(handle, lease.Handle)
	b.lives.cut(id) // calls that are under way stop now, whether or not the store can be written
	b.markEnding(ctx, &lease, cause, by)
	b.lives.cut(id)                               // and what was presented in between
	if issued, busy := b.issuing.Load(id); busy { // the credential may come into being only now
		select {
		case <-issued.(chan struct{}): //nolint:forcetypeassert // underWay stores nothing else
			if now, err := b.lease(ctx, id); err == nil {
				lease.Handle = orHandle(lease.Handle, now.Handle)
			}
		case <-ctx.Done():
			return Errorf(CodeUnavailable, "the provider is still issuing it: it is ended as soon as that is done")
		}
	}
	if !lease.EndsEarly && b.now().Before(lease.Expires) {
		return nil // declared so: it dies by itself, and the sweeper records that
	}
	return b.revoke(ctx, &lease)
}

func orHandle(first, second []byte) []byte {
	if len(first) > 0 {
		return first
	}
	return second
}

// markEnding writes the order to end. That it fails is logged and remembered, and stops nothing.
func (b *Broker) markEnding(ctx context.Context, lease *Lease, cause Cause, by string) {
	if lease.State == LeaseEnding || lease.State == LeaseStuck {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordFor)
	defer cancel()
	lease.State, lease.Cause, lease.By, lease.Ordered = LeaseEnding, cause, by, b.now()
	lease.Retry = lease.Ordered
	if !lease.EndsEarly && lease.Retry.Before(lease.Expires) {
		lease.Retry = lease.Expires
	}
	b.failpoint("end.order.before")
	err := b.update(ctx, func(tx Tx) error {
		now := Lease{ID: lease.ID}
		if err := tx.Load(&now); err != nil {
			return err
		}
		lease.Handle = orHandle(lease.Handle, now.Handle) // it may have become live since it was read
		if err := tx.Save(lease); err != nil {
			return err
		}
		return b.append(tx, EventLeaseEnding, by, lease.ID, leaseEvent(*lease))
	})
	b.failpoint("end.order.after")
	if err != nil {
		b.unsaved.Store(lease.ID, *lease)
		b.log.ErrorContext(ctx, "the order to end a lease could not be recorded: it is ended all the same", "lease", lease.ID, "error", err)
		return
	}
	b.unsaved.Delete(lease.ID)
}

// revoke ends the credential at the provider and records the outcome.
func (b *Broker) revoke(ctx context.Context, lease *Lease) error {
	err := b.callRevoke(ctx, *lease)
	if err != nil {
		return b.notEnded(ctx, lease, err)
	}
	lease.State, lease.Ended, lease.Handle, lease.LastError, lease.Retry = LeaseEnded, b.now(), nil, "", time.Time{}
	b.failpoint("end.done.before")
	err = b.update(ctx, func(tx Tx) error {
		if err := tx.Save(lease); err != nil {
			return err
		}
		data := leaseEvent(*lease)
		data.Seconds = lease.Ended.Sub(lease.Ordered).Seconds()
		return b.append(tx, EventLeaseEnded, lease.By, lease.ID, data)
	})
	b.failpoint("end.done.after")
	if err != nil {
		b.unsaved.Store(lease.ID, *lease)
		b.log.ErrorContext(ctx, "a lease is ended at its provider and this could not be recorded yet", "lease", lease.ID, "error", err)
		return nil
	}
	b.unsaved.Delete(lease.ID)
	return nil
}

func (b *Broker) callRevoke(ctx context.Context, lease Lease) error {
	if lease.Token != "" {
		return nil // the gateway asks for the lease at every call: there is nothing else to end
	}
	target, err := b.target(ctx, lease)
	if err != nil {
		return err
	}
	var handle Handle
	if len(lease.Handle) > 0 {
		if handle, err = b.sealer.Open(lease.Handle, "lease/"+lease.ID); err != nil {
			return Errorf(CodeInternal, "the broker could not open a sealed handle").Because(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	b.failpoint("end.provider.before")
	err = target.Issuer.Revoke(ctx, lease.Name, handle)
	b.failpoint("end.provider.after")
	return err
}

const (
	stuckAfter  = 5 // attempts
	longestWait = 5 * time.Minute
)

// notEnded plans the next attempt: 1 s, 2 s, 4 s … 5 min, and alarms once it is stuck.
func (b *Broker) notEnded(ctx context.Context, lease *Lease, cause error) error {
	lease.Attempts++
	wait := min(time.Second<<min(lease.Attempts-1, 16), longestWait)
	lease.Retry, lease.LastError = b.now().Add(wait), messageOf(cause)
	stuck := lease.Attempts >= stuckAfter && lease.State != LeaseStuck
	if stuck {
		lease.State = LeaseStuck
	}
	b.log.ErrorContext(ctx, "a lease could not be ended: it is retried", "lease", lease.ID, "name", lease.Name, "attempts", lease.Attempts, "retry", lease.Retry, "error", cause)
	err := b.update(ctx, func(tx Tx) error {
		if err := tx.Save(lease); err != nil {
			return err
		}
		if stuck {
			return b.append(tx, EventLeaseStuck, "broker", lease.ID, leaseEvent(*lease))
		}
		return nil
	})
	if err != nil {
		b.unsaved.Store(lease.ID, *lease)
	} else {
		b.unsaved.Delete(lease.ID)
	}
	return Errorf(CodeUnavailable, "the provider of %s/%s did not confirm the end: it is retried at %s", lease.Environment, lease.Target, lease.Retry.Format(time.RFC3339)).Because(errors.Join(cause, err))
}

// target finds the issuer that can end a lease: one whose provider says that it is what issued it. A
// file may have been edited, a target renamed, a DSN led elsewhere since; asked at the wrong provider, a
// credential that works on would be taken for ended.
func (b *Broker) target(ctx context.Context, lease Lease) (Target, error) {
	var failed []error
	for _, target := range b.candidates(lease) {
		identity, err := identify(ctx, target)
		if err == nil && identity.ID == lease.Identity {
			return target, nil
		}
		failed = append(failed, err)
	}
	return Target{}, Errorf(CodeUnavailable, "no target of %s is, or can be asked whether it is, what issued this lease: %s", lease.Environment, lease.Identity).
		WithNext("put the target's former configuration back").Because(errors.Join(failed...))
}

// candidates are the targets of the lease's environment, the likeliest first.
func (b *Broker) candidates(lease Lease) []Target {
	targets := b.Configuration().Targets
	own := TargetRef{lease.Environment, lease.Target}
	var likely []Target
	if was, ok := b.former.Load(lease.Binding); ok {
		likely = append(likely, was.(former).Target) //nolint:forcetypeassert // nothing else is kept there
	}
	if target, known := targets[own]; known {
		likely = append(likely, target)
	}
	for ref, target := range targets {
		if ref.Environment == own.Environment && ref != own {
			likely = append(likely, target)
		}
	}
	return likely
}

func identify(ctx context.Context, target Target) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	return target.Issuer.Identify(ctx)
}

func (b *Broker) lease(ctx context.Context, id string) (Lease, error) {
	lease := Lease{ID: id}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&lease) })
	return lease, err
}

// Release ends the agent's own lease. CodeUnavailable: the provider did not confirm; it is retried.
func (b *Broker) Release(ctx context.Context, caller Caller, id string) error {
	lease, err := b.lease(ctx, id)
	if err != nil || caller.Kind != CallerAgent || lease.Agent != caller.Name || lease.AgentKey != caller.Key {
		return noLease(id, err)
	}
	return b.end(ctx, id, CauseReleased, caller.Actor())
}

// MayRevoke tells whether the caller may end a lease: nil, or why not. Operators and the admin socket may end any,
// an agent's owner those that live on the owner's behalf.
func (b *Broker) MayRevoke(caller Caller, lease Lease) error {
	if lease.isOf(caller) || b.mustOperate(caller) == nil {
		return nil
	}
	return Errorf(CodeForbidden, "a lease is ended by an operator, or by the human whom its agent works for").WithNext("ask an operator")
}

// Revoke ends a lease, whoever may (MayRevoke).
func (b *Broker) Revoke(ctx context.Context, caller Caller, id string) error {
	lease, err := b.lease(ctx, id)
	if err != nil {
		lease = Lease{} // nobody's: who may not end it is not told whether there is one
	}
	if refused := b.MayRevoke(caller, lease); refused != nil {
		return refused
	}
	if err != nil {
		return noLease(id, err)
	}
	return b.end(ctx, id, CauseRevoked, caller.Actor())
}

func noLease(id string, err error) error {
	if err != nil && CodeOf(err) != CodeNotFound {
		return err
	}
	return Errorf(CodeNotFound, "no lease %s", clip(id)).WithNext("list them with `hourkey leases`")
}

// mustOperate lets operators and the admin socket pass.
func (b *Broker) mustOperate(caller Caller) error {
	switch {
	case caller.Kind == CallerSocket:
		return nil
	case caller.Kind == CallerHuman && b.Configuration().HasRole(caller.Name, RoleOperator):
		return nil
	}
	return Errorf(CodeForbidden, "only an operator may do this")
}
