package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/dextest"
)

func TestASignOnLeadsToThePageThatWasAskedFor(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	page, err := w.arrive(dora, url.Values{"next": {"/requests/x"}}, w.dora())
	w.must(err)
	if got := w.leadsTo(page); got != "/requests/x" || !strings.Contains(page, "signed in as dora") {
		t.Fatalf("it leads to %q:\n%s", got, page)
	}
	if got := w.isSignedIn(dora); got != "dora" {
		t.Fatalf("%q is signed in", got)
	}
	if w.events(broker.EventSignedOn) != 1 {
		t.Error("it is not in the log")
	}
}

// What a sign-on gives: reading, and denying. It signs nothing.
func TestASignOnWithoutPasskeyReadsAndDeniesAndApprovesNothing(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, nil, w.dora())
	w.must(err)
	request := w.ask("second copies")
	_, digest, err := dora.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	_, err = dora.Prepare(t.Context(), broker.ActApprove, request.ID, digest)
	if body := w.refusedWith(http.StatusForbidden, err); !strings.Contains(body, "passkey") {
		t.Errorf("the refusal is %s", body)
	}
	w.must(dora.Deny(t.Context(), request.ID, "not now"))
	if got := w.state(request.ID); got != broker.RequestDenied {
		t.Fatalf("the request is %s", got)
	}
}

// The reviewers who are left decide at once, and for at most twelve hours nobody has to ask the token issuer.
func TestARemovedGroupTakesItsPowerAtTheNextSignInAndAfterTwelveHours(t *testing.T) {
	w := newSignOnTeam(t)
	dora, second := w.browser(), w.browser()
	_, err := w.arrive(dora, nil, w.dora())
	w.must(err)
	if !w.broker.Configuration().MayReview("dora", "staging") {
		t.Fatal("dora does not review")
	}
	_, err = w.arrive(second, nil, w.dora("groups", []string{"cooks"}))
	w.refusedWith(http.StatusForbidden, err)
	for _, p := range []string{w.isSignedIn(dora), w.isSignedIn(second)} {
		if p != "" {
			t.Errorf("%q is signed in", p)
		}
	}
	if w.broker.Configuration().MayReview("dora", "staging") {
		t.Error("dora still reviews")
	}
	_, err = w.arrive(dora, nil, w.dora())
	w.must(err)
	w.clock.Advance(authn.SessionLife)
	if got := w.isSignedIn(dora); got != "" {
		t.Errorf("%q is signed in after twelve hours", got)
	}
}

func TestPasskeysWorkWhileSingleSignOnIsDown(t *testing.T) {
	w := newSignOnTeam(t)
	w.liar.Close()
	_, err := w.browser().Submit(t.Context(), "/sign-in/sso", nil)
	if body := w.refusedWith(http.StatusServiceUnavailable, err); !strings.Contains(body, "Single sign-on does not work now") || !strings.Contains(body, "Sign in with your passkey") {
		t.Errorf("the page says:\n%s", body)
	}
	again := w.person()
	again.Key = w.alice.Key
	w.must(again.SignIn(t.Context()))
	request := w.ask("")
	w.sign(again, broker.ActApprove, "/requests/"+request.ID, request.ID)
}

func TestWithoutSingleSignOnThereIsNone(t *testing.T) {
	for name, p := range map[string]*signOnTeam{"off": bareSignOnTeam(t, time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)), "never configured": {team: newTeam(t)}} {
		t.Run(name, func(t *testing.T) {
			_, err := p.person().Submit(t.Context(), "/sign-in/sso", nil)
			p.refusedWith(http.StatusNotFound, err)
			_, _, err = p.person().Read(t.Context(), authn.PathSignOnCallback+"?code=a&state=b")
			if err == nil {
				t.Fatal("the callback lets somebody in")
			}
		})
	}
}

// An account is bound to a name once, and to a name that is known only by whoever has its passkey.
func TestAnotherAccountThatClaimsANameIsRefused(t *testing.T) {
	w := newSignOnTeam(t)
	_, err := w.arrive(w.browser(), nil, w.dora())
	w.must(err)
	thief := w.browser()
	_, err = w.arrive(thief, nil, w.dora("sub", "another"))
	w.refusedWith(http.StatusConflict, err)

	claim := w.dora("sub", "a11ce", "email", "alice@example.com")
	_, err = w.arrive(thief, nil, claim)
	if body := w.refusedWith(http.StatusConflict, err); !strings.Contains(body, "Sign in with your passkey first") {
		t.Errorf("the page says:\n%s", body)
	}
	_, err = w.arrive(thief, nil, w.dora("sub", "m4llory", "email", "mallory@example.com"))
	w.must(err)
	_, err = w.arrive(thief, nil, claim) // a session by single sign-on links nothing
	w.refusedWith(http.StatusConflict, err)
	if got := w.isSignedIn(thief); got != "mallory" {
		t.Fatalf("%q is signed in", got)
	}

	alice := w.browser()
	alice.Key = w.alice.Key
	w.must(alice.SignIn(t.Context()))
	_, err = w.arrive(alice, nil, w.dora("sub", "b0b", "email", "bob@example.com")) // neither does a passkey of another name
	w.refusedWith(http.StatusConflict, err)
	_, err = w.arrive(alice, nil, claim)
	w.must(err)
	login, found, err := w.broker.Login(t.Context(), "alice")
	if err != nil || !found || login.Subject != "a11ce" {
		t.Fatalf("alice's account is %+v, %v", login, err)
	}
	_, err = w.arrive(thief, nil, w.dora("sub", "another", "email", "alice@example.com"))
	w.refusedWith(http.StatusConflict, err)
}

// The passkey's session must still be there when its human comes back: one that was ended meanwhile links
// nothing.
func TestASessionThatEndedMeanwhileLinksNothing(t *testing.T) {
	w := newSignOnTeam(t)
	link := w.depart(w.alice, nil)
	_, err := w.alice.Submit(t.Context(), "/sign-out", nil)
	w.must(err)
	_, err = w.back(w.alice, w.liar.Allow(link, w.dora("sub", "a11ce", "email", "alice@example.com")))
	w.refusedWith(http.StatusConflict, err)
}

func TestASignOnBeginsANewSessionAndEndsTheFormer(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, nil, w.dora())
	w.must(err)
	first := w.sessions("dora")
	_, err = w.arrive(dora, nil, w.dora())
	w.must(err)
	second := w.sessions("dora")
	if len(first) != 1 || len(second) != 1 || first[0].Hash == second[0].Hash {
		t.Fatalf("%d sessions, then %d", len(first), len(second))
	}
	if got := second[0]; got.Via != authn.ViaSignOn || got.Address != "127.0.0.1" || !strings.HasPrefix(got.UserAgent, "Go-http-client") || !got.Proved.IsZero() {
		t.Errorf("%+v", got)
	}
}

func (w *signOnTeam) sessions(human string) []authn.Session {
	w.Helper()
	list, err := authn.NewSessions(authn.SessionsConfig{Store: w.store, Now: w.clock.Now}).List(w.Context(), human)
	w.must(err)
	return list
}

// A planted cookie: on plain http, other ports of localhost can set one.
func TestASessionThatWasPlantedIsNotTakenOver(t *testing.T) {
	w := newSignOnTeam(t)
	planted := strings.Repeat("A", 43)
	dora := w.browser()
	dora.Edit = func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "hourkey-session", Value: planted})
		r.AddCookie(&http.Cookie{Name: "hourkey-sign-on", Value: planted})
	}
	link := w.depart(dora, nil)
	dora.Edit = nil
	_, err := w.back(dora, w.liar.Allow(link, w.dora()))
	w.must(err)
	thief := w.browser()
	thief.Edit = func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "hourkey-session", Value: planted}) }
	if got := w.isSignedIn(thief); got != "" {
		t.Fatalf("%q is signed in by a planted cookie", got)
	}
}

// Login CSRF: the attacker's own answer, opened in somebody else's browser.
func TestAnAnswerForAnotherBrowserSignsNobodyIn(t *testing.T) {
	w := newSignOnTeam(t)
	mallory, victim, linked := w.browser(), w.browser(), w.browser()
	claims := w.dora("sub", "m4llory", "email", "mallory@example.com")
	_, err := w.back(victim, w.liar.Allow(w.depart(mallory, nil), claims))
	w.refusedWith(http.StatusForbidden, err)

	w.depart(linked, nil) // who is under way has a cookie, of another flow
	_, err = w.back(linked, w.liar.Allow(w.depart(mallory, nil), claims))
	w.refusedWith(http.StatusForbidden, err)
	if got := w.isSignedIn(victim) + w.isSignedIn(linked); got != "" {
		t.Fatalf("%q is signed in", got)
	}
}

func TestACallbackIsGoodOnce(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	callback := w.liar.Allow(w.depart(dora, nil), w.dora())
	_, err := w.back(dora, callback)
	w.must(err)
	_, err = w.back(dora, callback)
	w.refusedWith(http.StatusGone, err)
	if got := w.isSignedIn(dora); got != "dora" {
		t.Errorf("%q is signed in: looking once more signs out", got)
	}
}

// A link-preview robot, or whoever finds the address in a history, opens the callback.
func TestACallbackWithoutItsCookieChangesNothing(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	callback := w.liar.Allow(w.depart(dora, nil), w.dora())
	before := w.store.Updates()
	for _, at := range []string{callback, w.origin + authn.PathSignOnCallback, w.origin + authn.PathSignOnCallback + "?code=x&state=y", w.origin + authn.PathSignOnCallback + "?error=access_denied&error_description=call+555"} {
		body := ""
		if _, err := w.back(w.browser(), at); err == nil {
			t.Errorf("%s is let in", at)
		} else {
			body = err.Error()
		}
		if strings.Contains(body, "555") || strings.Contains(body, "dora") {
			t.Errorf("the page says:\n%s", body)
		}
	}
	if after := w.store.Updates(); after != before {
		t.Errorf("%d updates", after-before)
	}
}

func TestASignOnLeadsToNoPageOfOthers(t *testing.T) {
	w := newSignOnTeam(t)
	for next, want := range map[string]string{
		"":                               "/",
		"/":                              "/",
		"/requests/abc":                  "/requests/abc",
		"/agents/ci/deploy":              "/agents/ci/deploy",
		"/requests/a b":                  "/requests/a%20b",
		"/requests?after=x#y":            "/requests",
		"https://evil.test/":             "/",
		"//evil.test/":                   "/",
		"///evil.test/":                  "/evil.test",
		"/\\evil.test/":                  "/",
		"\\\\evil.test/":                 "/",
		"/%5cevil.test/":                 "/",
		"/%2f%2fevil.test":               "/evil.test",
		"/..//evil.test":                 "/evil.test",
		"/%09/evil.test":                 "/",
		"/\t/evil.test":                  "/",
		"javascript:alert(1)":            "/",
		"data:text/html,x":               "/",
		"evil.test":                      "/",
		"?next=//evil.test":              "/",
		"https:/evil.test":               "/",
		"/sign-in":                       "/",
		"/sign-in/sso/callback":          "/",
		"/a\"><script>alert(1)</script>": "/a%22%3E%3Cscript%3Ealert%281%29%3C/script%3E",
		"/" + strings.Repeat("a", 600):   "/",
	} {
		if got := ourPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	dora := w.browser()
	page, err := w.arrive(dora, url.Values{"next": {"//evil.test/"}}, w.dora())
	w.must(err)
	if got := w.leadsTo(page); got != "/" || strings.Contains(page, "evil.test") {
		t.Errorf("it leads to %q", got)
	}
}

func TestOnlyOurOwnPageBeginsASignOn(t *testing.T) {
	w := newSignOnTeam(t)
	for name, edit := range map[string]func(*http.Request){
		"cross-site":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"without Sec-Fetch-Site": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		"another origin":         func(r *http.Request) { r.Header.Set("Origin", "https://evil.test") },
	} {
		p := w.browser()
		p.Edit = edit
		_, err := p.Submit(t.Context(), "/sign-in/sso", nil)
		t.Log(name)
		w.refusedWith(http.StatusForbidden, err)
	}
	_, err := w.browser().Submit(t.Context(), "/sign-in/sso", url.Values{"issuer": {"https://evil.test"}})
	w.refusedWith(http.StatusBadRequest, err)
}

// The page that leads on is held to the policy of every other page: no other site is named in it.
func TestPagesOfTheSignOnAreAsStrictAsTheOthers(t *testing.T) {
	w := newSignOnTeam(t)
	ask := func(method, path string) http.Header {
		r, err := http.NewRequestWithContext(t.Context(), method, w.origin+path, nil)
		w.must(err)
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", w.origin)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		answer, err := http.DefaultClient.Do(r)
		w.must(err)
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s: status %d", method, path, answer.StatusCode)
		}
		return answer.Header
	}
	other, leading := ask(http.MethodGet, "/invite"), ask(http.MethodPost, "/sign-in/sso")
	for _, name := range []string{"Content-Security-Policy", "Referrer-Policy", "X-Frame-Options", "Cache-Control"} {
		if leading.Get(name) == "" || leading.Get(name) != other.Get(name) {
			t.Errorf("%s is %q, elsewhere %q", name, leading.Get(name), other.Get(name))
		}
	}
}

// What was begun under one configuration is not finished under another.
func TestAReloadOfTheSettingsEndsWhatWasBegun(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	callback := w.liar.Allow(w.depart(dora, nil), w.dora())
	w.use(w.liar.Issuer, true)
	_, err := w.back(dora, callback)
	w.refusedWith(http.StatusGone, err)
	_, err = w.arrive(dora, nil, w.dora())
	w.must(err)
}

// A mix-up: a second token issuer, which the attacker runs, gets the code of the first.
func TestAnAnswerThatNamesAnotherTokenIssuerSignsNobodyIn(t *testing.T) {
	w := newSignOnTeam(t)
	evil := dextest.NewLiar(t, w.client(), w.clock.Now)
	dora := w.browser()
	_, err := w.back(dora, w.liar.Allow(w.depart(dora, nil), w.dora())+"&iss="+url.QueryEscape(evil.Issuer))
	w.refusedWith(http.StatusForbidden, err)
	if got := w.isSignedIn(dora); got != "" || evil.Asked("/token") != 0 {
		t.Fatalf("%q is signed in", got)
	}
}

func FuzzASignOnLeadsToAPathOfOurs(f *testing.F) {
	for _, seed := range []string{"/", "//evil.test", "/\\evil.test", "/%5c%5cevil.test", "/..//evil.test", "https://evil.test", "/a?b#c", "\x00/", "/\u2028"} {
		f.Add(seed)
	}
	ours, err := url.Parse("https://hourkey.test/sign-in")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		to := ourPath(next)
		at, err := ours.Parse(to)
		if err != nil || at.Host != ours.Host || at.Scheme != ours.Scheme || at.RawQuery != "" || at.Fragment != "" {
			t.Fatalf("%q leads to %q, which is %v, %v", next, to, at, err)
		}
		if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\"<> \r\n\t") {
			t.Fatalf("%q leads to %q", next, to)
		}
	})
}
