package ui

import (
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Leases is the view of PageLeases.
type Leases struct {
	Open  []LeaseRow
	Pager Pager // of the open ones
	Ended []LeaseRow
	More  bool // more have ended than are shown
}

// LeaseRow is one lease in a list.
type LeaseRow struct {
	ID, Agent, Owner, Task, Target string
	Environments                   []Environment // in which it works, its own first
	Granted                        []Granted
	More                           int
	State, StateText               string
	Trouble                        string // why it has not ended, where it should have
	Until                          Moment // while it lives
	Ended                          Moment // and after
	Why                            string // it ended, or ends
	Request                        string // path
	End                            string // path of the page that ends it; empty where this human may not
}

// LeasesOf makes the view. Of open, a page begins after the lease with the id after, "" being the newest.
func LeasesOf(open, ended []broker.Lease, after string, mayEnd func(broker.Lease) bool, configuration *broker.Configuration, now time.Time) Leases {
	const page, last = 50, 50
	var view Leases
	if at := slices.IndexFunc(open, func(l broker.Lease) bool { return l.ID == after }); at >= 0 {
		open, view.Pager.First = open[at+1:], "/leases"
	}
	for _, lease := range open[:min(len(open), page)] {
		view.Open = append(view.Open, leaseRow(lease, mayEnd(lease), configuration, now))
	}
	if len(open) > page {
		view.Pager.Next, view.Pager.Text = with("/leases", map[string]string{"after": open[page-1].ID}), "Older leases"
	}
	for _, lease := range ended[:min(len(ended), last)] {
		view.Ended = append(view.Ended, leaseRow(lease, false, configuration, now))
	}
	view.More = len(ended) > last
	return view
}

func leaseRow(l broker.Lease, ends bool, configuration *broker.Configuration, now time.Time) LeaseRow {
	places := []string{l.Environment}
	for _, environment := range l.Reaches {
		if !slices.Contains(places, environment) {
			places = append(places, environment)
		}
	}
	row := LeaseRow{
		ID: l.ID, Agent: l.Agent, Owner: l.Owner, Task: l.Task, Target: l.Target, Environments: environmentsOf(places, configuration),
		State: string(l.State), StateText: leaseState(l, now), Request: RequestPath(l.Request), Why: leaseCause(l),
	}
	row.Granted, row.More = granted(l.Scopes, byItsName)
	if !l.Open() {
		row.Ended = onClock(l.Ended)
		return row
	}
	if row.Until = countdown(l.Expires, now); ends {
		row.End = LeaseEndPath(l.ID)
	}
	if l.LastError != "" {
		row.Trouble = "The provider did not confirm the end: " + short(l.LastError, 300) + ". It is tried again at " + clock(l.Retry) + "."
	}
	return row
}

// LeaseEndPath is where the page is that ends a lease.
func LeaseEndPath(id string) string { return "/leases/" + escape(id) + "/end" }

func leaseState(l broker.Lease, now time.Time) string {
	switch l.State {
	case broker.LeaseIssuing:
		return "Being issued"
	case broker.LeaseLive:
		if !now.Before(l.Expires) {
			return "Its time is over"
		}
		return "Live"
	case broker.LeaseEnding:
		if !l.EndsEarly && now.Before(l.Expires) {
			return "Ends by itself, no sooner"
		}
		return "Ending"
	case broker.LeaseEnded:
		return "Ended"
	case broker.LeaseStuck:
		return "Stuck: may still work"
	}
	return "Unknown state"
}

// leaseCause says in words why a lease ends, empty while nothing makes it.
func leaseCause(l broker.Lease) string {
	switch l.Cause {
	case broker.CauseExpired:
		return "its time was over"
	case broker.CauseReleased:
		return "given back by the agent"
	case broker.CauseRevoked:
		return "ended by " + actor(l.By)
	case broker.CauseFrozen:
		return "by a freeze of " + actor(l.By)
	case broker.CauseReplaced:
		return "collected again by the agent"
	case broker.CauseFailed:
		return "it was never issued whole"
	}
	return string(l.Cause)
}

// EndLease asks whether a lease is to be ended.
func EndLease(l broker.Lease, now time.Time) Confirm {
	view := Confirm{
		Question: "End this lease?",
		Sentence: []Word{plain("The key of "), strong(l.Agent), plain(" to "), strong(l.Target), plain(" in "), strong(l.Environment), plain(" stops working.")},
		Facts: []NamedFact{
			{"For task", l.Task, false}, {"On behalf of", l.Owner, false}, {"May", listed(broker.Texts(l.Scopes)), true},
			{"Its own end", clock(l.Expires) + ", " + left(l.Expires, now), false}, {"Lease", l.ID, true},
		},
		Care:   "What runs with it breaks off. The agent may ask again; to stop that, freeze the agent.",
		Action: LeaseEndPath(l.ID), Button: "End it now", Back: "/leases", BackText: "Leave it",
	}
	if !l.EndsEarly {
		view.Care = "Its issuer cannot end a key before its time: it is marked as ended here, and may still work there for as long as is left."
	}
	return view
}
