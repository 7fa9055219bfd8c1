package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Collect issues what was granted: all items or none. A second collect ends the first one's leases,
// verified, and issues with the original expiry; for delete and admin there is no second.
func (b *Broker) Collect(ctx context.Context, caller Caller, id string) ([]Credential, error) {
	defer b.collects.lock(id)()
	cfg := b.Configuration()
	request, approvals, err := b.collectable(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	if request.Collected > 0 {
		if err := b.replace(ctx, request); err != nil {
			return nil, err
		}
	}
	g, err := b.derive(ctx, cfg, caller, request, approvals)
	if err != nil {
		return nil, b.recordRefusedCollect(ctx, request, err)
	}
	credentials, err := b.issue(ctx, cfg, g, nil)
	if err != nil {
		return nil, b.recordRefusedCollect(ctx, request, err)
	}
	return credentials, nil
}

// Take is Submit and, when nothing waits for a human, Collect in the same breath: what was decided a
// moment ago need not be decided again, and request and lease are written in one transaction. Without
// credentials and without error the request waits, or was made before with the same Idempotency-Key.
func (b *Broker) Take(ctx context.Context, ask Ask) (Request, []Credential, error) {
	cfg := b.Configuration()
	request, agent, earlier, err := b.consider(ctx, cfg, ask)
	if err != nil || earlier {
		return request, nil, err
	}
	if request.State != RequestApproved {
		err = b.keep(ctx, cfg, &request)
		request, err = b.orEarlier(ctx, request, err)
		return request, nil, err
	}
	defer b.collects.lock(request.ID)()
	g := grant{request: request, agent: agent, items: request.Items, expires: request.Created.Add(request.TTL)}
	credentials, err := b.issue(ctx, cfg, g, b.enter(cfg, &request))
	if errors.Is(err, errEarlier) {
		request, err = b.orEarlier(ctx, request, err)
		return request, nil, err
	}
	if err != nil {
		return Request{}, nil, b.recordRefusedCollect(ctx, request, err)
	}
	request.State, request.Collected, request.Expires = RequestCollected, 1, g.expires
	return request, credentials, nil
}

// collectable loads the agent's own request and says why it cannot be collected, if so.
func (b *Broker) collectable(ctx context.Context, caller Caller, id string) (request Request, approvals []Approval, err error) {
	request.ID = id
	err = b.store.View(ctx, func(r Reader) error {
		if found, err := load(r, &request); err != nil || !found || !mine(caller, request) {
			return errors.Join(err, noRequest(id))
		}
		approvals, err = approvalsOf(r, id)
		return err
	})
	if err != nil {
		return request, nil, err
	}
	now := b.now()
	switch request.State {
	case RequestPending:
		return request, nil, Errorf(CodePending, "a human has not decided yet").WithNext("wait with `hourkey wait %s`", id)
	case RequestDenied:
		return request, nil, Errorf(CodeDenied, "a reviewer denied this: %s", orElse(request.Verdict, "no reason was given"))
	case RequestExpired, RequestCancelled:
		return request, nil, over(request)
	case RequestApproved, RequestCollected:
	}
	switch {
	case request.Operation != nil:
		return request, nil, Errorf(CodeConflict, "this approval is for one call through the gateway, not for a credential").WithNext("make the same call again")
	case now.After(request.Deadline):
		return request, nil, Errorf(CodeExpired, "this had to be collected by %s", request.Deadline.Format(time.RFC3339)).WithNext("make a new request")
	case request.Collected > 0 && request.Actions().NeedsHuman():
		return request, nil, Errorf(CodeExpired, "a credential that may %s is shown once", request.Actions()).WithNext("make a new request")
	case request.Collected > 0 && !now.Before(request.Expires):
		return request, nil, Errorf(CodeExpired, "its hour is over").WithNext("make a new request")
	}
	return request, approvals, nil
}

// over is a request that ended without a no.
func over(request Request) *Error {
	e := Errorf(CodeExpired, "this request is %s", request.State).WithNext("make a new request")
	if request.Verdict != "" {
		e.Message += ": " + request.Verdict
	}
	return e
}

func mine(caller Caller, request Request) bool {
	return caller.Kind == CallerAgent && caller.Name == request.Agent && caller.Key == request.AgentKey
}

func noRequest(id string) *Error { return Errorf(CodeNotFound, "no request %s", clip(id)) }

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// approvalsOf lists a request's approvals in the order in which they were given, those that were left out included.
func approvalsOf(r Reader, request string) ([]Approval, error) {
	void, err := list[Approval](r, "approval", "void/"+request)
	if err != nil {
		return nil, err
	}
	approvals, err := list[Approval](r, "approval", "request/"+request)
	approvals = append(void, approvals...)
	slices.SortStableFunc(approvals, func(a, b Approval) int { return a.At.Compare(b.At) })
	return approvals, err
}

// replace ends, verified, what an earlier collect of the same request issued.
func (b *Broker) replace(ctx context.Context, request Request) error {
	var leases []Lease
	err := b.store.View(ctx, func(r Reader) (err error) {
		leases, err = list[Lease](r, "lease", "request/"+request.ID)
		return err
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(leases, isRevoked) {
		return Errorf(CodeDenied, "a human revoked what this request gave").WithNext("make a new request")
	}
	for _, lease := range leases {
		if !lease.Open() {
			continue
		}
		if err := b.end(ctx, lease.ID, CauseReplaced, "agent:"+request.Agent); err != nil {
			return err
		}
		if ended, err := b.lease(ctx, lease.ID); err != nil || ended.Open() {
			return Errorf(CodeConflict, "the credential that was collected before cannot be ended before %s", lease.Expires.Format(time.RFC3339)).
				WithNext("make a new request").Because(err)
		}
	}
	return nil
}

// issue is two transactions around the provider calls; see docs/lease.md. One is enough when no issuer
// calls anybody. before, if any, comes first in the first of them, instead of the look whether the request
// is unchanged.
func (b *Broker) issue(ctx context.Context, cfg *Configuration, g grant, before func(Tx) error) ([]Credential, error) {
	leases, targets, local, err := b.plan(cfg, g)
	if err != nil {
		return nil, err
	}
	if local {
		return b.issueLocal(ctx, cfg, g, leases, targets, before)
	}
	done := sync.OnceFunc(b.underWay(leases)) // before anybody can read that they are issuing
	defer done()                              // when an issuer panics, too
	b.failpoint("issue.intent.before")
	if err := b.update(ctx, func(tx Tx) error { return b.intend(tx, cfg, g, leases, before) }); err != nil {
		return nil, err
	}
	b.failpoint("issue.intent.after")
	// From here on the outcome is recorded even when the agent has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(len(leases)+1)*providerTimeout)
	defer cancel()
	credentials, err := b.callIssuers(ctx, g, leases, targets)
	if err == nil {
		b.failpoint("issue.live.before")
		err = b.update(ctx, func(tx Tx) error { return b.makeLive(tx, g, leases) })
		b.failpoint("issue.live.after")
	}
	done()
	if err != nil {
		return nil, b.undo(ctx, leases, err)
	}
	return credentials, nil
}

// plan makes the leases of a grant.
func (b *Broker) plan(cfg *Configuration, g grant) (leases []*Lease, targets []Target, local bool, err error) {
	now, local := b.now(), true
	if !g.expires.After(now) || g.expires.Sub(now) > Hour {
		return nil, nil, false, Errorf(CodeExpired, "nothing is left of its time").WithNext("make a new request")
	}
	for _, item := range g.items {
		target := cfg.Targets[TargetRef{item.Environment, item.Target}]
		id, err := b.newID()
		if err != nil {
			return nil, nil, false, err
		}
		expires := g.expires
		if end := now.Add(item.Description.TTL); end.Before(expires) {
			expires = end
		}
		leases = append(leases, &Lease{
			ID: id, Name: b.name(id), Request: g.request.ID, Agent: g.request.Agent, AgentKey: g.request.AgentKey, Owner: g.request.Owner,
			Task: g.request.Task, Environment: item.Environment, Target: item.Target, Binding: target.Binding,
			Scopes: item.Description.Scopes, Reaches: item.environments(), Identity: item.Description.Identity,
			State: LeaseIssuing, EndsEarly: target.Issuer.Capabilities().EndsEarly, Created: now, Expires: expires,
		})
		targets = append(targets, target)
		local = local && target.Issuer.Capabilities().Local
	}
	return leases, targets, local, nil
}

// name is what a lease is called at its provider (invariant 8).
func (b *Broker) name(lease string) string { return namePrefix(b.Installation().ID) + lease }

func namePrefix(installation string) string { return leaseBegins + installation + "-" }

const leaseBegins = "hk-"

// IsLeaseName tells whether a broker can have given the name (invariant 8): an issuer ends nothing else.
func IsLeaseName(name string) bool {
	rest, ok := strings.CutPrefix(name, leaseBegins)
	return ok && rest != "" && len(name) <= 63 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// intend is the first transaction: nothing is issued that was not first recorded (invariants 2 and 8).
func (b *Broker) intend(tx Tx, cfg *Configuration, g grant, leases []*Lease, before func(Tx) error) error {
	if before == nil {
		before = func(tx Tx) error { return b.unchanged(tx, g.request) }
	}
	if err := errors.Join(b.stillDecided(g), before(tx)); err != nil {
		return err
	}
	now := g.request
	if err := roomForLeases(tx, cfg, g.request.Agent, len(leases)); err != nil {
		return err
	}
	now.State, now.Expires = RequestCollected, g.expires
	now.Collected++
	if err := tx.Save(&now); err != nil {
		return err
	}
	for _, lease := range leases {
		if err := tx.Save(lease); err != nil {
			return err
		}
		kind := EventLeaseIssuing
		if lease.State == LeaseLive {
			kind = EventLeaseIssued
		}
		if err := b.append(tx, kind, "agent:"+lease.Agent, lease.ID, leaseEvent(*lease)); err != nil {
			return err
		}
	}
	return nil
}

// unchanged says that nobody was quicker, and that agent and freezes are as they must be.
func (b *Broker) unchanged(r Reader, request Request) error {
	stored := progress{ID: request.ID}
	if err := r.Load(&stored); err != nil {
		return err
	}
	if stored.State != request.State || stored.Collected != request.Collected {
		return Errorf(CodeConflict, "the request changed while it was collected").WithNext("try again")
	}
	return b.agentMay(r, request)
}

// agentMay is checked in every transaction of issuing.
func (b *Broker) agentMay(r Reader, request Request) error {
	if _, err := activeAgent(r, request.Agent, request.AgentKey); err != nil {
		return err
	}
	return b.frozen(r, request.Agent, request.Task, request.Environments)
}

// stillDecided is too: the clock, and what the decision was made under.
func (b *Broker) stillDecided(g grant) error {
	if err := b.clockBehind(); err != nil {
		return err
	}
	if b.Configuration().Hash != g.request.Config {
		return stale("the configuration changed while this was collected")
	}
	return nil
}

func roomForLeases(r Reader, cfg *Configuration, agent string, more int) error {
	limit := cfg.Limits.LeasesPerAgent
	if limit <= 0 {
		return nil
	}
	open, err := count(r, "lease", "open/"+agent, limit)
	if err == nil && open+more > limit {
		return Errorf(CodeSlowDown, "%s has %s open and may have %d", agent, plural(open, "lease"), limit).WithNext("release one with `hourkey release`, or wait for an end; where the provider cannot end a key early, a released one counts until its time is over")
	}
	return err
}

// underWay marks leases as being issued; who wants to end one waits for done.
func (b *Broker) underWay(leases []*Lease) (done func()) {
	ready := make(chan struct{})
	for _, lease := range leases {
		b.issuing.Store(lease.ID, ready)
	}
	return func() {
		for _, lease := range leases {
			b.issuing.Delete(lease.ID)
		}
		close(ready)
	}
}

func (b *Broker) callIssuers(ctx context.Context, g grant, leases []*Lease, targets []Target) ([]Credential, error) {
	credentials := make([]Credential, len(leases))
	for i, lease := range leases {
		var err error
		if credentials[i], err = b.callIssuer(ctx, g, g.items[i], lease, targets[i]); err != nil {
			return nil, err
		}
	}
	return credentials, nil
}

// callIssuer issues one credential and seals its handle into the lease. What lives longer than was
// decided is refused (invariant 1).
func (b *Broker) callIssuer(ctx context.Context, g grant, item Item, lease *Lease, target Target) (Credential, error) {
	ref := TargetRef{lease.Environment, lease.Target}
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	b.failpoint("issue.provider.before")
	credential, handle, err := target.Issuer.Issue(ctx, Order{
		Name: lease.Name, Lease: lease.ID, Description: item.Description, TTL: lease.Expires.Sub(b.now()), Expires: lease.Expires,
		Agent: g.request.Agent, Owner: g.request.Owner, Task: g.request.Task,
	})
	b.failpoint("issue.provider.after")
	if err != nil {
		return Credential{}, providerError("issuing", ref, err)
	}
	if gateway := target.Issuer.Capabilities().Gateway; gateway != (credential.Gateway != nil) || gateway && len(credential.Values) > 0 {
		return Credential{}, Errorf(CodeInternal, "%s returned another kind of credential than it declares: it is ended", ref)
	}
	if credential.Gateway != nil {
		lease.Token = hashToken(credential.Gateway.Token)
	}
	if len(handle) > 0 {
		if lease.Handle, err = b.sealer.Seal(handle, "lease/"+lease.ID); err != nil {
			return Credential{}, Errorf(CodeInternal, "the broker could not seal a handle").Because(err)
		}
	}
	if credential.Expires.IsZero() || credential.Expires.After(lease.Expires.Add(time.Second)) {
		return Credential{}, Errorf(CodeUnavailable, "%s returned a credential that outlives what was decided: it is ended", ref)
	}
	credential.Environment, credential.Target, credential.Lease, credential.Scopes = lease.Environment, lease.Target, lease.ID, lease.Scopes
	return credential, nil
}

// makeLive is the second transaction. It refuses when the world changed during the provider call.
func (b *Broker) makeLive(tx Tx, g grant, leases []*Lease) error {
	if err := errors.Join(b.stillDecided(g), b.agentMay(tx, g.request)); err != nil {
		return err
	}
	for _, lease := range leases {
		now := Lease{ID: lease.ID}
		if err := tx.Load(&now); err != nil {
			return err
		}
		if now.State != LeaseIssuing {
			return Errorf(CodeConflict, "the lease was ended while it was issued (%s)", orElse(string(now.Cause), string(now.State)))
		}
		if !b.now().Before(lease.Expires) {
			return Errorf(CodeExpired, "the provider took longer than the lease lasts")
		}
		live := *lease
		live.State = LeaseLive
		if err := tx.Save(&live); err != nil {
			return err
		}
		if err := b.append(tx, EventLeaseIssued, "agent:"+lease.Agent, lease.ID, leaseEvent(live)); err != nil {
			return err
		}
	}
	return nil
}

// issueLocal commits once: the credential is made of our own keys and calls nobody.
func (b *Broker) issueLocal(ctx context.Context, cfg *Configuration, g grant, leases []*Lease, targets []Target, before func(Tx) error) ([]Credential, error) {
	credentials, err := b.callIssuers(ctx, g, leases, targets)
	if err != nil {
		return nil, err
	}
	for _, lease := range leases {
		lease.State = LeaseLive
	}
	if err := b.update(ctx, func(tx Tx) error { return b.intend(tx, cfg, g, leases, before) }); err != nil {
		return nil, err
	}
	return credentials, nil
}

// undo ends whatever an issue that failed may have made. What cannot be ended now, the sweeper retries.
func (b *Broker) undo(ctx context.Context, leases []*Lease, cause error) error {
	var open []string
	for _, lease := range leases {
		if err := b.endAs(ctx, lease.ID, lease.Handle, CauseFailed, "broker"); err != nil {
			open = append(open, lease.Name)
			b.log.ErrorContext(ctx, "a credential that was not handed out could not be ended yet: it is retried", "lease", lease.ID, "error", err)
		}
	}
	if len(open) == 0 {
		b.giveBack(ctx, leases[0].Request)
	}
	if e, ok := errors.AsType[*Error](cause); ok && len(open) > 0 {
		also := *e
		also.Message += "; the broker is still ending " + strings.Join(open, ", ")
		return &also
	}
	return cause
}

// isRevoked: a human took it back, so the same request gives it no second time.
func isRevoked(l Lease) bool { return l.Cause == CauseRevoked }

// giveBack lets a request be collected whose first collect came to nothing: no key was handed out, and
// whatever the provider had made is ended, verified. Not when a human's revoke was the reason.
func (b *Broker) giveBack(ctx context.Context, id string) {
	err := b.update(ctx, func(tx Tx) error {
		request := Request{ID: id}
		if err := tx.Load(&request); err != nil || request.State != RequestCollected || request.Collected != 1 {
			return err
		}
		leases, err := list[Lease](tx, "lease", "request/"+id)
		if err != nil || slices.ContainsFunc(leases, isRevoked) {
			return err
		}
		request.State, request.Collected, request.Expires = RequestApproved, 0, time.Time{}
		if err := tx.Save(&request); err != nil || request.Config == b.files.Load().Hash {
			return err
		}
		return b.close(tx, request, RequestExpired, EventRequestExpired, "broker", outdated)
	})
	if err != nil {
		b.log.WarnContext(ctx, "a collect that failed counts as one", "request", id, "error", err)
	}
}

// recordRefusedCollect writes down that something was decided and yet not issued.
func (b *Broker) recordRefusedCollect(ctx context.Context, request Request, refusal error) error {
	agent, full := Agent{Name: request.Agent, Owner: request.Owner, Thumbprint: request.AgentKey}, CodeOf(refusal) == CodeSlowDown
	switch { // who is at a limit is told so and heard on: the next ask may find room
	case full && b.full.take(agent, request.Task, b.now()) > 0:
		return refusal
	case !full:
		if err := b.mayIdle(agent, request.Task); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	err := b.update(ctx, func(tx Tx) error {
		data := b.requestEvent(request)
		data.Outcome, data.Code, data.Refusal = Deny, CodeOf(refusal), messageOf(refusal)
		return b.append(tx, EventCollectRefused, "agent:"+request.Agent, request.ID, data)
	})
	if err != nil {
		b.log.ErrorContext(ctx, "a refused collect could not be recorded", "error", err)
	}
	return refusal
}

// messageOf is what may be shown or recorded of an error.
func messageOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "an internal error"
}
