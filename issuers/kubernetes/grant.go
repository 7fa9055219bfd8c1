package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// grant is what a lease gets on one thing.
type grant struct {
	thing
	actions broker.Actions
}

// grants takes scopes apart.
func (i *Issuer) grants(scopes []broker.Scope) ([]grant, error) {
	if len(scopes) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.config.Ref).WithField("scope")
	}
	var all []grant
	for _, scope := range broker.Normalize(scopes) {
		if scope.Target != i.config.Ref.Target {
			return nil, broker.Errorf(broker.CodeInvalid, "scope %q is none of %s", scope.String(), i.config.Ref).WithField("scope")
		}
		t, err := i.parse(scope.Resource)
		if err != nil {
			return nil, err
		}
		all = append(all, grant{t, scope.Actions})
	}
	return all, nil
}

// demandOf is what an action on a kind wants.
func (k kind) demandOf(action broker.Actions) demand {
	switch action {
	case broker.Read:
		return k.read
	case broker.Write:
		return k.write
	case broker.Delete:
		return k.remove
	default:
		return k.use
	}
}

// permit refuses an action that the kind does not have, or that wants another beside it. restricted tells whether the namespace
// enforces the restricted Pod Security level.
func (i *Issuer) permit(g grant, restricted bool) error {
	adminServes := g.use&(impossible|forbidden) == 0
	for _, action := range g.actions.Each() {
		if action == broker.Admin {
			continue
		}
		d := g.demandOf(action)
		if d&wantsRestricted != 0 && !restricted {
			d |= wantsAdmin
		}
		adminServes = adminServes || d&wantsAdmin != 0
		if err := i.meets(g, action, d, restricted); err != nil {
			return err
		}
	}
	if !g.actions.Has(broker.Admin) {
		return nil
	}
	if !adminServes {
		return i.refuse("nothing that is asked of %s needs admin", g.kind.name).WithNext("leave admin out")
	}
	if g.use&(impossible|forbidden) == 0 {
		return i.meets(g, broker.Admin, g.use, restricted)
	}
	return nil
}

// meets holds one action against what it wants.
func (i *Issuer) meets(g grant, action broker.Actions, d demand, restricted bool) error {
	_, streams := i.config.Settings.accepts(objectStreams)
	switch {
	case d&forbidden != 0:
		return i.refuse("%s is never given for %s: %s", action, g.kind.name, g.why)
	case d&impossible != 0:
		return i.refuse("%s has nothing to %s", g.kind.name, action)
	case d&wantsStreams != 0 && !streams:
		return broker.Errorf(broker.CodeWall, "%s: %s %s, so it would go on after the end of the lease [%s]", i.config.Ref, g.kind.name, g.why, objectStreams).WithField("scope").
			WithNext("the operator may accept that by the name in brackets in environments/%s.yaml", i.config.Ref.Environment)
	case d&wantsDelete != 0 && !g.actions.Has(broker.Delete):
		return i.refuse("%s of %s counts as delete: %s", action, g.kind.name, g.why).WithNext("ask for %s,delete", action)
	case d&wantsAdmin != 0 && !g.actions.Has(broker.Admin):
		return i.wantsAdmin(g, action, d, restricted)
	}
	return nil
}

func (i *Issuer) wantsAdmin(g grant, action broker.Actions, d demand, restricted bool) error {
	err := i.refuse("%s of %s counts as admin: %s", action, g.kind.name, g.why)
	if d&wantsRestricted != 0 && !restricted {
		err.Message += ", and nothing in the namespace keeps a pod from taking over its machine"
		return err.WithNext("have the namespace enforce the restricted Pod Security level: kubectl label namespace %s %s=restricted; or ask for %s,admin", i.config.Settings.Namespace, enforceLabel, action)
	}
	return err.WithNext("ask for %s,admin", action)
}

func (i *Issuer) refuse(format string, args ...any) *broker.Error {
	return broker.Errorf(broker.CodeDenied, "%s: %s", i.config.Ref, fmt.Sprintf(format, args...)).WithField("scope")
}

// verbs are RBAC's words for what is granted.
func (i *Issuer) verbs(g grant) []string {
	var verbs []string
	for _, action := range g.actions.Each() {
		verbs = append(verbs, i.verbsOf(g, action)...)
	}
	return verbs
}

func (i *Issuer) verbsOf(g grant, action broker.Actions) []string {
	switch {
	case action == broker.Admin && g.use&impossible == 0:
		return []string{"create", "get"}
	case action == broker.Admin: // it was the word of a human for another action
		return nil
	case action == broker.Read && g.sub != "":
		return []string{"get"}
	case action == broker.Read:
		return i.readVerbs()
	case action == broker.Write && (g.sub != "" || g.write&changesOnly != 0):
		return []string{"update", "patch"}
	case action == broker.Write:
		return []string{"create", "update", "patch"}
	case g.all():
		return []string{"delete", "deletecollection"}
	}
	return []string{"delete"}
}

// readVerbs leaves watch out unless open streams are accepted: whoever starts a watch says how long it lasts, and nothing ends it.
func (i *Issuer) readVerbs() []string {
	if _, streams := i.config.Settings.accepts(objectStreams); streams {
		return []string{"get", "list", "watch"}
	}
	return []string{"get", "list"}
}

// rules are the rules of the Role: one for each kind and set of verbs, with names where they are known. Every prefix has been
// expanded.
func (i *Issuer) rules(grants []grant) []policyRule {
	var rules []policyRule
	for _, g := range grants {
		verbs := i.verbs(g)
		rule := policyRule{APIGroups: []string{g.group}, Resources: []string{g.ruleResource()}, Verbs: verbs}
		if g.all() {
			rules = append(rules, rule)
			continue
		}
		at := slices.IndexFunc(rules, func(r policyRule) bool {
			return len(r.ResourceNames) > 0 && slices.Equal(r.Verbs, verbs) && slices.Equal(r.APIGroups, rule.APIGroups) && slices.Equal(r.Resources, rule.Resources)
		})
		if at < 0 {
			rules, at = append(rules, rule), len(rules)
		}
		rules[at].ResourceNames = append(rules[at].ResourceNames, string(g.name))
	}
	return rules
}

// mostNames is how many objects one description may name.
const mostNames = 200

// expand puts, for each prefix, the names that exist in its place. KIND/* stays: it is a rule without names.
func (i *Issuer) expand(grants []grant, found shelves) ([]grant, error) {
	var all []grant
	for _, g := range grants {
		if g.all() || !g.name.IsPrefix() {
			all = append(all, g)
			continue
		}
		for _, name := range found.of(g.kind).begin(g.name) {
			all = append(all, grant{thing{g.kind, broker.Resource(name)}, g.actions})
		}
	}
	if len(all) > mostNames {
		return nil, broker.Errorf(broker.CodeInvalid, "%s: that stands for %d objects, and at most %d can be named", i.config.Ref, len(all), mostNames).
			WithField("scope").WithNext("ask for fewer, or for KIND/*")
	}
	return merge(all), nil
}

// merge joins what was named twice, by a name and by a prefix.
func merge(grants []grant) []grant {
	slices.SortStableFunc(grants, func(a, b grant) int {
		return cmp.Or(strings.Compare(a.kind.name, b.kind.name), cmp.Compare(a.name, b.name))
	})
	joined := grants[:0]
	for _, g := range grants {
		if n := len(joined); n > 0 && joined[n-1].thing == g.thing {
			joined[n-1].actions |= g.actions
			continue
		}
		joined = append(joined, g)
	}
	return joined
}

// scopes says the grants in scopes again.
func (i *Issuer) scopes(grants []grant) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: g.resourceName(), Actions: g.actions}
	}
	return broker.Normalize(scopes)
}
