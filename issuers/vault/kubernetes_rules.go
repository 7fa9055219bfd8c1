package vault

import (
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// The kinds of which something less than everything can be said, as RESOURCE.GROUP/SUBRESOURCE. The table of the kubernetes issuer
// (issuers/kubernetes/kinds.txt) has all kinds with the reasons, and a test holds these rules to it: they are never milder. They are
// stricter where that issuer has an admission policy in the cluster, for it looks at that issuer's leases alone.
const (
	// readable are those that tell no secret.
	readable = `configmaps endpoints events limitranges persistentvolumeclaims pods pods/log podtemplates replicationcontrollers
		replicationcontrollers/scale resourcequotas serviceaccounts services controllerrevisions.apps daemonsets.apps deployments.apps
		deployments.apps/scale replicasets.apps replicasets.apps/scale statefulsets.apps statefulsets.apps/scale
		horizontalpodautoscalers.autoscaling cronjobs.batch jobs.batch leases.coordination.k8s.io endpointslices.discovery.k8s.io
		events.events.k8s.io ingresses.networking.k8s.io networkpolicies.networking.k8s.io poddisruptionbudgets.policy
		rolebindings.rbac.authorization.k8s.io roles.rbac.authorization.k8s.io`
	// removable are those whose removal gives nobody power.
	removable = `configmaps persistentvolumeclaims pods replicationcontrollers services controllerrevisions.apps daemonsets.apps
		deployments.apps replicasets.apps statefulsets.apps horizontalpodautoscalers.autoscaling cronjobs.batch jobs.batch
		ingresses.networking.k8s.io poddisruptionbudgets.policy`
	// data are those that are nothing but data.
	data = `configmaps`
	// trusted is the ConfigMap in which the cluster tells pods its authority: who changes it can pass for the API server.
	trusted = "kube-root-ca.crt"
	// scaled are those that hold one number, which may become zero.
	scaled = `replicationcontrollers/scale deployments.apps/scale replicasets.apps/scale statefulsets.apps/scale`
)

// plainKubernetes gives the actions that rules of a Role give at worst. Keys that are not known are an error: Vault reads
// "Verbs" as "verbs". So is a second document, which Vault does not read, and so are merged keys, whose order counts for Vault alone.
func plainKubernetes(rules string) (broker.Actions, error) {
	var role struct {
		Rules []struct {
			APIGroups       []string `yaml:"apiGroups"`
			Resources       []string `yaml:"resources"`
			ResourceNames   []string `yaml:"resourceNames"`
			NonResourceURLs []string `yaml:"nonResourceURLs"`
			Verbs           []string `yaml:"verbs"`
		} `yaml:"rules"`
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(rules), &document); err != nil {
		return 0, err
	}
	if refers(&document) {
		return 0, errors.New("the rules have an alias or a merged key (<<)")
	}
	decoder := yaml.NewDecoder(strings.NewReader(rules))
	decoder.KnownFields(true)
	if err := decoder.Decode(&role); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return 0, errors.New("there is something behind the rules")
	}
	var plain broker.Actions
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			for _, resource := range rule.Resources {
				plain |= plainVerb(verb, rule.APIGroups, resource, rule.ResourceNames)
			}
		}
	}
	return plain, nil
}

// refers tells whether a part of a document is written elsewhere in it, or merged.
func refers(node *yaml.Node) bool {
	return node.Kind == yaml.AliasNode || node.Value == "<<" || slices.ContainsFunc(node.Content, refers)
}

// plainVerb is what one verb does at worst at one resource of some groups; everything, where no group is named. Where names are given,
// it reaches the objects of those names alone.
func plainVerb(verb string, groups []string, resource string, names []string) broker.Actions {
	if len(groups) == 0 {
		return everything
	}
	var plain broker.Actions
	for _, group := range groups {
		plain |= plainKind(verb, kindOf(group, resource), names)
	}
	return plain
}

// kindOf writes deployments/scale of the group apps as deployments.apps/scale.
func kindOf(group, resource string) string {
	name, sub, isSub := strings.Cut(resource, "/")
	if group != "" {
		name += "." + group
	}
	if isSub {
		name += "/" + sub
	}
	return name
}

// plainKind is what one verb does at worst at one kind. Whoever changes an object can have it deleted, by an owner that is gone, and
// empty it. All that is not said here is everything: stars, custom resources, what makes pods, leads traffic or guards something.
func plainKind(verb, kind string, names []string) broker.Actions {
	is := func(kinds, kind string) bool { return slices.Contains(strings.Fields(kinds), kind) }
	switch verb {
	case "get", "list", "watch":
		if is(readable, strings.TrimSuffix(kind, "/status")) {
			return broker.Read
		}
		if kind == "secrets" {
			return broker.Read | broker.Admin
		}
	case "create":
		if is(data, kind) {
			return broker.Write
		}
	case "update", "patch":
		if kind == "configmaps" && (len(names) == 0 || slices.Contains(names, trusted)) {
			return broker.Write | broker.Delete | broker.Admin
		}
		if is(data, kind) || is(scaled, kind) {
			return broker.Write | broker.Delete
		}
	case "delete", "deletecollection":
		if is(removable, kind) {
			return broker.Delete
		}
	}
	return everything
}
