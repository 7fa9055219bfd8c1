package railway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// projectKind is a project: all its environments, unless the call names one.
func projectKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, err := l.homeOf(ctx, "project", n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	in, err := l.within(ctx, inv, n, "project "+inv.name, l.spread(inv.everywhere()))
	if err != nil {
		return gateway.Found{}, err
	}
	if n.In != "" {
		return l.found(inv, "environment", inv.environments[n.In].thing, in, fmt.Sprintf("environment %s of project %s", inv.shown(n.In), inv.name)), nil
	}
	says := fmt.Sprintf("project %s with all its environments (%s), %d services and %d volumes", inv.name, and(inv.shownAll(in)), len(inv.services), len(inv.volumes))
	return l.found(inv, "project", thing{inv.id, inv.name}, in, says), nil
}

// projectView is a project as far as an answer is kept to the lease's environment.
func projectView(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	inv, err := l.homeOf(ctx, "project", n.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	if inv.id == l.inv.id && (n.In == "" || n.In == l.here.id) {
		return l.view(), nil
	}
	return projectKind(ctx, l, n)
}

// environmentKind is one environment, by an id that may have its project before it.
func environmentKind(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	project, id := split(n.ID)
	inv, err := l.homeOf(ctx, "environment", id)
	if err != nil {
		return gateway.Found{}, err
	}
	e := inv.environments[id]
	if err := l.fits(ctx, n, project, "environment "+e.name, inv); err != nil {
		return gateway.Found{}, err
	}
	services, volumes := 0, 0
	for _, s := range inv.services {
		if _, here := s.instances[id]; here {
			services++
		}
	}
	for _, v := range inv.volumes {
		if _, here := v.instances[id]; here {
			volumes++
		}
	}
	says := fmt.Sprintf("environment %s of project %s, with %d services and %d volumes", e.name, inv.name, services, volumes)
	return l.found(inv, "environment", e.thing, []string{id}, says), nil
}

// accountKind is what belongs to the account or to one of its workspaces. It is not looked up: it is in no
// environment, whatever it is.
func accountKind(_ context.Context, _ *look, n judge.Named) (gateway.Found, error) {
	return ofAccount(n), nil
}

// isOfAccount tells whether a kind is looked up by accountKind.
func isOfAccount(kind string) bool {
	return slices.Contains([]string{
		"account", "workspace", "api-token", "ssh-key", "customer", "template", "trusted-domain", "bought-domain", "chat-binding",
		"notification-rule", "notification-delivery", "allowlist-entry",
	}, kind)
}

func ofAccount(n judge.Named) gateway.Found {
	name := n.Kind + "/" + n.ID
	if n.ID == "" {
		name = n.Kind + "/*"
	}
	return gateway.Found{
		Names:  []broker.Resource{broker.Resource(name)},
		Places: []broker.Place{{Identity: "railway:account", Shown: "the whole account, which is no environment's"}}, // no target has this identity
		Says:   fmt.Sprintf("%s: what belongs to the account or its workspaces is in no environment", strings.ReplaceAll(n.Kind, "-", " ")),
	}
}

// signals are switches for the services' code. Their owner is "project:ID", or else a workspace.
func signals(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	if project, of := strings.CutPrefix(n.ID, "project:"); of {
		return projectKind(ctx, l, judge.Named{Kind: "project", ID: project, At: n.At})
	}
	return ofAccount(judge.Named{Kind: "workspace", ID: n.ID, At: n.At}), nil
}

// patch is a former or present change of an environment's configuration.
func patch(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	return l.direct(ctx, n, func(ctx context.Context) (way, error) {
		var answer struct {
			Patch *struct {
				EnvironmentID string `json:"environmentId"`
			} `json:"environmentPatch"`
		}
		document := `query HourkeyPatch($id: String!) { environmentPatch(id: $id) { environmentId } }`
		err := l.client.ask(ctx, document, map[string]any{"id": n.ID}, &answer)
		if err != nil || answer.Patch == nil {
			return way{}, cmp.Or(err, errNotThere)
		}
		return way{environment: answer.Patch.EnvironmentID, says: "change " + n.ID + " of the configuration"}, nil
	})
}

// sandbox is a machine, or a saved disk. Railway has no query for one whose environment is not known.
func sandbox(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
	if n.In == "" {
		return gateway.Found{}, misfit(n, "without its environment it cannot be looked up")
	}
	found, err := l.direct(ctx, n, func(ctx context.Context) (way, error) {
		var answer struct {
			Sandbox *struct {
				ID          string `json:"id"`
				Environment string `json:"environmentId"`
			} `json:"sandbox"`
			Checkpoints []namedAnswer `json:"sandboxCheckpoints"`
		}
		document := `query HourkeySandbox($in: String!, $id: String!) { sandbox(environmentId: $in, id: $id) { id environmentId } }`
		if n.Kind == "sandbox-checkpoint" {
			document = `query HourkeyCheckpoints($in: String!) { sandboxCheckpoints(environmentId: $in) { id } }`
		}
		err := l.client.ask(ctx, document, map[string]any{"in": n.In, "id": n.ID}, &answer)
		there := answer.Sandbox != nil && answer.Sandbox.ID == n.ID && answer.Sandbox.Environment == n.In ||
			slices.ContainsFunc(answer.Checkpoints, func(c namedAnswer) bool { return c.ID == n.ID })
		if err != nil || !there {
			return way{}, cmp.Or(err, errNotThere)
		}
		return way{environment: n.In, says: strings.ReplaceAll(n.Kind, "-", " ") + " " + n.ID}, nil
	})
	found.Names = []broker.Resource{broker.Resource("sandbox/" + n.ID)}
	return found, err
}

// Find gives the thing that a scope calls by its id or name. Of what will be made, and of what is in no inventory,
// it can only say that the environment is meant.
func (p *Provider) Find(ctx context.Context, name broker.Resource) (gateway.Found, error) {
	inv, here, err := p.own(ctx, false)
	if err != nil {
		return gateway.Found{}, err
	}
	l := &look{Provider: p, inv: inv, here: here}
	kind, called, _ := strings.Cut(string(name), "/")
	if called == newName {
		return l.made(inv, kind, []string{here.id}), nil
	}
	switch kind {
	case "project", "environment", "service", "volume", "bucket", "plugin", "group":
	default:
		if isOfAccount(kind) {
			return ofAccount(judge.Named{Kind: kind, ID: called}), nil
		}
		return gateway.Found{Names: []broker.Resource{name}, Places: l.places(inv, []string{here.id}), Says: string(name)}, nil
	}
	id, err := one(inv.of(kind), called, kind)
	if err != nil {
		return gateway.Found{}, broker.Errorf(broker.CodeInvalid, "scope %s: project %s has no one %s of this name or id", name, inv.name, kind).WithField("scope")
	}
	return l.resolve(ctx, judge.Named{Kind: kind, ID: id, At: "scope"})
}
