package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// calledBack tells whether a human ended, by revoke or freeze, a lease of the request's agent and task since it was made:
// whoever did that takes back what was approved as well, though the agent has another lease by now.
func calledBack(r Reader, request Request) (back bool, err error) {
	err = r.Scan("lease", "agent/"+request.Agent, func(raw []byte) error {
		var lease Lease
		if err := json.Unmarshal(raw, &lease); err != nil {
			return fmt.Errorf("reading lease: %w", err)
		}
		if lease.Created.Before(request.Created.Add(-Hour)) { // over by then, as are all that are older
			return ErrStop
		}
		ended := lease.Cause == CauseRevoked || lease.Cause == CauseFrozen
		if back = ended && lease.Task == request.Task && lease.Ordered.After(request.Created); back {
			return ErrStop
		}
		return nil
	})
	return back, err
}

// maxOperation bounds what a human can be asked to read: what cannot be shown in full is not approved.
const maxOperation = 64 << 10

// once lets a call pass for which humans signed, this call and no other; it asks them if the task offers
// what the call does (approve on use).
func (b *Broker) once(ctx context.Context, cfg *Configuration, u use, missing []Touched) (Pass, error) {
	request, err := b.askFor(ctx, cfg, u, missing)
	if err != nil {
		return Pass{}, err
	}
	defer b.collects.lock("operation/" + request.Operation.Digest)()
	earlier, err := b.askedBefore(ctx, request.Operation.Digest, u.Lease)
	if err != nil {
		return Pass{}, err
	}
	switch denied, err := b.deniedBefore(ctx, cfg, request); {
	case err != nil:
		return Pass{}, err
	case denied != nil:
		return Pass{}, denied
	}
	switch {
	case earlier == nil || earlier.Config != cfg.Hash:
	case earlier.State == RequestPending && b.now().Before(earlier.Deadline):
		return Pass{}, b.waitsFor(*earlier, u)
	case earlier.State == RequestApproved && b.now().Before(earlier.Deadline):
		return b.useUp(ctx, cfg, u, *earlier, request.Items)
	}
	return Pass{}, b.ask(ctx, cfg, u, request)
}

// askFor makes the request for one call, decided but for the humans. It refuses what no human could let
// pass: what the task does not offer, what a guardrail forbids, an environment that the lease's own
// request does not name.
func (b *Broker) askFor(ctx context.Context, cfg *Configuration, u use, missing []Touched) (Request, error) {
	from := Request{ID: u.Lease.Request}
	if err := b.store.View(ctx, func(r Reader) error { return r.Load(&from) }); err != nil {
		return Request{}, err
	}
	for _, reached := range u.reaches {
		if !slices.Contains(from.Environments, reached) {
			return Request{}, Errorf(CodeDenied, "%s; this lease works in %s alone (invariant 4)", u.says(), u.Lease.Environment).
				WithNext("leave it alone, or ask for both: --environment %s --environment %s", u.Lease.Environment, reached)
		}
	}
	scopes, err := b.offered(cfg, u, missing)
	if err != nil {
		return Request{}, err
	}
	if err := b.guarded(cfg, u); err != nil {
		return Request{}, err
	}
	digest, about, err := u.operationDigests()
	if err != nil {
		return Request{}, err
	}
	request := Request{
		Agent: u.Lease.Agent, AgentKey: u.Lease.AgentKey, Owner: u.agent.Owner, Task: u.Lease.Task, Environments: u.reaches,
		Reason: from.Reason, TTL: CollectFor, Decision: Decision{Outcome: Allow}, Config: cfg.Hash, AskDigest: digest,
		Operation: &Operation{Digest: digest, About: about, Lease: u.Lease.ID, Text: u.Operation, Names: u.names()},
		Items:     []Item{u.item(scopes, b)},
	}
	for _, environment := range u.reaches {
		decision := b.evaluate(cfg, u.agent, request.Task, environment, u.Lease.Target, scopes, true)
		if decision.Outcome == Deny {
			return Request{}, denied(decision)
		}
		request.decided(decision, environment)
	}
	if u.reachesOut() {
		for _, environment := range u.reaches { // whatever it does there: humans of each environment (invariant 4)
			request.need(environment, 1)
		}
		request.Decision.Outcome = Escalate
	}
	if len(u.Operation) > maxOperation {
		return Request{}, Errorf(CodeDenied, "this call is longer than a human can be shown (%d bytes): it cannot be approved", len(u.Operation))
	}
	if err := cfg.settle(&request); err != nil {
		return Request{}, err
	}
	if len(request.Needs) == 0 { // the task gives it, and this lease is smaller
		return Request{}, u.notCovered(missing)
	}
	return request, nil
}

// offered names what is touched by names for which the task gives or offers it.
func (b *Broker) offered(cfg *Configuration, u use, missing []Touched) ([]Scope, error) {
	var scopes []Scope
	called := map[Resource]Resource{} // name → the surest name of what has it
	for _, touched := range u.Touches {
		at := slices.IndexFunc(touched.Names, func(name Resource) bool {
			_, err := cfg.Policy.Resolve(Ask{
				Agent: u.Lease.Agent, AgentKey: u.Lease.AgentKey, Task: u.Lease.Task, Environments: u.reaches,
				Scopes: []Scope{{u.Lease.Target, name, touched.Actions}},
			})
			return err == nil
		})
		if at < 0 {
			if len(missing) == 0 {
				missing = []Touched{touched}
			}
			return nil, u.notCovered(missing)
		}
		name := touched.Names[at]
		if other, taken := called[name]; taken && other != touched.Names[0] {
			return nil, Errorf(CodeDenied, "%s and %s are both called %s, and the task offers it by that name: nobody could be shown which is meant", other, touched.Names[0], name)
		}
		called[name] = touched.Names[0]
		scopes = append(scopes, Scope{u.Lease.Target, name, touched.Actions})
	}
	return Normalize(scopes), nil
}

// notCovered says what the call would do that the lease does not cover, and what it covers.
func (u use) notCovered(missing []Touched) error {
	return Errorf(CodeDenied, "this call would %s %s, which this lease does not cover; it covers %s", missing[0].Actions, missing[0].Names[0], strings.Join(Texts(u.Lease.Scopes), " ")).
		WithNext("ask for it, if the task offers it: hourkey request --task %s --environment %s --scope %s --wait", u.Lease.Task, u.Lease.Environment,
			Scope{u.Lease.Target, missing[0].Names[0], missing[0].Actions})
}

// says joins what is told of the things that are touched.
func (u use) says() string {
	var all []string
	for _, touched := range u.Touches {
		text := string(touched.Names[len(touched.Names)-1])
		if touched.Says != "" {
			text += " (" + touched.Says + ")"
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return short(strings.Join(all, ", "))
}

// item describes the call as reviewers see it. What may change from minute to minute is a fact.
func (u use) item(scopes []Scope, b *Broker) Item {
	at, identity := u.Lease.Environment, u.Lease.Identity
	if !slices.Contains(u.reaches, at) { // it happens elsewhere, and nowhere else
		at, identity = u.reaches[0], u.Touches[0].Places[0].Identity
	}
	d := Description{
		Identity: identity, Scopes: scopes, Reaches: u.reaches, Native: strings.Split(u.Operation, "\n"), TTL: CollectFor,
		Walls: []WallFact{{Stops: "any other call", Wall: WallGateway, How: "the gateway lets exactly this operation pass, once, if it still reaches the same"}},
		Ends:  "with the call; what the call does stays",
	}
	if u.Exact != "" {
		d.Native = append(d.Native, "(values that are secrets are hidden; the approval is for exactly these)")
	}
	var facts []Fact
	for _, touched := range u.Touches {
		for _, place := range touched.Places {
			if place.Identity != identity {
				d.Elsewhere = append(d.Elsewhere, fmt.Sprintf("%s lives in %s", touched.Names[len(touched.Names)-1], orElse(place.Shown, place.Identity)))
			}
		}
		if touched.Says != "" {
			facts = append(facts, Fact{About: string(touched.Names[len(touched.Names)-1]), Text: touched.Says, At: b.now()})
		}
	}
	return Item{Environment: at, Target: u.Lease.Target, Asked: scopes, Description: d, Facts: append(facts, u.Facts...)}
}

// askedBefore finds the newest request for the very same call by the same key, unless a human called it back since.
func (b *Broker) askedBefore(ctx context.Context, digest string, lease Lease) (*Request, error) {
	var found *Request
	back := false
	err := b.store.View(ctx, func(r Reader) error {
		err := r.Scan("request", "operation/"+digest, func(raw []byte) error {
			found = &Request{}
			if err := json.Unmarshal(raw, found); err != nil {
				return fmt.Errorf("reading request: %w", err)
			}
			return ErrStop
		})
		if err == nil && found != nil {
			back, err = calledBack(r, *found)
		}
		return err
	})
	if err != nil || found == nil || back || found.Agent != lease.Agent || found.AgentKey != lease.AgentKey {
		return nil, err
	}
	return found, nil
}

// manyNos is after how many of them nothing more is asked, in other words, about the same things for an hour.
const manyNos = 3

// deniedBefore finds a no of this hour by which the same key may not ask: one to the very same call, through
// whatever lease it was tried, or so many to the same done to the same things that a human is being tired.
func (b *Broker) deniedBefore(ctx context.Context, cfg *Configuration, request Request) (denied *Error, err error) {
	nos := 0
	err = b.store.View(ctx, func(r Reader) error {
		return r.Scan("request", "about/"+request.Operation.About, func(raw []byte) error {
			var earlier Request
			if err := json.Unmarshal(raw, &earlier); err != nil {
				return fmt.Errorf("reading request: %w", err)
			}
			if b.now().Sub(earlier.Created) > Hour {
				return ErrStop
			}
			if earlier.State != RequestDenied || earlier.Config != cfg.Hash {
				return nil
			}
			if nos++; nos >= manyNos || earlier.Operation.Text == request.Operation.Text {
				denied = Errorf(CodeDenied, "a reviewer denied this: %s (request %s)", orElse(earlier.Verdict, "no reason was given"), earlier.ID).
					WithNext("do not try it again")
				return ErrStop
			}
			return nil
		})
	})
	return denied, err
}

// ask keeps the request for humans to decide.
func (b *Broker) ask(ctx context.Context, cfg *Configuration, u use, request Request) error {
	var err error
	if request.ID, err = b.newID(); err != nil {
		return err
	}
	now := b.now()
	request.Created, request.State, request.Deadline = now, RequestPending, now.Add(PendingFor)
	request.Loss = cfg.loss(request)
	if err := b.keep(ctx, cfg, &request); err != nil {
		return err
	}
	b.changed.notify()
	return b.waitsFor(request, u)
}

// waitsFor is what the agent reads, in one line: what it would do, that a human was asked, where, and
// what to do after that.
func (b *Broker) waitsFor(request Request, u use) error {
	e := Errorf(CodePending, "this call would %s %s. A human was asked: %s/requests/%s (request %s)", and(u.actions().Names()), u.says(), b.origin, request.ID, request.ID).
		WithNext("wait with `hourkey wait %s`, then make the same call again", request.ID)
	e.Request, e.URL = request.ID, b.origin+"/requests/"+request.ID
	return e
}

// useUp verifies everything once more and consumes the approval in the transaction that records the call,
// before anything is forwarded. What the call reaches was looked up a moment ago; if it differs from what
// was signed, so does its description, and nothing passes.
func (b *Broker) useUp(ctx context.Context, cfg *Configuration, u use, request Request, items []Item) (Pass, error) {
	if !items[0].Description.same(request.Items[0].Description) {
		return Pass{}, stale("what the call would do changed since it was approved")
	}
	err := b.store.View(ctx, func(r Reader) error {
		approvals, err := approvalsOf(r, request.ID)
		if err != nil {
			return err
		}
		if err := b.verifyApprovals(r, cfg, request, approvals); err != nil {
			return err
		}
		return stillEnough(cfg, request, items, approvals)
	})
	if err != nil {
		return Pass{}, err
	}
	data := u.event()
	data.Approval = request.ID
	err = b.update(ctx, func(tx Tx) error {
		if err := errors.Join(b.unended(tx, u.Lease.ID), b.unchanged(tx, request)); err != nil {
			return err
		}
		if b.Configuration().Hash != request.Config {
			return stale("the configuration changed since this was approved")
		}
		if back, err := calledBack(tx, request); err != nil {
			return err
		} else if back {
			return stale("a lease of this task was ended by a human")
		}
		lease := Lease{ID: u.Lease.ID}
		if err := tx.Load(&lease); err != nil {
			return err
		}
		lease.Reaches = slices.Compact(slices.Sorted(slices.Values(append(lease.Reaches, u.reaches...)))) // a freeze there ends it
		if err := tx.Save(&lease); err != nil {
			return err
		}
		used := request
		used.State, used.Collected, used.Expires = RequestCollected, 1, b.now()
		if err := tx.Save(&used); err != nil {
			return err
		}
		return b.append(tx, EventCallPassed, "agent:"+u.Lease.Agent, u.Lease.ID, data)
	})
	b.changed.notify()
	return Pass{ID: u.id, Request: request.ID, Secrets: u.actions() == Admin}, err
}
