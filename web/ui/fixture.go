package ui

import (
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Fixture is one state of one page, for golden tests, screenshots and the storybook.
type Fixture struct {
	File  string // its name there
	Page  Name
	Frame Frame
}

// fixtureTime is when the fixtures happen.
func fixtureTime() time.Time { return time.Date(2026, 11, 21, 2, 40, 0, 0, time.UTC) }

// Fixtures gives every state of every page, hostile text included.
func Fixtures() []Fixture {
	now := fixtureTime()
	reset, _ := ResetNotice("alice", now.Add(-26*time.Hour), now)
	all := []Fixture{
		{"invite", PageInvite, Frame{Title: "Make your passkey", View: Invite{}}},
		{"invite-wrong", PageInvite, Frame{Title: "Make your passkey", View: Invite{Name: "alice", Problem: "No invite of that name has this code. Next: ask for a new one: `hourkeyd human invite`"}}},
		{"register", PageRegister, Frame{Title: "Make your passkey", View: Register{Human: "alice", Options: `{"rp":{"id":"hourkey.example"}}`}}},
		{"sign-in", PageSignIn, Frame{Title: "Sign in", View: SignIn{Path: "/"}}},
		{"sign-in-by-link", PageSignIn, Frame{Title: "Sign in", View: SignIn{FromElsewhere: true, Path: "/requests/01jd7"}}},
		{"inbox-empty", PageInbox, Frame{Title: "Inbox", Human: "alice", View: InboxOf(broker.Inbox{}, nil, now)}},
		{"inbox", PageInbox, Frame{Title: "Inbox", Human: "alice", Notices: []Notice{MistakesNotice(), reset}, View: fixtureInbox(now)}},
		{"problem-changed", PageProblem, Frame{Title: "Changed", Human: "alice", View: Problem{
			Title: "Something changed meanwhile", Message: "This changed since it was shown: nothing is signed.", Next: "look at it again", Back: "/requests/01jd7", BackText: "Look at it again",
		}}},
		{"problem-not-found", PageProblem, Frame{Title: "Not found", Human: "alice", View: Problem{Title: "There is no such thing", Message: "It does not exist, or it is not yours to see.", Back: "/", BackText: "To the inbox"}}},
	}
	return append(append(all, requestFixtures(now)...), subjectFixtures(now)...)
}

func fixtureInbox(now time.Time) Inbox {
	return InboxOf(broker.Inbox{
		Requests: []broker.Request{fixtureRequest(now), fixtureHostile(now)},
		Agents:   []broker.Agent{fixtureAgent(now)},
		Pins:     []broker.Pin{fixturePin(now)},
		Invites:  []broker.Invite{fixtureInvite(now)},
		Freezes:  []broker.Freeze{fixtureFreeze(now)},
	}, []broker.Request{{ID: "01jd6", Agent: "ci/deploy", Task: "deploy-shop", Environments: []string{"staging"}, State: broker.RequestCollected}}, now)
}

func requestFixtures(now time.Time) []Fixture {
	config := &broker.Configuration{
		Environments: map[string]broker.Environment{"staging": {Name: "staging"}, "production": {Name: "production", Protected: true}},
		Groups:       map[string][]string{"oncall": {"alice", "bob"}}, Roles: map[broker.Role][]string{broker.RoleReviewer: {"oncall"}},
	}
	page := func(file string, r broker.Request, c Context, notices ...Notice) Fixture {
		c.Configuration, c.Pins, c.Now = config, []broker.Pin{{Identity: fixturePin(now).Seen}}, now
		return Fixture{file, PageRequest, Frame{Title: "Request", Human: c.Human, Notices: notices, View: RequestOf(r, c)}}
	}
	state := func(state broker.RequestState, verdict string) broker.Request {
		r := fixtureRequest(now)
		r.State, r.Verdict = state, verdict
		return r
	}
	bob := []broker.Approval{{Reviewer: "bob", At: now.Add(-time.Minute)}}
	return []Fixture{
		page("request-pending", fixtureRequest(now), Context{Human: "alice", Decides: true}),
		page("request-operation", fixtureOperation(now), Context{Human: "alice", Decides: true}),
		page("request-hostile", fixtureHostile(now), Context{Human: "alice", Decides: true, Approvals: bob}, MistakesNotice()),
		page("request-signed-by-me", fixtureHostile(now), Context{Human: "bob", Approvals: bob}),
		page("request-owner", fixtureRequest(now), Context{Human: "carol"}),
		page("request-approved", state(broker.RequestApproved, ""), Context{Human: "alice", Approvals: bob}),
		page("request-collected", state(broker.RequestCollected, ""), Context{Human: "alice", Approvals: bob}),
		page("request-denied", state(broker.RequestDenied, "Not at night. Ask Carol <b>tomorrow</b>."), Context{Human: "alice"}),
		page("request-expired", state(broker.RequestExpired, ""), Context{Human: "alice"}),
		page("request-cancelled", state(broker.RequestCancelled, ""), Context{Human: "alice"}),
	}
}

// fixtureRequest is the usual case: one delete in staging.
func fixtureRequest(now time.Time) broker.Request {
	return broker.Request{
		ID: "01jd7w3k9q8r6t5y4v2x1z0abc", Agent: "claude-code", AgentKey: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", Owner: "carol",
		Task: "fix-orders-data", Environments: []string{"staging"}, Reason: "Rows of the failed import of last night are doubled. I want to delete the second copies.",
		TTL: 10 * time.Minute, State: broker.RequestPending, Created: now.Add(-8 * time.Minute), Deadline: now.Add(52 * time.Minute),
		Items: []broker.Item{{
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
		}},
		Decision: broker.Decision{Outcome: broker.Escalate, Reasons: []broker.Reason{
			{Where: "environments/staging.yaml:4", Rule: "approval.delete", Outcome: broker.Escalate, Text: "delete in staging needs 1 human"},
			{Where: "policies/tasks/orders.yaml:7", Rule: "fix-orders-data", Outcome: broker.Escalate, Text: "public.orders may be deleted from with approval"},
		}},
		Needs: []broker.Need{{Environment: "staging", Humans: 1}},
	}
}

// fixtureOperation is one call through the gateway: the nine seconds, asked for.
func fixtureOperation(now time.Time) broker.Request {
	const volume = "volume/3d2c42fb-0f5a-4f0e-9d0c-5d8f1b1a7c11"
	r := fixtureRequest(now)
	r.ID, r.Task, r.Environments = "01jd7w3k9q8r6t5y4v2x1z0ope", "fix-staging", []string{"production", "staging"}
	r.Reason = "Credential mismatch in staging; I want to recreate the volume."
	r.Needs = []broker.Need{{Environment: "production", Humans: 2}, {Environment: "staging", Humans: 1}}
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
		{Target: "railway", Resource: "volume/a-very-long-name-that-has-no-place-to-break-and-goes-on-until-it-is-wider-than-any-phone", Actions: broker.Delete},
		{Target: "railway", Resource: "backup/*", Actions: broker.Read | broker.Write | broker.Delete},
		{Target: "railway", Resource: "service/shop", Actions: broker.Read},
	}
	volume.Description.Reaches = []string{"production", "staging", "preview"}
	volume.Description.Elsewhere = []string{"volume/shared (shop-data, attached to postgres) also lives in preview and production"}
	volume.Description.Native = []string{"mutation {", "\tvolumeDelete(volumeId: \"8f2c\u202e\")", "}"}
	volume.Description.Walls, volume.Description.Exceptions = nil, nil
	volume.Facts = []broker.Fact{{About: "volume/pg-d\u0430ta", Text: "12 GB; its 7 backups go with it", At: now}}
	r.Items = []broker.Item{volume, r.Items[0]}
	return r
}

func subjectFixtures(now time.Time) []Fixture {
	page := func(file string, view Subject) Fixture {
		return Fixture{file, PageSubject, Frame{Title: "To sign", Human: "alice", View: view}}
	}
	active := fixtureAgent(now)
	active.State, active.Activated = broker.AgentActive, now
	confirmed := fixturePin(now)
	confirmed.Identity, confirmed.Confirmed, confirmed.ConfirmedBy = confirmed.Seen, now, "alice"
	changed := confirmed
	changed.Seen = broker.Identity{ID: "postgres:9999/orders", Shown: "database orders on 10.9.9.9:5432, system 9999000011"}
	usable := fixtureInvite(now)
	usable.State, usable.Signed = broker.InviteUsable, []string{"alice", "bob"}
	return []Fixture{
		page("agent-inert", AgentOf(fixtureAgent(now), true)), page("agent-of-another", AgentOf(fixtureAgent(now), false)), page("agent-active", AgentOf(active, false)),
		page("target-unconfirmed", TargetOf(fixturePin(now), false, true)), page("target-protected", TargetOf(fixturePin(now), true, true)),
		page("target-changed", TargetOf(changed, false, true)), page("target-confirmed", TargetOf(confirmed, false, false)),
		page("human-inert", InviteOf(fixtureInvite(now), true)), page("human-admitted", InviteOf(usable, false)),
		page("freeze", FreezeOf(fixtureFreeze(now), true)), page("freeze-all", FreezeOf(broker.Freeze{Of: broker.FreezeAll, By: "socket", At: now}, false)),
	}
}

func fixtureAgent(now time.Time) broker.Agent {
	return broker.Agent{Name: "ci/nightly", Owner: "alice", State: broker.AgentInert, Thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", Created: now.Add(-time.Hour)}
}

func fixturePin(now time.Time) broker.Pin {
	return broker.Pin{
		Environment: "staging", Target: "orders-db", Learned: now.Add(-2 * time.Hour),
		Seen: broker.Identity{ID: "postgres:7441902211/orders", Shown: "database orders on 10.0.0.5:5432, system 7441902211"},
	}
}

func fixtureInvite(now time.Time) broker.Invite {
	return broker.Invite{
		Human: "dave", State: broker.InviteInert, Needs: 2, Signed: []string{"bob"}, Groups: []string{"oncall", "dba"},
		By: "human:carol", Created: now, Expires: now.Add(time.Hour),
	}
}

func fixtureFreeze(now time.Time) broker.Freeze {
	return broker.Freeze{Of: broker.FreezeAgent, Name: "ci/nightly", By: "human:bob", Reason: "asks for strange things", At: now.Add(-3 * time.Hour)}
}
