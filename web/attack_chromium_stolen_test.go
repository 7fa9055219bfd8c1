package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// wears puts a stolen cookie into another browser.
func (b *tab) wears(origin, cookie string) {
	b.Helper()
	name, value, _ := strings.Cut(cookie, "=")
	yes := true
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: origin, HTTPOnly: &yes, SameSite: network.CookieSameSiteStrict})
	if err != nil {
		b.Fatal(err)
	}
}

func (w *team) keysOf(human string) []broker.Passkey {
	w.Helper()
	passkeys, err := w.broker.Passkeys(w.Context(), human)
	w.must(err)
	return passkeys
}

// makesPasskey does what the page's script does, by a script of whoever has the session.
const makesPasskey = `
	const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
	const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
	const post = (path, body) => fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
	const o = (await (await post("/me/passkeys/prepare", {})).json()).options;
	const c = await navigator.credentials.create({publicKey: {...o, challenge: bytes(o.challenge), user: {...o.user, id: bytes(o.user.id)},
		excludeCredentials: o.excludeCredentials.map((e) => ({...e, id: bytes(e.id)}))}});
	const r = await post("/me/passkeys", {credential_id: text(c.rawId), client_data_json: text(c.response.clientDataJSON), attestation_object: text(c.response.attestationObject),
		transports: c.response.getTransports(), name: "a thief's"});
	return r.status`

// TestInChromiumAFurtherPasskeyIsMadeOnItsPageAndSignedByTheFirst: what a thief cannot do, she can, on the pages alone.
// It signs in at once, and approves when its time has come.
func TestInChromiumAFurtherPasskeyIsMadeOnItsPageAndSignedByTheFirst(t *testing.T) {
	b, first := hunt(t).window(t)
	w := prey(b, func(w *team) { w.config.Limits.PasskeyWait = time.Hour })
	hers := b.credential(first)
	another := func(instead webauthn.AuthenticatorID) webauthn.AuthenticatorID {
		_, err := chromedp.Call(b.ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: instead})
		w.must(err)
		return b.plug(webauthn.VirtualAuthenticatorOptions{HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true})
	}
	key := another(first)
	b.do("making it", goTo(w.origin+pathNewPasskey), fill(`input[name=name]`, "new phone"), tap(`main form button`), until("it waits", `location.pathname === "/me"`), shows("new phone"))
	w.must(plant(b, another(key), map[string]any{
		"credentialId": hers.CredentialID, "isResidentCredential": true, "rpId": "localhost", "userHandle": hers.UserHandle, "privateKey": hers.PrivateKey, "signCount": hers.SignCount,
	}))
	b.do("signing it with the first", tap(`.attention form.sign button[type=submit]`), visible(`dialog[open] [data-confirm]`), tap(`dialog[open] [data-confirm]`),
		shows("may approve from"))
	if len(w.keysOf("alice")) != 2 {
		t.Errorf("alice has %d passkeys", len(w.keysOf("alice")))
	}
}

// TestInChromiumAStolenSessionEnrolsNothing: the thief has the cookie in a browser with an authenticator of its own, goes
// the way of the pages, and past them.
func TestInChromiumAStolenSessionEnrolsNothing(t *testing.T) {
	root := hunt(t)
	b, _ := root.window(t)
	w := prey(b, func(w *team) { w.config.Limits.PasskeyWait = time.Hour })
	evil, own := root.window(t)
	evil.wears(w.origin, b.jar(w.origin))
	robber := &thief{team: w, cookie: b.jar(w.origin)}
	alices := w.keysOf("alice")[0]

	evil.do("opening the page", goTo(w.origin+pathNewPasskey), shows("Add a passkey"))
	if made := evil.run(makesPasskey); made != "200" {
		t.Fatalf("the thief's browser makes no passkey, and the test proves nothing: %s", made)
	}
	evil.do("seeing it wait", goTo(w.origin+"/me"), shows("waits for a signature of yours"))
	waiting, err := w.broker.WaitingPasskeys(t.Context(), "alice")
	w.must(err)
	if len(waiting) != 1 || len(w.keysOf("alice")) != 1 {
		t.Fatalf("%d wait, %d are alice's", len(waiting), len(w.keysOf("alice")))
	}

	t.Run("a passkey of its own, signed with itself", func(t *testing.T) {
		evil, w, robber := evil.in(t), w.in(t), robber.in(t)
		evil.do("signing with what it has", tap(`.attention form.sign button[type=submit]`), visible(`dialog[open] [data-confirm]`), tap(`dialog[open] [data-confirm]`), shows("The passkey was not used"))
		before := w.events(broker.EventReviewRefused)
		prepared := robber.prepares(broker.ActAddPasskey, waiting[0].Passkey.ID, waiting[0].Passkey.Digest(), "")
		made := evil.asserted(challengeOf(t, prepared), evil.credential(own), "required")
		made.Nonce = prepared.Nonce
		status, body := robber.json("/sign", made.json(t))
		w.want(t, http.StatusForbidden, "signing the new one with itself", status, body)
		w.wantRefused(t, before, 1)
		evil.do("signing in with it", goTo(w.origin+"/me"), tap(`header form button`), shows("Sign in"), tap(`form[data-ceremony=sign-in] button`), shows("this passkey is not known here"))
		if len(w.keysOf("alice")) != 1 || w.events(broker.EventPasskeyAdded) != 2 {
			t.Error("a stolen session added a passkey")
		}
	})

	t.Run("is seen by her, and by everybody", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		b.do("signing in again", goTo(w.origin+"/"), tap(`form[data-ceremony=sign-in] button`), until("alice is back", `!!document.querySelector(".who")`), shows("New passkey"))
		page, _, err := w.bob.Read(t.Context(), "/")
		w.must(err)
		if !strings.Contains(page, "alice") || !strings.Contains(page, "not signed yet") {
			t.Errorf("bob is not told:\n%s", page)
		}
		if w.events(broker.EventPasskeyOffered) != 1 {
			t.Error("the log does not tell")
		}
	})

	t.Run("removing hers, or both", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		robber := &thief{team: w, cookie: b.jar(w.origin)}
		status, body := robber.json("/sign/prepare", fmt.Sprintf(`{"act":"remove-passkey","subject":%q,"digest":%q}`, alices.ID, alices.Digest()))
		w.want(t, http.StatusConflict, "removing the only one", status, body)
		second := broker.Passkey{ID: "c2Vjb25k", Human: "alice", Name: "second", Credential: []byte(`{}`), Created: w.clock.Now()}
		w.keeps(&second)
		for _, target := range []broker.Passkey{alices, second} {
			prepared := robber.prepares(broker.ActRemovePasskey, target.ID, target.Digest(), "")
			status, body := robber.json("/sign", signing(t, prepared.Nonce, target.ID, broker.Assertion{CredentialID: alices.ID}))
			w.want(t, http.StatusForbidden, "removing without a signature", status, body)
		}
		status, body = robber.json("/sign/prepare", fmt.Sprintf(`{"act":"remove-passkey","subject":%q,"digest":%q}`, w.keysOf("bob")[0].ID, w.keysOf("bob")[0].Digest()))
		w.want(t, http.StatusNotFound, "removing bob's", status, body)
		if len(w.keysOf("alice")) != 2 || len(w.keysOf("bob")) != 1 || w.events(broker.EventPasskeyRemoved) != 0 {
			t.Error("a passkey was removed")
		}
	})

	t.Run("inviting an accomplice, and going in by that", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		robber := &thief{team: w, cookie: b.jar(w.origin)}
		for _, name := range []string{"mallory", "alice", "bob"} { // alice operates: she may invite
			status, body := robber.form("/people", "name="+name)
			if status != http.StatusOK {
				continue
			}
			code := oneTimeCode.FindString(body)
			if code == "" {
				t.Fatalf("%s: no code on the page:\n%s", name, body)
			}
			err := w.person().Enrol(t.Context(), name, code)
			w.refusedWith(http.StatusForbidden, err)
			status, body = robber.json("/sign/prepare", fmt.Sprintf(`{"act":"admit-human","subject":%q,"digest":"x"}`, name))
			if status == http.StatusOK {
				t.Errorf("%s: %s", name, body)
			}
		}
		if len(w.keysOf("mallory"))+len(w.keysOf("bob")) != 1 {
			t.Error("somebody came in")
		}
	})
}

// TestInChromiumTheBackButtonShowsNothingAfterSigningOut: whoever sits down at the browser next.
func TestInChromiumTheBackButtonShowsNothingAfterSigningOut(t *testing.T) {
	b, _ := hunt(t).window(t)
	w := prey(b)
	request := w.waits("left-open")
	b.do("reading, and signing out", w.opens(request), goTo(w.origin+"/me"), shows("Sessions"), tap(`header form button`), until("the way in", `location.pathname === "/sign-in"`))
	for range 2 {
		b.do("going back", chromedp.Evaluate[chromedp.Void](`history.back()`), chromedp.Sleep(500*time.Millisecond), until("a page", `document.readyState === "complete"`))
		if text := b.ask(`document.documentElement.innerText`); strings.Contains(text, "public.orders") || strings.Contains(text, "left-open") || strings.Contains(text, "Sign out") {
			t.Errorf("the browser shows %s:\n%s", b.ask(`location.pathname`), text)
		}
	}
}

// TestInChromiumANewcomerMakesTheFirstPasskeyAfterSingleSignOn: twenty people do not need twenty shells; it waits for operators,
// and says the words that they compare.
func TestInChromiumANewcomerMakesTheFirstPasskeyAfterSingleSignOn(t *testing.T) {
	b, _ := hunt(t).window(t)
	w, _ := dexTeam(t, doraAtDex)
	b.do("the way to dex", goTo(w.origin+"/sign-in"), shows("Sign in"), edits(`
			const form = document.createElement("form");
			form.method = "post";
			form.action = "/sign-in/sso";
			form.innerHTML = '<input name="fresh" value="true"><input name="next" value="/me/passkeys/new">';
			document.body.append(form);
			form.submit();`), until("dex asks", `location.pathname.startsWith("/dex/") && !!document.querySelector("[name=password]")`))
	b.do("the way back", edits(`
			document.querySelector("[name=login]").value = "Dora@example.com";
			document.querySelector("[name=password]").value = "correct horse battery staple";
			document.querySelector("form").submit();`), until("the page that was asked for", `location.pathname === "/me/passkeys/new"`), shows("Make your passkey"))
	b.do("making it", fill(`input[name=name]`, "phone"), tap(`main form button`), shows("read out these words"))
	words := b.ask(`document.querySelector(".spoken").innerText`)
	page, _, err := w.alice.Read(t.Context(), "/humans/dora")
	w.must(err)
	if len(words) < 12 || !strings.Contains(page, words) {
		t.Errorf("the newcomer reads out %q, and the operator's page does not have it", words)
	}
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	request := w.ask("")
	b.do("approving with it", goTo(w.origin+"/requests/"+request.ID), tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-confirm]`), shows("Approved, not collected yet"))
}

// TestAStolenSessionLinksNoAccountOfOthers: the thief works in alice's session and signs on with accounts of its own.
func TestAStolenSessionLinksNoAccountOfOthers(t *testing.T) {
	w := newSignOnTeam(t)
	hers := w.browser()
	hers.Key = w.alice.Key
	w.must(hers.SignIn(t.Context()))
	_, err := w.arrive(hers, nil, w.dora("sub", "al1ce", "email", "alice@example.com"))
	w.must(err)
	was, _, err := w.broker.Login(t.Context(), "alice")
	w.must(err)
	steal := func() *softkey.Person { // in a session by passkey, begun a while ago
		honest := w.person()
		honest.Key = w.alice.Key
		w.must(honest.SignIn(t.Context()))
		cookie := w.cookieOf(honest)
		w.clock.Advance(20 * time.Minute)
		evil := w.browser()
		evil.Edit = func(r *http.Request) {
			if r.URL.Path != authn.PathSignOnCallback {
				r.Header.Set("Cookie", cookie)
			}
		}
		return evil
	}
	for name, claims := range map[string]map[string]any{
		"one that is not known":  w.dora("sub", "m4llory", "email", "mallory@example.com"),
		"one of a known human":   w.dora(),
		"one without a group":    w.dora("sub", "m4llory", "email", "mallory@example.com", "groups", nil),
		"one that is called her": w.dora("sub", "m4llory", "email", "alice@example.com"), // the address was given to somebody else, or is alike: a.lice, a_lice
	} {
		if name == "one of a known human" {
			_, err := w.arrive(w.browser(), nil, claims)
			w.must(err)
		}
		claims["auth_time"] = w.clock.Now().Unix()
		_, linked := w.arrive(steal(), url.Values{"next": {"/me"}}, claims)
		if linked == nil {
			t.Errorf("%s is linked by a stolen session", name)
		}
		now, found, err := w.broker.Login(t.Context(), "alice")
		w.must(err)
		if !found || now.Subject != was.Subject {
			t.Errorf("%s: alice is bound to the account %q", name, now.Subject)
		}
		if _, found, _ := w.broker.Login(t.Context(), "mallory"); found {
			t.Errorf("%s: mallory is bound", name)
		}
	}
}

// TestAStolenSessionLeavesATrace: what it can do to a human's account is in the log, whoever did it.
func TestAStolenSessionLeavesATrace(t *testing.T) {
	w := settled(t)
	robber := &thief{team: w, cookie: w.cookieOf(w.alice)}
	alices := w.keysOf("alice")[0]
	before := len(w.store.Log())
	status, body := robber.form("/me/passkeys/rename", url.Values{"id": {alices.ID}, "name": {"stolen, remove it"}}.Encode())
	w.want(t, http.StatusSeeOther, "renaming", status, body)
	if w.keysOf("alice")[0].Name == "" {
		t.Fatal("it has no name: the test proves nothing")
	}
	if after := len(w.store.Log()); after == before {
		t.Error("a passkey was renamed, and the log does not tell")
	}
	for name, id := range map[string]string{"bob's": w.keysOf("bob")[0].ID, "nobody's": "x"} {
		status, body := robber.form("/me/passkeys/rename", url.Values{"id": {id}, "name": {"mine"}}.Encode())
		w.want(t, http.StatusNotFound, name, status, body)
	}
}

// TestASessionDiesWithWhatItWasBegunWith: ended elsewhere, signed out, its passkey removed: the stolen cookie opens nothing,
// and a page that was prepared by it is not signed.
func TestASessionDiesWithWhatItWasBegunWith(t *testing.T) {
	for name, end := range map[string]func(w *team){
		"signed out": func(w *team) {
			_, err := w.alice.Submit(w.Context(), "/sign-out", nil)
			w.must(err)
		},
		"ended from another browser": func(w *team) {
			other := w.person()
			other.Key = w.alice.Key
			w.must(other.SignIn(w.Context()))
			_, err := other.Submit(w.Context(), "/me/sessions/end-others", nil)
			w.must(err)
		},
		"its passkey is gone": func(w *team) {
			passkey := w.keysOf("alice")[0]
			w.must(w.store.Update(w.Context(), func(tx broker.Tx) error { return tx.Delete(&passkey) }))
		},
		"idle": func(w *team) { w.clock.Advance(authn.SessionIdle) },
	} {
		w := settled(t)
		request := w.ask("")
		robber := &thief{team: w, cookie: w.cookieOf(w.alice)}
		prepared := w.prepare(w.alice, request.ID)
		end(w)
		for _, path := range []string{"/", "/requests/" + request.ID, "/me", "/live?from=0"} {
			status, body := robber.send(http.MethodGet, path, "", "")
			if w.want(t, http.StatusUnauthorized, name+": "+path, status, body); strings.Contains(body, "public.orders") {
				t.Errorf("%s: %s shows it", name, path)
			}
		}
		status, body := robber.json("/sign", signing(t, prepared.Nonce, request.ID, broker.Assertion{}))
		w.want(t, http.StatusUnauthorized, name+": signing", status, body)
		status, body = robber.form("/requests/"+request.ID+"/deny", "digest="+request.Digest())
		w.want(t, http.StatusUnauthorized, name+": denying", status, body)
		w.wantUndecided(t, request.ID)
	}
}

var oneTimeCode = regexp.MustCompile(`[0-9a-z]{5}(-[0-9a-z]{5}){3}`)
