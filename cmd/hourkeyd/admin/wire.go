package admin

import (
	"errors"

	"github.com/hourkey/hourkey/broker"
)

// Status answers GET /status.
type Status struct {
	broker.Status
	Origin   string   `json:"origin"`
	Version  string   `json:"version"`
	LogKey   string   `json:"log_key"`  // verifies checkpoints and exports
	Enrolled []string `json:"enrolled"` // humans who have a passkey
}

// AgentAdded answers POST /agents.
type AgentAdded struct {
	Name string `json:"name"`
	Code string `json:"code"` // one-time, typed into `hourkey enroll`; lives one hour
}

// AgentToAdd is the body of POST /agents.
type AgentToAdd struct {
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

// HumanToInvite is the body of POST /humans.
type HumanToInvite struct {
	Name string `json:"name"`
}

// Invited answers POST /humans, and is what `human reset` prints.
type Invited struct {
	Invite broker.Invite `json:"invite"` // without the hash of its code
	Code   string        `json:"code"`
	Phrase string        `json:"phrase,omitempty"` // words that who signs the invite compares; empty: nobody signs
}

// ToFreeze is the body of POST /freezes.
type ToFreeze struct {
	Of     broker.FreezeKind `json:"of"`
	Name   string            `json:"name"`
	Reason string            `json:"reason"`
}

// Frozen answers POST /freezes.
type Frozen struct {
	Freeze string `json:"freeze"`
	Ended  int    `json:"ended"` // leases
}

// Reloaded answers POST /reload.
type Reloaded struct {
	Config   string   `json:"config"`   // hash now in force
	Wider    []string `json:"wider"`    // what got wider, in words
	Restart  []string `json:"restart"`  // settings that changed and that only a new start takes
	Warnings []string `json:"warnings"` // what will not work so, with the way out
}

// Done answers what has nothing else to say.
type Done struct {
	Done bool `json:"done"`
}

// Problem is how an error goes over the socket; the cause stays in the broker's log.
type Problem struct {
	Code    broker.Code     `json:"code"`
	Message string          `json:"message"`
	Field   string          `json:"field,omitempty"`
	Next    string          `json:"next,omitempty"`
	Reasons []broker.Reason `json:"reasons,omitempty"`
}

// ProblemOf tells what may be shown of an error.
func ProblemOf(err error) Problem {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		return Problem{Code: e.Code, Message: e.Message, Field: e.Field, Next: e.Next, Reasons: e.Reasons}
	}
	return Problem{Code: broker.CodeInternal, Message: "an internal error", Next: "look at the broker's log"}
}

// Err gives the problem as an error again.
func (p Problem) Err() error {
	return &broker.Error{Code: p.Code, Message: p.Message, Field: p.Field, Next: p.Next, Reasons: p.Reasons}
}
