package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

func (x *site) metrics() string {
	x.Helper()
	return x.do("GET", api.PathMetrics, "", from("127.0.0.1")).want(http.StatusOK).Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("metrics have no line %q", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestMetricsFollowTheLog counts what happened since the start, once each however often one asks.
func TestMetricsFollowTheLog(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	first := x.submit(token, wish)
	x.submit(token, `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	x.do("POST", api.PathRequests, `{"task":"fix","environments":["staging"],"scopes":["db:secrets:admin"]}`, bearer(token)).wantProblem(broker.CodeDenied)
	var list api.CredentialList
	x.do("POST", "/v1/requests/"+first.ID+"/credentials", "", bearer(token)).want(http.StatusOK).decode(&list)
	wantLines(t, x.metrics(), `hourkey_requests_total{decision="allow"} 1`, `hourkey_leases_issued_total{environment="staging"} 1`, `hourkey_leases{state="live"} 1`, `hourkey_leases_stuck 0`)
	x.do("DELETE", "/v1/leases/"+list.Credentials[0].Lease, "", bearer(token)).want(http.StatusNoContent)
	x.metrics()
	text := x.metrics()
	wantLines(t, text,
		`hourkey_requests_total{decision="allow"} 1`, `hourkey_requests_total{decision="escalate"} 1`, `hourkey_requests_total{decision="deny"} 1`,
		`hourkey_leases_ended_total{cause="released"} 1`, `hourkey_lease_end_seconds_count 1`, `hourkey_leases{state="live"} 0`, `hourkey_requests_pending 1`, `hourkey_store_writable 1`)
	if strings.Contains(text, secretPart) || strings.Contains(text, token) {
		t.Error("metrics hold a secret")
	}
	x.serve()
	if text := x.metrics(); strings.Contains(text, `decision="allow"`) {
		t.Error("after a restart, old events were counted again")
	}
}

// TestTimeToDecideIsCounted by agent, rule and verdict.
func TestTimeToDecideIsCounted(t *testing.T) {
	x := newSite(t)
	request := x.submit(x.agent.token(), `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	x.Clock.Advance(20 * time.Second)
	if err := x.Reject(t.Context(), "bob", request.ID, request.Digest, ""); err != nil {
		t.Fatal(err)
	}
	x.submit(x.agent.token(), wish) // nobody had to decide
	wantLines(t, x.metrics(), `hourkey_decision_seconds_bucket{agent="claude",rule="fix",verdict="denied",le="15"} 0`,
		`hourkey_decision_seconds_bucket{agent="claude",rule="fix",verdict="denied",le="30"} 1`, `hourkey_decision_seconds_count{agent="claude",rule="fix",verdict="denied"} 1`)
}

// TestMetricsForStrangers: numbers tell when a broker is watched least.
func TestMetricsForStrangers(t *testing.T) {
	x := newSite(t)
	x.do("GET", api.PathMetrics, "").wantProblem(broker.CodeForbidden)
	x.do("GET", api.PathMetrics, "", bearer(x.agent.token())).wantProblem(broker.CodeForbidden)
	x.do("GET", api.PathMetrics, "", from("127.0.0.1"), header("X-Forwarded-For", "203.0.113.5")).wantProblem(broker.CodeForbidden)
	x.do("GET", api.PathMetrics, "", from("127.0.0.1"), header("Forwarded", "for=203.0.113.5")).wantProblem(broker.CodeForbidden)
}

// TestStoreCommitsAreTimed by the wrapper that the wiring puts around the store.
func TestStoreCommitsAreTimed(t *testing.T) {
	registry := prometheus.NewRegistry()
	x := newSite(t, func(c *Config) {
		measured, err := MeasureStore(c.Store, registry, c.Now)
		if err != nil {
			t.Fatal(err)
		}
		c.Store = measured
	})
	x.config.Metrics = registry
	var err error
	if x.server, err = New(x.config); err != nil {
		t.Fatal(err)
	}
	form := tokenForm(x.agent.assertion())
	x.postForm(form).want(http.StatusOK)
	x.postForm(form).want(http.StatusUnauthorized)
	wantLines(t, x.metrics(), `hourkey_store_commit_seconds_count{result="ok"} 1`, `hourkey_store_commit_seconds_count{result="failed"} 1`)
}

// TestAuditPages gives the whole log in pages, in order, to auditors alone.
func TestAuditPages(t *testing.T) {
	x := newSite(t)
	for range 5 {
		x.submit(x.agent.token(), wish)
	}
	asDora := x.signIn("dora")
	var got []api.AuditEvent
	for next := "0"; ; {
		var page api.AuditPage
		x.do("GET", api.PathAudit+"?limit=4&from="+next, "", asDora).want(http.StatusOK).decode(&page)
		if len(page.Events) == 0 {
			break
		}
		got = append(got, page.Events...)
		raw, _ := json.Marshal(page.Next)
		next = string(raw)
	}
	if len(got) != len(x.Store.Log()) {
		t.Fatalf("got %d events of %d", len(got), len(x.Store.Log()))
	}
	for i, event := range got {
		if event.Number != uint64(i) || event.Type != string(x.Store.Log()[i].Type) {
			t.Errorf("event %d is %+v", i, event)
		}
	}
	x.do("GET", api.PathAudit+"?from=-1", "", asDora).wantProblem(broker.CodeInvalid)
}

// TestTokenIssuerOfAnEnvironment: keys are an environment's own, and public.
func TestTokenIssuerOfAnEnvironment(t *testing.T) {
	x := newSite(t)
	x.do("GET", "/t/staging/jwks.json", "").wantProblem(broker.CodeNotFound)
	x = newSite(t, func(c *Config) { c.TargetKeys = targetKeys })
	var metadata map[string]any
	x.do("GET", "/t/staging/.well-known/openid-configuration", "").want(http.StatusOK).decode(&metadata)
	if metadata["issuer"] != "https://hourkey.test/t/staging" || metadata["jwks_uri"] != "https://hourkey.test/t/staging/jwks.json" {
		t.Errorf("got %v", metadata)
	}
	keys := x.do("GET", "/t/staging/jwks.json", "").want(http.StatusOK)
	if keys.Body.String() != `{"keys":[]}` || keys.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("got %s %v", keys.Body, keys.Header())
	}
	x.do("GET", "/t/production/jwks.json", "").wantProblem(broker.CodeNotFound)
	x.do("GET", "/t/..%2fstaging/jwks.json", "").wantProblem(broker.CodeNotFound)
}
