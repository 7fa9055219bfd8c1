package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// atOnce is how many questions one target asks Vault at the same time.
const atOnce = 32

// Config is what an Issuer is opened with. Failpoint may be left out.
type Config struct {
	Ref      broker.TargetRef // every scope must name its target; a lease reaches its environment alone
	Settings Settings
	// Resolve gives the secret that a reference in a field stands for; it is asked again at every login.
	Resolve func(field, reference string) (broker.Secret, error)
	Now     func() time.Time
	// Failpoint is called around each step of Issue and Revoke at Vault, with "before " or "after " and the step's
	// name, one of Failpoints. For crash tests; nil in production.
	Failpoint func(point string)
}

// Failpoints are the steps of Issue and Revoke at Vault, in their order. "issue credential" and "revoke lease" are not
// reached at a kv engine, "revoke find" and "revoke settle" only without a handle.
func Failpoints() []string {
	return []string{pointIssueToken, pointIssueCredential, pointRevokeFind, pointRevokeLease, pointRevokeToken, pointRevokeSettle, pointRevokeVerify}
}

const (
	pointIssueToken      = "issue token"
	pointIssueCredential = "issue credential"
	pointRevokeFind      = "revoke find"
	pointRevokeLease     = "revoke lease"
	pointRevokeToken     = "revoke token"
	pointRevokeSettle    = "revoke settle"
	pointRevokeVerify    = "revoke verify"
)

// Issuer issues what one mount of one Vault hands out. Its methods are safe for concurrent use.
type Issuer struct {
	config  Config
	engine  engine
	session *session.Session
	reading chan struct{}
	tokens  tokens
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
	_ broker.Lister   = (*Issuer)(nil)
	_ broker.Checker  = (*Issuer)(nil)
)

// New opens an issuer. It calls nobody: Vault is first asked by Describe, Identify or Check. Errors are CodeInvalid
// and name the field.
func New(config Config) (*Issuer, error) {
	if config.Now == nil || config.Resolve == nil || config.Ref.Environment == "" || config.Ref.Target == "" {
		return nil, broker.Errorf(broker.CodeInternal, "vault: Config wants Ref, Resolve and Now")
	}
	if err := config.Settings.check(config.Ref.Target); err != nil {
		return nil, err
	}
	opened, err := session.New(session.Config{Settings: config.Settings.connection(), Resolve: config.Resolve, Now: config.Now})
	if err != nil {
		return nil, err
	}
	return &Issuer{
		config: config, engine: engines()[config.Settings.Engine], session: opened,
		reading: make(chan struct{}, atOnce),
	}, nil
}

// Close stops renewing the broker's own token. Leases are not ended by it.
func (i *Issuer) Close() error { return i.session.Close() }

// Capabilities says what a lease of this engine promises.
func (i *Issuer) Capabilities() broker.Capabilities {
	t := i.engine.traits()
	return broker.Capabilities{Kind: Kind, TTLFloor: t.floor, EndsEarly: t.early, Ends: t.ends}
}

// Identify asks Vault for its cluster's id and the mount's accessor.
func (i *Issuer) Identify(ctx context.Context) (broker.Identity, error) {
	read, err := i.look(ctx, i.identityPaths())
	if err != nil {
		return broker.Identity{}, err
	}
	return i.identity(read)
}

// fault makes an error for the caller; secrets are those that were in play beside the broker's own token.
func (i *Issuer) fault(doing string, err error, secrets ...broker.Secret) error {
	return i.session.Fault(i.config.Ref.String(), doing, err, secrets...)
}

func (i *Issuer) badName(name string) error {
	return broker.Errorf(broker.CodeInternal, "%q is not the name of a lease: expected hk-, then a-z, 0-9 and dashes, at most 63 bytes", fmt.Sprintf("%.80s", name))
}

// at runs one step of Issue or Revoke between its two failpoints.
func (i *Issuer) at(point string, do func() error) error {
	if i.config.Failpoint != nil {
		i.config.Failpoint("before " + point)
		defer i.config.Failpoint("after " + point)
	}
	return do()
}

// cancelled tells that it was the caller who gave up.
func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
