package differential

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// node is one field that is selected, with what is selected below it.
type node struct {
	alias string
	name  string
	field *ast.FieldDefinition // nil for __typename
	args  map[string]any
	below []*node
	on    string // the type that the node is selected on: a fragment is written for it where it is another
}

// writer writes what is asked as a request, in one of the many ways in which it can be written.
type writer struct {
	*rand.Rand
	schema    *ast.Schema
	plain     bool // in the plainest way
	constant  bool // without variables
	declared  []string
	variables map[string]any
	fragments []string
}

func (w *writer) chance(p float64) bool { return !w.plain && w.Float64() < p }

// request writes the body of a call of some root fields of one kind.
func (w *writer) request(kind string, roots []*node) []byte {
	w.variables = map[string]any{}
	def := map[string]*ast.Definition{"mutation": w.schema.Mutation, "query": w.schema.Query, "subscription": w.schema.Subscription}[kind]
	set := w.set(def.Name, roots)
	name, head := "", kind
	if len(w.declared) > 0 || w.chance(0.4) {
		name = "Do"
	}
	if len(w.declared) > 0 {
		head += " " + name + "(" + strings.Join(w.declared, ", ") + ")"
	} else if name != "" {
		head += " " + name
	}
	if kind == "query" && head == "query" && w.chance(0.5) {
		head = ""
	}
	document := head + set + strings.Join(w.fragments, "")
	request := map[string]any{"query": document}
	if name != "" && w.chance(0.2) {
		request["query"] = document + " query Other { publicStats { totalUsers } }"
		request["operationName"] = name
	}
	if len(w.variables) > 0 || w.chance(0.3) {
		request["variables"] = w.variables
	}
	text, err := json.Marshal(request)
	if err != nil {
		panic(fmt.Sprintf("writing a request: %v", err)) // values here are all JSON
	}
	return text
}

// set writes a selection set on a type: parts of it go into fragments.
func (w *writer) set(typ string, nodes []*node) string {
	if len(nodes) == 0 {
		return ""
	}
	var parts []string
	for _, n := range nodes {
		text := w.field(n)
		switch {
		case n.on != "" && n.on != typ:
			text = "... on " + n.on + " { " + text + " }"
		case w.chance(0.04):
			text = "... on " + typ + w.directive() + " { " + text + " }"
		case w.chance(0.03):
			text = "... " + w.directive() + " { " + text + " }"
		case w.chance(0.04):
			name := fmt.Sprintf("F%d", len(w.fragments))
			w.fragments = append(w.fragments, fmt.Sprintf(" fragment %s on %s { %s }", name, typ, text))
			text = "..." + name + w.directive()
		}
		parts = append(parts, text)
	}
	return " { " + strings.Join(parts, pick(w.Rand, []string{" ", "\n", ", "})) + " }"
}

// directive writes one that changes nothing, if any.
func (w *writer) directive() string {
	if !w.chance(0.15) {
		return ""
	}
	name, value := "include", true
	if w.chance(0.5) {
		name, value = "skip", false
	}
	condition := fmt.Sprint(value)
	if w.chance(0.6) {
		condition = w.hoist(ast.NonNullNamedType("Boolean", nil), value)
	}
	return " @" + name + "(if: " + condition + ")"
}

func (w *writer) field(n *node) string {
	text := n.name
	if n.alias != "" {
		text = n.alias + ": " + n.name
	}
	text += w.arguments(n)
	if n.field != nil {
		text += w.directive()
		text += w.set(n.field.Type.Name(), n.below)
	}
	return text
}

func (w *writer) arguments(n *node) string {
	if n.field == nil {
		return ""
	}
	var parts []string
	for _, a := range n.field.Arguments {
		value, given := n.args[a.Name]
		switch {
		case given:
			parts = append(parts, a.Name+": "+w.value(a.Type, value, 0.5))
		case !a.Type.NonNull && a.DefaultValue == nil && w.chance(0.05): // a variable that nothing is sent for is nothing given
			parts = append(parts, a.Name+": "+w.declare(a.Type.String()))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func (w *writer) declare(typ string) string {
	name := fmt.Sprintf("$v%d", len(w.declared)+1)
	w.declared = append(w.declared, name+": "+typ)
	return name
}

// hoist sends a value as a variable, or as the default of one that is not sent.
func (w *writer) hoist(t *ast.Type, value any) string {
	if w.chance(0.15) {
		inner := writer{Rand: w.Rand, schema: w.schema, plain: true, constant: true}
		if literal, can := inner.literal(t, value); can {
			return w.declare(t.String() + " = " + literal)
		}
	}
	name := w.declare(t.String())
	w.variables[name[1:]] = value
	return name
}

// value writes a value in a document, or as a variable.
func (w *writer) value(t *ast.Type, value any, hoists float64) string {
	if !w.chance(hoists) {
		if literal, can := w.literal(t, value); can {
			return literal
		}
	}
	return w.hoist(t, value)
}

var nameOnly = regexp.MustCompile(`^[_A-Za-z][_0-9A-Za-z]*$`)

// literal writes a value as it stands in a document; what has keys that are no names cannot be.
func (w *writer) literal(t *ast.Type, value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "null", true
	case bool, json.Number:
		return fmt.Sprint(v), true
	case string:
		return w.word(t, v), true
	case []any:
		return w.listLiteral(t, v)
	case map[string]any:
		return w.objectLiteral(t, v)
	}
	return "", false
}

func (w *writer) word(t *ast.Type, text string) string {
	if def := w.schema.Types[t.Name()]; def != nil && def.Kind == ast.Enum {
		return text
	}
	if nameOnly.MatchString(text) && w.chance(0.05) {
		return `"""` + text + `"""`
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(quoted)
}

func (w *writer) listLiteral(t *ast.Type, list []any) (string, bool) {
	element := t
	if t.Elem != nil {
		element = t.Elem
	}
	if len(list) == 1 && t.Elem != nil && list[0] != nil && w.chance(0.1) { // one is a list of one
		return w.literal(element, list[0])
	}
	var parts []string
	for _, v := range list {
		text, can := w.literal(element, v)
		if !can {
			return "", false
		}
		parts = append(parts, text)
	}
	return "[" + strings.Join(parts, ", ") + "]", true
}

func (w *writer) objectLiteral(t *ast.Type, object map[string]any) (string, bool) {
	def := w.schema.Types[t.Name()]
	var parts []string
	for _, key := range sorted(object) {
		if !nameOnly.MatchString(key) {
			return "", false
		}
		field := def.Fields.ForName(key)
		if field != nil && !w.constant {
			parts = append(parts, key+": "+w.value(field.Type, object[key], 0.2))
			continue
		}
		inner := t // inside of a scalar that the schema says nothing of
		if field != nil {
			inner = field.Type
		}
		text, can := w.literal(inner, object[key])
		if !can {
			return "", false
		}
		parts = append(parts, key+": "+text)
	}
	return "{" + strings.Join(parts, ", ") + "}", true
}
