package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Describe audits the walls and says what would be issued. CodeWall where a wall is missing, CodeInvalid and CodeDenied where
// what is asked cannot be given.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	ttl, err := lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	grants, err := i.grants(wish.Scopes)
	if err != nil {
		return broker.Description{}, err
	}
	began := i.config.Now()
	p, a, err := i.placeAndAudit(ctx)
	if err != nil {
		return broker.Description{}, err
	}
	if p.restricted() && a.level != "" && a.at.Before(began) && anyOf(grants, broker.Write, runsPods) {
		if a, err = i.audit(ctx, true); err != nil { // what refuses is looked at again
			return broker.Description{}, i.fault(auditing, err)
		}
	}
	restricted := p.restricted() && a.level == ""
	for _, g := range grants {
		if err := i.permit(g, restricted); err != nil {
			return broker.Description{}, explainLevel(err, p, a)
		}
	}
	h, a, err := i.judge(ctx, a, began, grants)
	if err != nil {
		return broker.Description{}, err
	}
	h.restricted = restricted
	found, err := i.lookAround(ctx, a, grants, &h)
	if err != nil {
		return broker.Description{}, err
	}
	facts := append(i.facts(grants, found), i.looseFacts(h.loose)...)
	if grants, err = i.expand(grants, found); err != nil {
		return broker.Description{}, err
	}
	d := i.description(p, grants, h, ttl)
	d.Facts = facts
	return d, nil
}

// lookAround looks for what is asked, and for what a write or a delete would lead to there.
func (i *Issuer) lookAround(ctx context.Context, a *audit, grants []grant, h *holes) (collections, error) {
	watched, unseen, err := i.watched(ctx, a, grants, h.noPolicy)
	if err != nil {
		return nil, err
	}
	found, err := i.look(ctx, grants, a.groups, watched)
	if err != nil {
		return nil, err
	}
	h.along = alongside{i.goneAlong(grants, found, h.noPolicy), unseen}
	if h.loose, err = i.looseFor(ctx, grants, found, a.groups); err != nil {
		return nil, err
	}
	if h.carried, err = i.carriedBy(ctx, a, grants, found); err != nil {
		return nil, i.fault("looking at what the accounts of workloads may do", err)
	}
	h.priorities = i.priorities(grants, found)
	if h.restricted { // else it holds no pod at all
		if h.classes, err = i.notHeld(ctx, h.carried.classes); err != nil {
			return nil, i.fault("trying whether Pod Security is enforced", err)
		}
	}
	if h.versioned, err = i.versionedOf(ctx, a.groups, grants); err != nil {
		return nil, i.fault("asking in which versions there are custom resources", err)
	}
	return found, nil
}

// lifetime is the TTL of a wish: none asked for is the hour.
func lifetime(asked time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return broker.Hour, nil
	case asked < ttlFloor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at Kubernetes lives at least %s, not %s: the API server makes no token for less than %s", ttlFloor, asked, shortest).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// description is a pure function of what was found.
func (i *Issuer) description(p place, grants []grant, h holes, ttl time.Duration) broker.Description {
	return broker.Description{
		Identity: p.identity(), Scopes: i.scopes(grants), Reaches: []string{i.config.Ref.Environment},
		Native: i.native(grants), Walls: i.walls(grants, h), Exceptions: h.exceptions, TTL: ttl, Ends: i.ends(),
	}
}

const shownName = "hk-<installation>-<lease>"

// native is what would be made, as the API is told.
func (i *Issuer) native(grants []grant) []string {
	namespace := i.config.Settings.Namespace
	lines := []string{
		"ServiceAccount " + shownName + " in namespace " + namespace + ", with a token that is bound to it",
		"Role and RoleBinding " + shownName + " in namespace " + namespace + ":",
	}
	for _, r := range i.rules(grants) {
		line := "  " + strings.Join(r.Verbs, ", ") + " of " + r.Resources[0]
		if r.APIGroups[0] != "" {
			line += " in group " + r.APIGroups[0]
		}
		if len(r.ResourceNames) > 0 {
			line += " named " + strings.Join(r.ResourceNames, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

// facts are what reviewers are shown beside the description.
func (i *Issuer) facts(grants []grant, found collections) []broker.Fact {
	var facts []broker.Fact
	now := i.config.Now()
	for _, g := range grants {
		s, about := found.of(g.kind), g.kind.name+"/"+string(g.name)
		switch {
		case g.all():
			facts = append(facts, broker.Fact{About: about, Text: fmt.Sprintf("%d now, and those that are made later", s.count), At: now})
		case g.name.IsPrefix():
			facts = append(facts, broker.Fact{About: about, Text: fmt.Sprintf("stands for the %d that are there now", len(s.begin(g.name))), At: now})
		case !s.has(g.name):
			facts = append(facts, broker.Fact{About: about, Text: "is not there yet", At: now})
		}
	}
	return facts
}

// anyOf tells whether a grant has one of the actions, on a kind that fits.
func anyOf(grants []grant, actions broker.Actions, fits func(kind) bool) bool {
	return slices.ContainsFunc(grants, func(g grant) bool { return g.actions&actions != 0 && fits(g.kind) })
}
