package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Intent is what a human is about to sign. Digest is that of the subject as the page showed it; a
// subject that changed since is CodeConflict.
type Intent struct {
	Act     Act
	Subject string
	Digest  string
	Narrow  *Narrowing // ActApprove only; nil: as it stands
}

// Narrowing makes a request smaller: it says what remains of the items that it names.
type Narrowing struct {
	Items []NarrowedItem
	TTL   time.Duration // 0: unchanged
}

// NarrowedItem is what remains of one item; no scopes leaves the item out.
type NarrowedItem struct {
	Environment, Target string
	Scopes              []Scope
}

// Prepare makes the statement that the human will sign, and the nonce that Sign consumes.
func (b *Broker) Prepare(ctx context.Context, human string, intent Intent) (*Ceremony, error) {
	now := b.now()
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(b.random, nonce); err != nil {
		return nil, fmt.Errorf("reading random bytes: %w", err)
	}
	ceremony := &Ceremony{Nonce: base64.RawURLEncoding.EncodeToString(nonce), Expires: now.Add(SignFor)}
	var request Request
	err := b.store.View(ctx, func(r Reader) (err error) {
		ceremony.Statement, request, err = b.stateSubject(r, human, intent.Act, intent.Subject)
		return err
	})
	if err != nil {
		return nil, err
	}
	if intent.Digest != ceremony.Statement.Digest {
		return nil, changedSince()
	}
	if intent.Act == ActApprove {
		if ceremony.Items, err = b.narrow(ctx, &request, &ceremony.Statement, intent.Narrow); err != nil {
			return nil, err
		}
	}
	ceremony.Statement.Expires = ceremony.Expires.Format(time.RFC3339Nano)
	return ceremony, b.update(ctx, func(tx Tx) error { return tx.Save(ceremony) })
}

func changedSince() error {
	return Errorf(CodeConflict, "this changed since it was shown: nothing is signed").WithNext("look at it again")
}

// stateSubject builds the statement of an act from what the store holds now, or says why this human
// cannot sign it. Sign calls it again: the two statements must be equal.
func (b *Broker) stateSubject(r Reader, human string, act Act, subject string) (Statement, Request, error) {
	s := Statement{
		Act: act, Subject: subject, Reviewer: human, Origin: b.origin, Config: b.Configuration().Hash,
		Installed: b.Installation().ID, Items: []StatementItem{},
	}
	var request Request
	var err error
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
	cfg := b.Configuration()
	if err := b.mayDecide(cfg, s.Reviewer, request); err != nil {
		return request, err
	}
	if request.Config != cfg.Hash {
		return request, stale("the configuration changed since this was asked")
	}
	s.Digest, s.AgentKey = request.Digest(), request.AgentKey
	s.setGranted(request)
	return request, nil
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
		for _, scope := range item.Description.Scopes {
			parts = append(parts, and(scope.Actions.Names())+" "+string(scope.Resource)+where)
		}
	}
	return fmt.Sprintf("%s asks to %s, for %s, for task %s, on behalf of %s", r.Agent, strings.Join(parts, "; "), inWords(r.EffectiveTTL()), r.Task, r.Owner)
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
		return Errorf(CodeForbidden, "you own %s: the environment does not let an agent's owner approve", request.Agent)
	case !counts:
		return Errorf(CodeForbidden, "you are in no reviewer group of this request's environments")
	case request.State != RequestPending:
		return Errorf(CodeConflict, "this request is %s already", request.State)
	case b.now().After(request.Deadline):
		return Errorf(CodeConflict, "this request has expired")
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
		return Errorf(CodeNotFound, "you own no agent %q", clip(s.Subject))
	case agent.State != AgentInert:
		return Errorf(CodeConflict, "agent %s is %s", agent.Name, agent.State)
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
		return Errorf(CodeConflict, "no invite of %q waits for a signature", clip(s.Subject))
	case invite.Human == s.Reviewer, slices.Contains(invite.Signed, s.Reviewer):
		return Errorf(CodeForbidden, "another operator must sign this invite")
	}
	s.Digest = invite.Digest()
	s.Says = fmt.Sprintf("%s may make a passkey here, as a member of: %s", invite.Human, orElse(strings.Join(invite.Groups, ", "), "no group"))
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
		return Errorf(CodeNotFound, "no target %q is known", clip(s.Subject))
	case pin.IsConfirmed():
		return Errorf(CodeConflict, "%s is confirmed already", s.Subject)
	}
	pins, err := list[Pin](r, "pin", "")
	if err != nil {
		return err
	}
	if err := twice(b.Configuration(), pins, TargetRef{environment, target}, pin.Seen.ID); err != nil {
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
		return Errorf(CodeConflict, "no freeze %q is in force", clip(s.Subject))
	}
	s.Digest = freezes[at].Digest()
	s.Says = fmt.Sprintf("the freeze of %s, set by %s, is lifted", freezes[at].ID(), freezes[at].By)
	return nil
}

func (b *Broker) mustBeOperator(human string) error {
	if !b.Configuration().HasRole(human, RoleOperator) {
		return Errorf(CodeForbidden, "only an operator may sign this")
	}
	return nil
}

// narrow applies what a reviewer leaves of a request, described anew, to the statement.
func (b *Broker) narrow(ctx context.Context, request *Request, s *Statement, narrowing *Narrowing) ([]Item, error) {
	shown := *request
	if narrowing == nil {
		return shown.Effective(), nil
	}
	ttl := request.EffectiveTTL()
	if narrowing.TTL < 0 || narrowing.TTL > ttl || narrowing.TTL%time.Second != 0 {
		return nil, Errorf(CodeInvalid, "ttl %s: a reviewer may only shorten %s", narrowing.TTL, ttl).WithField("ttl")
	}
	if narrowing.TTL > 0 {
		ttl = narrowing.TTL
	}
	var items []Item
	for _, item := range request.Effective() {
		scopes := item.Description.Scopes
		if at := slices.IndexFunc(narrowing.Items, func(n NarrowedItem) bool {
			return n.Environment == item.Environment && n.Target == item.Target
		}); at >= 0 {
			scopes = Normalize(narrowing.Items[at].Scopes)
		}
		if len(scopes) == 0 {
			continue
		}
		if !Covers(item.Description.Scopes, scopes) {
			return nil, Errorf(CodeInvalid, "%s: a reviewer may narrow, never widen (invariant 5)", strings.Join(Texts(scopes), " ")).WithField("scopes")
		}
		description, err := b.describe(ctx, b.Configuration(), item, scopes, min(ttl, item.Description.TTL))
		if err != nil {
			return nil, err
		}
		if !Covers(item.Description.Scopes, description.Scopes) {
			return nil, Errorf(CodeDenied, "%s/%s cannot give less than what it gives now", item.Environment, item.Target)
		}
		item.Facts, description.Facts = description.Facts, nil
		item.Description = description
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, Errorf(CodeInvalid, "nothing would be left").WithNext("deny the request instead")
	}
	request.narrowTo(items, ttl)
	s.setGranted(*request)
	return items, nil
}

// Sign verifies the assertion over the prepared statement and carries out the act, in one transaction
// that consumes the nonce. Every refusal is recorded, and consumes it too.
func (b *Broker) Sign(ctx context.Context, human, nonce string, assertion Assertion) (Act, error) {
	var refusal error
	ceremony := Ceremony{Nonce: nonce}
	err := b.update(ctx, func(tx Tx) error {
		found, err := load(tx, &ceremony)
		if err != nil {
			return err
		}
		if !found {
			refusal = Errorf(CodeConflict, "this signature was used already, or waited too long: nothing is signed").WithNext("look at it again")
			return b.refuseSign(tx, human, Statement{}, refusal)
		}
		if err := tx.Delete(&ceremony); err != nil {
			return err
		}
		passkey, err := b.checkSignature(tx, human, ceremony, assertion)
		if err != nil {
			refusal = err
			return b.refuseSign(tx, human, ceremony.Statement, err)
		}
		if err := tx.Save(passkey); err != nil {
			return err
		}
		return b.carryOut(tx, ceremony, assertion)
	})
	b.changed.notify()
	if refusal == nil && err == nil && ceremony.Statement.Act == ActLiftFreeze {
		b.held.Delete(ceremony.Statement.Subject)
	}
	if err == nil {
		err = refusal
	}
	return ceremony.Statement.Act, err
}

// checkSignature holds the ceremony against the present: same human, still in time, nothing changed,
// and the assertion over exactly this.
func (b *Broker) checkSignature(tx Tx, human string, ceremony Ceremony, assertion Assertion) (*Passkey, error) {
	was := ceremony.Statement
	switch {
	case was.Reviewer != human:
		return nil, Errorf(CodeForbidden, "this statement was prepared for another human")
	case b.now().After(ceremony.Expires):
		return nil, Errorf(CodeConflict, "this waited too long to be signed").WithNext("look at it again")
	}
	now, _, err := b.stateSubject(tx, human, was.Act, was.Subject)
	if err != nil {
		return nil, err
	}
	if now.Digest != was.Digest || now.Config != was.Config || now.AgentKey != was.AgentKey || now.Installed != was.Installed || now.Origin != was.Origin {
		return nil, changedSince()
	}
	passkey := &Passkey{ID: assertion.CredentialID}
	found, err := load(tx, passkey)
	if err != nil || !found || passkey.Human != human {
		return nil, Errorf(CodeForbidden, "this is not one of your passkeys").Because(err)
	}
	counter, err := b.verifyAssertion(*passkey, ceremony, assertion, b.now())
	if err != nil {
		if CodeOf(err) == CodeInternal {
			err = Errorf(CodeForbidden, "the passkey's signature does not hold").Because(err)
		}
		return nil, err
	}
	passkey.Counter = counter
	return passkey, nil
}

func (b *Broker) refuseSign(tx Tx, human string, s Statement, refusal error) error {
	return b.append(tx, EventReviewRefused, "human:"+human, s.Subject, struct {
		Act       Act       `json:"act,omitempty"`
		Refusal   string    `json:"refusal"`
		Code      Code      `json:"code"`
		Statement Statement `json:"statement"`
	}{s.Act, messageOf(refusal), CodeOf(refusal), s})
}

// carryOut does what was signed.
func (b *Broker) carryOut(tx Tx, ceremony Ceremony, assertion Assertion) error {
	signed := Approval{
		Request: ceremony.Statement.Subject, Reviewer: ceremony.Statement.Reviewer, Passkey: assertion.CredentialID, Nonce: ceremony.Nonce,
		Statement: ceremony.Statement, Items: ceremony.Items, Assertion: assertion, At: b.now(),
	}
	actor := "human:" + signed.Reviewer
	switch signed.Statement.Act {
	case ActApprove:
		return b.approve(tx, signed)
	case ActActivateAgent:
		return b.activate(tx, signed)
	case ActAdmitHuman:
		return b.admitHuman(tx, signed)
	case ActConfirmTarget:
		return b.confirm(tx, signed)
	case ActLiftFreeze:
		freeze := Freeze{}
		if signed.Statement.Subject == string(FreezeAll) {
			freeze.Of = FreezeAll
		} else {
			of, name, _ := strings.Cut(signed.Statement.Subject, ":")
			freeze.Of, freeze.Name = FreezeKind(of), name
		}
		if err := tx.Delete(&freeze); err != nil {
			return err
		}
		return b.append(tx, EventLifted, actor, signed.Statement.Subject, Signed{signed})
	}
	return Errorf(CodeInternal, "unknown act %q", signed.Statement.Act)
}

// Signed is the data of events that a passkey signed: with it anyone can check the signature offline.
type Signed struct {
	Approval Approval `json:"approval"`
}

// approve keeps the approval and, when it was the last that was needed, opens the request for collecting.
func (b *Broker) approve(tx Tx, approval Approval) error {
	request := Request{ID: approval.Request}
	if err := tx.Load(&request); err != nil {
		return err
	}
	if found, err := load(tx, &Approval{Request: approval.Request, Reviewer: approval.Reviewer}); err != nil || found {
		return errors.Join(err, Errorf(CodeConflict, "you approved this already"))
	}
	request.narrowTo(approval.Items, time.Duration(approval.Statement.TTL)*time.Second)
	approvals, err := approvalsOf(tx, request.ID)
	if err != nil {
		return err
	}
	kind := EventRequestReviewed
	if missing := b.Configuration().missing(request, append(approvals, approval)); len(missing) == 0 {
		kind, request.State, request.Deadline = EventRequestApproved, RequestApproved, b.now().Add(CollectFor)
	}
	if err := errors.Join(tx.Save(&approval), tx.Save(&request)); err != nil {
		return err
	}
	data := requestEvent(request)
	data.Approval, data.Seconds = &approval, b.now().Sub(request.Created).Seconds()
	return b.append(tx, kind, "human:"+approval.Reviewer, request.ID, data)
}

func (b *Broker) confirm(tx Tx, signed Approval) error {
	environment, target, _ := strings.Cut(signed.Statement.Subject, "/")
	pin := Pin{Environment: environment, Target: target}
	if err := tx.Load(&pin); err != nil {
		return err
	}
	pin.Identity, pin.ConfirmedBy, pin.Confirmed = pin.Seen, signed.Reviewer, signed.At
	if err := tx.Save(&pin); err != nil {
		return err
	}
	return b.append(tx, EventTargetConfirmed, "human:"+signed.Reviewer, signed.Statement.Subject, Signed{signed})
}

// Reject denies a pending request. It needs no passkey: denying is meant to be easy. digest is that of
// the request as it was shown.
func (b *Broker) Reject(ctx context.Context, human, id, digest, words string) error {
	if len(words) > maxReason {
		return Errorf(CodeInvalid, "reason: at most %d bytes", maxReason).WithField("reason")
	}
	err := b.update(ctx, func(tx Tx) error {
		request := Request{ID: id}
		found, err := load(tx, &request)
		if err != nil || !found {
			return errors.Join(err, noRequest(id))
		}
		if human != request.Owner || request.State != RequestPending { // an owner may always stop the own agent
			if err := b.mayDecide(b.Configuration(), human, request); err != nil {
				return err
			}
		}
		if digest != request.Digest() {
			return changedSince()
		}
		return b.close(tx, request, RequestDenied, EventRequestRejected, "human:"+human, words)
	})
	b.changed.notify()
	return err
}

// Inbox is everything that waits for one human's signature.
type Inbox struct {
	Requests []Request
	Agents   []Agent  // inert, owned by this human
	Pins     []Pin    // unconfirmed or changed, for operators
	Invites  []Invite // inert, for operators
	Freezes  []Freeze // in force, for operators
}

// Inbox lists what waits for this human.
func (b *Broker) Inbox(ctx context.Context, human string) (Inbox, error) {
	cfg := b.Configuration()
	var inbox Inbox
	err := b.store.View(ctx, func(r Reader) (err error) {
		if inbox.Requests, err = undecidedBy(r, human); err != nil {
			return err
		}
		if inbox.Agents, err = list[Agent](r, "agent", ""); err != nil {
			return err
		}
		if inbox.Pins, err = list[Pin](r, "pin", ""); err != nil {
			return err
		}
		inbox.Invites, err = list[Invite](r, "invite", "")
		return err
	})
	if err != nil {
		return Inbox{}, err
	}
	inbox.Requests = slices.DeleteFunc(inbox.Requests, func(q Request) bool { return b.mayDecide(cfg, human, q) != nil })
	inbox.Agents = slices.DeleteFunc(inbox.Agents, func(a Agent) bool { return a.Owner != human || a.State != AgentInert })
	operator := cfg.HasRole(human, RoleOperator)
	inbox.Pins = slices.DeleteFunc(inbox.Pins, func(p Pin) bool {
		_, configured := cfg.Targets[TargetRef{p.Environment, p.Target}]
		return !operator || !configured || p.IsConfirmed()
	})
	inbox.Invites = slices.DeleteFunc(inbox.Invites, func(i Invite) bool {
		return !operator || i.State != InviteInert || b.now().After(i.Expires) || slices.Contains(i.Signed, human)
	})
	if operator {
		inbox.Freezes, err = b.Freezes(ctx)
	}
	return inbox, err
}

// undecidedBy lists pending requests that this human has not approved yet.
func undecidedBy(r Reader, human string) ([]Request, error) {
	pending, err := list[Request](r, "request", "pending")
	if err != nil {
		return nil, err
	}
	var left []Request
	for _, request := range pending {
		found, err := load(r, &Approval{Request: request.ID, Reviewer: human})
		if err != nil {
			return nil, err
		}
		if !found {
			left = append(left, request)
		}
	}
	return left, err
}
