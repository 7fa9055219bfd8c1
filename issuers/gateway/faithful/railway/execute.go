package railway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
)

// answer is what a GraphQL request is answered with.
type answer struct {
	Errors []problem `json:"errors,omitempty"`
	Data   any       `json:"data"`
}

// problem is an error as the provider writes it.
type problem struct {
	Message    string              `json:"message"`
	Locations  []gqlerror.Location `json:"locations,omitempty"`
	Path       []any               `json:"path,omitempty"`
	Extensions map[string]any      `json:"extensions,omitempty"`
	TraceID    string              `json:"traceId,omitempty"`
}

// answer runs a request. It is not ok if the request was refused before anything was run.
func (s *Server) answer(c *call, q request) (result any, ok bool) {
	if err := s.recall(&q); err != nil {
		return failure(err.Error(), "PERSISTED_QUERY_NOT_FOUND"), false
	}
	doc, problems := gqlparser.LoadQueryWithRules(s.schema, q.Query, nil)
	if len(problems) > 0 {
		return refused(problems), false
	}
	op, err := pick(doc, q.OperationName)
	if err != nil {
		return failure(err.Error(), "BAD_REQUEST"), false
	}
	vars, err := validator.VariableValues(s.schema, op, q.Variables)
	if err != nil {
		return failure(err.Error(), "BAD_USER_INPUT"), false
	}
	if op.Operation == ast.Subscription {
		return failure("subscriptions are served over websockets", "BAD_REQUEST"), false
	}
	return s.execute(c, op, vars)
}

func (s *Server) execute(c *call, op *ast.OperationDefinition, vars map[string]any) (result any, ok bool) {
	x := &execution{call: c, vars: vars}
	root := s.schema.Query
	if op.Operation == ast.Mutation {
		root = s.schema.Mutation
	}
	data, complete := x.selection(root, top{}, op.SelectionSet, nil)
	if !complete {
		return answer{Errors: x.problems, Data: nil}, true
	}
	return answer{Errors: x.problems, Data: data}, true
}

// pick finds the operation to run: the one named, or the only one.
func pick(doc *ast.QueryDocument, name string) (*ast.OperationDefinition, error) {
	if name != "" {
		if op := doc.Operations.ForName(name); op != nil {
			return op, nil
		}
		return nil, fmt.Errorf("unknown operation named %q", name)
	}
	if len(doc.Operations) != 1 {
		return nil, fmt.Errorf("must provide operation name if query contains multiple operations")
	}
	return doc.Operations[0], nil
}

// refused writes the errors of parsing and validation.
func refused(list gqlerror.List) any {
	all := make([]problem, 0, len(list))
	for _, e := range list {
		code := "GRAPHQL_VALIDATION_FAILED"
		if e.Rule == "" {
			code = "GRAPHQL_PARSE_FAILED"
		}
		all = append(all, problem{Message: e.Message, Locations: e.Locations, Extensions: map[string]any{"code": code}})
	}
	return struct {
		Errors []problem `json:"errors"`
	}{all}
}

// execution runs one operation (GraphQL specification, section 6).
type execution struct {
	*call
	vars     map[string]any
	problems []problem
}

// What a field's parent, or its value, can be besides a *record, a map and a scalar.
type (
	top   struct{} // the root of an operation
	unset struct{} // nothing is known: the type's own nothing is served
)

// object is a JSON object whose members keep the order in which the document asked for them.
type object struct {
	names  []string
	values []any
}

// MarshalJSON writes the members in order.
func (o *object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			b.WriteByte(',')
		}
		key, value := must(json.Marshal(name)), []byte(nil)
		value, err := json.Marshal(o.values[i])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// selection runs the fields that are asked of an object, one after another, which mutations demand and
// queries allow. It is not complete if a field that may not be null was.
func (x *execution) selection(def *ast.Definition, parent any, set ast.SelectionSet, path []any) (result *object, complete bool) {
	var order []string
	fields := map[string][]*ast.Field{} // name in the answer → the fields of that name
	x.collect(def, set, &order, fields)
	out := &object{}
	for _, name := range order {
		here := append(slices.Clone(path), name)
		value, ok := x.field(def, parent, fields[name], here)
		if !ok {
			return nil, false
		}
		out.names, out.values = append(out.names, name), append(out.values, value)
	}
	return out, true
}

func (x *execution) field(def *ast.Definition, parent any, fields []*ast.Field, path []any) (value any, ok bool) {
	f := fields[0]
	raw, err := x.resolve(def, parent, f)
	if err != nil {
		x.report(f, err, path)
		return nil, !f.Definition.Type.NonNull
	}
	value, ok = x.complete(f.Definition.Type, fields, raw, path)
	if !ok && !f.Definition.Type.NonNull {
		return nil, true
	}
	return value, ok
}

func (x *execution) report(f *ast.Field, err error, path []any) {
	code := "INTERNAL_SERVER_ERROR"
	if errors.Is(err, errUnauthorized) {
		code = "UNAUTHENTICATED"
	}
	p := problem{Message: err.Error(), Path: path, Extensions: map[string]any{"code": code}, TraceID: x.s.uuid()}
	if f.Position != nil {
		p.Locations = []gqlerror.Location{{Line: f.Position.Line, Column: f.Position.Column}}
	}
	x.problems = append(x.problems, p)
}

// collect gathers the fields of a selection for an object type, with fragments and directives followed.
func (x *execution) collect(def *ast.Definition, set ast.SelectionSet, order *[]string, fields map[string][]*ast.Field) {
	for _, selection := range set {
		switch sel := selection.(type) {
		case *ast.Field:
			if !x.included(sel.Directives) {
				continue
			}
			if fields[sel.Alias] == nil {
				*order = append(*order, sel.Alias)
			}
			fields[sel.Alias] = append(fields[sel.Alias], sel)
		case *ast.InlineFragment:
			if x.included(sel.Directives) && x.applies(sel.TypeCondition, def) {
				x.collect(def, sel.SelectionSet, order, fields)
			}
		case *ast.FragmentSpread:
			if x.included(sel.Directives) && x.applies(sel.Definition.TypeCondition, def) {
				x.collect(def, sel.Definition.SelectionSet, order, fields)
			}
		}
	}
}

func (x *execution) included(all ast.DirectiveList) bool {
	for _, d := range all {
		if d.Name != "skip" && d.Name != "include" {
			continue
		}
		condition, _ := x.literal(d.Arguments.ForName("if").Value)
		if (condition == true) != (d.Name == "include") {
			return false
		}
	}
	return true
}

// applies says whether a fragment on a type is meant for objects of another.
func (x *execution) applies(condition string, def *ast.Definition) bool {
	if condition == "" || condition == def.Name {
		return true
	}
	return slices.ContainsFunc(x.s.schema.PossibleTypes[condition], func(t *ast.Definition) bool { return t.Name == def.Name })
}
