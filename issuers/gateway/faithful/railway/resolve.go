package railway

import (
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// computed is a field whose value is not simply kept.
type computed func(*call, *record, args) (any, error)

// resolve finds the raw value of a field.
func (x *execution) resolve(def *ast.Definition, parent any, f *ast.Field) (any, error) {
	switch f.Name {
	case "__typename":
		return def.Name, nil
	case "__schema":
		return x.introspection(), nil
	case "__type":
		name, _ := x.literal(f.Arguments.ForName("name").Value)
		if t := x.s.schema.Types[name.(string)]; t != nil {
			return typeInfo(t), nil
		}
		return nil, nil
	}
	a, err := x.arguments(f)
	if err != nil {
		return nil, err
	}
	switch p := parent.(type) {
	case top:
		if def == x.s.schema.Mutation {
			return x.mutate(f.Definition, a)
		}
		return x.query(f.Definition, a)
	case *record:
		return x.fieldOf(def, p, f.Definition, a)
	case map[string]any:
		if v, known := p[f.Name]; known {
			return v, nil
		}
	}
	return unset{}, nil
}

// fieldOf finds a field of a record: computed, kept, the record that a field named so with Id points to, or
// the records that belong to this one.
func (x *execution) fieldOf(def *ast.Definition, r *record, f *ast.FieldDefinition, a args) (any, error) {
	if compute := x.s.computed[def.Name+"."+f.Name]; compute != nil {
		return compute(x.call, r, a)
	}
	if f.Name == "id" {
		return r.id, nil
	}
	if v, kept := r.fields[f.Name]; kept {
		return v, nil
	}
	target := x.s.schema.Types[f.Type.Name()]
	if target.Kind != ast.Object && target.Kind != ast.Interface {
		return unset{}, nil
	}
	if f.Type.Elem == nil && def.Fields.ForName(f.Name+"Id") != nil || r.text(f.Name+"Id") != "" {
		if linked := x.st.records[r.text(f.Name+"Id")]; linked != nil {
			return linked, nil
		}
		return nil, nil
	}
	if kind := x.listed(f.Type); kind != "" {
		return x.visible(x.st.where(kind, lowerFirst(r.kind)+"Id", r.id)), nil
	}
	return unset{}, nil
}

// listed is the kind of the records in a list or a connection, empty if the type is neither.
func (x *execution) listed(t *ast.Type) string {
	if t.Elem != nil {
		return t.Name()
	}
	def := x.s.schema.Types[t.Name()]
	edges := def.Fields.ForName("edges")
	if edges == nil || !strings.HasSuffix(def.Name, "Connection") {
		return ""
	}
	return x.s.schema.Types[edges.Type.Name()].Fields.ForName("node").Type.Name()
}

// visible leaves out what the caller may not read.
func (c *call) visible(all []*record) []*record {
	shown := []*record{}
	for _, r := range all {
		if c.mayRead(r) {
			shown = append(shown, r)
		}
	}
	return shown
}

// introspection tells the roots and the names of the types, which is what clients that look ask for first.
func (x *execution) introspection() any {
	types := []any{}
	for _, t := range x.s.schema.Types {
		types = append(types, typeInfo(t))
	}
	return map[string]any{
		"queryType": typeInfo(x.s.schema.Query), "mutationType": typeInfo(x.s.schema.Mutation),
		"subscriptionType": typeInfo(x.s.schema.Subscription), "types": types, "directives": []any{},
	}
}

func typeInfo(t *ast.Definition) any {
	fields := []any{}
	for _, f := range t.Fields {
		fields = append(fields, map[string]any{"name": f.Name, "args": []any{}, "isDeprecated": false})
	}
	return map[string]any{"kind": string(t.Kind), "name": t.Name, "fields": fields}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
