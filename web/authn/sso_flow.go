package authn

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/oauth2"

	"github.com/hourkey/hourkey/broker"
)

const (
	flowFor     = 10 * time.Minute // from Begin to Finish: time to type a password and find a phone
	flowDomain  = "hourkey/sign-on/1"
	maxFlow     = 3072 // bytes of a sealed one: browsers keep cookies of 4096 with their names and attributes
	maxAuthCode = 4096 // bytes
)

// flow is one sign-on under way.
type flow struct {
	Issuer   string        `json:"issuer"` // id of the settings under which it was begun: another's answer is none (RFC 9700, section 4.4)
	State    string        `json:"state"`
	Nonce    string        `json:"nonce"`
	Verifier string        `json:"verifier"` // of PKCE
	Next     string        `json:"next"`
	Fresh    bool          `json:"fresh"`
	Former   string        `json:"former"` // hash of the session that the browser had
	Began    time.Time     `json:"began"`
	Made     time.Duration `json:"made"` // its age, as flows.spent counts
}

// flows seals those under way into the cookie of the browser that began them: authenticated and encrypted
// (XChaCha20-Poly1305) under a key that lives as long as the process, so that nothing of a flow can be read, made up or
// changed there. Nothing is kept for one that merely waits: the attack is strangers who begin until there is no room
// for what others began. What was finished is remembered until its time is over.
type flows struct {
	now   func() time.Time
	aead  cipher.AEAD
	spent *spent // of states
}

func newFlows(now func() time.Time) (*flows, error) {
	key := make([]byte, chacha20poly1305.KeySize)
	_, _ = rand.Read(key) // never fails: it stops the program instead (crypto/rand)
	aead, err := chacha20poly1305.NewX(key)
	return &flows{now: now, aead: aead, spent: newSpent(flowFor, now())}, err
}

// begin makes a flow and the value of its browser's cookie. All is new each time: whatever cookie the browser had may
// have been planted.
func (f *flows) begin(issuer *tokenIssuer, wish SignOn) (begun flow, cookie string, err error) {
	now := f.now()
	begun = flow{
		Issuer: issuer.id, State: newToken(), Nonce: newToken(), Verifier: oauth2.GenerateVerifier(),
		Next: wish.Next, Fresh: wish.Fresh, Former: wish.Former.Hash, Began: now.UTC(), Made: f.spent.age(now),
	}
	raw, err := json.Marshal(begun)
	if err != nil {
		return flow{}, "", err
	}
	nonce := make([]byte, f.aead.NonceSize(), f.aead.NonceSize()+len(raw)+f.aead.Overhead())
	_, _ = rand.Read(nonce)
	cookie = base64.RawURLEncoding.EncodeToString(f.aead.Seal(nonce, nonce, raw, []byte(flowDomain)))
	if len(cookie) > maxFlow {
		return flow{}, "", broker.Errorf(broker.CodeInvalid, "the place to go on to is too long").WithField("next")
	}
	return begun, cookie, nil
}

// open reads a cookie that begin made.
func (f *flows) open(cookie string) (begun flow, ok bool) {
	if len(cookie) > maxFlow {
		return flow{}, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(sealed) < f.aead.NonceSize() {
		return flow{}, false
	}
	raw, err := f.aead.Open(nil, sealed[:f.aead.NonceSize()], sealed[f.aead.NonceSize():], []byte(flowDomain))
	if err != nil {
		return flow{}, false
	}
	return begun, json.Unmarshal(raw, &begun) == nil
}

// take gives the flow that this browser began under that state, once. The attack on the cookie is another's answer:
// who began a sign-on sends the link that would finish it to somebody else, who then works as the attacker, or binds
// the attacker's account (RFC 6749, section 10.12).
func (f *flows) take(state, cookie string) (flow, error) {
	begun, ok := f.open(cookie)
	id, now := stateID(state), f.now()
	switch {
	case state == "", f.spent.wasUsed(id): // a cookie that is gone because its sign-on is finished is no other browser's
		return flow{}, unknownFlow()
	case !ok || !sameText(begun.State, state):
		return flow{}, broker.Errorf(broker.CodeForbidden, "this sign-on was begun in another browser, or too long ago, or another one was begun here since").
			WithNext("sign in again, in one tab")
	case f.spent.isOver(begun.Made, now):
		return flow{}, staleFlow("this sign-on took too long")
	case !f.spent.use(id, begun.Made, now):
		return flow{}, unknownFlow()
	}
	return begun, nil
}

// stateID is what is remembered of a state.
func stateID(state string) spentID {
	sum := sha256.Sum256([]byte(state))
	return spentID(sum[:len(spentID{})])
}

func unknownFlow() *broker.Error {
	return staleFlow("this sign-on is not known here: it is finished, or was never begun")
}

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

// check refuses what is no code of the token issuer that was asked.
func (a signOnAnswer) check(t *tokenIssuer, known *discovered) error {
	switch {
	case a.iss != "" && a.iss != t.settings.Issuer, a.iss == "" && known.says.NamesIssuer:
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
