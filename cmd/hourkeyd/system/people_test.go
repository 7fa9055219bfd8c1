package system

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestPeopleAreTold by the real broker, as hourkey.yaml says: what waits, where, and a link; not what the agent says.
// The page of signing in offers what `sso:` configures though nobody answers there.
func TestPeopleAreTold(t *testing.T) {
	t.Parallel()
	told := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("%v, headers %v", err, r.Header)
		}
		told <- string(body)
	}))
	t.Cleanup(receiver.Close)
	i := prepare(t, shared.database(t, "staging"), shared.database(t, "production"))
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	i.vault.keep("webhook secret", secret)
	i.environ = append(i.environ, "HOOK_SECRET="+secret, "OIDC_SECRET=not-a-secret")
	i.edit("hourkey.yaml", "\ngroups:", fmt.Sprintf(`
notify:
  siem: {webhook: %s/hook, secret: env:HOOK_SECRET, about: [requests, outcomes]}
sso: {issuer: http://127.0.0.1:1, client_id: hourkey, client_secret: env:OIDC_SECRET, domains: [example.com], groups: {theirs: reviewers}}
groups:`, receiver.URL))
	i.must("check")
	i.serve()
	i.people()

	answer, err := http.Get(i.origin + "/sign-in")
	must(t, err)
	page, err := io.ReadAll(answer.Body)
	must(t, err)
	_ = answer.Body.Close()
	if !strings.Contains(string(page), "single sign-on") {
		t.Error("the page of signing in offers no single sign-on")
	}
	request, err := i.agent.request(t.Context(), "staging", time.Minute, "orders-db:public.orders:delete")
	must(t, err)
	for _, words := range []string{"delete", "Denied by alice"} {
		select {
		case got := <-told:
			if !strings.Contains(got, words) || !strings.Contains(got, i.origin+"/requests/"+request.ID) {
				t.Errorf("told %s, want %q and the link", got, words)
			}
		case <-time.After(patience):
			t.Fatalf("nobody was told of %q\n%s", words, i.log())
		}
		if words == "delete" {
			must(t, i.alice.Deny(t.Context(), request.ID, "not now"))
		}
	}
}
