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
		return nil, i.fault("auditing the walls", err)
	}
	missing, err := i.lacks(ctx, a, baseNeeds())
	if err != nil {
		return nil, i.fault("auditing the broker's account", err)
	}
	guard, err := i.policyProblem(ctx, brokerPolicy, brokerProbe)
	if isStatus(err, http.StatusForbidden) {
		guard, err = "cannot be seen", nil // which the audit tells by itself
	}
	if err != nil {
		return nil, i.fault("auditing the broker's account", err)
	}
	found := slices.Concat(hidden, a.denied, a.openFindings(), i.lackFindings(missing), i.strayFindings(a))
	unseen, err := i.unseenFindings(ctx, a)
	if err != nil {
		return nil, i.fault("auditing the broker's account", err)
	}
	some := slices.Concat(printPolicy(a.policyFindings()), i.fallbackFindings(a))
	for at := range some {
		some[at].Refuses, some[at].Problem = false, "requests to write are refused: "+some[at].Problem
	}
	holes := slices.Concat(found, some, unseen)
	all := i.unaccepted(holes)
	if len(hidden) == 0 {
		all = append(all, i.levelFinding(p, a)...)
	}
	all = append(all, i.tooMuch(a)...)
	all = append(all, guardFinding(guard)...)
	return append(all, i.useless(holes)...), nil
}

// unseenFindings: an account that may give pods to write, and may not look through what makes them, cannot give it.
func (i *Issuer) unseenFindings(ctx context.Context, a *audit) ([]broker.Finding, error) {
	if !holds(a.own, "patch", "", "pods", "") {
		return nil, nil
	}
	missing, err := i.lacks(ctx, a, podNeeds())
	found := i.lackFindings(missing)
	for at := range found {
		found[at].Refuses, found[at].Problem = false, "requests to write every pod, or one that is not there yet, are refused: "+found[at].Problem
	}
	return found, err
}

// findForCheck is find, in which not being allowed to look is a hole.
func (i *Issuer) findForCheck(ctx context.Context) (p place, hidden []broker.Finding, err error) {
	p, err = i.find(ctx)
	if isStatus(err, http.StatusForbidden) {
		return p, []broker.Finding{i.deniedFinding("which namespace and cluster this is", policyRule{
			APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{system, i.config.Settings.Namespace}, Verbs: []string{"get"},
		})}, nil
	}
	return p, nil, err
}

// printPolicy puts the policies themselves in the place of what says where they are.
func printPolicy(found []broker.Finding) []broker.Finding {
	for at := range found {
		if found[at].Mend == mendForce {
			continue
		}
		found[at].Mend = "# for kubectl apply -f -, once for each cluster\n" + policyYAML
	}
	return found
}

func (i *Issuer) unaccepted(found []broker.Finding) []broker.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f broker.Finding) bool {
		_, accepted := i.accepted(f.Object)
		return accepted
	})
}

// levelFinding: without the restricted level, whoever makes pods can take over machines.
func (i *Issuer) levelFinding(p place, a *audit) []broker.Finding {
	namespace := i.config.Settings.Namespace
	f := broker.Finding{
		Object:  "pod security",
		Problem: "namespace " + namespace + " does not enforce the restricted Pod Security level, so to write what makes pods counts as admin",
		Mend:    "kubectl label namespace " + namespace + " " + enforceLabel + "=restricted",
	}
	switch {
	case !p.restricted():
		return []broker.Finding{f}
	case a.level != "":
		f.Problem += ": the label is there, and " + a.level
		f.Mend = "# let the API server run the admission plugin PodSecurity, without an exemption for this namespace, and the broker's account create pods in it"
		return []broker.Finding{f}
	}
	return nil
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
