package ui

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Request is the view of PageRequest, in the order in which it is read.
type Request struct {
	ID, Path, Digest string
	State            broker.RequestState
	StateText        string

	Once         bool // one call through the gateway, and no credential
	Agent        string
	Clauses      []Clause
	Environments []Environment
	TTL          string
	Task, Owner  string
	AlsoReaches  []string
	Outcome      string // why it is not pending any more, in a reviewer's words

	Items     []Item
	Reasons   []broker.Reason
	Needs     []Need
	Approvals []Approval
	Words     string // the agent's own (invariant 11)
	AgentKey  string

	Decides  bool // it waits for this human
	Denies   bool // this human may deny it; an owner may always stop the own agent
	NotYours string
	Deadline string
	Sign     Sign
}

// Clause is what is asked of the resources that the same is asked of; the sentence has the worst first.
type Clause struct {
	Before    string
	Actions   []Action
	Resources []string // the first few; the items list all
	More      int
}

// Environment is one environment of the sentence.
type Environment struct {
	Before, Name string
	Protected    bool
}

// Item is one target of the request.
type Item struct {
	Target, Environment, Identity string
	Scopes                        []ScopeList
	Facts                         []Fact
	Reaches                       []string // environments beside its own
	Elsewhere                     []string // what lives there too, in sentences
	Native                        []string
	Walls                         []Wall
	Exceptions                    []broker.Exception
	TTL, Ends                     string
}

// ScopeList is what an item reaches, in one degree of danger.
type ScopeList struct {
	Title  string
	Scopes []Scope
}

// Scope is one line of what an item reaches.
type Scope struct {
	Actions  []Action
	Resource string
	Prefix   bool
}

// Fact is a size or count and when it was taken.
type Fact struct{ About, Text, At string }

// Need is how many humans must sign for an environment, and how many did.
type Need struct{ Environment, Text string }

// Approval is one signature so far.
type Approval struct{ Reviewer, At string }

// Context is what a request's page depends on beside the request.
type Context struct {
	Human         string
	Decides       bool // the request is in this human's inbox
	Approvals     []broker.Approval
	Pins          []broker.Pin // to tell what an identity is in words
	Configuration *broker.Configuration
	Now           time.Time
}

// inSentence is how many resources the sentence names before it only counts.
const inSentence = 3

// RequestOf makes the view of a request: what would be issued as things stand, never what was asked
// first and has been narrowed since.
func RequestOf(r broker.Request, c Context) Request {
	view := Request{
		ID: r.ID, Path: RequestPath(r.ID), Digest: r.Digest(), State: r.State, StateText: stateText(r.State, r.Operation != nil),
		Once: r.Operation != nil, Agent: r.Agent, Clauses: clausesOf(r), TTL: span(r.EffectiveTTL()), Task: r.Task, Owner: r.Owner,
		Reasons: r.Decision.Reasons, Words: r.Reason, AgentKey: r.AgentKey,
		Decides: c.Decides, Denies: c.Decides || r.State == broker.RequestPending && r.Owner == c.Human,
		NotYours: notYours(r, c), Deadline: "It waits until " + clock(r.Deadline) + ": " + left(r.Deadline, c.Now) + ".",
	}
	view.Environments = environmentsOf(r.Environments, c.Configuration)
	for _, item := range r.Effective() {
		view.Items = append(view.Items, itemOf(r, item, c.Pins))
		view.AlsoReaches = append(view.AlsoReaches, foreign(item.Description.Reaches, append(r.Environments, view.AlsoReaches...))...)
	}
	for _, need := range r.Needs {
		view.Needs = append(view.Needs, Need{need.Environment, needText(need, c)})
	}
	for _, approval := range c.Approvals {
		view.Approvals = append(view.Approvals, Approval{approval.Reviewer, clock(approval.At)})
	}
	if r.Verdict != "" {
		view.Outcome = "The reviewer said: " + r.Verdict
	}
	view.Sign = Sign{broker.ActApprove, r.ID, view.Digest, "Approve…"}
	return view
}

func clausesOf(r broker.Request) []Clause {
	resources := map[broker.Actions][]string{} // set of actions → what it is asked of
	for _, item := range r.Effective() {
		for _, scope := range item.Description.Scopes {
			if name := r.Called(scope.Resource); !slices.Contains(resources[scope.Actions], name) {
				resources[scope.Actions] = append(resources[scope.Actions], name)
			}
		}
	}
	sets := slices.Collect(maps.Keys(resources))
	slices.SortFunc(sets, func(a, b broker.Actions) int { return cmp.Compare(b, a) }) // admin, then delete, are the highest bits
	clauses := make([]Clause, len(sets))
	for i, set := range sets {
		names := resources[set]
		first := names[:min(len(names), inSentence)]
		clauses[i] = Clause{Actions: actionsOf(set), Resources: first, More: len(names) - len(first)}
		if i > 0 {
			clauses[i].Before = "; to "
		}
	}
	return clauses
}

func environmentsOf(names []string, configuration *broker.Configuration) []Environment {
	list := make([]Environment, len(names))
	for i, name := range names {
		list[i] = Environment{Name: name}
		if e, known := configuration.Environments[name]; known {
			list[i].Protected = e.Protected
		}
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

func itemOf(r broker.Request, item broker.Item, pins []broker.Pin) Item {
	d, ttl := item.Description, r.EffectiveTTL()
	view := Item{
		Target: item.Target, Environment: item.Environment, Identity: identityOf(d.Identity, pins),
		Scopes: scopeLists(d.Scopes, r.Called), Reaches: foreign(d.Reaches, []string{item.Environment}), Elsewhere: d.Elsewhere, Native: d.Native, Walls: walls(d.Walls),
		Exceptions: d.Exceptions, TTL: span(min(ttl, d.TTL)), Ends: d.Ends,
	}
	if ttl == 0 {
		view.TTL = span(d.TTL)
	}
	for _, fact := range item.Facts {
		view.Facts = append(view.Facts, Fact{fact.About, fact.Text, clock(fact.At)})
	}
	return view
}

// scopeLists has every scope once, in the list of the worst that it allows.
func scopeLists(scopes []broker.Scope, called func(broker.Resource) string) []ScopeList {
	lists := []ScopeList{{Title: "What gives it more power"}, {Title: "What can be destroyed"}, {Title: "What else it can do"}}
	for _, scope := range scopes {
		at := 2
		switch {
		case scope.Actions.Has(broker.Delete):
			at = 1
		case scope.Actions.Has(broker.Admin):
			at = 0
		}
		lists[at].Scopes = append(lists[at].Scopes, Scope{actionsOf(scope.Actions), called(scope.Resource), scope.Resource.IsPrefix()})
	}
	return slices.DeleteFunc(lists, func(l ScopeList) bool { return len(l.Scopes) == 0 })
}

// identityOf gives the words that an operator confirmed for this identity, and the identity itself.
func identityOf(id string, pins []broker.Pin) string {
	for _, pin := range pins {
		if pin.Identity.ID == id && pin.Identity.Shown != "" && pin.Identity.Shown != id {
			return pin.Identity.Shown + " (" + id + ")"
		}
	}
	return id
}

// needText counts the signatures that may count for the environment: the broker counts again.
func needText(need broker.Need, c Context) string {
	have := 0
	for _, approval := range c.Approvals {
		if c.Configuration.MayReview(approval.Reviewer, need.Environment) {
			have++
		}
	}
	return fmt.Sprintf("%d of %s", have, count(need.Humans, "approval"))
}

func stateText(state broker.RequestState, once bool) string {
	switch {
	case once && state == broker.RequestApproved:
		return "Approved, not used yet"
	case once && state == broker.RequestCollected:
		return "Approved and used"
	}
	switch state {
	case broker.RequestPending:
		return "Waiting for a human"
	case broker.RequestApproved:
		return "Approved, not collected yet"
	case broker.RequestCollected:
		return "Approved and collected"
	case broker.RequestDenied:
		return "Denied"
	case broker.RequestExpired:
		return "Expired"
	case broker.RequestCancelled:
		return "Withdrawn by the agent"
	}
	return "Unknown state"
}

func notYours(r broker.Request, c Context) string {
	if r.State != broker.RequestPending {
		return "Nothing is left to decide here."
	}
	for _, approval := range c.Approvals {
		if approval.Reviewer == c.Human {
			return "You signed this. It waits for others."
		}
	}
	if r.Owner == c.Human {
		return "You are the agent's owner: others approve this, but you can deny it."
	}
	return "This waits for other people, not for you."
}

// RequestPath is where a request's page is.
func RequestPath(id string) string { return "/requests/" + escape(id) }

// AgentPath is where an agent's page is.
func AgentPath(name string) string { return "/agents/" + escape(name) }

// TargetPath is where the page of environment/target is.
func TargetPath(subject string) string { return "/targets/" + escape(subject) }

// HumanPath is where the page of an invited human is.
func HumanPath(name string) string { return "/humans/" + escape(name) }

// FreezePath is where a freeze's page is.
func FreezePath(id string) string { return "/freezes/" + escape(id) }

// escape keeps the slashes of agent names and environment/target.
func escape(text string) string {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// Wall is one wall of an item, in words.
type Wall struct {
	Wall broker.Wall
	Says string // "stops", "does not stop"
	What string
	How  string
}

// walls puts first what a reviewer must know: what is not held.
func walls(facts []broker.WallFact) []Wall {
	order := []broker.Wall{broker.WallNone, broker.WallWeak, broker.WallGateway, broker.WallNative}
	says := map[broker.Wall]string{broker.WallNone: "nothing stops", broker.WallWeak: "stops only in part"}
	sorted := slices.Clone(facts)
	slices.SortStableFunc(sorted, func(a, b broker.WallFact) int { return slices.Index(order, a.Wall) - slices.Index(order, b.Wall) })
	views := make([]Wall, len(sorted))
	for i, fact := range sorted {
		views[i] = Wall{Wall: fact.Wall, Says: "stops", What: fact.Stops, How: fact.How}
		if word, weak := says[fact.Wall]; weak {
			views[i].Says = word
		}
	}
	return views
}

// outcome is how a deciding line is announced.
func outcome(o broker.Outcome) string {
	switch o {
	case broker.Allow:
		return "Allows:"
	case broker.Escalate:
		return "Asks a human:"
	case broker.Deny:
	}
	return "Denies:"
}
