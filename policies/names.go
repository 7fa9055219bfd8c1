package policies

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/hourkey/hourkey/broker"
)

// names is what a guardrail may name. One that names something else would forbid nothing, and nobody
// would notice: a typo in "production" must not open production.
type names struct {
	environments []string
	targets      []string // names, of all environments
	places       map[broker.TargetRef]place
	groups       []string
	isAgent      func(agent string) bool // some task lists it
}

func (s *Set) namesOf(source Source) names {
	n := names{
		environments: slices.Sorted(maps.Keys(source.Environments)),
		places:       s.places,
		groups:       slices.Sorted(maps.Keys(source.Groups)),
		isAgent: func(agent string) bool {
			return slices.ContainsFunc(slices.Collect(maps.Values(s.tasks)), func(t *task) bool { return t.lists(agent) })
		},
	}
	for ref := range s.places {
		n.targets = append(n.targets, ref.Target)
	}
	slices.Sort(n.targets)
	n.targets = slices.Compact(n.targets)
	return n
}

// check walks a guardrail, reports what the schema alone would let through, and gives the groups that
// it names.
func (n names) check(root ast.IsNode, wrong func(string, ...any)) (groups []string) {
	ast.Inspect(ast.NewNode(root), func(node ast.IsNode) bool {
		switch node := node.(type) {
		case ast.NodeTypeVariable:
			if node.Name == "context" {
				wrong("there is no context: a guardrail sees principal, action and resource")
			}
		case ast.NodeTypeHas, ast.NodeTypeHasTag, ast.NodeTypeGetTag:
			// `resource has nmae && …` is false for good, and so is the guardrail.
			wrong("has and tags are not allowed: every attribute is always there, and there are no tags")
		case ast.NodeValue:
			for uid := range entitiesIn(node.Value) {
				n.entity(uid, wrong)
				if uid.Type == groupType && !slices.Contains(groups, string(uid.ID)) {
					groups = append(groups, string(uid.ID))
				}
			}
		case ast.NodeTypeEquals:
			n.compared(node.Left, node.Right, wrong)
		case ast.NodeTypeNotEquals:
			n.compared(node.Left, node.Right, wrong)
		case ast.NodeTypeContains:
			n.compared(node.Right, node.Left, wrong)
		case ast.NodeTypeLike:
			n.liked(node, wrong)
		}
		return true
	})
	return groups
}

// entity checks a literal like Environment::"production".
func (n names) entity(uid types.EntityUID, wrong func(string, ...any)) {
	id := string(uid.ID)
	switch uid.Type {
	case groupType:
		if !slices.Contains(n.groups, id) {
			wrong("there is no group %q%s", clip(id), meant(id, n.groups))
		}
	case environmentType:
		if !slices.Contains(n.environments, id) {
			wrong("there is no environment %q%s", clip(id), meant(id, n.environments))
		}
	case targetType, resourceType:
		n.place(uid, wrong)
	case agentType:
		if !n.isAgent(id) {
			wrong("no task lists an agent %q", clip(id))
		}
	case actionType:
		if one, err := broker.ParseActions(id); err != nil || len(one.Names()) != 1 {
			wrong("there is no action %q%s", clip(id), meant(id, actionNames()))
		}
	default:
		wrong("there is no entity type %s%s", clip(string(uid.Type)), meant(string(uid.Type), []string{"Agent", "Group", "Action", "Resource", "Target", "Environment"}))
	}
}

// place checks the id of a target or a resource.
func (n names) place(uid types.EntityUID, wrong func(string, ...any)) {
	parts := strings.SplitN(string(uid.ID), "/", 3)
	expected, form := 2, "environment/target"
	if uid.Type == resourceType {
		expected, form = 3, "environment/target/name"
	}
	if len(parts) < expected || uid.Type == targetType && len(parts) > 2 || parts[len(parts)-1] == "" {
		wrong("%s::%q: expected %s", uid.Type, clip(string(uid.ID)), form)
		return
	}
	ref := broker.TargetRef{Environment: parts[0], Target: parts[1]}
	if _, known := n.places[ref]; !known {
		wrong("%s::%q: there is no target %q in an environment %q", uid.Type, clip(string(uid.ID)), clip(ref.Target), clip(ref.Environment))
	}
}

// compared checks the texts that resource.environment or resource.target is compared with.
func (n names) compared(a, b ast.IsNode, wrong func(string, ...any)) {
	what, known := n.attribute(a)
	if what == "" {
		a, b = b, a
		if what, known = n.attribute(a); what == "" {
			return
		}
	}
	for text := range textsIn(b) {
		if !slices.Contains(known, text) {
			wrong("there is no %s %q%s", what, clip(text), meant(text, known))
		}
	}
}

// liked checks that a pattern over environments or targets meets one.
func (n names) liked(like ast.NodeTypeLike, wrong func(string, ...any)) {
	what, known := n.attribute(like.Arg)
	if what == "" || slices.ContainsFunc(known, func(name string) bool { return like.Value.Match(types.String(name)) }) {
		return
	}
	wrong("no %s is like %s", what, clip(string(like.Value.MarshalCedar())))
}

// attribute tells whether the node is resource.environment or resource.target, and the names it can have.
func (n names) attribute(node ast.IsNode) (what string, known []string) {
	access, ok := node.(ast.NodeTypeAccess)
	if !ok || !isResource(access.Arg) {
		return "", nil
	}
	switch access.Value {
	case "environment":
		return "environment", n.environments
	case "target":
		return "target", n.targets
	default:
		return "", nil
	}
}

// entitiesIn gives the entities of a literal, those in a set of literals too.
func entitiesIn(value types.Value) func(func(types.EntityUID) bool) {
	return func(yield func(types.EntityUID) bool) {
		switch value := value.(type) {
		case types.EntityUID:
			yield(value)
		case types.Set:
			for one := range value.All() {
				if uid, is := one.(types.EntityUID); is && !yield(uid) {
					return
				}
			}
		}
	}
}

// textsIn gives the text literals of a node: itself, or the elements of a set.
func textsIn(node ast.IsNode) func(func(string) bool) {
	return func(yield func(string) bool) {
		switch node := node.(type) {
		case ast.NodeValue:
			if text, is := node.Value.(types.String); is {
				yield(string(text))
			}
		case ast.NodeTypeSet:
			for _, element := range node.Elements {
				for text := range textsIn(element) {
					if !yield(text) {
						return
					}
				}
			}
		}
	}
}

func isResource(node ast.IsNode) bool {
	variable, is := node.(ast.NodeTypeVariable)
	return is && variable.Name == "resource"
}

func actionNames() []string {
	return (broker.Read | broker.Write | broker.Delete | broker.Admin).Names()
}
