package kubernetes

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// A controller takes over what its selector fits and no other controller owns, and removes what is more than its replicas
// (Kubernetes documentation, ReplicaSet: non-template Pod acquisitions). So whoever makes one removes such things, and no admission policy
// can see it: it is told by what is there when a lease is described.

// takers maps a kind that makes pods to what a new one of it takes over.
var takers = map[string]string{
	"deployments.apps": "replicasets.apps", "replicasets.apps": "pods", "replicationcontrollers": "pods", "statefulsets.apps": "pods",
}

// numbered is the name of a pod that a StatefulSet would call its own.
var numbered = regexp.MustCompile(`-[0-9]+$`)

// takes gives what a controller that the grant could make takes over, empty if it makes none. A name may be there already: see makes.
func (g grant) takes() string {
	if !g.actions.Has(broker.Write) || g.name.IsPrefix() && !g.all() {
		return ""
	}
	return takers[g.kind.name]
}

// makes tells whether there is anything for the grant to make.
func (all collections) makes(g grant) bool {
	return g.all() || !g.name.IsPrefix() && !all.of(g.kind).has(g.name)
}

// looseFor names what those controllers could take over, each "pods/web-1". What nobody asked for yet is asked for.
func (i *Issuer) looseFor(ctx context.Context, grants []grant, all collections, groups apiGroups) ([]string, error) {
	taken := map[string]func(string) bool{} // collection → the names that are meant
	for _, g := range grants {
		of := g.takes()
		switch {
		case of == "" || !all.makes(g):
		case g.kind.name != "statefulsets.apps":
			taken[of] = func(string) bool { return true }
		case taken[of] == nil:
			taken[of] = numbered.MatchString
		}
	}
	var missing []*collection
	for of := range taken {
		if s := all.of(newKind(of)); !s.listed {
			s.listed = true
			missing = append(missing, s)
		}
	}
	if err := i.askFor(ctx, groups, missing...); err != nil {
		return nil, err
	}
	var loose []string
	for of, meant := range taken {
		for name, w := range all[of].there {
			if meant(name) && !w.isOwned() {
				loose = append(loose, of+"/"+name)
			}
		}
	}
	slices.Sort(loose)
	return loose, nil
}

// isOwned tells whether a controller owns it.
func (w workload) isOwned() bool {
	return slices.ContainsFunc(w.Metadata.Owners, func(o owner) bool { return o.Controller })
}

// mostLoose is how many of them are named one by one.
const mostLoose = 10

// deletes are the deletes of things: of each by its name or, of many, of the kind.
func (i *Issuer) deletes(names []string) []broker.Scope {
	var scopes []broker.Scope
	for _, name := range names {
		if len(names) > mostLoose {
			kind, _, _ := strings.Cut(name, "/")
			name = kind + "/*"
		}
		scopes = append(scopes, broker.Scope{Target: i.config.Ref.Target, Resource: broker.Resource(name), Actions: broker.Delete})
	}
	return broker.Normalize(scopes)
}

func (i *Issuer) looseFacts(loose []string) []broker.Fact {
	var facts []broker.Fact
	for _, about := range loose[:min(len(loose), mostLoose)] {
		facts = append(facts, broker.Fact{About: about, Text: "no controller owns it, so a new one can take it over and remove it", At: i.config.Now()})
	}
	return facts
}
