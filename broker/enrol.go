package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CodeFor is how long a one-time code lives.
const CodeFor = time.Hour

const admissionFor = 7 * 24 * time.Hour // a passkey that waits for operators

// AddAgent makes an agent, or lets a known one enrol a new key; the code is shown once and lives one
// hour. A removed agent's name can be used again, by the same owner only. Operators and the admin socket.
func (b *Broker) AddAgent(ctx context.Context, caller Caller, name, owner string) (code Secret, err error) {
	if err := b.mustOperate(caller); err != nil {
		return Secret{}, err
	}
	if !IsAgentName(name) {
		return Secret{}, Errorf(CodeInvalid, "agent %q: expected a-z, 0-9, dashes, and slashes between parts", clip(name)).WithField("name")
	}
	if !IsName(owner) {
		return Secret{}, Errorf(CodeInvalid, "owner %q is not a name", clip(owner)).WithField("owner")
	}
	code, hash, err := b.newCode()
	if err != nil {
		return Secret{}, err
	}
	err = b.update(ctx, func(tx Tx) error {
		agent := Agent{Name: name}
		found, err := load(tx, &agent)
		if err != nil {
			return err
		}
		if found && agent.Owner != owner {
			return Errorf(CodeConflict, "agent %s belongs to %s", name, agent.Owner).WithField("owner").WithNext("choose another name")
		}
		if !found {
			agent.Created = b.now()
		}
		agent.Owner, agent.CodeHash, agent.CodeExpires = owner, hash, b.now().Add(CodeFor)
		if !found || agent.State == AgentRemoved {
			agent.State = AgentInvited
		}
		if err := tx.Save(&agent); err != nil {
			return err
		}
		return b.append(tx, EventAgentAdded, caller.Actor(), name, map[string]string{"owner": owner})
	})
	return code, err
}

// EnrolAgent gives an agent its key, which stays inert until the agent's owner signs it. The caller of
// this method has checked that whoever sent jwk, a public key, possesses the private one.
func (b *Broker) EnrolAgent(ctx context.Context, name string, code Secret, jwk json.RawMessage, thumbprint string) (agent Agent, err error) {
	err = b.update(ctx, func(tx Tx) error {
		agent = Agent{Name: name}
		found, err := load(tx, &agent)
		if err != nil {
			return err
		}
		if !found || agent.State == AgentRemoved || b.now().After(agent.CodeExpires) || !sameCode(agent.CodeHash, code) {
			return Errorf(CodeForbidden, "no agent %q waits for this code", clip(name)).WithField("code").WithNext("ask an operator for a new code: `hourkeyd agent add`")
		}
		if agent.Thumbprint != "" {
			agent.FormerThumbs = append(agent.FormerThumbs, agent.Thumbprint)
		}
		agent.Key, agent.Thumbprint, agent.State = jwk, thumbprint, AgentInert
		agent.CodeHash, agent.CodeExpires = "", time.Time{}
		if err := tx.Save(&agent); err != nil {
			return err
		}
		return b.append(tx, EventAgentEnrolled, "agent:"+name, name, map[string]string{"thumbprint": thumbprint})
	})
	return agent, err
}

func (b *Broker) activate(tx Tx, signed Approval) error {
	agent := Agent{Name: signed.Statement.Subject}
	if err := tx.Load(&agent); err != nil {
		return err
	}
	agent.State, agent.Activated = AgentActive, signed.At
	if err := tx.Save(&agent); err != nil {
		return err
	}
	return b.append(tx, EventAgentActivated, "human:"+signed.Reviewer, agent.Name, Signed{signed})
}

// RemoveAgent ends an agent, its open requests and its leases. Operators and the admin socket.
func (b *Broker) RemoveAgent(ctx context.Context, caller Caller, name string) error {
	if err := b.mustOperate(caller); err != nil {
		return err
	}
	var open []Lease
	err := b.update(ctx, func(tx Tx) error {
		agent := Agent{Name: name}
		if found, err := load(tx, &agent); err != nil || !found {
			return errors.Join(err, Errorf(CodeNotFound, "no agent %q", clip(name)))
		}
		agent.State, agent.CodeHash = AgentRemoved, ""
		if err := tx.Save(&agent); err != nil {
			return err
		}
		requests, err := list[Request](tx, "request", "deadline") // those that are pending or approved
		if err != nil {
			return err
		}
		for _, request := range requests {
			if request.Agent == name {
				if err := b.close(tx, request, RequestCancelled, EventRequestCancelled, caller.Actor(), ""); err != nil {
					return err
				}
			}
		}
		if open, err = list[Lease](tx, "lease", "open/"+name); err != nil {
			return err
		}
		return b.append(tx, EventAgentRemoved, caller.Actor(), name, nil)
	})
	b.changed.notify()
	if err != nil {
		return err
	}
	if failed := b.endAll(ctx, open, CauseRevoked, caller.Actor()); failed > 0 {
		return Errorf(CodeUnavailable, "agent %s is removed; %s could not be ended yet and are retried", name, plural(failed, "lease"))
	}
	return nil
}

// Agent gives an agent by name, CodeNotFound if there is none.
func (b *Broker) Agent(ctx context.Context, name string) (Agent, error) {
	agent := Agent{Name: name}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&agent) })
	return agent, err
}

// Agents lists all agents, removed ones included.
func (b *Broker) Agents(ctx context.Context) ([]Agent, error) { return listAll[Agent](ctx, b, "agent") }

// Human gives a human by name.
func (b *Broker) Human(ctx context.Context, name string) (Human, error) {
	human := Human{Name: name}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&human) })
	return human, err
}

// Humans lists everyone who was ever invited.
func (b *Broker) Humans(ctx context.Context) ([]Human, error) { return listAll[Human](ctx, b, "human") }

// Passkeys lists a human's passkeys.
func (b *Broker) Passkeys(ctx context.Context, human string) (passkeys []Passkey, err error) {
	err = b.store.View(ctx, func(r Reader) (err error) {
		passkeys, err = list[Passkey](r, "passkey", "human/"+human)
		return err
	})
	return passkeys, err
}

// Passkey gives one by its credential id (base64url).
func (b *Broker) Passkey(ctx context.Context, id string) (Passkey, error) {
	passkey := Passkey{ID: id}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&passkey) })
	return passkey, err
}

func listAll[T any](ctx context.Context, b *Broker, kind string) (all []T, err error) {
	err = b.store.View(ctx, func(r Reader) (err error) {
		all, err = list[T](r, kind, "")
		return err
	})
	return all, err
}

// InviteHuman makes an invite; the code is shown once and lives one hour. The very first human's is
// usable at once, and only the admin socket makes it; later ones wait for operators' signatures.
func (b *Broker) InviteHuman(ctx context.Context, caller Caller, name string) (invite Invite, code Secret, err error) {
	if err := b.mustOperate(caller); err != nil {
		return Invite{}, Secret{}, err
	}
	if !IsName(name) {
		return Invite{}, Secret{}, Errorf(CodeInvalid, "human %q: expected a-z, 0-9 and dashes", clip(name)).WithField("name")
	}
	code, hash, err := b.newCode()
	if err != nil {
		return Invite{}, Secret{}, err
	}
	handle := make([]byte, 32)
	if _, err := io.ReadFull(b.random, handle); err != nil {
		return Invite{}, Secret{}, fmt.Errorf("reading random bytes: %w", err)
	}
	cfg := b.Configuration()
	err = b.update(ctx, func(tx Tx) error {
		passkeys, err := list[Passkey](tx, "passkey", "")
		if err != nil {
			return err
		}
		invite = Invite{
			Human: name, CodeHash: hash, State: InviteInert, Needs: cfg.admission(name, passkeys), Groups: cfg.GroupsOf(name),
			Replaces: slices.ContainsFunc(passkeys, func(p Passkey) bool { return p.Human == name }),
			By:       caller.Actor(), Created: b.now(), Expires: b.now().Add(CodeFor),
		}
		if invite.Replaces && len(cfg.operatorsBut(name, passkeys)) == 0 {
			return Errorf(CodeConflict, "%s has a passkey already, and no other operator could sign that it is lost", name).
				WithNext("stop the broker and run `hourkeyd human reset %s`", name)
		}
		if len(passkeys) == 0 && caller.Kind == CallerSocket {
			invite.State, invite.Needs = InviteUsable, 0
		}
		human := Human{Name: name, Handle: handle, Created: b.now()}
		if found, err := load(tx, &Human{Name: name}); err != nil {
			return err
		} else if !found {
			if err := tx.Save(&human); err != nil {
				return err
			}
		}
		if err := tx.Save(&invite); err != nil {
			return err
		}
		return b.append(tx, EventHumanInvited, caller.Actor(), name, map[string]any{"state": invite.State, "needs": invite.Needs, "groups": invite.Groups})
	})
	return invite, code, err
}

// admission is how many operators must sign a newcomer's invite: as many as the strictest environment
// that the newcomer may review wants for its worst action, but never more than there are.
func (c *Configuration) admission(name string, passkeys []Passkey) int {
	needs := 1
	for _, environment := range c.Environments {
		if c.MayReview(name, environment.Name) {
			needs = max(needs, environment.Needs(Read|Write|Delete|Admin))
		}
	}
	return max(1, min(needs, len(c.operatorsBut(name, passkeys))))
}

// operatorsBut gives the operators who have a passkey, without one of them.
func (c *Configuration) operatorsBut(name string, passkeys []Passkey) map[string]bool {
	operators := map[string]bool{}
	for _, passkey := range passkeys {
		if passkey.Human != name && c.HasRole(passkey.Human, RoleOperator) {
			operators[passkey.Human] = true
		}
	}
	return operators
}

func (b *Broker) admitHuman(tx Tx, signed Approval) error {
	invite := Invite{Human: signed.Statement.Subject}
	if err := tx.Load(&invite); err != nil {
		return err
	}
	invite.Signed = append(invite.Signed, signed.Reviewer)
	enough := len(invite.Signed) >= invite.Needs
	if enough {
		invite.State = InviteUsable
	}
	if err := b.append(tx, EventHumanAdmitted, "human:"+signed.Reviewer, invite.Human, Signed{signed}); err != nil {
		return err
	}
	if enough && invite.Passkey != nil {
		return b.usePasskey(tx, invite, *invite.Passkey)
	}
	return tx.Save(&invite)
}

// AskAdmission keeps the first passkey of somebody who came by single sign-on until operators sign that very
// key (ActAdmitHuman). The caller has made sure that the sign-on was a moment ago.
func (b *Broker) AskAdmission(ctx context.Context, human string, passkey Passkey) (invite Invite, err error) {
	cfg := b.canSign()
	err = b.update(ctx, func(tx Tx) error {
		login := Login{Human: human}
		if found, err := load(tx, &login); err != nil || !found || len(login.Groups) == 0 {
			return errors.Join(err, Errorf(CodeForbidden, "%s did not come by single sign-on", human).WithNext("ask an operator for an invite"))
		}
		passkeys, err := list[Passkey](tx, "passkey", "")
		if err != nil {
			return err
		}
		if slices.ContainsFunc(passkeys, func(p Passkey) bool { return p.Human == human }) {
			return Errorf(CodeConflict, "%s has a passkey already: it signs further ones", human)
		}
		if len(cfg.operatorsBut(human, passkeys)) == 0 {
			return Errorf(CodeForbidden, "nobody could sign this: no operator has a passkey yet").WithNext("the first passkey is made with an invite from the broker's shell: `hourkeyd human invite NAME`")
		}
		if err := unknownPasskey(tx, passkey.ID); err != nil {
			return err
		}
		passkey.Human, passkey.Created = human, b.now()
		invite = Invite{
			Human: human, State: InviteInert, Needs: cfg.admission(human, passkeys), Groups: cfg.GroupsOf(human),
			Passkey: &passkey, Account: login.Email + " at " + login.Issuer, By: "human:" + human, Created: b.now(), Expires: b.now().Add(admissionFor),
		}
		if err := tx.Save(&invite); err != nil {
			return err
		}
		return b.append(tx, EventPasskeyOffered, "human:"+human, human, passkeyEvent(passkey))
	})
	return invite, err
}

// says is what an operator signs.
func (i Invite) says() string {
	groups := orElse(strings.Join(i.Groups, ", "), "no group")
	switch {
	case i.Passkey != nil:
		return fmt.Sprintf("%s, who is %s, has the passkey %s, as a member of: %s", i.Human, strconv.Quote(i.Account), i.Passkey.ID, groups)
	case i.Replaces:
		return fmt.Sprintf("%s lost the passkeys and may make a new one here, which replaces them, as a member of: %s", i.Human, groups)
	}
	return fmt.Sprintf("%s may make a passkey here, as a member of: %s", i.Human, groups)
}

// Redeem checks a code without consuming it and gives the human to make a passkey for.
func (b *Broker) Redeem(ctx context.Context, name string, code Secret) (Human, error) {
	human := Human{Name: name}
	err := b.store.View(ctx, func(r Reader) error {
		if _, err := b.redeemable(r, name, code); err != nil {
			return err
		}
		return r.Load(&human)
	})
	return human, err
}

func (b *Broker) redeemable(r Reader, name string, code Secret) (Invite, error) {
	invite := Invite{Human: name}
	found, err := load(r, &invite)
	switch {
	case err != nil:
		return invite, err
	case !found, invite.State == InviteUsed, b.now().After(invite.Expires), !sameCode(invite.CodeHash, code):
		return invite, Errorf(CodeForbidden, "no invite of that name has this code").WithField("code").WithNext("check both; a code works once, for one hour. If they are right, ask an operator for a new one")
	case invite.State == InviteInert:
		return invite, Errorf(CodeForbidden, "this invite waits for %s to sign it", plural(invite.Needs-len(invite.Signed), "operator"))
	}
	return invite, b.stillFirst(r, invite)
}

// stillFirst refuses a first invite, which nobody signs, once somebody has a passkey. The attack: several
// first invites are made while there is nobody yet, and one is kept for later.
func (b *Broker) stillFirst(r Reader, invite Invite) error {
	if invite.Needs > 0 || invite.By != string(CallerSocket) { // signed by operators, or a reset's
		return nil
	}
	passkeys, err := list[Passkey](r, "passkey", "")
	if err == nil && len(passkeys) > 0 {
		err = Errorf(CodeForbidden, "this invite was for the first human, and somebody else came first").
			WithNext("ask for a new one, which operators sign: `hourkeyd human invite %s`", invite.Human)
	}
	return err
}

// AddPasskey consumes the invite and keeps the new passkey.
func (b *Broker) AddPasskey(ctx context.Context, name string, code Secret, passkey Passkey) error {
	return b.update(ctx, func(tx Tx) error {
		invite, err := b.redeemable(tx, name, code)
		if err != nil {
			return err
		}
		if err := unknownPasskey(tx, passkey.ID); err != nil {
			return err
		}
		return b.usePasskey(tx, invite, passkey)
	})
}

// usePasskey uses an invite up. A passkey that replaces lost ones must wait like any further one: whoever
// talked operators into it is seen before it counts.
func (b *Broker) usePasskey(tx Tx, invite Invite, passkey Passkey) error {
	passkey.Human, passkey.Created, passkey.UsableFrom, passkey.Further = invite.Human, b.now(), b.now(), invite.Replaces
	if invite.Replaces {
		passkey.UsableFrom = b.now().Add(b.Configuration().Limits.PasskeyWait)
		if err := b.removeLost(tx, invite.Human); err != nil {
			return err
		}
	}
	if err := nobodysPasskey(tx, passkey.ID); err != nil {
		return err
	}
	invite.State, invite.CodeHash, invite.Passkey = InviteUsed, "", nil
	if err := errors.Join(tx.Save(&invite), tx.Save(&passkey)); err != nil {
		return err
	}
	return b.append(tx, EventPasskeyAdded, "human:"+invite.Human, invite.Human, passkeyEvent(passkey))
}

func (b *Broker) removeLost(tx Tx, human string) error {
	lost, err := list[Passkey](tx, "passkey", "human/"+human)
	if err != nil {
		return err
	}
	waiting, err := list[WaitingPasskey](tx, "waiting-passkey", "human/"+human)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		if err := tx.Delete(&w); err != nil {
			return err
		}
	}
	for _, passkey := range lost {
		if err := tx.Delete(&passkey); err != nil {
			return err
		}
		if err := b.append(tx, EventPasskeyRemoved, "human:"+human, human, passkeyEvent(passkey)); err != nil {
			return err
		}
	}
	return nil
}

// SignedIn records the signature counter of a sign-in assertion that the caller verified.
func (b *Broker) SignedIn(ctx context.Context, id string, counter uint32) error {
	return b.update(ctx, func(tx Tx) error {
		passkey := Passkey{ID: id}
		if err := tx.Load(&passkey); err != nil {
			return err
		}
		if counter <= passkey.Counter && (counter != 0 || passkey.Counter != 0) { // WebAuthn level 3, section 6.1.1
			return Errorf(CodeForbidden, "the passkey's counter went back: it may have been copied")
		}
		passkey.Counter = counter
		return tx.Save(&passkey)
	})
}
