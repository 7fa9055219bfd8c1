package policies

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/hourkey/hourkey/broker"
)

// The entity types of guardrails.cedarschema.
const (
	agentType       types.EntityType = "Agent"
	groupType       types.EntityType = "Group"
	actionType      types.EntityType = "Action"
	resourceType    types.EntityType = "Resource"
	targetType      types.EntityType = "Target"
	environmentType types.EntityType = "Environment"
)

// place is a target of an environment as Cedar sees it, made once at load.
type place struct {
	ref     broker.TargetRef
	target  types.Entity
	parents types.EntityUIDSet // of every resource there
}

func placesOf(environments map[string][]string, found *problems) map[broker.TargetRef]place {
	places := map[broker.TargetRef]place{}
	for name, targets := range environments {
		for _, target := range append([]string{name}, targets...) {
			if !broker.IsName(target) { // a slash would let two resources share an id
				found.add("environments/"+name, 1, "%q is not a name", clip(target))
			}
		}
		for _, target := range targets {
			ref := broker.TargetRef{Environment: name, Target: target}
			places[ref] = newPlace(ref)
		}
	}
	return places
}

func newPlace(ref broker.TargetRef) place {
	environment := types.NewEntityUID(environmentType, types.String(ref.Environment))
	target := types.NewEntityUID(targetType, types.String(ref.String()))
	return place{
		ref:     ref,
		target:  types.Entity{UID: target, Parents: types.NewEntityUIDSet(environment)},
		parents: types.NewEntityUIDSet(target, environment),
	}
}

// resource gives the entity of one resource of the place.
func (p place) resource(name string) types.Entity {
	return types.Entity{
		UID:     types.NewEntityUID(resourceType, types.String(p.ref.String()+"/"+name)),
		Parents: p.parents,
		Attributes: types.NewRecord(types.RecordMap{
			"name": types.String(name), "target": types.String(p.ref.Target), "environment": types.String(p.ref.Environment),
		}),
	}
}

func agentEntity(query broker.Query) types.Entity {
	groups := make([]types.EntityUID, len(query.OwnerGroups))
	for i, group := range query.OwnerGroups {
		groups[i] = types.NewEntityUID(groupType, types.String(group))
	}
	return types.Entity{UID: types.NewEntityUID(agentType, types.String(query.Agent)), Parents: types.NewEntityUIDSet(groups...)}
}

func actionUID(action broker.Actions) types.EntityUID {
	return types.NewEntityUID(actionType, types.String(action.String()))
}

// world holds the entities of one evaluation: a few, so a list is quicker than a map.
type world []types.Entity

var _ types.EntityGetter = world(nil)

// Get gives an entity by its id. Groups and environments have neither parents nor attributes and need
// not be here.
func (w world) Get(uid types.EntityUID) (types.Entity, bool) {
	at := slices.IndexFunc(w, func(e types.Entity) bool { return e.UID == uid })
	if at < 0 {
		return types.Entity{}, false
	}
	return w[at], true
}

// forbidding asks the guardrails about one action on one concrete resource. Both lists deny: cedar-go
// skips a forbid that errors, and a rule that cannot be evaluated has not let anything pass.
func (g guardrails) forbidding(agent, resource types.Entity, at place, action broker.Actions) (hit []types.PolicyID, failed []types.PolicyID) {
	_, diagnostic := cedar.Authorize(g, world{resource, agent, at.target}, cedar.Request{
		Principal: agent.UID, Action: actionUID(action), Resource: resource.UID,
	})
	for _, reason := range diagnostic.Reasons {
		hit = append(hit, reason.PolicyID)
	}
	for _, problem := range diagnostic.Errors {
		failed = append(failed, problem.PolicyID)
	}
	return hit, failed
}
