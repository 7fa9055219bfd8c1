package kubernetes

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

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

// taking gives what the controllers that a grant lets make would take over, empty if it lets make none.
func taking(g grant, f finding) string {
	if !g.actions.Has(broker.Write) || f.there || g.name.IsPrefix() && !g.all() {
		return ""
	}
	return takers[g.kind.name]
}

// looseFor names what those controllers could take over, each "pods/web-1".
func (i *Issuer) looseFor(ctx context.Context, grants []grant, found map[thing]finding) ([]string, error) {
	var pods, onlyNumbered, sets bool
	onlyNumbered = true
	for _, g := range grants {
		switch taking(g, found[g.thing]) {
		case "pods":
			pods, onlyNumbered = true, onlyNumbered && g.kind.name == "statefulsets.apps"
		case "replicasets.apps":
			sets = true
		}
	}
	home := "/namespaces/" + i.config.Settings.Namespace
	var ofPods, ofSets []string
	var failed [2]error
	var all sync.WaitGroup
	if pods {
		all.Go(func() { ofPods, failed[0] = i.looseIn(ctx, "/api/v1"+home+"/pods", "pods/") })
	}
	if sets {
		all.Go(func() { ofSets, failed[1] = i.looseIn(ctx, "/apis/apps/v1"+home+"/replicasets", "replicasets.apps/") })
	}
	all.Wait()
	if onlyNumbered {
		ofPods = slices.DeleteFunc(ofPods, func(name string) bool { return !numbered.MatchString(name) })
	}
	loose := append(ofPods, ofSets...)
	slices.Sort(loose)
	return loose, firstCause(failed[:])
}

// looseIn names the objects of a list that no controller owns.
func (i *Issuer) looseIn(ctx context.Context, path, prefix string) (names []string, err error) {
	err = list(ctx, i.client, call{method: http.MethodGet, path: path, only: true}, func(o object) {
		if !slices.ContainsFunc(o.Metadata.Owners, func(w owner) bool { return w.Controller }) {
			names = append(names, prefix+o.Metadata.Name)
		}
	})
	return names, err
}

// mostLoose is how many of them are named one by one.
const mostLoose = 10

// looseScopes are the deletes that a new controller can come to: of each by its name or, of many, of the kind.
func (i *Issuer) looseScopes(loose []string) []broker.Scope {
	var scopes []broker.Scope
	for _, name := range loose {
		if len(loose) > mostLoose {
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
