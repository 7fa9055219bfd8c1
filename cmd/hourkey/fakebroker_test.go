package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkey/forward/forwardtest"
	"github.com/hourkey/hourkey/web/api"
)

// fakeBroker answers as api's types say, for the commands' tests: it checks what agents sign, decides by
// simple rules, and remembers every secret it gave, so that a test can look for them.
//
// Rules: task "fix" gives orders-db:public.orders:read,write and, in "twice", a second target with the
// same variables; a scope with delete waits for a human; the task "forbidden" is denied; environment
// "short" has leases that live for seconds. In "gateway" there is a target behind the gateway alone, in
// "mixed" one of each kind, and "gateways" has two with the same host. "cloud" has a database, an AWS and a Kubernetes target,
// "clouds" and "clusters" have two of one kind, and "all" has a gateway's beside them. Task "native" gives what is in "cloud", and only the
// targets that are asked for. "service" has a jwt target, "vaults" one of Vault, "hostile" one of a broker that was taken over; in "guarded" everything waits for a human.
type fakeBroker struct {
	*httptest.Server
	code    string
	gateway *forwardtest.Gateway

	mu       sync.Mutex
	agents   map[string]ed25519.PublicKey
	used     map[string]bool // jti
	requests []*api.Request
	byKey    map[string]*api.Request // Idempotency-Key
	leases   []*api.Lease
	secrets  []string
	tunnels  map[string]api.Gateway // lease → its credential
	lose     map[string]int         // "METHOD path" → answers to lose
	pages    string                 // origin of the pages, where a test wants another
	polls    map[string]int         // request → how often somebody began to wait for its decision
	decided  *sync.Cond
}

func newFakeBroker() *fakeBroker {
	f := &fakeBroker{
		code: "code-" + rand.Text(), agents: map[string]ed25519.PublicKey{}, used: map[string]bool{}, polls: map[string]int{}, byKey: map[string]*api.Request{}, lose: map[string]int{},
		tunnels: map[string]api.Gateway{}, gateway: forwardtest.New(http.HandlerFunc(provider), "api.provider.example"),
	}
	f.secrets = append(f.secrets, f.code)
	f.decided = sync.NewCond(&f.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathToken, f.token)
	mux.HandleFunc("POST "+api.PathAgentsEnroll, f.enroll)
	for pattern, handle := range map[string]func(*http.Request) (any, *api.Problem){
		"GET " + api.PathTasks:        f.tasks,
		"POST " + api.PathRequests:    f.submit,
		"GET " + api.PathRequests:     f.list,
		"GET " + api.PathRequest:      f.request,
		"DELETE " + api.PathRequest:   f.cancel,
		"POST " + api.PathCredentials: f.collect,
		"GET " + api.PathLeases:       f.listLeases,
		"DELETE " + api.PathLease:     f.release,
	} {
		mux.HandleFunc(pattern, f.authenticated(handle))
	}
	mux.Handle("GET "+api.PathTunnel, f.gateway)
	f.Server = httptest.NewServer(mux)
	f.gateway.Origin = f.URL
	return f
}

// Close ends it with its tunnels.
func (f *fakeBroker) Close() {
	f.gateway.Close()
	f.Server.Close()
}

// provider is what is behind the gateway: it tells what it was asked.
func provider(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.URL, r.Host)
}

// authenticated checks the token, answers, and loses the answer where a test wants that.
func (f *fakeBroker) authenticated(handle func(*http.Request) (any, *api.Problem)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		f.mu.Lock()
		known := slices.Contains(f.secrets, token)
		var answer any
		problem := &api.Problem{Status: http.StatusUnauthorized, Code: api.CodeUnauthenticated, Detail: "the access token is not valid"}
		if known {
			answer, problem = handle(r)
		}
		if answer != nil { // while nobody else changes it
			raw, _ := json.Marshal(answer)
			answer = json.RawMessage(raw)
		}
		place := r.Method + " " + r.URL.Path
		lost := f.lose[place] > 0
		if lost {
			f.lose[place]--
		}
		f.mu.Unlock()
		switch {
		case lost:
			panic(http.ErrAbortHandler)
		case problem != nil:
			write(w, problem.Status, "application/problem+json", problem)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			write(w, http.StatusOK, "application/json", answer)
		}
	}
}

func write(w http.ResponseWriter, status int, media string, value any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// signed verifies a compact JWS of exactly this typ and gives its claims.
func signed(text, typ string, key ed25519.PublicKey) (map[string]any, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, false
	}
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	var said map[string]any
	ok := string(header) == `{"alg":"EdDSA","typ":"`+typ+`"}` && len(key) == ed25519.PublicKeySize &&
		ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) && json.Unmarshal(claims, &said) == nil
	now := float64(time.Now().Unix())
	issued, _ := said["iat"].(float64)
	expires, _ := said["exp"].(float64)
	return said, ok && issued <= now+5 && expires > now && expires-issued <= 60
}

func (f *fakeBroker) token(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	assertion := r.PostFormValue("client_assertion")
	for name, key := range f.agents {
		claims, ok := signed(assertion, api.TypAssertion, key)
		id, _ := claims["jti"].(string)
		if ok && claims["iss"] == name && claims["sub"] == name && claims["aud"] == f.URL && len(id) >= 16 && !f.used[id] &&
			r.PostFormValue("grant_type") == api.GrantClientCredentials && r.PostFormValue("client_assertion_type") == api.AssertionTypeJWT {
			f.used[id] = true
			token := f.secret("token")
			write(w, http.StatusOK, "application/json", map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 600})
			return
		}
	}
	write(w, http.StatusUnauthorized, "application/json", api.TokenError{Error: "invalid_client", Description: "no such agent is enrolled here; run hourkey enroll"})
}

func (f *fakeBroker) secret(kind string) string {
	s := kind + "-" + rand.Text()
	f.secrets = append(f.secrets, s)
	return s
}

func (f *fakeBroker) enroll(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body api.EnrollRequest
	var jwk struct{ Kty, Crv, X string }
	err := json.NewDecoder(r.Body).Decode(&body)
	if err == nil {
		err = json.Unmarshal(body.JWK, &jwk)
	}
	key, _ := base64.RawURLEncoding.DecodeString(jwk.X)
	claims, ok := signed(body.Proof, api.TypEnrollProof, key)
	sum := sha256.Sum256([]byte(body.Code))
	if err != nil || !ok || claims["sub"] != body.Name || claims["aud"] != f.URL+api.PathAgentsEnroll || claims[api.ClaimCodeHash] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		write(w, http.StatusBadRequest, "application/problem+json", api.Problem{Code: api.CodeInvalid, Detail: "the enrolment proof is refused", Field: "proof"})
		return
	}
	if body.Code != f.code {
		write(w, http.StatusForbidden, "application/problem+json", api.Problem{Code: api.CodeForbidden, Detail: "the one-time code is not valid", Next: "the operator makes a new one"})
		return
	}
	f.agents[body.Name] = key
	write(w, http.StatusOK, "application/json", api.EnrollResponse{
		Name: body.Name, Owner: "alice", State: "inert", Thumbprint: api.Thumbprint(key), Next: "alice compares the thumbprint on the page and signs",
	})
}

func (f *fakeBroker) tasks(*http.Request) (any, *api.Problem) {
	return api.TaskList{Tasks: []api.Task{{
		Name: "fix", Summary: "Repair wrong rows", Environments: []string{"staging"}, TTLSeconds: 1800,
		Gives: []string{"orders-db:public.orders:read,write"}, WithApproval: []string{"orders-db:public.orders:delete"},
	}, {
		Name: "native", Summary: "Work on files and the cluster", Environments: []string{"cloud"}, TTLSeconds: 1800,
		Gives: []string{"orders-db:public.orders:read", "files:s3/bucket/*:read", "cluster:pods/*:read", "cluster:configmaps/*:read,write"},
	}, {Name: "$(touch pwned)"}}}, nil
}

func (f *fakeBroker) submit(r *http.Request) (any, *api.Problem) {
	var ask api.RequestCreate
	if json.NewDecoder(r.Body).Decode(&ask) != nil || r.Header.Get(api.HeaderIdempotencyKey) == "" {
		return nil, &api.Problem{Status: http.StatusBadRequest, Code: api.CodeInvalid, Detail: "cannot be read"}
	}
	if again := f.byKey[r.Header.Get(api.HeaderIdempotencyKey)]; again != nil {
		return again, nil
	}
	if ask.Task == "forbidden" {
		return nil, &api.Problem{
			Status: http.StatusForbidden, Code: api.CodeDenied, Detail: "policy denies this", Next: "run `hourkey tasks`",
			Reasons: []api.Reason{{Where: "policies/tasks/x.yaml:2", Rule: "x", Outcome: "allow", Text: "the task gives it"},
				{Where: "policies/guardrails.cedar:7", Rule: "stay-out", Outcome: "deny", Text: "a guardrail takes it away"}},
		}
	}
	request := f.decide(ask)
	f.requests = append(f.requests, request)
	f.byKey[r.Header.Get(api.HeaderIdempotencyKey)] = request
	return request, nil
}

func (f *fakeBroker) decide(ask api.RequestCreate) *api.Request {
	scopes := ask.Scopes
	if len(scopes) == 0 {
		scopes = []string{"orders-db:public.orders:read,write"}
	}
	ttl := ask.TTLSeconds
	if ttl == 0 {
		ttl = 1800
	}
	now := time.Now().UTC()
	id := fmt.Sprintf("req-%d", len(f.requests)+1)
	request := &api.Request{
		ID: id, Agent: "claude-code", Owner: "alice", Task: ask.Task, Environments: ask.Environments, State: api.StateApproved,
		TTLSeconds: ttl, Outcome: "allow", Reason: ask.Reason, Created: now, Deadline: now.Add(10 * time.Minute),
	}
	others := map[string][]string{
		"twice": {"orders-db", "stock-db"}, "gateway": {"railway"}, "mixed": {"orders-db", "railway"}, "gateways": {"railway", "railway-2"},
		"cloud": {"orders-db", "files", "cluster"}, "clouds": {"files", "files-2"}, "clusters": {"cluster", "cluster-2"}, "all": {"cluster", "files", "railway"},
		"service": {"api"}, "vaults": {"app-secrets"}, "hostile": {"hostile"}, "placeless": {"cluster-without-a-place"}, "guarded": {"cluster"},
	}
	for _, environment := range ask.Environments {
		targets, special := others[environment]
		if !special {
			targets = []string{"orders-db"}
		}
		for _, target := range targets {
			if ask.Task == "native" && !slices.ContainsFunc(scopes, func(scope string) bool { return targetOf(scope) == target }) {
				continue
			}
			item := api.Item{Environment: environment, Target: target, Asked: scopes, Scopes: scopes, TTLSeconds: ttl}
			if target != "orders-db" {
				item.Scopes = slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !strings.HasPrefix(scope, target+":") })
			}
			if len(item.Scopes) == 0 {
				item.Scopes = []string{target + ":*:read"}
			}
			request.Items = append(request.Items, item)
		}
	}
	if strings.Contains(strings.Join(scopes, " "), "delete") || ask.Environments[0] == "guarded" {
		request.State, request.Outcome, request.Deadline = api.StatePending, "escalate", now.Add(time.Hour)
		request.Reasons = []api.Reason{{Where: "policies/tasks/fix.yaml:6", Rule: "fix", Outcome: "escalate", Text: "delete wants a human"}}
		request.Needs = []api.Need{{Environment: ask.Environments[0], Humans: 2}}
		request.Page, request.Phrase = cmp.Or(f.pages, f.URL)+"/requests/"+id, "amber-river-cobalt-lion"
	}
	return request
}

func (f *fakeBroker) list(*http.Request) (any, *api.Problem) {
	answer := api.RequestList{}
	for _, request := range slices.Backward(f.requests) {
		answer.Requests = append(answer.Requests, *request)
	}
	return answer, nil
}

func (f *fakeBroker) find(r *http.Request) (*api.Request, *api.Problem) {
	for _, request := range f.requests {
		if request.ID == r.PathValue("id") {
			return request, nil
		}
	}
	return nil, &api.Problem{Status: http.StatusNotFound, Code: api.CodeNotFound, Detail: "there is no such request", Next: "run `hourkey requests`"}
}

func (f *fakeBroker) request(r *http.Request) (any, *api.Problem) {
	request, problem := f.find(r)
	if problem != nil {
		return nil, problem
	}
	if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil && request.State == api.StatePending {
		over := false
		f.polls[request.ID]++
		wake := func() { f.mu.Lock(); over = true; f.mu.Unlock(); f.decided.Broadcast() }
		timer := time.AfterFunc(wait, wake)
		defer timer.Stop()
		defer contextAfter(r, wake)()
		known, err := strconv.Atoi(r.URL.Query().Get("signed"))
		if err != nil {
			known = math.MaxInt
		}
		for request.State == api.StatePending && request.Signed <= known && !over {
			f.decided.Wait()
		}
	}
	return *request, nil
}

// polled is how often somebody began to wait for a request's decision.
func (f *fakeBroker) polled(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polls[id]
}

// showPagesAt gives the pages another origin.
func (f *fakeBroker) showPagesAt(origin string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pages = origin
}

// narrow plays a human who leaves 5 minutes of every pending request, no delete, and nothing of a second target.
func (f *fakeBroker) narrow() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, request := range f.requests {
		if request.State == api.StatePending {
			narrowItems(request)
			request.Signed++
			count++
		}
	}
	f.decided.Broadcast()
	return count
}

func narrowItems(request *api.Request) {
	for _, denied := range request.Items[1:] {
		request.Taken = append(request.Taken, api.Taken{Environment: denied.Environment, Target: denied.Target, Whole: true, Scopes: denied.Scopes})
	}
	item := request.Items[0]
	request.Taken = append(request.Taken, api.Taken{Environment: item.Environment, Target: item.Target, Scopes: item.Scopes, TTLSeconds: item.TTLSeconds})
	item.Scopes, item.TTLSeconds = []string{item.Target + ":public.orders:read"}, 300
	request.Items, request.TTLSeconds = []api.Item{item}, 300
}

// review plays the human: it decides on every pending request.
func (f *fakeBroker) review(state, words string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, request := range f.requests {
		if request.State == api.StatePending {
			request.State, request.Verdict, request.Deadline = state, words, time.Now().UTC().Add(10*time.Minute)
			count++
		}
	}
	f.decided.Broadcast()
	return count
}

func (f *fakeBroker) cancel(r *http.Request) (any, *api.Problem) {
	request, problem := f.find(r)
	if problem == nil {
		request.State = api.StateCancelled
	}
	return request, problem
}

func (f *fakeBroker) collect(r *http.Request) (any, *api.Problem) {
	request, problem := f.find(r)
	switch {
	case problem != nil:
		return nil, problem
	case request.State == api.StatePending:
		return nil, &api.Problem{Status: http.StatusConflict, Code: api.CodePending, Detail: "a human has not decided yet"}
	case !collectable(*request):
		return nil, &api.Problem{Status: http.StatusGone, Code: api.CodeExpired, Detail: "it is too late"}
	}
	for _, lease := range f.leases {
		if lease.Request == request.ID && lease.State == "live" {
			lease.State, lease.Cause = "ended", "replaced"
		}
	}
	life := time.Duration(request.TTLSeconds) * time.Second
	request.State, request.Expires = api.StateCollected, time.Now().UTC().Add(life)
	answer := map[string]any{}
	var credentials []any
	for _, item := range request.Items {
		credentials = append(credentials, f.issue(request, item))
	}
	answer["credentials"] = credentials
	return answer, nil
}

func (f *fakeBroker) issue(request *api.Request, item api.Item) any {
	lease := &api.Lease{
		ID: fmt.Sprintf("lease-%d", len(f.leases)+1), Request: request.ID, Agent: request.Agent, Task: request.Task, Environment: item.Environment,
		Target: item.Target, Scopes: item.Scopes, State: "live", Created: time.Now().UTC(), Expires: request.Expires,
	}
	f.leases = append(f.leases, lease)
	if strings.HasPrefix(item.Target, "railway") {
		return f.issueGateway(lease)
	}
	return map[string]any{
		"environment": item.Environment, "target": item.Target, "lease": lease.ID, "scopes": item.Scopes, "expires": lease.Expires,
		"values": f.values(lease),
	}
}

// values are those that the target's issuer would give.
func (f *fakeBroker) values(lease *api.Lease) map[string]string {
	switch {
	case strings.HasPrefix(lease.Target, "files"):
		return map[string]string{
			"AWS_ACCESS_KEY_ID": "ASIA-" + lease.ID, "AWS_SECRET_ACCESS_KEY": f.secret("key"), "AWS_SESSION_TOKEN": f.secret("session"),
			"AWS_CREDENTIAL_EXPIRATION": lease.Expires.Format(time.RFC3339), "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1",
		}
	case lease.Target == "api":
		return map[string]string{"HOURKEY_TOKEN_API": f.secret("jwt")}
	case lease.Target == "app-secrets":
		return map[string]string{"VAULT_ADDR": "https://vault.example:8200", "VAULT_TOKEN": f.secret("vault")}
	case lease.Target == "hostile":
		return map[string]string{"PGPASSWORD": f.secret("password"), "AWS_CONFIG_FILE": "/tmp/theirs"}
	case lease.Target == "cluster-without-a-place":
		return map[string]string{"KUBE_TOKEN": f.secret("kube"), "KUBE_NAMESPACE": "shop"}
	case strings.HasPrefix(lease.Target, "cluster"):
		return map[string]string{
			"KUBE_HOST": "https://10.0.0.1:6443", "KUBE_TOKEN": f.secret("kube"), "KUBE_NAMESPACE": "shop", "KUBE_CLUSTER_CA_CERT_DATA": "-----BEGIN\n\"it\": 's\n",
		}
	}
	return map[string]string{"PGUSER": "hk-test-" + lease.ID, "PGPASSWORD": f.secret("password'$(touch pwned)`id`\"\\\n")}
}

func (f *fakeBroker) issueGateway(lease *api.Lease) any {
	gateway := f.gateway.Issue(map[string]string{strings.ToUpper(strings.ReplaceAll(lease.Target, "-", "_")) + "_URL": "{base}", "PROVIDER_TOKEN": "{placeholder}"})
	f.tunnels[lease.ID] = gateway
	f.secrets = append(f.secrets, gateway.Token.Reveal())
	return map[string]any{
		"environment": lease.Environment, "target": lease.Target, "lease": lease.ID, "scopes": lease.Scopes, "expires": lease.Expires,
		"gateway": map[string]any{"token": gateway.Token.Reveal(), "hosts": gateway.Hosts, "ca": gateway.CA, "variables": gateway.Variables},
	}
}

func (f *fakeBroker) listLeases(r *http.Request) (any, *api.Problem) {
	answer := api.LeaseList{}
	for _, lease := range slices.Backward(f.leases) {
		if lease.State != "ended" || r.URL.Query().Get("all") == "true" {
			answer.Leases = append(answer.Leases, *lease)
		}
	}
	return answer, nil
}

func (f *fakeBroker) release(r *http.Request) (any, *api.Problem) {
	for _, lease := range f.leases {
		if lease.ID == r.PathValue("id") {
			lease.State, lease.Cause = "ended", "released"
			f.gateway.Refuse(f.tunnels[lease.ID], api.CodeExpired)
			return nil, nil
		}
	}
	return nil, &api.Problem{Status: http.StatusNotFound, Code: api.CodeNotFound, Detail: "there is no such lease"}
}

// live counts the leases that have not ended, and how many there ever were.
func (f *fakeBroker) live() (live, ever int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, lease := range f.leases {
		if lease.State != "ended" {
			live++
		}
	}
	return live, len(f.leases)
}

// leaks gives how many of the secrets that were given text holds, as they are or in pieces of a line.
func (f *fakeBroker) leaks(text string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, secret := range f.secrets {
		lines := strings.Split(secret, "\n")
		if strings.Contains(text, lines[len(lines)-1]) {
			count++
		}
	}
	return count
}
