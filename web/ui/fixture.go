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

// Fixtures gives every state of every page, hostile text included. Each family of pages has a function of
// its own, in a file of its own.
func Fixtures() []Fixture {
	families := []func(now time.Time) []Fixture{entryFixtures, inboxFixtures, requestFixtures, settledFixtures, problemFixtures, subjectFixtures, listFixtures}
	var all []Fixture
	for _, family := range families {
		all = append(all, family(fixtureTime())...)
	}
	return all
}

// entryFixtures are the pages before anybody is signed in.
func entryFixtures(time.Time) []Fixture {
	return []Fixture{
		{"invite", PageInvite, Frame{Title: "Make your passkey", View: Invite{}}},
		{"invite-wrong", PageInvite, Frame{Title: "Make your passkey", View: Invite{Name: "alice", Problem: InWords(broker.Errorf(broker.CodeForbidden, "no invite of that name has this code").WithNext("check both; a code works once, for one hour. If they are right, ask an operator for a new one"))}}},
		{"register", PageRegister, Frame{Title: "Make your passkey", View: Register{Human: "alice", Options: `{"rp":{"id":"hourkey.example"}}`}}},
		{"sign-in", PageSignIn, Frame{Title: "Sign in", View: SignIn{Path: "/"}}},
		{"sign-in-single-sign-on", PageSignIn, Frame{Title: "Sign in", View: SignIn{Path: "/", SingleSignOn: true}}},
		{"sign-in-by-link", PageSignIn, Frame{Title: "Sign in", View: SignIn{FromElsewhere: true, Path: "/requests/01jd7"}}},
	}
}

func problemFixtures(time.Time) []Fixture {
	page := func(file, title, again string, told *broker.Error) Fixture {
		return Fixture{file, PageProblem, listFrame(title, again, ProblemOf(title, told, again))}
	}
	const changed, request = "Something changed meanwhile", "/requests/01jd7"
	return []Fixture{
		page("problem-decided-elsewhere", changed, request, broker.Errorf(broker.CodeConflict, "nothing of yours was counted: bob denied this 20 seconds ago (21 Nov 2026 02:39 UTC)").WithNext("look at it again")),
		page("problem-changed", changed, request, broker.Errorf(broker.CodeConflict, "this changed since it was shown: nothing is signed").WithNext("look at it again")),
		page("problem-not-found", "There is no such thing", "", broker.Errorf(broker.CodeNotFound, "there is no such request, or it is not yours to see")),
	}
}

func subjectFixtures(now time.Time) []Fixture {
	page := func(file, title, path string, view Subject) Fixture {
		return Fixture{file, PageSubject, listFrame(title, path, view)}
	}
	agent := func(file string, a broker.Agent) Fixture {
		view := AgentOf(a, a.Owner == "alice" && a.State == broker.AgentInert)
		view.Agent = AgentMoreOf(a, AgentHistory{}, true, listConfiguration(), now)
		return page(file, "Agent "+a.Name, AgentPath(a.Name), view)
	}
	target := func(file string, p broker.Pin, protected bool) Fixture {
		return page(file, "Target orders-db in staging", TargetPath("staging/orders-db"), TargetOf(p, protected, !p.IsConfirmed()))
	}
	active, foreign := fixtureAgent(now), fixtureAgent(now)
	active.State, active.Activated = broker.AgentActive, now
	foreign.Owner = "bob"
	confirmed := fixturePin(now)
	confirmed.Identity, confirmed.Confirmed, confirmed.ConfirmedBy = confirmed.Seen, now, "alice"
	changed := confirmed
	changed.Seen = broker.Identity{ID: "postgres:9999/orders", Shown: "database orders on 10.9.9.9:5432, system 9999000011"}
	usable := fixtureInvite(now)
	usable.State, usable.Signed = broker.InviteUsable, []string{"alice", "bob"}
	freeze, all := fixtureFreeze(now), broker.Freeze{Of: broker.FreezeAll, By: "socket", At: now, Until: now.Add(time.Hour)}
	return []Fixture{
		agent("agent-inert", fixtureAgent(now)), agent("agent-of-another", foreign), agent("agent-active", active),
		target("target-unconfirmed", fixturePin(now), false), target("target-protected", fixturePin(now), true),
		target("target-changed", changed, false), target("target-confirmed", confirmed, false),
		page("human-inert", "Admit dave", HumanPath("dave"), InviteOf(fixtureInvite(now), true)),
		page("human-admitted", "Admit dave", HumanPath("dave"), InviteOf(usable, false)),
		page("freeze", "Freeze "+freeze.ID(), FreezePath(freeze.ID()), FreezeOf(freeze, true)),
		{"freeze-all", PageSubject, frameOf("bob", Doors{Environments: true}, "Freeze all", FreezePath(all.ID()), FreezeOf(all, false))},
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
