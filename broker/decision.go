package broker

import "time"

// Outcome is what a decision says. The worst outcome of several counts.
type Outcome string

// The outcomes, best first.
const (
	Allow    Outcome = "allow"
	Escalate Outcome = "escalate" // humans decide
	Deny     Outcome = "deny"
)

// Worse gives the worse of two outcomes; what is not an outcome counts as Deny (fails closed).
func Worse(a, b Outcome) Outcome {
	if a.rank() >= b.rank() {
		return a.known()
	}
	return b.known()
}

func (o Outcome) rank() int {
	switch o {
	case Allow:
		return 0
	case Escalate:
		return 1
	case Deny:
		return 2
	default:
		return 3
	}
}

func (o Outcome) known() Outcome {
	if o.rank() > 2 {
		return Deny
	}
	return o
}

// Reason is one line that decided.
type Reason struct {
	Where   string  `json:"where"` // file:line, or "invariant 3"
	Rule    string  `json:"rule"`  // the task's or guardrail's name
	Outcome Outcome `json:"outcome"`
	Text    string  `json:"text"` // one sentence
}

// Decision is what policy says of one item. Reasons lists every line that took part, the deciding first.
type Decision struct {
	Outcome Outcome  `json:"outcome"`
	Reasons []Reason `json:"reasons"`
}

// Query asks Policy.Evaluate about one item.
type Query struct {
	Agent       string
	Owner       string
	OwnerGroups []string
	Task        string
	Environment string
	Target      string
	Scopes      []Scope
	// Described is false before the issuer has expanded patterns, when a resource that ends in "*" will
	// still be evaluated name by name, and true after, when one that is left stays a prefix for good.
	Described bool
	// Granted is true when a live lease covers the scopes: only what takes away is asked then.
	Granted bool
}

// Ask is what an authenticated agent asks for.
type Ask struct {
	Agent        string // its name
	AgentKey     string // RFC 7638 thumbprint of the key that authenticated
	Task         string
	Environments []string
	Scopes       []Scope       // empty: what the task gives
	TTL          time.Duration // 0: the task's
	Reason       string        // the agent's words: shown, never decided on (invariant 11)
	Idempotency  string        // Idempotency-Key, empty for none
}

// Resolution is what an ask stands for: one item per target and environment.
type Resolution struct {
	Items []ResolvedItem
	TTL   time.Duration // asked for, at most the task's; 0 when neither says
}

// ResolvedItem is one target in one environment and what is asked there.
type ResolvedItem struct {
	Environment string
	Target      string
	Scopes      []Scope
}

// Task is a named kind of work, as an agent sees it.
type Task struct {
	Name         string        `json:"name"`
	Summary      string        `json:"summary"`
	Environments []string      `json:"environments"`
	Gives        []string      `json:"gives"`
	WithApproval []string      `json:"with_approval"`
	TTL          time.Duration `json:"ttl"`
	Where        string        `json:"where"`
}
