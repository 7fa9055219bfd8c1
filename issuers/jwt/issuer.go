package jwt

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
)

// Kind is the name of this kind of target in an environment's file.
const Kind = "jwt"

// Config is what an Issuer depends on. All of it is required.
type Config struct {
	Ref      broker.TargetRef
	Settings Settings
	BaseURL  string                                               // the broker's own URL, as services reach it
	Signer   func(environment string) (ed25519.PrivateKey, error) // one key per environment
	Now      func() time.Time
}

// Issuer issues access tokens for one service of one environment. It is immutable and safe for
// concurrent use.
type Issuer struct {
	ref      broker.TargetRef
	settings Settings
	issuer   *TokenIssuer
	now      func() time.Time
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
)

// New checks the settings and takes the environment's key, so that issuing needs neither files nor
// store: Issue may run inside the transaction that records the lease.
func New(config Config) (*Issuer, error) {
	if config.Signer == nil || config.Now == nil {
		return nil, broker.Errorf(broker.CodeInternal, "jwt: Config wants Signer and Now")
	}
	if !broker.IsName(config.Ref.Target) {
		return nil, broker.Errorf(broker.CodeInvalid, "jwt: %q is not a target's name", config.Ref.Target)
	}
	settings, err := config.Settings.complete(config.Ref.Target)
	if err != nil {
		return nil, err
	}
	key, err := config.Signer(config.Ref.Environment)
	if err != nil {
		return nil, broker.Errorf(broker.CodeUnavailable, "jwt: there is no signing key for environment %s", config.Ref.Environment).Because(err)
	}
	tokenIssuer, err := NewTokenIssuer(config.BaseURL, config.Ref.Environment, key)
	if err != nil {
		return nil, err
	}
	return &Issuer{config.Ref, settings, tokenIssuer, config.Now}, nil
}

// TokenIssuer is the environment's; its URL and key set are what services are configured with.
func (i *Issuer) TokenIssuer() *TokenIssuer { return i.issuer }

// Capabilities says that a token ends at its expiry and not before: nobody is called, at issuing or after.
func (i *Issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{
		Kind: Kind, TTLFloor: ttlFloor, TTLMax: i.settings.TTL, Local: true, EndsEarly: false,
		Ends: fmt.Sprintf("at its expiry, at most %s after issue, by the service's own clock and with the broker down; earlier, when released, revoked or frozen, only at services that ask %s/introspect", duration(i.settings.TTL), i.issuer.URL()),
	}
}

// Identify gives the token issuer's URL and the audience: who signs, and for whom.
func (i *Issuer) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{
		ID:    "jwt:" + i.issuer.URL() + " " + i.settings.Audience,
		Shown: fmt.Sprintf("service %s, which accepts tokens of %s", i.settings.Audience, i.issuer.URL()),
	}, nil
}

// Describe says what the token would hold. A prefix stays a prefix: the service's names cannot be asked
// for. The TTL is the wish, or the target's where that is shorter.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	if err := i.check(wish.Scopes); err != nil {
		return broker.Description{}, err
	}
	ttl, err := i.lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	identity, err := i.Identify(ctx)
	if err != nil {
		return broker.Description{}, err
	}
	scopes := broker.Normalize(wish.Scopes)
	return broker.Description{
		Identity: identity.ID, Scopes: scopes, Reaches: []string{i.ref.Environment},
		Native: i.native(scopes), Walls: i.walls(), TTL: ttl, Ends: i.Capabilities().Ends,
	}, nil
}

// lifetime is the wish, or the target's longest where there is no wish or a longer one.
func (i *Issuer) lifetime(wish time.Duration) (time.Duration, error) {
	switch {
	case wish == 0:
		return i.settings.TTL, nil
	case wish < ttlFloor:
		return 0, broker.Errorf(broker.CodeInvalid, "a token for %s lives at least %s", i.ref, duration(ttlFloor)).
			WithField("ttl").WithNext("ask for --ttl %s or more", duration(ttlFloor))
	case wish > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour").WithField("ttl").WithNext("ask for --ttl 60m or less")
	}
	return min(wish, i.settings.TTL), nil
}

// check refuses what this target's file does not list, and what a scope claim could not carry.
func (i *Issuer) check(scopes []broker.Scope) error {
	if len(scopes) == 0 {
		return broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.ref).WithField("scope")
	}
	for _, s := range scopes {
		parsed, err := broker.ParseScope(s.String()) // a resource that reads back as another is refused too
		if err != nil {
			return err
		}
		if parsed != s || s.Target != i.ref.Target || !isScopeToken(string(s.Resource)) {
			return broker.Errorf(broker.CodeInvalid, "scope %q is none of %s: expected a resource in ASCII without spaces, quotes and backslashes", s.String(), i.ref).WithField("scope")
		}
		if !i.lists(s.Resource) {
			return broker.Errorf(broker.CodeDenied, "scope %q is outside the resources that the file of environment %s lists for %s", s.String(), i.ref.Environment, i.ref.Target).
				WithField("scope").WithNext("ask within %s", strings.Join(i.settings.Resources, ", "))
		}
	}
	return nil
}

func (i *Issuer) lists(asked broker.Resource) bool {
	return slices.ContainsFunc(i.settings.Resources, func(r string) bool { return broker.Resource(r).Covers(asked) })
}

// native is the token that would be signed, but for its times and its lease.
func (i *Issuer) native(scopes []broker.Scope) []string {
	return []string{
		"typ at+jwt, alg EdDSA, kid " + i.issuer.KeyID(),
		"iss " + i.issuer.URL(),
		"aud " + i.settings.Audience,
		"scope " + scopeClaim(scopes),
	}
}

func (i *Issuer) walls() []broker.WallFact {
	return []broker.WallFact{
		{Stops: "another environment", Wall: broker.WallNative, How: "tokens of each environment have an issuer URL and a signing key of their own; a service that trusts this one alone refuses all others"},
		{Stops: "another service", Wall: broker.WallNative, How: "the audience is signed; it holds at every service that checks it"},
		{Stops: "actions and resources outside the scope", Wall: broker.WallWeak, How: "the service itself reads the signed scope; Hourkey cannot see whether it does for every route"},
		{Stops: "use after the end", Wall: broker.WallNative, How: "the expiry is signed and rounded down to the second; it counts by the service's clock"},
		{Stops: "use after a revoke, before the end", Wall: broker.WallWeak, How: "a service that asks the token issuer about each token refuses it at once; at others it works until its expiry"},
	}
}

// Issue signs the token. It calls nobody and waits for nobody.
func (i *Issuer) Issue(_ context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	if err := i.checkOrder(order); err != nil {
		return broker.Credential{}, nil, err
	}
	expires := order.Expires.UTC().Truncate(time.Second) // never later than the lease
	scopes := order.Description.Scopes
	token, err := i.issuer.sign(Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.issuer.URL(), Subject: order.Agent, Audience: jwt.ClaimStrings{i.settings.Audience},
			ExpiresAt: jwt.NewNumericDate(expires), IssuedAt: jwt.NewNumericDate(i.now()), ID: order.Name,
		},
		ClientID: order.Agent, Owner: order.Owner, Task: order.Task,
		Scope: scopeClaim(scopes), Details: details(scopes),
	})
	if err != nil {
		return broker.Credential{}, nil, err
	}
	return broker.Credential{
		Environment: i.ref.Environment, Target: i.ref.Target, Lease: order.Lease, Scopes: scopes,
		Values: map[string]broker.Secret{i.settings.Variable: token}, Expires: expires,
	}, nil, nil
}

// namePattern is invariant 8's, hk-<installation>-<lease>; nothing else becomes a jti.
var namePattern = regexp.MustCompile(`^hk-[a-z0-9]+-[a-z0-9-]+$`)

const maxName = 63

// checkOrder holds an order to what Describe would say, whatever the broker checked before: a lease's
// name, scopes within the target's, and no end beyond what was described, the target's TTL or the hour
// (invariant 1).
func (i *Issuer) checkOrder(order broker.Order) error {
	if len(order.Name) > maxName || !namePattern.MatchString(order.Name) {
		return broker.Errorf(broker.CodeInternal, "an order for %s does not bear a lease's name", i.ref)
	}
	if !broker.IsAgentName(order.Agent) {
		return broker.Errorf(broker.CodeInternal, "an order for %s names no agent", i.ref)
	}
	if err := i.check(order.Description.Scopes); err != nil {
		return err
	}
	left := order.Expires.Sub(i.now())
	if longest := min(i.settings.TTL, order.Description.TTL); left > longest || order.TTL > longest {
		return broker.Errorf(broker.CodeInternal, "an order for %s ends later than its description says", i.ref)
	}
	if order.TTL <= 0 || left <= 0 {
		return broker.Errorf(broker.CodeExpired, "nothing is left of the time of this lease at %s", i.ref)
	}
	return nil
}

// Revoke has nobody to tell, and keeps nothing: the token dies at its expiry, as declared. It never fails.
func (i *Issuer) Revoke(context.Context, string, broker.Handle) error { return nil }

// duration writes whole minutes as people do: "5 minutes".
func duration(d time.Duration) string {
	if d == time.Minute {
		return "1 minute"
	}
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}
