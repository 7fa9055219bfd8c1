package broker

import (
	"errors"
	"fmt"
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

	// OwnerMayApprove names the environments in which the agent's owner is one of those asked: that human's own
	// signature counts there (owner_may_approve).
	OwnerMayApprove []string `json:"owner_may_approve,omitempty"`
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

func denialEvent(ask Ask, agent Agent, refusal error) RequestEvent {
	data := RequestEvent{
		Agent: ask.Agent, AgentKey: ask.AgentKey, Owner: agent.Owner, Task: ask.Task, Environments: ask.Environments,
		Reason: ask.Reason, Outcome: Deny, Code: CodeOf(refusal),
		Items: []EventItem{{Scopes: Texts(ask.Scopes)}},
	}
	if e, ok := errors.AsType[*Error](refusal); ok {
		data.Refusal, data.Reasons = e.Message, e.Reasons
	}
	return data
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
