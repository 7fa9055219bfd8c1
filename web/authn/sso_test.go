package authn

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/dextest"
)

const (
	signOnOrigin = "https://hourkey.test"
	clientSecret = "secret-of-the-client"
)

// signOnBed is a SingleSignOn that asks a Liar.
type signOnBed struct {
	testing.TB
	now      time.Time
	liar     *dextest.Liar
	sso      *SingleSignOn
	settings SignOnSettings
}

func newSignOnBed(t testing.TB, change ...func(*SignOnSettings)) *signOnBed {
	t.Helper()
	b := &signOnBed{TB: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return b.now }
	b.liar = dextest.NewLiar(t, dextest.Client{ID: "hourkey", Secret: clientSecret, Redirect: signOnOrigin + PathSignOnCallback}, clock)
	b.settings = SignOnSettings{
		Issuer: b.liar.Issuer, ClientID: "hourkey", ClientSecret: broker.NewSecret(clientSecret),
		Domains: []string{"example.com"}, Groups: map[string]string{"eng-oncall": "oncall", "platform": "operators", "platform-2": "operators"},
	}
	for _, c := range change {
		c(&b.settings)
	}
	var err error
	if b.sso, err = NewSingleSignOn(SingleSignOnConfig{Origin: signOnOrigin, Now: clock}); err != nil {
		t.Fatal(err)
	}
	if err := b.sso.Use(&b.settings); err != nil {
		t.Fatal(err)
	}
	return b
}

// alice is what an honest token issuer says of her.
func alice(change ...any) map[string]any {
	claims := map[string]any{"sub": "0001", "email": "alice@example.com", "email_verified": true, "groups": []string{"platform", "eng-oncall", "cooks"}}
	for i := 0; i < len(change); i += 2 {
		claims[change[i].(string)] = change[i+1]
	}
	return claims
}

func (b *signOnBed) begin(wish SignOn) (link string, cookie *http.Cookie) {
	b.Helper()
	link, cookie, err := b.sso.Begin(b.Context(), wish)
	if err != nil {
		b.Fatal(err)
	}
	return link, cookie
}

func (b *signOnBed) finish(callback string, cookie *http.Cookie) (SignedOn, error) {
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, callback, nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	return b.sso.Finish(r)
}

// signOn goes all the way.
func (b *signOnBed) signOn(wish SignOn, claims map[string]any) (SignedOn, error) {
	b.Helper()
	link, cookie := b.begin(wish)
	return b.finish(b.liar.Allow(link, claims), cookie)
}

func (b *signOnBed) refused(err error, code broker.Code, words string) {
	b.Helper()
	if broker.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		b.Fatalf("got %v (%s), want %s with %q", err, broker.CodeOf(err), code, words)
	}
	if strings.Contains(err.Error(), clientSecret) {
		b.Fatalf("the client's secret is in the error: %v", err)
	}
}

func TestASignOnFindsOutWhoSomebodyIs(t *testing.T) {
	b := newSignOnBed(t)
	wish := SignOn{Next: "/requests/x", Former: Session{Hash: "h"}}
	got, err := b.signOn(wish, alice())
	if err != nil {
		t.Fatal(err)
	}
	want := SignedOn{SignOn: wish, Account: broker.Account{
		Issuer: b.liar.Issuer, Subject: "0001", Email: "alice@example.com", Name: "alice", Groups: []string{"oncall", "operators"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsAskedOfTheTokenIssuer(t *testing.T) {
	b := newSignOnBed(t)
	link, cookie := b.begin(SignOn{Next: "/secret-path", Former: Session{Human: "alice"}})
	at, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	q := at.Query()
	if got := q.Get("scope"); got != "openid email groups" {
		t.Errorf("scopes %q", got)
	}
	if q.Has("prompt") || q.Has("max_age") || strings.Contains(link, "secret-path") || strings.Contains(link, "alice") || strings.Contains(link, cookie.Value) {
		t.Errorf("the link says too much: %s", link)
	}
	if cookie.Name != "__Host-hourkey-sign-on" || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 600 {
		t.Errorf("the cookie is %+v", cookie)
	}
	fresh, _ := b.begin(SignOn{Fresh: true})
	if at, _ := url.Parse(fresh); at.Query().Get("prompt") != "login" || at.Query().Get("max_age") != "0" {
		t.Errorf("a fresh sign-on is not demanded: %s", fresh)
	}
}

// The attack beside: two people of one name, or a name that is none.
func TestNamesAreMadeByOneRule(t *testing.T) {
	email := func(address string) map[string]any { return alice("email", address) }
	preferred := func(name string) map[string]any { return alice("preferred_username", name) }
	for name, test := range map[string]struct {
		claim  string
		claims map[string]any
		want   string // empty: refused
	}{
		"e-mail":                         {"", email("alice@example.com"), "alice"},
		"capitals":                       {"", email("Alice.SMITH@Example.COM"), "alice-smith"},
		"a tag":                          {"", email("alice+x@example.com"), "alice-x"},
		"Kelvin for k":                   {"", email("ali\u212ae@example.com"), "ali-e"},
		"Kelvin in the domain":           {"", email("alice@e\u212aample.com"), ""},
		"another domain":                 {"", email("alice@example.com.evil.test"), ""},
		"a domain below":                 {"", email("alice@sub.example.com"), ""},
		"no domain":                      {"", email("alice"), ""},
		"two domains":                    {"", email("alice@evil.test@example.com"), ""},
		"a quoted domain":                {"", email(`"alice@evil.test"@example.com`), ""},
		"nothing before the domain":      {"", email("@example.com"), ""},
		"a dash first":                   {"", email(".alice@example.com"), ""},
		"too long":                       {"", email(strings.Repeat("a", 200) + "@example.com"), ""},
		"no e-mail":                      {"", alice("email", nil), ""},
		"an e-mail that is a number":     {"", alice("email", 7), ""},
		"verified for another claim":     {"", alice("email_verified", nil, "Email_Verified", true), ""},
		"preferred_username":             {"preferred_username", preferred("Bob"), "bob"},
		"preferred_username, no e-mail":  {"preferred_username", alice("preferred_username", "bob", "email", nil), "bob"},
		"preferred_username of ours":     {"preferred_username", preferred("bob@example.com"), "bob"},
		"preferred_username of others":   {"preferred_username", preferred("bob@evil.test"), ""},
		"preferred_username that is not": {"preferred_username", alice(), ""},
		"a claim by a near name":         {"preferred_username", alice("Preferred_Username", "bob"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSignOnBed(t, func(s *SignOnSettings) { s.NameClaim = test.claim })
			got, err := b.signOn(SignOn{}, test.claims)
			if test.want == "" {
				b.refused(err, broker.CodeForbidden, "does not say who you are")
			} else if err != nil || got.Account.Name != test.want {
				t.Fatalf("got %q, %v", got.Account.Name, err)
			}
		})
	}
}

func TestOnlyMappedGroupsCome(t *testing.T) {
	for name, test := range map[string]struct {
		groups any
		want   []string
	}{
		"two of ours by one name": {[]string{"platform-2", "platform"}, []string{"operators"}},
		"a removed group":         {[]string{"cooks"}, nil},
		"our name for theirs":     {[]string{"operators", "oncall"}, nil},
		"another case":            {[]string{"Platform"}, nil},
		"no list but one":         {"platform", []string{"operators"}},
		"an empty list":           {[]string{}, nil},
		"none":                    {nil, nil},
		"two in one text":         {"platform eng-oncall", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSignOnBed(t)
			got, err := b.signOn(SignOn{}, alice("groups", test.groups))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Account.Groups); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, groups := range map[string]any{"an object": map[string]any{"platform": true}, "numbers": []int{1}} {
		b := newSignOnBed(t)
		_, err := b.signOn(SignOn{}, alice("groups", groups))
		t.Log(name)
		b.refused(err, broker.CodeForbidden, "no list of names")
	}
	b := newSignOnBed(t, func(s *SignOnSettings) { s.GroupsClaim = "https://example.com/teams" })
	got, err := b.signOn(SignOn{}, alice("https://example.com/teams", []string{"eng-oncall"}))
	if err != nil || len(got.Account.Groups) != 1 || got.Account.Groups[0] != "oncall" {
		t.Fatalf("another claim gives %v, %v", got.Account.Groups, err)
	}
}

// Whoever holds the browser's cookies, and the token issuer's too, must not pass for somebody who is there.
func TestAFreshSignOnIsProvenByTheTimeOfIt(t *testing.T) {
	b := newSignOnBed(t)
	at := func(d time.Duration) map[string]any { return alice("auth_time", b.now.Add(d).Unix()) }
	got, err := b.signOn(SignOn{Fresh: true}, at(0))
	if err != nil || !got.Proved.Equal(b.now) {
		t.Fatalf("proved at %s, %v", got.Proved, err)
	}
	for name, claims := range map[string]map[string]any{
		"an hour ago": at(-time.Hour), "two minutes ago": at(-2 * time.Minute), "in an hour": at(time.Hour),
		"not told": alice(), "no number": alice("auth_time", "now"), "null": alice("auth_time", []any{}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.signOn(SignOn{Fresh: true}, claims)
			b.refused(err, broker.CodeForbidden, "proved who you are")
		})
	}
	if got, err := b.signOn(SignOn{}, at(-time.Hour)); err != nil || !got.Proved.IsZero() {
		t.Fatalf("a sign-on that was not to be fresh proves %s, %v", got.Proved, err)
	}
	lax := newSignOnBed(t, func(s *SignOnSettings) { s.NoAuthTime = true })
	if got, err := lax.signOn(SignOn{Fresh: true}, alice()); err != nil || !got.Proved.Equal(lax.now) {
		t.Fatalf("without auth_time: proved at %s, %v", got.Proved, err)
	}
	if _, err := lax.signOn(SignOn{Fresh: true}, alice("auth_time", lax.now.Add(-time.Hour).Unix())); broker.CodeOf(err) != broker.CodeForbidden {
		t.Fatalf("an auth_time that is told does not count: %v", err)
	}
}

func TestSettingsThatCannotBeSafeAreRefused(t *testing.T) {
	b := newSignOnBed(t)
	for name, change := range map[string]func(*SignOnSettings){
		"plain http on a network": func(s *SignOnSettings) { s.Issuer = "http://login.example" },
		"no URL":                  func(s *SignOnSettings) { s.Issuer = "login.example" },
		"a user in it":            func(s *SignOnSettings) { s.Issuer = "https://u:p@login.example" },
		"no client":               func(s *SignOnSettings) { s.ClientID = "" },
		"no secret":               func(s *SignOnSettings) { s.ClientSecret = broker.Secret{} },
	} {
		t.Run(name, func(t *testing.T) {
			settings := b.settings
			change(&settings)
			if err := b.sso.Use(&settings); broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("got %v", err)
			}
		})
	}
	if _, err := b.signOn(SignOn{}, alice()); err != nil {
		t.Fatalf("the settings before are no longer in force: %v", err)
	}
}

func TestSingleSignOnThatIsOffLetsNobodyIn(t *testing.T) {
	b := newSignOnBed(t)
	link, cookie := b.begin(SignOn{})
	callback := b.liar.Allow(link, alice())
	if err := b.sso.Use(nil); err != nil || b.sso.IsOn() {
		t.Fatalf("it is on: %v", err)
	}
	_, err := b.finish(callback, cookie)
	b.refused(err, broker.CodeExpired, "changed")
	_, _, err = b.sso.Begin(context.Background(), SignOn{})
	b.refused(err, broker.CodeNotFound, "no single sign-on")
	var none *SingleSignOn
	if none.IsOn() {
		t.Error("nil is on")
	}
}
