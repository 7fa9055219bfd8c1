package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// stray is a binding that gives rights to every account of the namespace, which a lease would have beside its own, or to one account of
// it, which a pod may run as; in whatever namespace they hold.
type stray struct {
	binding   roleBinding
	cluster   bool
	namespace string
	to        string         // "group system:authenticated", or empty
	gives     broker.Actions // none: it is harmless
}

func (s stray) object() string {
	if s.cluster {
		return "clusterrolebinding " + s.binding.Metadata.Name
	}
	return "rolebinding " + s.namespace + "/" + s.binding.Metadata.Name
}

const rbacPath = "/apis/rbac.authorization.k8s.io/v1"

// findStrays looks through the bindings of the whole cluster: which give something to every account of the namespace, and what is bound to
// which of its accounts, by name.
func (i *Issuer) findStrays(ctx context.Context, g *gifts) (strays []stray, bound map[string][]stray, err error) {
	var toAll []stray
	bound = map[string][]stray{}
	sort := func(cluster bool) func(roleBinding) {
		return func(b roleBinding) {
			s := stray{binding: b, cluster: cluster, namespace: b.Metadata.Namespace}
			group, accounts := i.reaches(b)
			if group != "" { // and so every account
				s.to = "group " + group
				toAll = append(toAll, s)
				return
			}
			for _, name := range accounts {
				bound[name] = append(bound[name], s)
			}
		}
	}
	if err := list(ctx, i.client, call{path: rbacPath + "/clusterrolebindings"}, sort(true)); err != nil {
		return nil, nil, err
	}
	if err := list(ctx, i.client, call{path: rbacPath + "/rolebindings"}, sort(false)); err != nil {
		return nil, nil, err
	}
	strays, err = i.given(ctx, g, toAll)
	return strays, bound, err
}

// reaches tells which group of a lease a binding gives rights to, and which accounts of the namespace it names.
func (i *Issuer) reaches(b roleBinding) (group string, accounts []string) {
	namespace := i.config.Settings.Namespace
	for _, s := range b.Subjects {
		in := s.Namespace
		if in == "" {
			in = b.Metadata.Namespace
		}
		name, isAccount := strings.CutPrefix(s.Name, "system:serviceaccount:"+namespace+":")
		switch {
		case s.Kind == "Group" && slices.Contains(groupsOf(namespace), s.Name):
			group = s.Name
		case s.Kind == "ServiceAccount" && in == namespace:
			accounts = append(accounts, s.Name)
		case s.Kind == "User" && isAccount:
			accounts = append(accounts, name)
		}
	}
	slices.Sort(accounts)
	return group, slices.Compact(accounts)
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
