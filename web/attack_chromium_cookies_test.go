package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// signing is the body of /sign.
func signing(t *testing.T, nonce, subject string, a broker.Assertion) string {
	t.Helper()
	raw := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(map[string]any{"nonce": nonce, "subject": subject, "assertion": map[string]string{
		"credential_id": a.CredentialID, "client_data_json": raw(a.ClientDataJSON), "authenticator_data": raw(a.AuthenticatorData),
		"signature": raw(a.Signature), "user_handle": raw(a.UserHandle),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// prepares asks with the stolen cookie for the statement, as the page's script does.
func (f *thief) prepares(act broker.Act, subject, digest, more string) preparedAnswer {
	f.Helper()
	status, body := f.json("/sign/prepare", fmt.Sprintf(`{"act":%q,"subject":%q,"digest":%q%s}`, act, subject, digest, more))
	var answer preparedAnswer
	if status != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil {
		f.Fatalf("preparing: %d %s", status, body)
	}
	return answer
}

func challengeOf(t *testing.T, p preparedAnswer) []byte {
	t.Helper()
	challenge, err := base64.RawURLEncoding.DecodeString(p.Options.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	return challenge
}

// TestInChromiumAnAgentWithTheBrowsersCookies: what lies in the profile folder of the reviewer's browser opens
// pages, denies and freezes; no forgery of it approves.
func TestInChromiumAnAgentWithTheBrowsersCookies(t *testing.T) {
	b, phone := hunt(t).window(t)
	w := prey(b)
	credential := b.credential(phone)
	robber := &thief{team: w, cookie: b.jar(w.origin)}

	t.Run("reads them by no script", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		b.do("the inbox", goTo(w.origin+"/"), shows("Nothing waits"))
		if read := b.ask(`document.cookie`); read != "" {
			t.Errorf("a script reads %s", read)
		}
		if kept := b.run(`return localStorage.length + sessionStorage.length + (await indexedDB.databases()).length + (await caches.keys()).length`); kept != "0" {
			t.Errorf("the pages keep %s things in the browser", kept)
		}
	})

	t.Run("posts an approval without a passkey from outside the browser", func(t *testing.T) {
		w, robber := w.in(t), robber.in(t)
		request := w.waits("outside")
		page, body := robber.send(http.MethodGet, "/requests/"+request.ID, "", "")
		if w.want(t, http.StatusOK, "reading with the cookie", page, body); !strings.Contains(body, request.Digest()) {
			t.Fatal("the cookie opens nothing: the test would prove nothing")
		}
		own := ownKey(t, credential)
		assert := func(p preparedAnswer, lie func(*softkey.Ceremony)) broker.Assertion {
			c := softkey.Ceremony{Origin: w.origin, Challenge: challengeOf(t, p)}
			if lie != nil {
				lie(&c)
			}
			a, err := own.Assert(c)
			w.must(err)
			return a
		}
		id := base64.RawURLEncoding.EncodeToString(credential.CredentialID)
		before, tries := w.events(broker.EventReviewRefused), 0
		for name, forge := range map[string]func(preparedAnswer) broker.Assertion{
			"nothing at all":      func(preparedAnswer) broker.Assertion { return broker.Assertion{} },
			"the name of the key": func(preparedAnswer) broker.Assertion { return broker.Assertion{CredentialID: id} },
			"a key of its own":    func(p preparedAnswer) broker.Assertion { return assert(p, nil) },
			"a key of its own under her key's name": func(p preparedAnswer) broker.Assertion {
				a := assert(p, nil)
				a.CredentialID = id
				return a
			},
			"without a signature": func(p preparedAnswer) broker.Assertion {
				a := assert(p, nil)
				a.CredentialID, a.Signature = id, nil
				return a
			},
			"a registration": func(p preparedAnswer) broker.Assertion {
				a := assert(p, func(c *softkey.Ceremony) { c.Type = "webauthn.create" })
				a.CredentialID = id
				return a
			},
		} {
			tries++
			prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
			status, body := robber.json("/sign", signing(t, prepared.Nonce, request.ID, forge(prepared)))
			w.want(t, http.StatusForbidden, name, status, body)
			status, body = robber.json("/sign", signing(t, prepared.Nonce, request.ID, forge(prepared)))
			w.want(t, http.StatusConflict, name+", again", status, body) // a refusal uses the nonce up
			tries++
		}
		w.wantRefused(t, before, tries)
		w.wantUndecided(t, request.ID)
	})

	t.Run("finds no other door", func(t *testing.T) {
		w, robber := w.in(t), robber.in(t)
		request := w.waits("doors")
		digest := url.Values{"digest": {request.Digest()}}.Encode()
		for path, want := range map[string]int{
			"/requests/" + request.ID + "/approve": 404, "/requests/" + request.ID: 405, "/v1/requests/" + request.ID + "/approve": 404,
			"/v1/approvals": 405, "/v1/requests/" + request.ID: 405, "/v1/requests/" + request.ID + "/credentials": 403,
		} {
			status, body := robber.form(path, digest)
			w.want(t, want, "POST "+path, status, body)
		}
		prepared := robber.prepares(broker.ActApprove, request.ID, request.Digest(), "")
		status, body := robber.form("/sign", "nonce="+prepared.Nonce)
		w.want(t, http.StatusUnsupportedMediaType, "a form to /sign", status, body)
		for name, sent := range map[string]string{
			"a list of nonces":       `{"nonce":["` + prepared.Nonce + `"],"assertion":{}}`,
			"a verdict":              `{"nonce":"` + prepared.Nonce + `","assertion":{},"verdict":"approve"}`,
			"the assertion as text":  `{"nonce":"` + prepared.Nonce + `","assertion":"alice"}`,
			"two nonces":             `{"nonce":"x","nonce":"` + prepared.Nonce + `","assertion":{}}`,
			"something behind it":    `{"nonce":"` + prepared.Nonce + `","assertion":{}} {}`,
			"another human's caller": `{"nonce":"` + prepared.Nonce + `","human":"bob","assertion":{}}`,
		} {
			status, body := robber.json("/sign", sent)
			w.want(t, http.StatusBadRequest, name, status, body)
		}
		w.wantUndecided(t, request.ID)
	})

	t.Run("is refused the log, and what is for operators' passkeys", func(t *testing.T) {
		w, robber := w.in(t), robber.in(t)
		for _, path := range []string{"/audit", "/audit?kind=", "/v1/audit"} {
			status, body := robber.send(http.MethodGet, path, "", "")
			w.want(t, http.StatusForbidden, path, status, body)
		}
		status, body := robber.form("/audit/export", "")
		w.want(t, http.StatusForbidden, "the export", status, body)
		_, err := w.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeTask, Name: "drill", Reason: "drill"})
		w.must(err)
		status, body = robber.json("/sign/prepare", `{"act":"lift-freeze","subject":"task:drill","digest":"`+attributeOf(robber, "/freezes/task:drill")+`"}`)
		w.want(t, http.StatusOK, "preparing to lift", status, body)
		var prepared preparedAnswer
		w.must(json.Unmarshal([]byte(body), &prepared))
		status, body = robber.json("/sign", signing(t, prepared.Nonce, "task:drill", broker.Assertion{}))
		w.want(t, http.StatusForbidden, "lifting without a passkey", status, body)
		if w.events(broker.EventLifted) != 0 {
			t.Error("a freeze was lifted without a passkey")
		}
		if w.broker.Configuration().HasRole("alice", broker.RoleAuditor) {
			t.Error("alice reads the log: the test proves nothing")
		}
	})

	t.Run("fetches from the page's own origin without an assertion", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("inside")
		b.do("the request", goTo(w.origin+"/requests/"+request.ID), shows("Exactly what would be issued"))
		before := w.events(broker.EventReviewRefused)
		got := b.run(fmt.Sprintf(`
			const post = async (path, body) => { const r = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
				return [r.status, await r.json()] };
			const prepare = async () => (await post("/sign/prepare", {act: "approve-request", subject: %q, digest: %q}))[1];
			const id = (await prepare()).options.allowCredentials[0].id;
			const tries = [{}, {credential_id: id}, {credential_id: id, client_data_json: "e30", authenticator_data: "AAAA", signature: "AAAA", user_handle: ""}];
			const statuses = [];
			for (const assertion of tries) statuses.push((await post("/sign", {nonce: (await prepare()).nonce, assertion}))[0]);
			statuses.push((await post("/sign", {nonce: "AAAAAAAAAAAAAAAAAAAAAA", assertion: {}}))[0]);
			statuses.push((await fetch("/sign?nonce=x")).status);
			return statuses.join(" ")`, request.ID, request.Digest()))
		if got != "403 403 403 409 405" {
			t.Errorf("the page got %s", got)
		}
		w.wantRefused(t, before, 4)
		w.wantUndecided(t, request.ID)
	})
}

// attributeOf gives the digest that a page offers to sign.
func attributeOf(f *thief, path string) string {
	f.Helper()
	status, body := f.send(http.MethodGet, path, "", "")
	if status != http.StatusOK {
		f.Fatalf("%s: %d %s", path, status, body)
	}
	_, rest, _ := strings.Cut(body, `data-digest="`)
	digest, _, _ := strings.Cut(rest, `"`)
	return digest
}
