package kubernetes

import (
	"cmp"
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
func (i *Issuer) expand(grants []grant, found collections) ([]grant, error) {
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

// loosened is what a hole lets a lease do at this target, whatever it was granted; none for no action.
func (i *Issuer) loosened(actions broker.Actions) []broker.Scope {
	if actions == 0 {
		return nil
	}
	return []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: actions}}
}

// scopesWith are the resources of grants, with actions that a weak wall gives on them.
func (i *Issuer) scopesWith(grants []grant, actions broker.Actions) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: g.resourceName(), Actions: actions}
	}
	return scopes
}
