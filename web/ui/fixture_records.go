package ui

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

func policyFixtures(now time.Time) []Fixture {
	confirmed := fixturePin(now)
	confirmed.Identity, confirmed.Confirmed, confirmed.ConfirmedBy = confirmed.Seen, now, "bob"
	changed := confirmed
	changed.Environment, changed.Seen = "production", broker.Identity{ID: "postgres:99/orders", Shown: "database \u202esredro on <i>10.9.9.9</i>"}
	local := broker.Pin{Environment: "staging", Target: "services", Seen: broker.Identity{ID: "jwt", Shown: "https://hourkey.example/t/staging"}, Confirmed: now, ConfirmedBy: "broker"}
	local.Identity = local.Seen
	freezes := []broker.Freeze{{Of: broker.FreezeEnvironment, Name: "production", By: "human:bob", At: now}, {Of: broker.FreezeTask, Name: "clean-volumes", Until: now.Add(time.Hour)}}
	config := listConfiguration()
	tasks := []broker.Task{
		{Name: "archive-invoices", Environments: []string{"staging"}, Gives: []string{"orders-db:public.invoices:read"}, Where: "policies/tasks/invoices.yaml:1"},
		{Name: "clean-volumes", Environments: []string{"staging", "production"}, WithApproval: []string{"railway:volume/*:delete", "railway:project/*:admin,delete"}, TTL: 10 * time.Minute, Where: "policies/tasks/volumes.yaml:3"},
		{Name: "fix-orders-data", Summary: "Repair wrong rows of the orders service", Environments: []string{"staging"}, Gives: []string{"orders-db:public.orders:read,write", "railway:service/*:read,write"}, WithApproval: []string{"orders-db:public.orders:delete"}, Where: "policies/tasks/orders.yaml:1"},
	}
	agents := map[string][]string{"clean-volumes": {"ci/nightly"}, "fix-orders-data": {"ci/nightly", "claude-code"}}
	return []Fixture{
		{"environments", PageEnvironments, listFrame("Environments", "/environments", EnvironmentsOf([]string{"laptop", "production", "staging"}, config, []broker.Pin{confirmed, changed, local}, freezes))},
		{"environments-empty", PageEnvironments, listFrame("Environments", "/environments", Environments{})},
		{"tasks", PageTasks, listFrame("Tasks", "/tasks", TasksOf(tasks, agents, freezes, true, config))},
		{"tasks-none", PageTasks, listFrame("Tasks", "/tasks", Tasks{All: true})},
	}
}

func auditFixtures(now time.Time) []Fixture {
	event := func(number uint64, kind broker.EventType, actor, subject string, data any) Numbered {
		raw, err := json.Marshal(data)
		if err != nil {
			raw = nil
		}
		return Numbered{number, broker.Event{Type: kind, Time: now.Add(-time.Duration(1000-number) * time.Second), Actor: actor, Subject: subject, Data: raw}}
	}
	hostile := fixtureHostile(now)
	events := []Numbered{
		event(999, broker.EventLeaseIssued, "agent:claude-code", "01jd7w3k9q8r6t5y4v2x1z0lea", broker.LeaseEvent{Name: "hk-3f9k2m1q-01jd7w3k", Request: "01jd7w3k9q8r6t5y4v2x1z0abc", Agent: "claude-code", Expires: now}),
		event(998, broker.EventRequestSubmitted, "agent:ci/nightly", hostile.ID, broker.RequestEvent{Agent: hostile.Agent, Reason: hostile.Reason, Owner: "carol"}),
		event(997, broker.EventFrozen, "human:bob", "agent:ci/nightly", fixtureFreeze(now)),
		event(996, broker.EventTargetConfirmed, "human:alice", "staging/orders-db", broker.Signed{}),
		event(995, broker.EventCallPassed, "agent:claude-code", "01jd7w3k9q8r6t5y4v2x1z0lea", map[string]string{"operation": strings.Repeat("{ project { services } } ", 1200)}),
		event(0, broker.EventStarted, "broker", "3f9k2m1q", map[string]string{"config": "Q2hhbmdlZA"}),
	}
	sound := Integrity{Height: 1000, Covers: 990, At: now.Add(-20 * time.Second), Checkpoint: "hourkey/ab3cd5ef\n990\nq3pJr1vRk0yq0v0fJj1Yv5b3y3n2m1l0k9j8h7g6f5d=\nepoch 0\ntime 2026-11-21T02:39:40Z\n\n— hourkey/ab3cd5ef kZ9r3w0x1y2v3u4t5s6r7q8p9o0n1m2l3k4j5h6g7f8d9s0a1q2w3e4r5t6y7u8i9o0p\n"}
	page := func(file string, filter AuditFilter, found AuditPage, integrity Integrity) Fixture {
		return Fixture{file, PageAudit, listFrame("Audit", "/audit", AuditOf(filter, found, integrity, file != "audit-unknown"))}
	}
	return []Fixture{
		page("audit", AuditFilter{}, AuditPage{Events: events, Before: "950"}, sound),
		page("audit-search", AuditFilter{Kind: "requests", Actor: "ci/nightly", Text: "<script>", From: "2026-11-01", To: "2026-11-21", Before: "700"}, AuditPage{Events: events[1:2], Before: "600", Looked: 20000}, sound),
		page("audit-none", AuditFilter{Text: "\u202enothing\"><script>alert(1)</script>"}, AuditPage{}, Integrity{Height: 1000}),
		page("audit-broken", AuditFilter{}, AuditPage{Events: events[:1]}, Integrity{Height: 1000, Problem: "The first 990 events are not those of the checkpoint: the log was changed."}),
		page("audit-unknown", AuditFilter{}, AuditPage{Events: events[5:]}, Integrity{Height: 1, Unknown: true}),
	}
}

func meFixtures(now time.Time) []Fixture {
	const firefox, phone = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	passkey := func(id, name string, created time.Time) broker.Passkey {
		return broker.Passkey{ID: id, Human: "alice", Name: name, Created: created, UsableFrom: created}
	}
	sessions := []Session{
		{ID: "A1", Via: "a passkey", Created: now.Add(-20 * time.Minute), Seen: now, Address: "192.0.2.17", UserAgent: phone, Current: true},
		{ID: "A2", Via: "single sign-on", Created: now.Add(-5 * time.Hour), Seen: now.Add(-12 * time.Minute), Address: "2001:db8::17", UserAgent: firefox},
		{ID: "A3", Via: "a passkey", Created: now.Add(-2 * time.Hour), Seen: now.Add(-25 * time.Minute), UserAgent: "\u202eevil <script>alert(1)</script> " + strings.Repeat("x", 200)},
	}
	fresh := passkey("cGhvbmU", "phone", now.Add(-time.Hour))
	fresh.UsableFrom = now.Add(23 * time.Hour)
	full := MeContext{
		Human: "alice", Configuration: listConfiguration(), Now: now, Passkey: "bGFwdG9w", Sessions: sessions,
		Login:    &broker.Login{Human: "alice", Email: "alice@example.com", Issuer: "https://login.example.com", Groups: []string{"oncall"}, At: now.Add(-5 * time.Hour)},
		Passkeys: []broker.Passkey{passkey("bGFwdG9w", "laptop", now.Add(-900*time.Hour)), fresh, passkey("b2xk", "", now.Add(-2000*time.Hour))},
		Offered:  []broker.WaitingPasskey{{Passkey: passkey("bmV3", "new phone \u202etxt", now.Add(-4*time.Minute)), Expires: now.Add(56 * time.Minute)}},
	}
	one := MeContext{Human: "alice", Configuration: listConfiguration(), Now: now, Passkey: "bGFwdG9w", Sessions: sessions[:1], Passkeys: full.Passkeys[:1]}
	old := one
	old.Configuration, old.Login = listConfiguration(), &broker.Login{Human: "alice", Email: "alice@example.com", Issuer: "https://login.example.com", Groups: []string{"dba"}, At: now.Add(-30 * time.Hour)}
	old.Configuration.Away["dba"] = []string{"alice"}
	again := MeOf(old)
	again.SignsOn = true
	connects := MeOf(one)
	connects.Connects = true
	page := func(file string, name Name, view any) Fixture {
		return Fixture{file, name, listFrame("You", "/me", view)}
	}
	return []Fixture{
		page("me", PageMe, MeOf(full)), page("me-one-passkey", PageMe, connects), page("me-sign-on-again", PageMe, again),
		page("new-passkey", PageNewPasskey, NewPasskeyOf("alice", creationOptions, 1, nil, 24*time.Hour, now)),
		page("new-passkey-no-wait", PageNewPasskey, NewPasskeyOf("alice", creationOptions, 1, nil, 0, now)),
	}
}

const creationOptions = `{"rp":{"id":"hourkey.example"}}`

// newcomerFixtures are the pages of frank, who signed on and has no passkey yet, and of the operators who admit people.
func newcomerFixtures(now time.Time) []Fixture {
	waits, lost := fixtureInvite(now), fixtureInvite(now)
	waits.Human, waits.Account, waits.Passkey = "frank", "frank@example.com at https://login.example.com", &broker.Passkey{ID: "ZnJhbms", Human: "frank"}
	lost.Replaces, lost.Instead = true, "human:erin, 2026-11-21T02:21:00Z"
	none := MeContext{
		Human: "frank", Configuration: listConfiguration(), Now: now, Invite: &waits,
		Login:    &broker.Login{Human: "frank", Email: "frank@example.com", Issuer: "https://login.example.com", Groups: []string{"dba"}, At: now.Add(-5 * time.Hour)},
		Sessions: []Session{{ID: "F1", Via: "single sign-on", Created: now.Add(-5 * time.Hour), Seen: now, Address: "2001:db8::17", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Current: true}},
	}
	none.Configuration.Groups["dba"], none.Configuration.Away = []string{"erin", "frank"}, nil
	page := func(file string, name Name, view any) Fixture {
		return Fixture{file, name, frameOf("frank", Doors{Environments: true}, "You", "/me", view)}
	}
	return []Fixture{
		page("me-no-passkey", PageMe, MeOf(none)),
		page("new-passkey-first", PageNewPasskey, NewPasskeyOf("frank", creationOptions, 0, nil, 24*time.Hour, now)),
		page("new-passkey-waits", PageNewPasskey, NewPasskeyOf("frank", "", 0, &waits, 24*time.Hour, now)),
		{"human-signed-on", PageSubject, listFrame("Admit", "/humans/frank", InviteOf(waits, true))},
		{"human-lost-keys", PageSubject, listFrame("Admit", "/humans/dave", InviteOf(lost, true))},
	}
}

func peopleFixtures(now time.Time) []Fixture {
	inert, usable := fixtureInvite(now), fixtureInvite(now)
	usable.State, usable.Human = broker.InviteUsable, "gina"
	list := []Person{
		{Name: "alice", Passkeys: 3, LastIn: now.Add(-20 * time.Minute), Email: "alice@example.com"}, {Name: "bob", Passkeys: 1, LastIn: now.Add(-90 * time.Hour)},
		{Name: "dave", Invite: &inert}, {Name: "erin"}, {Name: "frank", Email: "frank\u202e@example.com"}, {Name: "gina", Invite: &usable},
	}
	config := listConfiguration()
	wrong := PeopleOf(list[:1], "", config, now)
	wrong.Inviting, wrong.Problem = "Dave!", `Human "Dave!": expected a-z, 0-9 and dashes.`
	var many []Person
	for i := range 60 {
		many = append(many, Person{Name: fmt.Sprintf("person-%02d", i), Passkeys: 1})
	}
	page := func(file string, name Name, view any) Fixture {
		return Fixture{file, name, listFrame("People", "/people", view)}
	}
	code := broker.NewSecret("7h3kd-9x2mq-v5tzw-4c8np")
	again := inert
	again.Replaces = true
	return []Fixture{
		page("people", PagePeople, PeopleOf(list, "", config, now)), page("people-many", PagePeople, PeopleOf(many, "person", config, now)),
		page("people-wrong", PagePeople, wrong),
		page("person-invite", PageConfirm, InviteHuman("dave", []string{"oncall", "dba"}, 0)), page("person-invite-again", PageConfirm, InviteHuman("bob", []string{"oncall"}, 2)),
		page("person-invited", PageCode, InviteCode(inert, code, "https://hourkey.example")), page("person-invited-again", PageCode, InviteCode(again, code, "https://hourkey.example")),
	}
}

func noticeFixtures(now time.Time) []Fixture {
	reset, _ := ResetNotice("alice", now.Add(-26*time.Hour), now)
	fresh, _ := PasskeyNotice([]FreshPasskey{
		{Human: "alice", At: now.Add(-3 * time.Hour), From: now.Add(21 * time.Hour)}, {Human: "bob", At: now.Add(-80 * time.Hour)}, {Human: "erin", Offered: true, At: now.Add(-4 * time.Minute)},
	}, now)
	frozen, _ := FreezeNotice([]broker.Freeze{{Of: broker.FreezeAll}, fixtureFreeze(now), {Of: broker.FreezeTask, Name: "clean-volumes", Until: now.Add(time.Hour)}}, true, true)
	one, _ := FreezeNotice([]broker.Freeze{fixtureFreeze(now)}, true, true)
	all := listFrame("Tasks", "/tasks", Tasks{All: true})
	all.Notices = []Notice{MistakesNotice(), StoreNotice(), reset, fresh, frozen}
	single := listFrame("Tasks", "/tasks", Tasks{All: true})
	single.Notices = []Notice{one}
	return []Fixture{{"notices", PageTasks, all}, {"notice-frozen", PageTasks, single}}
}
