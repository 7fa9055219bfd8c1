package kubernetes

import (
	"context"
	"net/http"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Check audits the namespace and the broker's account: what refuses every request first, then what refuses some, then warnings.
// What the configuration accepts is left out; an acceptance of nothing is a warning.
func (i *Issuer) Check(ctx context.Context) ([]broker.Finding, error) {
	p, hidden, err := i.findForCheck(ctx)
	if err != nil {
		return nil, i.fault(findingPlace, err)
	}
	a, err := i.audit(ctx, true)
	if err != nil {
		return nil, i.fault(auditing, err)
	}
	missing, err := i.lacks(ctx, a, baseNeeds())
	if err != nil {
		return nil, i.fault(auditingOwn, err)
	}
	guard, err := i.policyProblem(ctx, brokerPolicy, brokerProbe)
	if isStatus(err, http.StatusForbidden) {
		guard, err = "cannot be seen", nil // which the audit tells by itself
	}
	if err != nil {
		return nil, i.fault(auditingOwn, err)
	}
	refused := slices.Concat(hidden, a.denied, a.openFindings(), i.lackFindings(missing), i.strayFindings(a))
	writes := slices.Concat(
		refusing("to write or delete", a.lateFindings()), refusing("to write", a.policyFindings()), refusing("to write", i.fallbackFindings(a)))
	pods, err := i.unseenFindings(ctx, a)
	if err != nil {
		return nil, i.fault(auditingOwn, err)
	}
	holes := slices.Concat(refused, printPolicies(writes), pods)
	found := i.unaccepted(holes)
	if len(hidden) == 0 {
		found = append(found, i.levelFinding(p, a)...)
	}
	return slices.Concat(found, i.tooMuch(a), guardFinding(guard), i.useless(holes)), nil
}

// unseenFindings: an account that may give pods to write, and may not look through what makes them, cannot give it.
func (i *Issuer) unseenFindings(ctx context.Context, a *audit) ([]broker.Finding, error) {
	if !holds(a.own, "patch", "", "pods", "") {
		return nil, nil
	}
	missing, err := i.lacks(ctx, a, i.podNeeds())
	return refusing("to write every pod, or one that is not there yet,", i.lackFindings(missing)), err
}

// refusing makes holes of all into those of some requests.
func refusing(some string, found []broker.Finding) []broker.Finding {
	for at := range found {
		found[at].Refuses, found[at].Problem = false, "requests "+some+" are refused: "+found[at].Problem
	}
	return found
}

// findForCheck is find, in which not being allowed to look is a hole.
func (i *Issuer) findForCheck(ctx context.Context) (p place, hidden []broker.Finding, err error) {
	p, err = i.find(ctx)
	if isStatus(err, http.StatusForbidden) {
		// The server says the same of a namespace that is not there and of one that the account may not see.
		return p, []broker.Finding{i.deniedFinding("which namespace and cluster this is, or there is no namespace "+i.config.Settings.Namespace, policyRule{
			APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{system, i.config.Settings.Namespace}, Verbs: []string{"get"},
		})}, nil
	}
	return p, nil, err
}

// printPolicies puts the policies themselves, once, in the place of what says where they are.
func printPolicies(found []broker.Finding) []broker.Finding {
	mend := "# for kubectl apply -f -, once for each cluster\n" + policyYAML
	for at := range found {
		if found[at].Object != objectPolicy || found[at].Mend == mendForce {
			continue
		}
		found[at].Mend, mend = mend, "# the admission policies that are printed above"
	}
	return found
}

// unaccepted leaves out what the configuration accepts.
func (i *Issuer) unaccepted(found []broker.Finding) []broker.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f broker.Finding) bool {
		_, accepted := i.accepted(f.Object)
		return accepted
	})
}

// guardFinding: what the broker's account could do besides, if somebody else had its token.
func guardFinding(problem string) []broker.Finding {
	if problem == "" {
		return nil
	}
	mend := "# let the account be one of namespace hourkey, and apply hourkey's admission policies: docs/issuers/kubernetes.md"
	if problem == notInForce {
		mend += "\n" + mendForce
	}
	return []broker.Finding{{
		Object:  "admin tokens",
		Problem: "the admission policy " + brokerPolicy + " " + problem + " for the broker's account, which can therefore ask for tokens of every account of the namespace and give its own rights to anybody",
		Mend:    mend,
	}}
}

// useless: what is accepted and is not there. It would open a hole that comes up later, unseen.
func (i *Issuer) useless(found []broker.Finding) []broker.Finding {
	var list []broker.Finding
	for _, a := range i.config.Settings.Accept {
		if a.Object != objectStreams && !slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Object == a.Object }) {
			list = append(list, broker.Finding{
				Object: a.Object, Problem: "accept names " + a.Object + ", and there is no such hole",
				Mend: "remove the entry from accept",
			})
		}
	}
	return list
}
