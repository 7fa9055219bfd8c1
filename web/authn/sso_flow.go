package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/hourkey/hourkey/broker"
)

const (
	flowFor         = 10 * time.Minute // from Begin to Finish: time to type a password and find a phone
	flowsMax        = 4096             // under way at once; the oldest gives way
	flowsPerAddress = 256              // under way from one address; the oldest of that address gives way
	maxAuthCode     = 4096             // bytes
)

// flow is one sign-on under way.
type flow struct {
	issuer   *tokenIssuer // under which it was begun: another's answer is none (RFC 9700, section 4.4)
	known    *discovered
	state    string
	nonce    string
	verifier string            // of PKCE
	browser  [sha256.Size]byte // of the cookie's value
	address  string
	wish     SignOn
	began    time.Time
}

// newFlow makes a flow and the value of the cookie of its browser. All is new each time: whatever cookie the
// browser had may have been planted.
func newFlow(issuer *tokenIssuer, known *discovered, address string, wish SignOn, now time.Time) (*flow, string) {
	browser := newToken()
	return &flow{
		issuer: issuer, known: known, state: newToken(), nonce: newToken(), verifier: oauth2.GenerateVerifier(),
		browser: sha256.Sum256([]byte(browser)), address: address, wish: wish, began: now,
	}, browser
}

// flows are those under way, oldest first. They live in memory: a restart only means to begin again.
type flows struct {
	now func() time.Time

	mu   sync.Mutex
	held []*flow
}

// add keeps a flow. The attack is a flood of strangers who begin: it is bounded, and one address cannot push
// out what others began.
func (f *flows) add(begun *flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, same := f.now(), 0
	f.held = slices.DeleteFunc(f.held, func(old *flow) bool { return old.isOver(now) })
	for _, old := range f.held {
		if old.address == begun.address {
			same++
		}
	}
	switch {
	case same >= flowsPerAddress:
		oldest := slices.IndexFunc(f.held, func(old *flow) bool { return old.address == begun.address })
		f.held = slices.Delete(f.held, oldest, oldest+1)
	case len(f.held) >= flowsMax:
		f.held = slices.Delete(f.held, 0, 1)
	}
	f.held = append(f.held, begun)
}

// take gives the flow of that state, once. The attack on the cookie is another's answer: who began a
// sign-on sends the link that would finish it to somebody else, who then works as the attacker, or binds the
// attacker's account (RFC 6749, section 10.12).
func (f *flows) take(state, cookie string) (*flow, error) {
	f.mu.Lock()
	at := slices.IndexFunc(f.held, func(held *flow) bool { return sameText(held.state, state) })
	if at < 0 {
		f.mu.Unlock()
		return nil, staleFlow("this sign-on is not known here: it is finished, or was never begun")
	}
	taken := f.held[at]
	f.held = slices.Delete(f.held, at, at+1)
	f.mu.Unlock()

	browser := sha256.Sum256([]byte(cookie))
	switch {
	case subtle.ConstantTimeCompare(browser[:], taken.browser[:]) != 1:
		return nil, broker.Errorf(broker.CodeForbidden, "this sign-on was begun in another browser, or another one was begun here since").
			WithNext("sign in again, in one tab")
	case taken.isOver(f.now()):
		return nil, staleFlow("this sign-on took too long")
	}
	return taken, nil
}

func (f *flow) isOver(now time.Time) bool { return !now.Before(f.began.Add(flowFor)) }

func staleFlow(why string) *broker.Error {
	return broker.Errorf(broker.CodeExpired, "%s", why).WithNext("sign in again")
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// signOnAnswer is what the browser brings back: RFC 6749 section 4.1.2, RFC 9207.
type signOnAnswer struct {
	state, code, iss, failure string
}

// answerOf reads the query. Token issuers add parameters of their own; those that count may be there once.
func answerOf(query string) (signOnAnswer, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return signOnAnswer{}, broker.Errorf(broker.CodeInvalid, "the answer of the single sign-on cannot be read").WithNext("sign in again")
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(values[name]) > 1 {
			return signOnAnswer{}, broker.Errorf(broker.CodeInvalid, "the answer of the single sign-on has %s twice", name).WithField(name).WithNext("sign in again")
		}
	}
	return signOnAnswer{state: values.Get("state"), code: values.Get("code"), iss: values.Get("iss"), failure: values.Get("error")}, nil
}

// check refuses what is no code of the flow's own token issuer.
func (a signOnAnswer) check(f *flow) error {
	switch {
	case a.iss != "" && a.iss != f.issuer.settings.Issuer, a.iss == "" && f.known.says.NamesIssuer:
		return broker.Errorf(broker.CodeForbidden, "this answer is not from the token issuer that was asked").WithField("iss").WithNext("sign in again")
	case a.failure != "":
		return refusedThere(a.failure)
	case a.code == "" || len(a.code) > maxAuthCode:
		return broker.Errorf(broker.CodeInvalid, "the answer of the single sign-on has no code").WithField("code").WithNext("sign in again")
	}
	return nil
}

// refusedThere says why the token issuer gave no code (RFC 6749 section 4.1.2.1, OpenID Connect core section
// 3.1.2.6). Words in the URL are not repeated: anybody can write them.
func refusedThere(failure string) error {
	switch failure {
	case "access_denied":
		return broker.Errorf(broker.CodeForbidden, "the single sign-on did not let you in, or you cancelled").WithNext("sign in again, or with your passkey")
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return broker.Errorf(broker.CodeForbidden, "the single sign-on wants something of you first").WithNext("sign in there, then here again")
	case "temporarily_unavailable", "server_error":
		return unreachable("it says that it cannot answer now")
	}
	return broker.Errorf(broker.CodeForbidden, "the single sign-on refused what was asked of it").
		WithNext("ask an operator to compare sso in hourkey.yaml with the client at the token issuer")
}
