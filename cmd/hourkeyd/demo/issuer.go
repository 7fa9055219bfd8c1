package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/demo/provider"
)

// issuer issues the provider's target tokens in one environment. It is the wall that the provider has
// not: it asks the provider where each volume lives, and never believes an agent about that.
type issuer struct {
	environment string
	name        string // iss of its tokens
	key         ed25519.PrivateKey
	volumes     func() ([]provider.Volume, error)
	services    []string // of this environment
	now         func() time.Time
}

var (
	_ broker.Issuer   = (*issuer)(nil)
	_ broker.Declarer = (*issuer)(nil)
)

// Capabilities: a signed token cannot be called back, so the drill keeps its life short.
func (i *issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{Kind: "quay", Local: true, Ends: "at its expiry, which the provider checks at every call; not earlier"}
}

// Identify names the project and environment at the provider.
func (i *issuer) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{ID: "quay:shop/" + i.environment, Shown: "project shop, environment " + i.environment + ", at the drill's provider"}, nil
}

// Describe resolves every name at the provider. What has an instance in another environment reaches it.
func (i *issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	volumes, err := i.volumes()
	if err != nil {
		return broker.Description{}, fmt.Errorf("listing volumes: %w", err)
	}
	identity, err := i.Identify(ctx)
	if err != nil {
		return broker.Description{}, err
	}
	d := broker.Description{
		Identity: identity.ID, Reaches: []string{i.environment}, TTL: wish.TTL, Ends: i.Capabilities().Ends,
		Walls: []broker.WallFact{
			{Stops: "another environment", Wall: broker.WallGateway, How: "the token names volumes and services one by one, each looked up at the provider"},
			{Stops: "any action that is not named", Wall: broker.WallNative, How: "the provider checks the token's scope"},
			{Stops: "use after the end", Wall: broker.WallNative, How: "the provider checks the token's expiry"},
		},
	}
	for _, scope := range wish.Scopes {
		if err := i.expand(&d, scope, volumes); err != nil {
			return broker.Description{}, err
		}
	}
	d.Scopes = broker.Normalize(d.Scopes)
	slices.Sort(d.Reaches)
	d.Reaches = slices.Compact(d.Reaches)
	d.Native = []string{"scope: " + nativeScope(d.Scopes)}
	return d, nil
}

// expand turns one scope into names of this environment.
func (i *issuer) expand(d *broker.Description, scope broker.Scope, volumes []provider.Volume) error {
	met := false
	add := func(name string) {
		met = true
		d.Scopes = append(d.Scopes, broker.Scope{Target: scope.Target, Resource: broker.Resource(name), Actions: scope.Actions})
	}
	for _, service := range i.services {
		if scope.Resource.Covers(broker.Resource("service/" + service)) {
			add("service/" + service)
		}
	}
	for _, v := range volumes {
		name := "volume/" + v.ID
		if !scope.Resource.Covers(broker.Resource(name)) || !slices.Contains(v.Environments, i.environment) {
			continue
		}
		add(name)
		if scope.Actions.Has(broker.Delete) { // ends every instance, wherever it is
			i.reach(d, v)
		}
		d.Facts = append(d.Facts, broker.Fact{About: name, Text: inWords(v), At: i.now().UTC()})
	}
	if !met {
		return broker.Errorf(broker.CodeDenied, "%s has no %s", i.environment, scope.Resource).WithNext("look at what is there first")
	}
	return nil
}

// reach says where else a volume lives.
func (i *issuer) reach(d *broker.Description, v provider.Volume) {
	d.Reaches = append(d.Reaches, v.Environments...)
	others := slices.DeleteFunc(slices.Clone(v.Environments), func(e string) bool { return e == i.environment })
	if len(others) > 0 {
		d.Elsewhere = append(d.Elsewhere, fmt.Sprintf("volume/%s (%s, attached to %s) also lives in %s", v.ID, v.Name, v.Service, strings.Join(others, " and ")))
	}
}

func inWords(v provider.Volume) string {
	return fmt.Sprintf("%s: %d rows, attached to %s, in %s; backups that lie on it and go with it: %d", v.Name, v.Rows, v.Service, strings.Join(v.Environments, " and "), v.Backups)
}

func nativeScope(scopes []broker.Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s.Resource) + ":" + s.Actions.String()
	}
	return strings.Join(words, " ")
}

// Issue signs a token (RFC 9068).
func (i *issuer) Issue(_ context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": i.name, "aud": provider.Audience, "sub": order.Agent, "jti": order.Name,
		"iat": i.now().Unix(), "exp": order.Expires.Unix(), "scope": nativeScope(order.Description.Scopes),
	})
	token.Header["typ"] = "at+jwt"
	signed, err := token.SignedString(i.key)
	if err != nil {
		return broker.Credential{}, nil, errors.New("the token could not be signed")
	}
	return broker.Credential{Values: map[string]broker.Secret{"QUAY_TOKEN": broker.NewSecret(signed)}, Expires: order.Expires}, nil, nil
}

// Revoke has nothing to do: the token is dead at its expiry and the broker knows that it cannot be sooner.
func (i *issuer) Revoke(context.Context, string, broker.Handle) error { return nil }
