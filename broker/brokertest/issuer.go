package brokertest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Issuer keeps its credentials in a map, by name. Hooks, when set, run before the call that they name
// and can make it fail.
type Issuer struct {
	ID       string
	Can      broker.Capabilities
	Reaches  []string // nil: the item's own environment
	Parts    string   // of the identity
	Tables   []string // what a prefix expands to
	OnIssue  func(order broker.Order) error
	OnRevoke func(name string) error
	Longer   time.Duration  // by how much a credential outlives what was ordered
	Weak     broker.Actions // what its walls let through beside a write
	WeakAt   string         // another target than the own

	mu   sync.Mutex
	live map[string]string // name → secret
	made int
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
	_ broker.Lister   = (*Issuer)(nil)
)

// Capabilities gives Can.
func (i *Issuer) Capabilities() broker.Capabilities { return i.Can }

// Identify gives ID.
func (i *Issuer) Identify(context.Context) (broker.Identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return broker.Identity{ID: i.ID, Shown: "the thing called " + i.ID, Parts: i.Parts}, nil
}

// SetID makes the provider answer as another.
func (i *Issuer) SetID(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ID = id
}

// Describe expands prefixes to Tables; behind the gateway they stay.
func (i *Issuer) Describe(_ context.Context, wish broker.Wish) (broker.Description, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := broker.Description{Identity: i.ID, TTL: wish.TTL, Ends: "at once", Reaches: i.Reaches}
	for _, scope := range wish.Scopes {
		if !scope.Resource.IsPrefix() || i.Can.Gateway {
			d.Scopes = append(d.Scopes, scope)
			continue
		}
		for _, table := range i.Tables {
			if scope.Resource.Covers(broker.Resource(table)) {
				d.Scopes = append(d.Scopes, broker.Scope{Target: scope.Target, Resource: broker.Resource(table), Actions: scope.Actions})
			}
		}
	}
	for _, scope := range broker.Normalize(d.Scopes) {
		d.Native = append(d.Native, "GRANT "+scope.String())
		if i.Weak != 0 && scope.Actions.Has(broker.Write) {
			scope.Actions, scope.Target = i.Weak, cmp.Or(i.WeakAt, scope.Target)
			d.Walls = append(d.Walls, broker.WallFact{Stops: "going around", Wall: broker.WallWeak, How: "it is known to work", Gives: []broker.Scope{scope}})
		}
	}
	return d, nil
}

// Issue makes a credential of that name.
func (i *Issuer) Issue(_ context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	if i.OnIssue != nil {
		if err := i.OnIssue(order); err != nil {
			return broker.Credential{}, nil, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.live == nil {
		i.live = map[string]string{}
	}
	i.made++
	secret := "secret-of-" + order.Name
	i.live[order.Name] = secret
	if i.Can.Gateway {
		token := broker.NewSecret(broker.TokenPrefix + order.Lease + "_" + secret)
		return broker.Credential{Gateway: &broker.Gateway{Token: token}, Expires: order.Expires}, nil, nil
	}
	return broker.Credential{
		Values: map[string]broker.Secret{"TOKEN": broker.NewSecret(secret)}, Expires: order.Expires.Add(i.Longer),
	}, broker.Handle("handle-of-" + order.Name), nil
}

// Revoke forgets the credential of that name.
func (i *Issuer) Revoke(_ context.Context, name string, _ broker.Handle) error {
	if i.OnRevoke != nil {
		if err := i.OnRevoke(name); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.live, name)
	return nil
}

// List gives the names that begin with prefix.
func (i *Issuer) List(_ context.Context, prefix string) ([]string, error) {
	return slices.DeleteFunc(i.Live(), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

// Live gives the names of the credentials that work.
func (i *Issuer) Live() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var names []string
	for name := range i.live {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Made counts the credentials that were ever made.
func (i *Issuer) Made() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.made
}

// Plant puts a credential that no lease knows.
func (i *Issuer) Plant(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.live == nil {
		i.live = map[string]string{}
	}
	i.live[name] = "planted"
}
