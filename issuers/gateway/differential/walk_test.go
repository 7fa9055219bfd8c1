package differential

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// destination is a field somewhere in an answer that queries are to reach a number of times: one with arguments,
// or one that a line of the pack speaks of.
type destination struct {
	typ, field, argument string
	hits, tries          int
	rand                 *rand.Rand
}

func (d *destination) name() string {
	name := d.typ + "." + d.field
	if d.argument != "" {
		name += "(" + d.argument + ":)"
	}
	return name
}

// newDestinations lists the arguments of all fields that are no roots, the types that are kept to an environment,
// to a project or to a class, and the fields that have a line of their own.
func newDestinations(s *shared) []*destination {
	var all []*destination
	add := func(typ, field, argument string) {
		if _, can := s.reach.far[typ]; can {
			d := &destination{typ: typ, field: field, argument: argument}
			d.rand = seeded(d.name())
			all = append(all, d)
		}
	}
	for _, name := range sorted(s.schema.Types) {
		def := s.schema.Types[name]
		if def.Kind != ast.Object || def == s.schema.Query || strings.HasPrefix(name, "__") {
			continue
		}
		if line := s.pack.Rows().Types[name]; line != nil && line.Bound != judge.Open {
			add(name, firstLeaf(s.schema, def), "")
		}
		for _, f := range def.Fields {
			if s.pack.Rows().Fields[name+"."+f.Name] != nil {
				add(name, f.Name, "")
			}
			for _, a := range f.Arguments {
				add(name, f.Name, a.Name)
			}
		}
	}
	return all
}

// firstLeaf is a field that needs no selection.
func firstLeaf(schema *ast.Schema, def *ast.Definition) string {
	if def.Fields.ForName("id") != nil {
		return "id"
	}
	for _, f := range def.Fields {
		if inner := schema.Types[f.Type.Name()]; inner.Kind == ast.Scalar || inner.Kind == ast.Enum {
			return f.Name
		}
	}
	return def.Fields[0].Name
}

// walk writes a query that reaches a destination; not ok if there is no way.
func (a *author) walk(d *destination) (testCall, bool) {
	m := a.maker(d.rand, "")
	m.wrong = min(m.wrong, 0.05)
	s := selector{maker: m, rows: a.pack.Rows(), left: mostSelected, reach: a.reach}
	root := s.walk(d.typ, d.field, d.argument)
	if root == nil {
		return testCall{}, false
	}
	w := writer{Rand: m.Rand, schema: a.schema, plain: m.chance(0.3)}
	return testCall{token: a.token(m), body: w.request("query", []*node{root}), fresh: m.chance(0.04)}, true
}

// travel makes calls until a destination was reached often enough.
func (a *author) travel(t testing.TB, d *destination, target int, each func(*outcome)) {
	for ; d.hits < target && d.tries < 4*target+20; d.tries++ {
		call, can := a.walk(d)
		if !can {
			continue
		}
		o := a.w.run(t, call, a.judging())
		if len(o.verdict.Operations) > 0 {
			d.hits++
		}
		each(o)
	}
}
