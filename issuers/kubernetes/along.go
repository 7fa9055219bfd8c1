package kubernetes

import (
	"context"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// What goes along with what is deleted: claims that their StatefulSet does not retain, those of generic ephemeral volumes, and whatever names it as
// its owner, which the garbage collector deletes. RBAC asks for none of it, and no admission policy can see it: it is told by what is
// there when a lease is described.

// alongside is what goes along.
type alongside struct {
	names  []string // "persistentvolumeclaims/data-orders-*", sorted
	unseen []string // collections that the broker's account may not look through, sorted
}

// endsPods tells whether pods go with what may be deleted.
func (g grant) endsPods() bool {
	return g.actions.Has(broker.Delete) && runsPods(g.kind)
}

// mayOwn tells whether what may be deleted can be named as an owner.
func (g grant) mayOwn() bool {
	return g.actions.Has(broker.Delete) && isObject(g.kind)
}

const (
	setsKind   = "statefulsets.apps"
	scalerKind = "horizontalpodautoscalers.autoscaling"
)

// mayScale tells whether a StatefulSet may be scaled: by itself, or by what scales with the rights of a controller whatever it names.
func (g grant) mayScale() bool {
	return g.actions.Has(broker.Write) && (g.parent() == setsKind || g.kind.name == scalerKind)
}

// scalesDown tells whether a StatefulSet may be scaled down, which the admission policy refuses to who may not delete it.
func scalesDown(grants []grant, name string, noPolicy bool) bool {
	covers := func(g grant) bool { return g.parent() == setsKind && g.name.Covers(broker.Resource(name)) }
	deletes := noPolicy || slices.ContainsFunc(grants, func(g grant) bool { return g.mayOwn() && covers(g) })
	return slices.ContainsFunc(grants, func(g grant) bool { return g.mayScale() && (g.kind.name == scalerKind || covers(g) && deletes) })
}

// dependents are the collections in which owners are looked for: what holds data, leads traffic or runs.
func (i *Issuer) dependents() []kind {
	all := []kind{newKind(claimsKind), newKind("configmaps"), newKind("secrets"), newKind("services")}
	return append(all, i.kinds.makers()...)
}

// madeBy maps what a controller of the cluster makes, and what owns nothing but pods, to the kind of its maker.
var madeBy = map[string]string{"replicasets.apps": "deployments.apps", "jobs.batch": cronKind}

// isMade tells of what its maker, among those owners, made: it goes with that, as everybody knows. One that somebody else owns is told.
func (w workload) isMade(k kind, owners map[string]string) bool {
	maker := madeBy[k.name]
	return maker != "" && slices.ContainsFunc(w.Metadata.Owners, func(o owner) bool { return o.Controller && owners[o.UID] == maker })
}

// watched sorts the dependents into what is looked through and what the broker's account may not: nothing where nothing goes along.
func (i *Issuer) watched(ctx context.Context, a *audit, grants []grant, noPolicy bool) (watched []kind, unseen []string, err error) {
	if !slices.ContainsFunc(grants, func(g grant) bool { return g.mayOwn() || noPolicy && g.mayScale() }) {
		return nil, nil, nil
	}
	for _, k := range i.dependents() {
		missing, err := i.lacks(ctx, a, []need{{"list", k.group, k.resource, ""}})
		switch {
		case err != nil:
			return nil, nil, i.fault(auditingOwn, err)
		case len(missing) > 0:
			unseen = append(unseen, k.name)
		default:
			watched = append(watched, k)
		}
	}
	return watched, sorted(unseen), nil
}

// shrinks tells whether pods, and with them the claims of their ephemeral volumes, go by scaling. A StatefulSet is scaled down by who may
// delete it alone.
func (g grant) shrinks() bool {
	return g.scales() && g.parent() != setsKind
}

// goneAlong names what goes with what may be deleted, and is not granted anyhow.
func (i *Issuer) goneAlong(grants []grant, found collections, noPolicy bool) []string {
	owners, gone := map[string]string{}, []string{} // UID of what goes → its kind
	for _, g := range grants {
		for name, w := range found.of(g.kind).there {
			if g.mayOwn() && g.name.Covers(broker.Resource(name)) {
				owners[w.Metadata.UID] = g.kind.name
				gone = append(gone, w.claimsAlong(name)...)
			}
			if g.shrinks() && g.name.Covers(broker.Resource(name)) {
				gone = append(gone, w.claimsAlong(name)...)
			}
		}
	}
	for name, w := range found.of(newKind(setsKind)).there {
		if w.Spec.Retention.Scaled == notRetained && scalesDown(grants, name, noPolicy) {
			gone = append(gone, w.claimsOfReplicas(name)...)
		}
	}
	gone = append(gone, i.owned(owners, found)...)
	return sorted(slices.DeleteFunc(gone, func(name string) bool { return mayDelete(grants, name) }))
}

// owned names what those own, and what that owns, and so on.
func (i *Issuer) owned(owners map[string]string, found collections) []string {
	var gone []string
	for more := true; more; {
		more = false
		for _, k := range i.dependents() {
			for name, w := range found.of(k).there {
				if owners[w.Metadata.UID] != "" || !w.isOwnedBy(owners) {
					continue
				}
				owners[w.Metadata.UID], more = k.name, true
				if !w.isMade(k, owners) { // else what it owns is meant
					gone = append(gone, named(k.name, name)...)
					gone = append(gone, w.claimsAlong(name)...)
				}
			}
		}
	}
	return gone
}

// mayDelete tells whether it is granted anyhow.
func mayDelete(grants []grant, name string) bool {
	return slices.ContainsFunc(grants, func(g grant) bool { return g.mayOwn() && g.resourceName().Covers(broker.Resource(name)) })
}

// isOwnedBy tells whether one of those owners is its own.
func (w workload) isOwnedBy(owners map[string]string) bool {
	return slices.ContainsFunc(w.Metadata.Owners, func(o owner) bool { return o.UID != "" && owners[o.UID] != "" })
}

// notRetained is the retention of claims that are deleted (API reference, StatefulSetPersistentVolumeClaimRetentionPolicy).
const notRetained = "Delete"

// claimsAlong are the claims that go with a workload.
func (w workload) claimsAlong(name string) []string {
	var claims []string
	for at, spec := range w.podSpecs() {
		for _, v := range spec.Volumes {
			if v.Ephemeral != nil {
				claims = append(claims, named(claimsKind, v.claim(podName(name, at > 0)))...)
			}
		}
	}
	if w.Spec.Retention.Deleted == notRetained {
		claims = append(claims, w.claimsOfReplicas(name)...)
	}
	return claims
}

// claimsOfReplicas are those that a StatefulSet makes for each of its pods.
func (w workload) claimsOfReplicas(name string) []string {
	var claims []string
	for _, c := range w.Spec.Claims {
		claims = append(claims, named(claimsKind, c.Metadata.Name+"-"+name+"-*")...)
	}
	return claims
}

// alongWall says what goes along, and that nothing stops it.
func (i *Issuer) alongWall(along alongside) broker.WallFact {
	wall := broker.WallFact{Stops: "deleting what goes along with it", Wall: broker.WallNone, How: "claims that are not retained go with their StatefulSet, those of ephemeral volumes with their pods, " +
		"and what names it as its owner with that, when it is deleted; "}
	if len(along.names) == 0 {
		wall.How += "there is nothing of the kind now"
	} else {
		wall.How += "there is some now: " + some(along.names, mostNamed, ", ")
		wall.Gives = i.deletes(along.names)
	}
	wall.How += "; claims, ConfigMaps, Secrets, Services and what makes pods are looked through, and nothing else is: no pods, Ingresses, policies or custom resources"
	if len(along.unseen) > 0 {
		wall.How += ", and cannot be: " + strings.Join(along.unseen, ", ")
	}
	return wall
}
