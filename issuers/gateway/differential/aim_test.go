package differential

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// aim changes arguments so that a condition of a row is met.
func (m *maker) aim(f *ast.FieldDefinition, all map[string]any, c judge.Condition) {
	a := f.Arguments.ForName(c.Path[0])
	if a == nil {
		return
	}
	m.aimAt(all, c.Path, nil, a.Type, func(t *ast.Type, path []string, standing any) (any, bool) {
		return m.meeting(c, t, strings.Join(path, "."), standing)
	})
}

// setter tells what is to stand at the end of a path; not given: nothing.
type setter func(t *ast.Type, path []string, standing any) (value any, given bool)

// aimAt walks down to where a path ends, and makes what is not there on the way. t is nil inside of scalars
// that the schema says nothing of.
func (m *maker) aimAt(object map[string]any, path judge.Path, walked []string, t *ast.Type, set setter) {
	key := path[0]
	if key == "**" { // the rest of the path, at some depth that is known to mean something
		m.anywhere(object, path[1:], walked, set)
		return
	}
	if key == "*" {
		key = m.keyOf(object, walked)
	}
	walked = append(walked, key)
	if len(path) == 1 || path[1] == "keys()" {
		m.assign(object, key, t, walked, set)
		return
	}
	next := m.below(object, key, t)
	var inner *ast.Type
	if def := m.input(t); def != nil && def.Fields.ForName(path[1]) != nil {
		inner = def.Fields.ForName(path[1]).Type
	}
	m.aimAt(next, path[1:], walked, inner, set)
}

func (m *maker) assign(object map[string]any, key string, t *ast.Type, walked []string, set setter) {
	value, given := set(t, walked, object[key])
	if !given {
		delete(object, key)
		return
	}
	object[key] = value
}

// keyOf takes a key that is there, or finds one.
func (m *maker) keyOf(object map[string]any, walked []string) string {
	if len(object) > 0 && m.chance(0.5) {
		return sorted(object)[0]
	}
	return m.key(walked)
}

// below gives the object under a key, and puts one there if there is none.
func (m *maker) below(object map[string]any, key string, t *ast.Type) map[string]any {
	switch v := object[key].(type) {
	case map[string]any:
		return v
	case []any:
		if len(v) > 0 {
			if inner, is := v[0].(map[string]any); is {
				return inner
			}
		}
	}
	made := map[string]any{}
	if def := m.input(t); def != nil {
		full, is := m.value("", ast.NonNullNamedType(def.Name, nil)).(map[string]any)
		if is {
			made = full
		}
	}
	object[key] = made
	if t != nil && t.Elem != nil {
		object[key] = []any{made}
	}
	return made
}

func (m *maker) input(t *ast.Type) *ast.Definition {
	if t == nil {
		return nil
	}
	if def := m.w.schema.Types[t.Name()]; def.Kind == ast.InputObject {
		return def
	}
	return nil
}

// anywhere meets **: what follows stands in some part of a configuration.
func (m *maker) anywhere(object map[string]any, rest judge.Path, walked []string, set setter) {
	known := strings.Split(pick(m.Rand, patchPaths()), ".")
	path := append(judge.Path{}, known...)
	if len(rest) > 0 && rest[0] != "*" {
		path = append(path[:len(path)-1], rest...)
	}
	m.aimAt(object, path, walked, nil, set)
}

// meeting makes a value that a condition is met by.
func (m *maker) meeting(c judge.Condition, t *ast.Type, path string, standing any) (value any, given bool) {
	switch c.Test {
	case judge.Absent:
		return nil, false
	case judge.Null:
		return nil, true
	case judge.Given:
		return m.something(t, path, standing), true
	case judge.Empty:
		return m.nothing(t), true
	case judge.Equal:
		return m.equal(c.Value), true
	case judge.Unlike:
		return m.unlike(c.Value, t), true
	case judge.Below:
		return m.beyond(c.Value, t, -1), true
	case judge.Above:
		return m.beyond(c.Value, t, +1), true
	}
	return standing, standing != nil
}

func (m *maker) something(t *ast.Type, path string, standing any) any {
	switch {
	case standing != nil:
		return standing
	case t != nil && !t.NonNull && m.chance(0.1):
		return nil
	case t != nil:
		m.want = append(m.want, path)
		return m.value(path, t)
	}
	return m.setting(strings.Split(path, "."))
}

func (m *maker) nothing(t *ast.Type) any {
	switch {
	case t == nil || !t.NonNull && m.chance(0.4):
		return nil
	case t.Elem != nil:
		return []any{}
	}
	return ""
}

func (m *maker) equal(text string) any {
	var value any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return text
	}
	return value
}

func (m *maker) unlike(text string, t *ast.Type) any {
	switch value := m.equal(text).(type) {
	case bool:
		return !value
	case []any:
		if t != nil && t.Elem != nil && m.w.schema.Types[t.Name()].Kind == ast.Scalar {
			return []any{m.id("Service")}
		}
	}
	if t != nil {
		if def := m.w.schema.Types[t.Name()]; def.Kind == ast.Enum {
			for _, v := range def.EnumValues {
				if `"`+v.Name+`"` != text {
					return v.Name
				}
			}
		}
	}
	return "something else"
}

func (m *maker) beyond(limit string, t *ast.Type, step int) any {
	if step > 0 {
		return json.Number("1e9")
	}
	if t != nil && t.Name() == "Int" || strings.HasPrefix(limit, "1") && len(limit) == 1 {
		return pick(m.Rand, []json.Number{"0", "0", "-1"})
	}
	return pick(m.Rand, []json.Number{"0", "0.01", "-1"})
}

// sorted gives the keys of an object in their order.
func sorted[T any](object map[string]T) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
