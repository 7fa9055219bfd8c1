// Package issuertest is the conformance suite that every issuer passes against a real server
// (docs/design, section 8): what a credential may do, what it may not, and how surely it ends.
//
// It owns: the promises an issuer makes to the broker, as tests; and the steps that the adapters' own tests
// have in common, from Wish to Lease, the killed broker (Dies) and the comparison with bare calls (Bench).
// It does not know any provider: how a credential is used is told to it by a Harness. It trusts the harness
// to tell a refusal by the provider (Refused) from a fault on the way, since an unreachable server refuses
// everything.
//
// An adapter calls it from one test:
//
//	func TestConformance(t *testing.T) {
//		issuertest.Run(t, issuertest.Harness{Issuer: issuer, Use: use, …})
//	}
package issuertest

import (
	"context"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Issuer is what the suite tests: the two interfaces that every target has. It is also a
// broker.Lister where the provider can list; the suite then tests that too.
type Issuer interface {
	broker.Issuer
	broker.Declarer
}

// Session is an open connection made with a credential before the lease ended. Do performs one action
// on it; Close is always called.
type Session interface {
	Do(ctx context.Context, action broker.Actions) error
	Close()
}

// Harness tells the suite how to use one kind of credential on a real server. All fields are required
// where nothing else is said. The resource of ReadWrite and Delete must be the same one, and reading,
// writing and deleting must be possible there any number of times, also 64 at once.
type Harness struct {
	// Issuer is opened on a target whose walls are all in place.
	Issuer Issuer
	// Reopen opens the same target again, as a broker that was started anew does.
	Reopen func(t *testing.T) Issuer

	// ReadWrite asks for exactly read and write; Delete for exactly read, write and delete. Their TTL
	// is ignored: each test sets its own.
	ReadWrite, Delete broker.Wish
	// Unknown asks for a resource that does not exist at the target; Describe must refuse it. Leave its
	// Scopes empty for a provider whose resources cannot be told to exist.
	Unknown broker.Wish
	// Admin asks for admin; Describe must refuse it. Leave its Scopes empty for an issuer that gives admin.
	Admin broker.Wish
	// Short is the time to live for the tests that wait for it to pass: at least the declared floor.
	Short time.Duration

	// Use performs one action (read, write or delete, a set of one) on the resource with the
	// credential, anew: it logs in, or presents the token for the first time. nil: it was done.
	Use func(ctx context.Context, credential broker.Credential, action broker.Actions) error
	// Elsewhere tries to read the other environment with the credential. It must be refused.
	Elsewhere func(ctx context.Context, credential broker.Credential) error
	// Outside lists further attacks that must be refused, by the attack's name: a resource that was not
	// granted, taking another identity, and so on. May be empty.
	Outside map[string]func(ctx context.Context, credential broker.Credential) error
	// Connect opens a connection that stays. nil for a provider without sessions.
	Connect func(ctx context.Context, credential broker.Credential) (Session, error)
	// SessionOutlivesTTL tells that a session that is open at the end of the TTL goes on until a broker
	// ends the lease. Capabilities.Ends must say so in words. The suite fails if it is not so: a
	// declaration that is too weak is wrong too.
	SessionOutlivesTTL bool

	// Refused tells whether err, from Use, Elsewhere, Outside or a Session, is the provider's own
	// refusal (or, for a Session, that the provider ended it), and not a fault on the way.
	Refused func(err error) bool

	// SecretNames are the names in Credential.Values whose values are secret.
	SecretNames []string
	// Secrets are secret texts of the target itself: the admin's password, the signing key. The suite
	// looks for them in every error, raw, base64 and hex.
	Secrets []string
	// Fault opens an issuer on the same target that cannot work: a wrong admin password, a port where
	// nobody listens. Its errors are searched for secrets. nil where there is no such thing.
	Fault func(t *testing.T) (Issuer, error)
}
