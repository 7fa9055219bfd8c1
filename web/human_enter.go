package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// registration is what a human who redeemed a code is about to finish. It stays here: the page has
// only the challenge.
type registration struct {
	human broker.Human
	code  broker.Secret
}

// base64url is binary data as our script sends it: base64url without padding.
type base64url []byte

// UnmarshalText reads base64url without padding, strictly.
func (b *base64url) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return errors.New("expected base64url without padding")
	}
	*b = raw
	return nil
}

// sentAssertion is a broker.Assertion as the script sends it.
type sentAssertion struct {
	CredentialID      string    `json:"credential_id"`
	ClientDataJSON    base64url `json:"client_data_json"`
	AuthenticatorData base64url `json:"authenticator_data"`
	Signature         base64url `json:"signature"`
	UserHandle        base64url `json:"user_handle"`
}

func (a sentAssertion) assertion() broker.Assertion {
	return broker.Assertion{
		CredentialID: a.CredentialID, ClientDataJSON: a.ClientDataJSON, AuthenticatorData: a.AuthenticatorData,
		Signature: a.Signature, UserHandle: a.UserHandle,
	}
}

// goesOn is what the script does after a ceremony. An empty Next: load the same page again.
type goesOn struct {
	Next string `json:"next"`
}

// form reads a form that has exactly the fields that it may have, each once.
func (c *call) formOf(names ...string) (url.Values, error) {
	if err := c.request.ParseForm(); err != nil {
		return nil, unread(err)
	}
	for name, all := range c.request.PostForm {
		if !known(names, name) || len(all) != 1 {
			return nil, broker.Errorf(broker.CodeInvalid, "the form's field %q is unknown, or there twice", printable(name)).WithField(printable(name))
		}
	}
	return c.request.PostForm, nil
}

func (p *pages) inviteForm(v *visit) error {
	return p.show(v, http.StatusOK, ui.PageInvite, "Make your passkey", ui.Invite{})
}

// redeem checks the code that was typed in, and begins the registration.
func (p *pages) redeem(v *visit) error {
	form, err := v.formOf("name", "code")
	if err != nil {
		return err
	}
	human, err := p.tryCode(v, form.Get("name"), broker.NewSecret(form.Get("code")))
	if err != nil {
		told := refusal(err)
		p.logFailure(v.call, told, problems(told.Code).status, err)
		return p.show(v, problems(told.Code).status, ui.PageInvite, "Make your passkey", ui.Invite{Name: form.Get("name"), Problem: ui.InWords(told)})
	}
	passkeys, err := p.broker.Passkeys(v.ctx(), human.Name)
	if err != nil {
		return err
	}
	challenge := p.registrations.Begin(registration{human, broker.NewSecret(form.Get("code"))})
	options, err := json.Marshal(p.verifier.Creation(human, challenge, passkeys))
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, ui.PageRegister, "Make your passkey", ui.Register{Human: human.Name, Options: string(options)})
}

// tryCode counts guesses, before anything is looked at.
func (p *pages) tryCode(v *visit, name string, code broker.Secret) (broker.Human, error) {
	if !broker.IsName(name) {
		return broker.Human{}, broker.Errorf(broker.CodeInvalid, "this is not a name: expected a-z, 0-9 and dashes").WithField("name")
	}
	if err := p.limited(v.call, p.guesses, addressKey(v.address)); err != nil {
		return broker.Human{}, err
	}
	return p.broker.Redeem(v.ctx(), name, code)
}

// register ends the registration: the passkey is kept, the code is used up, the human is signed in.
func (p *pages) register(v *visit) error {
	var sent struct {
		CredentialID      string    `json:"credential_id"`
		ClientDataJSON    base64url `json:"client_data_json"`
		AttestationObject base64url `json:"attestation_object"`
		Transports        []string  `json:"transports"`
	}
	if err := v.decode(&sent); err != nil {
		return err
	}
	challenge, begun, err := p.registrations.Finish(sent.ClientDataJSON)
	if err != nil {
		return err
	}
	passkey, err := p.verifier.Register(begun.human.Handle, challenge, authn.Attestation{
		CredentialID: sent.CredentialID, ClientDataJSON: sent.ClientDataJSON, AttestationObject: sent.AttestationObject, Transports: sent.Transports,
	})
	if err != nil {
		return err
	}
	if err := p.broker.AddPasskey(v.ctx(), begun.human.Name, begun.code, passkey); err != nil {
		return err
	}
	return p.startSession(v, begun.human.Name, passkey.ID)
}

func (p *pages) signInForm(v *visit) error { return p.wayIn(v, http.StatusOK) }

// wayIn is the sign-in page. A link from another site comes without our cookie (SameSite=Strict), so
// that site cannot act for the human; going on from here brings it.
func (p *pages) wayIn(v *visit, status int) error {
	site := v.request.Header.Get("Sec-Fetch-Site")
	view := ui.SignIn{FromElsewhere: status == http.StatusUnauthorized && (site == "cross-site" || site == "same-site"), Path: v.request.URL.EscapedPath(), SingleSignOn: p.signOn.IsOn()}
	return p.show(v, status, ui.PageSignIn, "Sign in", view)
}

func (p *pages) prepareSignIn(v *visit) error {
	if err := v.decode(&struct{}{}); err != nil {
		return err
	}
	return v.answer(http.StatusOK, map[string]any{"options": p.verifier.Request(p.signIns.Begin(), nil)})
}

// signIn takes the assertion of a discoverable passkey. Whose it is, the passkey says; the user handle
// that came with it must agree.
func (p *pages) signIn(v *visit) error {
	var sent sentAssertion
	if err := v.decode(&sent); err != nil {
		return err
	}
	challenge, err := p.signIns.Finish(sent.ClientDataJSON)
	if err != nil {
		return err
	}
	passkey, err := p.broker.Passkey(v.ctx(), sent.CredentialID)
	if broker.CodeOf(err) == broker.CodeNotFound || err == nil && len(sent.UserHandle) == 0 {
		return broker.Errorf(broker.CodeForbidden, "this passkey is not known here").WithNext("use the one that you made with your invite")
	}
	if err != nil {
		return err
	}
	counter, err := p.verifier.Verify(passkey, challenge, sent.assertion())
	if err != nil {
		return err
	}
	if err := p.limited(v.call, p.entries, "passkey "+passkey.ID); err != nil {
		return err
	}
	if err := p.broker.SignedIn(v.ctx(), passkey.ID, counter); err != nil {
		return err
	}
	return p.startSession(v, passkey.Human, passkey.ID)
}

func (p *pages) startSession(v *visit, human, passkey string) error {
	former, _ := p.sessions.Find(v.request) // whoever it was: it ends now
	if err := p.openSession(v, former, authn.Session{Human: human, Via: authn.ViaPasskey, Passkey: passkey}); err != nil {
		return err
	}
	next, err := p.firstStop(v, human)
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, goesOn{next})
}

// firstStop is where somebody who just came goes on: to the one request that waits, else to the inbox.
func (p *pages) firstStop(v *visit, human string) (string, error) {
	inbox, err := p.broker.Inbox(v.ctx(), human)
	if err != nil {
		return "", err
	}
	if inbox.Waiting == 1 && len(inbox.Requests) == 1 && len(inbox.Freezes) == 0 && len(inbox.Pins) == 0 {
		return ui.RequestPath(inbox.Requests[0].ID), nil
	}
	return "/", nil
}

// signOut ends the session here and in the browser, whichever of the two still can.
func (p *pages) signOut(v *visit) error {
	http.SetCookie(v.writer, p.sessions.Forget())
	if err := p.sessions.End(v.ctx(), v.session); err != nil {
		return err
	}
	v.redirect("/sign-in")
	return nil
}
