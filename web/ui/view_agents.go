package ui

import (
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Agents is the view of PageAgents.
type Agents struct {
	Rows    []AgentRow
	Pager   Pager
	All     bool     // this human sees everybody's agents
	MayAdd  bool     //
	Owners  []string // who can be an owner, to choose from
	Adding  AddAgent // the form as it was sent, when it was not taken
	Problem string   // why
}

// AddAgent is the form that adds an agent, as it was sent.
type AddAgent struct{ Name, Owner string }

// AgentRow is one agent in a list.
type AgentRow struct {
	Path, Name, Owner string
	State, StateText  string
	Frozen            string
	Asked             string // when it asked last
}

// AgentsOf makes the view of a page of agents: list is sorted by name and begins behind the name after, with which
// the page before ended. asked tells when they asked last, for those that ever did.
func AgentsOf(list []broker.Agent, freezes []broker.Freeze, asked map[string]time.Time, after string, now time.Time) Agents {
	const page = 50
	var view Agents
	if after != "" {
		view.Pager.First = "/agents"
	}
	for _, a := range list[:min(len(list), page)] {
		view.Rows = append(view.Rows, AgentRow{
			Path: AgentPath(a.Name), Name: a.Name, Owner: a.Owner, State: string(a.State), StateText: agentState(a.State),
			Frozen: frozenText(freezes, broker.FreezeAgent, a.Name), Asked: lastAsked(asked[a.Name], now),
		})
	}
	if len(list) > page {
		view.Pager.Next, view.Pager.Text = with("/agents", map[string]string{"after": list[page-1].Name}), "More agents"
	}
	return view
}

func lastAsked(at, now time.Time) string {
	if at.IsZero() {
		return "never asked for anything"
	}
	return "asked last " + ago(at, now)
}

// frozenText says that something is frozen, and for how long; empty when it is not.
func frozenText(freezes []broker.Freeze, of broker.FreezeKind, name string) string {
	at := slices.IndexFunc(freezes, func(f broker.Freeze) bool { return f.Of == of && f.Name == name })
	switch {
	case at < 0:
		return ""
	case freezes[at].Until.IsZero():
		return "Frozen until an operator lifts it"
	}
	return "Frozen until " + clock(freezes[at].Until)
}

// frozenPath is where the freeze is of which frozenText tells; empty when there is none.
func frozenPath(freezes []broker.Freeze, of broker.FreezeKind, name string) string {
	if frozenText(freezes, of, name) == "" {
		return ""
	}
	return FreezePath(broker.Freeze{Of: of, Name: name}.ID())
}

// AgentMore is what an agent's page has beside what its owner signs.
type AgentMore struct {
	Name, Path  string
	Frozen      string
	FreezePath  string // where the freeze is told of and lifted
	Operates    bool   // this human may freeze and remove it
	Requests    []RequestRow
	AllRequests string // path
	Open, Ended []LeaseRow
}

// AgentHistory is what happened with an agent so far, newest first.
type AgentHistory struct {
	Requests []broker.Request
	Leases   []broker.Lease
	Freezes  []broker.Freeze // in force, for whatever
}

// AgentMoreOf makes that part of an agent's page. operates: this human may freeze, end and remove. Whoever sees an
// agent may look at its freeze.
func AgentMoreOf(a broker.Agent, h AgentHistory, operates bool, configuration *broker.Configuration, now time.Time) *AgentMore {
	more := &AgentMore{
		Name: a.Name, Path: AgentPath(a.Name), Frozen: frozenText(h.Freezes, broker.FreezeAgent, a.Name),
		FreezePath: frozenPath(h.Freezes, broker.FreezeAgent, a.Name),
		Operates:   operates && a.State != broker.AgentRemoved, AllRequests: RequestFilter{Agent: a.Name}.Path(),
	}
	for _, r := range h.Requests {
		more.Requests = append(more.Requests, requestRow(r, configuration, now))
	}
	for _, l := range h.Leases {
		if row := leaseRow(l, operates, configuration, now); l.Open() {
			more.Open = append(more.Open, row)
		} else {
			more.Ended = append(more.Ended, row)
		}
	}
	return more
}

// RemoveAgent asks whether an agent is to be removed.
func RemoveAgent(a broker.Agent) Confirm {
	return Confirm{
		Question: "Remove this agent?",
		Sentence: []Word{strong(a.Name), plain(" works on behalf of "), strong(a.Owner), plain(". Removed, it may ask for nothing any more.")},
		Care:     "Its requests are cancelled and its leases end now. The name stays " + a.Owner + "'s: only for them can it be added again, with a new key.",
		Action:   AgentPath(a.Name), Fields: []Field{{"do", "remove"}}, Button: "Remove it", Danger: true, Back: AgentPath(a.Name), BackText: "Keep it",
	}
}
