package judge

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// selection is what is selected from a value of an object type, an interface or a union: for every object
// type that the value can turn out to be, its fields. Fragments, directives, variables and defaults are
// resolved; there is nothing left in it that a server could read in another way.
type selection struct {
	abstract bool
	of       []*typed // exactly one where not abstract
}

// typed are the fields selected from one object type.
type typed struct {
	typ    *ast.Definition
	fields []*field
}

// field is one field of a selection.
type field struct {
	key        string // in the answer: the alias, or the name
	name       string
	definition *ast.FieldDefinition // nil for __typename
	arguments  map[string]any
	below      *selection // nil for scalars and enums
}

// collector expands what an operation selects, by the algorithm CollectFields of the specification (6.3.2)
// for every concrete type.
type collector struct {
	schema    *ast.Schema
	fragments ast.FragmentDefinitionList
	values    *values
	visits    int                             // how many selections may still be expanded
	bound     func(typ *ast.Definition) *Type // nil if no field of ours is added to it
}

// groups are the fields that are executed, as they were written, those with one key together.
type groups struct {
	keys    []string
	fields  map[string][]*ast.Field // by key
	visited map[string]bool         // fragments
}

// selection expands what sets select from a value of this type.
func (c *collector) selection(typ *ast.Definition, sets []ast.SelectionSet, depth int) (*selection, error) {
	if depth == 0 {
		return nil, fmt.Errorf("its selections are nested deeper than %d levels", maxDepth)
	}
	s := &selection{abstract: typ.IsAbstractType()}
	possible := []*ast.Definition{typ}
	if s.abstract {
		possible = slices.Clone(c.schema.GetPossibleTypes(typ))
		slices.SortFunc(possible, func(a, b *ast.Definition) int { return cmp.Compare(a.Name, b.Name) })
	}
	for _, concrete := range possible {
		fields, err := c.fields(concrete, sets, depth)
		if err != nil {
			return nil, err
		}
		// An object that may have to be hidden is asked for its place even if nothing is selected from it.
		if len(fields) > 0 || !s.abstract || c.bound(concrete) != nil {
			s.of = append(s.of, &typed{concrete, fields})
		}
	}
	return s, nil
}

func (c *collector) fields(typ *ast.Definition, sets []ast.SelectionSet, depth int) ([]*field, error) {
	g := &groups{fields: map[string][]*ast.Field{}, visited: map[string]bool{}}
	for _, set := range sets {
		if err := c.collect(typ, set, g); err != nil {
			return nil, err
		}
	}
	fields := make([]*field, 0, len(g.keys))
	for _, key := range g.keys {
		f, err := c.field(typ, key, g.fields[key], depth)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// collect gathers the fields that are executed on an object of this type.
func (c *collector) collect(typ *ast.Definition, set ast.SelectionSet, g *groups) error {
	for _, s := range set {
		if c.visits--; c.visits < 0 {
			return fmt.Errorf("it selects more than %d fields when its fragments are expanded", maxSelections)
		}
		switch s := s.(type) {
		case *ast.Field:
			skipped, err := c.skipped(s.Directives)
			if err != nil {
				return err
			}
			if skipped {
				continue
			}
			if g.fields[s.Alias] == nil {
				g.keys = append(g.keys, s.Alias)
			}
			g.fields[s.Alias] = append(g.fields[s.Alias], s)
		case *ast.InlineFragment:
			if err := c.enter(typ, s.TypeCondition, s.Directives, s.SelectionSet, g); err != nil {
				return err
			}
		case *ast.FragmentSpread:
			if err := c.spread(typ, s, g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) spread(typ *ast.Definition, s *ast.FragmentSpread, g *groups) error {
	if g.visited[s.Name] {
		return nil
	}
	if skipped, err := c.skipped(s.Directives); skipped || err != nil {
		return err
	}
	g.visited[s.Name] = true
	fragment := c.fragments.ForName(s.Name)
	if fragment == nil {
		return fmt.Errorf("there is no fragment %s", shown(s.Name))
	}
	return c.enter(typ, fragment.TypeCondition, nil, fragment.SelectionSet, g)
}

// enter collects from a fragment if it applies to objects of this type.
func (c *collector) enter(typ *ast.Definition, on string, directives ast.DirectiveList, set ast.SelectionSet, g *groups) error {
	skipped, err := c.skipped(directives)
	if skipped || err != nil {
		return err
	}
	if on != "" && on != typ.Name {
		condition := c.schema.Types[on]
		if condition == nil || !condition.IsCompositeType() {
			return fmt.Errorf("a fragment on %s, which is no type that has fields", shown(on))
		}
		if !slices.Contains(c.schema.GetPossibleTypes(condition), typ) {
			return nil
		}
	}
	return c.collect(typ, set, g)
}

// skipped evaluates @skip and @include. In a lenient reading a condition that is not known skips nothing.
func (c *collector) skipped(directives ast.DirectiveList) (bool, error) {
	for _, directive := range directives {
		condition := directive.Arguments[0].Value
		if c.values.lenient && c.values.absent(condition) {
			continue
		}
		value, err := c.values.literal(condition)
		if err == nil {
			value, err = c.values.coerce(ast.NonNullNamedType("Boolean", nil), value)
		}
		if err != nil {
			return false, fmt.Errorf("@%s(if:): %w", directive.Name, err)
		}
		if value == (directive.Name == "skip") {
			return true, nil
		}
	}
	return false, nil
}

// field makes one of all fields with the same key. They must be the same in everything but what is selected
// below.
func (c *collector) field(typ *ast.Definition, key string, all []*ast.Field, depth int) (*field, error) {
	f := &field{key: key, name: all[0].Name}
	if f.name != "__typename" {
		if f.definition = typ.Fields.ForName(f.name); f.definition == nil {
			return nil, fmt.Errorf("the type %s has no field %s", typ.Name, shown(f.name))
		}
	}
	var sets []ast.SelectionSet
	for at, one := range all {
		arguments, err := c.arguments(f, one)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", typ.Name, f.name, err)
		}
		if at == 0 {
			f.arguments = arguments
		} else if one.Name != f.name || !reflect.DeepEqual(f.arguments, arguments) {
			return nil, fmt.Errorf("two different fields are called %s", shown(key))
		}
		if one.SelectionSet != nil {
			sets = append(sets, one.SelectionSet)
		}
	}
	return f, c.below(f, sets, depth)
}

func (c *collector) arguments(f *field, one *ast.Field) (map[string]any, error) {
	if f.definition == nil {
		return c.values.arguments(nil, one.Arguments)
	}
	return c.values.arguments(f.definition.Arguments, one.Arguments)
}

func (c *collector) below(f *field, sets []ast.SelectionSet, depth int) error {
	var typ *ast.Definition
	if f.definition != nil {
		if typ = c.schema.Types[f.definition.Type.Name()]; typ == nil {
			return errors.New("a field of a type that the schema does not have")
		}
	}
	if typ == nil || !typ.IsCompositeType() {
		if len(sets) > 0 {
			return fmt.Errorf("%s has no fields to select from", f.name)
		}
		return nil
	}
	if len(sets) == 0 {
		return fmt.Errorf("%s needs a selection of its fields", f.name)
	}
	var err error
	f.below, err = c.selection(typ, sets, depth-1)
	return err
}
