package kubernetes

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Who changes a workload puts code into it, which runs as the account that the workload has, and with the claims that it mounts. The admission
// policy lets a lease choose neither, and nothing takes away what is there: so it is looked for, and given in the description.

// runsCode tells whether a write puts code into what may have an account and claims already. The template of a Job never changes
// (Kubernetes API reference, JobSpec).
func (g grant) runsCode() bool {
	return g.actions.Has(broker.Write) && runsPods(g.kind) && g.kind.name != "jobs.batch"
}

// runsAnything tells whether it may be code in pods that are not there yet: controllers make pods at any time, of whatever templates there are.
func (g grant) runsAnything() bool {
	return g.runsCode() && g.kind.name == "pods" && (g.all() || !g.name.IsPrefix())
}

// debugs tells whether a write brings containers into pods that are there.
func (g grant) debugs() bool {
	return g.actions.Has(broker.Write) && isDebugged(g.kind)
}

// carried is what code finds in the workloads into which it is put.
type carried struct {
	powers   []accountPower
	believed bool     // a token or a certificate, made for another system than the cluster
	claims   []string // "persistentvolumeclaims/files", sorted
	drivers  []string // of volumes that can be written, sorted
	classes  []string // of runtimes, sorted
	sets     []string // "statefulsets.apps/db", whose next pod's name a new pod can have, sorted
	jobs     bool     // a Job can be made
	stopped  []string // "cronjobs.batch/backup", whose next Job's name one of them can have, sorted
}

// accountPower is what an account may do beyond what everybody may.
type accountPower struct {
	account  string
	gives    broker.Actions
	bindings []string
}

// carriedBy looks through the workloads that may be written now: those of the names, or all of the kind. Of pods that are not there yet it
// counts every account of the namespace, and every claim.
func (i *Issuer) carriedBy(ctx context.Context, a *audit, grants []grant, found collections) (c carried, err error) {
	accounts := map[string]bool{}
	for _, g := range grants {
		if g.startsJobs() && found.makes(g) {
			c.jobs, c.stopped = true, append(c.stopped, g.stops(found)...)
		}
		for name, w := range found.of(g.kind).there {
			switch {
			case !g.name.Covers(broker.Resource(name)):
			case g.runsCode():
				c.add(name, w, accounts)
			case g.debugs():
				c.addClass(w.Spec.podSpec)
			}
		}
		if g.runsAnything() && found.makes(g) {
			a.addAccounts(accounts)
			c.addAnything(found, i.kinds.makers(), accounts)
			c.sets = append(c.sets, g.squats(found)...)
		}
	}
	c.claims, c.drivers, c.classes, c.sets, c.stopped = sorted(c.claims), sorted(c.drivers), sorted(c.classes), sorted(c.sets), sorted(c.stopped)
	c.powers, err = i.powersOf(ctx, a, slices.Sorted(maps.Keys(accounts)))
	return c, err
}

// addAnything takes in every claim, and every template of which there can be a pod at any time.
func (c *carried) addAnything(found collections, makers []kind, accounts map[string]bool) {
	for name := range found[claimsKind].there {
		c.claims = append(c.claims, named(claimsKind, name)...)
	}
	for _, kind := range makers {
		for name, w := range found.of(kind).there {
			c.add(name, w, accounts)
		}
	}
}

// add takes in one workload, and the accounts that it names. What pods of the account default may do is judged for all that run pods.
func (c *carried) add(name string, w workload, accounts map[string]bool) {
	for at, spec := range w.podSpecs() {
		c.addPod(podName(name, at > 0), spec, accounts)
	}
	c.claims = append(c.claims, w.claimsOfReplicas(name)...)
}

// podName is what a pod is called, or those that a controller makes.
func podName(name string, made bool) string {
	if !made {
		return name
	}
	name += "-"
	return name[:min(len(name), mostStem)] + "*"
}

// mostStem is how much of a controller's name the server leaves in those of its pods (k8s.io/apiserver, names.MaxGeneratedNameLength).
const mostStem = 58

// addPod takes in a pod, or those of a template, whose names then end in "*".
func (c *carried) addPod(name string, spec podSpec, accounts map[string]bool) {
	if spec.Account != "" && spec.Account != "default" {
		accounts[spec.Account] = true
	}
	for _, v := range spec.Volumes {
		if claim := v.claim(name); claim != "" {
			c.claims = append(c.claims, named(claimsKind, claim)...)
		}
		if v.Driver.Name != "" && !v.Driver.ReadOnly {
			c.drivers = append(c.drivers, v.Driver.Name)
		}
		c.believed = c.believed || v.isBelieved()
	}
	c.addClass(spec)
}

func (c *carried) addClass(spec podSpec) {
	if spec.RuntimeClass != "" {
		c.classes = append(c.classes, spec.RuntimeClass)
	}
}

// claim is the claim that a volume of a pod mounts, empty if none. That of a generic ephemeral volume is called after the pod and the volume
// (Kubernetes documentation, Ephemeral Volumes).
func (v volume) claim(pod string) string {
	switch {
	case v.Claim.Name != "":
		return v.Claim.Name
	case v.Ephemeral == nil:
		return ""
	case strings.HasSuffix(pod, "*"):
		return pod
	}
	return pod + "-" + v.Name
}

const claimsKind = "persistentvolumeclaims"

// addAccounts takes in all of the namespace to which something is bound, but default and those of leases.
func (a *audit) addAccounts(accounts map[string]bool) {
	for name := range a.bound {
		if name != "default" && !isLeaseName(name) {
			accounts[name] = true
		}
	}
}

// isBelieved tells whether a volume holds an identity for another system than the cluster.
func (v volume) isBelieved() bool {
	for _, s := range v.Projected.Sources {
		if s.Token.Audience != "" || s.Certificate != nil {
			return true
		}
	}
	return false
}

// powersOf is what is bound to accounts by their names, of those that anything is given to. All of their roles are asked for together.
func (i *Issuer) powersOf(ctx context.Context, a *audit, accounts []string) ([]accountPower, error) {
	var bindings []binding
	for _, name := range accounts {
		bindings = append(bindings, a.bound[name]...)
	}
	if err := i.learn(ctx, &a.roles, bindings); err != nil {
		return nil, err
	}
	var powers []accountPower
	for _, name := range accounts {
		given, err := i.given(ctx, &a.roles, a.bound[name])
		if err != nil {
			return nil, err
		}
		if len(given) == 0 {
			continue
		}
		p := accountPower{account: name, gives: givenBy(given)}
		for _, s := range given {
			p.bindings = append(p.bindings, s.shown())
		}
		slices.Sort(p.bindings)
		powers = append(powers, p)
	}
	return powers, nil
}

// carriedWalls say what nothing stops in those workloads, and what that gives.
func (i *Issuer) carriedWalls(c carried) []broker.WallFact {
	account := broker.WallFact{Stops: "what code does as the account that its workload has", Wall: broker.WallNone, How: "it has the rights of that account; no binding gives any to those of what may be written now; what a cloud gives it is not looked at"}
	var gives broker.Actions
	var told []string
	for _, p := range c.powers {
		gives |= p.gives
		told = append(told, nameShown(p.account)+" may "+p.gives.String()+", by "+some(p.bindings, mostEach, " and "))
	}
	if c.believed {
		gives = everything
		told = append(told, "a token or a certificate is there that another system believes, and what that gives is not known")
	}
	if len(told) > 0 {
		account.How, account.Gives = "it has the rights of that account: "+some(told, mostNamed, "; "), i.loosened(gives)
	}
	claims := broker.WallFact{Stops: "what code destroys in the claims that its workload mounts", Wall: broker.WallNone, How: "it may empty them; nothing that may be written mounts one now"}
	if len(c.claims) > 0 {
		claims.How, claims.Gives = "it may empty them, and there are some", i.deletes(c.claims)
	}
	return slices.Concat([]broker.WallFact{account, claims, i.driverWall(c)}, i.squatWalls(c), i.cronWalls(c))
}

// driverWall is about volumes in which a template says itself what a driver mounts. Where that is, and whose, nobody here can tell.
func (i *Issuer) driverWall(c carried) broker.WallFact {
	wall := broker.WallFact{Stops: "what code destroys in volumes of drivers (csi) that its workload mounts", Wall: broker.WallNone, How: "it may empty those that are not read-only; nothing that may be written mounts one now"}
	if len(c.drivers) > 0 {
		wall.How, wall.Gives = "it may empty them, wherever they are, and there are some of "+some(c.drivers, mostNamed, ", "), i.loosened(broker.Delete)
	}
	return wall
}
