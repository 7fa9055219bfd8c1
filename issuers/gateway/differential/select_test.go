package differential

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// mostSelected is how many fields one root field may have below it.
const mostSelected = 40

// selector selects from the answer of a call.
type selector struct {
	*maker
	rows  *judge.Pack
	left  int // how many fields may still be selected
	reach *reach
}

// below selects from a value of a type; nothing from scalars.
func (s *selector) below(t *ast.Type, depth int) []*node {
	def := s.w.schema.Types[t.Name()]
	if def.Kind == ast.Scalar || def.Kind == ast.Enum {
		return nil
	}
	nodes := s.some(def, depth)
	if len(nodes) == 0 {
		nodes = []*node{{name: "__typename"}}
	}
	return nodes
}

// some selects some fields, of an interface or a union from the types that it can be.
func (s *selector) some(def *ast.Definition, depth int) []*node {
	if def.Kind != ast.Object {
		nodes := []*node{{name: "__typename"}}
		for _, possible := range s.w.schema.GetPossibleTypes(def) {
			if s.chance(0.5) && !s.closed(possible.Name) {
				for _, n := range s.some(possible, depth) {
					n.on = possible.Name
					n.alias = possible.Name + "_" + n.name // fields of one name may have several types
					nodes = append(nodes, n)
				}
			}
		}
		return nodes
	}
	var nodes []*node
	for _, f := range def.Fields {
		if n := s.field(def, f, depth); n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// field selects a field, or does not.
func (s *selector) field(def *ast.Definition, f *ast.FieldDefinition, depth int) *node {
	inner := s.w.schema.Types[f.Type.Name()]
	leaf := inner.Kind == ast.Scalar || inner.Kind == ast.Enum
	if s.left <= 0 || len(f.Name) > 1 && f.Name[:2] == "__" || !leaf && (depth == 0 || s.closed(inner.Name)) || s.dangles(def, f) {
		return nil
	}
	special := s.rows.Fields[def.Name+"."+f.Name]
	often := 0.3
	switch {
	case special != nil && special.Class == judge.Refused:
		often = 0.002
	case special != nil || f.Name == "id" || f.Name == "name" || f.Name == "edges" || f.Name == "node":
		often = 0.8
	case !leaf:
		often = []float64{0, 0.15, 0.2, 0.25, 0.3, 0.4}[min(depth, 5)]
	}
	if !s.chance(often) {
		return nil
	}
	return s.node(f, depth)
}

// node selects a field with arguments, and what is below.
func (s *selector) node(f *ast.FieldDefinition, depth int) *node {
	s.left--
	n := &node{name: f.Name, field: f, args: s.nested(f)}
	if (f.Name == "edges" || f.Name == "node") && depth > 0 {
		depth++ // a list costs no depth
	}
	n.below = s.below(f.Type, max(depth-1, 0))
	return n
}

// nested makes the arguments of a field that is no root.
func (s *selector) nested(f *ast.FieldDefinition) map[string]any {
	inner := maker{Rand: s.Rand, w: s.w, home: s.home, operation: f.Name, wrong: s.wrong / 4, often: 0.2}
	all := map[string]any{}
	for _, a := range f.Arguments {
		if a.Type.NonNull || s.chance(0.25) {
			all[a.Name] = inner.value(a.Name, a.Type)
		}
	}
	return all
}

// closed tells whether selecting from a type makes the whole call refused; once in a while that is tried.
func (s *selector) closed(typ string) bool {
	line := s.rows.Types[typ]
	return line != nil && line.Bound == judge.ByClass && !s.chance(map[judge.Class]float64{judge.Refused: 0.002, judge.Admin: 0.05}[line.Class])
}

// dangles: what may not be null but points to what may be missing makes its parent null.
func (s *selector) dangles(def *ast.Definition, f *ast.FieldDefinition) bool {
	id := def.Fields.ForName(f.Name + "Id")
	return f.Type.NonNull && id != nil && !id.Type.NonNull && !s.chance(0.02)
}

// reach knows the shortest ways from the root of the queries to every type.
type reach struct {
	parents map[string][]step // type → fields that lead to it
	far     map[string]int    // type → how many steps from the root
}

// step is a field that leads to a type.
type step struct {
	from  *ast.Definition
	field *ast.FieldDefinition
}

// newReach looks at all ways through what is not refused.
func newReach(schema *ast.Schema, rows *judge.Pack) *reach {
	r := &reach{parents: map[string][]step{}, far: map[string]int{schema.Query.Name: 0}}
	queue := []*ast.Definition{schema.Query}
	for len(queue) > 0 {
		def := queue[0]
		queue = queue[1:]
		for _, f := range def.Fields {
			line := rows.Types[f.Type.Name()]
			row := rows.Rows["query "+f.Name]
			if line == nil || line.Class == judge.Refused || def == schema.Query && (row == nil || row.Class == judge.Refused) {
				continue
			}
			r.parents[f.Type.Name()] = append(r.parents[f.Type.Name()], step{def, f})
			if _, known := r.far[f.Type.Name()]; !known {
				r.far[f.Type.Name()] = r.far[def.Name] + 1
				queue = append(queue, schema.Types[f.Type.Name()])
			}
		}
	}
	return r
}

// way gives fields from the root of the queries to a type: a short way, or one that wanders through other types;
// nil if there is none.
func (s *selector) way(typ string) []*ast.FieldDefinition {
	var fields []*ast.FieldDefinition
	wander := pick(s.Rand, []int{0, 2, 4, 6})
	for typ != s.w.schema.Query.Name {
		steps := slices.DeleteFunc(slices.Clone(s.reach.parents[typ]), func(p step) bool {
			root := p.from == s.w.schema.Query
			return len(fields) >= wander && s.reach.far[p.from.Name] >= s.reach.far[typ] || len(fields) < wander && root
		})
		if len(steps) == 0 { // nothing leads here but the root
			steps = s.reach.parents[typ]
		}
		if len(steps) == 0 || len(fields) > 14 {
			return nil
		}
		next := pick(s.Rand, steps)
		fields = append(fields, next.field)
		typ = next.from.Name
	}
	slices.Reverse(fields)
	return fields
}

// walk selects a field of a type from the root of the queries, with some fields beside the way. Given names an
// argument of the last field that must be given.
func (s *selector) walk(typ, field, given string) *node {
	way := s.way(typ)
	if way == nil {
		return nil
	}
	last := s.w.schema.Types[typ].Fields.ForName(field)
	end := s.node(last, 2)
	if given != "" {
		inner := maker{Rand: s.Rand, w: s.w, home: s.home, operation: field, want: []string{given}}
		end.args[given] = inner.value(given, last.Arguments.ForName(given).Type)
	}
	for at := len(way) - 1; at >= 0; at-- {
		f := way[at]
		n := &node{name: f.Name, field: f}
		if at == 0 {
			inner := *s.maker
			inner.operation, inner.want = f.Name, nil
			n.args = inner.arguments(f)
		} else {
			n.args = s.nested(f)
		}
		n.below = []*node{end}
		def := s.w.schema.Types[f.Type.Name()]
		for _, beside := range []string{"id", "name"} {
			if b := def.Fields.ForName(beside); b != nil && end.name != beside && s.chance(0.5) {
				n.below = append(n.below, &node{name: beside, field: b})
			}
		}
		end = n
	}
	return end
}
