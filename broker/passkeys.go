package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPasskeys is how many one human can have.
const maxPasskeys = 16

// WaitingPasskey is a further passkey of a human that no earlier one has signed yet.
type WaitingPasskey struct {
	Passkey Passkey   `json:"passkey"`
	Expires time.Time `json:"expires"`
}

// Meta places them by credential id, by human, and by when they can be forgotten.
func (w *WaitingPasskey) Meta() Meta {
	return Meta{Kind: "waiting-passkey", Key: w.Passkey.ID, Format: 1, Index: []Entry{
		{Name: "human/" + w.Passkey.Human}, {Name: "expires", Order: order(w.Expires)},
	}}
}

// Digest identifies the passkey that is signed for: this key, for this human.
func (p Passkey) Digest() string {
	return digest("hourkey/passkey/1", struct {
		ID, Human, Name string
		Credential      []byte
	}{p.ID, p.Human, p.Name, p.Credential})
}

// OfferPasskey keeps a further passkey of a human until one that the human has already signs it (ActAddPasskey).
// The attack: a stolen session makes a passkey of its own.
func (b *Broker) OfferPasskey(ctx context.Context, human string, passkey Passkey) error {
	return b.update(ctx, func(tx Tx) error {
		have, err := list[Passkey](tx, "passkey", "human/"+human)
		if err != nil {
			return err
		}
		waiting, err := list[WaitingPasskey](tx, "waiting-passkey", "human/"+human)
		switch {
		case err != nil:
			return err
		case len(have) == 0:
			return Errorf(CodeForbidden, "%s has no passkey that could sign this one", human).WithNext("ask an operator for an invite")
		case len(have)+len(waiting) >= maxPasskeys:
			return Errorf(CodeConflict, "%d passkeys are the most that one human can have", maxPasskeys).WithNext("remove one first")
		}
		if err := unknownPasskey(tx, passkey.ID); err != nil {
			return err
		}
		passkey.Human, passkey.Created = human, b.now()
		if err := tx.Save(&WaitingPasskey{passkey, b.now().Add(CodeFor)}); err != nil {
			return err
		}
		return b.append(tx, EventPasskeyOffered, "human:"+human, human, passkeyEvent(passkey))
	})
}

// WaitingPasskeys lists what waits for a signature of this human.
func (b *Broker) WaitingPasskeys(ctx context.Context, human string) (waiting []WaitingPasskey, err error) {
	err = b.store.View(ctx, func(r Reader) (err error) {
		waiting, err = list[WaitingPasskey](r, "waiting-passkey", "human/"+human)
		return err
	})
	return slices.DeleteFunc(waiting, func(w WaitingPasskey) bool { return b.now().After(w.Expires) }), err
}

// RenamePasskey gives a human's own passkey another name, for lists.
func (b *Broker) RenamePasskey(ctx context.Context, human, id, name string) error {
	if name = strings.TrimSpace(name); len(name) > 64 {
		return Errorf(CodeInvalid, "name: expected at most 64 bytes").WithField("name")
	}
	return b.update(ctx, func(tx Tx) error {
		passkey := Passkey{ID: id}
		found, err := load(tx, &passkey)
		if err != nil || !found || passkey.Human != human {
			return errors.Join(err, noPasskey())
		}
		was := passkey.Name
		passkey.Name = name
		if err := tx.Save(&passkey); err != nil {
			return err
		}
		return b.append(tx, EventPasskeyRenamed, "human:"+human, human, map[string]string{"passkey": id, "was": was, "name": name})
	})
}

func noPasskey() *Error {
	return Errorf(CodeNotFound, "you have no such passkey").WithNext("look at “You” for those that you have")
}

// unknownPasskey refuses a credential id that is anybody's already, or waits to be.
func unknownPasskey(tx Tx, id string) error {
	waits, err := load(tx, &WaitingPasskey{Passkey: Passkey{ID: id}})
	if err != nil {
		return err
	}
	invites, err := list[Invite](tx, "invite", "")
	if err != nil {
		return err
	}
	if waits || slices.ContainsFunc(invites, func(i Invite) bool { return i.Passkey != nil && i.Passkey.ID == id }) {
		return knownPasskey()
	}
	return nobodysPasskey(tx, id)
}

// nobodysPasskey refuses a credential id that somebody came to have, also since the passkey began to wait.
func nobodysPasskey(tx Tx, id string) error {
	known, err := load(tx, &Passkey{ID: id})
	if err != nil || !known {
		return err
	}
	return knownPasskey()
}

func knownPasskey() *Error { return Errorf(CodeConflict, "this passkey is known already") }

// passkeyEvent is what the log tells of a passkey: with its public key, so that whoever has only the log can
// check what it signed.
func passkeyEvent(p Passkey) map[string]any {
	data := map[string]any{"passkey": p.ID, "name": p.Name, "credential": p.Credential}
	if !p.UsableFrom.IsZero() {
		data["usable_from"] = p.UsableFrom
	}
	return data
}

func (b *Broker) stateAddPasskey(r Reader, s *Statement) error {
	waiting := WaitingPasskey{Passkey: Passkey{ID: s.Subject}}
	found, err := load(r, &waiting)
	switch {
	case err != nil:
		return err
	case !found, waiting.Passkey.Human != s.Reviewer, b.now().After(waiting.Expires):
		return Errorf(CodeConflict, "no passkey of yours waits for a signature").WithNext("make it again")
	}
	s.Digest = waiting.Passkey.Digest()
	s.Says = fmt.Sprintf("%s has one more passkey, %s (%s); it may sign in at once, and sign %s from now", s.Reviewer,
		waiting.Passkey.called(), waiting.Passkey.ID, waitInWords(b.Configuration().Limits.PasskeyWait))
	return nil
}

// called is the passkey's name as a statement has it. A session gave it, and it can say anything.
func (p Passkey) called() string {
	if p.Name == "" {
		return "without a name"
	}
	return strconv.Quote(p.Name)
}

func waitInWords(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 hours"
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour")
	}
	return inWords(d)
}

func stateRemovePasskey(r Reader, s *Statement) error {
	passkey := Passkey{ID: s.Subject}
	found, err := load(r, &passkey)
	switch {
	case err != nil:
		return err
	case !found, passkey.Human != s.Reviewer:
		return noPasskey()
	}
	have, err := list[Passkey](r, "passkey", "human/"+s.Reviewer)
	if err != nil {
		return err
	}
	if len(have) < 2 {
		return Errorf(CodeConflict, "this is your only passkey: another must sign that it goes").WithNext("add another one first")
	}
	s.Digest = passkey.Digest()
	s.Says = fmt.Sprintf("the passkey %s (%s) of %s is removed", passkey.called(), passkey.ID, s.Reviewer)
	return nil
}

func (b *Broker) addPasskey(tx Tx, signed Approval) error {
	waiting := WaitingPasskey{Passkey: Passkey{ID: signed.Statement.Subject}}
	if err := tx.Load(&waiting); err != nil {
		return err
	}
	passkey := waiting.Passkey
	if err := nobodysPasskey(tx, passkey.ID); err != nil {
		return err
	}
	passkey.Created, passkey.UsableFrom, passkey.Further = signed.At, signed.At.Add(b.Configuration().Limits.PasskeyWait), true
	if err := errors.Join(tx.Delete(&waiting), tx.Save(&passkey)); err != nil {
		return err
	}
	return b.append(tx, EventPasskeyAdded, "human:"+signed.Reviewer, signed.Reviewer, signedPasskey{passkeyEvent(passkey), signed})
}

func (b *Broker) removePasskey(tx Tx, signed Approval) error {
	passkey := Passkey{ID: signed.Statement.Subject}
	if err := tx.Load(&passkey); err != nil {
		return err
	}
	if err := errors.Join(tx.Delete(&passkey), unsign(tx, passkey.Human)); err != nil {
		return err
	}
	return b.append(tx, EventPasskeyRemoved, "human:"+signed.Reviewer, signed.Reviewer, signedPasskey{passkeyEvent(passkey), signed})
}

// signedPasskey is the data of events about a passkey for which another one signed.
type signedPasskey struct {
	Passkey  map[string]any `json:"passkey"`
	Approval Approval       `json:"approval"`
}
