package kubernetes

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// finding is what the server says of one thing.
type finding struct {
	names []string // of a prefix: the objects that exist, sorted
	count int      // of KIND/*: how many there are
	there bool     // of a name: whether it exists
}

// mostLookUps is how many things one request may name.
const mostLookUps = 64

// look asks for each thing once, all at the same time: is it there, what does the prefix stand for, how many are
// there. Metadata alone is asked for.
func (i *Issuer) look(ctx context.Context, grants []grant, groups apiGroups) (map[thing]finding, error) {
	if len(grants) > mostLookUps {
		return nil, broker.Errorf(broker.CodeInvalid, "%s: at most %d resources can be asked for at once", i.config.Ref, mostLookUps).WithField("scope")
	}
	var (
		mu    sync.Mutex
		all   sync.WaitGroup
		found = map[thing]finding{}
		first error
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, g := range grants {
		all.Go(func() {
			f, err := i.lookAt(ctx, g, groups)
			mu.Lock()
			defer mu.Unlock()
			found[g.thing] = f
			if err != nil && first == nil {
				first = err
				cancel()
			}
		})
	}
	all.Wait()
	return found, first
}

// lookAt asks in each version that the group has, until one knows the resource.
func (i *Issuer) lookAt(ctx context.Context, g grant, groups apiGroups) (finding, error) {
	for _, root := range groups.roots(g.group) {
		f, served, err := i.lookIn(ctx, g, root+"/namespaces/"+i.config.Settings.Namespace+"/"+g.resource)
		if err != nil {
			return f, i.fault("looking for "+g.parent(), err)
		}
		if served {
			return f, i.mustBe(g, f)
		}
	}
	return finding{}, broker.Errorf(broker.CodeInvalid, "%s: the cluster has no %s in a namespace", i.config.Ref, g.parent()).WithField("scope")
}

// mustBe refuses what is not there; what may be written may come into being.
func (i *Issuer) mustBe(g grant, f finding) error {
	name := g.name
	switch {
	case g.all():
		return nil
	case name.IsPrefix() && len(f.names) == 0:
		return i.nothing("no " + g.parent() + " begins with " + name.Stem())
	case !name.IsPrefix() && !f.there && (!g.actions.Has(broker.Write) || g.sub != "" || g.write&changesOnly != 0):
		return i.nothing("there is no " + g.parent() + "/" + string(name))
	}
	return nil
}

func (i *Issuer) nothing(what string) error {
	return broker.Errorf(broker.CodeInvalid, "%s: %s in namespace %s", i.config.Ref, what, i.config.Settings.Namespace).WithField("scope")
}

// lookIn asks at one path. served tells whether the server knows the resource there.
func (i *Issuer) lookIn(ctx context.Context, g grant, path string) (f finding, served bool, err error) {
	switch {
	case g.all():
		var p page[object]
		err = i.client.do(ctx, call{method: http.MethodGet, path: path, query: url.Values{"limit": {"1"}}, only: true}, &p)
		if err == nil && !strings.HasSuffix(p.Kind, "List") {
			err = errOtherKind
		}
		f.count = len(p.Items) + p.Metadata.Remaining
	case g.name.IsPrefix():
		err = list(ctx, i.client, call{path: path, only: true}, func(o object) {
			if strings.HasPrefix(o.Metadata.Name, g.name.Stem()) {
				f.names = append(f.names, o.Metadata.Name)
			}
		})
		slices.Sort(f.names)
	default:
		err = i.client.do(ctx, call{method: http.MethodGet, path: path + "/" + string(g.name), only: true}, nil)
		f.there = err == nil
		if isGone(err) {
			return f, true, nil
		}
	}
	if isStatus(err, http.StatusNotFound) { // an unknown resource, not an unknown object
		return f, false, nil
	}
	return f, true, err
}

// apiGroups maps an API group to the versions that the server has of it, the preferred one first.
type apiGroups map[string][]string

// roots are the URL paths of a group's versions.
func (a apiGroups) roots(group string) []string {
	if group == "" {
		return []string{"/api/v1"}
	}
	var roots []string
	for _, version := range a[group] {
		roots = append(roots, "/apis/"+group+"/"+version)
	}
	return roots
}

// discover asks which groups and versions there are.
func (i *Issuer) discover(ctx context.Context) (apiGroups, error) {
	var answer struct {
		Groups []struct {
			Name      string                     `json:"name"`
			Preferred struct{ Version string }   `json:"preferredVersion"`
			Versions  []struct{ Version string } `json:"versions"`
		} `json:"groups"`
	}
	if err := i.client.get(ctx, "/apis", &answer); err != nil {
		return nil, err
	}
	groups := apiGroups{}
	for _, g := range answer.Groups {
		groups[g.Name] = []string{g.Preferred.Version}
		for _, v := range g.Versions {
			if v.Version != g.Preferred.Version {
				groups[g.Name] = append(groups[g.Name], v.Version)
			}
		}
	}
	return groups, nil
}
