package broker

import "time"

// LeaseState is how far a lease has come: issuing → live → ending → ended, or stuck, which is
// retried and alarmed (docs/lease.md draws it).
type LeaseState string

// The states of a lease. One that is issuing counts as live until its latest possible end.
const (
	LeaseIssuing LeaseState = "issuing"
	LeaseLive    LeaseState = "live"
	LeaseEnding  LeaseState = "ending"
	LeaseEnded   LeaseState = "ended"
	LeaseStuck   LeaseState = "stuck"
)

// Cause is why a lease ends.
type Cause string

// The causes.
const (
	CauseExpired  Cause = "expired"
	CauseReleased Cause = "released" // by the agent
	CauseRevoked  Cause = "revoked"  // by a human
	CauseFrozen   Cause = "frozen"
	CauseReplaced Cause = "replaced" // collected again
	CauseFailed   Cause = "failed"   // issuing did not come to its end
)

// Lease is the life of one credential. The credential itself is not kept.
type Lease struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"` // at the provider: hk-<installation>-<id>
	Request     string     `json:"request"`
	Agent       string     `json:"agent"`
	AgentKey    string     `json:"agent_key"`
	Owner       string     `json:"owner"`
	Task        string     `json:"task"`
	Environment string     `json:"environment"`
	Target      string     `json:"target"`
	Binding     string     `json:"binding"`
	Scopes      []Scope    `json:"scopes"`
	Reaches     []string   `json:"reaches"`  // every environment in which it works
	Identity    string     `json:"identity"` // of the target that issued it
	State       LeaseState `json:"state"`
	EndsEarly   bool       `json:"ends_early"` // its issuer's word: false, and it can only expire
	Cause       Cause      `json:"cause,omitempty"`
	By          string     `json:"by,omitempty"` // actor who ended it
	Created     time.Time  `json:"created"`
	Expires     time.Time  `json:"expires"`
	Ordered     time.Time  `json:"ordered,omitzero"` // when its end was ordered
	Ended       time.Time  `json:"ended,omitzero"`
	Attempts    int        `json:"attempts,omitempty"` // at ending
	Retry       time.Time  `json:"retry,omitzero"`
	LastError   string     `json:"last_error,omitempty"` // the issuer's message; holds no secret
	Handle      []byte     `json:"handle,omitempty"`     // sealed; erased at the end (invariant 7)
	Token       string     `json:"token,omitempty"`      // hash of a gateway token; empty for every other credential
}

// isOf tells whether the lease lives on behalf of this human.
func (l *Lease) isOf(caller Caller) bool {
	return caller.Kind == CallerHuman && caller.Name == l.Owner && l.Owner != ""
}

// Open tells whether the credential may still work.
func (l *Lease) Open() bool { return l.State != LeaseEnded }

// expired tells that its time is over.
func (l *Lease) expired(now time.Time) error {
	if !now.Before(l.Expires) {
		return Errorf(CodeExpired, "this lease has expired")
	}
	return nil
}

// Meta places leases by id, by request, newest first over all and by agent; and while open once more, and by
// when the sweeper must look.
func (l *Lease) Meta() Meta {
	m := Meta{Kind: "lease", Key: l.ID, Format: 1, Index: []Entry{
		{Name: "request/" + l.Request}, {"recent", newestFirst(l.Created)}, {"agent/" + l.Agent, newestFirst(l.Created)},
	}}
	if l.Open() {
		m.Index = append(m.Index, Entry{"open", newestFirst(l.Created)}, Entry{"open/" + l.Agent, newestFirst(l.Created)}, Entry{"due", order(l.due())})
		if l.State == LeaseStuck {
			m.Index = append(m.Index, Entry{Name: "stuck"})
		}
	}
	return m
}

// due is when the sweeper must look at the lease next.
func (l *Lease) due() time.Time {
	if l.State == LeaseEnding || l.State == LeaseStuck {
		return l.Retry
	}
	return l.Expires
}
