package kubernetes

import (
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// walls says what stops what, the weak and missing ones included, and what these give in spite of the scopes.
func (i *Issuer) walls(grants []grant, h holes) []broker.WallFact {
	facts := i.rbacWalls(h)
	if !anyOf(grants, broker.Delete, everyKind) {
		facts = append(facts, broker.WallFact{Stops: "delete and deletecollection", Wall: broker.WallNative, How: "they are not granted"})
	}
	if slices.ContainsFunc(grants, grant.mayOwn) || len(h.along.names) > 0 {
		facts = append(facts, i.alongWall(h.along))
	}
	if anyOf(grants, broker.Write, everyKind) {
		facts = append(facts, i.writeWalls(grants, h)...)
	}
	if anyOf(grants, broker.Write, runsPods) || anyOf(grants, broker.Write, isDebugged) {
		facts = append(facts, i.machineWall(h))
	}
	if anyOf(grants, broker.Write, runsPods) {
		facts = append(facts, i.podWalls(grants, h)...)
	}
	if slices.ContainsFunc(grants, grant.takesRoom) {
		facts = append(facts, i.roomWalls(h.priorities)...)
	}
	if anyOf(grants, broker.Admin, isInPod) {
		inPods := slices.DeleteFunc(slices.Clone(grants), func(g grant) bool { return !g.actions.Has(broker.Admin) || !isInPod(g.kind) })
		facts = append(facts, broker.WallFact{
			Stops: "what a running pod can do", Wall: broker.WallNone, How: "whoever is in a pod has its identity, its secrets, its data and its network",
			Gives: i.scopesWith(inPods, broker.Delete|broker.Admin),
		})
	}
	if anyOf(grants, broker.Read, isSecret) {
		facts = append(facts, broker.WallFact{Stops: "use of secrets after the end", Wall: broker.WallNone, How: "a secret that was read is known"})
	}
	return append(facts, i.endWalls(grants, h)...)
}

// rbacWalls are what RBAC holds, as far as no accepted binding gives every account of the namespace more.
func (i *Issuer) rbacWalls(h holes) []broker.WallFact {
	facts := []broker.WallFact{
		{Stops: "another namespace, and what belongs to the whole cluster", Wall: broker.WallNative, How: "a Role and a RoleBinding hold in their namespace alone, and no other binding reaches the account"},
		{Stops: "kinds and verbs that are not listed", Wall: broker.WallNative, How: "RBAC refuses what no rule names: among it exec, proxy, impersonate, escalate, bind and tokens of accounts"},
	}
	var open []string
	for _, e := range h.exceptions {
		if strings.Contains(e.Object, "binding ") {
			open = append(open, e.Object)
		}
	}
	if len(open) > 0 {
		for at := range facts {
			facts[at].Wall, facts[at].How = broker.WallWeak, "every account of the namespace also has what "+strings.Join(open, " and ")+" gives, which is accepted"
		}
		facts[1].Gives = i.loosened(h.everybody)
	}
	return facts
}

// policyWall is one thing that the admission policy stops, on the grants that it is about. Without the policy a lease can do it, which
// gives more than the grant.
type policyWall struct {
	stops, how string
	on         func(grant) bool
	gives      broker.Actions
}

func (i *Issuer) policyWalls() []policyWall {
	const refuses = "the admission policy refuses it to who may not delete"
	kinds := func(fits func(kind) bool) func(grant) bool { return func(g grant) bool { return fits(g.kind) } }
	return []policyWall{
		{"deleting by owner references and finalizers", "the admission policy " + leasesPolicy + " refuses them to who may not delete", kinds(isObject), broker.Delete},
		{"scaling to zero, or a StatefulSet down", refuses, kinds(isScaled), broker.Delete},
		{"removing keys of a ConfigMap", refuses, kinds(isConfig), broker.Delete},
		{"changing what pods trust (" + trusted + ")", "the admission policy refuses it", isTrusted, broker.Admin},
		{"removing fields of a custom resource", refuses + ", for its own fields and those of its spec; deeper ones can be overwritten and removed", kinds(i.isPlain), broker.Delete},
		{"ending pods by labels, deadlines, tolerations and the counting of a StatefulSet", refuses, kinds(runsPods), broker.Delete},
		{"data of claims that a pod did not have", "the admission policy refuses to mount one to who may not delete claims, and to make one to who may not make claims", kinds(runsPods), broker.Delete | broker.Admin},
		{"Secrets that a pod or a template did not have", "the admission policy refuses to give it one to who may not read secrets", kinds(runsPods), broker.Admin},
		{"choosing machines by name, labels and taints", "the admission policy refuses it, but for the kind of processor and system", kinds(runsPods), broker.Admin},
		{"keeping pods of other namespaces off machines by affinity", "the admission policy refuses to be far from, or near to, pods of other namespaces", kinds(runsPods), broker.Delete | broker.Admin},
		{"getting around Pod Security by a class of runtimes that a pod did not have", "the admission policy refuses to choose one", kinds(runsPods), broker.Admin},
		{"choosing a priority, for which pods of every namespace are ended", "the admission policy refuses it", kinds(runsPods), broker.Delete | broker.Admin},
		{"calls that a machine makes for a pod, to a host of one's choice", "the admission policy refuses a host in probes and hooks", kinds(runsPods), broker.Admin},
		{"volumes of drivers (csi) and devices that a pod did not have", "the admission policy refuses to bring one in", kinds(runsPods), broker.Delete | broker.Admin},
	}
}

// trusted is the ConfigMap in which the cluster tells pods its authority.
const trusted = "kube-root-ca.crt"

func isTrusted(g grant) bool { return isConfig(g.kind) && (g.all() || g.name == trusted) }

// writeWalls are what holds a write to not deleting. Each that the admission policy stands for is weak without it, and gives the delete of
// what may be written.
func (i *Issuer) writeWalls(grants []grant, h holes) []broker.WallFact {
	var facts []broker.WallFact
	for _, one := range i.policyWalls() {
		of := slices.DeleteFunc(slices.Clone(grants), func(g grant) bool { return !g.actions.Has(broker.Write) || !one.on(g) })
		if len(of) == 0 {
			continue
		}
		fact := broker.WallFact{Stops: one.stops, Wall: broker.WallNative, How: one.how}
		if h.noPolicy {
			fact.Wall, fact.How, fact.Gives = broker.WallWeak, "there is no admission policy, which is accepted: update and patch can do it", i.scopesWith(of, one.gives)
		}
		facts = append(facts, fact)
	}
	facts = append(facts, i.versionWalls(h.versioned)...)
	facts = append(facts, broker.WallFact{Stops: "overwriting what is in an object", Wall: broker.WallNone, How: "update and patch can set every field to another value"})
	if anyOf(grants, broker.Write, isScaled) {
		facts = append(facts, broker.WallFact{Stops: "taking a Deployment down to one pod", Wall: broker.WallNone, How: "the admission policy refuses zero alone"})
	}
	if slices.ContainsFunc(grants, func(g grant) bool {
		return !g.all() && g.actions.Has(broker.Write) && isObject(g.kind) && g.write&changesOnly == 0
	}) {
		facts = append(facts, broker.WallFact{Stops: "creating under another name", Wall: broker.WallNative, How: "create is granted for the name alone, which server-side apply can do, and POST cannot"})
	}
	return append(facts, broker.WallFact{Stops: "what controllers, operators and programs do about it", Wall: broker.WallNone, How: "they act on what is written with their own rights: a program that runs a script out of a ConfigMap, too"})
}

// machineWall is about containers that a lease brings in, in a pod of its own or in one that is there.
func (i *Issuer) machineWall(h holes) broker.WallFact {
	machine := broker.WallFact{Stops: "pods that take over their machine", Wall: broker.WallNative, How: "the namespace enforces the restricted Pod Security level"}
	switch {
	case !h.restricted:
		machine.Wall, machine.How = broker.WallNone, "the namespace does not enforce the restricted Pod Security level"
	case len(h.classes) > 0:
		machine.Wall, machine.How = broker.WallNone, "the level does not hold pods of a class of runtimes that is there: "+some(h.classes, mostNamed, ", ")
	}
	if machine.Wall == broker.WallNone {
		machine.Gives = i.loosened(broker.Delete | broker.Admin)
	}
	return machine
}

func (i *Issuer) podWalls(grants []grant, h holes) []broker.WallFact {
	identity := broker.WallFact{Stops: "choosing another account for a pod", Wall: broker.WallNative, How: "the admission policy lets new pods have the account default alone, and others keep theirs"}
	switch {
	case h.noPolicy:
		identity.Wall, identity.How, identity.Gives = broker.WallWeak, "a template may name every account of the namespace, whatever that may do", i.loosened(everything)
	case h.fallback != 0:
		identity.Wall, identity.How, identity.Gives = broker.WallWeak, "a pod may run as the account default, which has rights, and that is accepted", i.loosened(h.fallback)
	}
	taking := broker.WallFact{Stops: "taking over, and removing, what no controller owns", Wall: broker.WallWeak, How: "a new controller takes over what its selector fits; there is nothing of the kind now"}
	if len(h.loose) > 0 {
		taking.How, taking.Gives = "a new controller takes over pods and ReplicaSets that its selector fits, and there are some", i.deletes(h.loose)
	}
	facts := append([]broker.WallFact{identity, taking}, i.carriedWalls(h.carried)...)
	if anyOf(grants, broker.Write, isPod) {
		facts = append(facts, broker.WallFact{Stops: "a Secret to pull images by (imagePullSecrets), for a new pod", Wall: broker.WallNone, How: "the server gives pods those of their account, so the admission policy cannot tell which were chosen: a pod may be given any, and runs what is behind it"})
	}
	if anyOf(grants, broker.Write, hasHistory) {
		facts = append(facts, broker.WallFact{Stops: "pushing out what a rollout could go back to", Wall: broker.WallNone, How: "the cluster keeps revisionHistoryLimit former templates (10, unless it says otherwise): as many changes push out all that were there"})
	}
	return append(facts,
		broker.WallFact{Stops: "the traffic of a Service, for pods with its labels", Wall: broker.WallNone, How: "a Service sends traffic to every pod that bears its labels"},
		broker.WallFact{Stops: "the Secrets that a workload has, for code that is put into it", Wall: broker.WallNone, How: "code reads what its pod has, one that holds an account's token as well"},
		broker.WallFact{Stops: "what deployed code does after the end", Wall: broker.WallNone, How: "it runs on, with its account and its network, until somebody takes it away"},
		broker.WallFact{Stops: "deploying something that does not work", Wall: broker.WallNone, How: "a new template replaces the pods that ran"},
	)
}

func (i *Issuer) endWalls(grants []grant, h holes) []broker.WallFact {
	facts := []broker.WallFact{
		{Stops: "use after the end", Wall: broker.WallNative, How: "the token carries its expiry; earlier, its rights go with the RoleBinding"},
		{Stops: "knowing that the namespace is there, up to 10 s after an early end", Wall: broker.WallWeak, How: "the server remembers tokens: it answers 403 before it answers 401"},
	}
	if anyOf(grants, broker.Write|broker.Delete, everyKind) {
		begun := broker.WallFact{Stops: "finishing after an early end what was begun before it", Wall: broker.WallNative, How: "the admission policy " + endsPolicy + " has RBAC asked again when all of a call is there"}
		if h.late {
			begun.Wall, begun.How = broker.WallWeak, "there is no admission policy for it, which is accepted: it can be finished for up to a minute"
		}
		facts = append(facts, begun)
	}
	if _, streams := i.config.Settings.accepts(objectStreams); streams {
		return append(facts, broker.WallFact{Stops: "an open watch, log, exec or portforward after the end", Wall: broker.WallNone, How: "nothing ends it but the client, the pod or the server: who starts a watch says how long it lasts"})
	}
	return append(facts, broker.WallFact{Stops: "reading on after the end", Wall: broker.WallNative, How: "nothing is granted that stays open: no watch, no logs"})
}
