package broker

import (
	"context"
	"time"
)

// Meta says where a record lives. Index lists the secondary indexes that it stands in.
type Meta struct {
	Kind   string // "request", "lease", …: one keyspace each
	Key    string // unique within the kind; scanned in byte order
	Format int    // of the record's encoding; a store refuses a format newer than the one it was built with
	Index  []Entry
}

// Entry puts a record into the index Name of its kind; a scan of that index goes by Order, then by Key.
type Entry struct{ Name, Order string }

// Record is what a Store keeps. It is encoded as JSON; a pointer to it is passed to Load and Save.
type Record interface{ Meta() Meta }

// Reader is a consistent view of the store.
type Reader interface {
	// Load fills record, whose key fields the caller has set. An absent record is CodeNotFound.
	Load(record Record) error
	// Scan gives the JSON of every record of a kind, in order of the key, or of one of its indexes when
	// index is not empty. It ends early without error when each returns ErrStop.
	Scan(kind, index string, each func(json []byte) error) error
	// Events gives the events whose number is at least from, in order (numbers start at 0, without gaps).
	Events(from uint64, each func(number uint64, event Event) error) error
	// Height is the number of events in the log.
	Height() (uint64, error)
}

// Tx is a Reader that can also change the store. What one Tx saves, deletes and appends becomes
// durable together or not at all.
type Tx interface {
	Reader
	Save(record Record) error
	Delete(record Record) error
	Append(event Event) error
}

// Store keeps records and the event log. Update returns nil only when everything is durable. It runs
// its function exactly once, one function at a time; when that returns an error, nothing is changed.
// No I/O and no waiting inside either function.
type Store interface {
	View(ctx context.Context, read func(Reader) error) error
	Update(ctx context.Context, change func(Tx) error) error
}

// ErrStop ends a Scan or Events early, without error.
var ErrStop = &Error{Code: CodeInternal, Message: "stop"}

// Policy decides. It is pure: no I/O, no clock, and the agent's words are not among its inputs.
type Policy interface {
	// Resolve turns an ask into the items it stands for and the time they may live: is there such a
	// task, does it list this agent and each environment, does it give (or offer with approval) each scope?
	Resolve(ask Ask) (Resolution, error)
	// Evaluate decides one item.
	Evaluate(query Query) Decision
	// Tasks lists what an agent may ask for.
	Tasks(agent string) []Task
	// AllTasks lists every task, also those that nobody may ask for.
	AllTasks() []Task
}

// Issuer issues credentials at one target of one environment.
type Issuer interface {
	// Describe says what exactly would be issued: concrete scopes, native policy, walls, TTL. It is
	// never smaller than asked. It changes nothing at the provider, and refuses with CodeWall where the
	// provider does not hold a wall.
	// Described again with the scopes of its own Description, the digest is the same.
	Describe(ctx context.Context, wish Wish) (Description, error)
	// Issue makes the credential. After an error the credential may exist: the broker ends it.
	Issue(ctx context.Context, order Order) (Credential, Handle, error)
	// Revoke ends the credential of that name and verifies the end. One that never was, or is ended
	// already, is no error. handle may be empty when the outcome of Issue is not known.
	Revoke(ctx context.Context, name string, handle Handle) error
}

// Declarer is what every issuer also is: it says what it can, so that reviewers see it and the
// conformance suite holds it to that.
type Declarer interface {
	Capabilities() Capabilities
	// Identify asks the provider who it is. The broker pins the answer (invariant 12).
	Identify(ctx context.Context) (Identity, error)
}

// Lister is an issuer whose provider can tell what is alive.
type Lister interface {
	// List gives the names of all credentials at the target that begin with prefix.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Checker is an issuer that can audit its target's walls and its own admin credential.
type Checker interface {
	// Check gives the findings of `check --live`, an empty list if all is well.
	Check(ctx context.Context) ([]Finding, error)
}

// Finding is one thing that check --live found at a target.
type Finding struct {
	Refuses bool   `json:"refuses"` // true: nothing is issued until it is mended or accepted; false: a warning
	Object  string `json:"object"`  // what is named in `accept` to accept it
	Problem string `json:"problem"` // one sentence
	Mend    string `json:"mend"`    // the exact SQL or policy that mends it
}

// Verifier checks a passkey assertion over a challenge (WebAuthn level 3, section 7.2), user
// verification required, and gives the authenticator's new signature counter.
type Verifier interface {
	Verify(passkey Passkey, challenge []byte, assertion Assertion) (counter uint32, err error)
}

// Sealer seals small secrets that a record must carry. What binds the sealed text to its place, like
// the lease id, is passed as context and must be equal when it is opened.
type Sealer interface {
	Seal(plain []byte, context string) ([]byte, error)
	Open(sealed []byte, context string) ([]byte, error)
}

// Wish is what one item asks of an issuer.
type Wish struct {
	Scopes []Scope
	TTL    time.Duration
}

// Order is what the broker tells an issuer to issue: a description that was approved, under a name.
type Order struct {
	Name        string // hk-<installation>-<lease>, [a-z0-9-], at most 63 bytes (invariant 8)
	Lease       string
	Description Description
	TTL         time.Duration // from now, at most Description.TTL
	Expires     time.Time     // now + TTL by the broker's clock
	Agent       string
	Owner       string
	Task        string
}

// Handle is what an issuer needs to end a credential, beside its name. The broker keeps it sealed and
// erases it at the end.
type Handle []byte

// Credential is secret material, by environment variable name as exec gives it to the child.
// It leaves the broker once and is never stored.
type Credential struct {
	Environment string            `json:"environment"`
	Target      string            `json:"target"`
	Lease       string            `json:"lease"`
	Scopes      []Scope           `json:"scopes"`
	Values      map[string]Secret `json:"values"` // variable name → value
	Gateway     *Gateway          `json:"gateway,omitempty"`
	Expires     time.Time         `json:"expires"`
}

// Gateway is a credential that works only through the broker's gateway, presented with a proof by the
// agent's key (RFC 9449). `hourkey exec` holds it in a forwarder; the child never sees it.
type Gateway struct {
	Token     Secret            `json:"token"`     // hkt_…; the broker keeps its hash with the lease
	Hosts     []string          `json:"hosts"`     // that the tunnel leads to, the main one first; port 443
	CA        string            `json:"ca"`        // PEM: trusted for these hosts alone, until the lease ends
	Variables map[string]string `json:"variables"` // variable → value for the child, with {base} and {placeholder} to be filled in
}

// Capabilities are an issuer's own promises.
type Capabilities struct {
	Kind      string        `json:"kind"` // "postgres"
	TTLFloor  time.Duration `json:"ttl_floor"`
	TTLMax    time.Duration `json:"ttl_max"`    // 0: the hour
	Local     bool          `json:"local"`      // Issue calls nobody: one transaction is enough, and the identity needs no confirmation
	EndsEarly bool          `json:"ends_early"` // a revoke ends the credential before its TTL
	// Gateway: the credential works through our gateway alone, which asks Broker.Use about every call. So a
	// scope may stay a prefix, each name is judged when it is used, and the end needs no provider. Local is
	// true beside it; the identity is the provider's all the same.
	Gateway bool `json:"gateway"`
	// DescribesAtIssue: Issue describes once more, in the same transaction at the provider, and refuses
	// with CodeConflict what differs from its order. The broker then need not ask just before.
	DescribesAtIssue bool   `json:"describes_at_issue"`
	Ends             string `json:"ends"` // how surely it ends, one sentence for reviewers
}
