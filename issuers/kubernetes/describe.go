package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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
			return broker.Description{}, i.why(err, p, a)
		}
	}
	h, a, err := i.hold(ctx, a, began, grants)
	if err != nil {
		return broker.Description{}, err
	}
	h.restricted = restricted
	found, err := i.see(ctx, a, grants, &h)
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

// see looks for what is asked, and for what a write would lead to there.
func (i *Issuer) see(ctx context.Context, a *audit, grants []grant, h *holes) (shelves, error) {
	found, err := i.look(ctx, grants, a.groups)
	if err != nil {
		return nil, err
	}
	if h.loose, err = i.looseFor(ctx, grants, found, a.groups); err != nil {
		return nil, err
	}
	if h.carried, err = i.carriedBy(ctx, a, grants, found); err != nil {
		return nil, i.fault("looking at what the accounts of workloads may do", err)
	}
	return found, nil
}

// why adds to a refusal that the level is set and not enforced.
func (i *Issuer) why(err error, p place, a *audit) error {
	known, is := errors.AsType[*broker.Error](err)
	if !is || !p.restricted() || a.level == "" {
		return err
	}
	known.Message += " (the label " + enforceLabel + " is there, and " + a.level + ")"
	return known
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

const auditing = "auditing the walls"

// placeAndAudit asks for both at once.
func (i *Issuer) placeAndAudit(ctx context.Context) (p place, a *audit, err error) {
	var all sync.WaitGroup
	var failed [2]error
	all.Go(func() { p, failed[0] = i.find(ctx) })
	all.Go(func() { a, failed[1] = i.audit(ctx, false) })
	all.Wait()
	if failed[0] != nil {
		return p, nil, i.fault(findingPlace, failed[0])
	}
	if failed[1] != nil {
		return p, nil, i.fault(auditing, failed[1])
	}
	return p, a, nil
}

const (
	enforceLabel   = "pod-security.kubernetes.io/enforce"
	enforceVersion = "pod-security.kubernetes.io/enforce-version"
	oldestVersion  = 25 // of 1.x: the first release of the Pod Security Standards that is called stable
)

// restricted tells whether the namespace enforces the restricted Pod Security level (Kubernetes documentation, Pod Security
// Standards), in a version of it that says all that is said today.
func (p place) restricted() bool {
	labels := p.namespace.Metadata.Labels
	if labels[enforceLabel] != "restricted" {
		return false
	}
	version := labels[enforceVersion]
	minor, found := strings.CutPrefix(version, "v1.")
	number, err := strconv.Atoi(minor)
	return version == "" || version == "latest" || found && err == nil && number >= oldestVersion
}

// hold judges the walls for what is asked. A hole of an audit from before this description began is looked at again; it gives the audit that
// counts.
func (i *Issuer) hold(ctx context.Context, a *audit, began time.Time, grants []grant) (holes, *audit, error) {
	refusals, h, err := i.weigh(ctx, a, grants)
	if err == nil && len(refusals) > 0 && a.at.Before(began) {
		if a, err = i.audit(ctx, true); err == nil {
			refusals, h, err = i.weigh(ctx, a, grants)
		}
	}
	if err != nil {
		return holes{}, nil, i.fault(auditing, err)
	}
	if len(refusals) > 0 {
		return holes{}, nil, i.wallError(refusals)
	}
	return h, a, nil
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
func (i *Issuer) facts(grants []grant, found shelves) []broker.Fact {
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
