package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/api"
)

const secretPart = "secret-of-" // what brokertest's secrets begin with

// TestWayOfARequest goes from the tasks to the end of the lease.
func TestWayOfARequest(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	var tasks api.TaskList
	x.do("GET", api.PathTasks, "", me).want(http.StatusOK).decode(&tasks)
	if len(tasks.Tasks) != 1 || tasks.Tasks[0].Name != "fix" || tasks.Tasks[0].TTLSeconds != 1800 {
		t.Fatalf("got %+v", tasks)
	}
	request := x.submit(x.agent.token(), `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:read"],"ttl_seconds":600,"reason":"a drill"}`)
	if request.State != api.StateApproved || request.Agent != "claude" || request.TTLSeconds != 600 || request.Items[0].Scopes[0] != "db:public.orders:read" || request.Page != "" {
		t.Fatalf("got %+v", request)
	}
	collected := x.do("POST", "/v1/requests/"+request.ID+"/credentials", "", me).want(http.StatusOK)
	if collected.Header().Get("Cache-Control") != "no-store" {
		t.Error("a credential may be cached")
	}
	var list api.CredentialList
	collected.decode(&list)
	if len(list.Credentials) != 1 || !strings.HasPrefix(list.Credentials[0].Values["TOKEN"].Reveal(), secretPart) || list.Credentials[0].Expires.Sub(x.Clock.Now()) != 10*time.Minute {
		t.Fatalf("got %+v", list)
	}
	var leases api.LeaseList
	x.do("GET", api.PathLeases, "", me).want(http.StatusOK).decode(&leases)
	if len(leases.Leases) != 1 || leases.Leases[0].State != "live" || leases.Leases[0].ID != list.Credentials[0].Lease {
		t.Fatalf("got %+v", leases)
	}
	x.do("DELETE", "/v1/leases/"+leases.Leases[0].ID, "", me).want(http.StatusNoContent)
	if live := x.Staging.Live(); len(live) != 0 {
		t.Fatalf("released, and alive: %v", live)
	}
	x.do("GET", api.PathLeases+"?all=true", "", me).want(http.StatusOK).decode(&leases)
	if len(leases.Leases) != 1 || leases.Leases[0].State != "ended" || leases.Leases[0].Cause != "released" {
		t.Fatalf("got %+v", leases)
	}
	if text := x.log.String(); strings.Contains(text, secretPart) {
		t.Error("the log holds a secret")
	}
}

// TestDenialNamesTheRule: an agent learns which line decided.
func TestDenialNamesTheRule(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	denied := x.do("POST", api.PathRequests, `{"task":"fix","environments":["staging"],"scopes":["db:secrets:admin"]}`, me).wantProblem(broker.CodeDenied)
	if len(denied.Reasons) == 0 || denied.Reasons[0].Where != "fix.yaml:1" || denied.Status != http.StatusForbidden {
		t.Errorf("got %+v", denied)
	}
	x.do("POST", api.PathRequests, `{"task":"other","environments":["staging"]}`, me).wantProblem(broker.CodeDenied)
}

// TestAnotherAgentsRequest: to everybody but the key that asked, a request and its lease do not exist.
func TestAnotherAgentsRequest(t *testing.T) {
	x := newSite(t)
	mine := bearer(x.agent.token())
	request := x.submit(x.agent.token(), wish)
	var list api.CredentialList
	path := "/v1/requests/" + request.ID
	x.do("POST", path+"/credentials", "", mine).want(http.StatusOK).decode(&list)
	other := bearer(x.newAgent("other", broker.AgentActive).token())
	sameNameOtherKey := bearer(x.newAgent("claude", broker.AgentActive).token())
	for name, as := range map[string]func(*http.Request){"another agent": other, "same agent, another key": sameNameOtherKey} {
		t.Run(name, func(t *testing.T) {
			for _, asked := range []*answer{
				x.do("GET", path, "", as), x.do("GET", path+"?wait=1s", "", as), x.do("DELETE", path, "", as),
				x.do("POST", path+"/credentials", "", as), x.do("DELETE", "/v1/leases/"+list.Credentials[0].Lease, "", as),
			} {
				asked.wantProblem(broker.CodeNotFound)
			}
			var requests api.RequestList
			x.do("GET", api.PathRequests, "", as).want(http.StatusOK).decode(&requests)
			var leases api.LeaseList
			x.do("GET", api.PathLeases+"?all=true", "", as).want(http.StatusOK).decode(&leases)
			if len(requests.Requests)+len(leases.Leases) != 0 {
				t.Errorf("it sees %v %v", requests, leases)
			}
		})
	}
	if live := x.Staging.Live(); len(live) != 1 {
		t.Errorf("the lease was touched: %v", live)
	}
}

// TestReviewerOfAnotherEnvironment sees nothing of this one.
func TestReviewerOfAnotherEnvironment(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	staging := x.submit(token, `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	production := x.submit(token, `{"task":"fix","environments":["production"],"scopes":["db:public.orders:write"]}`)
	if staging.State != api.StatePending || production.State != api.StatePending || staging.Page != brokertest.Origin+"/requests/"+staging.ID {
		t.Fatalf("got %+v %+v", staging, production)
	}
	asErin := x.signIn("erin") // reviews staging alone
	x.do("GET", "/v1/requests/"+staging.ID, "", asErin).want(http.StatusOK)
	x.do("GET", "/v1/requests/"+production.ID, "", asErin).wantProblem(broker.CodeNotFound)
	var inbox api.RequestList
	x.do("GET", api.PathApprovals, "", asErin).want(http.StatusOK).decode(&inbox)
	if len(inbox.Requests) != 1 || inbox.Requests[0].ID != staging.ID {
		t.Errorf("got %+v", inbox)
	}
	x.SignAs("bob", broker.ActApprove, staging.ID)
	var approvals api.ApprovalList
	x.do("GET", api.PathApprovals+"?request="+staging.ID, "", asErin).want(http.StatusOK).decode(&approvals)
	if len(approvals.Approvals) != 1 || approvals.Approvals[0].Reviewer != "bob" || !strings.Contains(string(approvals.Approvals[0].Statement), `"act":"approve-request"`) {
		t.Errorf("got %+v", approvals)
	}
	x.do("GET", api.PathApprovals+"?request="+production.ID, "", asErin).wantProblem(broker.CodeNotFound)
}

// TestIdempotencyKeyTwice: the same key gives the same request, also when both come at once; the same
// key for something else is refused.
func TestIdempotencyKeyTwice(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	key := header(api.HeaderIdempotencyKey, "once")
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() { ids[i] = x.submit(token, wish, key).ID })
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key made two requests: %v", ids)
		}
	}
	x.do("POST", api.PathRequests, `{"task":"fix","environments":["production"]}`, key, bearer(token)).wantProblem(broker.CodeConflict)
	other := x.newAgent("other", broker.AgentActive)
	if id := x.submit(other.token(), wish, key).ID; id == ids[0] {
		t.Error("another agent's key gave this agent's request")
	}
	for name, value := range map[string]string{"empty": "", "with a space": "a b", "with a line": "a\nb", "huge": strings.Repeat("k", 129), "not ASCII": "schlüssel"} {
		t.Run(name, func(t *testing.T) {
			x.do("POST", api.PathRequests, wish, header(api.HeaderIdempotencyKey, value), bearer(token)).wantProblem(broker.CodeInvalid)
		})
	}
	x.do("POST", api.PathRequests, wish, bearer(token), func(r *http.Request) { r.Header["Idempotency-Key"] = []string{"a", "b"} }).wantProblem(broker.CodeInvalid)
}

// TestBodyRefused: what two readers could understand differently, and what is not expected at all.
func TestBodyRefused(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	before := x.Store.Updates()
	for name, c := range map[string]struct {
		body string
		code broker.Code
	}{
		"duplicate keys":               {`{"task":"fix","environments":["staging"],"environments":["production"]}`, broker.CodeInvalid},
		"duplicate keys, another case": {`{"task":"fix","environments":["staging"],"Environments":["production"]}`, broker.CodeInvalid},
		"unknown field":                {`{"task":"fix","environments":["staging"],"agent":"mallory"}`, broker.CodeInvalid},
		"two values":                   {wish + wish, broker.CodeInvalid},
		"trailing data":                {wish + "x", broker.CodeInvalid},
		"an array":                     {`[` + wish + `]`, broker.CodeInvalid},
		"null":                         {`null`, broker.CodeInvalid},
		"cut":                          {wish[:20], broker.CodeInvalid},
		"another type":                 {`{"task":["fix"]}`, broker.CodeInvalid},
		"not UTF-8":                    {"{\"task\":\"\xff\"}", broker.CodeInvalid},
		"deeply nested":                {`{"scopes":` + strings.Repeat("[", 10_000), broker.CodeInvalid},
		"a ttl that overflows":         {`{"task":"fix","environments":["staging"],"ttl_seconds":9223372036854775807}`, broker.CodeInvalid},
		"a negative ttl":               {`{"task":"fix","environments":["staging"],"ttl_seconds":-1}`, broker.CodeInvalid},
		"more than the hour":           {`{"task":"fix","environments":["staging"],"ttl_seconds":3601}`, broker.CodeInvalid},
		"no environment":               {`{"task":"fix","environments":[]}`, broker.CodeInvalid},
		"a scope that is none":         {`{"task":"fix","environments":["staging"],"scopes":["db"]}`, broker.CodeInvalid},
		"oversize":                     {`{"reason":"` + strings.Repeat("a", 65<<10) + `"}`, codeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			x.do("POST", api.PathRequests, c.body, me).wantProblem(c.code)
		})
	}
	x.do("POST", api.PathRequests, wish, me, func(r *http.Request) { r.Header.Del("Content-Type") }).wantProblem(codeMediaType)
	x.do("POST", api.PathRequests, wish, me, header("Content-Type", "text/plain")).wantProblem(codeMediaType)
	x.do("POST", api.PathRequests, wish, me, header("Content-Encoding", "gzip")).wantProblem(codeMediaType)
	x.do("POST", "/v1/requests/x/credentials", wish, me).wantProblem(broker.CodeInvalid)
	x.do("POST", api.PathRequests, `{"reason":"`+strings.Repeat("a", 65<<10)+`"}`, me, func(r *http.Request) { r.ContentLength = -1 }).wantProblem(codeTooLarge)
	if x.Store.Updates() != before {
		t.Error("a refused body wrote to the store")
	}
}

// TestQueryRefused: a typo must not mean "all".
func TestQueryRefused(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	for _, path := range []string{
		"/v1/leases?al=true", "/v1/leases?all=1", "/v1/leases?all=true&all=false", "/v1/requests?limit=1", "/v1/requests/x?wait=-1s", "/v1/requests/x?wait=soon", "/v1/requests/x?signed=-1", "/v1/requests/x?wait=1s&signed=one",
		"/v1/requests/x?wait=%zz", "/v1/requests/x?wait=1s;x=2",
	} {
		x.do("GET", path, "", me).wantProblem(broker.CodeInvalid)
	}
}

// TestCollectBeforeApproval is answered as RFC 8628 names it, and after a denial as a denial.
func TestCollectBeforeApproval(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	request := x.submit(x.agent.token(), `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	collect := "/v1/requests/" + request.ID + "/credentials"
	x.do("POST", collect, "", me).wantProblem(broker.CodePending)
	x.do("DELETE", "/v1/requests/"+request.ID, "", me).want(http.StatusOK)
	x.do("POST", collect, "", me).wantProblem(broker.CodeExpired)
}

// TestLongPollEndsWithTheApproval, and without one when its time is over.
func TestLongPollEndsWithTheApproval(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	request := x.submit(token, `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	var still api.Request
	x.do("GET", "/v1/requests/"+request.ID+"?wait=20ms", "", bearer(token)).want(http.StatusOK).decode(&still)
	if still.State != api.StatePending {
		t.Fatalf("got %+v", still)
	}
	states := make(chan string)
	go func() {
		var got api.Request
		x.do("GET", "/v1/requests/"+request.ID+"?wait=59s", "", bearer(token)).decode(&got)
		states <- got.State
	}()
	x.SignAs("bob", broker.ActApprove, request.ID)
	select {
	case state := <-states:
		if state != api.StateApproved {
			t.Errorf("got %s", state)
		}
	case <-time.After(30 * time.Second):
		t.Error("the approval did not wake the agent")
	}
}

// TestLongPollsAreBounded: one agent cannot hold every connection.
func TestLongPollsAreBounded(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.CallerBurst = 1000 })
	token := x.agent.token()
	request := x.submit(token, `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	path := "/v1/requests/" + request.ID + "?wait=59s"
	var all sync.WaitGroup
	for range waitsPerCaller {
		all.Go(func() { x.do("GET", path, "", bearer(token)).want(http.StatusOK) })
	}
	for !x.server.waits.full("agent:claude") {
		time.Sleep(time.Millisecond)
	}
	x.do("GET", path, "", bearer(token)).wantProblem(broker.CodeSlowDown)
	x.do("GET", "/v1/requests/"+request.ID, "", bearer(token)).want(http.StatusOK)
	x.server.endWaits()
	all.Wait()
	if len(x.server.waits.held) != 0 {
		t.Errorf("waits are still counted: %v", x.server.waits.held)
	}
}

func (w *waits) full(caller string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[caller] == waitsPerCaller
}

// TestOurOwnClient: the client and the server of one repository agree, from the enrolment on.
func TestOurOwnClient(t *testing.T) {
	x := newSite(t)
	server := httptest.NewServer(nil)
	defer server.Close()
	origin := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	x.config.Origin = origin
	x.serve()
	server.Config.Handler = x.server
	code, err := x.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "newcomer", "alice")
	if err != nil {
		t.Fatal(err)
	}
	private, key := newKey(t)
	client, err := api.NewClient(api.ClientConfig{Origin: origin, Agent: "newcomer", Key: private, Now: x.Clock.Now, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := client.Enroll(t.Context(), api.NewSecret(code.Reveal()))
	if err != nil || enrolled.State != "inert" || enrolled.Thumbprint != key.Thumbprint || enrolled.Owner != "alice" {
		t.Fatalf("got %+v %v", enrolled, err)
	}
	if _, err := client.Tasks(t.Context()); err == nil || !strings.Contains(err.Error(), "has not signed") {
		t.Fatalf("an inert agent got in, or was not told why not: %v", err)
	}
	x.SignAs("alice", broker.ActActivateAgent, "newcomer")
	request, err := client.Submit(t.Context(), api.RequestCreate{Task: "fix", Environments: []string{"staging"}}, api.NewIdempotencyKey())
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := client.Collect(t.Context(), request.ID)
	if err != nil || len(credentials) != 1 || fmt.Sprint(credentials[0].Values["TOKEN"]) != "REDACTED" {
		t.Fatalf("got %v %v", credentials, err)
	}
	if err := client.Release(t.Context(), credentials[0].Lease); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Request(t.Context(), request.ID, time.Second); err != nil {
		t.Fatal(err)
	}
}
