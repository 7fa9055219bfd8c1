package kubernetes

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// shelf is what is asked of one collection, once for all that need it, and what the server has of it.
type shelf struct {
	kind             // without a subresource
	names   []string // of objects that are asked for one by one, unless all are listed
	listed  bool     // all objects are asked for
	counted bool     // at least how many there are
	inside  bool     // with what is in them, of which no more is kept than a workload has: else their metadata alone

	mu    sync.Mutex          // guards what is below while it is asked for
	there map[string]workload // name → an object that was asked for and exists
	count int                 // how many there are, if listed or counted
}

// shelves maps the name of a collection, like deployments.apps, to what is asked of it.
type shelves map[string]*shelf

func (all shelves) of(k kind) *shelf {
	s, known := all[k.parent()]
	if !known {
		s = &shelf{kind: newKind(k.parent()), there: map[string]workload{}}
		all[k.parent()] = s
	}
	return s
}

// wanted is what must be asked to describe the grants.
func wanted(grants []grant) shelves {
	all := shelves{}
	for _, g := range grants {
		s := all.of(g.kind)
		s.inside = s.inside || g.runsCode()
		switch name := string(g.name); {
		case g.all() && !g.runsCode():
			s.counted = true
		case g.name.IsPrefix():
			s.listed = true
		case !slices.Contains(s.names, name):
			s.names = append(s.names, name)
		}
	}
	for _, g := range grants {
		if g.runsAnything() {
			all.of(newKind(claimsKind)).listed = true
			for _, name := range makers {
				s := all.of(newKind(name))
				s.listed, s.inside = true, true
			}
		}
		if of := g.takes(); of != "" && (g.all() || all[of] != nil) { // else only if there is no object of that name yet
			all.of(newKind(of)).listed = true
		}
	}
	return all
}

// mostLookUps is how many things one request may name.
const mostLookUps = 64

// look asks all of it at the same time, and refuses what is not there.
func (i *Issuer) look(ctx context.Context, grants []grant, groups apiGroups) (shelves, error) {
	if len(grants) > mostLookUps {
		return nil, broker.Errorf(broker.CodeInvalid, "%s: at most %d resources can be asked for at once", i.config.Ref, mostLookUps).WithField("scope")
	}
	all := wanted(grants)
	if err := i.askFor(ctx, groups, slices.Collect(maps.Values(all))...); err != nil {
		return nil, err
	}
	for _, g := range grants {
		if err := i.mustBe(g, all.of(g.kind)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// askFor fills shelves. The first failure cancels the rest.
func (i *Issuer) askFor(ctx context.Context, groups apiGroups, wanted ...*shelf) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, s := range wanted {
		for _, ask := range s.asks(i.client) {
			all.Go(func() {
				if err := i.served(ctx, s.kind, groups, ask); err != nil {
					once.Do(func() { first = err; cancel() })
				}
			})
		}
	}
	all.Wait()
	return first
}

// served asks in each version that the group has, until one knows the resource.
func (i *Issuer) served(ctx context.Context, k kind, groups apiGroups, ask func(ctx context.Context, path string) error) error {
	for _, root := range groups.roots(k.group) {
		err := ask(ctx, root+"/namespaces/"+i.config.Settings.Namespace+"/"+k.resource)
		switch {
		case err == nil:
			return nil
		case !isStatus(err, http.StatusNotFound): // which is an unknown resource, not an unknown object
			return i.fault("looking for "+k.parent(), err)
		}
	}
	return broker.Errorf(broker.CodeInvalid, "%s: the cluster has no %s in a namespace", i.config.Ref, k.parent()).WithField("scope")
}

// asks are the calls that fill a shelf; each is told the path of the collection.
func (s *shelf) asks(c *client) []func(context.Context, string) error {
	if s.listed {
		return []func(context.Context, string) error{func(ctx context.Context, path string) error { return s.list(ctx, c, path) }}
	}
	var asks []func(context.Context, string) error
	if s.counted {
		asks = append(asks, func(ctx context.Context, path string) error { return s.number(ctx, c, path) })
	}
	for _, name := range s.names {
		asks = append(asks, func(ctx context.Context, path string) error { return s.find(ctx, c, path, name) })
	}
	return asks
}

func (s *shelf) put(w workload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there[w.Metadata.Name] = w
}

func (s *shelf) list(ctx context.Context, c *client, path string) error {
	err := list(ctx, c, call{path: path, only: !s.inside}, s.put)
	s.count = len(s.there)
	return err
}

func (s *shelf) number(ctx context.Context, c *client, path string) error {
	var p page[object]
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: url.Values{"limit": {"1"}}, only: true}, &p)
	if err == nil && !strings.HasSuffix(p.Kind, "List") {
		err = errOtherKind
	}
	s.count = len(p.Items) + p.Metadata.Remaining
	return err
}

func (s *shelf) find(ctx context.Context, c *client, path, name string) error {
	var w workload
	err := c.do(ctx, call{method: http.MethodGet, path: path + "/" + name, only: !s.inside}, &w)
	switch {
	case isGone(err):
		return nil
	case err == nil && w.Metadata.Name != name:
		return errOtherKind
	case err == nil:
		s.put(w)
	}
	return err
}

func (s *shelf) has(name broker.Resource) bool {
	_, there := s.there[string(name)]
	return there
}

// begin gives the names that a prefix stands for, sorted.
func (s *shelf) begin(prefix broker.Resource) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.there)), func(name string) bool { return !prefix.Covers(broker.Resource(name)) })
}

// mustBe refuses what is not there; what may be written may come into being.
func (i *Issuer) mustBe(g grant, s *shelf) error {
	switch {
	case g.all():
		return nil
	case g.name.IsPrefix() && len(s.begin(g.name)) == 0:
		return i.nothing("no " + g.parent() + " begins with " + g.name.Stem())
	case !g.name.IsPrefix() && !s.has(g.name) && (!g.actions.Has(broker.Write) || g.sub != "" || g.write&changesOnly != 0):
		return i.nothing("there is no " + g.parent() + "/" + string(g.name))
	}
	return nil
}

func (i *Issuer) nothing(what string) error {
	return broker.Errorf(broker.CodeInvalid, "%s: %s in namespace %s", i.config.Ref, what, i.config.Settings.Namespace).WithField("scope")
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
