package kubernetes

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// lackFindings says what the broker's account lacks, one for each resource.
func (i *Issuer) lackFindings(missing []need) []broker.Finding {
	var rules []policyRule
	for _, n := range missing {
		at := slices.IndexFunc(rules, func(r policyRule) bool { return r.APIGroups[0] == n.group && r.Resources[0] == n.resource })
		if at < 0 {
			at = len(rules)
			rules = append(rules, policyRule{APIGroups: []string{n.group}, Resources: []string{n.resource}})
		}
		r := &rules[at]
		if !slices.Contains(r.Verbs, n.verb) {
			r.Verbs = append(r.Verbs, n.verb)
		}
		if !slices.Contains(r.ResourceNames, n.name) {
			r.ResourceNames = append(r.ResourceNames, n.name)
		}
	}
	found := make([]broker.Finding, len(rules))
	for at, r := range rules {
		found[at] = i.lackFinding(r)
	}
	return found
}

// lackFinding is one rule that the broker's account lacks. Its names have "" among them where a verb is lacking for all.
func (i *Issuer) lackFinding(r policyRule) broker.Finding {
	object, shown := r.Resources[0], r.Resources[0]
	if group := r.APIGroups[0]; group != "" {
		object, shown = group+"/"+object, shown+" of "+group
	}
	if slices.Contains(r.ResourceNames, "") {
		r.ResourceNames = nil
	} else {
		shown += " named " + strings.Join(r.ResourceNames, ", ")
	}
	return broker.Finding{
		Refuses: true, Object: "admin " + object,
		Problem: fmt.Sprintf("the broker's account may not %s %s in namespace %s", strings.Join(r.Verbs, ", "), shown, i.config.Settings.Namespace),
		Mend:    "add to the Role hourkey-broker in namespace " + i.config.Settings.Namespace + ":\n" + ruleYAML(r),
	}
}

func ruleYAML(r policyRule) string {
	line := func(list []string) string {
		quoted := make([]string, len(list))
		for at, one := range list {
			quoted[at] = fmt.Sprintf("%q", one)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	text := "  - {apiGroups: " + line(r.APIGroups) + ", resources: " + line(r.Resources) + ", "
	if len(r.ResourceNames) > 0 {
		text += "resourceNames: " + line(r.ResourceNames) + ", "
	}
	return text + "verbs: " + line(r.Verbs) + "}"
}

// tooMuch are powers that the broker's account has and does not need for what leases usually get.
func (i *Issuer) tooMuch(a *audit) []broker.Finding {
	var found []broker.Finding
	add := func(object, problem string) {
		if !slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Object == object }) {
			found = append(found, broker.Finding{Object: object, Problem: "the broker's account " + problem, Mend: "# make an account as docs/issuers/kubernetes.md says, and give it no more than leases get"})
		}
	}
	for _, r := range a.own {
		for _, d := range dangers {
			if d.in(r) {
				add("admin "+d.name, d.why)
			}
		}
	}
	return found
}

// danger is a permission that goes beyond giving leases what they may have.
type danger struct{ name, verb, group, resource, why string }

var dangers = []danger{
	{"everything", "*", "*", "*", "may do everything"},
	{"escalate", "escalate", rbacGroup, "roles", "may give what it does not hold (escalate): a lease could get anything"},
	{"bind", "bind", rbacGroup, "roles", "may bind roles that it does not hold (bind): a lease could get anything"},
	{"impersonate", "impersonate", "", "users", "may act as anybody (impersonate)"},
	{"secrets", "get", "", "secrets", "may read every Secret of the namespace; only leases for secrets need that"},
	{"exec", "create", "", "pods/exec", "may run commands in every pod of the namespace; only leases for pods+exec need that"},
	{"nodes", "get", "", "nodes/proxy", "may reach into machines (nodes/proxy)"},
	{"policies", "update", admissionGroup, "validatingadmissionpolicies", "may change the admission policies, which hold it and its leases"},
	{"policy bindings", "update", admissionGroup, "validatingadmissionpolicybindings", "may unbind the admission policies, which hold it and its leases"},
	{"namespaces", "patch", "", "namespaces", "may lower the namespace's Pod Security level"},
}

// in tells whether a rule gives it, by name or by a star.
func (d danger) in(r policyRule) bool {
	if d.verb == "*" {
		return slices.Contains(r.Verbs, "*") && slices.Contains(r.Resources, "*") && slices.Contains(r.APIGroups, "*")
	}
	star := slices.Contains(r.Verbs, "*") && slices.Contains(r.Resources, "*")
	return !star && len(r.ResourceNames) == 0 && has(r.Verbs, d.verb) && has(r.APIGroups, d.group) && hasResource(r.Resources, d.resource)
}

// adminYAML makes the broker's account. It is the text that docs/issuers/kubernetes.md has.
//
//go:embed admin.yaml
var adminYAML string

// AdminYAML prints what makes the broker's account for one namespace, for `kubectl apply -f -` by the cluster's administrator. Leases
// can be given what commonRules say, and no more.
func AdminYAML(namespace string) string {
	var rules strings.Builder
	for _, r := range commonRules() {
		rules.WriteString(ruleYAML(r) + "\n")
	}
	return strings.NewReplacer("NAMESPACE", namespace, "GIVES", rules.String()).Replace(adminYAML)
}

// commonRules are what leases for ordinary work on an application get. None gives power by itself; some delete.
func commonRules() []policyRule {
	all := []string{"get", "list", "create", "update", "patch", "delete", "deletecollection"}
	scale := []string{"get", "update", "patch"}
	return []policyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "pods"}, Verbs: all},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "replicasets", "statefulsets"}, Verbs: all},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale", "statefulsets/scale"}, Verbs: scale},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"events", "services", "endpoints", "persistentvolumeclaims", "replicationcontrollers"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"apps"}, Resources: []string{"daemonsets"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses", "networkpolicies"}, Verbs: []string{"get", "list"}},
	}
}
