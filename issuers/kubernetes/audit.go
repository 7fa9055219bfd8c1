package kubernetes

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// audit is what was found out about the cluster, whoever asks for whatever.
type audit struct {
	at         time.Time
	groups     apiGroups
	own        []policyRule         // what the broker's account may do in the namespace
	incomplete bool                 // another authorizer than RBAC may allow it more
	strays     []binding            // what every account of the namespace gets
	fallback   []binding            // what its account "default" gets
	bound      map[string][]binding // account of the namespace → what is bound to it by name, and not yet asked for
	roles      knownRoles           // what they give
	policy     string               // what is wrong with the admission policy for writes, empty if nothing
	late       string               // what is wrong with the one for calls that end after their lease, empty if nothing
	level      string               // why the restricted Pod Security level would hold nothing, empty if it does where it is set
	open       bool                 // the server allows what nobody granted
	blind      bool                 // the broker's account may not ask what it may do
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
	what   string
	rule   policyRule
	ask    func(context.Context) error
	denied bool // the broker's account may not ask
}

// askAll asks everything at once; each question writes fields of its own. What the broker's account may not ask is a hole; any other
// failure is one of the whole audit.
func (i *Issuer) askAll(ctx context.Context, a *audit) error {
	questions := i.questions(a)
	var asks []func(context.Context) error
	for _, q := range questions {
		asks = append(asks, func(ctx context.Context) error {
			err := q.ask(ctx)
			if q.denied = isStatus(err, http.StatusForbidden); q.denied {
				return nil
			}
			return err
		})
	}
	err := together(ctx, asks...)
	for _, q := range questions {
		if q.denied && len(q.rule.Verbs) > 0 {
			a.denied = append(a.denied, i.deniedFinding(q.what, q.rule))
		}
	}
	return err
}

func (i *Issuer) questions(a *audit) []*question {
	policies := policyRule{
		APIGroups: []string{admissionGroup}, Resources: []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"},
		ResourceNames: []string{leasesPolicy, endsPolicy, brokerPolicy}, Verbs: []string{"get"},
	}
	rbac := policyRule{
		APIGroups: []string{rbacGroup}, Resources: []string{"roles", "rolebindings", "clusterroles", "clusterrolebindings"}, Verbs: []string{"get", "list"},
	}
	review := policyRule{APIGroups: []string{reviewGroup}, Resources: []string{"selfsubjectrulesreviews"}, Verbs: []string{"create"}}
	return []*question{
		{what: "which API groups there are", rule: policyRule{NonResourceURLs: []string{"/apis"}, Verbs: []string{"get"}}, ask: func(ctx context.Context) (err error) {
			a.groups, err = i.discover(ctx)
			return err
		}},
		{what: "what it may do itself", rule: review, ask: func(ctx context.Context) (err error) {
			a.blind = true
			a.own, a.incomplete, err = i.ownRules(ctx)
			a.blind = err != nil
			return err
		}},
		{what: "who has rights in the cluster", rule: rbac, ask: func(ctx context.Context) (err error) {
			if a.strays, a.bound, err = i.findBindings(ctx, &a.roles); err == nil {
				a.fallback, err = i.given(ctx, &a.roles, a.bound["default"])
			}
			return err
		}},
		{what: "whether the admission policies are in force", rule: policies, ask: func(ctx context.Context) error {
			return together(ctx, func(ctx context.Context) (err error) {
				a.policy, err = i.policyProblem(ctx, leasesPolicy, leasesProbe)
				return err
			}, func(ctx context.Context) (err error) {
				a.late, err = i.policyProblem(ctx, endsPolicy, endsProbe)
				return err
			})
		}},
		{what: "whether Pod Security is enforced", ask: func(ctx context.Context) (err error) {
			a.level, err = i.levelProblem(ctx, "")
			return err
		}},
		{what: "whether the server goes by RBAC", ask: func(ctx context.Context) (err error) {
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

// nobody is an account that is never made, and that nobody gave anything.
const nobody = "hk-nobody"

// allowsAnything asks whether an account that nobody gave anything may do what nobody can have given it: then the server does
// not ask RBAC alone, and no rule of ours is a limit.
func (i *Issuer) allowsAnything(ctx context.Context) (bool, error) {
	return i.mayAccount(ctx, nobody, need{verb: "delete", group: "canary.hourkey", resource: "canaries"})
}
