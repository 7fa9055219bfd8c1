package ui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// listFixtures are the pages beside the review: lists, and what is done from them.
func listFixtures(now time.Time) []Fixture {
	var all []Fixture
	for _, family := range []func(time.Time) []Fixture{
		requestsFixtures, leasesFixtures, agentsFixtures, policyFixtures, auditFixtures, meFixtures, newcomerFixtures, peopleFixtures, noticeFixtures,
	} {
		all = append(all, family(now)...)
	}
	return all
}

// listFrame is the frame of a human who may open everything.
func listFrame(title, path string, view any) Frame {
	return frameOf("alice", Doors{Environments: true, Audit: true, People: true}, title, path, view)
}

// frameOf is that of another.
func frameOf(human string, doors Doors, title, path string, view any) Frame {
	return Frame{Title: title, Human: human, Nav: Navigation(path, doors), Live: Live{Now: machine(fixtureTime())}, View: view}
}

// listConfiguration has staging, production that is protected, and one that a human runs alone.
func listConfiguration() *broker.Configuration {
	return &broker.Configuration{
		Environments: map[string]broker.Environment{
			"staging":    {Name: "staging", Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}, Reviewers: []string{"oncall"}, Where: "environments/staging.yaml:2"},
			"production": {Name: "production", Protected: true, Approval: map[broker.Actions]int{broker.Write: 1, broker.Delete: 2, broker.Admin: 2}, Reviewers: []string{"oncall", "dba"}, Where: "environments/production.yaml:1"},
			"laptop":     {Name: "laptop", Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 2}, Reviewers: []string{"owners"}, OwnerMayReview: true, Where: "environments/laptop.yaml:1"},
		},
		Groups: map[string][]string{"oncall": {"alice", "bob"}, "dba": {"erin"}, "owners": {"alice"}, "ops": {"alice", "carol"}},
		Away:   map[string][]string{"dba": {"frank"}},
		Roles:  map[broker.Role][]string{broker.RoleReviewer: {"oncall"}, broker.RoleOperator: {"ops"}, broker.RoleAuditor: {"ops"}},
		Targets: map[broker.TargetRef]broker.Target{
			{Environment: "staging", Target: "orders-db"}:    {Issuer: fixtureIssuer{Kind: "postgres", EndsEarly: true, TTLFloor: time.Minute, Ends: "No login after VALID UNTIL; open connections are ended by the broker."}},
			{Environment: "staging", Target: "railway"}:      {Issuer: fixtureIssuer{Kind: "railway", Gateway: true, Local: true, EndsEarly: true, Ends: "with its lease: the gateway asks at every call"}},
			{Environment: "staging", Target: "services"}:     {Issuer: fixtureIssuer{Kind: "jwt", Local: true, TTLMax: 15 * time.Minute, Ends: "at its expiry, where services check it"}},
			{Environment: "production", Target: "orders-db"}: {Issuer: fixtureIssuer{Kind: "postgres", EndsEarly: true, Ends: "No login after VALID UNTIL."}},
		},
		Limits: broker.Limits{PasskeyWait: 24 * time.Hour},
		SignOn: &broker.SignOn{Issuer: "https://login.example.com", Groups: []string{"oncall", "dba"}},
	}
}

// fixtureIssuer can say what it can, and nothing else.
type fixtureIssuer broker.Capabilities

func (i fixtureIssuer) Capabilities() broker.Capabilities { return broker.Capabilities(i) }
func (fixtureIssuer) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{}, nil
}
func (fixtureIssuer) Describe(context.Context, broker.Wish) (broker.Description, error) {
	return broker.Description{}, nil
}
func (fixtureIssuer) Issue(context.Context, broker.Order) (broker.Credential, broker.Handle, error) {
	return broker.Credential{}, nil, nil
}
func (fixtureIssuer) Revoke(context.Context, string, broker.Handle) error { return nil }

func requestsFixtures(now time.Time) []Fixture {
	page := func(file string, filter RequestFilter, list []broker.Request, older string, looked int) Fixture {
		environments := []string{"laptop", "production", "staging"}
		return Fixture{file, PageRequests, listFrame("Requests", "/requests", RequestsOf(filter, environments, list, older, looked, listConfiguration(), now))}
	}
	var many []broker.Request
	for i, state := range []broker.RequestState{
		broker.RequestPending, broker.RequestApproved, broker.RequestCollected, broker.RequestDenied, broker.RequestExpired, broker.RequestCancelled,
	} {
		r := fixtureRequest(now.Add(-time.Duration(i) * 7 * time.Minute))
		r.ID, r.State = fmt.Sprintf("01jd7w3k9q8r6t5y4v2x1z0ab%d", i), state
		many = append(many, r)
	}
	many[0].Repeats = 3
	usual := append(many[:3:3], fixtureOperation(now.Add(-time.Hour)), fixtureHostile(now.Add(-2*time.Hour)))
	usual = append(usual, many[3:]...)
	for i := len(usual); i < 50; i++ {
		r := fixtureRequest(now.Add(-time.Duration(i) * time.Hour))
		r.State = broker.RequestCollected
		r.Agent = fmt.Sprintf("ci/job-%d", i)
		many = append(many, r)
	}
	return []Fixture{
		page("requests-empty", RequestFilter{}, nil, "", 0),
		page("requests", RequestFilter{}, usual, "", 0),
		page("requests-many", RequestFilter{Before: "1795228800000000000-01jd7"}, many, "1795142400000000000-01jd6", 0),
		page("requests-none-like-that", RequestFilter{State: broker.RequestDenied, Agent: "claude-code", Environment: "production"}, nil, "", 0),
		page("requests-further", RequestFilter{State: broker.RequestDenied}, many[3:4], "1795142400000000000-01jd6", 2000),
	}
}

func fixtureLease(now time.Time) broker.Lease {
	return broker.Lease{
		ID: "01jd7w3k9q8r6t5y4v2x1z0lea", Request: "01jd7w3k9q8r6t5y4v2x1z0abc", Agent: "claude-code", Owner: "carol", Task: "fix-orders-data",
		Environment: "staging", Target: "orders-db", Reaches: []string{"staging"}, State: broker.LeaseLive, EndsEarly: true,
		Scopes:  []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read | broker.Write}},
		Created: now.Add(-18 * time.Minute), Expires: now.Add(12*time.Minute + 20*time.Second),
	}
}

func leasesFixtures(now time.Time) []Fixture {
	lease := func(change func(*broker.Lease)) broker.Lease {
		l := fixtureLease(now)
		change(&l)
		return l
	}
	wide := lease(func(l *broker.Lease) {
		l.Agent, l.Target, l.Reaches, l.Scopes, l.Expires = "ci/nightly", "railway", []string{"production", "staging"}, nil, now.Add(40*time.Second)
		for _, name := range []string{"volume/pg-d\u0430ta", "volume/\u202eatad", "service/shop", "service/web", strings.Repeat("service/long-", 12)} {
			l.Scopes = append(l.Scopes, broker.Scope{Target: "railway", Resource: broker.Resource(name), Actions: broker.Delete | broker.Read})
		}
	})
	stuck := lease(func(l *broker.Lease) {
		l.State, l.Cause, l.By, l.LastError, l.Retry = broker.LeaseStuck, broker.CauseRevoked, "human:bob", "connecting to <b>10.0.0.5</b>: refused", now.Add(4*time.Minute)
		l.Expires = now.Add(-time.Minute)
	})
	silent := lease(func(l *broker.Lease) {
		l.Target, l.State, l.Cause, l.By, l.EndsEarly = "services", broker.LeaseEnding, broker.CauseFrozen, "human:bob", false
		l.Scopes = []broker.Scope{{Target: "services", Resource: "orders", Actions: broker.Read | broker.Write}}
	})
	issuing := lease(func(l *broker.Lease) { l.State = broker.LeaseIssuing })
	var ended []broker.Lease
	for _, cause := range []broker.Cause{broker.CauseExpired, broker.CauseReleased, broker.CauseRevoked, broker.CauseFrozen, broker.CauseReplaced, broker.CauseFailed} {
		ended = append(ended, lease(func(l *broker.Lease) {
			l.State, l.Cause, l.By, l.Ended = broker.LeaseEnded, cause, "human:bob", now.Add(-time.Hour)
		}))
	}
	var many, gone []broker.Lease
	for i := range 60 {
		many = append(many, lease(func(l *broker.Lease) { l.ID = fmt.Sprintf("01jd7w3k9q8r6t5y4v2x1z0l%02d", i) }))
		gone = append(gone, ended[i%len(ended)])
	}
	page := func(file string, view Leases) Fixture {
		return Fixture{file, PageLeases, listFrame("Leases", "/leases", view)}
	}
	config := listConfiguration()
	all, none := func(broker.Lease) bool { return true }, func(broker.Lease) bool { return false }
	return []Fixture{
		page("leases-empty", LeasesOf(nil, nil, "", all, config, now)),
		page("leases", LeasesOf([]broker.Lease{fixtureLease(now), wide, stuck, silent, issuing}, ended, "", all, config, now)),
		page("leases-of-mine", LeasesOf([]broker.Lease{fixtureLease(now)}, nil, "", none, config, now)),
		page("leases-many", LeasesOf(many, gone, "", all, config, now)),
		{"lease-end", PageConfirm, listFrame("End a lease", "/leases/1/end", EndLease(fixtureLease(now), now))},
		{"lease-end-later", PageConfirm, listFrame("End a lease", "/leases/1/end", EndLease(silent, now))},
	}
}

func agentsFixtures(now time.Time) []Fixture {
	active, removed, invited := fixtureAgent(now), fixtureAgent(now), fixtureAgent(now)
	active.Name, active.Owner, active.State, active.Created, active.Activated = "claude-code", "carol", broker.AgentActive, now.Add(-25*time.Hour), now.Add(-24*time.Hour)
	removed.Name, removed.State = "old-bot", broker.AgentRemoved
	invited.Name, invited.State, invited.Thumbprint = "a-rather-long-name/of-a-rather-deep/tree-of-jobs/in-continuous-i", broker.AgentInvited, ""
	list := []broker.Agent{invited, fixtureAgent(now), active, removed}
	freezes := []broker.Freeze{fixtureFreeze(now), {Of: broker.FreezeAgent, Name: "claude-code", By: "human:bob", At: now, Until: now.Add(time.Hour)}}
	asked := map[string]time.Time{"claude-code": now.Add(-8 * time.Minute), "ci/nightly": now.Add(-90 * time.Hour)}
	page := func(file, path string, name Name, view any) Fixture {
		return Fixture{file, name, listFrame("Agents", path, view)}
	}
	may := func(view Agents) Agents {
		view.All, view.MayAdd, view.Owners = true, true, []string{"alice", "bob", "carol"}
		return view
	}
	wrong := may(AgentsOf(list[:1], nil, nil, "", now))
	wrong.Adding, wrong.Problem = AddAgent{Name: "Claude <b>", Owner: "carol"}, `Agent "Claude <b>": expected a-z, 0-9, dashes, and slashes between parts.`
	var many []broker.Agent
	for i := range 60 {
		a := active
		a.Name = fmt.Sprintf("ci/job-%02d", i)
		many = append(many, a)
	}
	more := func(a broker.Agent, h AgentHistory, operates bool) Subject {
		view := AgentOf(a, false)
		view.Agent = AgentMoreOf(a, h, operates, listConfiguration(), now)
		return view
	}
	history := page("agent-history", "/agents/claude-code", PageSubject, more(active, fixtureAgentHistory(now, freezes), true))
	notice, _ := FreezeNotice(freezes, true, true)
	history.Frame.Notices = []Notice{notice}
	own := frameOf("carol", Doors{}, "Agents", "/agents/claude-code", more(active, AgentHistory{Freezes: freezes}, false))
	notice, _ = FreezeNotice(freezes[1:], true, true)
	own.Notices = []Notice{notice}
	return []Fixture{
		page("agents-empty", "/agents", PageAgents, may(Agents{})),
		page("agents-own-none", "/agents", PageAgents, Agents{}),
		page("agents", "/agents", PageAgents, may(AgentsOf(list, freezes, asked, "", now))),
		page("agents-many", "/agents", PageAgents, may(AgentsOf(many, nil, nil, "ci/job", now))),
		page("agents-wrong", "/agents", PageAgents, wrong),
		page("agent-added", "/agents", PageCode, AgentCode("ci/nightly", "carol", broker.NewSecret("7h3kd-9x2mq-v5tzw-4c8np"), "https://hourkey.example", now.Add(time.Hour))),
		history,
		{"agent-history-of-mine", PageSubject, own},
		page("agent-removed", "/agents/old-bot", PageSubject, more(removed, AgentHistory{}, true)),
		page("agent-remove", "/agents/claude-code", PageConfirm, RemoveAgent(active)),
	}
}

// fixtureAgentHistory is that of claude-code, which was frozen just now.
func fixtureAgentHistory(now time.Time, freezes []broker.Freeze) AgentHistory {
	collected, denied := fixtureRequest(now), fixtureHostile(now.Add(-time.Hour))
	collected.State, denied.State, denied.Agent, denied.Owner = broker.RequestCollected, broker.RequestDenied, collected.Agent, collected.Owner
	frozen, ended := fixtureLease(now), fixtureLease(now)
	frozen.Target, frozen.State, frozen.Cause, frozen.By, frozen.EndsEarly = "services", broker.LeaseEnding, broker.CauseFrozen, "human:bob", false
	frozen.Scopes = []broker.Scope{{Target: "services", Resource: "shop", Actions: broker.Read}}
	ended.State, ended.Ended, ended.Cause = broker.LeaseEnded, now.Add(-time.Hour), broker.CauseReleased
	return AgentHistory{Requests: []broker.Request{collected, denied}, Leases: []broker.Lease{frozen, ended}, Freezes: freezes}
}
