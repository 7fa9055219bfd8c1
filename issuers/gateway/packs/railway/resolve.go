package railway

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// resolver looks up what a call names.
type resolver func(context.Context, *look, judge.Named) (gateway.Found, error)

// look is the looking up of all that one call names.
type look struct {
	*Provider
	fresh bool
	inv   *inventory   // of the target's project
	here  *environment // the target's
}

// newName stands for the name of what will be made: a scope must cover all of the kind, or say (new).
const newName = "(new)"

// idPattern is how ids look. Railway's are UUIDs; signals' owners have a colon, templates' codes are words.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,100}$`)

// Resolve tells what each of named is and where it lives, asked with the real token. An id that is found nowhere
// is an error: what cannot be looked up is not let through.
func (p *Provider) Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	inv, here, err := p.own(ctx, fresh)
	if err != nil {
		return nil, err
	}
	l := &look{Provider: p, fresh: fresh, inv: inv, here: here}
	found := make([]gateway.Found, len(named))
	for at, n := range named {
		if strings.Count(n.ID, "/") != strings.Count(n.At, "/") && n.ID != "" { // an id with a slash in it reads like two
			return nil, nowhere(n)
		}
		if found[at], err = l.resolve(ctx, n); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (l *look) resolve(ctx context.Context, n judge.Named) (gateway.Found, error) {
	how, known := l.resolvers[n.Kind]
	if !known {
		return gateway.Found{}, broker.Errorf(broker.CodeInternal, "railway: nothing looks up the kind %s", n.Kind)
	}
	if n.ID == "" {
		return l.whole(n), nil
	}
	ids := strings.Split(n.ID, "/")
	if n.In != "" {
		ids = append(ids, n.In)
	}
	if slices.ContainsFunc(ids, func(id string) bool { return !idPattern.MatchString(id) }) {
		return gateway.Found{}, nowhere(n)
	}
	found, err := how(ctx, l, n)
	if errors.Is(err, errNotThere) {
		return gateway.Found{}, nowhere(n)
	}
	return found, err
}

// nowhere is the refusal of an id that is not found.
func nowhere(n judge.Named) error {
	id := n.ID
	if n.In != "" && n.Kind != "variables" {
		id += " in " + n.In
	}
	return broker.Errorf(broker.CodeDenied, "argument %s: the %s %.120q lives in none of the projects that this target can see", n.At, strings.ReplaceAll(n.Kind, "-", " "), id).
		WithField(n.At).WithNext("check the id: it is not guessed at")
}

// misfit is the refusal of two arguments that do not belong together.
func misfit(n judge.Named, format string, arguments ...any) error {
	return broker.Errorf(broker.CodeDenied, "argument %s: %s", n.At, fmt.Sprintf(format, arguments...)).
		WithField(n.At).WithNext("name things that belong together")
}

// resolvers is the table of kinds.
func resolvers() map[string]resolver {
	return map[string]resolver{
		"project": projectKind, "project-view": projectView, "environment": environmentKind, "environment-view": environmentKind, "staged": staged,
		"service": serviceKind, "service-view": serviceView, "project-service": projectService, "base-service": baseService, "variables": variables,
		"new-service": newThing("service"), "new-volume": newThing("volume"), "new-bucket": newThing("bucket"), "new-plugin": newThing("plugin"), "base-new-service": baseNewService,
		"volume": volumeKind, "volume-instance": volumeInstanceKind, "backup": backupKind,
		"bucket": thingKind("bucket"), "plugin": thingKind("plugin"), "group": thingKind("group"),
		"service-instance": serviceInstance, "deployment": deployment, "patch": patch,
		"custom-domain": byWay("domain"), "service-domain": byWay("domain"), "tcp-proxy": byWay("tcp-proxy"), "deployment-trigger": byWay("deployment-trigger"),
		"private-network": byWay("private-network"), "private-network-endpoint": byWay("private-network-endpoint"), "dashboard": byWay("dashboard"),
		"integration": byWay("integration"), "project-token": byWay("project-token"), "project-invitation": byWay("project-invitation"),
		"sandbox": sandbox, "sandbox-checkpoint": sandbox, "signals": signals,
		"account": accountKind, "workspace": accountKind, "api-token": accountKind, "ssh-key": accountKind, "customer": accountKind, "template": accountKind,
		"trusted-domain": accountKind, "bought-domain": accountKind, "chat-binding": accountKind, "notification-rule": accountKind,
		"notification-delivery": accountKind, "allowlist-entry": accountKind,
	}
}

// spoken is the kind by which scopes speak of what a row calls otherwise.
func spoken(kind string) string {
	switch kind {
	case "project-view":
		return "project"
	case "variables", "environment-view", "staged", "patch", "private-network", "private-network-endpoint", "dashboard", "project-token":
		return "environment"
	case "integration", "project-invitation", "signals":
		return "project"
	case "volume-instance", "backup", "new-volume":
		return "volume"
	case "new-bucket":
		return "bucket"
	case "new-plugin":
		return "plugin"
	case "sandbox-checkpoint":
		return "sandbox"
	case "service-view", "project-service", "base-service", "new-service", "base-new-service", "service-instance", "deployment",
		"custom-domain", "service-domain", "tcp-proxy", "deployment-trigger":
		return "service"
	}
	return kind
}

// whole is all there is of a kind: a call that names none means any of them.
func (l *look) whole(n judge.Named) gateway.Found {
	if isOfAccount(n.Kind) {
		return ofAccount(n)
	}
	if strings.HasSuffix(n.Kind, "-view") {
		return l.view()
	}
	kind, in := spoken(n.Kind), l.spread(l.inv.everywhere())
	return gateway.Found{
		Names:  []broker.Resource{broker.Resource(kind + "/*")},
		Places: l.places(l.inv, in),
		Says:   fmt.Sprintf("every %s of project %s, in %s", kind, l.inv.name, and(l.inv.shownAll(in))),
	}
}

// unseen stands for the environments of which a project token, which is for one, may be told nothing.
const unseen = "(environments that a project token does not see)"

// spread gives the environments in which something of the whole project lives.
func (l *look) spread(lives []string) []string {
	if l.settings.TokenKind == "project" {
		return append(slices.Clone(lives), unseen)
	}
	return lives
}

// view is the part of the project that an answer is kept to.
func (l *look) view() gateway.Found {
	return gateway.Found{
		Names:  slices.Concat(l.inv.names("project", thing{l.inv.id, l.inv.name}), l.inv.names("environment", l.here.thing)),
		Places: l.places(l.inv, []string{l.here.id}),
		Says:   fmt.Sprintf("project %s, as far as it is in %s", l.inv.name, l.here.name),
	}
}

// places are environments of a project as the broker knows them.
func (l *look) places(inv *inventory, environments []string) []broker.Place {
	places := make([]broker.Place, len(environments))
	for at, id := range environments {
		shown := inv.shown(id)
		if inv.id != l.inv.id {
			shown += " of project " + inv.name
		}
		places[at] = broker.Place{Identity: identity(inv.id, id), Shown: shown}
	}
	return places
}

// found is a thing with where it lives.
func (l *look) found(inv *inventory, kind string, t thing, environments []string, says string) gateway.Found {
	return gateway.Found{Names: inv.names(kind, t), Places: l.places(inv, environments), Says: says}
}

// within gives the environments that are meant of those where something lives: the one that the call names, and
// it must live there; without one all, and if it lives in none those of its project, where it could be.
func (l *look) within(ctx context.Context, inv *inventory, n judge.Named, what string, lives []string) ([]string, error) {
	switch {
	case n.In == "" && len(lives) == 0:
		return inv.everywhere(), nil
	case n.In == "" || slices.Equal(lives, []string{n.In}):
		return lives, nil
	}
	home, err := l.homeOf(ctx, "environment", n.In)
	if errors.Is(err, errNotThere) {
		return nil, nowhere(judge.Named{Kind: "environment", ID: n.In, At: "environment of " + n.At})
	}
	if err != nil {
		return nil, err
	}
	if home.id != inv.id {
		return nil, misfit(n, "%s is of project %s, and the environment %s of project %s", what, inv.name, home.shown(n.In), home.name)
	}
	if !slices.Contains(lives, n.In) {
		if len(lives) == 0 {
			return nil, misfit(n, "%s has no part in %s, nor in any other environment", what, inv.shown(n.In))
		}
		return nil, misfit(n, "%s has no part in %s: it lives in %s", what, inv.shown(n.In), and(inv.shownAll(lives)))
	}
	return []string{n.In}, nil
}

// split takes the project off an id, if the row put it there.
func split(id string) (project, rest string) {
	if first, second, two := strings.Cut(id, "/"); two {
		return first, second
	}
	return "", id
}

// fits checks that what a call says of the project is so.
func (l *look) fits(ctx context.Context, n judge.Named, project, what string, inv *inventory) error {
	if project == "" || project == inv.id {
		return nil
	}
	other, err := l.homeOf(ctx, "project", project)
	if errors.Is(err, errNotThere) {
		return nowhere(judge.Named{Kind: "project", ID: project, At: n.At})
	}
	if err != nil {
		return err
	}
	return misfit(n, "%s is of project %s, and the call says %s", what, inv.name, other.name)
}

// and joins words for a sentence.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
