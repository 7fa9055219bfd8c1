package broker

import (
	"context"
	"slices"
	"strings"
	"time"
)

// grant is what was authorised. It is derived here from a request, its decision and its approvals each
// time it is needed, and never stored; no other package can make one.
type grant struct {
	request Request
	agent   Agent
	items   []Item // as granted, described again a moment ago
	expires time.Time
}

// derive decides again, under what is now in force: agent, freeze, clock, configuration, policy,
// approvals with their signatures, walls and identities. Anything that differs from what was decided
// issues nothing (invariant 12).
func (b *Broker) derive(ctx context.Context, cfg *Configuration, caller Caller, request Request, approvals []Approval) (grant, error) {
	if cfg.Hash != request.Config {
		return grant{}, stale("the configuration changed since this was decided")
	}
	if err := b.clockBehind(); err != nil {
		return grant{}, err
	}
	var agent Agent
	err := b.store.View(ctx, func(r Reader) (err error) {
		if agent, err = activeAgent(r, caller.Name, caller.Key); err != nil {
			return err
		}
		if err := b.verifyApprovals(r, cfg, request, approvals); err != nil {
			return err
		}
		return b.frozen(r, request.Agent, request.Task, request.Environments)
	})
	if err != nil {
		return grant{}, err
	}
	if agent.Owner != request.Owner {
		return grant{}, stale("the agent has another owner than when this was decided")
	}
	g := grant{request: request, agent: agent, expires: request.Expires}
	for _, item := range request.Effective() {
		again, err := b.describeAgain(ctx, cfg, agent, request, item)
		if err != nil {
			return grant{}, err
		}
		g.items = append(g.items, again)
	}
	if err := stillEnough(cfg, request, g.items, approvals); err != nil {
		return grant{}, err
	}
	if g.expires.IsZero() {
		g.expires = b.now().Add(min(request.EffectiveTTL(), Hour))
	}
	return g, nil
}

func stale(why string) *Error {
	return Errorf(CodeConflict, "%s: nothing is issued", why).WithNext("make a new request")
}

// describeAgain makes sure that what would be issued is what was decided, and decides on it again.
func (b *Broker) describeAgain(ctx context.Context, cfg *Configuration, agent Agent, request Request, item Item) (Item, error) {
	if err := b.sameDescription(ctx, cfg, item); err != nil {
		return item, err
	}
	if decision := b.evaluateDescribed(cfg, agent, request.Task, item.Environment, item.Target, item.Description); decision.Outcome == Deny {
		return item, denied(decision)
	}
	return item, nil
}

// sameDescription asks the issuer once more, unless it promised to look by itself when it issues.
func (b *Broker) sameDescription(ctx context.Context, cfg *Configuration, item Item) error {
	was, ref := item.Description, TargetRef{item.Environment, item.Target}
	target, known := cfg.Targets[ref]
	if !known {
		return stale("the target " + ref.String() + " is gone")
	}
	if target.Issuer.Capabilities().DescribesAtIssue {
		return b.pinned(ctx, cfg, ref, target, was.Identity)
	}
	now, err := b.describe(ctx, cfg, item, was.Scopes, was.TTL)
	if err == nil && !now.same(was) {
		return stale("what would be issued at " + ref.String() + " changed since it was decided")
	}
	return err
}

// stillEnough counts the humans again, by what would be issued and what the files say now.
func stillEnough(cfg *Configuration, request Request, items []Item, approvals []Approval) error {
	wanted := request
	wanted.Granted, wanted.Needs, wanted.Decision = items, slices.Clone(request.Needs), Decision{}
	if err := cfg.settle(&wanted); err != nil {
		return err
	}
	if missing := cfg.missing(wanted, approvals); len(missing) > 0 {
		return Errorf(CodeDenied, "approvals are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// missing says, by environment, how many humans a request still waits for; empty when there are enough.
func (c *Configuration) missing(request Request, approvals []Approval) []string {
	var missing []string
	for _, need := range request.Needs {
		humans := map[string]bool{} // distinct reviewers that count
		for _, approval := range approvals {
			if approval.Void == "" && c.counts(approval.Reviewer, request.Owner, need.Environment) {
				humans[approval.Reviewer] = true
			}
		}
		if short := need.Humans - len(humans); short > 0 {
			missing = append(missing, plural(short, "human")+" for "+need.Environment)
		}
	}
	return missing
}

// verifyApprovals checks every signature once more, and that each is over this very request: it replays
// the approvals in their order, because a later reviewer saw what an earlier one had narrowed. One that was left out
// is replayed too: what it took out stays out.
func (b *Broker) verifyApprovals(r Reader, cfg *Configuration, request Request, approvals []Approval) error {
	shown := request
	shown.Granted, shown.GrantedTTL = nil, 0
	for _, approval := range approvals {
		if err := b.verifyApproval(r, cfg, shown, approval); err != nil {
			return Errorf(CodeDenied, "the approval by %s does not hold", approval.Reviewer).WithNext("make a new request").Because(err)
		}
		shown.narrowTo(approval.Items, time.Duration(approval.Statement.TTL)*time.Second)
	}
	if len(approvals) > 0 && shown.Digest() != request.Digest() {
		return Errorf(CodeDenied, "what is granted is not what was signed")
	}
	return nil
}

// narrowTo puts what a reviewer left of a request in force. Nothing changes when nothing was narrowed.
func (r *Request) narrowTo(items []Item, ttl time.Duration) {
	if !slices.EqualFunc(statementItems(items), statementItems(r.Effective()), StatementItem.equal) {
		r.Granted = items
	}
	if ttl != r.EffectiveTTL() {
		r.GrantedTTL = ttl
	}
}

func (i StatementItem) equal(o StatementItem) bool {
	return i.Environment == o.Environment && i.Target == o.Target && i.Identity == o.Identity && i.Description == o.Description &&
		slices.Equal(i.Scopes, o.Scopes) && slices.Equal(i.Reaches, o.Reaches)
}

func (b *Broker) verifyApproval(r Reader, cfg *Configuration, shown Request, approval Approval) error {
	ceremony := Ceremony{Nonce: approval.Nonce, Statement: approval.Statement, Items: approval.Items}
	s := approval.Statement
	ttl := time.Duration(s.TTL) * time.Second
	switch {
	case approval.Request != shown.ID, s.Subject != shown.ID, s.Act != ActApprove, s.Reviewer != approval.Reviewer,
		s.Digest != shown.Digest(), s.Config != cfg.Hash, s.AgentKey != shown.AgentKey, s.Origin != b.origin,
		s.Installed != b.Installation().ID,
		!slices.EqualFunc(s.Items, statementItems(approval.Items), StatementItem.equal):
		return Errorf(CodeDenied, "the statement is not about this request")
	case !within(shown.Effective(), approval.Items), ttl <= 0, ttl > shown.EffectiveTTL():
		return Errorf(CodeDenied, "the statement is wider than the request (invariant 5)")
	case !slices.Equal(s.Typed, cfg.MustType(approval.Items)):
		return Errorf(CodeDenied, "the reviewer did not type where this deletes")
	}
	if approval.Void != "" {
		return nil // it counts for nobody
	}
	passkey := Passkey{ID: approval.Passkey}
	if err := r.Load(&passkey); err != nil {
		return err
	}
	passkey.Counter = 0 // it has counted on since
	_, err := b.verifyAssertion(passkey, ceremony, approval.Assertion, approval.At)
	return err
}

// within tells whether each item of inner is one of outer, or a smaller one.
func within(outer, inner []Item) bool {
	for _, in := range inner {
		ok := slices.ContainsFunc(outer, func(out Item) bool {
			return in.Environment == out.Environment && in.Target == out.Target && in.Description.Identity == out.Description.Identity &&
				Covers(out.Description.Scopes, in.Description.Scopes) && Covers(out.Description.Means(), in.Description.Means()) &&
				in.Description.reachesOnly(out.environments(), in.Environment, in.Target) == nil
		})
		if !ok {
			return false
		}
	}
	return len(inner) > 0
}

// verifyAssertion checks that this passkey signed this ceremony's challenge for this human.
func (b *Broker) verifyAssertion(passkey Passkey, ceremony Ceremony, assertion Assertion, at time.Time) (counter uint32, err error) {
	switch {
	case passkey.ID != assertion.CredentialID:
		return 0, Errorf(CodeForbidden, "the assertion is of another passkey").WithNext("look at it again, and sign anew")
	case passkey.Human != ceremony.Statement.Reviewer:
		return 0, Errorf(CodeForbidden, "the passkey belongs to another human than the statement names").WithNext("sign with one that “You” lists")
	case at.Before(passkey.UsableFrom):
		return 0, Errorf(CodeForbidden, "this passkey is too new: it may sign from %s on", passkey.UsableFrom.Format(time.RFC3339)).
			WithNext("sign with an older passkey, or wait until then")
	}
	challenge, err := ceremony.Challenge()
	if err != nil {
		return 0, err
	}
	return b.verifier.Verify(passkey, challenge, assertion)
}
