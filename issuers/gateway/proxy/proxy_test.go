package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func TestACallInBothModes(t *testing.T) {
	r := newRig(t)
	client := r.client()
	for _, base := range []string{"http://base.local", "https://" + mainHost} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/things/7?x=1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer placeholder")
		request.Header.Set("Cookie", "a=b")
		request.Header.Set("X-Forwarded-For", "1.2.3.4")
		request.Header.Set("Accept", "application/vnd.small+json")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || string(raw) != `{"path":"/things/7?x=1","body":""}` {
			t.Errorf("%s: %d %s", base, response.StatusCode, raw)
		}
	}
	for _, got := range r.backend.seen() {
		want := http.Header{"Authorization": {"Bearer " + realToken}, "Accept": {"application/vnd.small+json"}, "Accept-Encoding": {"identity"}, "User-Agent": {"Go-http-client/1.1"}}
		if diff := cmp.Diff(want, got.Header); diff != "" {
			t.Errorf("headers at the provider (-want +got):\n%s", diff)
		}
	}
}

func TestTheBrokerIsToldEverything(t *testing.T) {
	r := newRig(t)
	client := r.client()
	r.do(client, "PUT", "/things/7", `{"size": 3}`)
	r.do(client, "DELETE", "/things/7", "")
	r.do(client, "GET", "/things", "")
	r.do(client, "GET", "/things/public", "")
	place := []broker.Place{{Identity: "small:staging", Shown: "staging"}}
	want := []broker.Call{
		{Operation: `PUT /things/7 {"size":3}`, Touches: []broker.Touched{{Names: []broker.Resource{"thing/7"}, Actions: broker.Write, Places: place, Says: "a thing"}}},
		{Operation: "DELETE /things/7", Touches: []broker.Touched{{Names: []broker.Resource{"thing/7"}, Actions: broker.Delete, Places: place, Says: "a thing"}}},
		{Operation: "GET /things"},
		{Operation: "GET /things/public"},
	}
	if diff := cmp.Diff(want, r.broker.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"thing/7 false", "thing/7 true", "thing/public false"}, r.provider.asked); diff != "" {
		t.Errorf("look-ups (-want +got):\n%s", diff)
	}
	_, outcomes, _ := r.broker.seen()
	if diff := cmp.Diff([]string{"PUT 200", "DELETE 200", "GET 200", "GET 200"}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`{"size":3}`, "", "", ""}, r.backend.bodies); diff != "" {
		t.Errorf("bodies at the provider (-want +got):\n%s", diff)
	}
}

// What is refused never reaches the provider, is recorded, and says why in one line.
func TestRefusedCalls(t *testing.T) {
	r := newRig(t)
	r.broker.decide = func(call broker.Call) (broker.Pass, error) {
		switch {
		case strings.HasPrefix(call.Operation, "DELETE /things/pending"):
			e := broker.Errorf(broker.CodePending, "this deletes thing/pending, a thing; a human was asked at https://hourkey.test/approvals/q1 (request q1)").WithNext("do it\nagain when it is approved")
			e.Request, e.URL = "q1", "https://hourkey.test/approvals/q1"
			return broker.Pass{}, e
		case strings.HasPrefix(call.Operation, "PUT"):
			return broker.Pass{}, broker.Errorf(broker.CodeSlowDown, "too fast")
		case strings.HasPrefix(call.Operation, "DELETE"):
			return broker.Pass{}, io.ErrUnexpectedEOF // no error of ours: nothing of it is told
		}
		return broker.Pass{}, broker.Errorf(broker.CodeFrozen, "a freeze is in force")
	}
	client := r.client()
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
		recorded           bool // by us: the broker records what it refuses itself
	}{
		{"GET", "/unknown", "", 403, "no row", true},
		{"GET", "/never", "", 403, "never let through", true},
		{"GET", "/things/gone", "", 403, "there is no such thing", true},
		{"GET", "/things/short", "", 500, "the resolver", true},
		{"GET", "/things/leaky", "", 503, "with REDACTED failed", true},
		{"POST", "/nothing", "", 403, "nothing that a scope could cover", true},
		{"DELETE", "/things/public", "", 403, "lives in no environment", true},
		{"PUT", "/things/7", `{"a":1,"a":2}`, 403, "read in one way only", true},
		{"PUT", "/things/7", `{"a":1}`, 429, "too fast", false},
		{"GET", "/things/7", "", 403, "freeze", false},
		{"DELETE", "/things/7", "", 500, "the broker failed", false},
		{"DELETE", "/things/pending", "", 403, "a human was asked at https://hourkey.test/approvals/q1 (request q1); do it again when", false},
	} {
		_, _, before := r.broker.seen()
		status, text := r.do(client, c.method, c.path, c.body)
		_, _, after := r.broker.seen()
		if status != c.status || !strings.Contains(text, c.says) && c.says != "the resolver" {
			t.Errorf("%s %s: %d %s, want %d %q", c.method, c.path, status, text, c.status, c.says)
		}
		if (len(after) > len(before)) != c.recorded {
			t.Errorf("%s %s: recorded %v, want %v", c.method, c.path, !c.recorded, c.recorded)
		}
	}
	if got := len(r.backend.seen()); got != 0 {
		t.Errorf("the provider saw %d calls", got)
	}
	if strings.Contains(r.log.String(), realToken) {
		t.Error("the real token is in the log")
	}
}

func TestSecretsAreMaskedUnlessTheLeaseHasAdmin(t *testing.T) {
	r := newRig(t)
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		say(w, `{"values":{"PASSWORD":"hunter2"},"name":"x"}`)
	})
	client := r.client()
	if status, text := r.do(client, "GET", "/things/7/values", ""); status != 200 || strings.Contains(text, "hunter2") || !strings.Contains(text, "PASSWORD") {
		t.Errorf("masked: %d %s", status, text)
	}
	r.broker.decide = func(broker.Call) (broker.Pass, error) { return broker.Pass{Secrets: true}, nil }
	if status, text := r.do(client, "GET", "/things/7/values", ""); status != 200 || !strings.Contains(text, "hunter2") {
		t.Errorf("with admin: %d %s", status, text)
	}
}

// A document does several things: each is held to its own class, however mild the others are.
func TestEachOperationHasItsOwnClass(t *testing.T) {
	place := []broker.Place{{Identity: "small:staging", Shown: "staging"}}
	found := []gateway.Found{
		{Names: []broker.Resource{"thing/1"}, Places: place}, {}, {Names: []broker.Resource{"thing/2"}, Places: place, Facts: []broker.Fact{{About: "thing/2", Text: "5 GB"}}},
	}
	c := &call{verdict: judge.Verdict{Class: judge.Delete, Operations: []judge.Operation{
		{Name: "look", Class: judge.Read, Touches: make([]judge.Named, 2)}, {Name: "list", Class: judge.Read}, {Name: "remove", Class: judge.Delete, Touches: make([]judge.Named, 1)},
	}}}
	touches, facts, err := c.touched(found)
	want := []broker.Touched{{Names: []broker.Resource{"thing/1"}, Actions: broker.Read, Places: place}, {Names: []broker.Resource{"thing/2"}, Actions: broker.Delete, Places: place}}
	if diff := cmp.Diff(want, touches); diff != "" || err != nil || len(facts) != 1 {
		t.Errorf("%v, %d facts:\n%s", err, len(facts), diff)
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	r := newRig(t)
	client := r.client()
	for _, c := range []struct {
		method string
		status int
	}{{"HEAD", 200}, {"GET", 204}, {"GET", 304}, {"GET", 200}} {
		r.backend.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) })
		if status, text := r.do(client, c.method, "/things/7", ""); status != c.status || text != "" {
			t.Errorf("%s: %d %q, want %d", c.method, status, text, c.status)
		}
	}
}

func TestSixtyFourAtOnce(t *testing.T) {
	r := newRig(t)
	client := r.client()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 4 {
				if status, text := r.do(client, "PUT", "/things/7", `{"a":1}`); status != 200 {
					t.Errorf("%d %s", status, text)
				}
			}
		})
	}
	all.Wait()
	if calls, outcomes, _ := r.broker.seen(); calls != 256 || len(outcomes) != 256 {
		t.Errorf("%d calls, %d outcomes, want 256", calls, len(outcomes))
	}
}

func TestNewWants(t *testing.T) {
	r := newRig(t)
	for name, config := range map[string]Config{
		"nothing":      {},
		"no origin":    {Broker: r.broker, Authority: r.authority, Now: r.proxy.now},
		"a path in it": {Broker: r.broker, Authority: r.authority, Now: r.proxy.now, Origin: "https://hourkey.test/x"},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
