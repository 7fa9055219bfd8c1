package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

const admissionFor = 7 * 24 * time.Hour // a passkey that waits for operators

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
		if err := b.offeredLately(tx, human); err != nil {
			return err
		}
		passkey.Human, passkey.Created = human, b.now()
		invite = Invite{
			Human: human, State: InviteInert, Groups: cfg.everybody().GroupsOf(human),
			Passkey: &passkey, Account: login.Email + " at " + login.Issuer, By: "human:" + human, Created: b.now(), Expires: b.now().Add(admissionFor),
		}
		known := Human{Name: human}
		if err := tx.Load(&known); err != nil {
			return err
		}
		if err := errors.Join(invite.enoughFor(cfg, known, passkeys), b.insteadOf(tx, &invite)); err != nil {
			return err
		}
		if err := tx.Save(&invite); err != nil {
			return err
		}
		return b.append(tx, EventPasskeyOffered, "human:"+human, human, passkeyEvent(passkey))
	})
	return invite, err
}

const offerEvery = time.Minute

// offeredLately refuses a newcomer who asks operators again and again: each time all of them are told, and the log keeps it.
func (b *Broker) offeredLately(r Reader, human string) error {
	former := Invite{Human: human}
	found, err := load(r, &former)
	if wait := former.Created.Add(offerEvery).Sub(b.now()); err == nil && found && former.By == "human:"+human && wait > 0 {
		err = Errorf(CodeSlowDown, "operators were asked a moment ago to sign another passkey of yours").WithNext("make a new one in %s", inWords(wait.Round(time.Second))).In(wait)
	}
	return err
}

// admission is how many operators must sign for a newcomer: as many as the strictest environment that the newcomer
// may come to review wants for its worst action. An operator could admit reviewers to each of them. Who came by an
// account of the single sign-on is who it says; a code is for whoever has it, and the single sign-on may name its human
// anything tomorrow.
func (c *Configuration) admission(name string, byAccount bool) int {
	all, needs := c.everybody(), 1
	if !byAccount {
		all = c.atMost(name)
	}
	for _, environment := range c.Environments {
		if all.HasRole(name, RoleOperator) || all.MayReview(name, environment.Name) {
			needs = max(needs, environment.Needs(Read|Write|Delete|Admin))
		}
	}
	return needs
}

// atMost is the configuration in which a newcomer has every group that comes without anybody's leave: those that wait
// for a fresh single sign-on, and all that it may bring.
func (c *Configuration) atMost(name string) *Configuration {
	all := c.everybody()
	if c.SignOn == nil {
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
// could ever join; somebody's whose passkeys are lost, or were reset, are not fewer for that: one operator alone would
// become another.
func (i *Invite) enoughFor(cfg *Configuration, human Human, passkeys []Passkey) error {
	operators := len(cfg.operatorsBut(i.Human, passkeys))
	i.Needs = cfg.admission(i.Human, i.Passkey != nil)
	switch {
	case !i.Replaces && human.Reset.IsZero():
		i.Needs = max(1, min(i.Needs, operators))
	case i.Needs > operators:
		return Errorf(CodeConflict, "%s is no newcomer: %s must sign for a new passkey, and there are %d", i.Human, plural(i.Needs, "other operator"), operators).
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

// harder counts anew how many must sign: there may be more operators by now, or stricter environments.
func (b *Broker) harder(r Reader, invite *Invite) error {
	human, now := Human{Name: invite.Human}, *invite
	if err := r.Load(&human); err != nil {
		return err
	}
	passkeys, err := list[Passkey](r, "passkey", "")
	if err != nil {
		return err
	}
	if err := now.enoughFor(b.Configuration(), human, passkeys); err != nil {
		return err
	}
	invite.Needs = max(invite.Needs, now.Needs)
	return nil
}

// stillSigned refuses an invite after an operator who signed it was thrown out. Operators who came since it was signed
// undo nothing: with the first of several newcomers, the others would be out.
func (b *Broker) stillSigned(r Reader, invite Invite) error {
	signers, err := b.signers(r, invite)
	if err == nil && len(signers) < invite.Needs {
		err = Errorf(CodeForbidden, "somebody who signed this invite is no operator any more").WithNext("ask for a new one: `hourkeyd human invite %s`", invite.Human)
	}
	return err
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
