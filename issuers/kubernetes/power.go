package kubernetes

import (
	"slices"
	"strings"

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

// harmlessRule tells of what a server gives everybody: to ask who one is and what one may do, and how the API looks.
func harmlessRule(r policyRule) bool {
	if len(r.NonResourceURLs) > 0 {
		return len(r.Resources) == 0 && !slices.ContainsFunc(r.Verbs, func(v string) bool { return v != "get" && v != "head" }) &&
			!slices.ContainsFunc(r.NonResourceURLs, func(u string) bool { return !isPublic(u) })
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			asks := group == reviewGroup && (resource == "selfsubjectaccessreviews" || resource == "selfsubjectrulesreviews") ||
				group == "authentication.k8s.io" && resource == "selfsubjectreviews"
			if !asks || !slices.Equal(r.Verbs, []string{"create"}) {
				return false
			}
		}
	}
	return true
}

// isPublic tells of URLs that say how the API looks and whether the server lives.
func isPublic(path string) bool {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/")
	switch path {
	case "/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz", "/.well-known/openid-configuration", "/openid/v1/jwks":
		return true
	}
	return false
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
	default: // *, escalate, bind, impersonate, approve, sign, use, …
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
	case !known && class == broker.Read && isCustom(group, resource):
		return 0 // it is data, to read
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

// isCustom tells of a resource of one API group that is not Kubernetes' core. What is neither an object nor one of the two
// subresources that a CustomResourceDefinition can have is not: another API may open a console by GET.
func isCustom(group, resource string) bool {
	resource, sub, _ := strings.Cut(resource, "/")
	return group != "" && group != "*" && resource != "*" && (sub == "" || sub == "status" || sub == "scale")
}
