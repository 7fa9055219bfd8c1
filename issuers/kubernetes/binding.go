package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// binding gives rights to every account of the namespace, which a lease would have beside its own, or to one account of it, which a pod
// may run as; in whatever namespace they hold.
type binding struct {
	roleBinding
	cluster bool           // a ClusterRoleBinding
	to      string         // "group system:authenticated", or empty
	gives   broker.Actions // none: it is harmless
}

// shown is what findings and the configuration call it; no two are called the same.
func (b binding) shown() string {
	if b.cluster {
		return "clusterrolebinding " + nameShown(b.Metadata.Name)
	}
	return "rolebinding " + b.Metadata.Namespace + "/" + nameShown(b.Metadata.Name)
}

// remove is the line for a shell that takes it away.
func (b binding) remove() string {
	if b.cluster {
		return deleting("clusterrolebinding", "", b.Metadata.Name, b.Metadata.UID)
	}
	return deleting("rolebinding", b.Metadata.Namespace, b.Metadata.Name, b.Metadata.UID)
}

// findBindings looks through the bindings of the whole cluster: which give something to every account of the namespace, and what is bound
// to which of its accounts, by name.
func (i *Issuer) findBindings(ctx context.Context, known *knownRoles) (strays []binding, bound map[string][]binding, err error) {
	bound = map[string][]binding{}
	sort := func(b binding) {
		group, accounts := i.reaches(b.roleBinding)
		if group != "" { // and so every account
			b.to = "group " + group
			strays = append(strays, b)
			return
		}
		for _, name := range accounts {
			bound[name] = append(bound[name], b)
		}
	}
	for _, collection := range []string{"clusterrolebindings", "rolebindings"} {
		cluster := collection == "clusterrolebindings"
		err := list(ctx, i.client, call{path: rbacPath + "/" + collection}, func(b roleBinding) { sort(binding{roleBinding: b, cluster: cluster}) })
		if err != nil {
			return nil, nil, err
		}
	}
	strays, err = i.given(ctx, known, strays)
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
	accounts = slices.DeleteFunc(accounts, func(name string) bool { return !accountPattern.MatchString(name) })
	return group, sorted(accounts)
}

// strayFindings are the bindings as holes in the walls.
func (i *Issuer) strayFindings(a *audit) []broker.Finding {
	var found []broker.Finding
	for _, s := range a.strays {
		what := "role " + nameShown(s.RoleRef.Name)
		if s.cluster {
			what += ", in every namespace"
		} else {
			what += ", in namespace " + s.Metadata.Namespace
		}
		found = append(found, broker.Finding{
			Refuses: true, Object: s.shown(),
			Problem: fmt.Sprintf("%s gives %s the %s: a lease would have that beside its own", s.shown(), s.to, what),
			Mend:    s.remove() + "  # or bind the accounts that need it one by one",
		})
	}
	return found
}

// fallbackFindings: pods that name no account run as "default", and what they run is the lease's to choose.
func (i *Issuer) fallbackFindings(a *audit) []broker.Finding {
	if len(a.fallback) == 0 {
		return nil
	}
	var objects, mends []string
	for at, s := range a.fallback {
		objects = append(objects, s.shown())
		if at < mostNamed {
			mends = append(mends, s.remove())
		}
	}
	if more := len(a.fallback) - mostNamed; more > 0 {
		mends = append(mends, fmt.Sprintf("# then ask again: there are %d more", more))
	}
	return []broker.Finding{{
		Refuses: true, Object: objectDefault,
		Problem: fmt.Sprintf("the account default of namespace %s has rights (%s), and pods that a lease makes run as it", i.config.Settings.Namespace, some(objects, mostNamed, ", ")),
		Mend:    strings.Join(mends, "\n") + "  # and give each program an account of its own",
	}}
}

// givenBy is what bindings give together.
func givenBy(bindings []binding) broker.Actions {
	var power broker.Actions
	for _, s := range bindings {
		power |= s.gives
	}
	return power
}
