package railway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// livesOf lists the environments in which a service has a part.
func (inv *inventory) livesOf(s *service) []string {
	return inv.sorted(slices.Collect(maps.Keys(s.instances)))
}

// serviceInstance finds the service and the environment of a service's part.
func (inv *inventory) serviceInstance(id string) (s *service, environment string, found bool) {
	for _, s := range inv.services {
		for environment, instance := range s.instances {
			if instance == id {
				return s, environment, true
			}
		}
	}
	return nil, "", false
}

// serviceOf finds a service by an id that may have its project before it.
func (l *look) serviceOf(ctx context.Context, n judge.Named) (*inventory, *service, error) {
	project, id := split(n.ID)
	inv, err := l.homeOf(ctx, "service", id)
	if err != nil {
		return nil, nil, err
	}
	s := inv.services[id]
	return inv, s, l.fits(ctx, n, project, "service "+s.name, inv)
}

// serviceKind is a service, in the environment that the call names or in all.
func serviceKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, s, err := l.serviceOf(ctx, n)
	if err != nil {
		return gateway.Found{}, err
	}
	in, err := l.within(ctx, inv, n, "service "+s.name, l.spread(inv.livesOf(s)))
	if err != nil {
		return gateway.Found{}, err
	}
	return l.found(inv, "service", s.thing, in, inv.saysService(s, in)), nil
}

// baseService is a service where an environment that is no fork stands for all that are none.
func baseService(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	found, err := serviceKind(ctx, l, n)
	if err != nil || n.In == "" {
		return found, err
	}
	inv, s, err := l.serviceOf(ctx, n)
	if err != nil || inv.environments[n.In] == nil || inv.environments[n.In].fork {
		return found, err
	}
	in := l.spread(slices.DeleteFunc(inv.livesOf(s), inv.isFork))
	says := inv.saysService(s, in)
	if len(in) > 1 {
		says += fmt.Sprintf(": %s is no fork, and Railway does this in every environment that is none", inv.shown(n.In))
	}
	return l.found(inv, "service", s.thing, in, says), nil
}

func (inv *inventory) isFork(environment string) bool {
	e := inv.environments[environment]
	return e != nil && e.fork
}

// serviceView is a service as far as an answer is kept to the lease's environment. It must have a part there.
func serviceView(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, s, err := l.serviceOf(ctx, n)
	if err != nil {
		return gateway.Found{}, err
	}
	if n.In == "" && inv.id == l.inv.id {
		if _, here := s.instances[l.here.id]; here {
			n.In = l.here.id
		}
	}
	return serviceKind(ctx, l, n)
}

// projectService is a service that need not be in the environment yet.
func projectService(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, s, err := l.serviceOf(ctx, n)
	if err != nil {
		return gateway.Found{}, err
	}
	in, err := l.within(ctx, inv, n, "service "+s.name, l.spread(inv.everywhere()))
	if err != nil {
		return gateway.Found{}, err
	}
	return l.found(inv, "service", s.thing, in, fmt.Sprintf("service %s, in %s", s.name, and(inv.shownAll(in)))), nil
}

func (inv *inventory) saysService(s *service, in []string) string {
	says := fmt.Sprintf("service %s in %s", s.name, and(inv.shownAll(in)))
	also := slices.DeleteFunc(inv.livesOf(s), func(id string) bool { return slices.Contains(in, id) })
	if len(also) > 0 {
		says += ", which also lives in " + and(inv.shownAll(also))
	}
	return says
}

// serviceInstance is the part of a service in one environment.
func serviceInstance(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, err := l.homeOf(ctx, "service-instance", n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	s, environment, _ := inv.serviceInstance(n.ID)
	in, err := l.within(ctx, inv, n, "this part of service "+s.name, []string{environment})
	return l.found(inv, "service", s.thing, in, inv.saysService(s, in)), err
}

// variables are those of a service, which stands in the place of the environment, or those that the services of
// an environment share.
func variables(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	project, id := split(n.ID)
	home, err := l.homeOf(ctx, "environment", id)
	if err != nil {
		return gateway.Found{}, err
	}
	if err := l.fits(ctx, n, project, "environment "+home.shown(id), home); err != nil {
		return gateway.Found{}, err
	}
	if n.In == "" {
		e := home.environments[id]
		return l.found(home, "environment", e.thing, []string{id}, "variables that the services of "+e.name+" share"), nil
	}
	found, err := serviceKind(ctx, l, judge.Named{Kind: "service", ID: n.In, In: id, At: n.At})
	found.Says = "variables of " + found.Says
	return found, err
}

// newThing is something of a kind that will be made in a project, in one environment or in all.
func newThing(kind string) resolver {
	return func(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
		inv, err := l.homeOf(ctx, "project", n.ID)
		if err != nil {
			return gateway.Found{}, err
		}
		in, err := l.within(ctx, inv, n, "project "+inv.name, l.spread(inv.everywhere()))
		return l.made(inv, kind, in), err
	}
}

func (l *look) made(inv *inventory, kind string, in []string) gateway.Found {
	return gateway.Found{
		Names: []broker.Resource{broker.Resource(kind + "/" + newName)}, Places: l.places(inv, in),
		Says: fmt.Sprintf("a new %s in %s", kind, and(inv.shownAll(in))),
	}
}

// baseNewService is a service that will be made, where an environment that is no fork stands for all that are none.
func baseNewService(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	found, err := newThing("service")(ctx, l, n)
	if err != nil {
		return found, err
	}
	inv, err := l.homeOf(ctx, "project", n.ID)
	if err != nil || n.In != "" && inv.isFork(n.In) || n.In == "" {
		return found, err
	}
	return l.made(inv, "service", l.spread(inv.noForks())), nil
}

// deployment is one of a service.
func deployment(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	return l.direct(ctx, n, func(ctx context.Context) (way, error) {
		var answer struct {
			Found *struct {
				EnvironmentID string `json:"environmentId"`
				ServiceID     string `json:"serviceId"`
			} `json:"deployment"`
		}
		document := `query HourkeyDeployment($id: String!) { deployment(id: $id) { environmentId serviceId } }`
		err := l.client.ask(ctx, document, map[string]any{"id": n.ID}, &answer)
		if err != nil || answer.Found == nil {
			return way{}, cmp.Or(err, errNotThere)
		}
		return way{answer.Found.EnvironmentID, answer.Found.ServiceID, "deployment " + n.ID}, nil
	})
}

// direct follows the way that a query of its own gives to an id.
func (l *look) direct(ctx context.Context, n judge.Named, ask func(context.Context) (way, error)) (gateway.Found, error) {
	w, err := l.direction.recall(ctx, n.Kind+"/"+n.ID+" in "+n.In, l.fresh, ask)
	if err != nil {
		return gateway.Found{}, err
	}
	inv, err := l.homeOf(ctx, "environment", w.environment)
	if err != nil {
		return gateway.Found{}, err
	}
	return l.ofService(ctx, inv, n, w)
}

// ofService is something that belongs to a service in an environment, or to the environment itself.
func (l *look) ofService(ctx context.Context, inv *inventory, n judge.Named, w way) (gateway.Found, error) {
	in, err := l.within(ctx, inv, n, w.says, []string{w.environment})
	if err != nil {
		return gateway.Found{}, err
	}
	if s := inv.services[w.service]; s != nil {
		return l.found(inv, "service", s.thing, in, fmt.Sprintf("%s of service %s in %s", w.says, s.name, and(inv.shownAll(in)))), nil
	}
	e := inv.environments[w.environment]
	if e == nil {
		return gateway.Found{}, errNotThere
	}
	return l.found(inv, "environment", e.thing, in, fmt.Sprintf("%s in %s", w.says, strings.Join(inv.shownAll(in), ""))), nil
}
