package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Broker depends on. Store, Sealer, Verifier, Configuration and Origin are required.
type Config struct {
	Store         Store
	Sealer        Sealer
	Verifier      Verifier
	Configuration *Configuration
	Origin        string // of the approval page: "https://hourkey.example"; part of every statement
	Now           func() time.Time
	Random        io.Reader // default crypto/rand
	Log           *slog.Logger
	Failpoint     func(name string) // called at every commit and provider call; nil but in crash tests
}

// Broker is the one way of a request. Its methods are safe for concurrent use.
type Broker struct {
	store    Store
	sealer   Sealer
	verifier Verifier
	origin   string
	now      func() time.Time
	random   io.Reader
	log      *slog.Logger

	files        atomic.Pointer[Configuration] // as the files say
	upToDate     *Configuration                // of files: everything that waits was decided under it; tidying guards this
	logins       atomic.Pointer[[]Login]       // who signed on, and the groups that it brought
	reading      sync.Mutex                    // of logins
	merged       atomic.Pointer[merged]        // the two together, for Configuration
	acting       atomic.Pointer[merged]        // and for canSign
	former       sync.Map                      // binding → former, of configurations that were replaced
	installation atomic.Pointer[Installation]
	opened       time.Time // when New was called

	known      pinCache   // what Pins read last
	asked      sync.Map   // TargetRef → struct{}: asked who it is since the start or the last reload
	changed    broadcast  // wakes who awaits a request
	appended   broadcast  // wakes who follows the log
	collects   keyed      // request id → one collect at a time
	endings    keyed      // lease id → one ending at a time
	held       sync.Map   // freeze id → Freeze that could not be written yet; as good as stored
	unsaved    sync.Map   // lease id → struct{}: its end is ordered, or confirmed, and not recorded yet
	lives      lives      // lease id → what stops its calls at the gateway
	calls      callLog    // of the gateway, not yet written
	idle       idle       // agents that ask for nothing
	full       idle       // agents that have all that they may have, and ask for more
	repeats    idle       // agents that ask again for what waits already
	issuing    sync.Map   // lease id → chan closed when its issuer has answered
	sweeping   sync.Map   // binding → struct{}: a pass of the sweeper is ending its leases
	tidying    sync.Mutex // held by the one pass that expires requests and forgets
	failpoint  func(name string)
	callNumber atomic.Uint64 // of the last call through the gateway
	age        atomic.Uint64 // counts the transactions that changed anything but the log
	lastEvent  atomic.Int64  // Unix nanoseconds of the newest event
	broken     atomic.Bool   // the store refused the last write
}

// New opens the broker on its store: it learns or makes the installation id and records the start.
func New(ctx context.Context, config Config) (*Broker, error) {
	if config.Store == nil || config.Sealer == nil || config.Verifier == nil || config.Configuration == nil || config.Origin == "" || config.Now == nil {
		return nil, errors.New("broker: Config wants Store, Sealer, Verifier, Configuration, Origin and Now")
	}
	b := &Broker{
		store: config.Store, sealer: config.Sealer, verifier: config.Verifier, origin: config.Origin,
		now: func() time.Time { return config.Now().UTC() }, random: config.Random, log: config.Log,
		failpoint: config.Failpoint,
	}
	if b.failpoint == nil {
		b.failpoint = func(string) {}
	}
	if b.random == nil {
		b.random = rand.Reader
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.opened = b.now()
	b.files.Store(config.Configuration)
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if err := b.readLogins(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Installation is what the store belongs to.
func (b *Broker) Installation() Installation { return *b.installation.Load() }

// Caller is who calls, after authentication.
type Caller struct {
	Kind CallerKind
	Name string
	Key  string // an agent's key thumbprint
}

// CallerKind is the kind of a caller.
type CallerKind string

// The kinds of caller.
const (
	CallerAgent  CallerKind = "agent"
	CallerHuman  CallerKind = "human"  // signed in with a passkey
	CallerSocket CallerKind = "socket" // the admin socket: the broker's OS user
)

// Actor is how events name the caller: "agent:claude-code", "human:alice", "socket".
func (c Caller) Actor() string {
	if c.Kind == CallerSocket {
		return string(CallerSocket)
	}
	return string(c.Kind) + ":" + c.Name
}
