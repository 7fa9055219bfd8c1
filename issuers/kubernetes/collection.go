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

// collection is the objects of one kind: what is asked of it, once for all that need it, and what the server has of it.
type collection struct {
	kind             // without a subresource
	names   []string // of objects that are asked for one by one, unless all are listed
	listed  bool     // all objects are asked for
	counted bool     // at least how many there are
	inside  bool     // with what is in them, of which no more is kept than a workload has: else their metadata alone

	mu    sync.Mutex          // guards what is below while it is asked for
	there map[string]workload // name → an object that was asked for and exists
	count int                 // how many there are, if listed or counted
}

// collections maps the name of a collection, like deployments.apps, to what is asked of it.
type collections map[string]*collection

func (all collections) of(k kind) *collection {
	c, known := all[k.parent()]
	if !known {
		c = &collection{kind: newKind(k.parent()), there: map[string]workload{}}
		all[k.parent()] = c
	}
	return c
}

// wanted is what must be asked to describe the grants; watched is looked through for what goes along with what is deleted.
func (i *Issuer) wanted(grants []grant, watched []kind) collections {
	all := collections{}
	for _, g := range grants {
		c := all.of(g.kind)
		c.inside = c.inside || g.runsCode() || g.endsPods() || g.scales() || g.debugs()
		switch name := string(g.name); {
		case g.all() && !g.runsCode() && !g.mayOwn() && !g.scales() && !g.debugs():
			c.counted = true
		case g.name.IsPrefix():
			c.listed = true
		case !slices.Contains(c.names, name):
			c.names = append(c.names, name)
		}
	}
	for _, k := range watched {
		c := all.of(k)
		c.listed, c.inside = true, c.inside || runsPods(i.kinds[k.name])
	}
	for _, g := range grants {
		if g.startsJobs() {
			all.of(newKind(cronKind)).listed = true
		}
		if g.runsAnything() {
			all.of(newKind(claimsKind)).listed = true
		}
		if g.runsAnything() || g.scalesAnything() {
			for _, k := range i.kinds.makers() {
				c := all.of(k)
				c.listed, c.inside = true, true
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
func (i *Issuer) look(ctx context.Context, grants []grant, groups apiGroups, watched []kind) (collections, error) {
	if len(grants) > mostLookUps {
		return nil, broker.Errorf(broker.CodeInvalid, "%s: at most %d resources can be asked for at once", i.config.Ref, mostLookUps).WithField("scope")
	}
	all := i.wanted(grants, watched)
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

// askFor fills collections.
func (i *Issuer) askFor(ctx context.Context, groups apiGroups, wanted ...*collection) error {
	var asks []func(context.Context) error
	for _, c := range wanted {
		for _, ask := range c.asks(i.client) {
			asks = append(asks, func(ctx context.Context) error { return i.served(ctx, c.kind, groups, ask) })
		}
	}
	return together(ctx, asks...)
}

// served asks in each version that the group has, until one knows the resource.
func (i *Issuer) served(ctx context.Context, k kind, groups apiGroups, ask func(ctx context.Context, path string) error) error {
	for _, root := range groups.roots(k.group) {
		err := ask(ctx, i.inNamespace(root, k.resource))
		switch {
		case err == nil:
			return nil
		case !isStatus(err, http.StatusNotFound): // which is an unknown resource, not an unknown object
			return i.fault("looking for "+k.parent(), err)
		}
	}
	return broker.Errorf(broker.CodeInvalid, "%s: the cluster has no %s in a namespace", i.config.Ref, k.parent()).WithField("scope")
}

// asks are the calls that fill it; each is told its path.
func (c *collection) asks(from *client) []func(context.Context, string) error {
	if c.listed {
		return []func(context.Context, string) error{func(ctx context.Context, path string) error { return c.list(ctx, from, path) }}
	}
	var asks []func(context.Context, string) error
	if c.counted {
		asks = append(asks, func(ctx context.Context, path string) error { return c.number(ctx, from, path) })
	}
	for _, name := range c.names {
		asks = append(asks, func(ctx context.Context, path string) error { return c.find(ctx, from, path, name) })
	}
	return asks
}

func (c *collection) put(w workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there[w.Metadata.Name] = w
}

func (c *collection) list(ctx context.Context, from *client, path string) error {
	err := list(ctx, from, call{path: path, metadataOnly: !c.inside}, c.put)
	c.count = len(c.there)
	return err
}

func (c *collection) number(ctx context.Context, from *client, path string) error {
	var p page[object]
	err := from.do(ctx, call{method: http.MethodGet, path: path, query: url.Values{"limit": {"1"}}, metadataOnly: true}, &p)
	if err == nil && !strings.HasSuffix(p.Kind, "List") {
		err = errOtherKind
	}
	c.count = len(p.Items) + p.Metadata.Remaining
	return err
}

func (c *collection) find(ctx context.Context, from *client, path, name string) error {
	var w workload
	err := from.do(ctx, call{method: http.MethodGet, path: path + "/" + name, metadataOnly: !c.inside}, &w)
	switch {
	case isGone(err):
		return nil
	case err == nil && w.Metadata.Name != name:
		return errOtherKind
	case err == nil:
		c.put(w)
	}
	return err
}

func (c *collection) has(name broker.Resource) bool {
	_, there := c.there[string(name)]
	return there
}

// begin gives the names that a prefix stands for, sorted.
func (c *collection) begin(prefix broker.Resource) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.there)), func(name string) bool { return !prefix.Covers(broker.Resource(name)) })
}

// mustBe refuses what is not there; what may be written may come into being.
func (i *Issuer) mustBe(g grant, c *collection) error {
	switch {
	case g.all():
		return nil
	case g.name.IsPrefix() && len(c.begin(g.name)) == 0:
		return i.nothing("no " + g.parent() + " begins with " + g.name.Stem())
	case !g.name.IsPrefix() && !c.has(g.name) && (!g.actions.Has(broker.Write) || g.sub != "" || g.write&changesOnly != 0):
		return i.nothing("there is no " + g.parent() + "/" + string(g.name))
	}
	return nil
}

func (i *Issuer) nothing(what string) error {
	return broker.Errorf(broker.CodeInvalid, "%s: %s in namespace %s", i.config.Ref, what, i.config.Settings.Namespace).WithField("scope")
}
