package railway

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// verb is what a mutation does to the record that it names.
type verb int

const (
	acts     verb = iota // what its action says
	creates              // makes a record of the arguments
	changes              // sets the fields that the arguments name
	destroys             // removes the record and what belongs to it
)

// effect is a row of the table of mutations.
type effect struct {
	verb verb
	kind string // of the record that it is about
	by   string // the argument or input field that holds its id; id if empty
	set  Fields // what is set besides what the arguments say
	do   action // instead of a verb
	open bool   // needs no token
}

// action is what a mutation does where a row cannot say it.
type action func(*call, args) (any, error)

// mutate runs one mutation. What it answers follows from its type: the record, its id, or true.
func (x *execution) mutate(f *ast.FieldDefinition, a args) (any, error) {
	row, known := x.s.effects[f.Name]
	if !known {
		return nil, fmt.Errorf("%s is not served here", f.Name)
	}
	if x.caller.kind == "" && !row.open {
		return nil, errUnauthorized
	}
	if x.caller.kind == "account" && !row.open && x.onlyViews() {
		return nil, errUnauthorized
	}
	result, err := x.perform(row, a)
	if err != nil {
		return nil, err
	}
	return shape(f.Type, result), nil
}

// onlyViews says whether the caller's user is no more than a viewer anywhere.
func (c *call) onlyViews() bool {
	roles := c.st.where("WorkspaceMember", "userId", c.caller.user)
	return len(roles) > 0 && !slices.ContainsFunc(roles, func(m *record) bool { return m.text("role") != "VIEWER" })
}

func (c *call) perform(row effect, a args) (any, error) {
	switch row.verb {
	case creates:
		return c.create(row, a)
	case changes:
		r, err := c.named(row, a)
		if err != nil {
			return nil, err
		}
		c.change(row, r, a)
		return r, nil
	case destroys:
		r, err := c.named(row, a)
		if err != nil {
			return nil, err
		}
		return r, c.destroy(r)
	default:
		return row.do(c, a)
	}
}

// named finds the record that a row is about.
func (c *call) named(row effect, a args) (*record, error) {
	id, _ := a.flat()[firstText(row.by, "id")].(string)
	return c.own(row.kind, id)
}

// create makes a record of the arguments. Everything that they refer to must be there, and in reach.
func (c *call) create(row effect, a args) (*record, error) {
	fields := a.flat()
	if err := c.check(fields); err != nil {
		return nil, err
	}
	if len(c.st.owners[row.kind]) > 0 && slices.Contains(c.st.owners[row.kind], "userId") && fields["workspaceId"] == nil {
		fields["userId"] = c.caller.user
	}
	maps.Copy(fields, row.set)
	return c.add(row.kind, fields), nil
}

// check looks up every record that arguments refer to. What is made in an environment changes it.
func (c *call) check(fields Fields) error {
	for name, kind := range references() {
		id, _ := fields[name].(string)
		if id == "" {
			continue
		}
		look := c.own
		if c.caller.kind == "project" && kind != "Environment" && kind != "VolumeInstance" {
			look = c.find
		}
		if _, err := look(kind, id); err != nil {
			return err
		}
	}
	if c.caller.kind == "project" && fields["environmentId"] == nil {
		return errUnauthorized
	}
	return nil
}

// change sets what the arguments name, save ids by which the record was found or that say what it belongs to.
func (c *call) change(row effect, r *record, a args) {
	fields := a.flat()
	delete(fields, firstText(row.by, "id"))
	for name := range references() {
		if _, kept := r.fields[name]; kept || !c.shown(r.kind, name) {
			delete(fields, name)
		}
	}
	for name, value := range fields {
		if value == nil && c.required(r.kind, name) {
			delete(fields, name) // null leaves what may not be null
		}
	}
	maps.Copy(fields, row.set)
	c.set(r, fields)
}

// shown says whether the schema has a field of a name for a kind.
func (c *call) shown(kind, name string) bool {
	def := c.s.schema.Types[kind]
	return def != nil && def.Fields.ForName(name) != nil
}

// required says whether the schema forbids a field of a kind to be null.
func (c *call) required(kind, name string) bool {
	return c.shown(kind, name) && c.s.schema.Types[kind].Fields.ForName(name).Type.NonNull
}

// shape fits a result to the type of the mutation that has it.
func shape(t *ast.Type, result any) any {
	r, isRecord := result.(*record)
	switch {
	case result == nil && t.Name() == "Boolean":
		return true
	case isRecord && t.Name() == "Boolean":
		return true
	case isRecord && (t.Name() == "String" || t.Name() == "ID"):
		return r.id
	default:
		return result
	}
}
