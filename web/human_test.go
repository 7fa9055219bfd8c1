package web

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// team is a broker with its pages on a real port, alice and bob with passkeys made through the pages,
// and the active agent "claude", whose owner is carol.
type team struct {
	testing.TB
	broker     *broker.Broker
	store      *brokertest.Store
	clock      *brokertest.Clock
	issuer     *brokertest.Issuer
	config     *broker.Configuration
	origin     string
	alice, bob *softkey.Person
}

func scopes(t testing.TB, texts ...string) []broker.Scope {
	t.Helper()
	var list []broker.Scope
	for _, text := range texts {
		scope, err := broker.ParseScope(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, scope)
	}
	return list
}

func newTeam(t testing.TB) *team {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	w := &team{TB: t, store: &brokertest.Store{}, clock: &brokertest.Clock{}, origin: "http://localhost:" + port}
	for start := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC); w.clock.Now().Before(start); {
		w.clock.Advance(start.Sub(w.clock.Now())) // a duration holds 292 years
	}
	w.issuer = &brokertest.Issuer{ID: "postgres:7441/orders", Can: broker.Capabilities{Kind: "memory"}, Tables: []string{"public.orders"}}
	w.config = w.configuration()
	verifier, err := authn.NewVerifier("localhost", []string{w.origin})
	if err != nil {
		t.Fatal(err)
	}
	w.broker, err = broker.New(t.Context(), broker.Config{
		Store: w.store, Sealer: brokertest.Sealer{}, Verifier: verifier, Configuration: w.config, Origin: w.origin, Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{Broker: w.broker, Store: w.store, Origin: w.origin, AccessKey: key, Verifier: verifier, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	site := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}}
	site.Start()
	t.Cleanup(func() {
		server.endWaits() // as Serve does: a page that is open follows its changes
		site.Close()
	})
	return w
}

func (w *team) configuration() *broker.Configuration {
	return &broker.Configuration{
		Hash: "config-1",
		Environments: map[string]broker.Environment{
			"staging": {Name: "staging", Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}, Where: "staging.yaml:1"},
			"shared":  {Name: "shared", Protected: true, Approval: map[broker.Actions]int{broker.Write: 1, broker.Delete: 2, broker.Admin: 2}, Where: "shared.yaml:1"},
		},
		Groups:  map[string][]string{"team": {"alice", "bob", "carol"}},
		Roles:   map[broker.Role][]string{broker.RoleReviewer: {"team"}, broker.RoleOperator: {"team"}},
		Policy:  &brokertest.Policy{TTL: 10 * time.Minute, Gives: scopes(w, "db:public.*:read,write"), Offers: scopes(w, "db:public.*:delete")},
		Targets: map[broker.TargetRef]broker.Target{{Environment: "staging", Target: "db"}: {Binding: "staging/db", Issuer: w.issuer}},
	}
}

// settled is a team in which alice, the first human, and bob, whom she admitted, have passkeys, the
// target is confirmed and the agent active.
func settled(t testing.TB) *team {
	t.Helper()
	w := newTeam(t)
	w.alice, w.bob = w.person(), w.person()
	w.must(w.alice.Enrol(t.Context(), "alice", w.invite("alice")))
	code := w.invite("bob")
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/bob", "bob")
	w.must(w.bob.Enrol(t.Context(), "bob", code))
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/staging/db", "staging/db")
	w.active("claude", "carol")
	return w
}

func (w *team) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *team) person() *softkey.Person {
	w.Helper()
	p, err := softkey.NewPerson(w.origin, nil)
	w.must(err)
	return p
}

func (w *team) invite(name string) string {
	w.Helper()
	_, code, err := w.broker.InviteHuman(w.Context(), broker.Caller{Kind: broker.CallerSocket}, name)
	w.must(err)
	return code.Reveal()
}

func (w *team) learn() {
	w.Helper()
	_, err := w.broker.Learn(w.Context())
	w.must(err)
}

// active stores an agent as if its owner had signed it.
func (w *team) active(name, owner string) {
	w.Helper()
	w.must(w.store.Update(w.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: name, Owner: owner, State: broker.AgentActive, Thumbprint: "thumb-of-" + name, Key: []byte(`{}`)})
	}))
}

func (w *team) sign(p *softkey.Person, act broker.Act, path, subject string) {
	w.Helper()
	if _, err := p.Approve(w.Context(), act, path, subject); err != nil {
		w.Fatalf("signing %s of %s: %v", act, subject, err)
	}
}

// ask submits a delete, which escalates.
func (w *team) ask(reason string) broker.Request {
	w.Helper()
	request, err := w.broker.Submit(w.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb-of-claude", Task: "fix", Environments: []string{"staging"},
		Scopes: scopes(w, "db:public.orders:read,delete"), Reason: reason,
	})
	w.must(err)
	return request
}

func (w *team) state(id string) broker.RequestState {
	w.Helper()
	request, err := w.broker.Request(w.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	w.must(err)
	return request.State
}

func (w *team) events(kind broker.EventType) (n int) {
	for _, event := range w.store.Log() {
		if event.Type == kind {
			n++
		}
	}
	return n
}

// refusedWith fails the test unless err is an answer with that status.
func (w *team) refusedWith(status int, err error) string {
	w.Helper()
	refusal, ok := errors.AsType[*softkey.Refusal](err)
	if !ok || refusal.Status != status {
		w.Fatalf("got %v, want status %d", err, status)
	}
	return refusal.Body
}

// prepare does what the page's script does up to the signature.
func (w *team) prepare(p *softkey.Person, id string) softkey.Prepared {
	w.Helper()
	_, digest, err := p.Read(w.Context(), "/requests/"+id)
	w.must(err)
	prepared, err := p.Prepare(w.Context(), broker.ActApprove, id, digest)
	w.must(err)
	return prepared
}

func TestFromInviteToApproval(t *testing.T) {
	w := settled(t)
	request := w.ask("second copies")
	page, _, err := w.alice.Read(t.Context(), "/")
	w.must(err)
	if !strings.Contains(page, "/requests/"+request.ID) {
		t.Fatalf("the request is not in the inbox:\n%s", page)
	}
	w.sign(w.alice, broker.ActApprove, "/requests/"+request.ID, request.ID)
	if got := w.state(request.ID); got != broker.RequestApproved {
		t.Fatalf("the request is %s", got)
	}
	fresh := w.person()
	fresh.Key = w.alice.Key
	w.must(fresh.SignIn(t.Context()))
	page, digest, err := fresh.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if digest != "" || !strings.Contains(page, "Approved, not collected yet") {
		t.Fatalf("the page still offers to decide:\n%s", page)
	}
}

func TestTheStatementThatIsSignedIsTheOneThatIsShown(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	prepared := w.prepare(w.alice, request.ID)
	for _, part := range []string{request.ID, request.Digest(), "db:public.orders:read,delete", "postgres:7441/orders", `"reviewer":"alice"`, w.origin, `"ttl_seconds":600`} {
		if !strings.Contains(prepared.Statement, part) {
			t.Errorf("the statement lacks %q: %s", part, prepared.Statement)
		}
	}
	for _, part := range []string{"claude", "delete", "public.orders", "staging", "carol"} {
		if !strings.Contains(prepared.Says, part) {
			t.Errorf("the sentence lacks %q: %s", part, prepared.Says)
		}
	}
}

func TestDenyingNeedsNoPasskeyAndTellsTheAgentWhy(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.must(w.bob.Deny(t.Context(), request.ID, "not <b>tonight</b>"))
	if got := w.state(request.ID); got != broker.RequestDenied {
		t.Fatalf("the request is %s", got)
	}
	page, _, err := w.bob.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if !strings.Contains(page, "not &lt;b&gt;tonight&lt;/b&gt;") {
		t.Errorf("the words are not on the page:\n%s", page)
	}
}

func TestEveryActIsSignedByTheSameCeremony(t *testing.T) {
	w := settled(t) // admits a human and confirms a target already
	_, err := w.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude", Reason: "drill"})
	w.must(err)
	w.sign(w.bob, broker.ActLiftFreeze, "/freezes/agent:claude", "agent:claude")
	code, err := w.broker.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "ci/nightly", "bob")
	w.must(err)
	_, err = w.broker.EnrolAgent(t.Context(), "ci/nightly", code, []byte(`{}`), "thumbprint-to-compare")
	w.must(err)
	page, err := w.bob.Approve(t.Context(), broker.ActActivateAgent, "/agents/ci/nightly", "ci/nightly")
	w.must(err)
	if !strings.Contains(page, "thumbprint-to-compare") {
		t.Errorf("the key is not on the page:\n%s", page)
	}
	agent, err := w.broker.Agent(context.Background(), "ci/nightly")
	w.must(err)
	if agent.State != broker.AgentActive {
		t.Errorf("the agent is %s", agent.State)
	}
	for _, kind := range []broker.EventType{broker.EventHumanAdmitted, broker.EventTargetConfirmed, broker.EventLifted, broker.EventAgentActivated} {
		if w.events(kind) != 1 {
			t.Errorf("%d events %s", w.events(kind), kind)
		}
	}
}

func TestEveryPageSaysThatItProtectsFromMistakesOnly(t *testing.T) {
	w := settled(t)
	w.broker.SawOwnUser(t.Context())
	request := w.ask("")
	for _, path := range []string{"/", "/sign-in", "/invite", "/requests/" + request.ID, "/agents/claude", "/requests/none"} {
		person := w.alice
		if path == "/agents/claude" {
			person = w.bob
		}
		page, _, err := person.Read(t.Context(), path)
		if path != "/requests/none" {
			w.must(err)
		}
		if !strings.Contains(page, "Protects from mistakes only") {
			t.Errorf("%s does not say it:\n%s", path, page)
		}
	}
}

func TestAPageSaysThatPasskeysWereResetForAWeek(t *testing.T) {
	w := settled(t)
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Human{Name: "bob", Handle: []byte("handle"), Reset: w.clock.Now()})
	}))
	page, _, err := w.alice.Read(t.Context(), "/")
	w.must(err)
	if !strings.Contains(page, "Passkeys were reset") || !strings.Contains(page, "of bob") {
		t.Errorf("the notice is missing:\n%s", page)
	}
	stranger, _, err := w.person().Read(t.Context(), "/sign-in")
	w.must(err)
	if !strings.Contains(stranger, "Passkeys were reset") || strings.Contains(stranger, "bob") {
		t.Errorf("the notice is missing, or names people to strangers:\n%s", stranger)
	}
	w.clock.Advance(7 * 24 * time.Hour)
	w.must(w.alice.SignIn(t.Context()))
	page, _, err = w.alice.Read(t.Context(), "/")
	w.must(err)
	if strings.Contains(page, "Passkeys were reset") {
		t.Error("the notice is still there after a week")
	}
}
