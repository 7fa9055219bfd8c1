package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// making is a passkey that somebody who is signed in is about to make. It stays here: the page has only
// the challenge.
type making struct {
	human   broker.Human
	session string // hash of the session that asked: another's answer is none
}

// maker is who may make a passkey now, and with what.
type maker struct {
	human broker.Human
	have  []broker.Passkey
}

// first tells whether operators must sign the passkey, because there is none that could.
func (m maker) first() bool { return len(m.have) == 0 }

// maker finds out whether this human may make a passkey in this session. A first one wants a single sign-on of a
// moment ago, in which the human was asked who it is: the attack is a stolen session that enrols a key of its
// own. A further one is inert until an earlier one signs it.
func (p *pages) maker(v *visit) (maker, error) {
	have, err := p.broker.Passkeys(v.ctx(), v.human)
	if err != nil {
		return maker{}, err
	}
	human, err := p.broker.Human(v.ctx(), v.human)
	if err != nil {
		return maker{}, err
	}
	m := maker{human, have}
	if m.first() && !p.isFresh(v.session) {
		return m, broker.Errorf(broker.CodeForbidden, "a first passkey is made within %d minutes of a single sign-on in which you proved who you are", int(authn.FreshFor/time.Minute)).
			WithNext("open %s%s and sign on again", p.origin, pathNewPasskey)
	}
	return m, nil
}

const pathNewPasskey = "/me/passkeys/new"

// isFresh tells whether the human of a session has just proved who it is. A proof from the future, under a
// clock that was set back, proves nothing.
func (p *pages) isFresh(session authn.Session) bool {
	age := p.now().Sub(session.Proved)
	return session.Via == authn.ViaSignOn && !session.Proved.IsZero() && age < authn.FreshFor && age > -authn.FreshFor
}

// newPasskey is the page on which a passkey is made, or that asks to sign on again first, or that says what a
// passkey waits for.
func (p *pages) newPasskey(v *visit) error {
	invite, err := p.waitingInvite(v)
	if err != nil {
		return err
	}
	m, err := p.maker(v)
	switch {
	case broker.CodeOf(err) == broker.CodeForbidden && invite == nil:
		return p.show(v, http.StatusOK, ui.PageConfirm, "Make your passkey", proveFirst())
	case err != nil && broker.CodeOf(err) != broker.CodeForbidden:
		return err
	}
	options := ""
	if err == nil && invite == nil {
		if options, err = p.creation(v, m); err != nil {
			return err
		}
	}
	wait := p.broker.Configuration().Limits.PasskeyWait
	view := ui.NewPasskeyOf(v.human, options, len(m.have), invite, wait, p.now())
	return p.show(v, http.StatusOK, ui.PageNewPasskey, "Make a passkey", view)
}

// waitingInvite is this human's first passkey that operators have not signed yet, nil for none.
func (p *pages) waitingInvite(v *visit) (*broker.Invite, error) {
	invite := &broker.Invite{Human: v.human}
	err := p.store.View(v.ctx(), func(r broker.Reader) error { return r.Load(invite) })
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case invite.State != broker.InviteInert || invite.Passkey == nil || p.now().After(invite.Expires):
		return nil, nil
	}
	return invite, nil
}

func proveFirst() ui.Confirm {
	return ui.Confirm{
		Question: "First prove who you are",
		Sentence: []ui.Word{{Text: "Your first passkey is made within ten minutes of a single sign-on in which you were asked who you are. Sign on once more; you come back here."}},
		Action:   "/sign-in/sso", Fields: []ui.Field{{Name: "fresh", Value: "true"}, {Name: "next", Value: pathNewPasskey}},
		Button: "Sign on again", Back: "/", BackText: "Leave it",
	}
}

// creation begins the making of a passkey and gives what the browser is asked, as JSON.
func (p *pages) creation(v *visit, m maker) (string, error) {
	if err := p.limited(v.call, p.ceremonies, "making "+v.human); err != nil { // the attack: one human pushes out what others are making
		return "", err
	}
	challenge := p.makings.Begin(making{m.human, v.session.Hash})
	raw, err := json.Marshal(p.verifier.Creation(m.human, challenge, m.have))
	return string(raw), err
}

// preparePasskey gives the options once more, for a page that was open longer than a challenge lives.
func (p *pages) preparePasskey(v *visit) error {
	if err := v.decode(&struct{}{}); err != nil {
		return err
	}
	m, err := p.maker(v)
	if err != nil {
		return err
	}
	options, err := p.creation(v, m)
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, map[string]any{"options": json.RawMessage(options)})
}

// offered is the answer to a new passkey: where to go on, and what must be signed before it counts.
type offered struct {
	Next    string     `json:"next"`
	Passkey string     `json:"passkey"` // its id
	Waits   string     `json:"waits"`   // for whose signature: "operators", or "passkey": an earlier one of the same human
	Act     broker.Act `json:"act"`
	Subject string     `json:"subject"`
}

// makePasskey takes a new passkey, which is inert until somebody signs for exactly this key: operators for a
// first one, an earlier one for a further one.
func (p *pages) makePasskey(v *visit) error {
	var sent struct {
		CredentialID      string    `json:"credential_id"`
		ClientDataJSON    base64url `json:"client_data_json"`
		AttestationObject base64url `json:"attestation_object"`
		Transports        []string  `json:"transports"`
		Name              string    `json:"name"`
	}
	if err := v.decode(&sent); err != nil {
		return err
	}
	challenge, begun, err := p.makings.Finish(sent.ClientDataJSON)
	if err != nil {
		return err
	}
	if err := p.limited(v.call, p.ceremonies, v.session.Hash); err != nil {
		return err
	}
	if begun.session != v.session.Hash {
		return broker.Errorf(broker.CodeForbidden, "this passkey was begun in another session").WithNext("load the page again")
	}
	m, err := p.maker(v) // once more: what held a moment ago may not now
	if err != nil {
		return err
	}
	name, err := passkeyName(sent.Name)
	if err != nil {
		return err
	}
	passkey, err := p.verifier.Register(m.human.Handle, challenge, authn.Attestation{
		CredentialID: sent.CredentialID, ClientDataJSON: sent.ClientDataJSON, AttestationObject: sent.AttestationObject, Transports: sent.Transports,
	})
	if err != nil {
		return err
	}
	passkey.Name = name
	return p.offer(v, m, passkey)
}

func (p *pages) offer(v *visit, m maker, passkey broker.Passkey) error {
	if m.first() {
		if _, err := p.broker.AskAdmission(v.ctx(), v.human, passkey); err != nil {
			return err
		}
		return v.answer(http.StatusOK, offered{Next: pathNewPasskey, Passkey: passkey.ID, Waits: "operators", Act: broker.ActAdmitHuman, Subject: v.human})
	}
	if err := p.broker.OfferPasskey(v.ctx(), v.human, passkey); err != nil {
		return err
	}
	return v.answer(http.StatusOK, offered{Next: "/me", Passkey: passkey.ID, Waits: "passkey", Act: broker.ActAddPasskey, Subject: passkey.ID})
}

// passkeyName is what its human calls a passkey. It stands in a statement, so it holds nothing that hides.
func passkeyName(text string) (string, error) {
	const most = 64
	if len(text) > most || strings.ContainsAny(text, "\n\t") || ui.Plain(text) != text {
		return "", broker.Errorf(broker.CodeInvalid, "name: expected at most %d bytes, and nothing that cannot be seen", most).WithField("name")
	}
	return text, nil
}
