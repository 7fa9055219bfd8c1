package broker

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	maxReason = 2000 // bytes of the agent's words
	maxScopes = 64
)

// Submit resolves, evaluates, describes and evaluates again. The request it returns is approved (collect
// it) or pending (humans decide); a denial is an error of CodeDenied whose reasons name the lines.
func (b *Broker) Submit(ctx context.Context, ask Ask) (Request, error) {
	cfg := b.Configuration()
	request, _, earlier, err := b.consider(ctx, cfg, ask)
	if err != nil || earlier {
		return request, err
	}
	err = b.keep(ctx, cfg, &request)
	return b.orEarlier(ctx, request, err)
}

// consider goes the way of a request up to its outcome and dates it; nothing is written but a denial.
// earlier: the same Idempotency-Key stood for this request before.
func (b *Broker) consider(ctx context.Context, cfg *Configuration, ask Ask) (request Request, agent Agent, earlier bool, err error) {
	if ask, err = ask.clean(); err != nil {
		return request, agent, false, err
	}
	if err := b.clockBehind(); err != nil {
		return request, agent, false, err
	}
	agent, known, err := b.admit(ctx, ask)
	if err == nil && known == nil {
		known, err = b.foldPending(ctx, Request{
			Agent: ask.Agent, AgentKey: ask.AgentKey, AskFold: ask.fold(), Config: cfg.Hash, Reason: ask.Reason, Idempotency: ask.Idempotency, AskDigest: ask.digest(),
		})
	}
	if err == nil && known == nil {
		err = b.hear(agent, ask.Task)
	}
	if err != nil || known != nil {
		return orZero(known), agent, known != nil, err
	}
	if request, err = b.decide(ctx, cfg, agent, ask); err != nil {
		return Request{}, agent, false, b.recordDenial(ctx, ask, agent, err)
	}
	if request.ID, err = b.newID(); err != nil {
		return Request{}, agent, false, err
	}
	now := b.now()
	request.Created, request.State, request.Deadline = now, RequestApproved, now.Add(CollectFor)
	if request.Decision.Outcome != Allow {
		request.State, request.Deadline = RequestPending, now.Add(PendingFor)
		request.Loss, request.Fold = cfg.loss(request), request.fold()
	}
	return request, agent, false, nil
}

func orZero(r *Request) Request {
	if r == nil {
		return Request{}
	}
	return *r
}

// clean checks what the agent sent before anything is looked up or written.
func (a Ask) clean() (Ask, error) {
	if !IsName(a.Task) {
		return a, Errorf(CodeInvalid, "task %q is not a name", clip(a.Task)).WithField("task").WithNext("list the tasks with `hourkey tasks`")
	}
	if len(a.Environments) == 0 {
		return a, Errorf(CodeInvalid, "no environment is named").WithField("environments").WithNext("list the tasks and their environments with `hourkey tasks`")
	}
	for _, name := range a.Environments {
		if !IsName(name) {
			return a, Errorf(CodeInvalid, "environment %q is not a name", clip(name)).WithField("environments")
		}
	}
	a.Environments = slices.Compact(slices.Sorted(slices.Values(a.Environments)))
	if len(a.Scopes) > maxScopes {
		return a, Errorf(CodeInvalid, "%d scopes: at most %d", len(a.Scopes), maxScopes).WithField("scopes")
	}
	for _, scope := range a.Scopes {
		if err := scope.validate(); err != nil {
			return a, err
		}
	}
	a.Scopes = Normalize(a.Scopes)
	if a.TTL < 0 || a.TTL > Hour || a.TTL%time.Second != 0 {
		return a, Errorf(CodeInvalid, "ttl %s: expected whole seconds, at most %s (invariant 1)", a.TTL, Hour).WithField("ttl")
	}
	if len(a.Reason) > maxReason || !utf8.ValidString(a.Reason) {
		return a, Errorf(CodeInvalid, "reason: expected UTF-8 of at most %d bytes", maxReason).WithField("reason")
	}
	if len(a.Idempotency) > 128 || !utf8.ValidString(a.Idempotency) {
		return a, Errorf(CodeInvalid, "Idempotency-Key: expected at most 128 bytes of UTF-8").WithField("idempotency_key")
	}
	return a, nil
}

// digest tells two asks apart that came with the same Idempotency-Key.
func (a Ask) digest() string {
	return digest("hourkey/ask/1", struct {
		Task, Reason         string
		Environments, Scopes []string
		TTL                  time.Duration
	}{a.Task, a.Reason, a.Environments, Texts(a.Scopes), a.TTL})
}

// admit looks whether the agent may ask at all, and whether it asked this before.
func (b *Broker) admit(ctx context.Context, ask Ask) (agent Agent, earlier *Request, err error) {
	err = b.store.View(ctx, func(r Reader) error {
		if agent, err = activeAgent(r, ask.Agent, ask.AgentKey); err != nil {
			return err
		}
		if earlier, err = earlierRequest(r, ask); err != nil {
			return err
		}
		if earlier != nil {
			return b.recount(r, earlier)
		}
		return b.frozen(r, ask.Agent, ask.Task, ask.Environments)
	})
	return agent, earlier, err
}

// activeAgent loads an agent that may act with this key.
func activeAgent(r Reader, name, key string) (Agent, error) {
	agent := Agent{Name: name}
	found, err := load(r, &agent)
	switch {
	case err != nil:
		return agent, err
	case !found, agent.State == AgentRemoved, agent.State == AgentInvited:
		return agent, Errorf(CodeUnauthenticated, "no agent %q is enrolled", clip(name)).WithNext("ask an operator for `hourkeyd agent add %s --owner YOU`, then `hourkey enroll`", clip(name))
	case agent.State == AgentInert:
		return agent, Errorf(CodeForbidden, "agent %q is inert until its owner %s signs it", name, agent.Owner).WithNext("ask %s to sign it on the approval page", agent.Owner)
	case agent.Thumbprint != key || key == "":
		return agent, Errorf(CodeUnauthenticated, "agent %q has another key by now", name).WithNext("enrol again")
	}
	return agent, nil
}

// decide is the way of a request up to its outcome: nothing is written. A denial is an error.
func (b *Broker) decide(ctx context.Context, cfg *Configuration, agent Agent, ask Ask) (Request, error) {
	resolution, err := cfg.Policy.Resolve(ask)
	if err != nil {
		return Request{}, err
	}
	ttl := resolution.TTL
	if ttl <= 0 || ttl > Hour {
		ttl = Hour
	}
	request := Request{
		Agent: ask.Agent, AgentKey: ask.AgentKey, Owner: agent.Owner, Task: ask.Task, Environments: ask.Environments,
		Reason: ask.Reason, TTL: ttl, Decision: Decision{Outcome: Allow}, Config: cfg.Hash,
		Idempotency: ask.Idempotency, AskDigest: ask.digest(), AskFold: ask.fold(),
	}
	for _, item := range resolution.Items {
		asked := b.evaluate(cfg, agent, ask.Task, item.Environment, item.Target, item.Scopes, false)
		if asked.Outcome == Deny {
			return Request{}, denied(asked)
		}
		request.decided(asked, item.Environment)
		request.Items = append(request.Items, Item{Environment: item.Environment, Target: item.Target, Asked: Normalize(item.Scopes)})
	}
	if len(request.Items) == 0 {
		return Request{}, Errorf(CodeDenied, "task %s stands for nothing in %v", ask.Task, ask.Environments)
	}
	for i := range request.Items { // a separate loop: no provider is called before every item passed
		if err := b.describeItem(ctx, cfg, agent, &request, &request.Items[i]); err != nil {
			return Request{}, err
		}
	}
	return request, cfg.settle(&request)
}

// evaluateDescribed asks the policy about a description. What its walls do not hold no task needs to give, because
// humans approve it (settle); a guardrail that forbids it holds all the same.
func (b *Broker) evaluateDescribed(cfg *Configuration, agent Agent, task, environment, target string, d Description) Decision {
	decision := b.evaluate(cfg, agent, task, environment, target, d.Scopes, true)
	gives := d.gives()
	if len(gives) == 0 || decision.Outcome == Deny {
		return decision
	}
	forbidden := cfg.ask(Query{
		Agent: agent.Name, Owner: agent.Owner, Task: task,
		Environment: environment, Target: target, Scopes: gives, Described: true, Granted: true,
	})
	if forbidden.Outcome.known() == Deny {
		return forbidden
	}
	return decision
}

// evaluate asks the policy; unknown outcomes count as deny.
func (b *Broker) evaluate(cfg *Configuration, agent Agent, task, environment, target string, scopes []Scope, described bool) Decision {
	if at, known := cfg.Targets[TargetRef{environment, target}]; known && at.Issuer.Capabilities().Gateway {
		described = false // each name will be evaluated when it is used
	}
	decision := cfg.ask(Query{
		Agent: agent.Name, Owner: agent.Owner, Task: task,
		Environment: environment, Target: target, Scopes: scopes, Described: described,
	})
	decision.Outcome = decision.Outcome.known()
	return decision
}

func denied(d Decision) *Error {
	e := Errorf(CodeDenied, "policy denies this")
	for _, reason := range d.Reasons {
		if reason.Outcome == Deny {
			e.Message = reason.Text
			break
		}
	}
	e.Reasons = d.Reasons
	return e
}

// keep writes the decided request, unless the world changed while it was described.
func (b *Broker) keep(ctx context.Context, cfg *Configuration, request *Request) error {
	enter := b.enter(cfg, request)
	return b.update(ctx, func(tx Tx) error {
		if err := enter(tx); err != nil {
			return err
		}
		return tx.Save(request)
	})
}

// enter gives what lets a new request into the store: all but the record itself, which the caller saves as
// it then stands. What can be prepared is prepared outside: transactions run one at a time.
func (b *Broker) enter(cfg *Configuration, request *Request) func(Tx) error {
	submitted := b.requestEvent(*request)
	return func(tx Tx) error {
		if err := b.mayEnter(tx, cfg, request); err != nil {
			return err
		}
		return b.append(tx, EventRequestSubmitted, "agent:"+request.Agent, request.ID, submitted)
	}
}

func (b *Broker) mayEnter(tx Tx, cfg *Configuration, request *Request) error {
	if err := b.agentMay(tx, *request); err != nil {
		return err
	}
	if b.files.Load().Hash != request.Config { // else it would be closed at once: closeOutdated
		return Errorf(CodeConflict, "the configuration changed while this was decided").WithNext("make the request again")
	}
	if request.Idempotency != "" {
		key := &idempotency{Agent: request.Agent, Value: request.Idempotency}
		switch found, err := load(tx, key); {
		case err != nil:
			return err
		case found:
			return errEarlier
		}
		key.Request, key.Expires = request.ID, request.Created.Add(24*time.Hour)
		if err := tx.Save(key); err != nil {
			return err
		}
	}
	if err := roomForUncollected(tx, cfg, *request); err != nil {
		return err
	}
	if request.State != RequestPending {
		return nil
	}
	if request.Operation == nil { // an operation's are told apart in once
		if same, err := pendingSame(tx, *request, b.now()); err != nil || same != nil {
			return errors.Join(err, errSame)
		}
	}
	if err := b.rested(tx, *request); err != nil {
		return err
	}
	return roomForPending(tx, cfg, *request)
}

// roomForPending keeps one agent from tiring its reviewers.
func roomForPending(r Reader, cfg *Configuration, request Request) error {
	limit := cfg.Limits.PendingPerAgent
	if limit <= 0 {
		return nil
	}
	n, err := count(r, "request", "pending/"+request.Agent, limit)
	if err == nil && n >= limit {
		return Errorf(CodeSlowDown, "%s of %s wait for a human already", plural(n, "request"), request.Agent).WithNext("wait for them, or cancel one")
	}
	return err
}

// roomForUncollected keeps one agent from filling the store with what it is given and never fetches: all that waited
// may have been approved, and all leases that it may have may have been asked for at once, and not more.
func roomForUncollected(r Reader, cfg *Configuration, request Request) error {
	if cfg.Limits.PendingPerAgent <= 0 || cfg.Limits.LeasesPerAgent <= 0 {
		return nil
	}
	limit := cfg.Limits.PendingPerAgent + cfg.Limits.LeasesPerAgent
	n, err := count(r, "request", uncollectedIndex(request.Agent), limit)
	if err == nil && n >= limit {
		return Errorf(CodeSlowDown, "%s of %s are approved and not collected", plural(n, "request"), request.Agent).
			WithNext("collect them (`hourkey exec --request ID`), or wait: each ends %s after its approval", inWords(CollectFor))
	}
	return err
}

// recordDenial writes down that policy, or a wall, said no.
func (b *Broker) recordDenial(ctx context.Context, ask Ask, agent Agent, refusal error) error {
	code := CodeOf(refusal)
	if code != CodeDenied && code != CodeWall && code != CodeUnconfirmed {
		return refusal
	}
	if err := b.mayIdle(agent, ask.Task); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor) // hanging up hides no probe
	defer cancel()
	counted := func(Tx) error { return nil } // a wall that is missing is not the agent's doing
	if code == CodeDenied {
		counted = b.countRefusal(ask)
	}
	err := b.update(ctx, func(tx Tx) error {
		return errors.Join(counted(tx), b.append(tx, EventRequestDenied, "agent:"+ask.Agent, ask.Task, denialEvent(ask, agent, refusal)))
	})
	if err != nil {
		b.log.ErrorContext(ctx, "a denial could not be recorded", "error", err)
	}
	return refusal
}
