package authn

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/hourkey/hourkey/broker"
)

// PathSignOnCallback is where the token issuer sends the browser back to.
const PathSignOnCallback = "/sign-in/sso/callback"

// SingleSignOn signs humans in by OpenID Connect: authorization code flow with PKCE, state and nonce
// (OpenID Connect core 1.0 section 3.1, RFC 7636, RFC 9700). It finds out who somebody is; what that
// somebody is called here, and may do, the broker says. It is off until Use.
//
// It trusts the configured token issuer to say who somebody is, and nothing that comes by the browser but what it
// sealed itself: only the browser that began a sign-on has its cookie, and only that cookie finishes it, once.
type SingleSignOn struct {
	redirect  string // our callback
	secure    bool
	now       func() time.Time
	transport http.RoundTripper
	flows     *flows
	issuer    atomic.Pointer[tokenIssuer] // nil: off
}

// SingleSignOnConfig is what SingleSignOn depends on. Origin and Now are required.
type SingleSignOnConfig struct {
	Origin    string // ours: scheme://host[:port]
	Now       func() time.Time
	Transport http.RoundTripper // to the token issuer; default: one of its own that keeps no idle connection
}

// SignOnSettings say who is asked, and how what it says is read.
type SignOnSettings struct {
	Issuer       string // the token issuer: https, or http on loopback; compared exactly
	ClientID     string
	ClientSecret broker.Secret
	Domains      []string          // of e-mail addresses that make a name, in lower case
	Groups       map[string]string // the token issuer's group → ours
	NameClaim    string            // default "email"
	GroupsClaim  string            // default "groups"
	NoAuthTime   bool              // the token issuer does not tell auth_time (dex): when this sign-on began counts instead
}

// NewSingleSignOn makes one that is off.
func NewSingleSignOn(config SingleSignOnConfig) (*SingleSignOn, error) {
	origin, err := url.Parse(config.Origin)
	if err != nil || origin.Host == "" || config.Now == nil {
		return nil, broker.Errorf(broker.CodeInvalid, "single sign-on needs our own origin and a clock").WithField("origin")
	}
	s := &SingleSignOn{
		redirect: config.Origin + PathSignOnCallback, secure: origin.Scheme == "https", now: config.Now, transport: config.Transport,
	}
	if s.flows, err = newFlows(config.Now); err != nil {
		return nil, err
	}
	if s.transport == nil {
		s.transport = lonelyTransport()
	}
	return s, nil
}

// Use puts settings in force; nil turns single sign-on off. It calls nobody: the token issuer is asked when
// the first human signs on, and after that asked anew what it says of itself. What was begun under other settings cannot
// be finished.
func (s *SingleSignOn) Use(settings *SignOnSettings) error {
	if settings == nil {
		s.issuer.Store(nil)
		return nil
	}
	issuer, err := s.newTokenIssuer(*settings)
	if err != nil {
		return err
	}
	if was := s.issuer.Load(); was != nil && reflect.DeepEqual(was.settings, issuer.settings) {
		was.forget()
		return nil
	}
	s.issuer.Store(issuer)
	return nil
}

// IsOn tells whether humans can sign on.
func (s *SingleSignOn) IsOn() bool { return s.current() != nil }

func (s *SingleSignOn) current() *tokenIssuer {
	if s == nil {
		return nil
	}
	return s.issuer.Load()
}

// SignOn is what somebody who begins to sign on wants. It comes back from Finish, sealed meanwhile: the token issuer
// hears nothing of it, and the browser can neither read nor change it.
type SignOn struct {
	Next   string  // the path of ours to go on to
	Fresh  bool    // the human must prove anew who it is, whatever session the token issuer knows
	Former Session // that this browser has when it begins; on the way back it cannot show it (SameSite=Strict). Its Hash alone comes back
}

// Begin makes what the browser needs to go to the token issuer: a URL, and a cookie that is the sign-on under way.
// Nothing is kept for it here. CodeUnavailable: the token issuer cannot be
// reached, which concerns nobody who signs in with a passkey.
func (s *SingleSignOn) Begin(ctx context.Context, wish SignOn) (to string, cookie *http.Cookie, err error) {
	issuer := s.current()
	if issuer == nil {
		return "", nil, noSingleSignOn()
	}
	known, err := issuer.discover(ctx)
	if err != nil {
		return "", nil, err
	}
	f, sealed, err := s.flows.begin(issuer, wish)
	if err != nil {
		return "", nil, err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), oauth2.SetAuthURLParam("nonce", f.Nonce)}
	if f.Fresh {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return known.client.AuthCodeURL(f.State, options...), s.bake(sealed, int(flowFor/time.Second)), nil
}

// SignedOn is what a single sign-on found out, verified.
type SignedOn struct {
	SignOn
	Account broker.Account
	Proved  time.Time // when the human proved who it is; zero unless SignOn.Fresh
}

// Finish takes the browser's way back. Each flow is finished once, right or wrong, by the browser that
// began it; one that another browser brings stays as it is. An account without any group of ours is no error here: the broker takes away what it had.
func (s *SingleSignOn) Finish(r *http.Request) (SignedOn, error) {
	if s == nil {
		return SignedOn{}, noSingleSignOn()
	}
	answer, err := answerOf(r.URL.RawQuery)
	if err != nil {
		return SignedOn{}, err
	}
	cookie, err := r.Cookie(s.cookie())
	if err != nil {
		cookie = &http.Cookie{}
	}
	f, err := s.flows.take(answer.state, cookie.Value)
	if err != nil {
		return SignedOn{}, err
	}
	return s.finish(r.Context(), f, answer)
}

// finish asks the token issuer whose code an answer to the flow has.
func (s *SingleSignOn) finish(ctx context.Context, f flow, answer signOnAnswer) (SignedOn, error) {
	issuer := s.current()
	if issuer == nil || issuer.id != f.Issuer {
		return SignedOn{}, staleFlow("the configuration of single sign-on changed meanwhile")
	}
	known, err := issuer.discover(ctx)
	if err != nil {
		return SignedOn{}, err
	}
	if err := answer.check(issuer, known); err != nil {
		return SignedOn{}, err
	}
	claims, err := issuer.inTurn(ctx, known, f, answer.code)
	if err != nil {
		return SignedOn{}, err
	}
	signed := SignedOn{SignOn: SignOn{Next: f.Next, Fresh: f.Fresh, Former: Session{Hash: f.Former}}}
	if f.Fresh {
		if signed.Proved, err = issuer.provedAt(claims, f.Began); err != nil {
			return SignedOn{}, err
		}
	}
	signed.Account, err = issuer.settings.account(claims)
	return signed, err
}

// Forget is the cookie that makes the browser forget what it began.
func (s *SingleSignOn) Forget() *http.Cookie { return s.bake("", -1) }

func (s *SingleSignOn) cookie() string { return cookieName("hourkey-sign-on", s.secure) }

// bake makes the cookie of a flow. It is SameSite=Lax, because the browser must send it when the token
// issuer's page sends it back; it opens nothing by itself.
func (s *SingleSignOn) bake(value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure but on http://localhost, where browsers would drop it
		Name: s.cookie(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func noSingleSignOn() *broker.Error {
	return broker.Errorf(broker.CodeNotFound, "there is no single sign-on here").WithNext("sign in with your passkey")
}
