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
		human := Human{Name: name, Handle: handle, Created: b.now()}
		if _, err := load(tx, &human); err != nil {
			return err
		}
		if len(passkeys) == 0 && caller.Kind == CallerSocket {
			invite.State = InviteUsable
		} else if err := invite.enoughFor(cfg, human, passkeys); err != nil {
			return err
		}
		if err := b.insteadOf(tx, &invite); err != nil {
			return err
		}
		if err := errors.Join(tx.Save(&human), tx.Save(&invite)); err != nil {
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

func (b *Broker) admitHuman(tx Tx, signed Approval) error {
	invite := Invite{Human: signed.Statement.Subject}
	if err := tx.Load(&invite); err != nil {
		return err
	}
	if err := b.harder(tx, &invite); err != nil {
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

func (b *Broker) removeLost(tx Tx, invite Invite) error {
	lost, err := list[Passkey](tx, "passkey", "human/"+invite.Human)
	if err != nil {
		return err
	}
	if err := forgetOffered(tx, invite.Human); err != nil {
		return err
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

// forgetOffered drops the passkeys that a human's sessions offered and that no earlier one signed. The attack: one that a
// stolen session offered waits for the next passkey.
func forgetOffered(tx Tx, human string) error {
	waiting, err := list[WaitingPasskey](tx, "waiting-passkey", "human/"+human)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		if err := tx.Delete(&w); err != nil {
			return err
		}
	}
	return nil
}
