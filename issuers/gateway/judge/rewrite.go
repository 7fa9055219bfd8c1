package judge

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
)

// rewriter makes the answer to a GraphQL operation what the lease may see of it.
type rewriter struct {
	pack   *Pack
	schema *ast.Schema
	root   *typed
}

// errorElsewhere is the message of the entry in errors for what was hidden although it must not be null.
const errorElsewhere = "hidden by Hourkey: lives in another environment"

// rewriting is one answer being rewritten.
type rewriting struct {
	*rewriter
	sight  Sight
	errors []any
	path   []any // to where it is, as in errors[].path
}

// rewrite gives {"data": …, "errors": …} with what is not the lease's taken out. Other keys are dropped.
func (r *rewriter) rewrite(answer any, sight Sight) ([]byte, error) {
	object, ok := answer.(map[string]any)
	if !ok {
		return nil, errors.New("the provider's answer is no GraphQL answer: expected an object")
	}
	w := rewriting{rewriter: r, sight: sight}
	if list, ok := object["errors"].([]any); ok {
		for _, entry := range list {
			w.errors = append(w.errors, passedError(entry))
		}
	}
	out := []byte{'{'}
	if data, given := object["data"]; given {
		out = append(out, `"data":`...)
		out = append(out, w.data(data)...)
	}
	if len(w.errors) > 0 {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = appendJSON(append(out, `"errors":`...), w.errors)
	}
	return append(out, '}'), nil
}

// passedError keeps of an error what says what went wrong. Its locations are dropped: they point into a
// document that the caller never saw.
func passedError(entry any) any {
	object, _ := entry.(map[string]any)
	passed := map[string]any{"message": "the provider gave an error without a message"}
	for _, key := range []string{"message", "path", "extensions"} {
		if value, given := object[key]; given {
			passed[key] = value
		}
	}
	return passed
}

func (w *rewriting) data(data any) []byte {
	object, ok := data.(map[string]any)
	if !ok {
		return []byte("null")
	}
	out, kept := w.fields(nil, w.root, object)
	if !kept {
		return []byte("null")
	}
	return out
}

// fields writes an object as far as it was selected, in the order of the selection. It is not kept when one
// of its fields was hidden and must not be null.
func (w *rewriting) fields(out []byte, t *typed, object map[string]any) ([]byte, bool) {
	start := len(out)
	out = append(out, '{')
	for _, f := range t.fields {
		value, given := object[f.key]
		if !given {
			continue
		}
		if len(out) > start+1 {
			out = append(out, ',')
		}
		out = append(appendString(out, f.key), ':')
		var kept bool
		w.path = append(w.path, f.key)
		out, kept = w.field(out, t, f, value)
		w.path = w.path[:len(w.path)-1]
		if !kept {
			return out[:start], false
		}
	}
	return append(out, '}'), true
}

// field writes the value of one field; false if the object that it belongs to has to go.
func (w *rewriting) field(out []byte, t *typed, f *field, value any) ([]byte, bool) {
	if f.below == nil {
		return appendJSON(out, w.leaf(t, f, value)), true
	}
	noted := len(w.errors)
	out, kept := w.value(out, f.definition.Type, f.below, value)
	switch {
	case kept:
		return out, true
	case isEdge(t.typ, f):
		return out, false
	case !f.definition.Type.NonNull:
		return append(out, "null"...), true
	case len(w.errors) == noted: // else it was noted further down
		w.errors = append(w.errors, map[string]any{"message": errorElsewhere, "path": slices.Clone(w.path)})
	}
	return out, false
}

// leaf gives what is seen of a scalar or an enum. An object where the schema has a string, a number or a truth
// is not what was asked for, and nothing is known of what is in it.
func (w *rewriting) leaf(t *typed, f *field, value any) any {
	opaque := f.definition != nil && isOpaque(w.schema.Types[f.definition.Type.Name()])
	if !opaque && len(objectsOf(value)) > 0 {
		return nil
	}
	// Admin on what the root field names shows that field's own value. What is reached on a walk from there is
	// another thing's.
	shown := w.sight.Secrets && len(w.path) == 1
	if special := w.pack.Fields[t.typ.Name+"."+f.name]; special != nil && special.Secret && !shown {
		return masked(value)
	}
	return value
}

// isEdge: the edge of a Relay connection goes with its node.
func isEdge(typ *ast.Definition, f *field) bool {
	return f.name == "node" && typ.Fields.ForName("cursor") != nil
}

// value writes what is under a field with a selection; false if it is hidden.
func (w *rewriting) value(out []byte, typ *ast.Type, s *selection, value any) ([]byte, bool) {
	switch v := value.(type) {
	case nil:
		return append(out, "null"...), true
	case []any:
		if typ.Elem != nil {
			return w.list(out, typ.Elem, s, v), true
		}
	case map[string]any:
		if typ.Elem == nil {
			return w.object(out, s, v)
		}
	}
	return out, false // not what the schema says: nothing is known of what is in it
}

// list writes the elements that are not hidden.
func (w *rewriting) list(out []byte, typ *ast.Type, s *selection, list []any) []byte {
	out = append(out, '[')
	first := true
	for at, element := range list {
		before := len(out)
		if !first {
			out = append(out, ',')
		}
		noted := len(w.errors)
		w.path = append(w.path, json.Number(strconv.Itoa(at)))
		written, kept := w.value(out, typ, s, element)
		w.path = w.path[:len(w.path)-1]
		if !kept {
			// That it is gone from the list says it all; its place is another's now.
			out, w.errors = out[:before], w.errors[:noted]
			continue
		}
		out, first = written, false
	}
	return append(out, ']')
}

func (w *rewriting) object(out []byte, s *selection, object map[string]any) ([]byte, bool) {
	t := s.find(object)
	if t == nil || !w.sees(t.typ, object) {
		return out, false
	}
	return w.fields(out, t, object)
}

// find gives the fields for the type that the object says it is of.
func (s *selection) find(object map[string]any) *typed {
	if !s.abstract {
		return s.of[0]
	}
	name, _ := object[hiddenType].(string)
	for _, t := range s.of {
		if t.typ.Name == name {
			return t
		}
	}
	return nil
}

// sees tells whether an object lives where the lease does. One that does not say where it lives does not.
func (w *rewriting) sees(typ *ast.Definition, object map[string]any) bool {
	bound := w.pack.boundOf(typ.Name)
	if bound == nil {
		return true
	}
	place, _ := object[hiddenPlace(typ)].(string)
	ours := w.sight.Environment
	if bound.Bound == ByProject {
		ours = w.sight.Project
	}
	return place != "" && place == ours
}
