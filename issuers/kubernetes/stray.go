package kubernetes

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// stray is a binding that gives rights to every account of the namespace, or to its account "default": a lease would have them
// beside its own, in whatever namespace they hold.
type stray struct {
	binding   roleBinding
	cluster   bool
	namespace string
	to        string         // "group system:authenticated"
	gives     broker.Actions // none: it is harmless
}

func (s stray) object() string {
	if s.cluster {
		return "clusterrolebinding " + s.binding.Metadata.Name
	}
	return "rolebinding " + s.namespace + "/" + s.binding.Metadata.Name
}

const rbacPath = "/apis/rbac.authorization.k8s.io/v1"

// findStrays looks through the bindings of the whole cluster.
func (i *Issuer) findStrays(ctx context.Context) (strays, fallback []stray, err error) {
	var all []stray
	gather := func(cluster bool) func(roleBinding) {
		return func(b roleBinding) {
			all = append(all, stray{binding: b, cluster: cluster, namespace: b.Metadata.Namespace})
		}
	}
	if err := list(ctx, i.client, call{path: rbacPath + "/clusterrolebindings"}, gather(true)); err != nil {
		return nil, nil, err
	}
	if err := list(ctx, i.client, call{path: rbacPath + "/rolebindings"}, gather(false)); err != nil {
		return nil, nil, err
	}
	known := map[roleRef]broker.Actions{}
	for _, s := range all {
		group, account := i.reaches(s.binding)
		if group == "" && !account {
			continue
		}
		gives, seen := known[s.binding.RoleRef]
		if !seen || s.binding.RoleRef.Kind == "Role" { // a Role of the same name is another in another namespace
			if gives, err = i.giftOf(ctx, s); err != nil {
				return nil, nil, err
			}
			known[s.binding.RoleRef] = gives
		}
		s.gives = gives
		switch {
		case gives == 0:
		case group != "":
			s.to = "group " + group
			strays = append(strays, s)
		default:
			s.to = "the account default"
			fallback = append(fallback, s)
		}
	}
	return strays, fallback, nil
}

// reaches tells which group of a lease a binding gives rights to, and whether it gives some to the account "default".
func (i *Issuer) reaches(b roleBinding) (group string, account bool) {
	namespace := i.config.Settings.Namespace
	for _, s := range b.Subjects {
		in := s.Namespace
		if in == "" {
			in = b.Metadata.Namespace
		}
		switch {
		case s.Kind == "Group" && slices.Contains(groupsOf(namespace), s.Name):
			group = s.Name
		case s.Kind == "ServiceAccount" && s.Name == "default" && in == namespace,
			s.Kind == "User" && s.Name == "system:serviceaccount:"+namespace+":default":
			account = true
		}
	}
	return group, account
}

// giftOf is what the role of a binding gives: nothing, if no more than what a server gives everybody: to ask who one is and what
// one may do, and how the API looks. A role that is gone gives nothing. One that a controller fills in and has not filled yet
// may give anything.
func (i *Issuer) giftOf(ctx context.Context, s stray) (broker.Actions, error) {
	path := rbacPath + "/clusterroles/" + url.PathEscape(s.binding.RoleRef.Name)
	if s.binding.RoleRef.Kind == "Role" {
		path = rbacPath + "/namespaces/" + s.namespace + "/roles/" + url.PathEscape(s.binding.RoleRef.Name)
	}
	var r role
	err := i.client.get(ctx, path, &r)
	switch {
	case isGone(err):
		return 0, nil
	case err != nil:
		return 0, err
	case r.Kind != s.binding.RoleRef.Kind:
		return 0, errOtherKind
	case r.Aggregates != nil && len(r.Rules) == 0:
		return everything, nil
	case r.Aggregates != nil:
		return i.powerOf(r.Rules) | broker.Read, nil // it can grow
	}
	return i.powerOf(r.Rules), nil
}

func harmlessRule(r policyRule) bool {
	if len(r.NonResourceURLs) > 0 {
		return len(r.Resources) == 0 && !slices.ContainsFunc(r.Verbs, func(v string) bool { return v != "get" && v != "head" }) &&
			!slices.ContainsFunc(r.NonResourceURLs, func(u string) bool { return !isPublic(u) })
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			asks := group == "authorization.k8s.io" && (resource == "selfsubjectaccessreviews" || resource == "selfsubjectrulesreviews") ||
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

// strayFindings are the bindings as holes in the walls.
func (i *Issuer) strayFindings(a *audit) []broker.Finding {
	var found []broker.Finding
	for _, s := range a.strays {
		what := "role " + s.binding.RoleRef.Name
		if s.cluster {
			what += ", in every namespace"
		} else {
			what += ", in namespace " + s.namespace
		}
		found = append(found, broker.Finding{
			Refuses: true, Object: s.object(),
			Problem: fmt.Sprintf("%s gives %s the %s: a lease would have that beside its own", s.object(), s.to, what),
			Mend:    "kubectl " + s.remove() + "  # or bind the accounts that need it one by one",
		})
	}
	return found
}

func (s stray) remove() string {
	if s.cluster {
		return "delete clusterrolebinding " + s.binding.Metadata.Name
	}
	return "delete rolebinding " + s.binding.Metadata.Name + " --namespace " + s.namespace
}

// fallbackFindings: pods that name no account run as "default", and what they run is the lease's to choose.
func (i *Issuer) fallbackFindings(a *audit) []broker.Finding {
	if len(a.fallback) == 0 {
		return nil
	}
	var objects, mends []string
	for _, s := range a.fallback {
		objects = append(objects, s.object())
		mends = append(mends, "kubectl "+s.remove())
	}
	return []broker.Finding{{
		Refuses: true, Object: objectDefault,
		Problem: fmt.Sprintf("the account default of namespace %s has rights (%s), and pods that a lease makes run as it", i.config.Settings.Namespace, strings.Join(objects, ", ")),
		Mend:    strings.Join(mends, "\n") + "  # and give each program an account of its own",
	}}
}
