package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

func everyKind(kind) bool  { return true }
func runsPods(k kind) bool { return k.write&wantsRestricted != 0 }
func isStream(k kind) bool { return k.read&wantsStreams != 0 || k.use&wantsStreams != 0 }
func isSecret(k kind) bool { return k.name == "secrets" }
func isInPod(k kind) bool  { return k.use&wantsStreams != 0 || k.name == "pods+ephemeralcontainers" }
func isObject(k kind) bool { return k.sub == "" }
func isScaled(k kind) bool {
	return k.sub == "scale" || runsPods(k) && k.name != "pods" && k.name != "jobs.batch"
}
func isConfig(k kind) bool { return k.name == "configmaps" }

// walls says what stops what, the weak and missing ones included.
func (i *Issuer) walls(p place, grants []grant, exceptions []broker.Exception) []broker.WallFact {
	weak := slices.ContainsFunc(exceptions, func(e broker.Exception) bool { return e.Object == objectPolicy })
	facts := rbacWalls(exceptions)
	if !anyOf(grants, broker.Delete, everyKind) {
		facts = append(facts, broker.WallFact{Stops: "delete and deletecollection", Wall: broker.WallNative, How: "they are not granted"})
	}
	if anyOf(grants, broker.Write, everyKind) {
		facts = append(facts, writeWalls(grants, weak)...)
	}
	if anyOf(grants, broker.Write, runsPods) {
		facts = append(facts, podWalls(p, weak)...)
	}
	if anyOf(grants, broker.Admin, isInPod) {
		facts = append(facts, broker.WallFact{Stops: "what a running pod can do", Wall: broker.WallNone, How: "whoever is in a pod has its identity, its secrets and its network"})
	}
	if anyOf(grants, broker.Read, isSecret) {
		facts = append(facts, broker.WallFact{Stops: "use of secrets after the end", Wall: broker.WallNone, How: "a secret that was read is known"})
	}
	return append(facts, i.endWalls()...)
}

// rbacWalls are what RBAC holds, as far as no accepted binding gives every account of the namespace more.
func rbacWalls(exceptions []broker.Exception) []broker.WallFact {
	facts := []broker.WallFact{
		{Stops: "another namespace, and what belongs to the whole cluster", Wall: broker.WallNative, How: "a Role and a RoleBinding hold in their namespace alone, and no other binding reaches the account"},
		{Stops: "kinds and verbs that are not listed", Wall: broker.WallNative, How: "RBAC refuses what no rule names: among it exec, proxy, impersonate, escalate, bind and tokens of accounts"},
	}
	for _, e := range exceptions {
		if !strings.Contains(e.Object, "binding ") {
			continue
		}
		for at := range facts {
			facts[at].Wall, facts[at].How = broker.WallWeak, "every account of the namespace also has what "+e.Object+" gives, which is accepted"
		}
	}
	return facts
}

func writeWalls(grants []grant, weak bool) []broker.WallFact {
	facts := []broker.WallFact{{
		Stops: "deleting by owner references and finalizers", Wall: broker.WallNative, How: "the admission policy " + leasesPolicy + " refuses them to who may not delete",
	}}
	if anyOf(grants, broker.Write, isScaled) {
		facts = append(facts, broker.WallFact{Stops: "scaling to zero, or a StatefulSet down", Wall: broker.WallNative, How: "the admission policy refuses it to who may not delete; scaling a Deployment down to one is possible"})
	}
	if anyOf(grants, broker.Write, isConfig) {
		facts = append(facts, broker.WallFact{Stops: "removing keys of a ConfigMap", Wall: broker.WallNative, How: "the admission policy refuses it to who may not delete"})
	}
	if weak {
		for at := range facts {
			facts[at].Wall, facts[at].How = broker.WallWeak, "there is no admission policy, which is accepted: update and patch can do it"
		}
	}
	facts = append(facts, broker.WallFact{Stops: "overwriting what is in an object", Wall: broker.WallNone, How: "update and patch can set every field to another value"})
	if slices.ContainsFunc(grants, func(g grant) bool {
		return !g.all() && g.actions.Has(broker.Write) && isObject(g.kind) && g.write&changesOnly == 0
	}) {
		facts = append(facts, broker.WallFact{Stops: "creating under another name", Wall: broker.WallNative, How: "create is granted for the name alone, which server-side apply can do, and POST cannot"})
	}
	return append(facts, broker.WallFact{Stops: "what controllers and operators do about it", Wall: broker.WallNone, How: "they act on what is written with their own rights"})
}

func podWalls(p place, weak bool) []broker.WallFact {
	facts := []broker.WallFact{
		{Stops: "pods with the identity of another account", Wall: broker.WallNative, How: "the admission policy lets new pods have the account default alone, and others keep theirs"},
		{Stops: "pods that take over their machine", Wall: broker.WallNative, How: "the namespace enforces the restricted Pod Security level"},
		{Stops: "secrets of the namespace in a pod that a lease makes or changes", Wall: broker.WallNone, How: "a pod may mount every Secret and claim of its namespace"},
		{Stops: "what deployed code does after the end", Wall: broker.WallNone, How: "it runs on, with its account and its network, until somebody takes it away"},
		{Stops: "deploying something that does not work", Wall: broker.WallNone, How: "a new template replaces the pods that ran"},
	}
	if weak {
		facts[0].Wall, facts[0].How = broker.WallWeak, "a template may name every account of the namespace"
	}
	if !p.restricted() {
		facts[1].Wall, facts[1].How = broker.WallNone, "the namespace does not enforce the restricted Pod Security level"
	}
	return facts
}

func (i *Issuer) endWalls() []broker.WallFact {
	facts := []broker.WallFact{
		{Stops: "use after the end", Wall: broker.WallNative, How: "the token carries its expiry; earlier, its rights go with the RoleBinding"},
		{Stops: "knowing that the namespace is there, up to 10 s after an early end", Wall: broker.WallWeak, How: "the server remembers tokens: it answers 403 before it answers 401"},
	}
	if _, streams := i.config.Settings.accepts(objectStreams); streams {
		return append(facts, broker.WallFact{Stops: "an open watch, log, exec or portforward after the end", Wall: broker.WallNone, How: "nothing ends it but the client, the pod or the server: who starts a watch says how long it lasts"})
	}
	return append(facts, broker.WallFact{Stops: "reading on after the end", Wall: broker.WallNative, How: "nothing is granted that stays open: no watch, no logs"})
}

// weigh sorts the holes into what refuses what is asked and what the configuration accepts.
func (i *Issuer) weigh(ctx context.Context, a *audit, grants []grant) (refusals []broker.Finding, exceptions []broker.Exception, err error) {
	found, err := i.judge(ctx, a, grants)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range found {
		if exception, accepted := i.accepted(f.Object); accepted {
			exceptions = append(exceptions, exception)
			continue
		}
		refusals = append(refusals, f)
	}
	if exception, accepted := i.accepted(objectStreams); accepted && (anyOf(grants, broker.Read, everyKind) || anyOf(grants, broker.Admin, isStream)) {
		exceptions = append(exceptions, exception)
	}
	return refusals, exceptions, nil
}

// judge gives the holes that what is asked would have.
func (i *Issuer) judge(ctx context.Context, a *audit, grants []grant) ([]broker.Finding, error) {
	found := slices.Concat(a.denied, a.openFindings(), i.strayFindings(a))
	if anyOf(grants, broker.Write, everyKind) {
		found = append(found, a.policyFindings()...)
	}
	if anyOf(grants, broker.Write, runsPods) {
		found = append(found, i.fallbackFindings(a)...)
	}
	missing, err := i.lacks(ctx, a, slices.Concat(baseNeeds(), i.needs(grants)))
	return append(found, i.lackFindings(missing)...), err
}

func (a *audit) openFindings() []broker.Finding {
	if !a.open {
		return nil
	}
	return []broker.Finding{{
		Refuses: true, Object: "authorization",
		Problem: "the server allows an account what nobody gave it: it does not go by RBAC alone, so no Role is a limit",
		Mend:    "start the API server with --authorization-mode=Node,RBAC",
	}}
}

// mostPrinted is how many holes one refusal tells of.
const mostPrinted = 10

// wallError is the refusal for missing walls; it prints what mends each.
func (i *Issuer) wallError(refusals []broker.Finding) error {
	var problems, mends []string
	for at, f := range refusals {
		if at == mostPrinted {
			problems = append(problems, fmt.Sprintf("and %d more", len(refusals)-at))
			mends = append(mends, "# hourkeyd check --live prints the rest")
			break
		}
		problems = append(problems, f.Problem+" ["+f.Object+"]")
		if !slices.Contains(mends, f.Mend) {
			mends = append(mends, f.Mend)
		}
	}
	or := ""
	if slices.ContainsFunc(refusals, func(f broker.Finding) bool { return isAcceptable(f.Object) }) {
		or = ", or accept by the name in brackets in environments/" + i.config.Ref.Environment + ".yaml"
	}
	return broker.Errorf(broker.CodeWall, "%s does not hold its walls: %s", i.config.Ref, strings.Join(problems, "; ")).
		WithNext("have the cluster's administrator do this%s:\n%s", or, strings.Join(mends, "\n"))
}
