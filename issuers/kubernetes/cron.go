package kubernetes

import "github.com/hourkey/hourkey/broker"

const cronKind = "cronjobs.batch"

// Controllers that call what they make by names that are known beforehand stop where somebody else has the next one.
//
// A CronJob whose next Job is there already, and not its own, starts none: a nightly backup does not run. The name is known beforehand,
// NAME-MINUTE (k8s.io/kubernetes, pkg/controller/cronjob, getJobName).

// startsJobs tells whether Jobs may be made that could have such a name.
func (g grant) startsJobs() bool {
	return g.kind.name == "jobs.batch" && g.actions.Has(broker.Write) && (g.all() || numbered.MatchString(string(g.name)))
}

// stops names the CronJobs that those Jobs can stop.
func (g grant) stops(found collections) []string {
	var stopped []string
	for name := range found.of(newKind(cronKind)).there {
		if g.all() || numbered.ReplaceAllString(string(g.name), "") == name {
			stopped = append(stopped, named(cronKind, name)...)
		}
	}
	return stopped
}

// A StatefulSet waits for a pod of the name of its next one, NAME-NUMBER, that is not its own, until somebody deletes that: nothing is scaled, and
// nothing new is rolled out (k8s.io/kubernetes, pkg/controller/statefulset).

// squats names the StatefulSets that a new pod could stop so.
func (g grant) squats(found collections) []string {
	var stopped []string
	for name := range found.of(newKind(setsKind)).there {
		if g.all() || numbered.MatchString(string(g.name)) && numbered.ReplaceAllString(string(g.name), "") == name {
			stopped = append(stopped, named(setsKind, name)...)
		}
	}
	return stopped
}

// squatWalls say that nothing stops it, where there are such sets.
func (i *Issuer) squatWalls(c carried) []broker.WallFact {
	if len(c.sets) == 0 {
		return nil
	}
	return []broker.WallFact{{
		Stops: "stopping a StatefulSet by a pod of the name that its next one would have", Wall: broker.WallNone,
		How: "the set is neither scaled nor rolled out until somebody deletes that pod, also after the end: " + some(c.sets, mostNamed, ", "), Gives: i.deletes(c.sets),
	}}
}

// cronWalls say that nothing stops it, where Jobs can be made.
func (i *Issuer) cronWalls(c carried) []broker.WallFact {
	if !c.jobs {
		return nil
	}
	wall := broker.WallFact{Stops: "stopping a CronJob by a Job of the name that its next one would have", Wall: broker.WallNone, How: "the CronJob then starts none; there is no such CronJob now"}
	if len(c.stopped) > 0 {
		wall.How, wall.Gives = "the CronJob then starts none, and there are some: "+some(c.stopped, mostNamed, ", "), i.deletes(c.stopped)
	}
	return []broker.WallFact{wall}
}
