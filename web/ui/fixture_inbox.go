package ui

import (
	"fmt"
	"time"

	"github.com/hourkey/hourkey/broker"
)

func inboxFixtures(now time.Time) []Fixture {
	reset, _ := ResetNotice("alice", now.Add(-26*time.Hour), now)
	page := func(file string, in broker.Inbox, recent []broker.Request, notices ...Notice) Fixture {
		return Fixture{file, PageInbox, Frame{
			Title: "Inbox", Human: "alice", Nav: Navigation("/", Doors{Environments: true, People: true}), Notices: notices,
			Live: Live{Now: machine(now)}, View: InboxOf(in, recent, fixtureConfiguration(), now),
		}}
	}
	return []Fixture{
		page("inbox-empty", broker.Inbox{}, nil),
		page("inbox", fixtureInbox(now), fixtureRecent(now), MistakesNotice(), reset),
		page("inbox-frozen", broker.Inbox{Freezes: []broker.Freeze{fixtureFreeze(now)}}, nil),
		page("inbox-many", fixtureFlood(now), nil),
		page("inbox-cut", broker.Inbox{Requests: []broker.Request{fixtureOperation(now)}, Waiting: 1241, Cut: true}, nil),
		page("inbox-cut-none", broker.Inbox{Waiting: 40, Cut: true}, nil),
		page("inbox-sign-on-again", broker.Inbox{Away: true}, nil, SignOnNotice("/")),
		page("inbox-sign-on-again-some", broker.Inbox{Away: true, Agents: []broker.Agent{fixtureAgent(now)}}, nil, SignOnNotice("/")),
	}
}

func fixtureInbox(now time.Time) broker.Inbox {
	repeated := fixtureRequest(now)
	repeated.Repeats = 4
	return broker.Inbox{
		Requests: []broker.Request{fixtureOperation(now), repeated, fixtureHostile(now)}, Waiting: 3,
		Agents:  []broker.Agent{fixtureAgent(now)},
		Pins:    []broker.Pin{fixturePin(now)},
		Invites: []broker.Invite{fixtureInvite(now)},
		Freezes: []broker.Freeze{fixtureFreeze(now)},
	}
}

func fixtureRecent(now time.Time) []broker.Request {
	collected, denied := fixtureRequest(now), fixtureRequest(now)
	collected.ID, collected.Agent, collected.Task, collected.State = "01jd6", "ci/deploy", "deploy-shop", broker.RequestCollected
	denied.ID, denied.State = "01jd5", broker.RequestDenied
	return []broker.Request{collected, denied}
}

// fixtureFlood is what one agent can do to an inbox: the worst fifty of ten thousand.
func fixtureFlood(now time.Time) broker.Inbox {
	in := broker.Inbox{Waiting: 10000}
	for i := range 50 {
		r := fixtureRequest(now)
		r.ID, r.Agent, r.Repeats = fmt.Sprintf("01jd7w3k9q8r6t5y4v2x1z%04d", i), "ci/nightly", i%3
		r.Items = []broker.Item{fixtureDatabase(now)}
		r.Items[0].Description.Scopes = []broker.Scope{{Target: "orders-db", Resource: broker.Resource(fmt.Sprintf("public.orders_%04d", i)), Actions: broker.Delete}}
		in.Requests = append(in.Requests, r)
	}
	return in
}
