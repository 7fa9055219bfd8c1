package kubernetes

import (
	"github.com/hourkey/hourkey/broker"
)

const everything = broker.Read | broker.Write | broker.Delete | broker.Admin

// powerOf says in our words what RBAC rules give that somebody else made. It is never less than what they give: what is not known
// counts as everything.
func (i *Issuer) powerOf(rules []policyRule) broker.Actions {
	var power broker.Actions
	for _, r := range rules {
		if harmlessRule(r) {
			continue
		}
		for _, verb := range r.Verbs {
			power |= i.powerOfVerb(r, verb)
		}
	}
	return power
}

func (i *Issuer) powerOfVerb(r policyRule, verb string) broker.Actions {
	var power, class broker.Actions
	switch verb {
	case "get", "list", "watch", "head":
		class = broker.Read
	case "create", "update", "patch":
		class = broker.Write
	case "delete", "deletecollection":
		class = broker.Delete
	case "*":
		return everything
	default: // escalate, bind, impersonate, approve, sign, use, …
		return everything
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			power |= i.powerOver(group, resource, class)
		}
	}
	return class | power
}

// powerOver is what one action on one resource brings beside itself, by the table of kinds.
func (i *Issuer) powerOver(group, resource string, class broker.Actions) broker.Actions {
	k, known := i.kinds[kindName(group, resource)]
	switch {
	case !known && class == broker.Read && resource != "*" && group != "*" && group != "":
		return 0 // a custom resource is data, to read
	case !known:
		return everything
	case k.sub == "proxy" && k.cluster: // any call to a kubelet, and GET runs commands in its pods
		return everything
	case k.cluster && class == broker.Read:
		return 0
	case k.use&impossible == 0 && !k.cluster: // exec and its like: get and create are the same there
		return everything
	}
	d, power := k.demandOf(class), broker.Actions(0)
	if d&(wantsAdmin|wantsRestricted|forbidden) != 0 {
		power |= broker.Admin
	}
	if d&(wantsDelete|forbidden) != 0 && class != broker.Read {
		power |= broker.Delete
	}
	return power
}

// loosened is what a hole lets a lease do at this target, whatever it was granted; none for no action.
func (i *Issuer) loosened(actions broker.Actions) []broker.Scope {
	if actions == 0 {
		return nil
	}
	return []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: actions}}
}

// also are the resources of grants, with actions that a weak wall gives on them.
func (i *Issuer) also(grants []grant, actions broker.Actions) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: g.resourceName(), Actions: actions}
	}
	return scopes
}

// givenBy is what bindings give together.
func givenBy(bindings []stray) broker.Actions {
	var power broker.Actions
	for _, s := range bindings {
		power |= s.gives
	}
	return power
}
