package web

import (
	"crypto/ed25519"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/dextest"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

const signOnSecret = "secret-of-the-client"

// signOnTeam is a settled team where people can also sign on: theirs "platform" is our "team", theirs
// "eng-oncall" our "oncall", whose members review.
type signOnTeam struct {
	*team
	signOn   *authn.SingleSignOn
	settings authn.SignOnSettings
	liar     *dextest.Liar // nil where a dex is asked
}

// newSignOnTeam makes one that asks a Liar.
func newSignOnTeam(t testing.TB) *signOnTeam {
	t.Helper()
	w := bareSignOnTeam(t, time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC))
	w.liar = dextest.NewLiar(t, w.client(), w.clock.Now)
	w.use(w.liar.Issuer, false)
	w.settle()
	return w
}

func (w *signOnTeam) client() dextest.Client {
	return dextest.Client{ID: "hourkey", Secret: signOnSecret, Redirect: w.origin + authn.PathSignOnCallback}
}

func (w *signOnTeam) use(issuer string, noAuthTime bool) {
	w.Helper()
	w.settings = authn.SignOnSettings{
		Issuer: issuer, ClientID: "hourkey", ClientSecret: broker.NewSecret(signOnSecret), Domains: []string{"example.com"},
		Groups: map[string]string{"platform": "team", "eng-oncall": "oncall"}, NoAuthTime: noAuthTime,
	}
	w.must(w.signOn.Use(&w.settings))
	next := *w.config
	next.SignOn = &broker.SignOn{Issuer: issuer, Groups: []string{"team", "oncall"}}
	w.must(w.broker.Reload(w.Context(), broker.Caller{Kind: broker.CallerSocket}, &next, nil))
}

// bareSignOnTeam is newTeam, at a time and with single sign-on that is off.
func bareSignOnTeam(t testing.TB, now time.Time) *signOnTeam {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	w := &signOnTeam{team: &team{TB: t, store: &brokertest.Store{}, clock: &brokertest.Clock{}, origin: "http://localhost:" + port}}
	for w.clock.Now().Before(now) {
		w.clock.Advance(now.Sub(w.clock.Now())) // a duration holds 292 years
	}
	w.issuer = &brokertest.Issuer{ID: "postgres:7441/orders", Can: broker.Capabilities{Kind: "memory"}, Tables: []string{"public.orders"}}
	w.config = w.configuration()
	w.config.Groups["oncall"] = nil
	w.config.Roles[broker.RoleReviewer] = []string{"team", "oncall"}
	w.config.Limits.PasskeyWait = time.Hour
	verifier, err := authn.NewVerifier("localhost", []string{w.origin})
	w.must(err)
	w.broker, err = broker.New(t.Context(), broker.Config{
		Store: w.store, Sealer: brokertest.Sealer{}, Verifier: verifier, Configuration: w.config, Origin: w.origin, Now: w.clock.Now,
	})
	w.must(err)
	w.signOn, err = authn.NewSingleSignOn(authn.SingleSignOnConfig{Origin: w.origin, Now: w.clock.Now})
	w.must(err)
	_, key, err := ed25519.GenerateKey(nil)
	w.must(err)
	server, err := New(Config{Broker: w.broker, Store: w.store, Origin: w.origin, AccessKey: key, Verifier: verifier, Now: w.clock.Now, SingleSignOn: w.signOn})
	w.must(err)
	site := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}}
	site.Start()
	t.Cleanup(func() {
		server.endWaits() // as Serve does: a page that is open follows its changes
		site.Close()
	})
	return w
}

// settle does what settled does, for alice alone, who operates.
func (w *signOnTeam) settle() {
	w.Helper()
	w.alice = w.person()
	w.must(w.alice.Enrol(w.Context(), "alice", w.invite("alice")))
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/staging/db", "staging/db")
	w.active("claude", "carol")
}

// browser is a person whose browser withholds the session's cookie on the way back from another site, as
// SameSite=Strict makes it. (Go's cookie jar knows no SameSite.)
func (w *signOnTeam) browser() *softkey.Person {
	w.Helper()
	p, err := softkey.NewPerson(w.origin, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == authn.PathSignOnCallback {
			var kept []string
			for _, cookie := range r.Cookies() {
				if cookie.Name != "hourkey-session" {
					kept = append(kept, cookie.Name+"="+cookie.Value)
				}
			}
			r.Header.Set("Cookie", strings.Join(kept, "; "))
		}
		return http.DefaultTransport.RoundTrip(r)
	}))
	w.must(err)
	return p
}

var onward = regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)

// leadsTo is where a page goes on to by itself.
func (w *signOnTeam) leadsTo(page string) string {
	w.Helper()
	found := onward.FindStringSubmatch(page)
	if found == nil {
		w.Fatalf("this page does not go on:\n%s", page)
	}
	return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#39;", "'").Replace(found[1])
}

// depart begins a sign-on and gives the link to the token issuer.
func (w *signOnTeam) depart(p *softkey.Person, form url.Values) string {
	w.Helper()
	page, err := p.Submit(w.Context(), "/sign-in/sso", form)
	w.must(err)
	return w.leadsTo(page)
}

// back opens the callback in the browser of p.
func (w *signOnTeam) back(p *softkey.Person, callback string) (page string, err error) {
	w.Helper()
	page, _, err = p.Read(w.Context(), strings.TrimPrefix(callback, w.origin))
	return page, err
}

// arrive goes all the way, past the Liar.
func (w *signOnTeam) arrive(p *softkey.Person, form url.Values, claims map[string]any) (page string, err error) {
	w.Helper()
	return w.back(p, w.liar.Allow(w.depart(p, form), claims))
}

// dora is what an honest token issuer says of her.
func (w *signOnTeam) dora(change ...any) map[string]any {
	claims := map[string]any{
		"sub": "d0ra", "email": "dora@example.com", "email_verified": true, "groups": []string{"eng-oncall"}, "auth_time": w.clock.Now().Unix(),
	}
	for i := 0; i < len(change); i += 2 {
		claims[change[i].(string)] = change[i+1]
	}
	return claims
}

// isSignedIn tells whose session a browser has, by the page's own words.
func (w *signOnTeam) isSignedIn(p *softkey.Person) string {
	w.Helper()
	page, _, err := p.Read(w.Context(), "/")
	if refusal, ok := errors.AsType[*softkey.Refusal](err); ok && refusal.Status == http.StatusUnauthorized {
		return ""
	}
	w.must(err)
	_, rest, _ := strings.Cut(page, `<span class="who">`)
	name, _, _ := strings.Cut(rest, "<")
	return name
}

var fresh = url.Values{"fresh": {"true"}, "next": {pathNewPasskey}}
