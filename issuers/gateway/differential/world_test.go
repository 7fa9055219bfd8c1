package differential

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/broker"
	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
)

const endpoint = "/graphql/v2"

// tokenKinds are the kinds of token that a target can have.
func tokenKinds() []string { return []string{"account", "workspace", "project"} }

// world is a faithful Railway, and the providers of a target for staging that look things up in it. Its server
// is never changed: calls go to clones. It is for one goroutine.
type world struct {
	faithful.World
	server *faithful.Server
	random *rand.ChaCha8 // of the server and its clones
	schema *ast.Schema
	pack   *railway.Pack
	before faithful.Snapshot
	pool   *pool
	marks  map[string][]string // what tells a record in an answer → ids of the records
	lookUp map[string]*railway.Provider
	spare  []*faithful.Server // clones that are still as they were made
}

// now is the time in the world; it stands still.
func now() time.Time { return time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC) }

// newWorld makes the world of the drill with one thing of each kind in every environment, and more: what is in
// one environment alone, a fork, another project with things of its own. Ids are the same each time.
func newWorld(t testing.TB, shared *shared) *world {
	t.Helper()
	w := &world{random: rand.NewChaCha8([32]byte{1}), schema: shared.schema, pack: shared.pack}
	w.server = faithful.New(faithful.Config{Now: now, Random: w.random, Schema: shared.schema})
	w.World = w.server.Seed()
	w.server.Furnish(w.World)
	w.furnish(t)
	w.look(t)
	return w
}

// look pictures the server as it is now, and opens providers that remember nothing.
func (w *world) look(t testing.TB) {
	t.Helper()
	w.before = w.server.Snapshot()
	w.pool = newPool(w)
	w.marks = marksOf(w.before)
	w.spare, w.lookUp = nil, map[string]*railway.Provider{}
	for _, kind := range tokenKinds() {
		w.lookUp[kind] = w.open(t, kind)
	}
}

// after is another world, in which some document was run before by somebody with the whole account.
func (w *world) after(t testing.TB, document []byte) *world {
	t.Helper()
	next := &world{World: w.World, server: w.server.Clone(), random: w.random, schema: w.schema, pack: w.pack}
	w.random.Seed([32]byte{3})
	next.serve(next.server, "account", document)
	next.look(t)
	return next
}

// furnish adds what the drill does not need: things that live in one environment alone, another project with
// things of its own, and a value for every setting, so that it is seen when one is taken away.
func (w *world) furnish(t testing.TB) {
	t.Helper()
	s := w.server
	s.AddFork(w.Staging, "pr-7")
	s.AddEnvironment(w.Shop, "empty-one")
	s.AddService(w.Shop, "worker", "ghcr.io/acme/worker:2", w.Staging)
	cron := s.AddService(w.Shop, "night-jobs", "ghcr.io/acme/jobs:3", w.Production)
	s.AddVolume(w.Shop, "ledger-of-production", "/ledger", cron, 100, w.Production)
	s.SetVariable(w.Production, cron, "ONLY_IN_PRODUCTION", "faithful-only-in-production")
	w.does(t, billing, map[string]any{"p": w.Billing, "e": w.BillingProduction, "s": w.BillingAPI})
	w.does(t, project, map[string]any{"p": w.Shop, "e": w.Staging})
	for _, service := range []string{w.Web, w.Postgres, w.BillingAPI} {
		w.does(t, settings, map[string]any{"s": service})
	}
	for _, id := range s.IDs("DeploymentTrigger") {
		w.does(t, trigger, map[string]any{"id": id})
	}
	for _, e := range []string{w.Production, w.Staging} {
		w.does(t, doors, map[string]any{"e": e, "s": w.Web})
	}
}

// What furnish does, as documents.
const (
	billing = `mutation($p: String!, $e: String!, $s: String!) {
		bucketCreate(input: {projectId: $p, environmentId: $e, name: "invoice-files"}) { id }
		customDomainCreate(input: {projectId: $p, environmentId: $e, serviceId: $s, domain: "billing.example.com"}) { id }
		serviceDomainCreate(input: {environmentId: $e, serviceId: $s}) { id }
		tcpProxyCreate(input: {environmentId: $e, serviceId: $s, applicationPort: 9000}) { id }
		deploymentTriggerCreate(input: {projectId: $p, environmentId: $e, serviceId: $s, repository: "acme/billing", branch: "main", provider: "github"}) { id }
		environmentStageChanges(environmentId: $e, input: {sharedVariables: {BILLING_STAGED: {value: "faithful-billing-staged"}}}) { id }
		projectTokenCreate(input: {projectId: $p, environmentId: $e, name: "billing deploys"})
		projectInvitationCreate(id: $p, input: {email: "eve@example.com", role: MEMBER}) { id }
		sandboxCreate(input: {environmentId: $e, variables: {KEY: "faithful-billing-sandbox"}}) { id }
		observabilityDashboardCreate(input: {environmentId: $e})
		privateNetworkCreateOrGet(input: {projectId: $p, environmentId: $e, name: "billing-net", tags: []}) { publicId }
		integrationCreate(input: {projectId: $p, name: "vault", config: {token: "x"}}) { id }
		pluginCreate(input: {projectId: $p, name: "redis", friendlyName: "billing-cache"}) { id }
	}`
	project = `mutation($p: String!, $e: String!) {
		projectUpdate(id: $p, input: {description: "sells things", baseEnvironmentId: $e}) { id }
	}`
	settings = `mutation($s: String!) {
		serviceUpdate(id: $s, input: {icon: "https://example.com/icon.png"}) { id }
		serviceInstanceUpdate(serviceId: $s, input: {
			buildCommand: "make", builder: NIXPACKS, cronSchedule: "0 0 * * *", dockerfilePath: "Dockerfile", drainingSeconds: 10, healthcheckPath: "/health",
			healthcheckTimeout: 30, ipv6EgressEnabled: true, nixpacksPlan: {a: 1}, numReplicas: 2, overlapSeconds: 5, preDeployCommand: ["./migrate"],
			railwayConfigFile: "railway.toml", region: "us-west2", registryCredentials: {username: "u", password: "faithful-registry-password"},
			restartPolicyMaxRetries: 3, restartPolicyType: ALWAYS, rootDirectory: "/app", sleepApplication: true, startCommand: "./shop", watchPatterns: ["src"]
		})
	}`
	trigger = `mutation($id: String!) {
		deploymentTriggerUpdate(id: $id, input: {branch: "main", checkSuites: true, rootDirectory: "/app"}) { id }
	}`
	doors = `mutation($e: String!, $s: String!) {
		setServiceUnderAttackMode(input: {environmentId: $e, serviceId: $s, enabled: true, durationSeconds: 7200}) { id }
		updateServiceEdgeConfig(input: {environmentId: $e, serviceId: $s, config: {caching: {defaultTtlSeconds: 60}}}) { id }
		serviceInstanceLimitsUpdate(input: {environmentId: $e, serviceId: $s, memoryGB: 2, vCPUs: 2})
	}`
)

// does runs a document with the whole account; all of it must succeed.
func (w *world) does(t testing.TB, document string, variables map[string]any) {
	t.Helper()
	status, answer := w.serve(w.server, "account", body(document, variables))
	if status != http.StatusOK || strings.Contains(string(answer), `"errors"`) {
		t.Fatalf("furnishing: %s", answer)
	}
}

// body writes the body of a request.
func body(document string, variables map[string]any) []byte {
	text, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		panic(fmt.Sprintf("writing a request: %v", err)) // values here are all JSON
	}
	return text
}

// token is the header in which a token of a kind is sent.
func (w *world) token(kind string) (header, value, secret string) {
	switch kind {
	case "workspace":
		return "Authorization", "Bearer " + w.WorkspaceToken, w.WorkspaceToken
	case "project":
		return "Project-Access-Token", w.StagingToken, w.StagingToken
	}
	return "Authorization", "Bearer " + w.AccountToken, w.AccountToken
}

// serve makes a call, without a network.
func (w *world) serve(on http.Handler, kind string, body []byte) (status int, answer []byte) {
	r := httptest.NewRequest(http.MethodPost, endpoint, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	header, value, _ := w.token(kind)
	r.Header.Set(header, value)
	recorder := httptest.NewRecorder()
	on.ServeHTTP(recorder, r)
	return recorder.Code, recorder.Body.Bytes()
}

// inProcess answers look-ups without a network.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// open makes the provider of the target: staging of the shop, with the real token.
func (w *world) open(t testing.TB, kind string) *railway.Provider {
	t.Helper()
	_, _, secret := w.token(kind)
	p, err := railway.Open(railway.Config{
		Settings: railway.Settings{Project: w.Shop, Environment: w.Staging, TokenKind: kind, URL: "http://127.0.0.1"},
		Token:    broker.NewSecret(secret), Client: &http.Client{Transport: inProcess{w.server}}, Now: now, Pack: w.pack,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Identify(t.Context()); err != nil {
		t.Fatalf("looking up staging with a token of the kind %s: %v", kind, err)
	}
	return p
}

// clone gives a server in the state of the world's.
func (w *world) clone() *faithful.Server {
	if last := len(w.spare) - 1; last >= 0 {
		s := w.spare[last]
		w.spare = w.spare[:last]
		return s
	}
	return w.server.Clone()
}
