package kubernetes

import (
	"github.com/hourkey/hourkey/broker"
)

// For pods of a priority the scheduler ends others, of every namespace, and what has one is worth that to whoever may have more of it made. The
// admission policy lets a lease choose none; but of a scale it sees the number alone, and not the template. So it is looked for, and given in the
// description.

// scales tells whether a number of pods may be changed by the subresource for it.
func (g grant) scales() bool {
	return g.actions.Has(broker.Write) && g.sub == "scale"
}

// scalesAnything tells whether what may be written scales with the rights of a controller whatever it names.
func (g grant) scalesAnything() bool {
	return g.actions.Has(broker.Write) && g.kind.name == scalerKind
}

// takesRoom tells whether more pods may come of a write.
func (g grant) takesRoom() bool {
	return g.scales() || g.scalesAnything() || g.actions.Has(broker.Write) && runsPods(g.kind)
}

// hasPriority tells whether its pods come before others. Of a pod the server has written down how much; of a template it says the class alone,
// and what that is worth is told in no namespace.
func (w workload) hasPriority() bool {
	for at, s := range w.podSpecs() {
		known := at == 0 && s.Priority != nil
		if s.Priority != nil && *s.Priority > 0 || s.PriorityClass != "" && !known {
			return true
		}
	}
	return false
}

// priorities names what has a priority and may be written or scaled. The spec of a Job changes for who may delete it alone.
func (i *Issuer) priorities(grants []grant, found collections) []string {
	var all []string
	add := func(k kind, fits func(name string) bool) {
		for name, w := range found.of(k).there {
			if of := named(k.parent(), name); fits(name) && w.hasPriority() && (k.name != "jobs.batch" || mayDelete(grants, of[0])) {
				all = append(all, of...)
			}
		}
	}
	for _, g := range grants {
		if g.takesRoom() {
			add(g.kind, func(name string) bool { return g.name.Covers(broker.Resource(name)) })
		}
		for _, k := range i.kinds.makers() {
			if g.scalesAnything() && i.kinds.has(k.name+"+scale") || g.runsAnything() && found.makes(g) {
				add(k, func(string) bool { return true })
			}
		}
	}
	return sorted(all)
}

// roomWalls say that nothing stops it, where pods can be made or scaled.
func (i *Issuer) roomWalls(priorities []string) []broker.WallFact {
	evicting := broker.WallFact{
		Stops: "ending pods of every namespace by a priority that is there", Wall: broker.WallNone,
		How: "for pods of a priority the scheduler ends others; nothing that may be written or scaled has one now; one that somebody gives it while the lease lives counts",
	}
	if len(priorities) > 0 {
		evicting.How = "for pods of a priority the scheduler ends others, and there are some: " + some(priorities, mostNamed, ", ")
		evicting.Gives = i.loosened(broker.Delete | broker.Admin)
	}
	return []broker.WallFact{
		{Stops: "taking the room on machines", Wall: broker.WallNone, How: "replicas and requests take what is free, for every namespace; quotas hold them"},
		evicting,
	}
}
