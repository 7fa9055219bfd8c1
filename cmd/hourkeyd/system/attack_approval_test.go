package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// robber is a program that has what lies in the browser's profile, and sends what a browser sends.
type robber struct {
	*installation
	cookie string
}

// rob takes the cookie of a person's browser.
func (i *installation) rob(p *softkey.Person) *robber {
	i.Helper()
	var sent *http.Request
	p.Edit = func(r *http.Request) { sent = r }
	_, _, err := p.Read(i.Context(), "/")
	p.Edit = nil
	must(i, err)
	return &robber{i, sent.Header.Get("Cookie")}
}

func (r *robber) post(path, contentType, body string) (int, string) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.origin+path, strings.NewReader(body))
	must(r, err)
	for name, value := range map[string]string{"Cookie": r.cookie, "Content-Type": contentType, "Origin": r.origin, "Sec-Fetch-Site": "same-origin"} {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	must(r, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(r, err)
	return answer.StatusCode, string(text)
}

// prepares gives the nonce of a statement of which it knows the digest.
func (r *robber) prepares(request api.Request) (nonce string) {
	r.Helper()
	status, body := r.post("/sign/prepare", "application/json", fmt.Sprintf(`{"act":"approve-request","subject":%q,"digest":%q}`, request.ID, request.Digest))
	var prepared struct{ Nonce string }
	if status != http.StatusOK || json.Unmarshal([]byte(body), &prepared) != nil || prepared.Nonce == "" {
		r.Fatalf("the cookie prepares nothing, and the test proves nothing: %d %s", status, body)
	}
	return prepared.Nonce
}

func (i *installation) pending(id string) {
	i.Helper()
	var request api.Request
	must(i, i.agent.call(i.Context(), http.MethodGet, strings.Replace(api.PathRequest, "{id}", id, 1), nil, nil, &request))
	if request.State != string(broker.RequestPending) {
		i.Errorf("the request is %s", request.State)
	}
}

// TestApprovalWithTheBrowsersCookieAndNoPasskey: against hourkeyd as it is built, over a restart in the middle. What was
// refused is in the exported log.
func TestApprovalWithTheBrowsersCookieAndNoPasskey(t *testing.T) {
	t.Parallel()
	i := install(t)
	thief := i.rob(i.alice)
	request, err := i.agent.request(t.Context(), "staging", time.Minute, "orders-db:public.orders:delete")
	must(t, err)
	forged := func(nonce string) string {
		return fmt.Sprintf(`{"nonce":%q,"subject":%q,"assertion":{"credential_id":"AAAA","client_data_json":"e30","authenticator_data":"AAAA","signature":"AAAA","user_handle":""}}`, nonce, request.ID)
	}
	refused := func(what string, want int, body string) {
		t.Helper()
		if status, text := thief.post("/sign", "application/json", body); status != want {
			t.Errorf("%s: %d %s", what, status, text)
		}
		i.pending(request.ID)
	}
	nonce := thief.prepares(request)
	refused("a forged assertion", http.StatusForbidden, forged(nonce))
	refused("the same again", http.StatusConflict, forged(nonce))

	early := thief.prepares(request)
	_, digest, err := i.alice.Read(t.Context(), "/requests/"+request.ID)
	must(t, err)
	prepared, err := i.alice.Prepare(t.Context(), broker.ActApprove, request.ID, digest)
	must(t, err)
	i.stop()
	i.serve()
	refused("one that was prepared before a restart", http.StatusForbidden, forged(early))
	refused("and again", http.StatusConflict, forged(early))
	for path, want := range map[string]int{"/requests/" + request.ID + "/approve": 404, "/v1/requests/" + request.ID + "/approve": 404, "/requests/" + request.ID: 405} {
		if status, text := thief.post(path, "application/x-www-form-urlencoded", url.Values{"digest": {digest}}.Encode()); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}

	must(t, i.alice.Sign(t.Context(), prepared)) // her own, from before the restart, and her session, still hold
	if err := i.alice.Sign(t.Context(), prepared); err == nil {
		t.Error("it can be signed twice")
	}
	i.must("audit", "export", i.path("log.jsonl"))
	log, err := os.ReadFile(i.path("log.jsonl"))
	must(t, err)
	if n := bytes.Count(log, []byte(`"type":"hourkey.review.refused"`)); n != 5 {
		t.Errorf("the log tells of %d refusals, want 5", n)
	}
	if n := bytes.Count(log, []byte(`"type":"hourkey.request.approved"`)); n != 1 {
		t.Errorf("the log tells of %d approvals", n)
	}
}

// TestApprovalByTheAdminSocket: whoever has the broker's own files asks the socket for what only a passkey gives.
func TestApprovalByTheAdminSocket(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", time.Minute, "orders-db:public.orders:delete")
	must(t, err)
	must(t, i.freeze(broker.FreezeTask, "other"))
	var done json.RawMessage
	for _, try := range [][2]string{
		{http.MethodPost, "/requests/" + request.ID + "/approve"}, {http.MethodPost, "/requests/" + request.ID}, {http.MethodPost, "/sign"}, {http.MethodPost, "/sign/prepare"},
		{http.MethodPost, "/approvals"}, {http.MethodDelete, "/freezes/task:other"}, {http.MethodPost, "/freezes/task:other/lift"}, {http.MethodPost, "/humans/alice/passkeys"},
		{http.MethodPost, "/agents/claude-code/activate"}, {http.MethodPost, "/requests/" + request.ID + "/credentials"}, {http.MethodPost, "/v1/requests/" + request.ID + "/credentials"},
	} {
		if err := i.ask(try[0], try[1], map[string]string{"digest": request.Digest}, &done); err == nil {
			t.Errorf("%s %s: %s", try[0], try[1], done)
		}
	}
	i.pending(request.ID)
	if frozen := len(i.status().Freezes); frozen != 1 {
		t.Errorf("%d freezes are in force", frozen)
	}
	var invited admin.Invited // a second human does not come in by the shell alone
	must(t, i.ask(http.MethodPost, "/humans", admin.HumanToInvite{Name: "mallory"}, &invited))
	i.vault.keep("invite code", invited.Code)
	mallory, err := softkey.NewPerson(i.origin, nil)
	must(t, err)
	if err := mallory.Enrol(t.Context(), "mallory", invited.Code); err == nil {
		t.Error("the broker's shell makes a human whom no operator signed")
	}
}

// TestApprovalAskedForInOtherWords: the agent's own API, with the real policy: one question while it waits, one no when it
// was denied.
func TestApprovalAskedForInOtherWords(t *testing.T) {
	t.Parallel()
	i := install(t)
	ask := func(ttl int64, reason string, scopes ...string) (r api.Request, err error) {
		err = i.agent.call(t.Context(), http.MethodPost, api.PathRequests, nil, api.RequestCreate{Task: task, Environments: []string{"staging"}, Scopes: scopes, TTLSeconds: ttl, Reason: reason}, &r)
		return r, err
	}
	const read, remove = "orders-db:public.orders:read", "orders-db:public.orders:delete"
	first, err := ask(0, "please", read, remove)
	must(t, err)
	same := map[string]func() (api.Request, error){
		"other words":            func() (api.Request, error) { return ask(0, "at once", read, remove) },
		"another order":          func() (api.Request, error) { return ask(0, "please", remove, read, remove) },
		"in one":                 func() (api.Request, error) { return ask(0, "please", "orders-db:public.orders:delete,read") },
		"the task's own life":    func() (api.Request, error) { return ask(30*60, "please", read, remove) },
		"covered by what it has": func() (api.Request, error) { return ask(0, "please", read, "orders-db:public.orders:read,delete") },
	}
	for name, again := range same {
		if got, err := again(); err != nil || got.ID != first.ID {
			t.Errorf("%s: it waits as %s, not as %s (%v)", name, got.ID, first.ID, err)
		}
	}
	must(t, i.alice.Deny(t.Context(), first.ID, "no"))
	for name, again := range same {
		got, err := again()
		if err == nil {
			t.Errorf("%s: after a no it is asked again, as %s", name, got.ID)
		}
	}
}

// TestApprovalPageUnderANameThatWasBoundAnew: raw requests with another Host, and lines that name another host in another place.
func TestApprovalPageUnderANameThatWasBoundAnew(t *testing.T) {
	t.Parallel()
	i := install(t)
	thief := i.rob(i.alice)
	request, err := i.agent.request(t.Context(), "staging", time.Minute, "orders-db:public.orders:delete")
	must(t, err)
	at, err := url.Parse(i.origin)
	must(t, err)
	for name, lines := range map[string]string{
		"another host":              "GET /requests/ID HTTP/1.1\r\nHost: evil.example:" + at.Port(),
		"another name of this one":  "GET /requests/ID HTTP/1.1\r\nHost: 127.0.0.1:" + at.Port(),
		"with a point behind":       "GET /requests/ID HTTP/1.1\r\nHost: localhost.:" + at.Port(),
		"without its port":          "GET /requests/ID HTTP/1.1\r\nHost: localhost",
		"two of them":               "GET /requests/ID HTTP/1.1\r\nHost: " + at.Host + "\r\nHost: evil.example",
		"a line that names another": "GET http://evil.example/requests/ID HTTP/1.1\r\nHost: " + at.Host,
		"none":                      "GET /requests/ID HTTP/1.0",
		"said by a proxy":           "GET /requests/ID HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: " + at.Host + "\r\nForwarded: host=" + at.Host,
		"a denial":                  "POST /requests/ID/deny HTTP/1.1\r\nHost: evil.example\r\nOrigin: " + i.origin + "\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0",
	} {
		connection, err := net.Dial("tcp", "127.0.0.1:"+at.Port())
		must(t, err)
		must(t, connection.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(connection, strings.ReplaceAll(lines, "ID", request.ID)+"\r\nCookie: "+thief.cookie+"\r\nConnection: close\r\n\r\n")
		must(t, err)
		answer, err := io.ReadAll(connection)
		must(t, err)
		_ = connection.Close()
		status, _, _ := strings.Cut(string(answer), "\r\n")
		if !strings.Contains(status, " 421 ") && !strings.Contains(status, " 400 ") || bytes.Contains(answer, []byte("public.orders")) {
			t.Errorf("%s: %.300s", name, answer)
		}
	}
	i.pending(request.ID)
}
