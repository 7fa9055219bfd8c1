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
	Typed   []string   // ActApprove only: names of protected environments, where the approval lets delete
}

// Prepare makes the statement that the human will sign, and the nonce that Sign consumes.
func (b *Broker) Prepare(ctx context.Context, human string, intent Intent) (*Ceremony, error) {
	ceremony, err := b.state(ctx, human, intent)
	if err != nil {
		return nil, err
	}
	if ceremony.Statement.Typed, err = b.typed(intent.Typed, ceremony.Items); err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(b.random, nonce); err != nil {
		return nil, fmt.Errorf("reading random bytes: %w", err)
	}
	ceremony.Nonce, ceremony.Expires = base64.RawURLEncoding.EncodeToString(nonce), b.now().Add(SignFor)
	ceremony.Statement.Expires = ceremony.Expires.Format(time.RFC3339Nano)
	return ceremony, b.update(ctx, func(tx Tx) error { return errors.Join(makeRoom(tx, human), tx.Save(ceremony)) })
}

// Preview says what Prepare would ask the human to sign, and writes nothing: for a page where something is being
// unticked. Names that must be typed need not be there yet.
func (b *Broker) Preview(ctx context.Context, human string, intent Intent) (Statement, []Item, error) {
	ceremony, err := b.state(ctx, human, intent)
	if err != nil {
		return Statement{}, nil, err
	}
	return ceremony.Statement, ceremony.Items, nil
}

// state makes the statement of an intent, without nonce and time.
func (b *Broker) state(ctx context.Context, human string, intent Intent) (*Ceremony, error) {
	ceremony := &Ceremony{}
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
		ceremony.Items, err = b.narrow(ctx, &request, &ceremony.Statement, intent.Narrow)
	}
	return ceremony, err
}

// typed checks that the human wrote out where this lets something be deleted for good.
func (b *Broker) typed(names []string, items []Item) ([]string, error) {
	must := b.Configuration().MustType(items)
	for _, name := range must {
		if !slices.Contains(names, name) {
			return nil, Errorf(CodeInvalid, "this lets something be deleted in %s, which is protected", name).WithField("typed").
				WithNext("type the name of the environment: %s", name)
		}
	}
	return must, nil
}

func changedSince() error {
	return Errorf(CodeConflict, "this changed since it was shown: nothing is signed").WithNext("look at it again")
}

// Sign verifies the assertion over the prepared statement and carries out the act, in one transaction
// that consumes the nonce. Every refusal is recorded, and consumes it too.
func (b *Broker) Sign(ctx context.Context, human, nonce string, assertion Assertion) (Act, error) {
	defer b.known.forget() // it may confirm a target
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
		return nil, Errorf(CodeForbidden, "this statement was prepared for another human").WithNext("look at it again, signed in as yourself")
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
	switch {
	case err != nil || !found || passkey.Human != human:
		return nil, Errorf(CodeForbidden, "this is not one of your passkeys").WithNext("sign with one that “You” lists").Because(err)
	case was.Act == ActRemovePasskey && passkey.ID == was.Subject:
		return nil, Errorf(CodeForbidden, "another passkey must sign this: the one that goes cannot").WithNext("sign with another one of yours")
	}
	counter, err := b.verifyAssertion(*passkey, ceremony, assertion, b.now())
	if err != nil {
		if CodeOf(err) == CodeInternal {
			err = Errorf(CodeForbidden, "the passkey's signature does not hold").WithNext("try again; if it lasts, use another passkey and tell an operator").Because(err)
		}
		return nil, err
	}
	passkey.Counter = counter
	return passkey, nil
}

func (b *Broker) refuseSign(tx Tx, human string, s Statement, refusal error) error {
	return b.append(tx, EventReviewRefused, "human:"+human, s.Subject, struct {
		Act     Act    `json:"act,omitempty"`
		Refusal string `json:"refusal"`
		Code    Code   `json:"code"`
		Digest  string `json:"digest,omitempty"` // of the subject, as it was shown; the statement may be long, and nothing came of it
	}{s.Act, messageOf(refusal), CodeOf(refusal), s.Digest})
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
	case ActAddPasskey:
		return b.addPasskey(tx, signed)
	case ActRemovePasskey:
		return b.removePasskey(tx, signed)
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

// approve keeps the approval and, when it was the last that was needed, opens the request for collecting. Earlier ones
// that no longer count are left out.
func (b *Broker) approve(tx Tx, approval Approval) error {
	request := Request{ID: approval.Request}
	if err := tx.Load(&request); err != nil {
		return err
	}
	request.narrowTo(approval.Items, time.Duration(approval.Statement.TTL)*time.Second)
	approvals, void, err := b.leaveOut(tx, request)
	if err != nil {
		return err
	}
	kind := EventRequestReviewed
	request.Signed = len(approvals) + 1
	if missing := b.Configuration().missing(request, append(approvals, approval)); len(missing) == 0 {
		kind, request.State, request.Deadline = EventRequestApproved, RequestApproved, b.now().Add(CollectFor)
		request.Decided, request.DecidedBy = b.now(), "human:"+approval.Reviewer
	}
	if err := errors.Join(tx.Save(&approval), tx.Save(&request)); err != nil {
		return err
	}
	data := b.requestEvent(request)
	data.Approval, data.Void, data.Seconds = &approval, void, b.now().Sub(request.Created).Seconds()
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
	if err := fits(words); err != nil {
		return err
	}
	err := b.update(ctx, func(tx Tx) error {
		request := Request{ID: id}
		found, err := load(tx, &request)
		if err != nil || !found {
			return errors.Join(err, noRequest(id))
		}
		if err := b.mayReject(human, digest, request); err != nil {
			return err
		}
		return b.close(tx, request, RequestDenied, EventRequestRejected, "human:"+human, words)
	})
	b.changed.notify()
	return err
}

// fits refuses a reviewer's words that are too long to keep.
func fits(words string) error {
	if len(words) > maxReason {
		return Errorf(CodeInvalid, "reason: at most %d bytes", maxReason).WithField("reason").WithNext("say it in fewer words")
	}
	return nil
}

// MayReject tells whether this human may deny a request as it stands now: nil, or why not. Who may not approve
// it may: its owner, and reviewers once the configuration changed.
func (b *Broker) MayReject(ctx context.Context, human, id string) error {
	request := Request{ID: id}
	return b.store.View(ctx, func(r Reader) error {
		found, err := load(r, &request)
		if err != nil || !found {
			return errors.Join(err, noRequest(id))
		}
		return b.mayReject(human, request.Digest(), request)
	})
}

// mayReject refuses whoever may not deny this request as it was shown. An owner may always stop the own agent.
func (b *Broker) mayReject(human, digest string, request Request) error {
	if human != request.Owner || request.State != RequestPending {
		if err := b.mayDecide(b.Configuration(), human, request); err != nil {
			return err
		}
	}
	if digest != request.Digest() {
		return changedSince()
	}
	return nil
}
