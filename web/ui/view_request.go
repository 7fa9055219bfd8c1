package ui

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Request is the view of PageRequest, in the order in which it is read.
type Request struct {
	ID, Path  string
	State     broker.RequestState
	StateText string
	Labels    []string // what else is to be known about its state, in a few words each
	Sentence  Sentence
	Phrase    string // the words that the agent's terminal shows too; empty when nothing is left to compare

	AlsoReaches []string // environments that the request does not name
	Outcome     []string // how it ended, in sentences
	Endable     bool     // what it gave may still work
	Words       string   // of the reviewer who denied
	Removed     []Scope  // what reviewers took out
	Shortened   string   // for how long it was asked, when that is less now
	OneHuman    string   // that an approval here can be one by the agent's own owner
	Frozen      string   // that its agent is frozen

	Why     string // the title above the reasons
	Once    bool   // one call through the gateway, and no credential
	Items   []Item
	Reasons []broker.Reason
	Needs   []Need
	Signed  []Signed
	History History

	Reason, AgentKey string // the agent's own words (invariant 11), and its key
	Asked            string // when

	Decide Decide
}

// Sentence is the whole request in one sentence.
type Sentence struct {
	Agent, Verb  string
	Clauses      []Clause
	Environments []Environment // of all clauses; empty when the clauses name their own
	Once         bool
	TTL          string
	Task, Owner  string
}

// Clause is what is asked of the resources that the same is asked of; the sentence has the worst first.
type Clause struct {
	Before       string
	Actions      []Action
	Things       []Thing // the first few; the items list all
	More         int
	Environments []Environment // where, when the clauses differ in it
}

// Environment is one environment of a sentence. Before is what stands between it and the one before.
type Environment struct {
	Before, Name string
	Protected    bool
}

// Thing is the name of a resource where there is no room for all of a long one. Odd tells what in the
// whole name is not plain ASCII; Length is that of the whole when it is cut, else 0.
type Thing struct {
	Name, Odd string
	Length    int
}

// Need is how many humans must sign for an environment, and how many did.
type Need struct {
	Environment
	Signed, Humans int
	Text           string
}

// Signed is one signature so far.
type Signed struct {
	Reviewer, When string
	IsOwner        bool   // of the agent: it counts only where the environment says so
	Void           string // why it no longer counts; empty while it does
}

// Context is what a request's page depends on beside the request.
type Context struct {
	Human         string
	Decides       bool   // this human may approve it now (broker.MaySign), and has a passkey for it
	Why           string // why not, in words; of one that waits
	Rejects       bool   // this human may deny it now (broker.MayReject)
	Approvals     []broker.Approval
	Pins          []broker.Pin // to tell what an identity is in words
	History       broker.History
	Configuration *broker.Configuration
	DeniedBy      string         // who denied it, empty when it is not known
	Frozen        *broker.Freeze // of its agent, nil for none
	Now           time.Time
}

const (
	inSentence = 3   // resources that a sentence names before it only counts
	longName   = 120 // characters of a name in a sentence
)

// RequestOf makes the view of a request: what would be issued as things stand, never what was asked
// first and has been narrowed since.
func RequestOf(r broker.Request, c Context) Request {
	view := Request{
		ID: r.ID, Path: RequestPath(r.ID), State: r.State, StateText: stateText(r, c), Labels: labels(r),
		Sentence: sentenceOf(r, c.Configuration), Once: r.Operation != nil,
		Outcome: outcomeOf(r, c), Removed: removed(r), OneHuman: oneHuman(r, c.Human, c.Configuration),
		Endable: endable(r, c.Now), Why: "Why a human was asked", Asked: moment(r.Created, c.Now),
		Reasons: r.Decision.Reasons, Reason: r.Reason, AgentKey: r.AgentKey,
		History: historyOf(c.History, c.Configuration, c.Now),
	}
	if r.EffectiveTTL() != r.TTL {
		view.Shortened = span(r.TTL)
	}
	if r.State == broker.RequestPending {
		view.Phrase, view.Why = r.Phrase(), "Why a human is asked"
	}
	if len(r.Needs) == 0 {
		view.Why = "Why it was allowed"
	}
	if r.State == broker.RequestDenied { // another end has the broker's words, in its outcome
		view.Words = r.Verdict
	}
	if c.Frozen != nil {
		view.Frozen = stoppedText(*c.Frozen)
	}
	for _, item := range r.Effective() {
		view.Items = append(view.Items, itemOf(r, item, c))
		view.AlsoReaches = append(view.AlsoReaches, foreign(item.Description.Reaches, append(slices.Clip(r.Environments), view.AlsoReaches...))...)
	}
	for _, need := range r.Needs {
		view.Needs = append(view.Needs, needOf(need, r, c))
	}
	for _, approval := range c.Approvals {
		view.Signed = append(view.Signed, Signed{approval.Reviewer, moment(approval.At, c.Now), approval.Reviewer == r.Owner, approval.Void})
	}
	view.Decide = decideOf(r, c)
	return view
}

func sentenceOf(r broker.Request, configuration *broker.Configuration) Sentence {
	s := Sentence{Agent: r.Agent, Verb: verb(r), Once: r.Operation != nil, TTL: span(r.EffectiveTTL()), Task: r.Task, Owner: r.Owner, Clauses: clausesOf(r, configuration)}
	if sameEverywhere(s.Clauses) {
		s.Environments = s.Clauses[0].Environments
		for i := range s.Clauses {
			s.Clauses[i].Environments = nil
		}
	}
	return s
}

// verb keeps apart what an agent asks, and what reviewers made of it.
func verb(r broker.Request) string {
	switch {
	case r.State == broker.RequestPending && !isNarrowed(r):
		return "asks to"
	case r.State == broker.RequestPending:
		return "would be allowed to"
	case r.State == broker.RequestApproved:
		return "may"
	case r.State == broker.RequestCollected:
		return "was allowed to"
	}
	return "asked to"
}

func sameEverywhere(clauses []Clause) bool {
	for _, clause := range clauses {
		if !slices.Equal(clause.Environments, clauses[0].Environments) {
			return false
		}
	}
	return len(clauses) > 0
}

// clausesOf groups what is asked by what may be done and where, the worst first.
func clausesOf(r broker.Request, configuration *broker.Configuration) []Clause {
	type group struct {
		actions broker.Actions
		where   string
	}
	names := map[group][]string{} // what is asked, and where → of which resources
	for _, item := range r.Effective() {
		for _, scope := range item.Description.Means() {
			g := group{scope.Actions, strings.Join(places(item), " ")}
			if name := r.Called(scope.Resource); !slices.Contains(names[g], name) {
				names[g] = append(names[g], name)
			}
		}
	}
	groups := slices.SortedFunc(maps.Keys(names), func(a, b group) int { // admin, then delete, are the highest bits
		return cmp.Or(cmp.Compare(b.actions, a.actions), cmp.Compare(a.where, b.where))
	})
	clauses := make([]Clause, len(groups))
	for i, g := range groups {
		all := names[g]
		clauses[i] = Clause{Actions: actionsOf(g.actions), More: max(0, len(all)-inSentence), Environments: environmentsOf(strings.Fields(g.where), configuration)}
		for _, name := range all[:min(len(all), inSentence)] {
			clauses[i].Things = append(clauses[i].Things, thing(name, longName))
		}
		if i > 0 {
			clauses[i].Before = "; to"
		}
	}
	return clauses
}

// thing cuts a name that is longer than most characters. What is odd in it is told of the whole name.
func thing(name string, most int) Thing {
	t := Thing{Name: short(name, most), Odd: NotASCII(name)}
	if t.Name != name {
		t.Length = len([]rune(name))
	}
	return t
}

// places is where an item reaches, sorted.
func places(item broker.Item) []string {
	if len(item.Description.Reaches) == 0 {
		return []string{item.Environment}
	}
	return slices.Sorted(slices.Values(item.Description.Reaches))
}

func environmentsOf(names []string, configuration *broker.Configuration) []Environment {
	list := make([]Environment, len(names))
	for i, name := range names {
		list[i] = Environment{Name: name, Protected: protected(name, configuration)}
		switch {
		case i == 0:
		case i == len(names)-1:
			list[i].Before = " and"
		default:
			list[i].Before = ","
		}
	}
	return list
}

// protected is what an environment is by default, and so one that is not known any more.
func protected(name string, configuration *broker.Configuration) bool {
	environment, known := configuration.Environments[name]
	return !known || environment.Protected
}
