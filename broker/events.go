package broker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
)

// RequestEvent is the data of the hourkey.request.* events.
type RequestEvent struct {
	Agent        string       `json:"agent"`
	AgentKey     string       `json:"agent_key"`
	Owner        string       `json:"owner"`
	Task         string       `json:"task"`
	Environments []string     `json:"environments"`
	Items        []EventItem  `json:"items,omitempty"`
	TTL          string       `json:"ttl,omitempty"`
	Reason       string       `json:"reason,omitempty"`    // the agent's words
	Operation    string       `json:"operation,omitempty"` // of a one-off approval; cut as in CallEvent
	Outcome      Outcome      `json:"outcome,omitempty"`
	Reasons      []Reason     `json:"reasons,omitempty"`
	Needs        []Need       `json:"needs,omitempty"`
	Refusal      string       `json:"refusal,omitempty"`
	Code         Code         `json:"code,omitempty"`
	Asked        []string     `json:"asked,omitempty"` // humans whose approval counts
	Digest       string       `json:"digest,omitempty"`
	Config       string       `json:"config,omitempty"`
	Was          RequestState `json:"was,omitempty"`      // on an end: the state before
	Words        string       `json:"words,omitempty"`    // a reviewer's, on a rejection
	Seconds      float64      `json:"seconds,omitempty"`  // from submit to this
	Approval     *Approval    `json:"approval,omitempty"` // statement and assertion, for anyone to check

	Void []VoidApproval `json:"void,omitempty"` // on an approval: earlier ones that do not count any more

	// OwnerMayApprove names the environments in which the agent's owner is one of those asked: that human's own
	// signature counts there (owner_may_approve).
	OwnerMayApprove []string `json:"owner_may_approve,omitempty"`

	// Count is of hourkey.request.denied: so many asks since Since that were not answered, because the agent asked too
	// often for what it did not get. 0: one ask, which was.
	Count int       `json:"count,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// EventItem is one target of a request.
type EventItem struct {
	Environment string   `json:"environment"`
	Target      string   `json:"target"`
	Scopes      []string `json:"scopes"`
}

func (b *Broker) requestEvent(r Request) RequestEvent {
	data := RequestEvent{
		Agent: r.Agent, AgentKey: r.AgentKey, Owner: r.Owner, Task: r.Task, Environments: r.Environments, Items: eventItems(r.Effective()),
		TTL: r.EffectiveTTL().String(), Reason: r.Reason, Outcome: r.Decision.Outcome, Reasons: r.Decision.Reasons, Needs: r.Needs,
		Config: r.Config,
	}
	if r.Operation != nil {
		data.Operation = recorded(r.Operation.Text)
	}
	if len(r.Needs) > 0 { // nobody signs the others
		cfg := b.Configuration()
		data.Digest, data.Asked, data.OwnerMayApprove = r.Digest(), cfg.asked(r), cfg.ownerMayApprove(r)
	}
	return data
}

func eventItems(items []Item) []EventItem {
	out := make([]EventItem, len(items))
	for i, item := range items {
		out[i] = EventItem{item.Environment, item.Target, Texts(item.Description.Scopes)}
	}
	return out
}

// denialEvent is bounded, whatever was asked: the agent alone decides how long that is, and the log keeps it for good.
func denialEvent(ask Ask, agent Agent, refusal error) RequestEvent {
	data := RequestEvent{
		Agent: ask.Agent, AgentKey: ask.AgentKey, Owner: agent.Owner, Task: ask.Task, Environments: fitting(ask.Environments),
		Reason: ask.Reason, Outcome: Deny, Code: CodeOf(refusal),
		Items: []EventItem{{Scopes: fitting(Texts(ask.Scopes))}},
	}
	if e, ok := errors.AsType[*Error](refusal); ok {
		data.Refusal = short(e.Message)
		for _, reason := range e.Reasons[:min(len(e.Reasons), maxReasons)] { // the deciding first
			reason.Text = short(reason.Text)
			data.Reasons = append(data.Reasons, reason)
		}
	}
	return data
}

const maxReasons = 4 // of a denied ask

// fitting keeps the first texts, as many as are maxSaid bytes together. Of others it keeps how many they are, and the
// SHA-256 of all: whoever has the ask can prove that it was this one.
func fitting(texts []string) []string {
	size := 0
	for at, text := range texts {
		if size += len(text); size > maxSaid {
			all := sha256.Sum256([]byte(strings.Join(texts, "\n")))
			return append(texts[:at:at], fmt.Sprintf("… and %d more (cut; SHA-256 of all %d, one in a line: %x)", len(texts)-at, len(texts), all))
		}
	}
	return texts
}

// LeaseEvent is the data of the hourkey.lease.* events.
type LeaseEvent struct {
	Name        string    `json:"name"` // at the provider
	Request     string    `json:"request"`
	Agent       string    `json:"agent"`
	Owner       string    `json:"owner"`
	Task        string    `json:"task"`
	Environment string    `json:"environment"`
	Target      string    `json:"target"`
	Scopes      []string  `json:"scopes"`
	Expires     time.Time `json:"expires"`
	Cause       Cause     `json:"cause,omitempty"`
	Attempts    int       `json:"attempts,omitempty"`
	Error       string    `json:"error,omitempty"`
	Seconds     float64   `json:"seconds,omitempty"` // from the order to end it, to its end
}

func leaseEvent(l Lease) LeaseEvent {
	return LeaseEvent{
		Name: l.Name, Request: l.Request, Agent: l.Agent, Owner: l.Owner, Task: l.Task, Environment: l.Environment, Target: l.Target,
		Scopes: Texts(l.Scopes), Expires: l.Expires, Cause: l.Cause, Attempts: l.Attempts, Error: l.LastError,
	}
}

// Restored is the data of hourkey.broker.restored.
type Restored struct {
	Checkpoint   string   `json:"checkpoint"` // signed, over exactly the events before this one
	Installation string   `json:"installation"`
	Former       []string `json:"former"`
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
