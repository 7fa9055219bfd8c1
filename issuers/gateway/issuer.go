package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Config is what an Issuer depends on. All of it but Close is required.
type Config struct {
	Ref       broker.TargetRef
	Pack      Pack
	Provider  Provider
	Authority *Authority
	Now       func() time.Time
	Close     func() // of what Provider holds open
}

// Issuer issues gateway tokens for one target. It is immutable and safe for concurrent use.
type Issuer struct{ config Config }

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
)

// New makes the issuer of one target.
func New(config Config) (*Issuer, error) {
	if config.Pack == nil || config.Provider == nil || config.Authority == nil || config.Now == nil {
		return nil, broker.Errorf(broker.CodeInternal, "gateway: Config wants Pack, Provider, Authority and Now")
	}
	return &Issuer{config}, nil
}

// Close lets go of the connections to the provider.
func (i *Issuer) Close() error {
	if i.config.Close != nil {
		i.config.Close()
	}
	return nil
}

// Pack is what is known of the target's provider.
func (i *Issuer) Pack() Pack { return i.config.Pack }

// Provider asks the target's provider.
func (i *Issuer) Provider() Provider { return i.config.Provider }

// Capabilities says that the token is ours, so it ends when the broker says so, at the next call and under those
// that are on their way.
func (i *Issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{
		Kind: i.config.Pack.Name(), Local: true, Gateway: true, EndsEarly: true,
		Ends: "at once: the gateway refuses the next call and cuts those that are under way; with the broker down nothing passes",
	}
}

// Identify asks the provider who the target is.
func (i *Issuer) Identify(ctx context.Context) (broker.Identity, error) {
	return i.config.Provider.Identify(ctx)
}

// Finder is a provider that finds a resource by one of the names that scopes use.
type Finder interface {
	Find(ctx context.Context, name broker.Resource) (Found, error)
}

// Describe says what the gateway would let pass. A prefix stays a prefix: each name is judged when a call
// uses it. A name must be there, and what destroys or gives power must not reach further than the
// environment: such a call is asked for when it is made, with everything that it reaches.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	if err := i.check(wish); err != nil {
		return broker.Description{}, err
	}
	identity, err := i.Identify(ctx)
	if err != nil {
		return broker.Description{}, err
	}
	facts, err := i.look(ctx, wish.Scopes, identity)
	if err != nil {
		return broker.Description{}, err
	}
	scopes := broker.Normalize(wish.Scopes)
	return broker.Description{
		Identity: identity.ID, Scopes: scopes, Reaches: []string{i.config.Ref.Environment}, Native: i.native(scopes), Walls: i.walls(),
		TTL: wish.TTL, Ends: i.Capabilities().Ends, Facts: facts,
	}, nil
}

func (i *Issuer) check(wish broker.Wish) error {
	if len(wish.Scopes) == 0 {
		return broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.config.Ref).WithField("scope")
	}
	if wish.TTL <= 0 || wish.TTL > broker.Hour {
		return broker.Errorf(broker.CodeInvalid, "ttl %s: expected more than nothing, at most the hour", wish.TTL).WithField("ttl")
	}
	kinds := i.config.Pack.Kinds()
	for _, scope := range wish.Scopes {
		kind, _, named := strings.Cut(string(scope.Resource), "/")
		if known := scope.Resource == "*" || named && slices.Contains(kinds, kind); scope.Target != i.config.Ref.Target || !known {
			return broker.Errorf(broker.CodeInvalid, "scope %q: expected a resource like %s/NAME or %s/*, of one of these kinds: %s", scope, kinds[0], kinds[0], strings.Join(kinds, ", ")).
				WithField("scope")
		}
	}
	return nil
}

// look finds what scopes name, and what there is in the environment, for the reviewer.
func (i *Issuer) look(ctx context.Context, scopes []broker.Scope, identity broker.Identity) ([]broker.Fact, error) {
	facts, err := i.config.Provider.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	finder, can := i.config.Provider.(Finder)
	for _, scope := range scopes {
		if !can || scope.Resource.IsPrefix() {
			continue
		}
		found, err := finder.Find(ctx, scope.Resource)
		if err != nil {
			return nil, err
		}
		for _, place := range found.Places {
			if place.Identity != identity.ID && scope.Actions.NeedsHuman() {
				return nil, broker.Errorf(broker.CodeDenied, "%s also lives in %s, and a lease works in %s alone (invariant 4): %s", scope.Resource, place.Shown, i.config.Ref.Environment, found.Says).
					WithField("scope").WithNext("make the call itself with a lease of both environments: humans of each are asked for that one operation")
			}
		}
		facts = append(facts, found.Facts...)
		facts = append(facts, broker.Fact{About: string(scope.Resource), Text: found.Says, At: i.config.Now().UTC()})
	}
	return facts, nil
}

// native is what the gateway will do, line by line.
func (i *Issuer) native(scopes []broker.Scope) []string {
	lines := []string{fmt.Sprintf("%s: every call is judged by its operation and arguments; %d operations have a row, all others are refused", i.config.Pack.Name(), len(i.config.Pack.Rows().Rows))}
	for _, scope := range scopes {
		lines = append(lines, fmt.Sprintf("%s: operations of class %s", scope.Resource, strings.Join(scope.Actions.Names(), ", ")))
	}
	return lines
}

func (i *Issuer) walls() []broker.WallFact {
	return []broker.WallFact{
		{Stops: "another environment", Wall: broker.WallGateway, How: "where each id of a call lives is asked of the provider with the broker's token, never believed from the agent"},
		{Stops: "delete and admin beyond the scope", Wall: broker.WallGateway, How: "the class of each operation and argument; what is not known is refused"},
		{Stops: "secret values in answers", Wall: broker.WallGateway, How: "masked unless the scope has admin; a log line or a page of the service can hold one all the same"},
		{Stops: "what deployed code does", Wall: broker.WallNone, How: "who may write a service may make it use every secret of its environment"},
		{Stops: "use after the end", Wall: broker.WallGateway, How: "the lease is looked up at every call"},
	}
}

// namePattern is invariant 8's: hk-<installation>-<lease>, at most 63 bytes.
var namePattern = regexp.MustCompile(`^hk-[a-z0-9]+-[a-z0-9-]{1,56}$`)

// checkOrder holds an order to what Describe would say, whatever the broker checked before.
func (i *Issuer) checkOrder(order broker.Order) error {
	left := order.Expires.Sub(i.config.Now())
	switch {
	case len(order.Name) > 63 || !namePattern.MatchString(order.Name) || order.Lease == "" || !strings.HasSuffix(order.Name, "-"+order.Lease):
		return broker.Errorf(broker.CodeInternal, "an order for %s does not bear its lease's name", i.config.Ref)
	case order.TTL <= 0 || left <= 0:
		return broker.Errorf(broker.CodeExpired, "nothing is left of the time of this lease at %s", i.config.Ref)
	case left > order.Description.TTL || order.TTL > order.Description.TTL:
		return broker.Errorf(broker.CodeInternal, "an order for %s ends later than its description says", i.config.Ref)
	}
	return i.check(broker.Wish{Scopes: order.Description.Scopes, TTL: order.TTL})
}

// Issue makes a token that only our gateway takes, with the key of this agent. It calls nobody.
func (i *Issuer) Issue(_ context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	if err := i.checkOrder(order); err != nil {
		return broker.Credential{}, nil, err
	}
	hosts := i.config.Pack.Hosts()
	ca, err := i.config.Authority.Certificate(order.Lease, hosts, i.config.Now(), order.Expires)
	if err != nil {
		return broker.Credential{}, nil, err
	}
	return broker.Credential{
		Environment: i.config.Ref.Environment, Target: i.config.Ref.Target, Lease: order.Lease, Scopes: order.Description.Scopes, Expires: order.Expires,
		Gateway: &broker.Gateway{
			Token: broker.NewSecret(broker.TokenPrefix + order.Lease + "_" + rand.Text()), Hosts: hosts, CA: ca,
			Variables: i.config.Pack.Variables("{base}", "{placeholder}"),
		},
	}, nil, nil
}

// Revoke has nothing to do: the lease's record is what the gateway asks for at every call.
func (i *Issuer) Revoke(context.Context, string, broker.Handle) error { return nil }
