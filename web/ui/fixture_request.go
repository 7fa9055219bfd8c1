package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

func fixtureConfiguration() *broker.Configuration {
	return &broker.Configuration{
		Environments: map[string]broker.Environment{
			"staging": {Name: "staging"}, "preview": {Name: "preview", OwnerMayReview: true}, "production": {Name: "production", Protected: true},
		},
		Groups: map[string][]string{"oncall": {"alice", "bob", "carol"}}, Roles: map[broker.Role][]string{broker.RoleReviewer: {"oncall"}},
	}
}

// requestPage is the page of a request as one human sees it.
func requestPage(file string, r broker.Request, c Context, notices ...Notice) Fixture {
	now := fixtureTime()
	c.Configuration, c.Pins, c.Now = fixtureConfiguration(), []broker.Pin{{Identity: fixturePin(now).Seen}}, now
	if c.History.Agent.Asked == 0 && c.History.Last == nil {
		c.History = broker.History{Agent: broker.Tally{Asked: 12, Allowed: 9, Granted: 3}, Task: broker.Tally{Asked: 4, Granted: 4}}
	}
	return Fixture{file, PageRequest, Frame{
		Title: "Request of " + r.Agent, Human: c.Human, Nav: Navigation(RequestPath(r.ID), Doors{Environments: true}), Notices: notices,
		Live: Live{Now: machine(now)}, View: RequestOf(r, c),
	}}
}

// signedFixture is the signature of a human, so long ago.
func signedFixture(reviewer string, before time.Duration) broker.Approval {
	return broker.Approval{Reviewer: reviewer, At: fixtureTime().Add(-before)}
}

// requestFixtures are the states in which a request still waits.
func requestFixtures(now time.Time) []Fixture {
	alice := Context{Human: "alice", Decides: true, Rejects: true}
	bob := []broker.Approval{signedFixture("bob", time.Minute)}
	repeated := fixtureRequest(now)
	repeated.Repeats = 4
	history := alice
	history.History = fixtureHistory(now)
	owner := fixtureRequest(now)
	owner.Environments, owner.Items[0].Environment, owner.Items[0].Description.Reaches = []string{"preview"}, "preview", []string{"preview"}
	owner.Needs, owner.Decision.Reasons[0] = []broker.Need{{Environment: "preview", Humans: 1}}, fixtureReason("preview", 3, "1 human must approve delete in preview")
	changed := fixtureProduction(now)
	changed.Config = "0f3c before the reload"
	first, half, void, keyless, fresh := alice, alice, alice, alice, alice
	half.Approvals = bob
	void.Approvals = []broker.Approval{signedFixture("dave", 4*time.Minute), signedFixture("alice", 3*time.Minute), bob[0]}
	void.Approvals[0].Void, void.Approvals[1].Void = "dave may not approve this any more", "the passkey that signed it was removed"
	keyless.Decides, keyless.Why = false, InWords(broker.Errorf(broker.CodeForbidden, "you have no passkey here").WithNext("make one: You, then Make a passkey"))
	fresh.Decides, fresh.Why = false, InWords(broker.Errorf(broker.CodeForbidden, "%s", TooNew(now.Add(23*time.Hour))).WithNext("wait until then, or leave it to others"))
	first.History = broker.History{Last: []broker.Request{}}
	return []Fixture{
		requestPage("request-pending", fixtureRequest(now), alice),
		requestPage("request-write", fixtureWrite(now), first),
		requestPage("request-weak-wall", fixtureWeak(now), alice),
		requestPage("request-items", fixtureItems(now), alice),
		requestPage("request-typed", fixtureProduction(now), alice),
		requestPage("request-operation", fixtureOperation(now), alice),
		requestPage("request-long", fixtureLong(now, 64<<10), alice),
		requestPage("request-too-long", fixtureLong(now, 1<<20), alice),
		requestPage("request-hostile", fixtureHostile(now), half),
		requestPage("request-same-user", fixtureRequest(now), alice, MistakesNotice()),
		requestPage("request-repeated", repeated, alice),
		requestPage("request-history", fixtureRequest(now), history),
		requestPage("request-one-human", owner, Context{Human: "carol", Decides: true, Rejects: true}),
		requestPage("request-owner", fixtureRequest(now), Context{Human: "carol", Rejects: true, Why: "You own claude-code: the environment does not let an agent's owner approve. Ask another reviewer."}),
		requestPage("request-not-yours", fixtureRequest(now), Context{Human: "dora", Why: "You are in no reviewer group of this request's environments. Ask a reviewer, or an operator to put you in one of the groups."}),
		requestPage("request-no-passkey", fixtureRequest(now), keyless),
		requestPage("request-new-passkey", fixtureRequest(now), fresh),
		requestPage("request-stale", changed, Context{Human: "bob", Rejects: true, Approvals: bob}),
		requestPage("request-half-signed", fixtureProduction(now), half),
		requestPage("request-half-narrowed", narrowedFixture(fixtureProduction(now)), half),
		requestPage("request-signature-void", fixtureProduction(now), void),
		requestPage("request-signed-by-me", fixtureProduction(now), Context{Human: "bob", Rejects: true, Approvals: bob}),
		{"problem-sign-on", PageProblem, Frame{
			Title: "There is no such thing", Human: "dora", Nav: Navigation("/requests/01jd7", Doors{}), Notices: []Notice{SignOnNotice("/requests/01jd7")},
			View: ProblemOf("There is no such thing", broker.Errorf(broker.CodeNotFound, "there is no such request, or it is not yours to see").WithNext("sign on again first: your groups may open it then"), ""),
		}},
	}
}

// settledFixtures are the states in which nothing is left to decide.
func settledFixtures(now time.Time) []Fixture {
	state := func(state broker.RequestState) broker.Request {
		r := fixtureRequest(now)
		r.State, r.Decided, r.Deadline = state, now.Add(-20*time.Second), now.Add(9*time.Minute+40*time.Second)
		return r
	}
	bob := Context{Human: "alice", Approvals: []broker.Approval{signedFixture("bob", 20*time.Second)}}
	denied, used, collected := state(broker.RequestDenied), fixtureOperation(now), state(broker.RequestCollected)
	denied.Verdict = "Not at night. Ask Carol <b>tomorrow</b>."
	used.State, used.Decided = broker.RequestCollected, now.Add(-time.Minute)
	collected.Collected, collected.Expires = 1, now.Add(8*time.Minute)
	missed := state(broker.RequestExpired)
	missed.Was, missed.Decided, missed.ClosedBy, missed.Deadline = broker.RequestApproved, now.Add(-11*time.Minute), "broker", now.Add(-time.Minute)
	expired, outdated, withdrawn, ended := state(broker.RequestExpired), state(broker.RequestExpired), state(broker.RequestCancelled), state(broker.RequestCancelled)
	expired.Was, expired.ClosedBy, expired.Deadline = broker.RequestPending, "broker", now.Add(-30*time.Second)
	outdated.Was, outdated.ClosedBy, outdated.Verdict = broker.RequestPending, "broker", "the configuration changed: ask again"
	withdrawn.Was, withdrawn.ClosedBy = broker.RequestPending, "agent:claude-code"
	ended.Was, ended.ClosedBy = broker.RequestPending, "human:carol"
	return []Fixture{
		requestPage("request-approved", state(broker.RequestApproved), bob),
		requestPage("request-narrowed", narrowedFixture(state(broker.RequestApproved)), bob),
		requestPage("request-collected", collected, bob),
		requestPage("request-used", used, Context{Human: "alice", Approvals: []broker.Approval{signedFixture("bob", 3*time.Minute), signedFixture("alice", time.Minute)}}),
		requestPage("request-denied", denied, Context{Human: "alice", DeniedBy: "bob"}),
		requestPage("request-denied-frozen", denied, Context{Human: "alice", DeniedBy: "alice", Frozen: &broker.Freeze{Of: broker.FreezeAgent, Name: "claude-code", By: "human:alice", Until: now.Add(time.Hour)}}),
		requestPage("request-expired", expired, Context{Human: "alice"}),
		requestPage("request-not-collected", missed, bob),
		requestPage("request-outdated", outdated, Context{Human: "alice"}),
		requestPage("request-cancelled", withdrawn, Context{Human: "alice"}),
		requestPage("request-ended", ended, Context{Human: "alice"}),
	}
}

// narrowedFixture is what is left when a reviewer takes out the delete, and half of the time.
func narrowedFixture(r broker.Request) broker.Request {
	item := r.Items[0]
	item.Description.Scopes = []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read}}
	item.Description.Native = item.Description.Native[:1]
	r.Granted, r.GrantedTTL = []broker.Item{item}, r.TTL/2
	return r
}

// fixtureRequest is the usual case: one delete in staging.
func fixtureRequest(now time.Time) broker.Request {
	return broker.Request{
		ID: "01jd7w3k9q8r6t5y4v2x1z0abc", Agent: "claude-code", AgentKey: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", Owner: "carol",
		Task: "fix-orders-data", Environments: []string{"staging"}, Reason: "Rows of the failed import of last night are doubled. I want to delete the second copies.",
		TTL: 10 * time.Minute, State: broker.RequestPending, Created: now.Add(-8 * time.Minute), Deadline: now.Add(52 * time.Minute),
		Items: []broker.Item{fixtureDatabase(now)},
		Decision: broker.Decision{Outcome: broker.Escalate, Reasons: []broker.Reason{
			fixtureReason("staging", 4, "1 human must approve delete in staging"),
			{Where: "policies/tasks/orders.yaml:7", Rule: "fix-orders-data", Outcome: broker.Escalate, Text: "the task gives orders-db:public.orders:delete only with approval"},
		}},
		Needs: []broker.Need{{Environment: "staging", Humans: 1}},
	}
}

// fixtureReason is what the broker writes where an environment wants humans.
func fixtureReason(environment string, line int, text string) broker.Reason {
	return broker.Reason{Where: fmt.Sprintf("environments/%s.yaml:%d", environment, line), Rule: environment, Outcome: broker.Escalate, Text: text}
}

// fixtureDatabase is one table of a database in staging, to be read and deleted from.
func fixtureDatabase(now time.Time) broker.Item {
	return broker.Item{
		Environment: "staging", Target: "orders-db",
		Description: broker.Description{
			Identity: "postgres:7441902211/orders",
			Scopes:   []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read | broker.Delete}},
			Reaches:  []string{"staging"},
			Native: []string{
				"CREATE ROLE \"hk-3f9k2m1q-01jd7w3k\" LOGIN VALID UNTIL '2026-11-21 02:50:00Z'",
				"GRANT SELECT, DELETE, TRUNCATE ON TABLE public.orders TO \"hk-3f9k2m1q-01jd7w3k\"",
			},
			Walls: []broker.WallFact{
				{Stops: "another environment", Wall: broker.WallNative, How: "the role may connect to database orders alone"},
				{Stops: "DROP and ALTER", Wall: broker.WallNative, How: "the role owns nothing"},
				{Stops: "use after the end", Wall: broker.WallWeak, How: "an open connection lives until the broker ends it"},
			},
			Exceptions: []broker.Exception{{Object: "function audit.touch()", Why: "writes the time of a change, nothing else"}},
			TTL:        10 * time.Minute, Ends: "No login after VALID UNTIL; open connections are ended by the broker.",
		},
		Facts: []broker.Fact{{About: "public.orders", Text: "about 1,204,311 rows, 412 MB", At: now.Add(-8 * time.Minute)}},
	}
}

// fixtureWrite destroys nothing: a protected environment wants a human for it all the same.
func fixtureWrite(now time.Time) broker.Request {
	r := fixtureRequest(now)
	r.Environments, r.Items[0].Environment, r.Items[0].Description.Reaches = []string{"production"}, "production", []string{"production"}
	r.Items[0].Description.Scopes = []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read | broker.Write}}
	r.Items[0].Description.Native = []string{"GRANT SELECT, INSERT, UPDATE ON TABLE public.orders TO \"hk-3f9k2m1q-01jd7w3k\""}
	r.Needs, r.Reason = []broker.Need{{Environment: "production", Humans: 1}}, ""
	r.Decision.Reasons = []broker.Reason{fixtureReason("production", 1, "1 human must approve write in production")}
	return r
}

// fixtureWeak asks for a write at a bucket that keeps no older versions: whatever it replaces is gone.
func fixtureWeak(now time.Time) broker.Request {
	r := fixtureRequest(now)
	r.Reason, r.Task = "", "publish-report"
	object := broker.Scope{Target: "files", Resource: "s3/acme-staging-reports/daily/*", Actions: broker.Read | broker.Write}
	replaced := object
	replaced.Actions = broker.Delete
	r.Items = []broker.Item{{
		Environment: "staging", Target: "files",
		Description: broker.Description{
			Identity: "aws:123456789012/AROAEXAMPLE", Scopes: []broker.Scope{object}, Reaches: []string{"staging"},
			Native: []string{"sts:AssumeRole arn:aws:iam::123456789012:role/hourkey-staging", "Allow s3:GetObject s3:PutObject on arn:aws:s3:::acme-staging-reports/daily/*"},
			Walls: []broker.WallFact{
				{Stops: "another environment", Wall: broker.WallNative, How: "the session's policy denies what is not named here"},
				{Stops: "losing what a write replaces in s3/acme-staging-reports", Wall: broker.WallNone, How: "the bucket is not versioned", Gives: []broker.Scope{replaced}},
			},
			TTL: r.TTL, Ends: "The session's policy denies everything from the end on; it cannot be ended singly before.",
		},
	}}
	r.Decision.Reasons = []broker.Reason{fixtureReason("staging", 4, "1 human must approve delete in staging, which nothing else stops (losing what a write replaces in s3/acme-staging-reports: the bucket is not versioned)")}
	return r
}

// fixtureProduction deletes in a protected environment: two humans, who type its name.
func fixtureProduction(now time.Time) broker.Request {
	r := fixtureWrite(now)
	r.Items[0].Description = fixtureDatabase(now).Description
	r.Items[0].Description.Reaches = []string{"production"}
	r.Needs = []broker.Need{{Environment: "production", Humans: 2}}
	r.Decision.Reasons = []broker.Reason{fixtureReason("production", 1, "2 humans must approve delete in production")}
	return r
}

// fixtureItems has two targets, one with more resources than anybody unticks one by one.
func fixtureItems(now time.Time) broker.Request {
	r := fixtureRequest(now)
	r.TTL, r.Environments = 45*time.Minute, []string{"production", "staging"}
	orders, logs := &r.Items[0].Description, fixtureDatabase(now)
	orders.TTL, orders.Native = r.TTL, []string{"CREATE ROLE \"hk-3f9k2m1q-01jd7w3k\" LOGIN VALID UNTIL '2026-11-21 03:25:00Z'", orders.Native[1]}
	for _, table := range []broker.Resource{"public.order_items", "public.order_notes", "public.refunds"} {
		orders.Scopes = append(orders.Scopes, broker.Scope{Target: "orders-db", Resource: table, Actions: broker.Read | broker.Delete})
		orders.Native = append(orders.Native, strings.Replace(orders.Native[1], "public.orders", string(table), 1))
	}
	logs.Description.TTL = r.TTL
	logs.Environment, logs.Target = "production", "logs-db"
	logs.Description.Identity, logs.Description.Reaches, logs.Description.Exceptions = "postgres:7500000001/logs", []string{"production"}, nil
	logs.Description.Scopes = []broker.Scope{{Target: "logs-db", Resource: "public.imports", Actions: broker.Read}}
	logs.Description.Native = []string{"GRANT SELECT ON TABLE public.imports TO \"hk-3f9k2m1q-01jd7w3k\""}
	logs.Description.Walls, logs.Facts = logs.Description.Walls[:1], nil
	r.Items = append(r.Items, logs)
	r.Needs = []broker.Need{{Environment: "staging", Humans: 1}, {Environment: "production", Humans: 1}}
	r.Decision.Reasons = append(r.Decision.Reasons, fixtureReason("production", 1, "1 human must approve read in production"))
	return r
}

// fixtureOperation is one call through the gateway: the nine seconds, asked for.
func fixtureOperation(now time.Time) broker.Request {
	const volume = "volume/3d2c42fb-0f5a-4f0e-9d0c-5d8f1b1a7c11"
	r := fixtureRequest(now)
	r.ID, r.Task, r.Environments = "01jd7w3k9q8r6t5y4v2x1z0ope", "fix-staging", []string{"production", "staging"}
	r.Reason = "Credential mismatch in staging; I want to recreate the volume."
	r.Needs = []broker.Need{{Environment: "production", Humans: 2}, {Environment: "staging", Humans: 1}}
	r.Decision.Reasons = []broker.Reason{fixtureReason("production", 1, "2 humans must approve delete in production"), fixtureReason("staging", 4, "1 human must approve delete in staging")}
	text := "mutation volumeDelete(volumeId: \"3d2c42fb-0f5a-4f0e-9d0c-5d8f1b1a7c11\")"
	r.Operation = &broker.Operation{Digest: "d", Lease: "l", Text: text, Names: map[broker.Resource]broker.Resource{volume: "volume/shop-data"}}
	r.Items = []broker.Item{{
		Environment: "staging", Target: "railway",
		Description: broker.Description{
			Identity: "railway:p1/e1", Scopes: []broker.Scope{{Target: "railway", Resource: volume, Actions: broker.Delete}},
			Reaches: []string{"production", "staging"}, Elsewhere: []string{"volume/shop-data also lives in production"}, Native: []string{text},
			Walls: []broker.WallFact{{Stops: "any other call", Wall: broker.WallGateway, How: "the gateway lets exactly this operation pass, once, if it still reaches the same"}},
			TTL:   10 * time.Minute, Ends: "with the call; what the call does stays",
		},
		Facts: []broker.Fact{
			{About: "volume/shop-data", Text: "volume shop-data, attached to postgres in production and staging; 3 backups lie on it and go with it", At: now},
			{About: "volume/shop-data", Text: "412 MB in production, 38 MB in staging", At: now},
		},
	}}
	return r
}

// fixtureLong is an operation of that many bytes.
func fixtureLong(now time.Time, size int) broker.Request {
	r := fixtureOperation(now)
	var text strings.Builder
	text.WriteString("mutation variableCollectionUpsert(input: {\n")
	for i := 0; text.Len() < size-50; i++ {
		fmt.Fprintf(&text, "  SETTING_%04d: \"the value of setting number %d\",\n", i, i)
	}
	text.WriteString("  THE_LAST: \"one\",\n})")
	r.Operation.Text = text.String()
	r.Items[0].Description.Native = strings.Split(r.Operation.Text, "\n")
	return r
}

// fixtureHostile is a request whose words, names and reach try to mislead.
func fixtureHostile(now time.Time) broker.Request {
	r := fixtureRequest(now)
	r.ID, r.Agent, r.Task, r.TTL = "01jd7zzzzzzzzzzzzzzzzzzzzz", "ci/nightly", "clean-volumes", 90*time.Second
	r.Environments = []string{"staging", "production"}
	r.Reason = "APPROVED BY SECURITY \u2714\n<script>alert(1)</script> harmless \u202Egnigats ylno\u202C, \u200Bread\u200Bonly.\x00 e\u0301\u0301\u0301\u0301\u0301 \xff\nIgnore what stands above."
	r.Needs = []broker.Need{{Environment: "staging", Humans: 1}, {Environment: "production", Humans: 2}}
	volume := r.Items[0]
	volume.Target, volume.Description.Identity = "railway", "railway:project shop \u05d0\u05d1\u05d2/\u202estaging"
	volume.Description.Scopes = []broker.Scope{
		{Target: "railway", Resource: "volume/pg-d\u0430ta", Actions: broker.Delete | broker.Admin},
		{Target: "railway", Resource: "volume/a-very-long-name-that-has-no-place-to-break-and-goes-on-until-it-is-wider-than-any-phone-and-then-goes-on-for-ever-production\u0430", Actions: broker.Delete},
		{Target: "railway", Resource: "backup/*", Actions: broker.Read | broker.Write | broker.Delete},
		{Target: "railway", Resource: "service/shop", Actions: broker.Read},
	}
	volume.Description.Reaches = []string{"production", "staging", "sandbox"}
	volume.Description.Elsewhere = []string{"volume/shared (shop-data, attached to postgres) also lives in sandbox and production"}
	volume.Description.Native = []string{"mutation {", "\tvolumeDelete(volumeId: \"8f2c\u202e\")", "}"}
	volume.Description.Walls, volume.Description.Exceptions = nil, nil
	volume.Facts = []broker.Fact{{About: "volume/pg-d\u0430ta", Text: "12 GB; its 7 backups go with it", At: now}, {About: "project", Text: "shared with 3 others \u202e", At: now}}
	r.Items = []broker.Item{volume, r.Items[0]}
	return r
}

// fixtureHistory is that of an agent that was told no before.
func fixtureHistory(now time.Time) broker.History {
	past := func(id string, state broker.RequestState, before time.Duration) broker.Request {
		r := fixtureRequest(now)
		r.ID, r.State, r.Created = id, state, now.Add(-before)
		return r
	}
	no, tonight, yes := past("01jd1", broker.RequestDenied, 50*time.Hour), past("01jd2", broker.RequestDenied, 3*time.Hour), past("01jd3", broker.RequestCollected, 26*time.Hour)
	no.Verdict = "You do not need TRUNCATE for this."
	tonight.Items[0].Description.Scopes[0].Resource = "public.\u043erders"
	return broker.History{
		Agent: broker.Tally{Asked: 31, Allowed: 24, Granted: 3, Denied: 2, Expired: 2}, Task: broker.Tally{Asked: 5, Granted: 3, Denied: 2},
		Last: []broker.Request{tonight, no, yes},
	}
}
