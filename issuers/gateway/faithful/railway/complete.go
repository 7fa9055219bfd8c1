package railway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

// complete turns a raw value into what the answer shows for a type. It is not ok if the value is null where
// the type forbids it: then the object around it becomes null.
func (x *execution) complete(t *ast.Type, fields []*ast.Field, raw any, path []any) (value any, ok bool) {
	if list, isList := raw.([]*record); isList && t.Elem == nil && strings.HasSuffix(t.Name(), "Connection") {
		raw = connection(list, must(x.arguments(fields[0])))
	}
	if _, nothing := raw.(unset); nothing {
		raw = x.nothing(t)
	}
	if raw == nil {
		if t.NonNull {
			x.report(fields[0], fmt.Errorf("Cannot return null for non-nullable field %s.%s.",
				fields[0].ObjectDefinition.Name, fields[0].Name), path)
		}
		return nil, !t.NonNull
	}
	if t.Elem != nil {
		value, ok = x.completeList(t.Elem, fields, raw, path)
	} else {
		value, ok = x.completeNamed(x.s.schema.Types[t.NamedType], fields, raw, path)
	}
	return value, ok || !t.NonNull
}

// nothing is what a type shows when nothing is known: null where it may be, and else the least that fits.
func (x *execution) nothing(t *ast.Type) any {
	if !t.NonNull {
		return nil
	}
	if t.Elem != nil {
		return []any{}
	}
	def := x.s.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.Enum:
		return def.EnumValues[0].Name
	case ast.Scalar:
		return emptyScalar(def.Name)
	default:
		return unset{}
	}
}

func emptyScalar(name string) any {
	switch name {
	case "String", "ID", "Upload":
		return ""
	case "Int", "Float", "BigInt":
		return 0
	case "Boolean":
		return false
	case "DateTime":
		return time.Unix(0, 0).UTC()
	default:
		return map[string]any{}
	}
}

func (x *execution) completeList(element *ast.Type, fields []*ast.Field, raw any, path []any) (value any, ok bool) {
	var list []any
	switch v := raw.(type) {
	case []any:
		list = v
	case []*record:
		for _, r := range v {
			list = append(list, r)
		}
	case []string:
		for _, s := range v {
			list = append(list, s)
		}
	default:
		list = []any{raw}
	}
	out := make([]any, 0, len(list))
	for i, v := range list {
		shown, ok := x.complete(element, fields, v, append(slices.Clone(path), i))
		if !ok {
			return nil, false
		}
		out = append(out, shown)
	}
	return out, true
}

func (x *execution) completeNamed(def *ast.Definition, fields []*ast.Field, raw any, path []any) (value any, ok bool) {
	if def.Kind == ast.Scalar || def.Kind == ast.Enum {
		return x.leaf(raw), true
	}
	concrete := x.concrete(def, raw)
	var set ast.SelectionSet
	for _, f := range fields {
		set = append(set, f.SelectionSet...)
	}
	out, ok := x.selection(concrete, raw, set, path)
	if !ok {
		return nil, false
	}
	return out, true
}

// concrete finds the object type of a value whose declared type may be an interface or a union.
func (x *execution) concrete(def *ast.Definition, raw any) *ast.Definition {
	if def.Kind == ast.Object {
		return def
	}
	possible := x.s.schema.PossibleTypes[def.Name]
	if r, ok := raw.(*record); ok {
		for _, t := range possible {
			if t.Name == r.kind {
				return t
			}
		}
	}
	return possible[0]
}

// leaf shows a scalar, and notes which secrets the answer carries.
func (x *execution) leaf(raw any) any {
	switch v := raw.(type) {
	case secret:
		x.reveal(string(v))
		return string(v)
	case time.Time:
		return v.Format("2006-01-02T15:04:05.000Z07:00")
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			out[name] = x.leaf(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = x.leaf(inner)
		}
		return out
	default:
		return raw
	}
}

// reveal notes the secrets inside a text that is served. One that the caller sent along is not told to it.
func (c *call) reveal(text string) {
	for known := range c.st.secrets {
		if strings.Contains(text, known) && !strings.Contains(c.sent, known) {
			c.st.served[known]++
		}
	}
}

// connection pages through records by their ids (first, after, last, before).
func connection(all []*record, a args) map[string]any {
	whole := len(all)
	if i := slices.IndexFunc(all, func(r *record) bool { return r.id == a.text("after") }); i >= 0 {
		all = all[i+1:]
	}
	if i := slices.IndexFunc(all, func(r *record) bool { return r.id == a.text("before") }); i >= 0 {
		all = all[:i]
	}
	if n, ok := a["first"].(int64); ok && n >= 0 && int(n) < len(all) {
		all = all[:n]
	}
	if n, ok := a["last"].(int64); ok && n >= 0 && int(n) < len(all) {
		all = all[len(all)-int(n):]
	}
	edges := []any{}
	info := map[string]any{"hasNextPage": len(all) < whole && a["last"] == nil, "hasPreviousPage": len(all) < whole && a["last"] != nil}
	for _, r := range all {
		edges = append(edges, map[string]any{"cursor": r.id, "node": r})
	}
	if len(all) > 0 {
		info["startCursor"], info["endCursor"] = all[0].id, all[len(all)-1].id
	}
	return map[string]any{"edges": edges, "pageInfo": info}
}
