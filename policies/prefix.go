package policies

import (
	"encoding/json"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// outcomes is the set of results that an expression can have over all names with one stem.
type outcomes uint8

const (
	isTrue outcomes = 1 << iota
	isFalse
	isError
)

const (
	either   = isTrue | isFalse
	anything = isTrue | isFalse | isError
)

// prefix evaluates guardrails for every name that begins with a stem at once. The world is that of one
// request; its resource stands for all of them. The answer may hold outcomes that cannot happen, never
// lack one that can: what is not understood is anything.
type prefix struct {
	stem string
	id   string // of the resource whose name is the stem
	env  eval.Env
}

// of gives the outcomes of a Boolean expression. Cedar's && and || look at the right side only when the
// left one has not decided.
func (p prefix) of(node ast.IsNode) outcomes {
	if !readsName(node) {
		return p.concrete(node)
	}
	switch node := node.(type) {
	case ast.NodeTypeAnd:
		left := p.of(node.Left)
		return left&^isTrue | when(left&isTrue != 0, p.of(node.Right))
	case ast.NodeTypeOr:
		left := p.of(node.Left)
		return left&^isFalse | when(left&isFalse != 0, p.of(node.Right))
	case ast.NodeTypeNot:
		return p.of(node.Arg).negated()
	case ast.NodeTypeIfThenElse:
		test := p.of(node.If)
		return test&isError | when(test&isTrue != 0, p.of(node.Then)) | when(test&isFalse != 0, p.of(node.Else))
	case ast.NodeTypeEquals:
		return p.equals(node.Left, node.Right)
	case ast.NodeTypeNotEquals:
		return p.equals(node.Left, node.Right).negated()
	case ast.NodeTypeIn:
		return p.in(node)
	case ast.NodeTypeLike:
		return p.like(node)
	default:
		return anything
	}
}

// concrete evaluates what does not depend on the name.
func (p prefix) concrete(node ast.IsNode) outcomes {
	value, err := eval.Eval(node, p.env)
	if err != nil {
		return isError
	}
	switch value {
	case types.True:
		return isTrue
	case types.False:
		return isFalse
	default:
		return isError
	}
}

// equals handles resource.name == "…" and resource == Resource::"…", either way round.
func (p prefix) equals(a, b ast.IsNode) outcomes {
	for _, pair := range [][2]ast.IsNode{{a, b}, {b, a}} {
		literal, is := pair[1].(ast.NodeValue)
		if !is {
			continue
		}
		if text, is := literal.Value.(types.String); is && isName(pair[0]) {
			return beginsWith(string(text), p.stem)
		}
		if uid, is := literal.Value.(types.EntityUID); is && isResource(pair[0]) {
			return beginsWith(string(uid.ID), p.id)
		}
	}
	return anything
}

// in handles resource in Resource::"…": a resource has no resources below it, so this is equality.
func (p prefix) in(node ast.NodeTypeIn) outcomes {
	if literal, is := node.Right.(ast.NodeValue); is && isResource(node.Left) {
		if uid, is := literal.Value.(types.EntityUID); is {
			return beginsWith(string(uid.ID), p.id)
		}
	}
	return anything
}

// like handles resource.name like "…". Only the text before the first star is compared.
func (p prefix) like(node ast.NodeTypeLike) outcomes {
	if !isName(node.Arg) {
		return anything
	}
	head, tail, ok := headOf(node.Value)
	switch {
	case !ok:
		return either
	case tail == noStar:
		return beginsWith(head, p.stem)
	case tail == starLast && strings.HasPrefix(p.stem, head):
		return isTrue // every name with this stem
	case strings.HasPrefix(p.stem, head) || strings.HasPrefix(head, p.stem):
		return either
	default:
		return isFalse
	}
}

// beginsWith is the outcome of comparing an unknown name that begins with stem to a literal.
func beginsWith(literal, stem string) outcomes {
	if strings.HasPrefix(literal, stem) {
		return either
	}
	return isFalse
}

func (o outcomes) negated() outcomes {
	return o&isError | when(o&isTrue != 0, isFalse) | when(o&isFalse != 0, isTrue)
}

func when(condition bool, o outcomes) outcomes {
	if condition {
		return o
	}
	return 0
}

// readsName tells whether the value of an expression may depend on which resource of its target is
// meant. Known not to: resource.environment, resource.target, resource is Resource, and resource in an
// environment or target.
func readsName(root ast.IsNode) bool {
	reads := false
	ast.Inspect(ast.NewNode(root), func(node ast.IsNode) bool {
		switch node := node.(type) {
		case ast.NodeTypeAccess:
			if isResource(node.Arg) {
				reads = reads || node.Value != "environment" && node.Value != "target"
				return false
			}
		case ast.NodeTypeIs:
			return !isResource(node.Left)
		case ast.NodeTypeIsIn:
			return !isResource(node.Left) || !isPlace(node.Entity)
		case ast.NodeTypeIn:
			return !isResource(node.Left) || !isPlace(node.Right)
		case ast.NodeTypeVariable:
			reads = reads || node.Name == "resource"
		case ast.NodeValue:
			for uid := range entitiesIn(node.Value) {
				reads = reads || uid.Type == resourceType
			}
		}
		return true
	})
	return reads
}

// isPlace tells whether the node is environments or targets, literally.
func isPlace(node ast.IsNode) bool {
	switch node := node.(type) {
	case ast.NodeValue:
		is := false
		for uid := range entitiesIn(node.Value) {
			if is = uid.Type == environmentType || uid.Type == targetType; !is {
				return false
			}
		}
		return is
	case ast.NodeTypeSet:
		for _, element := range node.Elements {
			if !isPlace(element) {
				return false
			}
		}
		return len(node.Elements) > 0
	default:
		return false
	}
}

func isName(node ast.IsNode) bool {
	access, is := node.(ast.NodeTypeAccess)
	return is && isResource(access.Arg) && access.Value == "name"
}

// tail says what follows the text before a pattern's first star.
type tail int

const (
	noStar   tail = iota // the pattern is that text
	starLast             // the star, and nothing more
	starMore             // the star, and more
)

// headOf gives the text before the first star. A pattern shows its parts only in Cedar's JSON form: a
// list of "Wildcard" and {"Literal": text}.
func headOf(pattern types.Pattern) (head string, after tail, ok bool) {
	raw, err := pattern.MarshalJSON()
	var parts []json.RawMessage
	if err != nil || json.Unmarshal(raw, &parts) != nil {
		return "", starMore, false
	}
	for i, part := range parts {
		var literal struct{ Literal *string }
		if string(part) == `"Wildcard"` {
			if i == len(parts)-1 {
				return head, starLast, true
			}
			return head, starMore, true
		}
		if json.Unmarshal(part, &literal) != nil || literal.Literal == nil {
			return "", starMore, false
		}
		head += *literal.Literal
	}
	return head, noStar, true
}
