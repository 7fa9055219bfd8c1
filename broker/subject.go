package broker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stateSubject builds the statement of an act from what the store holds now, or says why this human
// cannot sign it. Sign calls it again: the two statements must be equal.
func (b *Broker) stateSubject(r Reader, human string, act Act, subject string) (Statement, Request, error) {
	s := Statement{
		Act: act, Subject: subject, Reviewer: human, Origin: b.origin, Config: b.Configuration().Hash,
		Installed: b.Installation().ID, Items: []StatementItem{},
	}
	var request Request
	err := b.clockBehind() // what is over would not be over by it
	if err != nil {
		return s, request, err
	}
	switch act {
	case ActApprove:
		request, err = b.stateApproval(r, &s)
	case ActActivateAgent:
		err = stateAgent(r, &s)
	case ActAdmitHuman:
		err = b.stateInvite(r, &s)
	case ActConfirmTarget:
		err = b.stateTarget(r, &s)
	case ActLiftFreeze:
		err = b.stateFreeze(r, &s)
	case ActAddPasskey:
		err = b.stateAddPasskey(r, &s)
	case ActRemovePasskey:
		err = stateRemovePasskey(r, &s)
	default:
		err = Errorf(CodeInvalid, "unknown act %q", clip(string(act))).WithField("act")
	}
	return s, request, err
}

func (b *Broker) stateApproval(r Reader, s *Statement) (Request, error) {
	request := Request{ID: s.Subject}
	found, err := load(r, &request)
	if err != nil || !found {
		return request, errors.Join(err, noRequest(s.Subject))
	}
	cfg := b.canSign()
	if err := b.mayDecide(cfg, s.Reviewer, request); err != nil {
		return request, b.orSignOn(s.Reviewer, err)
	}
	if request.Config != cfg.Hash {
		return request, Errorf(CodeConflict, "the configuration changed since this was asked: nobody can approve it").
			WithNext("deny it, or let it end: the agent may ask again")
	}
	switch signed, err := b.approvedBy(r, request, s.Reviewer); {
	case err != nil:
		return request, err
	case signed:
		return request, approvedAlready()
	}
	s.Digest, s.AgentKey = request.Digest(), request.AgentKey
	s.setGranted(request)
	return request, nil
}

func approvedAlready() *Error {
	return Errorf(CodeConflict, "you approved this already").WithNext("nothing more is asked of you: it waits for others")
}

// setGranted says what the approval grants as things stand.
func (s *Statement) setGranted(request Request) {
	s.Items, s.TTL = statementItems(request.Effective()), int64(request.EffectiveTTL()/time.Second)
	s.Says = Sentence(request)
}

// Sentence says in one sentence what a request asks, and would be granted as things stand.
func Sentence(r Request) string {
	var parts []string
	for _, item := range r.Effective() {
		where := " of " + item.Target + " in " + strings.Join(item.environments(), " and ")
		for _, scope := range item.Description.Means() {
			parts = append(parts, and(scope.Actions.Names())+" "+delimited(r.Called(scope.Resource))+where)
		}
	}
	if r.Operation != nil {
		return fmt.Sprintf("%s asks to %s, by one call, within %s, for task %s, on behalf of %s", r.Agent, strings.Join(parts, "; "), inWords(r.EffectiveTTL()), r.Task, r.Owner)
	}
	return fmt.Sprintf("%s asks to %s, for %s, for task %s, on behalf of %s", r.Agent, strings.Join(parts, "; "), inWords(r.EffectiveTTL()), r.Task, r.Owner)
}

// word is a name that cannot be taken for more of the sentence: one word, perhaps with an id behind it.
var word = regexp.MustCompile(`^[^\s,;"]+( \([^\s,;"()]+\))?$`)

// delimited puts a name that has spaces or commas in it between quotes. The attack: a table that is called
// "a of db in staging; read b".
func delimited(name string) string {
	if word.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

// and joins words as people do.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// inWords gives whole minutes and seconds: "10 minutes", "1 minute 30 seconds".
func inWords(d time.Duration) string {
	minutes, seconds := int(d/time.Minute), int(d%time.Minute/time.Second)
	switch {
	case minutes == 0:
		return plural(seconds, "second")
	case seconds == 0:
		return plural(minutes, "minute")
	}
	return plural(minutes, "minute") + " " + plural(seconds, "second")
}

// mayDecide refuses whoever's decision on this request does not count, or came too late.
func (b *Broker) mayDecide(cfg *Configuration, human string, request Request) error {
	reviews := slices.ContainsFunc(request.Needs, func(n Need) bool { return cfg.MayReview(human, n.Environment) })
	counts := slices.ContainsFunc(request.Needs, func(n Need) bool { return cfg.counts(human, request.Owner, n.Environment) })
	switch {
	case !b.visible(Caller{Kind: CallerHuman, Name: human}, request):
		return noRequest(request.ID)
	case reviews && !counts:
		return Errorf(CodeForbidden, "you own %s: the environment does not let an agent's owner approve", request.Agent).
			WithNext("ask another reviewer")
	case !counts:
		return Errorf(CodeForbidden, "you are in no reviewer group of this request's environments").
			WithNext("ask a reviewer, or an operator to put you in one of the groups")
	case request.State != RequestPending:
		return Errorf(CodeConflict, "this request is %s already", request.State).WithNext("look at it again: nothing waits for you")
	case b.now().After(request.Deadline):
		return Errorf(CodeConflict, "this request has expired").WithNext("the agent may ask again")
	}
	return nil
}

func stateAgent(r Reader, s *Statement) error {
	agent := Agent{Name: s.Subject}
	found, err := load(r, &agent)
	switch {
	case err != nil:
		return err
	case !found, agent.Owner != s.Reviewer:
		return Errorf(CodeNotFound, "you own no agent %q", clip(s.Subject)).WithNext("ask its owner to sign it")
	case agent.State != AgentInert:
		return Errorf(CodeConflict, "agent %s is %s", agent.Name, agent.State).WithNext("only an agent that enrolled and was not signed yet waits for its owner")
	}
	s.Digest, s.AgentKey = agent.Digest(), agent.Thumbprint
	s.Says = fmt.Sprintf("agent %s, with key %s, may ask on behalf of %s", agent.Name, agent.Thumbprint, agent.Owner)
	return nil
}

func (b *Broker) stateInvite(r Reader, s *Statement) error {
	if err := b.mustBeOperator(s.Reviewer); err != nil {
		return err
	}
	invite := Invite{Human: s.Subject}
	found, err := load(r, &invite)
	switch {
	case err != nil:
		return err
	case !found, invite.State != InviteInert, b.now().After(invite.Expires):
		return Errorf(CodeConflict, "no invite of %q waits for a signature", clip(s.Subject)).WithNext("it was signed, or is over: invite the human again if there is no passkey yet")
	case invite.Human == s.Reviewer, slices.Contains(invite.Signed, s.Reviewer):
		return Errorf(CodeForbidden, "another operator must sign this invite").WithNext("ask one: the invite is in every operator's inbox")
	}
	s.Digest = invite.Digest()
	s.Says = invite.says()
	return nil
}

func (b *Broker) stateTarget(r Reader, s *Statement) error {
	if err := b.mustBeOperator(s.Reviewer); err != nil {
		return err
	}
	environment, target, _ := strings.Cut(s.Subject, "/")
	pin := Pin{Environment: environment, Target: target}
	found, err := load(r, &pin)
	switch {
	case err != nil:
		return err
	case !found:
		return Errorf(CodeNotFound, "no target %q is known", clip(s.Subject)).WithNext("look at the list of environments for the targets that are")
	case pin.IsConfirmed():
		return Errorf(CodeConflict, "%s is confirmed already", s.Subject).WithNext("nothing is left to sign")
	}
	pins, err := list[Pin](r, "pin", "")
	if err != nil {
		return err
	}
	if err := twice(b.Configuration(), pins, TargetRef{environment, target}, pin.Seen); err != nil {
		return err
	}
	s.Digest = pin.Digest()
	s.Says = fmt.Sprintf("target %s of environment %s is %s (%s)", target, environment, pin.Seen.Shown, pin.Seen.ID)
	return nil
}

func (b *Broker) stateFreeze(r Reader, s *Statement) error {
	if err := b.mustBeOperator(s.Reviewer); err != nil {
		return err
	}
	freezes, err := list[Freeze](r, "freeze", "")
	if err != nil {
		return err
	}
	at := slices.IndexFunc(freezes, func(f Freeze) bool { return f.ID() == s.Subject })
	if at < 0 {
		return Errorf(CodeConflict, "no freeze %q is in force", clip(s.Subject)).WithNext("nothing is left to lift: it ended, or somebody lifted it")
	}
	s.Digest = freezes[at].Digest()
	s.Says = fmt.Sprintf("the freeze of %s, set by %s, is lifted", freezes[at].ID(), freezes[at].By)
	return nil
}

func (b *Broker) mustBeOperator(human string) error {
	if !b.canSign().HasRole(human, RoleOperator) {
		return b.orSignOn(human, Errorf(CodeForbidden, "only an operator may sign this").WithNext("ask an operator, who finds it in the inbox"))
	}
	return nil
}

// orSignOn tells whose single sign-on is too old that another one would help.
func (b *Broker) orSignOn(human string, refusal error) error {
	e, ours := errors.AsType[*Error](refusal)
	if !ours || e.Code != CodeForbidden {
		return refusal
	}
	if b.MustSignOn(human) {
		return e.WithNext("your single sign-on is older than %d hours: sign on again", int(SignedOnFor.Hours()))
	}
	return refusal
}

// MaySign tells whether this human could prepare that act now: nil, or why not.
func (b *Broker) MaySign(ctx context.Context, human string, act Act, subject string) error {
	return b.store.View(ctx, func(r Reader) error {
		_, _, err := b.stateSubject(r, human, act, subject)
		return err
	})
}
