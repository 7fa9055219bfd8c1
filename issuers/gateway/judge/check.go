package judge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// checkGraphQL holds a pack to the schema. A row whose path leads nowhere would never match, and nobody
// would notice: so everything that a pack names must be there.
func checkGraphQL(pack *Pack, schema *ast.Schema) error {
	c := checker{pack: pack, schema: schema}
	for _, kind := range []ast.Operation{ast.Query, ast.Mutation, ast.Subscription} {
		c.roots(kind, (&GraphQL{schema: schema}).root(kind))
	}
	for _, row := range pack.Rows {
		if !c.known[row] {
			c.note(row.Line, "%s: the schema has no such operation", row.Operation)
		}
	}
	for _, typ := range schema.Types {
		if c.isPlainObject(typ) && pack.Types[typ.Name] == nil {
			c.note(0, "there is no line for the type %s", typ.Name)
		}
	}
	for _, typ := range pack.Types {
		c.typ(typ)
	}
	for _, field := range pack.Fields {
		c.field(field)
	}
	return c.all()
}

type checker struct {
	pack     *Pack
	schema   *ast.Schema
	known    map[*Row]bool
	mistakes []mistake
}

type mistake struct {
	line int
	text string
}

func (c *checker) note(line int, format string, arguments ...any) {
	c.mistakes = append(c.mistakes, mistake{line, fmt.Sprintf(format, arguments...)})
}

// all joins what was noted, in the order of the file.
func (c *checker) all() error {
	slices.SortFunc(c.mistakes, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.text, b.text))
	})
	var all []error
	for _, m := range c.mistakes {
		all = append(all, fmt.Errorf("%s:%d: %s", c.pack.File, m.line, m.text))
	}
	return errors.Join(all...)
}

// isPlainObject: an object type of the provider's own that is not the root of the operations.
func (c *checker) isPlainObject(typ *ast.Definition) bool {
	root := typ == c.schema.Query || typ == c.schema.Mutation || typ == c.schema.Subscription
	return typ != nil && typ.Kind == ast.Object && !root && !strings.HasPrefix(typ.Name, "__")
}

func (c *checker) roots(kind ast.Operation, root *ast.Definition) {
	if c.known == nil {
		c.known = map[*Row]bool{}
	}
	if root == nil {
		return
	}
	for _, field := range root.Fields {
		if strings.HasPrefix(field.Name, "__") {
			continue
		}
		row := c.pack.Rows[string(kind)+" "+field.Name]
		if row == nil {
			c.note(0, "there is no row for %s %s", kind, field.Name)
			continue
		}
		c.known[row] = true
		c.row(row, kind, field)
	}
}

func (c *checker) row(row *Row, kind ast.Operation, field *ast.FieldDefinition) {
	if row.Raw || len(row.Secrets) > 0 || len(row.Keep) > 0 {
		c.note(row.Line, "%s: raw, secret and keep are for REST", row.Operation)
	}
	if kind == ast.Subscription && row.Class != Refused {
		c.note(row.Line, "%s: a subscription must be refused", row.Operation)
	}
	for _, touch := range row.Touches {
		for _, path := range touch.Paths {
			c.id(touch.Line, field, path)
		}
		if touch.In != nil {
			c.id(touch.Line, field, touch.In)
		}
	}
	for _, condition := range row.When {
		c.condition(condition, field)
	}
	if row.Only != nil {
		for _, path := range row.Only.Paths {
			c.path(row.Only.Line, field, path)
		}
	}
	for _, path := range row.Hide {
		c.path(row.Line, field, path)
	}
}

// id checks a path that must lead to an id.
func (c *checker) id(line int, field *ast.FieldDefinition, path Path) {
	place, ok := c.path(line, field, path)
	if !ok || place.opaque {
		return
	}
	if name := place.typ.Name(); name != "ID" && c.schema.Types[name].Kind != ast.Enum && name != "String" && name != "Int" {
		c.note(line, "%s: %s is of the type %s, which is no id", field.Name, path, place.typ)
	}
}

// condition also finds comparisons that could never, or would always, be met.
func (c *checker) condition(condition Condition, field *ast.FieldDefinition) {
	place, ok := c.path(condition.Line, field, condition.Path)
	if !ok || place.opaque {
		return
	}
	switch condition.Test {
	case Given, Absent:
		if place.standard {
			c.note(condition.Line, "%s: %s has a default in the schema, it is always given", field.Name, condition.Path)
		}
	case Equal, Unlike, Below, Above:
		vs := &values{schema: c.schema, lenient: true, visits: maxVisits}
		if _, err := vs.coerce(place.typ, condition.value); err != nil {
			c.note(condition.Line, "%s: %s is never %s: %s", field.Name, condition.Path, condition.Value, err)
		}
	case Null, Empty:
	}
}

// place is where a path leads.
type place struct {
	typ      *ast.Type
	standard bool // there is a default
	opaque   bool // it is in a scalar that the schema says nothing of
}

// path follows a path through the arguments of a field.
func (c *checker) path(line int, field *ast.FieldDefinition, path Path) (place, bool) {
	argument := field.Arguments.ForName(path[0])
	if argument == nil {
		c.note(line, "%s has no argument %s", field.Name, path[0])
		return place{}, false
	}
	at := place{typ: argument.Type, standard: argument.DefaultValue != nil}
	for _, segment := range path[1:] {
		definition := c.schema.Types[at.typ.Name()]
		if isOpaque(definition) {
			at.opaque = true
			return at, true
		}
		next := definition.Fields.ForName(segment)
		if definition.Kind != ast.InputObject || next == nil {
			c.note(line, "%s: %s leads nowhere: the type %s has no field %s", field.Name, path, definition.Name, segment)
			return place{}, false
		}
		at = place{typ: next.Type, standard: next.DefaultValue != nil}
	}
	at.opaque = isOpaque(c.schema.Types[at.typ.Name()])
	return at, true
}

// isOpaque: a scalar of the provider's own.
func isOpaque(typ *ast.Definition) bool {
	return typ.Kind == ast.Scalar && !typ.OneOf("Int", "Float", "String", "Boolean", "ID")
}

func (c *checker) typ(t *Type) {
	definition := c.schema.Types[t.Name]
	if definition == nil || !c.isPlainObject(definition) {
		c.note(t.Line, "the schema has no object type %s", t.Name)
		return
	}
	if t.Field == "" {
		return
	}
	field := definition.Fields.ForName(t.Field)
	switch {
	case field == nil:
		c.note(t.Line, "the type %s has no field %s", t.Name, t.Field)
	case field.Type.Elem != nil || field.Type.Name() != "ID" && field.Type.Name() != "String":
		c.note(t.Line, "%s.%s is of the type %s, which is no id", t.Name, t.Field, field.Type)
	case len(field.Arguments) > 0:
		c.note(t.Line, "%s.%s takes arguments", t.Name, t.Field)
	}
}

func (c *checker) field(f *Field) {
	typ, name, _ := strings.Cut(f.Name, ".")
	definition := c.schema.Types[typ]
	if definition == nil || definition.Kind != ast.Object || definition.Fields.ForName(name) == nil {
		c.note(f.Line, "the schema has no field %s of an object type", f.Name)
		return
	}
	if f.Secret && c.schema.Types[definition.Fields.ForName(name).Type.Name()].IsCompositeType() {
		c.note(f.Line, "%s has fields of its own: name those that are secret", f.Name)
	}
}
