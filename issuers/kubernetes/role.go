package kubernetes

import (
	"context"
	"net/url"
	"slices"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// knownRoles are the roles that were asked for, so that none is asked for twice in the time of one audit.
type knownRoles struct {
	mu    sync.Mutex
	gives map[roleKey]broker.Actions
}

// roleKey says which role; its namespace is empty for a ClusterRole.
type roleKey struct {
	namespace string
	ref       roleRef
}

// roleKey is the role that the binding gives.
func (b binding) roleKey() roleKey {
	key := roleKey{ref: b.RoleRef}
	if key.ref.Kind == "Role" {
		key.namespace = b.Metadata.Namespace
	}
	return key
}

// given fills in what bindings give, and leaves those out that give nothing. What reaches beyond the namespace is power over other
// environments.
func (i *Issuer) given(ctx context.Context, known *knownRoles, bindings []binding) ([]binding, error) {
	if err := i.learn(ctx, known, bindings); err != nil {
		return nil, err
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	var given []binding
	for _, b := range bindings {
		b.gives = known.gives[b.roleKey()]
		if b.gives == 0 {
			continue
		}
		if b.Metadata.Namespace != i.config.Settings.Namespace {
			b.gives |= broker.Admin
		}
		given = append(given, b)
	}
	return given, nil
}

// mostAtOnce is how many roles are asked for at the same time.
const mostAtOnce = 16

// learn asks for the roles of bindings that were not asked for yet.
func (i *Issuer) learn(ctx context.Context, known *knownRoles, bindings []binding) error {
	for some := range slices.Chunk(known.missing(bindings), mostAtOnce) {
		var asks []func(context.Context) error
		for _, key := range some {
			asks = append(asks, func(ctx context.Context) error {
				gives, err := i.powerOfRole(ctx, key)
				if err == nil {
					known.put(key, gives)
				}
				return err
			})
		}
		if err := together(ctx, asks...); err != nil {
			return err
		}
	}
	return nil
}

// missing are the roles of bindings that were not asked for yet, each once.
func (k *knownRoles) missing(bindings []binding) []roleKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	var missing []roleKey
	for _, b := range bindings {
		if _, known := k.gives[b.roleKey()]; !known && !slices.Contains(missing, b.roleKey()) {
			missing = append(missing, b.roleKey())
		}
	}
	return missing
}

func (k *knownRoles) put(key roleKey, gives broker.Actions) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gives == nil {
		k.gives = map[roleKey]broker.Actions{}
	}
	k.gives[key] = gives
}

// powerOfRole asks what a role gives: nothing, if no more than what a server gives everybody: to ask who one is and what
// one may do, and how the API looks. A role that is gone gives nothing. One that a controller fills in and has not filled yet
// may give anything.
func (i *Issuer) powerOfRole(ctx context.Context, key roleKey) (broker.Actions, error) {
	path := rbacPath + "/clusterroles/" + url.PathEscape(key.ref.Name)
	if key.namespace != "" {
		path = rbacPath + "/namespaces/" + key.namespace + "/roles/" + url.PathEscape(key.ref.Name)
	}
	var r role
	err := i.client.get(ctx, path, &r)
	switch {
	case isGone(err):
		return 0, nil
	case err != nil:
		return 0, err
	case r.Kind != key.ref.Kind:
		return 0, errOtherKind
	case r.Aggregates != nil && len(r.Rules) == 0:
		return everything, nil
	case r.Aggregates != nil:
		return i.powerOf(r.Rules) | broker.Read, nil // it can grow
	}
	return i.powerOf(r.Rules), nil
}
