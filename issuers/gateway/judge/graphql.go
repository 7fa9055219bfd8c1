package judge

import (
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator/core"
)

// GraphQL judges calls to a GraphQL API (specification of October 2021, over HTTP POST). It is immutable.
type GraphQL struct {
	pack    *Pack
	schema  *ast.Schema
	strict  []core.Rule
	lenient []core.Rule
}

// NewGraphQL checks a pack against the schema of its provider: every operation has its row and every object
// type its line, and whatever the pack names exists. All that is wrong is named at once.
func NewGraphQL(pack *Pack, schema *ast.Schema) (*GraphQL, error) {
	if err := checkGraphQL(pack, schema); err != nil {
		return nil, err
	}
	return &GraphQL{pack: pack, schema: schema, strict: rulesFor(false), lenient: rulesFor(true)}, nil
}

// Judge says what a call would do, and what is sent instead of it. Lenient takes an operation whose required
// arguments are missing, as `hourkeyd classify` gets them; they count as absent, and there is nothing to send.
func (g *GraphQL) Judge(call Call, lenient bool) Verdict {
	path, err := endpoint(call)
	if err != nil {
		return refused(nil, err)
	}
	request, err := readRequest(call.Body)
	if err != nil {
		return refused(nil, err)
	}
	kind, root, err := g.expand(request, lenient)
	if err != nil {
		return refused(nil, err)
	}
	p := printer{bound: g.bound}
	body, err := p.request(kind, root) // first: it bounds what is worth reading further
	if err != nil {
		return refused(nil, err)
	}
	operations, err := g.operations(kind, root)
	if err != nil {
		return refused(operations, err)
	}
	verdict := Verdict{Class: Read, Operations: operations}
	for _, operation := range operations {
		verdict.Class = Worse(verdict.Class, operation.Class)
		if operation.Class == Refused {
			return refused(operations, fmt.Errorf("%s is never let through: %s", operation.Name, operation.Why))
		}
	}
	if !lenient {
		verdict.Send = Send{Method: call.Method, Path: path, ContentType: "application/json", Body: body}
		verdict.Answer = Answer{graphql: &rewriter{pack: g.pack, schema: g.schema, root: root}}
	}
	return verdict
}

// refused is the verdict on a call that never passes.
func refused(operations []Operation, why error) Verdict {
	return Verdict{Class: Refused, Operations: operations, Refusal: why.Error()}
}

// endpoint checks everything of the request but its body.
func endpoint(call Call) (path string, err error) {
	media, parameters, err := mime.ParseMediaType(call.ContentType)
	charset := parameters["charset"]
	delete(parameters, "charset")
	switch {
	case call.Method != "POST":
		return "", fmt.Errorf("a GraphQL operation is sent with POST here, not with %s", shown(call.Method))
	case call.Query != "":
		return "", errors.New("a GraphQL operation is sent in the body alone: the query string must be empty")
	case err != nil || media != "application/json" || len(parameters) > 0 || charset != "" && !strings.EqualFold(charset, "utf-8"):
		return "", fmt.Errorf("a GraphQL operation is sent as application/json here, not as %s", shown(call.ContentType))
	}
	if call.Path == "" {
		return "", nil
	}
	segments, err := NormalPath(call.Path)
	return escapePath(segments), err
}

// request is the body of a GraphQL call.
type request struct {
	query     string
	name      *string // operationName; nil when it has none
	variables map[string]any
}

// readRequest reads the body: one JSON object with query, variables, operationName and empty extensions.
func readRequest(body []byte) (request, error) {
	const levels = maxDepth + 4 // body, variables, and the value itself
	value, err := readJSON(body, levels)
	if err != nil {
		return request{}, fmt.Errorf("the body is not JSON that can be read in one way only: %w", err)
	}
	if _, batch := value.([]any); batch {
		return request{}, errors.New("batches are not let through: send the operations one by one")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return request{}, fmt.Errorf("the body must be an object with query and variables, found %s", kindOf(value))
	}
	for key := range object {
		switch key {
		case "query", "variables", "operationName", "extensions":
		case "id", "doc_id", "documentId", "queryId", "hash", "persistedQuery":
			return request{}, errNoStored
		default:
			return request{}, fmt.Errorf("the body has the key %s: only query, variables and operationName are known here", shown(key))
		}
	}
	return requestOf(object)
}

var errNoStored = errors.New("persisted queries are not let through: send the document itself")

func requestOf(object map[string]any) (request, error) {
	var r request
	switch extensions := object["extensions"].(type) {
	case nil:
	case map[string]any:
		if _, stored := extensions["persistedQuery"]; stored {
			return r, errNoStored
		}
		if len(extensions) > 0 {
			return r, errors.New("extensions are not let through")
		}
	default:
		return r, errors.New("extensions are not let through")
	}
	var ok bool
	if r.query, ok = object["query"].(string); !ok || r.query == "" {
		return r, errors.New("the body has no query: expected the text of a document")
	}
	switch name := object["operationName"].(type) {
	case nil:
	case string:
		r.name = &name
	default:
		return r, fmt.Errorf("operationName must be a string, found %s", kindOf(name))
	}
	switch variables := object["variables"].(type) {
	case nil:
	case map[string]any:
		r.variables = variables
	default:
		return r, fmt.Errorf("variables must be an object, found %s", kindOf(variables))
	}
	return r, nil
}

// expand reads the document and resolves all of the one operation that is meant.
func (g *GraphQL) expand(r request, lenient bool) (ast.Operation, *typed, error) {
	document, err := readDocument(r.query, r.name)
	if err != nil {
		return "", nil, err
	}
	operation := document.Operations[0]
	root := g.root(operation.Operation)
	if root == nil {
		return "", nil, fmt.Errorf("there are no operations of the kind %s", operation.Operation)
	}
	vs := &values{schema: g.schema, lenient: lenient, visits: maxVisits}
	if err := vs.setVariables(operation.VariableDefinitions, r.variables); err != nil {
		return "", nil, err
	}
	c := collector{schema: g.schema, fragments: document.Fragments, values: vs, visits: maxSelections, bound: g.bound}
	fields, err := c.fields(root, []ast.SelectionSet{operation.SelectionSet}, maxDepth)
	switch {
	case err != nil:
		return "", nil, err
	case len(fields) == 0:
		return "", nil, errors.New("all that it selects is skipped: nothing is left to do")
	case len(fields) > maxRoots:
		return "", nil, fmt.Errorf("it has more than %d operations", maxRoots)
	}
	return operation.Operation, &typed{root, fields}, g.validate(document, lenient)
}

func (g *GraphQL) root(kind ast.Operation) *ast.Definition {
	switch kind {
	case ast.Query:
		return g.schema.Query
	case ast.Mutation:
		return g.schema.Mutation
	case ast.Subscription:
		return g.schema.Subscription
	}
	return nil
}

// validate holds the document to the rules of the specification; the first that it breaks is named. Values are
// not told: they may be secrets.
func (g *GraphQL) validate(document *ast.QueryDocument, lenient bool) error {
	all := g.strict
	if lenient {
		all = g.lenient
	}
	var first error
	observers := &core.Events{}
	for _, rule := range all {
		rule.RuleFunc(observers, func(options ...core.ErrorOption) {
			if first != nil {
				return
			}
			mistake := &gqlerror.Error{}
			for _, option := range options {
				option(mistake)
			}
			first = fmt.Errorf("the document does not fit the schema: %s", withoutValues(rule.Name, mistake))
		})
	}
	core.Walk(g.schema, document, observers)
	return first
}

// withoutValues is the library's text of a mistake, unless it repeats a value: that may be a secret, and a
// refusal is kept in the log.
func withoutValues(rule string, mistake *gqlerror.Error) string {
	if rule == "ValuesOfCorrectType" && !strings.HasPrefix(mistake.Message, "Field ") {
		return "a value" + placeOf(mistake) + " is not of the type that its argument wants"
	}
	return fmt.Sprintf("%.200s", mistake.Message)
}

func placeOf(mistake *gqlerror.Error) string {
	if len(mistake.Locations) == 0 {
		return ""
	}
	return fmt.Sprintf(" at line %d, column %d", mistake.Locations[0].Line, mistake.Locations[0].Column)
}

// bound gives the line of a type whose objects live in one environment or project.
func (g *GraphQL) bound(typ *ast.Definition) *Type { return g.pack.boundOf(typ.Name) }

func (p *Pack) boundOf(name string) *Type {
	if t := p.Types[name]; t != nil && (t.Bound == ByEnvironment || t.Bound == ByProject) {
		return t
	}
	return nil
}

// operations judges every root field.
func (g *GraphQL) operations(kind ast.Operation, root *typed) ([]Operation, error) {
	all := make([]Operation, 0, len(root.fields))
	for _, f := range root.fields {
		operation, err := g.operation(kind, root.typ, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, operation)
	}
	return all, nil
}

func (g *GraphQL) operation(kind ast.Operation, root *ast.Definition, f *field) (Operation, error) {
	if strings.HasPrefix(f.name, "__") { // the schema is public
		return Operation{Name: f.name, Class: Read, Why: "asks for the schema", Text: operationText(kind, f, true)}, nil
	}
	row := g.pack.Rows[string(kind)+" "+f.name]
	if row == nil {
		return Operation{}, errors.New("the pack has no row for it")
	}
	d, err := row.decide(f.arguments)
	if err != nil {
		return Operation{}, err
	}
	if kind == ast.Subscription {
		d.raise(Refused, "subscriptions are not let through", row.Line)
	}
	selected := decision{class: Read}
	g.selected(&selected, root, f)
	d.raise(selected.class, selected.why, selected.line)
	touches, err := row.named(f.arguments)
	operation := Operation{Name: f.name, Class: d.class, Why: d.why, Line: d.line, Rule: row.Rule, Touches: touches}
	selects := kind == ast.Query || selected.class != Read
	seen := *f
	seen.arguments, operation.Exact = hide(f.arguments, row.Hide)
	operation.Text = operationText(kind, &seen, selects)
	return operation, err
}

// selected raises the class by what is selected.
func (g *GraphQL) selected(d *decision, typ *ast.Definition, f *field) {
	if special := g.pack.Fields[typ.Name+"."+f.name]; special != nil && !special.Secret {
		d.raise(special.Class, special.Why, special.Line)
	}
	if f.below == nil {
		return
	}
	for _, t := range f.below.of {
		line := g.pack.Types[t.typ.Name]
		asked := !f.below.abstract || !t.onlyTypename()
		if line != nil && line.Bound == ByClass && asked {
			d.raise(line.Class, line.Why, line.Line)
		}
		for _, below := range t.fields {
			g.selected(d, t.typ, below)
		}
	}
}

// onlyTypename: it is asked what an object is, and nothing of it.
func (t *typed) onlyTypename() bool {
	return !slices.ContainsFunc(t.fields, func(f *field) bool { return f.definition != nil })
}
