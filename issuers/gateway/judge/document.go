package judge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Limits on a document. What is over them is refused before anything is done that costs more than its size.
// The parser itself refuses more than a thousand levels, so that its stack does not grow without bound.
const (
	maxTokens     = 20_000
	maxDepth      = 32    // of selections and of values, each
	maxSelections = 2_000 // fields, fragments and spreads, as written and once more as expanded
	maxAliases    = 200
	maxRoots      = 100
	maxFragments  = 100 // the rules compare each with each
)

// reservedAlias is what the fields that we ask for ourselves begin with.
const reservedAlias = "hk_"

// readDocument parses a document and gives it back with the one operation that is meant and the fragments
// that it uses. name is the operationName of the request; nil when it has none.
func readDocument(text string, name *string) (*ast.QueryDocument, error) {
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Name: "document", Input: text}, maxTokens)
	if err != nil {
		place := ""
		if mistake, ok := errors.AsType[*gqlerror.Error](err); ok {
			place = placeOf(mistake)
		}
		return nil, fmt.Errorf("the document cannot be read as GraphQL%s", place) // its text may repeat a value
	}
	fragments, err := byName(document.Fragments)
	if err != nil {
		return nil, err
	}
	operation, err := choose(document.Operations, name)
	if err != nil {
		return nil, err
	}
	m := meter{fragments: fragments, entered: map[string]bool{}}
	if err := m.operation(operation); err != nil {
		return nil, err
	}
	return &ast.QueryDocument{Operations: ast.OperationList{operation}, Fragments: m.used, Position: document.Position}, nil
}

func byName(all ast.FragmentDefinitionList) (map[string]*ast.FragmentDefinition, error) {
	fragments := make(map[string]*ast.FragmentDefinition, len(all))
	for _, fragment := range all {
		if fragments[fragment.Name] != nil {
			return nil, fmt.Errorf("the fragment %s stands twice", shown(fragment.Name))
		}
		fragments[fragment.Name] = fragment
	}
	return fragments, nil
}

// choose finds the operation that is meant. Servers differ on what an operationName means that is empty or
// fits nothing, or on an anonymous operation beside others: all that is refused.
func choose(operations ast.OperationList, name *string) (*ast.OperationDefinition, error) {
	known := map[string]bool{}
	var chosen *ast.OperationDefinition
	for _, operation := range operations {
		switch {
		case operation.Name == "" && len(operations) > 1:
			return nil, errors.New("an operation without a name stands beside others")
		case known[operation.Name]:
			return nil, fmt.Errorf("the operation %s stands twice", shown(operation.Name))
		}
		known[operation.Name] = true
		if name == nil && len(operations) == 1 || name != nil && *name != "" && operation.Name == *name {
			chosen = operation
		}
	}
	switch {
	case len(operations) == 0:
		return nil, errors.New("the document has no operation")
	case chosen == nil && name == nil:
		return nil, errors.New("the document has several operations: operationName must say which one is meant")
	case chosen == nil:
		return nil, fmt.Errorf("operationName is %s, and no operation is called so", shown(*name))
	}
	return chosen, nil
}

// meter measures an operation with its fragments, each of them once, and refuses what needs no schema to be
// refused.
type meter struct {
	fragments  map[string]*ast.FragmentDefinition
	entered    map[string]bool // true: on the way down; false: measured
	used       ast.FragmentDefinitionList
	selections int
	aliases    int
}

func (m *meter) operation(o *ast.OperationDefinition) error {
	if len(o.Directives) > 0 {
		return errors.New("a directive on an operation is not known here")
	}
	for _, variable := range o.VariableDefinitions {
		if len(variable.Directives) > 0 {
			return errors.New("a directive on a variable is not known here")
		}
		if err := shallow(variable.DefaultValue, maxDepth); err != nil {
			return err
		}
	}
	return m.set(o.SelectionSet, maxDepth)
}

func (m *meter) set(set ast.SelectionSet, depth int) error {
	if depth == 0 {
		return fmt.Errorf("its selections are nested deeper than %d levels", maxDepth)
	}
	for _, selection := range set {
		if m.selections++; m.selections > maxSelections {
			return fmt.Errorf("it selects more than %d fields", maxSelections)
		}
		if err := m.selection(selection, depth); err != nil {
			return err
		}
	}
	return nil
}

func (m *meter) selection(selection ast.Selection, depth int) error {
	switch s := selection.(type) {
	case *ast.Field:
		return m.field(s, depth)
	case *ast.InlineFragment:
		if err := checkDirectives(s.Directives); err != nil {
			return err
		}
		return m.set(s.SelectionSet, depth-1)
	case *ast.FragmentSpread:
		if err := checkDirectives(s.Directives); err != nil {
			return err
		}
		return m.fragment(s.Name, depth)
	}
	return errors.New("a selection of an unknown kind")
}

func (m *meter) field(f *ast.Field, depth int) error {
	if f.Alias != f.Name {
		m.aliases++
	}
	switch {
	case len(f.Alias) >= len(reservedAlias) && f.Alias[:len(reservedAlias)] == reservedAlias:
		return fmt.Errorf("the alias %s: names that begin with %s are taken", shown(f.Alias), reservedAlias)
	case m.aliases > maxAliases:
		return fmt.Errorf("it has more than %d aliases", maxAliases)
	}
	for _, argument := range f.Arguments {
		if err := shallow(argument.Value, maxDepth); err != nil {
			return err
		}
	}
	if err := checkDirectives(f.Directives); err != nil {
		return err
	}
	if f.SelectionSet == nil {
		return nil
	}
	return m.set(f.SelectionSet, depth-1)
}

func (m *meter) fragment(name string, depth int) error {
	under, known := m.entered[name]
	if under {
		return fmt.Errorf("the fragment %s contains itself", shown(name))
	}
	if known {
		return nil
	}
	fragment := m.fragments[name]
	switch {
	case fragment == nil:
		return fmt.Errorf("there is no fragment %s", shown(name))
	case len(fragment.VariableDefinition) > 0 || len(fragment.Directives) > 0:
		return fmt.Errorf("the fragment %s has variables or directives of its own, which are not known here", shown(name))
	}
	m.entered[name] = true
	if m.used = append(m.used, fragment); len(m.used) > maxFragments {
		return fmt.Errorf("it has more than %d fragments", maxFragments)
	}
	err := m.set(fragment.SelectionSet, depth-1)
	m.entered[name] = false
	return err
}

// checkDirectives lets only @skip and @include pass, which are evaluated here and never sent.
func checkDirectives(directives ast.DirectiveList) error {
	for _, directive := range directives {
		if directive.Name != "skip" && directive.Name != "include" {
			return fmt.Errorf("the directive @%.80s is not known here: only @skip and @include are", directive.Name)
		}
		if len(directive.Arguments) != 1 || directive.Arguments[0].Name != "if" {
			return fmt.Errorf("the directive @%s needs if, and nothing else", directive.Name)
		}
		if err := shallow(directive.Arguments[0].Value, maxDepth); err != nil {
			return err
		}
	}
	return nil
}

func shallow(v *ast.Value, depth int) error {
	if v == nil {
		return nil
	}
	if depth == 0 {
		return fmt.Errorf("its values are nested deeper than %d levels", maxDepth)
	}
	for _, child := range v.Children {
		if err := shallow(child.Value, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// rulesFor gives the rules of the specification that a document is held to. They are a second wall: nothing
// that is judged or sent rests on them alone. For the lenient reading those that want arguments to be there
// are left out.
func rulesFor(lenient bool) []core.Rule {
	var all []core.Rule
	for name, rule := range rules.NewDefaultRules().GetInner() {
		wants := name == rules.ProvidedRequiredArgumentsRule.Name || name == rules.ValuesOfCorrectTypeRule.Name
		if !lenient || !wants {
			all = append(all, core.Rule{Name: name, RuleFunc: rule})
		}
	}
	slices.SortFunc(all, func(a, b core.Rule) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}
