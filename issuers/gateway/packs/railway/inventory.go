package railway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// inventory is what a project has, and where. It is not changed once it is made.
type inventory struct {
	at           time.Time
	id           string
	name         string
	workspace    string
	environments map[string]*environment // by id; so are the others
	services     map[string]*service
	volumes      map[string]*volume
	buckets      map[string]*thing
	plugins      map[string]*thing
	groups       map[string]*thing
}

// thing is what lives in all environments of its project.
type thing struct{ id, name string }

type environment struct {
	thing
	fork bool // made from another environment, and changed apart from it
}

type service struct {
	thing
	instances map[string]string // environment id → id of the service's part there
}

type volume struct {
	thing
	instances map[string]volumeInstance // by environment id
}

// volumeInstance is the part of a volume in one environment. Sizes are in MB.
type volumeInstance struct {
	ID            string      `json:"id"`
	EnvironmentID string      `json:"environmentId"`
	ServiceID     string      `json:"serviceId"` // empty: attached to none
	MountPath     string      `json:"mountPath"`
	State         string      `json:"state"`
	CurrentSizeMB json.Number `json:"currentSizeMB"`
	SizeMB        json.Number `json:"sizeMB"`
	Pending       bool        `json:"isPendingDeletion"`
}

// inventoryDocument asks for all of a project in one request: they are few (100 an hour on the free plan).
const inventoryDocument = `query HourkeyInventory($id: String!) { project(id: $id) {
	id name workspaceId
	environments { edges { node { id name sourceEnvironment { id } } } pageInfo { hasNextPage } }
	services { edges { node { id name serviceInstances { edges { node { id environmentId } } pageInfo { hasNextPage } } } } pageInfo { hasNextPage } }
	volumes { edges { node { id name volumeInstances { edges { node {
		id environmentId serviceId mountPath state currentSizeMB sizeMB isPendingDeletion
	} } pageInfo { hasNextPage } } } } pageInfo { hasNextPage } }
	buckets { edges { node { id name } } pageInfo { hasNextPage } }
	plugins { edges { node { id friendlyName } } pageInfo { hasNextPage } }
	groups { edges { node { id name } } pageInfo { hasNextPage } }
} }`

// list is a connection in an answer. Railway gives all of it when no page is asked for, as its own CLI relies
// on; one with a further page is an error: what is not in it would count as living nowhere.
type list[T any] struct {
	Edges []struct {
		Node T `json:"node"`
	} `json:"edges"`
	PageInfo struct {
		HasNextPage bool `json:"hasNextPage"`
	} `json:"pageInfo"`
}

var errMorePages = errors.New("a list in Railway's answer has a further page")

func (l list[T]) nodes() ([]T, error) {
	if l.PageInfo.HasNextPage {
		return nil, errMorePages
	}
	nodes := make([]T, len(l.Edges))
	for at, edge := range l.Edges {
		nodes[at] = edge.Node
	}
	return nodes, nil
}

type namedAnswer struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	FriendlyName string `json:"friendlyName"` // plugins
}

func (n namedAnswer) thing() thing {
	if n.FriendlyName != "" {
		return thing{n.ID, n.FriendlyName}
	}
	return thing{n.ID, n.Name}
}

type environmentAnswer struct {
	namedAnswer
	Source *namedAnswer `json:"sourceEnvironment"`
}

type serviceAnswer struct {
	namedAnswer
	Instances list[serviceInstanceAnswer] `json:"serviceInstances"`
}

type serviceInstanceAnswer struct {
	ID            string `json:"id"`
	EnvironmentID string `json:"environmentId"`
}

type volumeAnswer struct {
	namedAnswer
	Instances list[volumeInstance] `json:"volumeInstances"`
}

type projectAnswer struct {
	namedAnswer
	WorkspaceID  string                  `json:"workspaceId"`
	Environments list[environmentAnswer] `json:"environments"`
	Services     list[serviceAnswer]     `json:"services"`
	Volumes      list[volumeAnswer]      `json:"volumes"`
	Buckets      list[namedAnswer]       `json:"buckets"`
	Plugins      list[namedAnswer]       `json:"plugins"`
	Groups       list[namedAnswer]       `json:"groups"`
}

// askInventory asks for a project. errNotThere if the token does not reach it.
func (p *Provider) askInventory(ctx context.Context, id string) (*inventory, error) {
	var answer struct {
		Project *projectAnswer `json:"project"`
	}
	at := p.now().UTC()
	if err := p.client.ask(ctx, inventoryDocument, map[string]any{"id": id}, &answer); err != nil {
		return nil, err
	}
	if answer.Project == nil || answer.Project.ID != id {
		return nil, errNotThere
	}
	inv, err := answer.Project.inventory(at)
	if err != nil {
		return nil, unavailable("project %s has more than Railway tells in one answer: where things live there cannot be looked up", answer.Project.Name).Because(err)
	}
	return inv, nil
}

func (a *projectAnswer) inventory(at time.Time) (*inventory, error) {
	inv := &inventory{
		at: at, id: a.ID, name: a.Name, workspace: a.WorkspaceID,
		environments: map[string]*environment{}, services: map[string]*service{}, volumes: map[string]*volume{},
		buckets: map[string]*thing{}, plugins: map[string]*thing{}, groups: map[string]*thing{},
	}
	err := errors.Join(a.readEnvironments(inv), a.readServices(inv), a.readVolumes(inv),
		readThings(a.Buckets, inv.buckets), readThings(a.Plugins, inv.plugins), readThings(a.Groups, inv.groups))
	inv.addUnlisted()
	return inv, err
}

// addUnlisted adds the environments in which something lives although they are not listed.
func (inv *inventory) addUnlisted() {
	add := func(id string) {
		if inv.environments[id] == nil {
			inv.environments[id] = &environment{thing: thing{id, id}}
		}
	}
	for _, s := range inv.services {
		for id := range s.instances {
			add(id)
		}
	}
	for _, v := range inv.volumes {
		for id := range v.instances {
			add(id)
		}
	}
}

func readThings(from list[namedAnswer], into map[string]*thing) error {
	all, err := from.nodes()
	for _, answer := range all {
		t := answer.thing()
		into[t.id] = &t
	}
	return err
}

func (a *projectAnswer) readEnvironments(inv *inventory) error {
	all, err := a.Environments.nodes()
	for _, e := range all {
		inv.environments[e.ID] = &environment{thing: e.thing(), fork: e.Source != nil}
	}
	return err
}

func (a *projectAnswer) readServices(inv *inventory) error {
	all, err := a.Services.nodes()
	for _, answer := range all {
		instances, more := answer.Instances.nodes()
		err = errors.Join(err, more)
		s := &service{thing: answer.thing(), instances: map[string]string{}}
		for _, i := range instances {
			s.instances[i.EnvironmentID] = i.ID
		}
		inv.services[s.id] = s
	}
	return err
}

func (a *projectAnswer) readVolumes(inv *inventory) error {
	all, err := a.Volumes.nodes()
	for _, answer := range all {
		instances, more := answer.Instances.nodes()
		err = errors.Join(err, more)
		v := &volume{thing: answer.thing(), instances: map[string]volumeInstance{}}
		for _, i := range instances {
			v.instances[i.EnvironmentID] = i
		}
		inv.volumes[v.id] = v
	}
	return err
}

// everywhere lists the project's environments, by name.
func (inv *inventory) everywhere() []string {
	return inv.sorted(slices.Collect(maps.Keys(inv.environments)))
}

// noForks lists those that are no forks, by name.
func (inv *inventory) noForks() []string {
	return slices.DeleteFunc(inv.everywhere(), func(id string) bool { return inv.environments[id].fork })
}

// sorted sorts ids of environments by their names, so that the same answer always reads the same.
func (inv *inventory) sorted(environments []string) []string {
	slices.SortFunc(environments, func(a, b string) int {
		return cmp.Or(cmp.Compare(inv.shown(a), inv.shown(b)), cmp.Compare(a, b))
	})
	return environments
}

// shown is what people call an environment; its id if it is not in the inventory (one that is being deleted).
func (inv *inventory) shown(environment string) string {
	if e := inv.environments[environment]; e != nil {
		return e.name
	}
	return environment
}

func (inv *inventory) shownAll(environments []string) []string {
	names := make([]string, len(environments))
	for at, id := range environments {
		names[at] = inv.shown(id)
	}
	return names
}

// names are how scopes call a thing: by its id and, where no other of its kind has it, by its name.
func (inv *inventory) names(kind string, t thing) []broker.Resource {
	names := []broker.Resource{broker.Resource(kind + "/" + t.id)}
	if isLiteral(t.name) && inv.bearers(kind, t.name) == 1 {
		names = append(names, broker.Resource(kind+"/"+t.name))
	}
	return names
}

// isLiteral: a name with a star in it would be read as a prefix, one with what cannot be seen as another, and
// one that looks like what we write for something new as that.
func isLiteral(name string) bool {
	scope, err := broker.ParseScope("railway:x/" + name + ":read")
	return err == nil && string(scope.Resource) == "x/"+name && !scope.Resource.IsPrefix() && name != "" && name != newName
}

// bearers counts the things of a kind that have a name, or an id that reads like it.
func (inv *inventory) bearers(kind, name string) int {
	count := 0
	for _, t := range inv.of(kind) {
		if t.name == name || t.id == name {
			count++
		}
	}
	return count
}

// of lists the things of a kind that scopes speak of.
func (inv *inventory) of(kind string) []thing {
	switch kind {
	case "project":
		return []thing{{inv.id, inv.name}}
	case "environment":
		return thingsOf(inv.environments, func(e *environment) thing { return e.thing })
	case "service":
		return thingsOf(inv.services, func(s *service) thing { return s.thing })
	case "volume":
		return thingsOf(inv.volumes, func(v *volume) thing { return v.thing })
	case "bucket":
		return thingsOf(inv.buckets, func(t *thing) thing { return *t })
	case "plugin":
		return thingsOf(inv.plugins, func(t *thing) thing { return *t })
	case "group":
		return thingsOf(inv.groups, func(t *thing) thing { return *t })
	}
	return nil
}

func thingsOf[T any](all map[string]T, of func(T) thing) []thing {
	things := make([]thing, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		things = append(things, of(all[id]))
	}
	return things
}
