package web

import (
	"net/http"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// prepared is what a human sees, and the passkey is asked to sign.
type prepared struct {
	Nonce     string               `json:"nonce"`
	Says      string               `json:"says"`      // the statement's sentence, hidden characters made visible
	Statement string               `json:"statement"` // its canonical JSON, likewise
	Options   authn.RequestOptions `json:"options"`
}

// prepareSign makes the statement of one act. Digest is of the subject as the page showed it: 409 when
// that changed since.
func (p *pages) prepareSign(v *visit) error {
	var sent struct {
		Act     broker.Act `json:"act"`
		Subject string     `json:"subject"`
		Digest  string     `json:"digest"`
	}
	if err := v.decode(&sent); err != nil {
		return err
	}
	passkeys, err := p.broker.Passkeys(v.ctx(), v.human)
	if err != nil {
		return err
	}
	if len(passkeys) == 0 { // an empty list would let any passkey of the device answer
		return broker.Errorf(broker.CodeForbidden, "you have no passkey here").WithNext("ask an operator for an invite")
	}
	ceremony, err := p.broker.Prepare(v.ctx(), v.human, broker.Intent{Act: sent.Act, Subject: sent.Subject, Digest: sent.Digest})
	if err != nil {
		return err
	}
	challenge, err := ceremony.Challenge()
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, prepared{
		Nonce: ceremony.Nonce, Says: ui.Plain(ceremony.Statement.Says), Statement: ui.Plain(string(ceremony.Statement.Canonical())),
		Options: p.verifier.Request(challenge, passkeys),
	})
}

// sign hands the assertion to the broker, which holds it against the statement and the present.
func (p *pages) sign(v *visit) error {
	var sent struct {
		Nonce     string        `json:"nonce"`
		Assertion sentAssertion `json:"assertion"`
	}
	if err := v.decode(&sent); err != nil {
		return err
	}
	act, err := p.broker.Sign(v.ctx(), v.human, sent.Nonce, sent.Assertion.assertion())
	if err != nil {
		return err
	}
	if act == broker.ActApprove {
		return v.answer(http.StatusOK, goesOn{}) // the request's page shows what became of it
	}
	return v.answer(http.StatusOK, goesOn{"/"})
}
