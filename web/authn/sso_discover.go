package authn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/hourkey/hourkey/broker"
)

const (
	issuerAnswersIn = 10 * time.Second // each call to the token issuer
	maxIssuerAnswer = 1 << 20          // bytes of each of its answers
	discoverEvery   = time.Hour        // what it says of itself is believed so long
	retryAfter      = 5 * time.Second  // after a failure, so that many who wait ask once
	redeemAtOnce    = 8                // codes that are exchanged at once
)

// tokenIssuer is the OpenID Connect party, with the settings under which it is asked.
type tokenIssuer struct {
	id       string // of these settings in this process: a flow says under which it was begun
	settings SignOnSettings
	redirect string
	now      func() time.Time
	http     *http.Client

	redeeming chan struct{} // holds redeemAtOnce: whose code is being exchanged

	looking chan struct{} // holds one: who is asking the token issuer about itself
	mu      sync.Mutex
	known   *discovered
	failed  error
	until   time.Time // known or failed holds so long
}

// discovered is what the token issuer says of itself (OpenID Connect discovery 1.0).
type discovered struct {
	says   metadata
	client oauth2.Config
	keys   *oidc.RemoteKeySet
}

type metadata struct {
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Keys        string   `json:"jwks_uri"`
	Scopes      []string `json:"scopes_supported"`
	ClientAuth  []string `json:"token_endpoint_auth_methods_supported"`
	NamesIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 section 3
}

func (s *SingleSignOn) newTokenIssuer(settings SignOnSettings) (*tokenIssuer, error) {
	if settings.NameClaim == "" {
		settings.NameClaim = claimEmail
	}
	if settings.GroupsClaim == "" {
		settings.GroupsClaim = "groups"
	}
	if settings.ClientID == "" || settings.ClientSecret.Reveal() == "" {
		return nil, broker.Errorf(broker.CodeInvalid, "single sign-on needs client_id and client_secret").WithField("sso")
	}
	if err := checkEndpoint(settings.Issuer, settings.Issuer); err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "sso.issuer: expected https://, or http:// on loopback").WithField("sso.issuer").Because(err)
	}
	return &tokenIssuer{
		id: newToken(), settings: settings, redirect: s.redirect, now: s.now, looking: make(chan struct{}, 1), redeeming: make(chan struct{}, redeemAtOnce),
		http: &http.Client{
			Timeout: issuerAnswersIn, Transport: bounded{s.transport},
			// A redirect would carry the code and our secret to somebody who was not configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// lonelyTransport closes each connection after its call: sign-ons are rare, and nothing is left behind.
func lonelyTransport() http.RoundTripper {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		TLSHandshakeTimeout: issuerAnswersIn, ResponseHeaderTimeout: issuerAnswersIn,
		DialContext: (&net.Dialer{Timeout: issuerAnswersIn}).DialContext,
	}
}

// bounded cuts answers: the OpenID Connect library reads them to their end, wherever that is.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxIssuerAnswer), answer.Body}
	return answer, nil
}

// discover gives what the token issuer says of itself, asking it at most once at a time. It is asked late and
// again, never at the start: a broker must run while single sign-on is down.
func (t *tokenIssuer) discover(ctx context.Context) (*discovered, error) {
	if known, kept, err := t.recall(); kept {
		return known, err
	}
	select {
	case t.looking <- struct{}{}:
		defer func() { <-t.looking }()
	case <-ctx.Done():
		return nil, unreachable("it did not answer in time").Because(ctx.Err())
	}
	if known, kept, err := t.recall(); kept { // whoever was before us has asked
		return known, err
	}
	known, err := t.look(context.WithoutCancel(ctx)) // others wait for this answer too: who asks may hang up
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.failed, t.until = known, err, t.now().Add(discoverEvery)
	if err != nil {
		t.until = t.now().Add(retryAfter)
	}
	return known, err
}

// forget has the token issuer asked once more what it says of itself.
func (t *tokenIssuer) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
}

// recall gives the last answer, or the last failure, while it holds.
func (t *tokenIssuer) recall() (known *discovered, kept bool, failed error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known, t.now().Before(t.until), t.failed
}

// look asks the token issuer. The library holds its name against ours (discovery 1.0, section 4.3).
func (t *tokenIssuer) look(ctx context.Context) (*discovered, error) {
	ctx = oidc.ClientContext(ctx, t.http)
	found, err := oidc.NewProvider(ctx, t.settings.Issuer)
	if err != nil {
		return nil, unreachable("what it says of itself could not be read").Because(t.brief(err))
	}
	known := &discovered{}
	if err := found.Claims(&known.says); err != nil {
		return nil, unreachable("what it says of itself could not be read").Because(t.brief(err))
	}
	for _, endpoint := range []string{known.says.Authorize, known.says.Token, known.says.Keys} {
		if err := checkEndpoint(endpoint, t.settings.Issuer); err != nil {
			return nil, unreachable("it names an address that cannot be used").Because(err)
		}
	}
	known.client = oauth2.Config{
		ClientID: t.settings.ClientID, ClientSecret: t.settings.ClientSecret.Reveal(), RedirectURL: t.redirect,
		Scopes:   t.scopes(known.says.Scopes),
		Endpoint: oauth2.Endpoint{AuthURL: known.says.Authorize, TokenURL: known.says.Token, AuthStyle: known.says.style()},
	}
	known.keys = oidc.NewRemoteKeySet(ctx, known.says.Keys)
	return known, nil
}

// style is how our secret is shown. It is said, not tried out: trying would send the code twice.
func (m metadata) style() oauth2.AuthStyle {
	if len(m.ClientAuth) == 0 || slices.Contains(m.ClientAuth, "client_secret_basic") { // the default: discovery 1.0, section 3
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// scopes asks for no more than is used. "groups" is not of the standard, so it is asked for only where it is
// known; other token issuers add the claim by their own settings.
func (t *tokenIssuer) scopes(offered []string) []string {
	scopes := []string{oidc.ScopeOpenID, oidc.ScopeEmail}
	if t.settings.NameClaim != claimEmail {
		scopes = append(scopes, oidc.ScopeProfile)
	}
	if slices.Contains(offered, "groups") {
		scopes = append(scopes, "groups")
	}
	return scopes
}

var plainHost = regexp.MustCompile(`^(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$`)

// checkEndpoint refuses an address that could be overheard: https, or http from and to loopback.
func checkEndpoint(endpoint, issuer string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.User != nil, u.Fragment != "", !plainHost.MatchString(u.Host):
		return errors.New("it is no plain URL")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u) && issuerOnLoopback(issuer):
		return nil
	}
	return errors.New("it is not https")
}

func issuerOnLoopback(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && u.Scheme == "http" && isLoopback(u)
}

func isLoopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(u.Hostname())
	return err == nil && address.IsLoopback()
}

func unreachable(why string) *broker.Error {
	return broker.Errorf(broker.CodeUnavailable, "single sign-on does not work now: %s", why).
		WithNext("sign in with your passkey, or try again in a moment; if it lasts, ask an operator to look at the broker's log")
}

// brief bounds an error that may repeat a whole answer of the token issuer, and drops what a log should not
// have: the token issuer knows our secret, and may say it.
func (t *tokenIssuer) brief(err error) error {
	const most = 300
	text := make([]rune, 0, most)
	for _, r := range strings.ReplaceAll(err.Error(), t.settings.ClientSecret.Reveal(), "REDACTED") {
		if len(text) == most {
			break
		}
		if r < 0x20 || r > 0x7e {
			r = '?'
		}
		text = append(text, r)
	}
	return errors.New(string(text))
}
