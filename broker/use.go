package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Presented is a lease whose token was presented with a proof by the agent's key. Ends is done when the
// lease ends, by its time or by anybody: calls that are under way must stop then.
type Presented struct {
	Lease  Lease
	Target Target
	Ends   context.Context //nolint:containedctx // it is the lease's life, not a call's

	seen    atomic.Pointer[admission] // the last look at lease, agent and freezes
	guarded atomic.Pointer[guarding]  // the last that no guardrail forbade
}

// guarding is what the guardrails were asked and did not forbid. They are pure: asked the same under the same
// configuration, they say the same.
type guarding struct {
	cfg    *Configuration
	owner  string
	scopes []Scope
}

// admission is what a look at the store said. It holds as long as nothing but the log has changed since.
type admission struct {
	age   uint64
	agent Agent
}

// Place is where a resource lives: the identity of a target there, as Issuer.Identify gives it, and what
// the provider calls the place.
type Place struct {
	Identity string `json:"identity"` // "railway:<project>/<environment>"
	Shown    string `json:"shown"`    // "production"
}

// Call is one call through the gateway: judged, and with everything it names looked up at the provider.
type Call struct {
	Operation string // the whole operation, canonical: what a reviewer reads and signs; secret values hidden
	Exact     string // digest of the same with nothing hidden; empty: Operation hides nothing
	Touches   []Touched
	Facts     []Fact
}

// Touched is one resource that a call reaches.
type Touched struct {
	Names   []Resource // how scopes may call it, the surest first; one of them must be covered
	Actions Actions    // exactly one
	Places  []Place    // never empty: what is public is not touched
	Says    string     // one sentence for the reviewer
}

// Pass lets one call through.
type Pass struct {
	ID      string // in the events of this call
	Request string // of the one-off approval that it used up, if any
	Secrets bool   // the lease covers admin on all that is touched: secret values may be shown
}

// TokenPrefix begins every gateway token: hkt_<lease>_<random>.
const TokenPrefix = "hkt_"

// hashToken is what is kept of a gateway token. 128 random bits need no slow hash.
func hashToken(token Secret) string {
	sum := sha256.Sum256([]byte("hourkey/gateway-token/1\x00" + token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Present finds the live lease of a gateway token (hkt_…). key is the thumbprint of the key that proved
// to hold it (RFC 9449).
func (b *Broker) Present(ctx context.Context, token Secret, key string) (*Presented, error) {
	text, _ := strings.CutPrefix(token.Reveal(), TokenPrefix)
	id, _, _ := strings.Cut(text, "_")
	lease, err := b.lease(ctx, id)
	switch {
	case err != nil && CodeOf(err) != CodeNotFound:
		return nil, err
	case err != nil, lease.Token == "", subtle.ConstantTimeCompare([]byte(lease.Token), []byte(hashToken(token))) != 1:
		return nil, Errorf(CodeUnauthenticated, "this token is of no lease")
	case key == "" || lease.AgentKey != key:
		return nil, Errorf(CodeUnauthenticated, "this token was issued to another key")
	}
	ends := b.lives.of(lease) // before the lease is read once more: an end after that cuts it
	if lease, err = b.lease(ctx, id); err != nil {
		return nil, err
	}
	if err := b.stillLive(lease); err != nil {
		b.lives.cut(id)
		return nil, err
	}
	target, known := b.bound(lease)
	if !known {
		return nil, Errorf(CodeUnavailable, "the target %s/%s is not loaded any more", lease.Environment, lease.Target).WithNext("make a new request")
	}
	b.lives.until(id, lease.Expires.Sub(b.now()))
	return &Presented{Lease: lease, Target: target, Ends: ends}, nil
}

// stillLive says why a lease gives nothing any more.
func (b *Broker) stillLive(lease Lease) error {
	_, ending := b.unsaved.Load(lease.ID) // its end is ordered and could not be written
	if lease.State == LeaseLive && !ending && b.now().Before(lease.Expires) {
		return nil
	}
	return Errorf(CodeExpired, "this lease has ended (%s)", orElse(string(lease.Cause), string(CauseExpired))).WithNext("make a new request")
}

// bound is the target as it was configured when the lease was issued.
func (b *Broker) bound(lease Lease) (Target, bool) {
	if target, known := b.Configuration().Targets[TargetRef{lease.Environment, lease.Target}]; known && target.Binding == lease.Binding {
		return target, true
	}
	was, known := b.former.Load(lease.Binding)
	if !known {
		return Target{}, false
	}
	return was.(former).Target, true //nolint:forcetypeassert // nothing else is kept there
}

// Use decides on one call, records it and lets it pass, or says why not. CodePending: humans were asked,
// and the message says where. What is more than a read is durable in the log when Use returns.
//
// A call passes when the lease covers every name that it touches, all of them live in the lease's own
// environment, and no guardrail forbids one. What the task offers with approval is asked for, call by
// call; what reaches another environment only if the lease's request named that one too (invariant 4).
func (b *Broker) Use(ctx context.Context, p *Presented, call Call) (Pass, error) {
	if err := b.clockBehind(); err != nil {
		return Pass{}, err
	}
	cfg, now := b.Configuration(), use{Presented: p, Call: call, id: b.newCallID()}
	err := b.locate(ctx, cfg, &now)
	if err == nil {
		err = b.admitUse(ctx, &now)
	}
	if err != nil {
		return Pass{}, b.recordRefusedCall(ctx, now, err)
	}
	if missing := now.uncovered(); missing != nil || now.reachesOut() {
		pass, err := b.once(ctx, cfg, now, missing)
		return pass, b.recordRefusedCall(ctx, now, err)
	}
	if err := b.guarded(cfg, now); err != nil {
		return Pass{}, b.recordRefusedCall(ctx, now, err)
	}
	return Pass{ID: now.id, Secrets: now.seesSecrets() && b.guardedFor(cfg, now, Admin) == nil}, b.recordCall(ctx, now)
}

// newCallID tells the calls of a lease apart in the log; it opens nothing.
func (b *Broker) newCallID() string { return strconv.FormatUint(b.callNumber.Add(1), 36) }

// use is a call with what was found out about it.
type use struct {
	*Presented
	Call
	id      string
	agent   Agent
	age     uint64   // when that was
	reaches []string // environments, sorted; the lease's own alone in most calls
}

func (u use) reachesOut() bool {
	return len(u.reaches) > 1 || len(u.reaches) == 1 && u.reaches[0] != u.Lease.Environment
}

// actions is the union of what the call does.
func (u use) actions() Actions {
	var all Actions
	for _, touched := range u.Touches {
		all |= touched.Actions
	}
	return all
}

// locate turns places into environments of ours. A place that none of our targets is refuses: whatever
// lives there is not the lease's (invariant 4).
func (b *Broker) locate(ctx context.Context, cfg *Configuration, u *use) error {
	for _, touched := range u.Touches {
		if len(touched.Names) == 0 || len(touched.Places) == 0 || len(touched.Actions.Each()) != 1 {
			return Errorf(CodeInternal, "what the call touches is not known: it is refused (invariant 6)")
		}
		for _, place := range touched.Places {
			environment, err := b.environmentOf(ctx, cfg, u.Lease, place)
			if err != nil {
				return err
			}
			if environment == "" {
				return Errorf(CodeDenied, "%s lives in %s, and this lease works in %s alone (invariant 4)", touched.Names[0], orElse(place.Shown, place.Identity), u.Lease.Environment).
					WithNext("leave it alone: no environment of this broker is there")
			}
			if !slices.Contains(u.reaches, environment) {
				u.reaches = append(u.reaches, environment)
			}
		}
	}
	slices.Sort(u.reaches)
	return nil
}

// environmentOf is the environment whose target is confirmed to be that place; empty if there is none.
func (b *Broker) environmentOf(ctx context.Context, cfg *Configuration, lease Lease, place Place) (string, error) {
	if place.Identity == lease.Identity {
		return lease.Environment, nil
	}
	pins, err := b.Pins(ctx)
	if err != nil {
		return "", err
	}
	for _, pin := range pins {
		_, configured := cfg.Targets[TargetRef{pin.Environment, pin.Target}]
		// Only the target of the lease's own name: scopes, tasks and guardrails are asked about that one.
		if configured && pin.Target == lease.Target && pin.Environment != lease.Environment && pin.IsConfirmed() && pin.Identity.meets(Identity{ID: place.Identity}) {
			return pin.Environment, nil
		}
	}
	return "", nil
}

// admitUse looks at lease, agent and freezes as they are now. Nothing need be read again while nothing was
// written: a freeze that could not be written yet has cut the lease's life before anything else.
func (b *Broker) admitUse(ctx context.Context, u *use) error {
	if err := errors.Join(u.Ends.Err(), u.Lease.expired(b.now())); err != nil {
		return Errorf(CodeExpired, "this lease has ended").WithNext("make a new request")
	}
	u.age = b.age.Load() // before the look, so that a change during it is seen next time
	if seen := u.seen.Load(); seen != nil && seen.age == u.age && !u.reachesOut() {
		u.agent = seen.agent
		return nil
	}
	err := b.look(ctx, u)
	if err == nil && !u.reachesOut() {
		u.seen.Store(&admission{u.age, u.agent})
	}
	return err
}

func (b *Broker) look(ctx context.Context, u *use) error {
	return b.store.View(ctx, func(r Reader) error { return b.admitted(r, u) })
}

// admitted looks at lease, agent and freezes in one state of the store.
func (b *Broker) admitted(r Reader, u *use) (err error) {
	if err := b.unended(r, u.Lease.ID); err != nil {
		return err
	}
	if u.agent, err = activeAgent(r, u.Lease.Agent, u.Lease.AgentKey); err != nil {
		return err
	}
	return b.frozen(r, u.Lease.Agent, u.Lease.Task, append([]string{u.Lease.Environment}, u.reaches...))
}

// uncovered lists what the lease does not cover by any of its names.
func (u use) uncovered() (missing []Touched) {
	for _, touched := range u.Touches {
		if !u.covers(touched, touched.Actions) {
			missing = append(missing, touched)
		}
	}
	return missing
}

func (u use) covers(touched Touched, actions Actions) bool {
	return slices.ContainsFunc(touched.Names, func(name Resource) bool {
		return Covers(u.Lease.Scopes, []Scope{{u.Lease.Target, name, actions}})
	})
}

// seesSecrets tells whether the lease has admin on everything that the call touches.
func (u use) seesSecrets() bool {
	return len(u.Touches) > 0 && !slices.ContainsFunc(u.Touches, func(t Touched) bool { return !u.covers(t, Admin) })
}

// guarded asks the guardrails about every name of everything that is touched: one that forbids a name
// forbids the resource, by whatever other name the call came.
func (b *Broker) guarded(cfg *Configuration, u use) error { return b.guardedFor(cfg, u, 0) }

// guardedFor asks about more actions beside those of the call: admin, before secret values are shown.
func (b *Broker) guardedFor(cfg *Configuration, u use, more Actions) error {
	asked := guarding{cfg, u.agent.Owner, u.scopes()}
	for at := range asked.scopes {
		asked.scopes[at].Actions |= more
	}
	if was := u.guarded.Load(); was != nil && was.cfg == cfg && was.owner == asked.owner && slices.Equal(was.scopes, asked.scopes) && !u.reachesOut() {
		return nil
	}
	for _, environment := range u.reaches {
		decision := cfg.ask(Query{
			Agent: u.Lease.Agent, Owner: u.agent.Owner, Task: u.Lease.Task,
			Environment: environment, Target: u.Lease.Target, Scopes: asked.scopes, Described: true, Granted: true,
		})
		if decision.Outcome.known() == Deny {
			return denied(decision)
		}
	}
	if !u.reachesOut() {
		u.guarded.Store(&asked)
	}
	return nil
}

// scopes is everything that is touched, by every name.
func (u use) scopes() []Scope {
	var scopes []Scope
	for _, touched := range u.Touches {
		for _, name := range touched.Names {
			scopes = append(scopes, Scope{u.Lease.Target, name, touched.Actions})
		}
	}
	return Normalize(scopes)
}

// Used records how a call that passed came out: "200", "outcome unknown: the provider did not answer".
func (b *Broker) Used(ctx context.Context, p *Presented, pass Pass, call Call, outcome string) {
	u := use{Presented: p, Call: call}
	if u.actions() == Read || u.actions() == 0 {
		return // what was read is in the log already
	}
	data := u.event()
	data.Call, data.Outcome, data.Approval = pass.ID, outcome, pass.Request
	if name, rest, cut := strings.Cut(u.Operation, "("); cut && rest != "" {
		data.Operation = name // the event that let it pass has all of it
	}
	if b.calls.keep(callEntry{EventCallAnswered, p.Lease, data}) {
		return
	}
	err := b.appendOnly(ctx, func(tx Tx) error {
		return b.append(tx, EventCallAnswered, "agent:"+p.Lease.Agent, p.Lease.ID, data)
	})
	if err != nil {
		b.log.ErrorContext(ctx, "how a call came out could not be recorded", "lease", p.Lease.ID, "outcome", outcome, "error", err)
	}
}

// RefusedCall records what the gateway refused before the broker was asked: no row, two readings, an id
// that resolves nowhere.
func (b *Broker) RefusedCall(ctx context.Context, p *Presented, operation string, refusal error) {
	_ = b.recordRefusedCall(ctx, use{Presented: p, Call: Call{Operation: operation}}, refusal)
}

func (b *Broker) recordRefusedCall(ctx context.Context, u use, refusal error) error {
	if refusal == nil || CodeOf(refusal) == CodePending {
		return refusal
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	data := u.event()
	data.Refusal, data.Code, data.First = short(messageOf(refusal)), CodeOf(refusal), b.now()
	if b.calls.add(callEntry{EventCallRefused, u.Lease, data}) { // a flood of them is a few lines, counted
		return refusal
	}
	err := b.appendOnly(ctx, func(tx Tx) error {
		return b.append(tx, EventCallRefused, "agent:"+u.Lease.Agent, u.Lease.ID, data)
	})
	if err != nil {
		b.log.ErrorContext(ctx, "a refused call could not be recorded", "error", err)
	}
	return refusal
}

// recordCall writes a call before it is forwarded. Reads may follow within readsWithin; when those could
// not be written, they are written before they pass, too, or they do not pass.
func (b *Broker) recordCall(ctx context.Context, u use) error {
	data := u.event()
	data.First = b.now()
	if actions := u.actions(); actions&^Read == 0 && b.calls.add(callEntry{EventCallPassed, u.Lease, data}) {
		return nil
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding a call: %w", err)
	}
	return b.appendOnly(ctx, func(tx Tx) error {
		if b.age.Load() != u.age { // something changed since it was admitted: perhaps the lease has ended
			if err := b.admitted(tx, &u); err != nil {
				return err
			}
		}
		return b.appendRaw(tx, EventCallPassed, "agent:"+u.Lease.Agent, u.Lease.ID, raw)
	})
}

// unended looks once more in the transaction that lets a write pass: an end may have come since.
func (b *Broker) unended(r Reader, id string) error {
	lease := Lease{ID: id}
	if err := r.Load(&lease); err != nil {
		return err
	}
	return b.stillLive(lease)
}

// CallEvent is the data of the hourkey.call.* events.
type CallEvent struct {
	Call        string    `json:"call,omitempty"` // one call of this run of the broker
	Request     string    `json:"request"`        // of the lease
	Agent       string    `json:"agent"`
	Owner       string    `json:"owner"`
	Task        string    `json:"task"`
	Environment string    `json:"environment"`
	Target      string    `json:"target"`
	Operation   string    `json:"operation"` // cut at maxRecorded bytes, with the digest of the whole
	Scopes      []string  `json:"scopes,omitempty"`
	Reaches     []string  `json:"reaches,omitempty"`
	Approval    string    `json:"approval,omitempty"` // request of the one-off approval that was used up
	Outcome     string    `json:"outcome,omitempty"`
	Refusal     string    `json:"refusal,omitempty"`
	Code        Code      `json:"code,omitempty"`
	Count       int       `json:"count,omitempty"` // equal reads within a tenth of a second
	First       time.Time `json:"first,omitzero"`
}

const (
	maxRecorded     = 16 << 10
	maxListedScopes = 200
	maxSaid         = 2 << 10 // bytes of a sentence about what is touched
)

// short cuts a sentence that grows with what is touched.
func short(text string) string {
	if len(text) <= maxSaid {
		return text
	}
	return strings.ToValidUTF8(text[:maxSaid], "") + "…"
}

func (u use) event() CallEvent {
	l := u.Lease
	data := CallEvent{
		Call: u.id, Request: l.Request, Agent: l.Agent, Owner: l.Owner, Task: l.Task, Environment: l.Environment, Target: l.Target,
		Operation: u.Operation, Reaches: u.reaches,
	}
	for at, touched := range u.Touches {
		if at == maxListedScopes {
			data.Scopes = append(data.Scopes, fmt.Sprintf("… and %d more", len(u.Touches)-at))
			break
		}
		if len(touched.Names) > 0 {
			data.Scopes = append(data.Scopes, Scope{l.Target, touched.Names[0], touched.Actions}.String())
		}
	}
	data.Operation = recorded(u.Operation)
	return data
}

func recorded(operation string) string {
	if len(operation) <= maxRecorded {
		return operation
	}
	return strings.ToValidUTF8(operation[:maxRecorded], "") + fmt.Sprintf("… (cut; SHA-256 of the whole: %x)", sha256.Sum256([]byte(operation)))
}
