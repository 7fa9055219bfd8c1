package bench

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
	"github.com/hourkey/hourkey/policies"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/keys"
	"github.com/hourkey/hourkey/web"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

const (
	operator    = "olga" // owns the agents
	environment = "staging"
	task        = "work"
)

// target is what one world issues at.
type target struct {
	name, kind, body string            // body: the YAML of its kind
	scope            string            // "public.orders:read,write"; what the task gives and the agents ask for
	secret           string            // what env:SECRET refers to
	secrets          map[string]string // what other references refer to
	ttl              string            // of the task; empty: 5m
}

var jwtTarget = target{name: "orders", kind: "jwt", body: `{audience: "https://orders.example", resources: ["orders/*"]}`, scope: "orders/*:read,write"}

// world is a broker as `hourkeyd serve` wires it, in a folder of its own.
type world struct {
	testing.TB
	folder, origin string
	at             target
	recorder       *recorder
	kept           *store.Store
	broker         *broker.Broker
	configuration  *broker.Configuration
	authority      *gateway.Authority
	olga           *softkey.Person
	agents         []*agent
}

// agent is an enrolled agent with an access token.
type agent struct {
	name  string
	key   ed25519.PrivateKey
	token string
}

// newWorld opens a broker with as many agents; it ends with the test.
func newWorld(tb testing.TB, at target, agents int) *world {
	tb.Helper()
	w := openWorld(tb, tb.TempDir(), at)
	w.people()
	for n := range agents {
		w.agents = append(w.agents, w.enrol(fmt.Sprintf("ci/%02d", n)))
	}
	return w
}

// openWorld opens what lies in the folder and serves it.
func openWorld(tb testing.TB, folder string, at target) *world {
	tb.Helper()
	w := &world{TB: tb, folder: folder, at: at}
	ring := w.openStore()
	listener, err := web.Listen(tb.Context(), web.ListenConfig{Address: "127.0.0.1:0"})
	w.must(err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	w.must(err)
	w.origin = "http://localhost:" + port
	seed, err := ring.Signer(tb.Context(), "gateway-ca")
	w.must(err)
	w.authority, err = gateway.NewAuthority(seed.Seed(), "bench")
	w.must(err)
	w.configure(ring, at)
	w.serve(ring, listener)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) openStore() *keys.Ring {
	w.Helper()
	engine, err := bolt.Open(filepath.Join(w.folder, "data", "hourkey.db"), bolt.Options{})
	w.must(err)
	w.Cleanup(func() { _ = engine.Close() })
	w.recorder = &recorder{Engine: engine}
	w.kept, err = store.Open(w.recorder, auditlog.New(w.recorder, auditlog.Options{Now: time.Now}), store.Options{})
	w.must(err)
	path := filepath.Join(w.folder, "kek")
	open := keys.FileKEK
	if _, err := os.Stat(path); err != nil {
		open = keys.NewFileKEK
	}
	kek, err := open(path)
	w.must(err)
	ring, err := keys.Open(w.Context(), w.kept, kek, time.Now)
	w.must(err)
	return ring
}

// configure is what the files of an installation would say: the shipped guardrails, one environment,
// one task that gives what the agents ask for.
func (w *world) configure(ring *keys.Ring, at target) {
	w.Helper()
	guardrails, err := policies.Default.ReadFile("default/guardrails.cedar")
	w.must(err)
	text := fmt.Sprintf("%s:\n  summary: Work\n  agents: [\"ci/*\"]\n  environments: [%s]\n  gives: [%q]\n  ttl: %s\n", task, environment, at.name+":"+at.scope, cmp.Or(at.ttl, "5m"))
	groups := map[string][]string{"operators": {operator}}
	set, err := policies.Load(policies.Source{
		Tasks:        []policies.File{{Name: "policies/tasks/work.yaml", Data: []byte(text)}},
		Guardrails:   []policies.File{{Name: "policies/guardrails.cedar", Data: guardrails}},
		Environments: map[string][]string{environment: {at.name}}, Groups: groups,
	})
	w.must(err)
	ref := broker.TargetRef{Environment: environment, Target: at.name}
	var document yaml.Node
	w.must(yaml.Unmarshal([]byte(at.body), &document))
	opened, err := issuers.Open(w.Context(), issuers.Config{
		Resolve: func(reference string) (broker.Secret, error) {
			return broker.NewSecret(cmp.Or(at.secrets[reference], at.secret)), nil
		},
		Signer: func(name string) (ed25519.PrivateKey, error) { return ring.Signer(w.Context(), "target-token/"+name) },
		Issuer: w.origin, File: "environments/staging.yaml", Now: time.Now, Authority: w.authority,
	}, ref, at.kind, document.Content[0])
	w.must(err)
	w.configuration = &broker.Configuration{
		Hash: "bench", Groups: groups, Policy: set, Roles: map[broker.Role][]string{broker.RoleOperator: {"operators"}, broker.RoleReviewer: {"operators"}},
		Environments: map[string]broker.Environment{environment: {
			Name: environment, Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}, Where: "environments/staging.yaml:1",
		}},
		Targets: map[broker.TargetRef]broker.Target{ref: opened},
	}
}

// serve starts broker and HTTP. Rates are counted, but never reached; every call is logged, to nowhere.
func (w *world) serve(ring *keys.Ring, listener net.Listener) {
	w.Helper()
	verifier, err := authn.NewVerifier("localhost", []string{w.origin})
	w.must(err)
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) //nolint:sloglint // DiscardHandler would format nothing, and cost nothing
	w.broker, err = broker.New(w.Context(), broker.Config{
		Store: w.kept, Sealer: ring, Verifier: verifier, Configuration: w.configuration, Origin: w.origin, Now: time.Now, Log: log,
	})
	w.must(err)
	access, err := ring.Signer(w.Context(), "access-token")
	w.must(err)
	tunnels, err := proxy.New(proxy.Config{Broker: w.broker, Authority: w.authority, Origin: w.origin, Now: time.Now, Log: log})
	w.must(err)
	server, err := web.New(web.Config{
		Broker: w.broker, Store: w.kept, Origin: w.origin, AccessKey: access, Verifier: verifier, Now: time.Now, Log: log,
		Limits: web.Limits{StrangerRate: 1e9, StrangerBurst: 1e9, CallerRate: 1e9, CallerBurst: 1e9},
		Tunnel: tunnels,
	})
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ctx, listener, server) })
	running.Go(func() { _ = w.broker.Run(ctx) })
	running.Go(func() { _ = tunnels.Run(ctx) })
	w.Cleanup(func() { stop(); running.Wait() })
}

// people brings in the operator and has her confirm the target.
func (w *world) people() {
	w.Helper()
	ctx, socket := w.Context(), broker.Caller{Kind: broker.CallerSocket}
	var err error
	w.olga, err = softkey.NewPerson(w.origin, nil)
	w.must(err)
	_, code, err := w.broker.InviteHuman(ctx, socket, operator)
	w.must(err)
	w.must(w.olga.Enrol(ctx, operator, code.Reveal()))
	unreachable, err := w.broker.Learn(ctx)
	w.must(err)
	if len(unreachable) > 0 {
		w.Fatal(unreachable)
	}
	pins, err := w.broker.Pins(ctx)
	w.must(err)
	for _, pin := range pins {
		if !pin.IsConfirmed() {
			name := pin.Environment + "/" + pin.Target
			_, err := w.olga.Approve(ctx, broker.ActConfirmTarget, "/targets/"+name, name)
			w.must(err)
		}
	}
}

// invite adds an agent and gives its one-time code.
func (w *world) invite(name string) string {
	w.Helper()
	code, err := w.broker.AddAgent(w.Context(), broker.Caller{Kind: broker.CallerSocket}, name, operator)
	w.must(err)
	return code.Reveal()
}

// activate is the owner's signature under the agent's key.
func (w *world) activate(name string) {
	w.Helper()
	_, err := w.olga.Approve(w.Context(), broker.ActActivateAgent, "/agents/"+name, name)
	w.must(err)
}

func (w *world) enrol(name string) *agent {
	w.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	client, err := api.NewClient(api.ClientConfig{Origin: w.origin, Agent: name, Key: key, Now: time.Now})
	w.must(err)
	_, err = client.Enroll(w.Context(), api.NewSecret(w.invite(name)))
	w.must(err)
	w.activate(name)
	a := &agent{name: name, key: key}
	a.token = w.accessToken(a)
	return a
}

// ask is the body of a submit.
func (w *world) ask(at target) string {
	return fmt.Sprintf(`{"task":%q,"environments":[%q],"scopes":[%q],"reason":"the nightly run wants it"}`, task, environment, at.name+":"+at.scope)
}

// accessToken gets a token the way of RFC 7523. The client of web/api keeps its own to itself.
func (w *world) accessToken(a *agent) string {
	w.Helper()
	now := time.Now()
	assertion := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: a.name, Subject: a.name, Audience: jwt.ClaimStrings{w.origin}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(50 * time.Second)),
	})
	assertion.Header["typ"] = api.TypAssertion
	signed, err := assertion.SignedString(a.key)
	w.must(err)
	answer, err := http.PostForm(w.origin+api.PathToken, url.Values{
		"grant_type": {api.GrantClientCredentials}, "client_assertion_type": {api.AssertionTypeJWT}, "client_assertion": {signed},
	})
	w.must(err)
	defer answer.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	w.must(json.NewDecoder(answer.Body).Decode(&token))
	if token.AccessToken == "" {
		w.Fatalf("no access token: %s", answer.Status)
	}
	return token.AccessToken
}
