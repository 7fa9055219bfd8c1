package web

import (
	"net/http"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// prepared is what a human sees, and the passkey is asked to sign.
type prepared struct {
	Nonce     string               `json:"nonce"`
	Says      string               `json:"says"`      // the statement's sentence, hidden characters made visible
	Statement string               `json:"statement"` // its canonical JSON, likewise
	Worst     []string             `json:"worst"`     // the actions that a button must name; of an approval
	Options   authn.RequestOptions `json:"options"`
}

// sentIntent is what a human is about to sign, as the page asks for it. Digest is of the subject as it
// was shown: 409 when that changed since. Narrow and Typed are for approvals alone.
type sentIntent struct {
	Act     broker.Act     `json:"act"`
	Subject string         `json:"subject"`
	Digest  string         `json:"digest"`
	Narrow  *sentNarrowing `json:"narrow"`
	Typed   []string       `json:"typed"`
	Preview bool           `json:"preview"` // only to say what would be signed
}

// sentNarrowing is broker.Narrowing as the page sends it.
type sentNarrowing struct {
	Items []struct {
		Environment string   `json:"environment"`
		Target      string   `json:"target"`
		Scopes      []string `json:"scopes"` // what remains; empty leaves the item out
	} `json:"items"`
	TTLSeconds int64 `json:"ttl_seconds"` // 0: unchanged
}

func (s sentIntent) intent() (broker.Intent, error) {
	intent := broker.Intent{Act: s.Act, Subject: s.Subject, Digest: s.Digest, Typed: s.Typed}
	if s.Act != broker.ActApprove && (s.Narrow != nil || s.Typed != nil) {
		return intent, broker.Errorf(broker.CodeInvalid, "only the approval of a request is narrowed, or asks for a name").WithField("act")
	}
	if s.Narrow == nil {
		return intent, nil
	}
	if s.Narrow.TTLSeconds < 0 || s.Narrow.TTLSeconds > int64(broker.Hour/time.Second) { // before a product could overflow
		return intent, broker.Errorf(broker.CodeInvalid, "ttl_seconds is %d: expected 1 to 3600, or none", s.Narrow.TTLSeconds).WithField("ttl_seconds")
	}
	narrow := &broker.Narrowing{TTL: time.Duration(s.Narrow.TTLSeconds) * time.Second}
	for _, sent := range s.Narrow.Items {
		item := broker.NarrowedItem{Environment: sent.Environment, Target: sent.Target}
		for _, text := range sent.Scopes {
			scope, err := broker.ParseScope(text)
			if err != nil {
				return intent, err
			}
			item.Scopes = append(item.Scopes, scope)
		}
		narrow.Items = append(narrow.Items, item)
	}
	intent.Narrow = narrow
	return intent, nil
}

// prepareSign makes the statement of one act. What could not be shown whole is not signed.
func (p *pages) prepareSign(v *visit) error {
	var sent sentIntent
	if err := v.decode(&sent); err != nil {
		return err
	}
	intent, err := sent.intent()
	if err != nil {
		return err
	}
	passkeys, err := p.usablePasskeys(v)
	if err != nil {
		return err
	}
	if err := p.wasShown(v, intent); err != nil {
		return err
	}
	if sent.Preview {
		return p.preview(v, intent)
	}
	ceremony, err := p.broker.Prepare(v.ctx(), v.human, intent)
	if err != nil {
		return p.orDecided(v, intent.Subject, err)
	}
	return p.answerPrepared(v, ceremony, passkeys)
}

// usablePasskeys lists the passkeys with which this human can sign now. Where there is none, nothing is asked of the
// browser: an empty list would let any passkey of the device answer, and one that is too new would be refused only
// after the touch.
func (p *pages) usablePasskeys(v *visit) ([]broker.Passkey, error) {
	passkeys, err := p.broker.Passkeys(v.ctx(), v.human)
	if err != nil {
		return nil, err
	}
	var usable []broker.Passkey
	var from time.Time // when the first of those that are too new may sign
	for _, k := range passkeys {
		switch {
		case !p.now().Before(k.UsableFrom):
			usable = append(usable, k)
		case from.IsZero() || k.UsableFrom.Before(from):
			from = k.UsableFrom
		}
	}
	switch {
	case len(usable) > 0:
		return usable, nil
	case !from.IsZero():
		return nil, broker.Errorf(broker.CodeForbidden, "%s", ui.TooNew(from)).WithNext("wait until then, or leave it to others")
	}
	return nil, p.noPasskey(v)
}

// noPasskey says how this human comes to have one.
func (p *pages) noPasskey(v *visit) error {
	login, _, err := p.broker.Login(v.ctx(), v.human)
	if err != nil {
		return err
	}
	invite, err := p.waitingInvite(v)
	if err != nil {
		return err
	}
	next := "ask an operator for an invite"
	switch {
	case invite != nil:
		return broker.Errorf(broker.CodeForbidden, "the passkey that you made waits for operators").WithNext("ask them to sign it")
	case len(login.Groups) > 0:
		next = "make one: You, then Make a passkey"
	}
	return broker.Errorf(broker.CodeForbidden, "you have no passkey here").WithNext("%s", next)
}

// preview answers what would be signed, in words alone: nothing of it can be signed.
func (p *pages) preview(v *visit, intent broker.Intent) error {
	statement, items, err := p.broker.Preview(v.ctx(), v.human, intent)
	if err != nil {
		return p.orDecided(v, intent.Subject, err)
	}
	return v.answer(http.StatusOK, map[string]any{"says": ui.Plain(statement.Says), "worst": worstOf(items)})
}

// wasShown refuses to prepare the approval of a request whose page could not show all of it.
func (p *pages) wasShown(v *visit, intent broker.Intent) error {
	if intent.Act != broker.ActApprove {
		return nil
	}
	request, err := p.broker.Request(v.ctx(), v.asHuman(), intent.Subject)
	if err != nil {
		return err
	}
	if why := ui.Unshown(request); why != "" {
		return broker.Errorf(broker.CodeForbidden, "this request cannot be shown whole, and so cannot be approved").WithNext("deny it; the agent can ask for less")
	}
	return nil
}

func (p *pages) answerPrepared(v *visit, ceremony *broker.Ceremony, passkeys []broker.Passkey) error {
	challenge, err := ceremony.Challenge()
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, prepared{
		Nonce: ceremony.Nonce, Says: ui.Plain(ceremony.Statement.Says), Statement: ui.Plain(string(ceremony.Statement.Canonical())),
		Worst: worstOf(ceremony.Items), Options: p.verifier.Request(challenge, passkeys),
	})
}

// worstOf names the actions that a button must.
func worstOf(items []broker.Item) []string {
	var granted broker.Actions
	for _, item := range items {
		granted |= broker.AllActions(item.Description.Means())
	}
	return ui.Worst(granted).Names()
}

// sign hands the assertion to the broker, which holds it against the statement and the present.
func (p *pages) sign(v *visit) error {
	var sent struct {
		Nonce     string        `json:"nonce"`
		Assertion sentAssertion `json:"assertion"`
		Subject   string        `json:"subject"` // for the words of a refusal alone
	}
	if err := v.decode(&sent); err != nil {
		return err
	}
	if err := p.limited(v.call, p.ceremonies, v.session.Hash); err != nil {
		return err
	}
	act, err := p.broker.Sign(v.ctx(), v.human, sent.Nonce, sent.Assertion.assertion())
	if err != nil {
		return p.orDecided(v, sent.Subject, err)
	}
	switch act { //nolint:exhaustive // the others lead to the inbox
	case broker.ActApprove:
		return v.answer(http.StatusOK, goesOn{}) // the request's page shows what became of it
	case broker.ActAddPasskey, broker.ActRemovePasskey:
		return v.answer(http.StatusOK, goesOn{"/me"})
	}
	return v.answer(http.StatusOK, goesOn{"/"})
}
