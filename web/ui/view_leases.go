package ui

import (
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Leases is the view of PageLeases.
type Leases struct {
	Stuck string // how many could not be ended, over all pages; empty: none
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
	Until                          Moment // before its time is over
	Ended                          Moment // once it has ended
	Why                            string // it ended, or is to end
	Request                        string // path
	End                            string // path of the page that ends it; empty where this human may not
}

// LeasesOf makes the view. Of open, a page begins after the lease with the id after, "" being the newest.
func LeasesOf(open, ended []broker.Lease, after string, mayEnd func(broker.Lease) bool, configuration *broker.Configuration, now time.Time) Leases {
	const page, last = 50, 50
	view := Leases{Stuck: stuckText(open)}
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

// stuckText tells of keys that may work although they were to end.
func stuckText(open []broker.Lease) string {
	stuck := 0
	for _, l := range open {
		if l.State == broker.LeaseStuck {
			stuck++
		}
	}
	if stuck == 0 {
		return ""
	}
	return count(stuck, "lease") + " could not be ended and may still work."
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
	for i := range row.Granted {
		if row.Granted[i].Target == l.Target { // which the row names already
			row.Granted[i].Target = ""
		}
	}
	if !l.Open() {
		row.Ended = onClock(l.Ended)
		return row
	}
	if now.Before(l.Expires) { // "its time is over" beside "may still work" reads as if it did not
		row.Until = countdown(l.Expires, now)
	}
	if ends {
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
			return "Cannot be ended early: still works"
		}
		return "Ending"
	case broker.LeaseEnded:
		return "Ended"
	case broker.LeaseStuck:
		return "Stuck: may still work"
	}
	return "Unknown state"
}

// leaseCause says in words why a lease ended, or is to end; empty while nothing makes it.
func leaseCause(l broker.Lease) string {
	if l.Open() {
		return openCause(l)
	}
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
		return "issuing failed"
	}
	return string(l.Cause)
}

// openCause never says that a lease has ended: its key may still work.
func openCause(l broker.Lease) string {
	switch l.Cause {
	case broker.CauseExpired:
		return "its time is over"
	case broker.CauseReleased:
		return "the agent gives it back"
	case broker.CauseRevoked:
		return actor(l.By) + " asked for its end"
	case broker.CauseFrozen:
		return "frozen by " + actor(l.By)
	case broker.CauseReplaced:
		return "the agent collected anew"
	case broker.CauseFailed:
		return "issuing failed"
	}
	return string(l.Cause)
}

// allowed says what a lease may do at its target, scope by scope.
func allowed(scopes []broker.Scope) string {
	each := make([]string, len(scopes))
	for i, scope := range scopes {
		each[i] = joined(scope.Actions.Names()) + " " + string(scope.Resource)
	}
	return listed(each)
}

// EndLease asks whether a lease is to be ended.
func EndLease(l broker.Lease, now time.Time) Confirm {
	view := Confirm{
		Question: "End this lease?",
		Sentence: []Word{plain("The key of "), strong(l.Agent), plain(" to "), strong(l.Target), plain(" in "), strong(l.Environment), plain(" stops working.")},
		Facts: []NamedFact{
			{"For task", l.Task, false}, {"On behalf of", l.Owner, false}, {"It may", allowed(l.Scopes), true},
			{"Ends by itself", clock(l.Expires) + ", " + left(l.Expires, now), false}, {"Lease", l.ID, true},
		},
		Care:   "What runs with it breaks off. The agent may ask again; to stop that, freeze the agent.",
		Action: LeaseEndPath(l.ID), Button: "End it now", Back: "/leases", BackText: "Keep it",
	}
	if !l.EndsEarly {
		view.Sentence[6] = plain(" cannot be stopped early.")
		view.Care, view.Button = "It is marked as ended here, and may still work at the target until "+clock(l.Expires)+". To keep the agent from asking again, freeze it.", "Mark it as ended"
	}
	return view
}
