package railway

import (
	"context"
	"errors"
	"fmt"
)

// homeOf finds the project that an id lives in. The target's own is looked at first, then Railway is asked by
// the query that it has for the kind. errNotThere: in none that the token reaches.
//
// That an id is found nowhere is remembered even where fresh is asked for: it refuses, and a caller who guesses at
// ids must not use up the account's requests.
func (l *look) homeOf(ctx context.Context, kind, id string) (*inventory, error) {
	if l.inv.has(kind, id) {
		return l.inv, nil
	}
	project, err := l.homes.recall(ctx, kind+"/"+id, false, func(ctx context.Context) (string, error) {
		if newer, err := l.newer(ctx); err != nil || newer.has(kind, id) {
			return l.inv.id, err
		}
		return l.askHome(ctx, kind, id)
	})
	if err != nil {
		return nil, err
	}
	if project == "" {
		return nil, errNotThere
	}
	inv, err := l.inventory(ctx, project, l.fresh && project != l.inv.id)
	if err != nil {
		return nil, err
	}
	if project == l.inv.id {
		l.inv = inv
	}
	if !inv.has(kind, id) {
		return nil, errNotThere
	}
	return inv, nil
}

// newer looks once more at the target's project: what was made a moment ago is not in what is remembered.
func (l *look) newer(ctx context.Context) (*inventory, error) {
	if l.fresh {
		return l.inv, nil
	}
	return l.inventory(ctx, l.inv.id, true)
}

// has tells whether a project has something.
func (inv *inventory) has(kind, id string) bool {
	switch kind {
	case "volume-instance":
		_, _, found := inv.volumeInstance(id)
		return found
	case "service-instance":
		_, _, found := inv.serviceInstance(id)
		return found
	}
	for _, t := range inv.of(kind) {
		if t.id == id {
			return true
		}
	}
	return false
}

// homeDocument is the query that leads from an id to its project.
func homeDocument(kind string) string {
	switch kind {
	case "project":
		return "project(id: $id) { projectId: id }"
	case "environment":
		return "environment(id: $id) { projectId }"
	case "service":
		return "service(id: $id) { projectId }"
	case "plugin":
		return "plugin(id: $id) { project { id } }"
	case "volume-instance":
		return "volumeInstance(id: $id) { project: volume { id: projectId } }"
	}
	return ""
}

// askHome asks for the project of an id; empty: there is none. Volumes, buckets, groups and parts of services have no
// query of their own: all projects are listed for them.
func (l *look) askHome(ctx context.Context, kind, id string) (string, error) {
	field := homeDocument(kind)
	if field == "" {
		return l.askEverywhere(ctx, kind, id)
	}
	var answer struct {
		Found *struct {
			ProjectID string      `json:"projectId"`
			Project   namedAnswer `json:"project"`
		} `json:"found"`
	}
	err := l.client.ask(ctx, fmt.Sprintf("query HourkeyHome($id: String!) { found: %s }", field), map[string]any{"id": id}, &answer)
	switch {
	case errors.Is(err, errNotThere) || err == nil && answer.Found == nil:
		return "", nil
	case err != nil:
		return "", err
	case answer.Found.ProjectID != "":
		return answer.Found.ProjectID, nil
	}
	return answer.Found.Project.ID, nil
}

// everywhereAnswer is what of each project is listed to find an id that has no query.
type everywhereAnswer struct {
	ID       string              `json:"id"`
	Volumes  list[namedAnswer]   `json:"volumes"`
	Buckets  list[namedAnswer]   `json:"buckets"`
	Groups   list[namedAnswer]   `json:"groups"`
	Services list[serviceAnswer] `json:"services"`
}

const everywhereDocument = `query HourkeyEverywhere { projects { edges { node { id
	volumes { edges { node { id } } pageInfo { hasNextPage } }
	buckets { edges { node { id } } pageInfo { hasNextPage } }
	groups { edges { node { id } } pageInfo { hasNextPage } }
	services { edges { node { id serviceInstances { edges { node { id } } pageInfo { hasNextPage } } } } pageInfo { hasNextPage } }
} } pageInfo { hasNextPage } } }`

func (l *look) askEverywhere(ctx context.Context, kind, id string) (string, error) {
	if l.settings.TokenKind == "project" {
		return "", nil // it reaches no other project
	}
	homes, err := l.atlas.recall(ctx, "", false, l.askAtlas)
	if errors.Is(err, errNotThere) {
		return "", nil
	}
	return homes[kind+"/"+id], err
}

// askAtlas lists, for all projects, what has no query of its own: kind and id → project. A further page is no
// error here: what is not found is refused.
func (p *Provider) askAtlas(ctx context.Context) (map[string]string, error) {
	var answer struct {
		Projects list[everywhereAnswer] `json:"projects"`
	}
	if err := p.client.ask(ctx, everywhereDocument, nil, &answer); err != nil {
		return nil, err
	}
	homes := map[string]string{}
	for _, edge := range answer.Projects.Edges {
		for kind, listed := range map[string]list[namedAnswer]{"volume": edge.Node.Volumes, "bucket": edge.Node.Buckets, "group": edge.Node.Groups} {
			for _, t := range listed.Edges {
				homes[kind+"/"+t.Node.ID] = edge.Node.ID
			}
		}
		for _, s := range edge.Node.Services.Edges {
			for _, i := range s.Node.Instances.Edges {
				homes["service-instance/"+i.Node.ID] = edge.Node.ID
			}
		}
	}
	return homes, nil
}
