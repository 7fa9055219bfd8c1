package kubernetes

import (
	"context"
	"net/url"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// gifts are what the roles give that were asked for, so that none is asked for twice in the time of one audit.
type gifts struct {
	mu    sync.Mutex
	known map[gift]broker.Actions
}

// gift is a role; its namespace is empty for a ClusterRole.
type gift struct {
	namespace string
	role      roleRef
}

// gift is the role that a binding gives.
func (s stray) gift() gift {
	of := gift{role: s.binding.RoleRef}
	if of.role.Kind == "Role" {
		of.namespace = s.namespace
	}
	return of
}

// given fills in what bindings give, and leaves those out that give nothing. What reaches beyond the namespace is power over other
// environments.
func (i *Issuer) given(ctx context.Context, g *gifts, bindings []stray) ([]stray, error) {
	if err := i.learn(ctx, g, bindings); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var given []stray
	for _, s := range bindings {
		s.gives = g.known[s.gift()]
		if s.gives == 0 {
			continue
		}
		if s.namespace != i.config.Settings.Namespace {
			s.gives |= broker.Admin
		}
		given = append(given, s)
	}
	return given, nil
}

// mostAtOnce is how many roles are asked for at the same time.
const mostAtOnce = 16

// learn asks for the roles of bindings that were not asked for yet. The first failure cancels the rest.
func (i *Issuer) learn(ctx context.Context, g *gifts, bindings []stray) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unknown := g.unknown(bindings)
	failed, slots := make([]error, len(unknown)), make(chan struct{}, mostAtOnce)
	var all sync.WaitGroup
	for at, of := range unknown {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			gives, err := i.giftOf(ctx, of)
			if err != nil {
				failed[at] = err
				cancel()
				return
			}
			g.put(of, gives)
		})
	}
	all.Wait()
	return firstCause(failed)
}

// unknown are the roles of bindings that were not asked for yet, each once.
func (g *gifts) unknown(bindings []stray) []gift {
	g.mu.Lock()
	defer g.mu.Unlock()
	var unknown []gift
	seen := map[gift]bool{}
	for _, s := range bindings {
		of := s.gift()
		if _, known := g.known[of]; !known && !seen[of] {
			seen[of] = true
			unknown = append(unknown, of)
		}
	}
	return unknown
}

func (g *gifts) put(of gift, gives broker.Actions) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[gift]broker.Actions{}
	}
	g.known[of] = gives
}

// giftOf asks what a role gives: nothing, if no more than what a server gives everybody: to ask who one is and what
// one may do, and how the API looks. A role that is gone gives nothing. One that a controller fills in and has not filled yet
// may give anything.
func (i *Issuer) giftOf(ctx context.Context, g gift) (broker.Actions, error) {
	path := rbacPath + "/clusterroles/" + url.PathEscape(g.role.Name)
	if g.namespace != "" {
		path = rbacPath + "/namespaces/" + g.namespace + "/roles/" + url.PathEscape(g.role.Name)
	}
	var r role
	err := i.client.get(ctx, path, &r)
	switch {
	case isGone(err):
		return 0, nil
	case err != nil:
		return 0, err
	case r.Kind != g.role.Kind:
		return 0, errOtherKind
	case r.Aggregates != nil && len(r.Rules) == 0:
		return everything, nil
	case r.Aggregates != nil:
		return i.powerOf(r.Rules) | broker.Read, nil // it can grow
	}
	return i.powerOf(r.Rules), nil
}
