package broker_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// model is what must be true of a World whatever happens, kept beside it in the simplest way.
type model struct {
	*brokertest.World
	asked     map[string]broker.Request     // id → as submitted
	signed    map[string]map[string]bool    // request → humans whose signature was taken
	decided   map[string]time.Time          // request → when it could be collected from
	closed    map[string]bool               // rejected or cancelled
	handed    map[string]int                // request → collects that gave something
	expires   map[string]time.Time          // request → expiry of its first credentials
	frozen    map[string]bool               // freeze id
	revoked   map[string]bool               // lease → its end was confirmed to a caller
	providers map[string]*brokertest.Issuer // environment → issuer
	ill       bool                          // the store takes no writes
}

func newModel(t *testing.T) *model {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Random = rand.NewChaCha8([32]byte{}) }) // ids that repeat with the draws
	return &model{
		World: w, asked: map[string]broker.Request{}, signed: map[string]map[string]bool{}, decided: map[string]time.Time{}, closed: map[string]bool{},
		handed: map[string]int{}, expires: map[string]time.Time{}, frozen: map[string]bool{}, revoked: map[string]bool{},
		providers: map[string]*brokertest.Issuer{"staging": w.Staging, "production": w.Production},
	}
}

func pick[K comparable, V any](t *rapid.T, of map[K]V, less func(a, b K) int) (K, bool) {
	keys := make([]K, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		var none K
		return none, false
	}
	slices.SortFunc(keys, less)
	return rapid.SampledFrom(keys).Draw(t, "which"), true
}

func byText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// wants is how many humans, the owner not among them, must have signed.
func wants(environment string, actions broker.Actions) int {
	switch {
	case environment == "production" && actions.NeedsHuman():
		return 2
	case actions.NeedsHuman(), environment == "production" && actions.Has(broker.Write):
		return 1
	}
	return 0
}

func (m *model) submit(t *rapid.T) {
	environments := rapid.SampledFrom([][]string{{"staging"}, {"production"}, {"production", "staging"}}).Draw(t, "environments")
	scope := rapid.SampledFrom([]string{"db:public.orders:read", "db:public.*:read,write", "db:public.orders:read,delete"}).Draw(t, "scope")
	request, err := m.Submit(m.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: environments, Scopes: []broker.Scope{m.Scope(scope)},
		TTL: time.Duration(rapid.IntRange(0, 30).Draw(t, "minutes")) * time.Minute, Idempotency: rapid.SampledFrom([]string{"", "", "k"}).Draw(t, "key"),
	})
	if err != nil {
		return
	}
	if _, again := m.asked[request.ID]; again {
		return // the same Idempotency-Key
	}
	if m.ill || m.isFrozen(request) {
		t.Fatalf("submitted: store ill %t, freezes %v", m.ill, m.frozen)
	}
	m.asked[request.ID] = request
	if request.State == broker.RequestApproved {
		m.decided[request.ID] = m.Clock.Now()
	}
}

func (m *model) isFrozen(request broker.Request) bool {
	return m.frozen["all"] || m.frozen["agent:claude"] || m.frozen["task:fix"] ||
		slices.ContainsFunc(request.Environments, func(e string) bool { return m.frozen["environment:"+e] })
}

func (m *model) approve(t *rapid.T) {
	id, ok := pick(t, m.asked, byText)
	if !ok {
		return
	}
	human := rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(t, "human")
	intent := broker.Intent{Act: broker.ActApprove, Subject: id, Digest: m.SubjectDigest(broker.ActApprove, id)}
	if rapid.Bool().Draw(t, "narrows") {
		intent.Narrow = &broker.Narrowing{TTL: time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute}
		if rapid.Bool().Draw(t, "scopes") {
			intent.Narrow.Items = []broker.NarrowedItem{{Environment: m.asked[id].Environments[0], Target: "db", Scopes: []broker.Scope{m.Scope("db:public.orders:read")}}}
		}
	}
	if m.TrySign(human, intent) != nil {
		return
	}
	if human == "alice" || m.signed[id][human] || m.closed[id] || m.ill || m.handed[id] > 0 {
		t.Fatalf("%s signed %s: signed %v, closed %t", human, id, m.signed[id], m.closed[id])
	}
	if m.signed[id] == nil {
		m.signed[id] = map[string]bool{}
	}
	m.signed[id][human] = true
	m.decided[id] = m.Clock.Now()
}

func (m *model) collect(t *rapid.T) {
	id, ok := pick(t, m.asked, byText)
	if !ok {
		return
	}
	credentials, err := m.Collect(m.Context(), m.Agent, id)
	if err != nil {
		return
	}
	request, now := m.asked[id], m.Clock.Now()
	var all broker.Actions
	for _, credential := range credentials {
		actions := broker.AllActions(credential.Scopes)
		all |= actions
		asked := broker.AllActions(request.Items[0].Description.Scopes)
		switch lease := leaseIn(m.World, credential.Lease); {
		case len(m.signed[id]) < wants(credential.Environment, asked): // narrowing takes no reviewer away
			t.Fatalf("%s in %s with %d signatures", asked, credential.Environment, len(m.signed[id]))
		case !actions.IsSubsetOf(asked):
			t.Fatalf("asked %s and got %s", asked, actions)
		case lease.State != broker.LeaseLive:
			t.Fatalf("handed out, and its lease is %s", lease.State)
		case !slices.Contains(m.providers[credential.Environment].Live(), lease.Name):
			t.Fatal("handed out, and not alive at its own provider")
		case credential.Expires.After(now.Add(30 * time.Minute)), m.handed[id] > 0 && credential.Expires.After(m.expires[id].Add(5*time.Second)): // the clock goes back a little
			t.Fatalf("expires %s", credential.Expires)
		}
		if m.expires[id].Before(credential.Expires) && m.handed[id] == 0 {
			m.expires[id] = credential.Expires
		}
	}
	switch {
	case m.ill, m.isFrozen(request), m.closed[id]:
		t.Fatalf("issued: store ill %t, freezes %v, closed %t", m.ill, m.frozen, m.closed[id])
	case now.After(m.decided[id].Add(broker.CollectFor)):
		t.Fatal("issued too late")
	case m.handed[id] > 0 && all.NeedsHuman():
		t.Fatal("shown twice")
	}
	m.handed[id]++
}

func (m *model) withdraw(t *rapid.T) {
	id, ok := pick(t, m.asked, byText)
	if !ok {
		return
	}
	var err error
	if rapid.Bool().Draw(t, "by a human") {
		err = m.Reject(m.Context(), rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "human"), id, m.SubjectDigest(broker.ActApprove, id), "no")
	} else {
		err = m.Cancel(m.Context(), m.Agent, id)
	}
	m.closed[id] = m.closed[id] || err == nil
}

func (m *model) endOne(t *rapid.T) {
	open := map[string]broker.Lease{}
	for _, lease := range mustLeases(m.World) {
		open[lease.ID] = lease
	}
	id, ok := pick(t, open, byText)
	if !ok {
		return
	}
	var err error
	if rapid.Bool().Draw(t, "by a human") {
		err = m.Revoke(m.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, id)
	} else {
		err = m.Release(m.Context(), m.Agent, id)
	}
	m.revoked[open[id].Name] = err == nil
}

var freezes = []broker.Freeze{
	{Of: broker.FreezeAll}, {Of: broker.FreezeAgent, Name: "claude"}, {Of: broker.FreezeTask, Name: "fix"},
	{Of: broker.FreezeEnvironment, Name: "staging"}, {Of: broker.FreezeEnvironment, Name: "production"}, {Of: broker.FreezeAgent, Name: "other"},
}

func (m *model) freeze(t *rapid.T) {
	freeze := rapid.SampledFrom(freezes).Draw(t, "freeze")
	_, _ = m.Freeze(m.Context(), broker.Caller{Kind: broker.CallerSocket}, freeze) // in force whatever it answers
	m.frozen[freeze.ID()] = true
}

func (m *model) lift(t *rapid.T) {
	id, ok := pick(t, m.frozen, byText)
	if !ok || m.ill {
		return
	}
	m.Sweep(m.Context()) // what was held is recorded
	m.SignAs("carol", broker.ActLiftFreeze, id)
	delete(m.frozen, id)
}

func (m *model) trouble(t *rapid.T) {
	boom := errors.New("boom")
	switch rapid.SampledFrom([]string{"store", "issue", "issued unheard", "revoke", "none", "none"}).Draw(t, "trouble") {
	case "store":
		m.ill = true
		m.Store.Fail(boom)
	case "issue":
		m.Staging.OnIssue = func(broker.Order) error { return boom }
	case "issued unheard":
		m.Production.OnIssue = func(order broker.Order) error { m.Production.Plant(order.Name); return boom }
	case "revoke":
		m.Staging.OnRevoke = func(string) error { return boom }
	default:
		m.mend()
	}
}

func (m *model) mend() {
	m.ill = false
	m.Store.Fail(nil)
	m.Staging.OnIssue, m.Staging.OnRevoke, m.Production.OnIssue = nil, nil, nil
}

func (m *model) restart(*rapid.T) {
	if m.ill {
		return // it would not start, and a freeze that was never written dies with the process: so its caller was told
	}
	m.Sweep(m.Context())
	m.Reopen()
}

// check is true after every action.
func (m *model) check(t *rapid.T) {
	for _, provider := range m.providers {
		for _, name := range provider.Live() {
			lease := leaseIn(m.World, name[len("hk-01234567-"):])
			switch {
			case !lease.Open():
				t.Fatalf("%s lives and its lease is %s", name, lease.State)
			case m.revoked[name]:
				t.Fatalf("%s lives and its end was confirmed", name)
			case lease.Expires.Sub(lease.Created) > broker.Hour:
				t.Fatalf("%s lives longer than the hour", name)
			}
		}
	}
}

// TestWhateverHappens: random days of agents, reviewers, operators, full disks, deaf providers and
// restarts, against the invariants.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t)
		rt.Repeat(map[string]func(*rapid.T){
			"submit": m.submit, "submit too": m.submit, "approve": m.approve, "approve too": m.approve, "collect": m.collect, "collect too": m.collect, "withdraw": m.withdraw,
			"end": m.endOne, "freeze": m.freeze, "lift": m.lift, "lift too": m.lift, "trouble": m.trouble, "restart": m.restart,
			"sweep": func(*rapid.T) {
				m.Sweep(m.Context())
				if err := m.SweepOrphans(m.Context()); err != nil && !m.ill && m.Staging.OnRevoke == nil {
					t.Fatal(err)
				}
			},
			"clock": func(rt *rapid.T) {
				m.Clock.Advance(time.Duration(rapid.SampledFrom([]int{1, 1, 5, 60, 300, 601, 1800, -1}).Draw(rt, "seconds")) * time.Second)
			},
			"": m.check,
		})
		m.mend()
		m.check(rt)
		wantAllEnded(m.World)
	})
}
