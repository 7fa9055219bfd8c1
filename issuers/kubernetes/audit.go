package kubernetes

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// audit is what was found out about the cluster, whoever asks for whatever.
type audit struct {
	at         time.Time
	groups     apiGroups
	own        []policyRule       // what the broker's account may do in the namespace
	incomplete bool               // another authorizer than RBAC may allow it more
	strays     []stray            // what every account of the namespace gets
	fallback   []stray            // what its account "default" gets
	bound      map[string][]stray // account of the namespace → what is bound to it by name, and not yet asked for
	gifts      gifts              // what the roles give
	policy     string             // what is wrong with the admission policy, empty if nothing
	level      string             // why the restricted Pod Security level would hold nothing, empty if it does where it is set
	open       bool               // the server allows what nobody granted
	blind      bool               // the broker's account may not ask what it may do
	denied     []broker.Finding
}

// fresh is how long an audit counts. Whatever refuses is asked again before it does.
const fresh = time.Minute

// audit gives the latest audit, or makes one. One at a time: who comes meanwhile gets the same.
func (i *Issuer) audit(ctx context.Context, again bool) (*audit, error) {
	select {
	case i.auditing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-i.auditing }()
	now := i.config.Now()
	if i.audited != nil && !again && now.Sub(i.audited.at) < fresh && !now.Before(i.audited.at) {
		return i.audited, nil
	}
	a := &audit{at: now}
	if err := i.askAll(ctx, a); err != nil {
		return nil, err
	}
	i.audited = a
	return a, nil
}

// question is one part of an audit. rule is the permission that asking takes, for the ClusterRole of the broker's account; none where
// lacks tells it.
type question struct {
	what string
	rule policyRule
	ask  func(context.Context) error
}

// askAll asks everything at once; each question writes fields of its own. What the broker's account may not ask is a hole; any other
// failure is one of the whole audit.
func (i *Issuer) askAll(ctx context.Context, a *audit) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	questions := i.questions(a)
	failed, denied := make([]error, len(questions)), make([]bool, len(questions))
	var all sync.WaitGroup
	for at, q := range questions {
		all.Go(func() {
			failed[at] = q.ask(ctx)
			if isStatus(failed[at], http.StatusForbidden) {
				failed[at], denied[at] = nil, true
			}
			if failed[at] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	for at, q := range questions {
		if denied[at] && len(q.rule.Verbs) > 0 {
			a.denied = append(a.denied, i.deniedFinding(q.what, q.rule))
		}
	}
	return firstCause(failed)
}

func (i *Issuer) questions(a *audit) []question {
	policies := policyRule{
		APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"},
		ResourceNames: []string{leasesPolicy, brokerPolicy}, Verbs: []string{"get"},
	}
	rbac := policyRule{
		APIGroups: []string{rbacGroup}, Resources: []string{"roles", "rolebindings", "clusterroles", "clusterrolebindings"}, Verbs: []string{"get", "list"},
	}
	review := policyRule{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"selfsubjectrulesreviews"}, Verbs: []string{"create"}}
	return []question{
		{"which API groups there are", policyRule{NonResourceURLs: []string{"/apis"}, Verbs: []string{"get"}}, func(ctx context.Context) (err error) {
			a.groups, err = i.discover(ctx)
			return err
		}},
		{"what it may do itself", review, func(ctx context.Context) (err error) {
			a.blind = true
			a.own, a.incomplete, err = i.ownRules(ctx)
			a.blind = err != nil
			return err
		}},
		{"who has rights in the cluster", rbac, func(ctx context.Context) (err error) {
			if a.strays, a.bound, err = i.findStrays(ctx, &a.gifts); err == nil {
				a.fallback, err = i.given(ctx, &a.gifts, a.bound["default"])
			}
			return err
		}},
		{"whether the admission policy is in force", policies, func(ctx context.Context) (err error) {
			a.policy, err = i.policyProblem(ctx, leasesPolicy, leasesProbe)
			return err
		}},
		{"whether Pod Security is enforced", policyRule{}, func(ctx context.Context) (err error) {
			a.level, err = i.levelProblem(ctx)
			return err
		}},
		{"whether the server goes by RBAC", policyRule{}, func(ctx context.Context) (err error) {
			a.open, err = i.allowsAnything(ctx)
			return err
		}},
	}
}

// deniedFinding is a question that the broker's account may not ask.
func (i *Issuer) deniedFinding(what string, rule policyRule) broker.Finding {
	return broker.Finding{
		Refuses: true, Object: "admin " + strings.Join(append(rule.Resources, rule.NonResourceURLs...), " "),
		Problem: "the broker's account may not ask " + what,
		Mend:    "add to the ClusterRole hourkey-broker-" + i.config.Settings.Namespace + ":\n" + ruleYAML(rule),
	}
}

// firstCause gives the error that is not the cancellation which another one led to.
func firstCause(failed []error) error {
	var first error
	for _, err := range failed {
		if err != nil && (first == nil || isCancelled(first)) {
			first = err
		}
	}
	return first
}

// ownRules asks what the broker's account may do in the namespace.
func (i *Issuer) ownRules(ctx context.Context) ([]policyRule, bool, error) {
	var review rulesReview
	review.Spec.Namespace = i.config.Settings.Namespace
	err := i.client.post(ctx, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review, &review)
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

// need is one permission.
type need struct{ verb, group, resource, name string }

// lacks gives the permissions that the broker's account does not have. Where the server's list is not complete it is asked about each.
func (i *Issuer) lacks(ctx context.Context, a *audit, needs []need) ([]need, error) {
	var missing []need
	for _, n := range needs {
		if a.blind {
			return nil, nil // which is a hole itself
		}
		if holds(a.own, n.verb, n.group, n.resource, n.name) || slices.Contains(missing, n) {
			continue
		}
		if a.incomplete {
			may, err := i.mayBroker(ctx, n)
			if err != nil {
				return nil, err
			}
			if may {
				continue
			}
		}
		missing = append(missing, n)
	}
	return missing, nil
}

func (i *Issuer) mayBroker(ctx context.Context, n need) (bool, error) {
	var review accessReview
	review.Spec.ResourceAttributes = i.attributes(n)
	err := i.client.post(ctx, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, &review)
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
	err := i.client.post(ctx, "/apis/authorization.k8s.io/v1/namespaces/"+namespace+"/localsubjectaccessreviews", review, &review)
	if err == nil && review.Kind != "LocalSubjectAccessReview" {
		err = errOtherKind
	}
	return review.Status.Allowed, err
}

// nobody is an account that is never made, and that nobody gave anything.
const nobody = "hk-nobody"

// allowsAnything asks whether an account that nobody gave anything may do what nobody can have given it: then the server does
// not ask RBAC alone, and no rule of ours is a limit.
func (i *Issuer) allowsAnything(ctx context.Context) (bool, error) {
	return i.mayAccount(ctx, nobody, need{verb: "delete", group: "canary.hourkey", resource: "canaries"})
}

// groupsOf are the groups that every ServiceAccount of a namespace is in (Kubernetes documentation, authentication).
func groupsOf(namespace string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
}

// accepted gives the exception for a hole that the configuration accepts.
func (i *Issuer) accepted(object string) (broker.Exception, bool) {
	why, accepted := i.config.Settings.accepts(object)
	return broker.Exception{Object: object, Why: why}, accepted
}

// namespaceOf reads a namespace.
func (i *Issuer) namespaceOf(ctx context.Context, name string) (o object, err error) {
	err = i.client.do(ctx, call{method: http.MethodGet, path: "/api/v1/namespaces/" + name, only: true}, &o)
	return o, err
}
