package railway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// way leads from an id to where it belongs. Railway has no query for these ids: what the project has of a kind is
// listed. Those of other projects are found nowhere.
type way struct {
	environment string // empty: the whole project
	service     string // empty: the environment's own
	says        string
}

// byWay finds an id by listing. An id may have its project before it.
func byWay(kind string) resolver {
	return func(ctx context.Context, l *look, n judge.Named) (gateway.Found, error) {
		project, id := split(n.ID)
		w, err := l.follow(ctx, kind, id)
		if err != nil {
			return gateway.Found{}, err
		}
		if err := l.fits(ctx, n, project, w.says, l.inv); err != nil {
			return gateway.Found{}, err
		}
		if w.environment == "" {
			return projectKind(ctx, l, judge.Named{Kind: "project", ID: l.inv.id, At: n.At})
		}
		return l.ofService(ctx, l.inv, n, w)
	}
}

// follow looks for an id in what was listed and, because it may have been made a moment ago, in a newer list. That
// it is in neither is remembered.
func (l *look) follow(ctx context.Context, kind, id string) (way, error) {
	listed := func(fresh bool) (map[string]way, error) {
		return l.ways.recall(ctx, l.inv.id+"/"+kind, fresh, func(ctx context.Context) (map[string]way, error) { return l.list(ctx, kind) })
	}
	all, err := listed(l.fresh)
	w, found := all[id]
	if err != nil || found || l.fresh {
		return w, cmp.Or(err, notFound(found))
	}
	_, err = l.homes.recall(ctx, kind+" way/"+id, false, func(context.Context) (string, error) {
		_, err := listed(true)
		return "", err
	})
	if err != nil {
		return way{}, err
	}
	all, err = listed(false)
	w, found = all[id]
	return w, cmp.Or(err, notFound(found))
}

func notFound(found bool) error {
	if found {
		return nil
	}
	return errNotThere
}

func (l *look) list(ctx context.Context, kind string) (map[string]way, error) {
	switch kind {
	case "domain":
		return l.listDomains(ctx)
	case "tcp-proxy":
		return l.listProxies(ctx)
	case "deployment-trigger":
		return l.listTriggers(ctx)
	case "private-network":
		return l.listNetworks(ctx)
	case "private-network-endpoint":
		return l.listEndpoints(ctx)
	case "dashboard":
		return l.listDashboards(ctx)
	}
	return l.listOfProject(ctx, kind)
}

// listDomains lists the domains of all services, of both kinds.
func (l *look) listDomains(ctx context.Context) (map[string]way, error) {
	type domain struct {
		ID     string `json:"id"`
		Domain string `json:"domain"`
	}
	type instance struct {
		EnvironmentID string `json:"environmentId"`
		Domains       struct {
			Custom  []domain `json:"customDomains"`
			Service []domain `json:"serviceDomains"`
		} `json:"domains"`
	}
	var answer struct {
		Project struct {
			Services list[struct {
				ID        string         `json:"id"`
				Instances list[instance] `json:"serviceInstances"`
			}] `json:"services"`
		} `json:"project"`
	}
	document := `query HourkeyDomains($id: String!) { project(id: $id) { services { edges { node { id serviceInstances { edges { node { environmentId
		domains { customDomains { id domain } serviceDomains { id domain } } } } pageInfo { hasNextPage } } } } pageInfo { hasNextPage } } } }`
	if err := l.client.ask(ctx, document, map[string]any{"id": l.inv.id}, &answer); err != nil {
		return nil, err
	}
	ways := map[string]way{}
	for _, s := range answer.Project.Services.Edges {
		for _, i := range s.Node.Instances.Edges {
			for _, d := range slices.Concat(i.Node.Domains.Custom, i.Node.Domains.Service) {
				ways[d.ID] = way{i.Node.EnvironmentID, s.Node.ID, "domain " + d.Domain}
			}
		}
	}
	return ways, nil
}

// part is a service in one environment.
type part struct{ environment, service string }

// parts lists all of them, in a fixed order.
func (inv *inventory) parts() []part {
	var parts []part
	for _, id := range slices.Sorted(maps.Keys(inv.services)) {
		for _, environment := range inv.livesOf(inv.services[id]) {
			parts = append(parts, part{environment, id})
		}
	}
	return parts
}

func (l *look) listProxies(ctx context.Context) (map[string]way, error) {
	parts := l.inv.parts()
	var many batch
	for _, p := range parts {
		many.add("tcpProxies(environmentId: %s, serviceId: %s) { id applicationPort }", p.environment, p.service)
	}
	ways, at := map[string]way{}, 0
	for proxies, err := range askEach[[]struct {
		ID   string `json:"id"`
		Port int    `json:"applicationPort"`
	}](ctx, l.client, many) {
		if err != nil {
			return nil, err
		}
		for _, p := range proxies {
			ways[p.ID] = way{parts[at].environment, parts[at].service, fmt.Sprintf("TCP proxy to port %d", p.Port)}
		}
		at++
	}
	return ways, nil
}

func (l *look) listTriggers(ctx context.Context) (map[string]way, error) {
	type trigger struct {
		ID            string `json:"id"`
		EnvironmentID string `json:"environmentId"`
		ServiceID     string `json:"serviceId"`
		Repository    string `json:"repository"`
		Branch        string `json:"branch"`
	}
	var answer struct {
		Project struct {
			Triggers list[trigger] `json:"deploymentTriggers"`
		} `json:"project"`
	}
	document := `query HourkeyTriggers($id: String!) { project(id: $id) { deploymentTriggers { edges { node { id environmentId serviceId repository branch } } pageInfo { hasNextPage } } } }`
	if err := l.client.ask(ctx, document, map[string]any{"id": l.inv.id}, &answer); err != nil {
		return nil, err
	}
	ways := map[string]way{}
	for _, edge := range answer.Project.Triggers.Edges {
		t := edge.Node
		ways[t.ID] = way{t.EnvironmentID, t.ServiceID, fmt.Sprintf("deployment trigger for %s of %s", t.Branch, t.Repository)}
	}
	return ways, nil
}

func (l *look) listNetworks(ctx context.Context) (map[string]way, error) {
	environments := l.inv.everywhere()
	var many batch
	for _, e := range environments {
		many.add("privateNetworks(environmentId: %s) { publicId name }", e)
	}
	ways, at := map[string]way{}, 0
	for networks, err := range askEach[[]struct {
		ID   string `json:"publicId"`
		Name string `json:"name"`
	}](ctx, l.client, many) {
		if err != nil {
			return nil, err
		}
		for _, n := range networks {
			ways[n.ID] = way{environments[at], "", "private network " + n.Name}
		}
		at++
	}
	return ways, nil
}

// listEndpoints asks for the endpoint of each service in each network of its environment.
func (l *look) listEndpoints(ctx context.Context) (map[string]way, error) {
	networks, err := l.ways.recall(ctx, l.inv.id+"/private-network", l.fresh, l.listNetworks)
	if err != nil {
		return nil, err
	}
	var asked []part
	var many batch
	for _, network := range slices.Sorted(maps.Keys(networks)) {
		for _, p := range l.inv.parts() {
			if p.environment == networks[network].environment {
				asked = append(asked, p)
				many.add("privateNetworkEndpoint(environmentId: %s, privateNetworkId: %s, serviceId: %s) { publicId dnsName }", p.environment, network, p.service)
			}
		}
	}
	ways, at := map[string]way{}, 0
	for endpoint, err := range askEach[struct {
		ID   string `json:"publicId"`
		Name string `json:"dnsName"`
	}](ctx, l.client, many) {
		if err != nil {
			return nil, err
		}
		if endpoint.ID != "" {
			ways[endpoint.ID] = way{asked[at].environment, asked[at].service, "private name " + endpoint.Name}
		}
		at++
	}
	return ways, nil
}

func (l *look) listDashboards(ctx context.Context) (map[string]way, error) {
	environments := l.inv.everywhere()
	var many batch
	for _, e := range environments {
		many.add("observabilityDashboards(environmentId: %s) { edges { node { id } } pageInfo { hasNextPage } }", e)
	}
	ways, at := map[string]way{}, 0
	for dashboards, err := range askEach[list[namedAnswer]](ctx, l.client, many) {
		if err != nil {
			return nil, err
		}
		for _, d := range dashboards.Edges {
			ways[d.Node.ID] = way{environments[at], "", "dashboard"}
		}
		at++
	}
	return ways, nil
}

// listOfProject lists what belongs to the project as a whole, or says itself to which environment it belongs.
func (l *look) listOfProject(ctx context.Context, kind string) (map[string]way, error) {
	type owned struct {
		ID            string `json:"id"`
		Name          string `json:"name"`
		Email         string `json:"email"`
		EnvironmentID string `json:"environmentId"`
	}
	var answer struct {
		Connection list[owned] `json:"connection"`
		List       []owned     `json:"list"`
	}
	field, known := map[string]string{
		"integration":        "connection: integrations(projectId: $id) { edges { node { id name } } pageInfo { hasNextPage } }",
		"project-token":      "connection: projectTokens(projectId: $id) { edges { node { id name environmentId } } pageInfo { hasNextPage } }",
		"project-invitation": "list: projectInvitations(id: $id) { id email }",
	}[kind]
	if !known {
		return nil, errNotThere
	}
	if err := l.client.ask(ctx, "query HourkeyOwned($id: String!) { "+field+" }", map[string]any{"id": l.inv.id}, &answer); err != nil {
		return nil, err
	}
	all := answer.List
	for _, edge := range answer.Connection.Edges {
		all = append(all, edge.Node)
	}
	ways := map[string]way{}
	for _, o := range all {
		ways[o.ID] = way{environment: o.EnvironmentID, says: kind + " " + o.Name + o.Email}
	}
	return ways, nil
}
