package kubernetes

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// need is one permission.
type need struct{ verb, group, resource, name string }

// baseNeeds are the permissions that every lease needs the broker's account to have in the namespace.
func baseNeeds() []need {
	var needs []need
	for _, verb := range []string{"create", "get", "list", "delete"} {
		needs = append(needs, need{verb: verb, resource: "serviceaccounts"},
			need{verb: verb, group: rbacGroup, resource: "roles"}, need{verb: verb, group: rbacGroup, resource: "rolebindings"})
	}
	return append(needs, need{verb: "create", resource: "serviceaccounts/token"},
		need{verb: "create", group: reviewGroup, resource: "localsubjectaccessreviews"})
}

// needs are the permissions that the broker's account must have to give what is asked: those themselves, and to look what is there.
func (i *Issuer) needs(grants []grant) []need {
	var needs []need
	for _, g := range grants {
		name := ""
		if !g.name.IsPrefix() {
			name = string(g.name)
		}
		for _, verb := range i.verbs(g) {
			needs = append(needs, need{verb, g.group, g.ruleResource(), name})
		}
		look := "list"
		if name != "" {
			look = "get"
		}
		needs = append(needs, need{look, g.group, g.resource, name})
		if of, takes := takers[g.kind.name]; takes && g.actions.Has(broker.Write) {
			taken := newKind(of)
			needs = append(needs, need{"list", taken.group, taken.resource, ""})
		}
		if g.runsAnything() {
			needs = append(needs, i.podNeeds()...)
		}
		if g.scalesAnything() {
			needs = append(needs, i.makerNeeds()...)
		}
		if g.startsJobs() {
			needs = append(needs, need{"list", "batch", "cronjobs", ""})
		}
	}
	return needs
}

// podNeeds are the permissions to look through whatever a pod that is not there yet can have.
func (i *Issuer) podNeeds() []need {
	return append(i.makerNeeds(), need{"list", "", claimsKind, ""})
}

// makerNeeds are the permissions to look through whatever makes pods.
func (i *Issuer) makerNeeds() []need {
	var needs []need
	for _, k := range i.kinds.makers() {
		needs = append(needs, need{"list", k.group, k.resource, ""})
	}
	return needs
}

// ownRules asks what the broker's account may do in the namespace.
func (i *Issuer) ownRules(ctx context.Context) ([]policyRule, bool, error) {
	var review rulesReview
	review.Spec.Namespace = i.config.Settings.Namespace
	err := i.client.post(ctx, reviewPath+"/selfsubjectrulesreviews", review, &review)
	return review.Status.ResourceRules, review.Status.Incomplete, err
}

// holds tells whether rules allow one verb on a resource, of the name or, if that is empty, of all names.
func holds(rules []policyRule, verb, group, resource, name string) bool {
	return slices.ContainsFunc(rules, func(r policyRule) bool {
		return has(r.Verbs, verb) && has(r.APIGroups, group) && hasResource(r.Resources, resource) &&
			(len(r.ResourceNames) == 0 || name != "" && slices.Contains(r.ResourceNames, name))
	})
}

func has(list []string, one string) bool {
	return slices.Contains(list, one) || slices.Contains(list, "*")
}

func hasResource(list []string, one string) bool {
	_, sub, found := strings.Cut(one, "/")
	return has(list, one) || found && slices.Contains(list, "*/"+sub)
}

// lacks gives the permissions that the broker's account does not have. Where the server's list is not complete it is asked about each.
func (i *Issuer) lacks(ctx context.Context, a *audit, needs []need) ([]need, error) {
	if a.blind {
		return nil, nil // which is a hole itself
	}
	var missing []need
	for _, n := range needs {
		if holds(a.own, n.verb, n.group, n.resource, n.name) || slices.Contains(missing, n) {
			continue
		}
		may := false
		if a.incomplete {
			var err error
			if may, err = i.maySelf(ctx, n, broker.Secret{}); err != nil {
				return nil, err
			}
		}
		if !may {
			missing = append(missing, n)
		}
	}
	return missing, nil
}

// maySelf asks with a lease's token whether its account may do something; without one, with the broker's own.
func (i *Issuer) maySelf(ctx context.Context, n need, token broker.Secret) (bool, error) {
	var review accessReview
	review.Spec.ResourceAttributes = i.attributes(n)
	err := i.client.do(ctx, call{method: http.MethodPost, path: reviewPath + "/selfsubjectaccessreviews", body: review, as: token}, &review)
	return review.Status.Allowed, err
}

func (i *Issuer) attributes(n need) attributes {
	resource, sub, _ := strings.Cut(n.resource, "/")
	return attributes{Namespace: i.config.Settings.Namespace, Verb: n.verb, Group: n.group, Resource: resource, Subresource: sub, Name: n.name}
}

// mayAccount asks whether a ServiceAccount of the namespace, whether or not there is one of that name, may do something.
func (i *Issuer) mayAccount(ctx context.Context, name string, n need) (bool, error) {
	namespace := i.config.Settings.Namespace
	var review accessReview
	review.Metadata.Namespace = namespace
	review.Spec.ResourceAttributes = i.attributes(n)
	review.Spec.User, review.Spec.Groups = "system:serviceaccount:"+namespace+":"+name, groupsOf(namespace)
	err := i.client.post(ctx, i.inNamespace(reviewPath, "localsubjectaccessreviews"), review, &review)
	if err == nil && review.Kind != "LocalSubjectAccessReview" {
		err = errOtherKind
	}
	return review.Status.Allowed, err
}

// groupsOf are the groups that every ServiceAccount of a namespace is in (Kubernetes documentation, authentication).
func groupsOf(namespace string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
}
