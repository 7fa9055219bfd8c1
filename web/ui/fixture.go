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
		{"invite-wrong", PageInvite, Frame{Title: "Make your passkey", View: Invite{Name: "alice", Problem: "No invite of that name has this code. Next: ask for a new one: `hourkeyd human invite`"}}},
		{"register", PageRegister, Frame{Title: "Make your passkey", View: Register{Human: "alice", Options: `{"rp":{"id":"hourkey.example"}}`}}},
		{"sign-in", PageSignIn, Frame{Title: "Sign in", View: SignIn{Path: "/"}}},
		{"sign-in-single-sign-on", PageSignIn, Frame{Title: "Sign in", View: SignIn{Path: "/", SingleSignOn: true}}},
		{"sign-in-by-link", PageSignIn, Frame{Title: "Sign in", View: SignIn{FromElsewhere: true, Path: "/requests/01jd7"}}},
	}
}

func problemFixtures(time.Time) []Fixture {
	return []Fixture{
		{"problem-decided-elsewhere", PageProblem, Frame{Title: "Changed", Human: "alice", View: Problem{
			Title: "Something changed meanwhile", Message: "bob denied this 20 seconds ago: nothing of yours was counted", Next: "look at it again", Back: "/requests/01jd7", BackText: "Look at it again",
		}}},
		{"problem-changed", PageProblem, Frame{Title: "Changed", Human: "alice", View: Problem{
			Title: "Something changed meanwhile", Message: "This changed since it was shown: nothing is signed.", Next: "look at it again", Back: "/requests/01jd7", BackText: "Look at it again",
		}}},
		{"problem-not-found", PageProblem, Frame{Title: "Not found", Human: "alice", View: Problem{Title: "There is no such thing", Message: "It does not exist, or it is not yours to see.", Back: "/", BackText: "To the inbox"}}},
	}
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
