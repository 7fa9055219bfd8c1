package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// signedBody is what the page's script sends to /sign.
type signedBody struct {
	Nonce     string            `json:"nonce"`
	Subject   string            `json:"subject"`
	Assertion map[string]string `json:"assertion"`
}

func (s signedBody) bytes(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s.Assertion[name])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s signedBody) json(t *testing.T) string {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (e *ears) signed(t *testing.T) (s signedBody) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.last(t, "/sign")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// asserted asks the page's browser for an assertion, by the script of whoever owns the page.
func (b *tab) asserted(challenge []byte, credential *webauthn.Credential, verification string) (s signedBody) {
	b.Helper()
	got := b.run(fmt.Sprintf(`
		const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
		const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
		const c = await navigator.credentials.get({publicKey: {rpId: "localhost", challenge: bytes(%q), userVerification: %q, allowCredentials: [{type: "public-key", id: bytes(%q)}]}});
		return JSON.stringify({credential_id: text(c.rawId), client_data_json: text(c.response.clientDataJSON), authenticator_data: text(c.response.authenticatorData),
			signature: text(c.response.signature), user_handle: c.response.userHandle ? text(c.response.userHandle) : ""})`,
		base64.StdEncoding.EncodeToString(challenge), verification, base64.StdEncoding.EncodeToString(credential.CredentialID)))
	if err := json.Unmarshal([]byte(got), &s.Assertion); err != nil {
		b.Fatalf("the browser gave no assertion: %s", got)
	}
	return s
}

func (w *team) opens(request broker.Request) step {
	return chromedp.Steps(goTo(w.origin+"/requests/"+request.ID), shows("Exactly what would be issued"))
}

// TestInChromiumASignatureIsStolenOrMadeElsewhere: assertions that a real browser made with the reviewer's real key,
// each for something else than what it is sent for.
func TestInChromiumASignatureIsStolenOrMadeElsewhere(t *testing.T) {
	b, phone := hunt(t).window(t)
	w := prey(b)
	credential, heard := b.credential(phone), b.eavesdrop()
	robber := &thief{team: w, cookie: b.jar(w.origin)}

	t.Run("a replayed one, and one for another statement", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		first, second := w.waits("replayed-1"), w.waits("replayed-2")
		if first.ID == second.ID {
			t.Fatal("one request: the test proves nothing")
		}
		b.do("approving the first", w.opens(first), signs(), shows("Approved, not collected yet"))
		stolen, before := heard.signed(t), w.events(broker.EventReviewRefused)
		status, body := robber.json("/sign", stolen.json(t))
		w.want(t, http.StatusConflict, "the same again", status, body)
		stolen.Subject = second.ID
		status, body = robber.json("/sign", stolen.json(t))
		w.want(t, http.StatusConflict, "the same, with another subject beside it", status, body)
		stolen.Nonce = robber.prepares(broker.ActApprove, second.ID, second.Digest(), "").Nonce
		status, body = robber.json("/sign", stolen.json(t))
		w.want(t, http.StatusForbidden, "under the nonce of another statement", status, body)
		again := b.run(fmt.Sprintf(`const r = await fetch("/sign", {method: "POST", headers: {"Content-Type": "application/json"}, body: %q}); return r.status`, heard.last(t, "/sign")))
		if again != "409" {
			t.Errorf("replayed by the page itself: %s", again)
		}
		w.wantRefused(t, before, 4)
		w.wantUndecided(t, second.ID)
		if n := w.approvals(first.ID); n != 1 {
			t.Errorf("the first has %d approvals", n)
		}
	})

	t.Run("one for less, sent for more", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		request := w.waits("less-and-more")
		less := robber.prepares(broker.ActApprove, request.ID, request.Digest(), `,"narrow":{"items":[{"environment":"staging","target":"db","scopes":["db:public.orders:read"]}],"ttl_seconds":0}`)
		more := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
		b.do("the broker's page", w.opens(request))
		made := b.asserted(challengeOf(t, less), credential, "required")
		made.Nonce = more.Nonce
		status, body := robber.json("/sign", made.json(t))
		w.want(t, http.StatusForbidden, "a signature for a read", status, body)
		w.wantUndecided(t, request.ID)
	})

	t.Run("one of the sign-in", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		request := w.waits("signed-in")
		var asked struct{ Options struct{ Challenge string } }
		_, body := robber.json("/sign-in/prepare", `{}`)
		w.must(json.Unmarshal([]byte(body), &asked))
		challenge, err := base64.RawURLEncoding.DecodeString(asked.Options.Challenge)
		w.must(err)
		b.do("the broker's page", w.opens(request))
		made := b.asserted(challenge, credential, "required")
		made.Nonce = robber.prepares(broker.ActApprove, request.ID, request.Digest(), "").Nonce
		status, body := robber.json("/sign", made.json(t))
		w.want(t, http.StatusForbidden, "a sign-in", status, body)

		prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
		made = b.asserted(challengeOf(t, prepared), credential, "required")
		raw, err := json.Marshal(made.Assertion)
		w.must(err)
		status, body = robber.json("/sign-in", string(raw))
		w.want(t, http.StatusGone, "a statement's as a sign-in", status, body)
		w.wantUndecided(t, request.ID)
	})

	t.Run("one made on another origin of the same site", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		request := w.waits("another-port")
		evil := otherSite(t, "localhost", "<p>free coffee</p>") // passkeys of localhost work on every port
		prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
		b.do("the other port", goTo(evil), shows("free coffee"))
		made := b.asserted(challengeOf(t, prepared), credential, "required")
		if client := string(made.bytes(t, "client_data_json")); !strings.Contains(client, evil) {
			t.Fatalf("the browser signed for %s", client)
		}
		before := w.events(broker.EventReviewRefused)
		made.Nonce = prepared.Nonce
		status, body := robber.json("/sign", made.json(t))
		w.want(t, http.StatusForbidden, "from another port", status, body)
		client := strings.Replace(string(made.bytes(t, "client_data_json")), evil, w.origin, 1)
		made.Assertion["client_data_json"] = base64.RawURLEncoding.EncodeToString([]byte(client))
		made.Nonce = robber.prepares(broker.ActApprove, request.ID, request.Digest(), "").Nonce
		status, body = robber.json("/sign", made.json(t))
		w.want(t, http.StatusForbidden, "with the origin written over", status, body)
		w.wantRefused(t, before, 2)
		w.wantUndecided(t, request.ID)
	})

	t.Run("one in a page of another site", func(t *testing.T) {
		b := b.in(t)
		evil := otherSite(t, "127.0.0.1", "<p>free tea</p>")
		b.do("the other site", goTo(evil), shows("free tea"))
		got := b.run(`return (await navigator.credentials.get({publicKey: {rpId: "localhost", challenge: new Uint8Array(48), userVerification: "required"}})).id`)
		if !strings.Contains(got, "SecurityError") {
			t.Errorf("the browser answers another site: %s", got)
		}
	})

	t.Run("without its user", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		request := w.waits("nobody-there")
		verified := func(yes bool) {
			_, err := chromedp.Call(b.ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: phone, IsUserVerified: yes})
			w.must(err)
		}
		verified(false)
		defer verified(true)
		b.do("tapping", w.opens(request), tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-confirm]`), shows("The passkey was not used"))
		w.wantUndecided(t, request.ID)

		before := w.events(broker.EventReviewRefused)
		prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
		made := b.asserted(challengeOf(t, prepared), credential, "discouraged") // as whoever took the unlocked laptop asks
		made.Nonce = prepared.Nonce
		status, body := robber.json("/sign", made.json(t))
		if w.want(t, http.StatusForbidden, "without user verification", status, body); !strings.Contains(body, "PIN, finger or face") {
			t.Errorf("the refusal says: %s", body)
		}
		w.wantRefused(t, before, 1)
		w.wantUndecided(t, request.ID)
	})

	t.Run("by an authenticator that lies", func(t *testing.T) {
		b, w, robber := b.in(t), w.in(t), robber.in(t)
		request := w.waits("liar")
		yes, no := true, false
		bits := func(lie webauthn.SetResponseOverrideBitsParams) {
			lie.AuthenticatorID = phone
			_, err := chromedp.Call(b.ctx, webauthn.SetResponseOverrideBits, lie)
			w.must(err)
		}
		honest := webauthn.SetResponseOverrideBitsParams{IsBogusSignature: &no, IsBadUV: &no, IsBadUP: &no}
		defer bits(honest)
		for name, lie := range map[string]webauthn.SetResponseOverrideBitsParams{
			"an empty signature":        {IsBogusSignature: &yes, IsBadUV: &no, IsBadUP: &no},
			"without user verification": {IsBogusSignature: &no, IsBadUV: &yes, IsBadUP: &no},
			"without presence":          {IsBogusSignature: &no, IsBadUV: &no, IsBadUP: &yes},
		} {
			bits(lie)
			before := w.events(broker.EventReviewRefused)
			prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
			b.do(name, w.opens(request))
			made := b.asserted(challengeOf(t, prepared), credential, "required")
			made.Nonce = prepared.Nonce
			status, body := robber.json("/sign", made.json(t))
			w.want(t, http.StatusForbidden, name, status, body)
			w.wantRefused(t, before, 1)
			w.wantUndecided(t, request.ID)
		}
	})

	t.Run("by a second authenticator with another key", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("another-key")
		own := ownPKCS8(t)
		_, err := chromedp.Call(b.ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: phone})
		w.must(err)
		other := b.plug(webauthn.VirtualAuthenticatorOptions{HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true})
		b.do("tapping with a strange phone", w.opens(request), tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-confirm]`), shows("The passkey was not used"))
		w.wantUndecided(t, request.ID)

		err = plant(b, other, map[string]any{
			"credentialId": credential.CredentialID, "isResidentCredential": true, "rpId": "localhost", "userHandle": credential.UserHandle, "privateKey": own, "signCount": 1000,
		})
		w.must(err)
		before := w.events(broker.EventReviewRefused)
		b.do("tapping with a key that has her key's name", w.opens(request), signs(), shows("it does not sign what was shown here"))
		w.wantRefused(t, before, 1)
		w.wantUndecided(t, request.ID)
	})
}

// plant puts a credential into an authenticator. The library's own type sends fields that this Chromium refuses.
func plant(b *tab, into webauthn.AuthenticatorID, credential map[string]any) error {
	add := cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}
	_, err := chromedp.Call(b.ctx, add, map[string]any{"authenticatorId": into, "credential": credential})
	return err
}

// ownPKCS8 is a private key of the attacker's own.
func ownPKCS8(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// canonicalJSON is RFC 8785 for what a statement without odd characters holds, written once more: maps sort their
// keys in Go, too.
func canonicalJSON(t *testing.T, text string) []byte {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// TestInChromiumTheStatementThatIsShownIsTheOneThatIsSigned: sentence, statement, challenge, signature and what is
// granted, each computed by other code than the broker's. The attack: a page that says one thing and asks the
// passkey for another.
func TestInChromiumTheStatementThatIsShownIsTheOneThatIsSigned(t *testing.T) {
	b, phone := hunt(t).window(t)
	w := prey(b, (*team).production)
	heard := b.eavesdrop()
	request := w.waits("honest", func(a *broker.Ask) { a.Environments = []string{"production", "staging"} })
	b.do("the last look", w.opens(request), fill(`[data-typed]`, "production"), tap(`[data-environment=staging] [data-allow=delete]`),
		chromedp.SetValue(chromedp.CSS(`[data-ttl]`), "120"), tap(`form.sign > button`), visible(`[data-confirm]`))
	says, canonical := b.ask(`document.querySelector("[data-says]").textContent`), b.ask(`document.querySelector("[data-canonical]").textContent`)
	b.do("signing", tap(`[data-confirm]`), shows("Approved, not collected yet"))
	signed := heard.signed(t)

	nonce, err := base64.RawURLEncoding.DecodeString(signed.Nonce)
	w.must(err)
	if again := canonicalJSON(t, canonical); string(again) != canonical {
		t.Errorf("what is shown is not canonical:\n%s\n%s", canonical, again)
	}
	hash := sha256.New()
	_, _ = hash.Write(slices.Concat([]byte("hourkey/statement/1\x00"), nonce, []byte(canonical)))
	var client struct{ Type, Challenge, Origin string }
	w.must(json.Unmarshal(signed.bytes(t, "client_data_json"), &client))
	if want := base64.RawURLEncoding.EncodeToString(hash.Sum(slices.Clone(nonce))); client.Challenge != want || client.Origin != w.origin || client.Type != "webauthn.get" {
		t.Errorf("the browser signed %+v, what was shown is %s", client, want)
	}
	verify(t, b.credential(phone).PrivateKey, signed)

	var s struct {
		Act, Subject, Says, Reviewer, Origin string
		TTL                                  int `json:"ttl_seconds"`
		Typed                                []string
		Items                                []struct {
			Environment, Target string
			Scopes              []string
		}
	}
	w.must(json.Unmarshal([]byte(canonical), &s))
	if s.Says != says || s.Subject != request.ID || s.Reviewer != "alice" || s.Origin != w.origin || s.TTL != 120 || strings.Join(s.Typed, " ") != "production" {
		t.Errorf("shown: %s\nsigned: %+v", says, s)
	}
	got := w.request(request.ID)
	if len(s.Items) != 2 || len(got.Effective()) != 2 || got.EffectiveTTL().Seconds() != 120 {
		t.Fatalf("signed: %+v\ngranted: %+v for %s", s.Items, got.Effective(), got.EffectiveTTL())
	}
	for i, item := range got.Effective() {
		if granted := broker.Texts(item.Description.Scopes); s.Items[i].Environment != item.Environment || strings.Join(granted, " ") != strings.Join(s.Items[i].Scopes, " ") {
			t.Errorf("signed: %+v, granted: %v", s.Items[i], granted)
		}
		if item.Environment == "staging" && broker.AllActions(item.Description.Scopes) != broker.Read {
			t.Errorf("the delete in staging was taken out, and is granted: %v", item.Description.Scopes)
		}
	}
	for _, part := range []string{"delete public.orders of db in production", "read public.orders of db in staging", "2 minutes"} {
		if !strings.Contains(strings.ReplaceAll(says, "read and delete", "delete"), part) {
			t.Errorf("the sentence lacks %q: %s", part, says)
		}
	}
}

// verify checks the signature of an assertion with the public half of a key (WebAuthn level 3, section 7.2).
func verify(t *testing.T, pkcs8 []byte, s signedBody) {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	client := sha256.Sum256(s.bytes(t, "client_data_json"))
	message, good := append(s.bytes(t, "authenticator_data"), client[:]...), false
	digest := sha256.Sum256(message)
	switch key := parsed.(type) {
	case ed25519.PrivateKey:
		good = ed25519.Verify(key.Public().(ed25519.PublicKey), message, s.bytes(t, "signature")) //nolint:forcetypeassert // as crypto/ed25519 documents
	case *ecdsa.PrivateKey:
		good = ecdsa.VerifyASN1(&key.PublicKey, digest[:], s.bytes(t, "signature"))
	}
	if !good {
		t.Errorf("the signature is of another key (a %T), or over something else", parsed)
	}
}

// TestASignatureForOneItemIsSentForTwo: two statements are prepared, and the answer to one is sent for the
// other, both ways.
func TestASignatureForOneItemIsSentForTwo(t *testing.T) {
	w := settled(t)
	w.production()
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/production/db", "production/db")
	request := w.askIn("production", "staging")
	whole := approval(request, intent{"typed": []string{"production"}})
	alone := approval(request, intent{"narrow": intent{"items": []intent{{"environment": "production", "target": "db", "scopes": []string{}}}}})
	for name, swap := range map[string]func(one, two *softkey.Prepared){
		"the answer for one, under the nonce of two": func(one, two *softkey.Prepared) { two.Challenge = one.Challenge; *one = *two },
		"the answer for two, under the nonce of one": func(one, two *softkey.Prepared) { one.Challenge = two.Challenge },
	} {
		answer, one, err := w.prepares(w.alice, alone)
		w.must(err)
		if strings.Contains(answer.Says, "production") {
			t.Fatalf("%s: %s", name, answer.Says)
		}
		_, two, err := w.prepares(w.alice, whole)
		w.must(err)
		swap(&one, &two)
		w.refusedWith(http.StatusForbidden, w.alice.Sign(t.Context(), one))
		w.wantUndecided(t, request.ID)
	}
}
