package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const admissionFor = 7 * 24 * time.Hour // a passkey that waits for operators

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
			Human: name, CodeHash: hash, State: InviteInert, Groups: cfg.everybody().GroupsOf(name),
			Replaces: slices.ContainsFunc(passkeys, func(p Passkey) bool { return p.Human == name }),
			By:       caller.Actor(), Created: b.now(), Expires: b.now().Add(CodeFor),
		}
		if err := errors.Join(invite.enoughFor(cfg, passkeys), b.insteadOf(tx, &invite)); err != nil {
			return err
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
		return b.append(tx, EventHumanInvited, caller.Actor(), name, invited{invite.State, invite.Needs, invite.Groups, invite.Instead})
	})
	return invite, code, err
}

// invited is the data of EventHumanInvited.
type invited struct {
	State   InviteState `json:"state"`
	Needs   int         `json:"needs"`
	Groups  []string    `json:"groups"`
	Instead string      `json:"instead,omitempty"`
}

// admission is how many operators must sign for a newcomer: as many as the strictest environment that the newcomer
// may come to review wants for its worst action. An operator could admit reviewers to each of them.
func (c *Configuration) admission(name string) int {
	all, needs := c.atMost(name), 1
	for _, environment := range c.Environments {
		if all.HasRole(name, RoleOperator) || all.MayReview(name, environment.Name) {
			needs = max(needs, environment.Needs(Read|Write|Delete|Admin))
		}
	}
	return needs
}

// atMost is the configuration in which a newcomer has every group that comes without anybody's leave: those that wait
// for a fresh single sign-on, and, of a newcomer whom it has not named yet, all that it may bring.
func (c *Configuration) atMost(name string) *Configuration {
	all := c.everybody()
	if c.SignOn == nil || c.Named[name] {
		return all
	}
	for _, group := range c.SignOn.Groups {
		all.Groups[group] = append(slices.Clip(all.Groups[group]), name)
	}
	return all
}

// operatorsBut gives the operators who have a passkey, without one of them. Those who must sign on again are
// operators all the same: the attack is to wait for the night, when there are fewer.
func (c *Configuration) operatorsBut(name string, passkeys []Passkey) map[string]bool {
	all, operators := c.everybody(), map[string]bool{}
	for _, passkey := range passkeys {
		if passkey.Human != name && all.HasRole(passkey.Human, RoleOperator) {
			operators[passkey.Human] = true
		}
	}
	return operators
}

// enoughFor sets how many signatures an invite needs. A newcomer's are never more than there are operators, or nobody
// could ever join; somebody's whose passkeys are lost are not fewer for that: one operator alone would become another.
func (i *Invite) enoughFor(cfg *Configuration, passkeys []Passkey) error {
	operators := len(cfg.operatorsBut(i.Human, passkeys))
	i.Needs = cfg.admission(i.Human)
	switch {
	case !i.Replaces:
		i.Needs = max(1, min(i.Needs, operators))
	case i.Needs > operators:
		return Errorf(CodeConflict, "%s has a passkey already; %s must sign that it is lost, and there are %d", i.Human, plural(i.Needs, "other operator"), operators).
			WithNext("stop the broker and run `hourkeyd human reset %s`", i.Human)
	}
	return nil
}

// signers leaves out whoever signed and is an operator with a passkey no more.
func (b *Broker) signers(r Reader, invite Invite) ([]string, error) {
	passkeys, err := list[Passkey](r, "passkey", "")
	if err != nil {
		return nil, err
	}
	operators := b.Configuration().operatorsBut(invite.Human, passkeys)
	return slices.DeleteFunc(slices.Clone(invite.Signed), func(name string) bool { return !operators[name] }), nil
}

func (b *Broker) admitHuman(tx Tx, signed Approval) error {
	invite := Invite{Human: signed.Statement.Subject}
	if err := tx.Load(&invite); err != nil {
		return err
	}
	before, err := b.signers(tx, invite)
	if err != nil {
		return err
	}
	invite.Signed = append(before, signed.Reviewer)
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
			Human: human, State: InviteInert, Groups: cfg.everybody().GroupsOf(human),
			Passkey: &passkey, Account: login.Email + " at " + login.Issuer, By: "human:" + human, Created: b.now(), Expires: b.now().Add(admissionFor),
		}
		if err := errors.Join(invite.enoughFor(cfg, passkeys), b.insteadOf(tx, &invite)); err != nil {
			return err
		}
		if err := tx.Save(&invite); err != nil {
			return err
		}
		return b.append(tx, EventPasskeyOffered, "human:"+human, human, passkeyEvent(passkey))
	})
	return invite, err
}

// insteadOf gives a new invite its nonce, and names the invite that still waited and that it takes the place of.
func (b *Broker) insteadOf(tx Tx, invite *Invite) error {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(b.random, nonce); err != nil {
		return fmt.Errorf("reading random bytes: %w", err)
	}
	invite.Nonce = nonce
	former := Invite{Human: invite.Human}
	found, err := load(tx, &former)
	if found && former.State != InviteUsed && b.now().Before(former.Expires) {
		invite.Instead = former.By + ", " + former.Created.UTC().Format(time.RFC3339)
	}
	return err
}

// says is what an operator signs.
func (i Invite) says() string {
	says := i.Human + " may make a passkey here"
	switch {
	case i.Passkey != nil:
		says = fmt.Sprintf("%s, who is %s, has the passkey %s", i.Human, strconv.Quote(i.Account), i.Passkey.ID)
	case i.Replaces:
		says = i.Human + " lost the passkeys and may make a new one here, which replaces them"
	}
	says += ", as a member of: " + orElse(strings.Join(i.Groups, ", "), "no group")
	if i.Instead != "" {
		says += "; in place of what waited before: " + i.Instead
	}
	return says
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
	return invite, errors.Join(b.stillFirst(r, invite), b.stillSigned(r, invite))
}

// stillSigned refuses an invite after an operator who signed it was thrown out.
func (b *Broker) stillSigned(r Reader, invite Invite) error {
	signers, err := b.signers(r, invite)
	if err == nil && len(signers) < invite.Needs {
		err = Errorf(CodeForbidden, "somebody who signed this invite is no operator any more").WithNext("ask for a new one: `hourkeyd human invite %s`", invite.Human)
	}
	return err
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
		if err := b.removeLost(tx, invite); err != nil {
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
	return b.append(tx, EventPasskeyAdded, invite.usedBy(), invite.Human, invite.passkeyEvent(passkey))
}

// usedBy is the actor of what an invite does once it is used. Whoever replaces lost passkeys has shown none of that
// human's: those answer for it who signed, the last of them, or who invited.
func (i Invite) usedBy() string {
	switch {
	case !i.Replaces:
		return "human:" + i.Human
	case len(i.Signed) > 0:
		return "human:" + i.Signed[len(i.Signed)-1]
	}
	return i.By
}

// passkeyEvent is the data of an event about a passkey that came, or went, by the invite.
func (i Invite) passkeyEvent(p Passkey) map[string]any {
	data := passkeyEvent(p)
	data["invited_by"], data["signed"] = i.By, i.Signed
	return data
}

// unsign takes a human's signatures off the invites that are not used yet. The attack: whoever stole a passkey signed
// with it before it was removed. With another one the human signs once more.
func unsign(tx Tx, human string) error {
	invites, err := list[Invite](tx, "invite", "")
	if err != nil {
		return err
	}
	for _, invite := range invites {
		if invite.State == InviteUsed || !slices.Contains(invite.Signed, human) {
			continue
		}
		invite.Signed = slices.DeleteFunc(invite.Signed, func(name string) bool { return name == human })
		if len(invite.Signed) < invite.Needs {
			invite.State = InviteInert
		}
		if err := tx.Save(&invite); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) removeLost(tx Tx, invite Invite) error {
	lost, err := list[Passkey](tx, "passkey", "human/"+invite.Human)
	if err != nil {
		return err
	}
	waiting, err := list[WaitingPasskey](tx, "waiting-passkey", "human/"+invite.Human)
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
		if err := b.append(tx, EventPasskeyRemoved, invite.usedBy(), invite.Human, invite.passkeyEvent(passkey)); err != nil {
			return err
		}
	}
	return unsign(tx, invite.Human)
}
