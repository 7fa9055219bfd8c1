package broker

import (
	"fmt"
	"math"
	"time"
)

// The clocks of a request.
const (
	PendingFor = time.Hour        // a request waits at most so long for humans
	CollectFor = 10 * time.Minute // after the last approval
)

// Request is an ask that was resolved, described and decided.
type Request struct {
	ID           string        `json:"id"`
	Agent        string        `json:"agent"`
	AgentKey     string        `json:"agent_key"` // thumbprint; only this key may see and collect
	Owner        string        `json:"owner"`
	Task         string        `json:"task"`
	Environments []string      `json:"environments"`
	Reason       string        `json:"reason"` // the agent's words (invariant 11)
	TTL          time.Duration `json:"ttl"`
	Items        []Item        `json:"items"`
	Decision     Decision      `json:"decision"`
	Granted      []Item        `json:"granted,omitempty"` // as narrowed by reviewers; nil: Items
	GrantedTTL   time.Duration `json:"granted_ttl,omitempty"`
	Needs        []Need        `json:"needs"`            // humans, by environment; empty when allowed at once
	Signed       int           `json:"signed,omitempty"` // humans whose approval counts; not all of them in every environment
	State        RequestState  `json:"state"`
	Verdict      string        `json:"verdict,omitempty"` // a reviewer's words on a denial; ours, when a reload ended it
	Config       string        `json:"config"`            // configuration hash it was decided under
	Idempotency  string        `json:"idempotency,omitempty"`
	AskDigest    string        `json:"ask_digest"`
	AskFold      string        `json:"ask_fold,omitempty"` // digest of the ask without the agent's words
	Fold         string        `json:"fold,omitempty"`     // digest of what it stands for: while one waits, the same is that one
	Repeats      int           `json:"repeats,omitempty"`  // how often the same came again while it was pending
	Loss         int           `json:"loss,omitempty"`     // how much can be lost, 0 to 9, to sort by
	Created      time.Time     `json:"created"`
	Decided      time.Time     `json:"decided,omitzero"`     // when it ceased to be pending
	DecidedBy    string        `json:"decided_by,omitempty"` // actor: who said no, or was the last to sign
	ClosedBy     string        `json:"closed_by,omitempty"`  // actor, as the event names it: who or what ended it without a yes ("broker": its time, or the configuration, was over)
	Was          RequestState  `json:"was,omitempty"`        // pending or approved: what it was before it was ended so
	Deadline     time.Time     `json:"deadline"`             // pending: for humans; approved: for collecting
	Collected    int           `json:"collected"`
	Operation    *Operation    `json:"operation,omitempty"` // one call through the gateway, instead of a credential
	Expires      time.Time     `json:"expires,omitzero"`    // of its leases, from the first collect on
}

// RequestState is how far a request has come.
type RequestState string

// The states of a request.
const (
	RequestPending   RequestState = "pending"
	RequestApproved  RequestState = "approved" // by policy alone, or by the last human
	RequestCollected RequestState = "collected"
	RequestDenied    RequestState = "denied"
	RequestExpired   RequestState = "expired"
	RequestCancelled RequestState = "cancelled"
)

// Item is one target of a request: what was asked there, and what would be issued.
type Item struct {
	Environment string      `json:"environment"`
	Target      string      `json:"target"`
	Asked       []Scope     `json:"asked"`
	Description Description `json:"description"`
	Facts       []Fact      `json:"facts,omitempty"` // shown, not digested
}

// Need is how many distinct humans of which groups must approve for one environment.
type Need struct {
	Environment string `json:"environment"`
	Humans      int    `json:"humans"`
}

// Digest identifies what a reviewer is shown and signs: all but what changes with time.
func (r Request) Digest() string {
	return digest("hourkey/request/1", struct {
		ID, Agent, AgentKey, Owner, Task, Reason, Config string
		Environments                                     []string
		TTL                                              time.Duration
		Items, Granted                                   []StatementItem
		GrantedTTL                                       time.Duration
		Needs                                            []Need
		Operation                                        *Operation `json:",omitempty"`
	}{
		r.ID, r.Agent, r.AgentKey, r.Owner, r.Task, r.Reason, r.Config, r.Environments, r.TTL,
		statementItems(r.Items), statementItems(r.Granted), r.GrantedTTL, r.Needs, r.Operation,
	})
}

// Effective is what would be issued as things stand: the items, as narrowed so far.
func (r Request) Effective() []Item {
	if r.Granted != nil {
		return r.Granted
	}
	return r.Items
}

// EffectiveTTL is how long it would live as things stand.
func (r Request) EffectiveTTL() time.Duration {
	if r.GrantedTTL != 0 {
		return r.GrantedTTL
	}
	return r.TTL
}

// HadPassed tells whether policy alone, or the last human, had approved this, whatever became of it then.
func (r Request) HadPassed() bool {
	switch {
	case r.State == RequestPending, r.State == RequestDenied:
		return false
	case r.State == RequestApproved, r.State == RequestCollected:
		return true
	case r.Was != "":
		return r.Was == RequestApproved
	}
	return !r.Deadline.Equal(r.Created.Add(PendingFor)) // kept by an older broker: only a yes moved the deadline
}

// Actions is the union of the actions of what would be issued, and of what its walls do not hold.
func (r Request) Actions() Actions {
	var all Actions
	for _, item := range r.Effective() {
		all |= AllActions(item.Description.Means())
	}
	return all
}

// Meta places requests by id (ids sort by time); newest first over all and by agent; by state when open, and
// by deadline.
func (r *Request) Meta() Meta {
	newest := newestFirst(r.Created)
	m := Meta{Kind: "request", Key: r.ID, Format: 1, Index: []Entry{{"recent", newest}, {"agent/" + r.Agent, newest}}}
	if r.Operation != nil {
		m.Index = append(m.Index, Entry{"operation/" + r.Operation.Digest, newest}, Entry{"about/" + r.Operation.About, newest})
	}
	switch r.State {
	case RequestPending:
		m.Index = append(m.Index, Entry{Name: "pending"}, Entry{Name: "pending/" + r.Agent}, Entry{Name: "deadline", Order: order(r.Deadline)})
		for _, need := range r.Needs {
			m.Index = append(m.Index, Entry{"waiting/" + need.Environment, r.urgency()})
		}
		if r.Operation == nil {
			m.Index = append(m.Index, Entry{Name: foldIndex(r.Agent, r.Fold)}, Entry{Name: foldIndex(r.Agent, r.AskFold)})
		}
	case RequestApproved:
		m.Index = append(m.Index, Entry{Name: "deadline", Order: order(r.Deadline)}, Entry{Name: uncollectedIndex(r.Agent)})
	case RequestDenied:
		m.Index = append(m.Index, Entry{"denied/" + r.Agent, newestFirst(r.Decided)})
	case RequestCancelled:
		if len(r.Needs) > 0 {
			m.Index = append(m.Index, Entry{"withdrawn/" + r.Agent, newestFirst(r.Decided)})
		}
	case RequestCollected, RequestExpired:
	}
	return m
}

// uncollectedIndex holds what an agent may collect and has not.
func uncollectedIndex(agent string) string { return "uncollected/" + agent }

// foldIndex holds what waits for the same ask, or what stands for the same, of the same agent.
func foldIndex(agent, fold string) string { return "fold/" + agent + "/" + fold }

// fold tells two requests apart that a human would have to read twice, however they were asked for.
func (r Request) fold() string {
	return digest("hourkey/fold/1", struct {
		Task         string
		Environments []string
		TTL          time.Duration
		Items        []StatementItem
	}{r.Task, r.Environments, r.TTL, statementItems(r.Items)})
}

// urgency sorts what waits: the worst loss first, then what ends soonest.
func (r *Request) urgency() string { return fmt.Sprintf("%d", 9-min(r.Loss, 9)) + order(r.Deadline) }

// loss estimates how much a request could cost, 0 to 9: deletes in protected environments most, then power
// there, then the same elsewhere, then writes.
func (c *Configuration) loss(r Request) int {
	most := 0
	for _, item := range r.Effective() {
		actions := AllActions(item.Description.Means())
		for _, name := range item.environments() {
			e, known := c.Environments[name]
			weight := map[bool]int{true: 1, false: 0}[!known || e.Protected]
			switch {
			case actions.Has(Delete):
				most = max(most, 6+3*weight)
			case actions.Has(Admin):
				most = max(most, 5+3*weight)
			case actions.Has(Write):
				most = max(most, 3+weight)
			default:
				most = max(most, 1+weight)
			}
		}
	}
	return most
}

// progress is what changes of a stored Request once it is approved: enough to see whether somebody else
// was quicker, without decoding the rest inside a transaction.
type progress struct {
	ID        string       `json:"id"`
	State     RequestState `json:"state"`
	Collected int          `json:"collected"`
}

// Meta is the Request's. A progress is loaded, never saved.
func (p *progress) Meta() Meta { return Meta{Kind: "request", Key: p.ID, Format: 1} }

// order makes a time sort as text.
func order(t time.Time) string { return t.UTC().Format("20060102150405.000000000") }

// newestFirst makes a later time sort before an earlier one.
func newestFirst(t time.Time) string {
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-t.UnixNano())) //nolint:gosec // between 1970 and 2262
}
