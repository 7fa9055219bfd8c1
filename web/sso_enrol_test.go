package web

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// creationOptions is what a browser reads of them.
type creationOptions struct {
	Challenge string `json:"challenge"`
	User      struct {
		ID string `json:"id"`
	} `json:"user"`
}

// prepareMaking asks for the options, as a page does that was open for long.
func (w *signOnTeam) prepareMaking(p *softkey.Person) (options creationOptions, err error) {
	w.Helper()
	var answer struct {
		Options creationOptions `json:"options"`
	}
	err = p.Post(w.Context(), "/me/passkeys/prepare", struct{}{}, &answer)
	return answer.Options, err
}

// attest answers the options with the person's key.
func (w *signOnTeam) attest(p *softkey.Person, options creationOptions, name string) map[string]any {
	w.Helper()
	raw := base64.RawURLEncoding
	handle, err := raw.DecodeString(options.User.ID)
	w.must(err)
	challenge, err := raw.DecodeString(options.Challenge)
	w.must(err)
	made, err := p.Key.Register(handle, softkey.Ceremony{Origin: w.origin, Challenge: challenge})
	w.must(err)
	return map[string]any{
		"credential_id": made.CredentialID, "client_data_json": raw.EncodeToString(made.ClientDataJSON),
		"attestation_object": raw.EncodeToString(made.AttestationObject), "transports": made.Transports, "name": name,
	}
}

// make makes a passkey by the person's key.
func (w *signOnTeam) make(p *softkey.Person, name string) (answer offered, err error) {
	w.Helper()
	options, err := w.prepareMaking(p)
	if err != nil {
		return offered{}, err
	}
	err = p.Post(w.Context(), "/me/passkeys", w.attest(p, options, name), &answer)
	return answer, err
}

// Twenty people do not need twenty shells: a group that is let in, a sign-on of this moment, and an operator.
func TestFromSingleSignOnToAFirstApproval(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	page, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	page, _, err = dora.Read(t.Context(), w.leadsTo(page))
	w.must(err)
	if !strings.Contains(page, "data-options=") {
		t.Fatalf("the page offers no passkey:\n%s", page)
	}
	answer, err := w.make(dora, "phone")
	w.must(err)
	if answer.Waits != "operators" || answer.Act != broker.ActAdmitHuman || answer.Subject != "dora" || answer.Next != pathNewPasskey {
		t.Fatalf("%+v", answer)
	}
	inert := w.browser()
	inert.Key = dora.Key
	w.refusedWith(http.StatusForbidden, inert.SignIn(t.Context()))

	page, _, err = dora.Read(t.Context(), answer.Next)
	w.must(err)
	if strings.Contains(page, "data-options=") {
		t.Errorf("another one is offered while the first waits:\n%s", page)
	}
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	w.must(inert.SignIn(t.Context()))
	request := w.ask("")
	w.sign(inert, broker.ActApprove, "/requests/"+request.ID, request.ID)
	if got := w.state(request.ID); got != broker.RequestApproved {
		t.Fatalf("the request is %s", got)
	}
}

// The page itself carries the options, so that one tap is enough.
func TestThePageMakesAPasskeyByItself(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	page, _, err := dora.Read(t.Context(), pathNewPasskey)
	w.must(err)
	_, rest, _ := strings.Cut(page, `data-options="`)
	text, _, _ := strings.Cut(rest, `"`)
	var options creationOptions
	w.must(json.Unmarshal([]byte(html.UnescapeString(text)), &options))
	sent := w.attest(dora, options, "")
	delete(sent, "name")
	w.must(dora.Post(t.Context(), "/me/passkeys", sent, nil))
}

// A stolen session enrols nothing: it has no proof of this moment, and cannot make one.
func TestEnrolmentWithAStolenSessionFails(t *testing.T) {
	w := newSignOnTeam(t)
	for name, steal := range map[string]func() *softkey.Person{
		"a session that was not begun by a fresh sign-on": func() *softkey.Person {
			p := w.browser()
			_, err := w.arrive(p, nil, w.dora())
			w.must(err)
			return p
		},
		"a fresh one, ten minutes later": func() *softkey.Person {
			p := w.browser()
			_, err := w.arrive(p, fresh, w.dora())
			w.must(err)
			w.clock.Advance(authn.FreshFor)
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			thief := steal()
			_, err := w.prepareMaking(thief)
			w.refusedWith(http.StatusForbidden, err)
			page, _, err := thief.Read(t.Context(), pathNewPasskey)
			w.must(err)
			if strings.Contains(page, "data-options=") || !strings.Contains(page, `action="/sign-in/sso"`) {
				t.Errorf("the page is:\n%s", page)
			}
		})
	}
	p := w.browser() // a fresh one, under a clock that was set back: its session is none
	_, err := w.arrive(p, fresh, w.dora())
	w.must(err)
	w.clock.Advance(-authn.FreshFor)
	_, err = w.prepareMaking(p)
	w.refusedWith(http.StatusUnauthorized, err)
	if w.events(broker.EventPasskeyOffered) != 0 {
		t.Error("a passkey was offered")
	}
}

// The token issuer knows the browser, and lets it through without asking its human anything.
func TestASilentSignOnIsNoFreshOne(t *testing.T) {
	w := newSignOnTeam(t)
	thief := w.browser()
	_, err := w.arrive(thief, fresh, w.dora("auth_time", w.clock.Now().Add(-time.Hour).Unix()))
	w.refusedWith(http.StatusForbidden, err)
	_, err = w.arrive(thief, fresh, w.dora("auth_time", nil))
	w.refusedWith(http.StatusForbidden, err)
	if got := w.isSignedIn(thief); got != "" {
		t.Fatalf("%q is signed in", got)
	}
}

func TestAPasskeyThatWasBegunWhileTheProofHeldIsTooLateAfterIt(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	w.clock.Advance(authn.FreshFor - time.Second)
	options, err := w.prepareMaking(dora)
	w.must(err)
	w.clock.Advance(time.Second)
	w.refusedWith(http.StatusForbidden, dora.Post(t.Context(), "/me/passkeys", w.attest(dora, options, ""), nil))
}

// A challenge of the attacker's session is answered in the victim's, whose passkey it would be.
func TestAPasskeyIsMadeInTheSessionThatAskedForIt(t *testing.T) {
	w := newSignOnTeam(t)
	dora, mallory := w.browser(), w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	_, err = w.arrive(mallory, fresh, w.dora("sub", "m4llory", "email", "mallory@example.com"))
	w.must(err)
	options, err := w.prepareMaking(dora)
	w.must(err)
	sent := w.attest(mallory, options, "")
	w.refusedWith(http.StatusForbidden, mallory.Post(t.Context(), "/me/passkeys", sent, nil))
	w.refusedWith(http.StatusGone, dora.Post(t.Context(), "/me/passkeys", sent, nil)) // and it is used up

	second := w.browser() // nor in another session of the same human
	_, err = w.arrive(second, fresh, w.dora())
	w.must(err)
	options, err = w.prepareMaking(dora)
	w.must(err)
	w.refusedWith(http.StatusForbidden, second.Post(t.Context(), "/me/passkeys", w.attest(second, options, ""), nil))
}

// A code's way in and this one are two: an answer of one is none of the other.
func TestAnAnswerOfOneWayToEnrolIsNoneOfTheOther(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	options, err := w.prepareMaking(dora)
	w.must(err)
	sent := w.attest(dora, options, "")
	delete(sent, "name")
	w.refusedWith(http.StatusGone, dora.Post(t.Context(), "/invite/passkey", sent, nil))
}

// The operator signs over exactly one key: another that is made meanwhile makes the page old.
func TestAnotherKeyThanTheOperatorSawIsNotAdmitted(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	_, err = w.make(dora, "phone")
	w.must(err)
	_, digest, err := w.alice.Read(t.Context(), "/humans/dora")
	w.must(err)
	prepared, err := w.alice.Prepare(t.Context(), broker.ActAdmitHuman, "dora", digest)
	w.must(err)
	w.clock.Advance(time.Minute) // so often may operators be asked
	thief := w.browser()
	_, err = w.arrive(thief, fresh, w.dora())
	w.must(err)
	_, err = w.make(thief, "phone")
	w.must(err)
	w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared))
	for _, p := range []*softkey.Person{dora, thief} {
		w.refusedWith(http.StatusForbidden, p.SignIn(t.Context()))
	}
}

// A further passkey is inert until an earlier one signs it, whichever session made it.
func TestAFurtherPasskeyWaitsForAnEarlierOne(t *testing.T) {
	w := newSignOnTeam(t)
	thief := w.browser()
	thief.Key = w.alice.Key
	w.must(thief.SignIn(t.Context())) // a session of alice, in other hands
	thief.Key = w.person().Key
	answer, err := w.make(thief, "laptop")
	w.must(err)
	if answer.Waits != "passkey" || answer.Act != broker.ActAddPasskey || answer.Subject != answer.Passkey || answer.Next != "/me" {
		t.Fatalf("%+v", answer)
	}
	w.refusedWith(http.StatusForbidden, thief.SignIn(t.Context()))
	waiting, err := w.broker.WaitingPasskeys(t.Context(), "alice")
	if err != nil || len(waiting) != 1 || waiting[0].Passkey.Name != "laptop" {
		t.Fatalf("%+v, %v", waiting, err)
	}
	prepared, err := w.alice.Prepare(t.Context(), answer.Act, answer.Subject, waiting[0].Passkey.Digest())
	w.must(err)
	w.must(w.alice.Sign(t.Context(), prepared))
	w.must(thief.SignIn(t.Context()))
	request := w.ask("")
	_, err = thief.Approve(t.Context(), broker.ActApprove, "/requests/"+request.ID, request.ID)
	w.refusedWith(http.StatusForbidden, err) // not before the waiting time
}

func TestANameThatHidesSomethingIsNoneOfAPasskey(t *testing.T) {
	w := newSignOnTeam(t)
	for _, name := range []string{"pho\u202ene", "pho\u200bne", "pho\nne", strings.Repeat("p", 65)} {
		p := w.person()
		p.Key = w.alice.Key
		w.must(p.SignIn(t.Context()))
		p.Key = w.person().Key
		_, err := w.make(p, name)
		w.refusedWith(http.StatusBadRequest, err)
	}
}
