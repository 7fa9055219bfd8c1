package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

func TestAReplayedApprovalIsRefusedAndRecorded(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	prepared := w.prepare(w.alice, request.ID)
	w.must(w.alice.Sign(t.Context(), prepared))
	w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared))
	if w.events(broker.EventReviewRefused) != 1 {
		t.Error("the refusal is not in the log")
	}
}

func TestASignatureForOneRequestDoesNotApproveAnother(t *testing.T) {
	w := settled(t)
	harmless, wanted := w.ask(""), w.waits("another-agent") // two asks of one agent for the same would be one request
	prepared, other := w.prepare(w.alice, harmless.ID), w.prepare(w.alice, wanted.ID)
	other.Challenge = prepared.Challenge
	w.refusedWith(http.StatusForbidden, w.alice.Sign(t.Context(), other))
	if got := w.state(wanted.ID); got != broker.RequestPending {
		t.Fatalf("the other request is %s", got)
	}
}

func TestEveryLieInASignatureIsRefusedAndRecorded(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	for name, lie := range map[string]func(*softkey.Ceremony){
		"without user verification": func(c *softkey.Ceremony) { c.NoUser = true },
		"from another origin":       func(c *softkey.Ceremony) { c.Origin = "https://evil.test" },
		"from another port":         func(c *softkey.Ceremony) { c.Origin = "http://localhost:1" },
		"inside a foreign frame":    func(c *softkey.Ceremony) { c.CrossOrigin = true },
		"for another site's key":    func(c *softkey.Ceremony) { c.RPID = "evil.test" },
		"by a copied key":           func(c *softkey.Ceremony) { c.SameCounter = true },
	} {
		t.Run(name, func(t *testing.T) {
			before := w.events(broker.EventReviewRefused)
			prepared := w.prepare(w.alice, request.ID)
			if name == "by a copied key" {
				w.alice.Key.Counter = 0
			}
			w.alice.Lie = lie
			defer func() { w.alice.Lie = nil }()
			w.refusedWith(http.StatusForbidden, w.alice.Sign(t.Context(), prepared))
			if got := w.state(request.ID); got != broker.RequestPending {
				t.Fatalf("the request is %s", got)
			}
			if w.events(broker.EventReviewRefused) != before+1 {
				t.Error("the refusal is not in the log")
			}
			w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared)) // the nonce is used up
		})
	}
}

func TestAnotherHumansPasskeyOrSessionDoesNotSign(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	prepared := w.prepare(w.alice, request.ID)
	thief := *w.alice
	thief.Key = w.bob.Key // alice's session, bob's passkey
	w.refusedWith(http.StatusForbidden, thief.Sign(t.Context(), prepared))
	prepared = w.prepare(w.alice, request.ID)
	w.refusedWith(http.StatusForbidden, w.bob.Sign(t.Context(), prepared)) // bob's session and passkey, alice's statement
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Fatalf("the request is %s", got)
	}
}

func TestAnApprovalAfterAChangeIsAConflict(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	_, digest, err := w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	prepared := w.prepare(w.alice, request.ID)
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
		request.Items[0].Description.Native = append(request.Items[0].Description.Native, "GRANT EVERYTHING")
		return tx.Save(&request)
	}))
	_, err = w.alice.Prepare(t.Context(), broker.ActApprove, request.ID, digest)
	w.refusedWith(http.StatusConflict, err)
	w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared))
	_, err = w.alice.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {digest}})
	page := w.refusedWith(http.StatusConflict, err)
	if !strings.Contains(page, `href="/requests/`+request.ID) || !strings.Contains(page, "Look at it again") {
		t.Errorf("the page does not lead back:\n%s", page)
	}
}

func TestAnApprovalAfterItsTimeIsRefused(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	prepared := w.prepare(w.alice, request.ID)
	w.clock.Advance(broker.SignFor + time.Second)
	w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared))

	w.must(w.alice.SignIn(t.Context()))
	w.clock.Advance(20 * time.Minute)
	_, _, err := w.alice.Read(t.Context(), "/")
	w.must(err)
	w.clock.Advance(20 * time.Minute)
	_, _, err = w.alice.Read(t.Context(), "/")
	w.must(err)
	w.clock.Advance(20 * time.Minute) // the request's hour is over
	page, digest, err := w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if digest != "" {
		t.Errorf("an expired request is offered:\n%s", page)
	}
	_, err = w.alice.Prepare(t.Context(), broker.ActApprove, request.ID, request.Digest())
	w.refusedWith(http.StatusConflict, err)
}

func TestASessionWhosePasskeyIsGoneOpensNothing(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	prepared := w.prepare(w.alice, request.ID)
	passkeys, err := w.broker.Passkeys(t.Context(), "alice")
	w.must(err)
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(&passkeys[0]) }))
	w.refusedWith(http.StatusUnauthorized, w.alice.Sign(t.Context(), prepared))
	_, _, err = w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.refusedWith(http.StatusUnauthorized, err)
	w.refusedWith(http.StatusForbidden, w.alice.SignIn(t.Context()))
}

func TestWithoutASessionNothingIsShownOrDone(t *testing.T) {
	w := settled(t)
	request := w.ask("secret plans")
	stranger := w.person()
	for _, line := range pageTable() {
		if !line.signedIn {
			continue
		}
		path := strings.NewReplacer(":id", request.ID, "*name", "claude", ":environment", "staging", ":target", "db", ":name", "bob", "*id", "all").Replace(line.path)
		var err error
		switch {
		case line.method == http.MethodGet:
			_, _, err = stranger.Read(t.Context(), path)
		case line.body == jsonBody:
			err = stranger.Post(t.Context(), path, struct{}{}, nil)
		default:
			_, err = stranger.Submit(t.Context(), path, url.Values{"digest": {request.Digest()}})
		}
		if body := w.refusedWith(http.StatusUnauthorized, err); strings.Contains(body, "secret plans") {
			t.Errorf("%s shows it to strangers", path)
		}
	}
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Fatalf("the request is %s", got)
	}
}

func TestARequestOfOthersIsNotThereForWhoMayNotSeeIt(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.config.Groups["team"] = []string{"alice"} // bob has left
	_, _, err := w.bob.Read(t.Context(), "/requests/"+request.ID)
	w.refusedWith(http.StatusNotFound, err)
	for _, path := range []string{"/agents/claude", "/targets/staging/db", "/humans/alice", "/freezes/all", "/requests/none", "/targets/none/none", "/agents/none"} {
		_, _, err := w.bob.Read(t.Context(), path)
		w.refusedWith(http.StatusNotFound, err)
	}
	_, err = w.bob.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {request.Digest()}})
	w.refusedWith(http.StatusNotFound, err)
}

// Each case is one POST that another site, a program or a proxy could cause with a human's cookie.
func TestAPostThatIsNotFromOurOwnPageIsRefused(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	for name, edit := range map[string]func(*http.Request){
		"cross-site": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "https://evil.test")
		},
		"cross-site, our origin":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same-site":                func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"typed in":                 func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") },
		"without Sec-Fetch-Site":   func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		"without Origin":           func(r *http.Request) { r.Header.Del("Origin") },
		"Origin null":              func(r *http.Request) { r.Header.Set("Origin", "null") },
		"Origin of another port":   func(r *http.Request) { r.Header.Set("Origin", "http://localhost:1") },
		"Origin in another case":   func(r *http.Request) { r.Header.Set("Origin", strings.ToUpper(w.origin)) },
		"with an agent's token":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer eyJ") },
		"with the wrong body type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
	} {
		t.Run(name, func(t *testing.T) {
			honest := w.prepare(w.alice, request.ID)
			w.alice.Edit = edit
			defer func() { w.alice.Edit = nil }()
			status := http.StatusForbidden
			if name == "with the wrong body type" {
				status = http.StatusUnsupportedMediaType
			}
			_, err := w.alice.Prepare(t.Context(), broker.ActApprove, request.ID, request.Digest())
			w.refusedWith(status, err)
			w.refusedWith(status, w.alice.Sign(t.Context(), honest))
			_, err = w.alice.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {request.Digest()}})
			w.refusedWith(status, err)
			_, err = w.alice.Submit(t.Context(), "/sign-out", nil)
			w.refusedWith(status, err)
			if got := w.state(request.ID); got != broker.RequestPending {
				t.Fatalf("the request is %s", got)
			}
		})
	}
}

func TestAnAgentsTokenOpensNoPage(t *testing.T) {
	w := settled(t)
	w.alice.Edit = func(r *http.Request) { r.Header.Set("Authorization", "Bearer eyJ") }
	for _, path := range []string{"/", "/sign-in", "/invite", "/agents/claude"} {
		_, _, err := w.alice.Read(t.Context(), path)
		w.refusedWith(http.StatusForbidden, err)
	}
}

func TestAnotherHostIsNotAnswered(t *testing.T) {
	w := settled(t)
	w.alice.Edit = func(r *http.Request) { r.Host = "evil.test" }
	_, _, err := w.alice.Read(t.Context(), "/")
	w.refusedWith(http.StatusMisdirectedRequest, err)
	_, err = w.alice.Submit(t.Context(), "/sign-out", nil)
	w.refusedWith(http.StatusMisdirectedRequest, err)
}

func TestEveryPageRefusesFramesAndInlineCode(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	for path, status := range map[string]int{
		"/": 200, "/sign-in": 200, "/invite": 200, "/requests/" + request.ID: 200, "/requests/none": 404, "/assets/hourkey.js": 200, "/assets/none": 404,
	} {
		var got http.Header
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := http.DefaultTransport.RoundTrip(r)
			if answer != nil {
				got = answer.Header
				if answer.StatusCode != status {
					t.Errorf("%s: status %d", path, answer.StatusCode)
				}
			}
			return answer, err
		})}
		signedIn, err := softkey.NewPerson(w.origin, client.Transport)
		w.must(err)
		signedIn.Key = w.alice.Key
		if path == "/" || strings.HasPrefix(path, "/requests/") {
			want := status
			status = 200
			w.must(signedIn.SignIn(t.Context()))
			status = want
		}
		_, _, _ = signedIn.Read(t.Context(), path)
		for name, want := range map[string]string{
			"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "same-origin",
			"Cache-Control":                "no-store",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.Get(name))
			}
		}
		policy := got.Get("Permissions-Policy")
		for _, part := range []string{"publickey-credentials-get=(self)", "publickey-credentials-create=(self)", "camera=()", "microphone=()"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: Permissions-Policy lacks %q", path, part)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestLookingChangesNothing(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	before := w.store.Updates()
	for _, path := range []string{"/", "/sign-in", "/invite", "/requests/" + request.ID, "/agents/claude", "/targets/staging/db", "/requests/" + request.ID + "/deny?digest=" + request.Digest()} {
		_, _, _ = w.alice.Read(t.Context(), path)
	}
	if after := w.store.Updates(); after != before {
		t.Errorf("%d updates were made by reading", after-before)
	}
}

func TestGuessingInviteCodesIsSlowed(t *testing.T) {
	w := newTeam(t)
	code := w.invite("alice")
	guesser := w.person()
	var last int
	for range guessBurst + 1 {
		_, err := guesser.Submit(t.Context(), "/invite", url.Values{"name": {"alice"}, "code": {"00000-00000-00000-00000"}})
		refusal, ok := errors.AsType[*softkey.Refusal](err)
		if !ok {
			t.Fatalf("a guess was accepted: %v", err)
		}
		if strings.Contains(refusal.Body, "00000-00000") {
			t.Error("the page repeats the code that was typed in")
		}
		last = refusal.Status
	}
	if last != http.StatusTooManyRequests {
		t.Fatalf("the last guess got status %d", last)
	}
	w.refusedWith(http.StatusTooManyRequests, w.person().Enrol(t.Context(), "alice", code)) // even the right one, for a while
	w.clock.Advance(guessEvery + time.Second)
	w.must(w.person().Enrol(t.Context(), "alice", code))
}

func TestAnInviteMakesOnePasskey(t *testing.T) {
	w := newTeam(t)
	code := w.invite("alice")
	w.must(w.person().Enrol(t.Context(), "alice", strings.ToUpper(code)))
	w.refusedWith(http.StatusForbidden, w.person().Enrol(t.Context(), "alice", code))
	inert := w.invite("bob")
	w.refusedWith(http.StatusForbidden, w.person().Enrol(t.Context(), "bob", inert))
}

func TestARegistrationWithoutUserVerificationIsRefused(t *testing.T) {
	w := newTeam(t)
	code := w.invite("alice")
	careless := w.person()
	careless.Lie = func(c *softkey.Ceremony) { c.NoUser = true }
	w.refusedWith(http.StatusForbidden, careless.Enrol(t.Context(), "alice", code))
	w.must(w.person().Enrol(t.Context(), "alice", code)) // the code is not used up by it
}

func TestSignInTakesOneAnswerOfAKnownPasskey(t *testing.T) {
	w := settled(t)
	unknown := w.person()
	unknown.Key.UserHandle = []byte("somebody")
	w.refusedWith(http.StatusForbidden, unknown.SignIn(t.Context()))

	nameless := w.person()
	key := *w.alice.Key
	key.UserHandle = nil
	nameless.Key = &key
	w.refusedWith(http.StatusForbidden, nameless.SignIn(t.Context()))

	lazy := w.person()
	lazy.Key, lazy.Lie = w.alice.Key, func(c *softkey.Ceremony) { c.NoUser = true }
	w.refusedWith(http.StatusForbidden, lazy.SignIn(t.Context()))

	stale := w.person()
	stale.Key, stale.Lie = w.alice.Key, func(c *softkey.Ceremony) { c.Challenge = make([]byte, 32) }
	w.refusedWith(http.StatusGone, stale.SignIn(t.Context()))
}

func TestSigningOutClosesThePages(t *testing.T) {
	w := settled(t)
	_, err := w.alice.Submit(t.Context(), "/sign-out", nil)
	w.must(err)
	_, _, err = w.alice.Read(t.Context(), "/")
	w.refusedWith(http.StatusUnauthorized, err)
}
