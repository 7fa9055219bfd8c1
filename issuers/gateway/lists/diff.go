package lists

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// Change is one thing in which two lists differ.
type Change struct {
	Kind string // added, removed or changed
	What string // "mutation volumeDelete(volumeId: String!): Boolean!", "argument serviceUpdate(input.foo: String)", "GET /repos/{owner}/{repo}"
}

// Diff tells what a new list has that an old one has not, and the other way round, sorted by What. Either
// may also be a description that Extract understands.
//
// For a GraphQL API it covers the operations, their arguments with every input field that can be reached
// from them, the fields of objects, and the values of enums. An operation that is new or gone stands for its
// own arguments; the input fields below a new one are listed, because a pack needs a row for those too.
func Diff(provider string, before, after []byte) ([]Change, error) {
	was, err := facts(provider, before)
	if err != nil {
		return nil, fmt.Errorf("the old list: %w", err)
	}
	is, err := facts(provider, after)
	if err != nil {
		return nil, fmt.Errorf("the new list: %w", err)
	}
	var changes []Change
	for key, now := range is {
		then, known := was[key]
		switch {
		case !known && (now.owner == "" || has(was, now.owner) || now.deep):
			changes = append(changes, Change{Kind: "added", What: now.what})
		case known && then.worth != now.worth:
			changes = append(changes, Change{Kind: "changed", What: now.what + ", was " + then.worth})
		}
	}
	for key, then := range was {
		if !has(is, key) && (then.owner == "" || has(is, then.owner)) {
			changes = append(changes, Change{Kind: "removed", What: then.what})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Kind, b.Kind)) })
	return changes, nil
}

// fact is one thing that a list says.
type fact struct {
	what  string // as shown
	worth string // what about it can change: a type, permissions
	owner string // the key of the operation, type … that it is a part of
	deep  bool   // it is not seen in its owner's own line
}

func has(in map[string]fact, key string) bool { _, found := in[key]; return found }

// facts reads a list, or a description, into facts by keys that stay the same when a fact changes.
func facts(provider string, source []byte) (map[string]fact, error) {
	if !bytes.HasPrefix(source, []byte("# provider: ")) {
		list, err := Extract(provider, source)
		if err != nil {
			return nil, err
		}
		source = list
	}
	if of := headLine(source, "provider"); of != provider {
		return nil, fmt.Errorf("it is a list of %s, wanted one of %s", of, provider)
	}
	if !isGraphQL(provider) {
		return restFacts(source)
	}
	s, err := schema(source)
	if err != nil {
		return nil, err
	}
	return schemaFacts(s), nil
}

func restFacts(list []byte) (map[string]fact, error) {
	all, err := operations(list)
	if err != nil {
		return nil, err
	}
	found := map[string]fact{}
	for _, op := range all {
		name := op.Method + " " + op.Path
		found[name] = fact{what: name, worth: cmp.Or(strings.Join(op.Permissions, ","), "no permissions named")}
	}
	return found, nil
}

func schemaFacts(s *ast.Schema) map[string]fact {
	c := collector{schema: s, found: map[string]fact{}}
	roots := map[string]*ast.Definition{"mutation": s.Mutation, "query": s.Query, "subscription": s.Subscription}
	for _, kind := range slices.Sorted(maps.Keys(roots)) {
		if roots[kind] != nil {
			c.operations(kind, roots[kind])
		}
	}
	for _, t := range s.Types {
		if !t.BuiltIn && t != s.Mutation && t != s.Query && t != s.Subscription {
			c.typ(t)
		}
	}
	return c.found
}

// collector gathers the facts of a schema.
type collector struct {
	schema *ast.Schema
	found  map[string]fact // key → fact
}

func (c collector) operations(kind string, root *ast.Definition) {
	for _, f := range root.Fields {
		if strings.HasPrefix(f.Name, "__") {
			continue
		}
		key := kind + " " + f.Name
		c.found[key] = fact{what: key + signature(f), worth: f.Type.String()}
		for _, a := range f.Arguments {
			c.argument(key, f.Name, a.Name, a.Type, a.DefaultValue, nil)
		}
	}
}

// argument notes an argument, or an input field, and what can be reached through it. An input type that
// contains itself is followed once.
func (c collector) argument(operation, name, path string, typ *ast.Type, value *ast.Value, seen []string) {
	worth := typ.String()
	if value != nil {
		worth += " = " + value.String()
	}
	c.found[operation+"("+path+")"] = fact{
		what: fmt.Sprintf("argument %s(%s: %s)", name, path, worth), worth: worth,
		owner: operation, deep: len(seen) > 0,
	}
	t := c.schema.Types[typ.Name()]
	if t == nil || t.Kind != ast.InputObject || slices.Contains(seen, t.Name) {
		return
	}
	for _, f := range t.Fields {
		c.argument(operation, name, path+"."+f.Name, f.Type, f.DefaultValue, append(slices.Clone(seen), t.Name))
	}
}

func (c collector) typ(t *ast.Definition) {
	if t.Kind == ast.InputObject { // reached from the operations that take it
		return
	}
	key := strings.ToLower(strings.ReplaceAll(string(t.Kind), "_", " ")) + " " + t.Name
	c.found[key] = fact{what: key, worth: strings.Join(slices.Sorted(slices.Values(t.Types)), " | ")}
	for _, v := range t.EnumValues {
		c.found[key+"."+v.Name] = fact{what: "enum value " + t.Name + "." + v.Name, owner: key, deep: true}
	}
	for _, f := range t.Fields {
		name := t.Name + "." + f.Name
		c.found["field "+name] = fact{what: "field " + name + signature(f), worth: signature(f), owner: key, deep: true}
	}
}

// signature writes the arguments and the type of a field: (first: Int): String!
func signature(f *ast.FieldDefinition) string {
	arguments := make([]string, 0, len(f.Arguments))
	for _, a := range f.Arguments {
		argument := a.Name + ": " + a.Type.String()
		if a.DefaultValue != nil {
			argument += " = " + a.DefaultValue.String()
		}
		arguments = append(arguments, argument)
	}
	if len(arguments) == 0 {
		return ": " + f.Type.String()
	}
	return "(" + strings.Join(arguments, ", ") + "): " + f.Type.String()
}
