package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/vektah/gqlparser/v2/ast"
)

// values turns what a document and its variables say into plain trees, as a server would (GraphQL
// specification, sections 3.10 to 3.13 and 6.1.2): nil, bool, json.Number, string, []any, map[string]any.
// What is absent is not in the tree; a null is nil.
type values struct {
	schema    *ast.Schema
	variables map[string]any // by name, coerced; one that is absent is not in it
	lenient   bool           // what is required may be missing
	visits    int            // how many values may still be looked at
}

// maxVisits bounds the work on one call: a large variable that is used a thousand times is a thousand large
// arguments.
const maxVisits = 1_000_000

// visit counts one value.
func (vs *values) visit() error {
	if vs.visits--; vs.visits < 0 {
		return fmt.Errorf("its arguments hold too many values")
	}
	return nil
}

// enumName is a bare word in a document. It is good for an enum alone.
type enumName string

// setVariables coerces what was sent to what the operation declares. Variables that it does not declare are
// left out, and so never sent.
func (vs *values) setVariables(declared ast.VariableDefinitionList, sent map[string]any) error {
	vs.variables = make(map[string]any, len(declared))
	for _, variable := range declared {
		value, given := sent[variable.Variable]
		if !given && variable.DefaultValue != nil {
			literal, err := vs.literal(variable.DefaultValue)
			if err != nil {
				return fmt.Errorf("the default of $%.80s: %w", variable.Variable, err)
			}
			value, given = literal, true
		}
		if !given {
			if variable.Type.NonNull && !vs.lenient {
				return fmt.Errorf("the variable $%.80s is missing", variable.Variable)
			}
			continue
		}
		coerced, err := vs.coerce(variable.Type, value)
		if err != nil {
			return fmt.Errorf("the variable $%.80s: %w", variable.Variable, err)
		}
		vs.variables[variable.Variable] = coerced
	}
	return nil
}

// arguments gives what a field is called with. An argument that is absent gets the default of the schema:
// that is sent as well, so that what was judged is what is done even where the provider's default changed.
func (vs *values) arguments(known ast.ArgumentDefinitionList, given ast.ArgumentList) (map[string]any, error) {
	tree := make(map[string]any, len(given))
	for _, argument := range given {
		definition := known.ForName(argument.Name)
		if definition == nil {
			return nil, fmt.Errorf("there is no argument %s", shown(argument.Name))
		}
		if _, twice := tree[argument.Name]; twice || given.ForName(argument.Name) != argument {
			return nil, fmt.Errorf("the argument %s stands twice", argument.Name)
		}
		if vs.absent(argument.Value) {
			continue
		}
		value, err := vs.literal(argument.Value)
		if err == nil {
			value, err = vs.coerce(definition.Type, value)
		}
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", argument.Name, err)
		}
		tree[argument.Name] = value
	}
	for _, definition := range known {
		if _, given := tree[definition.Name]; given {
			continue
		}
		if err := vs.fill(tree, definition.Name, definition.Type, definition.DefaultValue); err != nil {
			return nil, fmt.Errorf("argument %w", err)
		}
	}
	return tree, nil
}

// fill puts the default where nothing was given.
func (vs *values) fill(tree map[string]any, name string, typ *ast.Type, standard *ast.Value) error {
	if standard == nil {
		if typ.NonNull && !vs.lenient {
			return fmt.Errorf("%s is missing: expected a value of the type %s", name, typ)
		}
		return nil
	}
	value, err := vs.literal(standard)
	if err == nil {
		tree[name], err = vs.coerce(typ, value)
	}
	return err
}

// absent tells whether a value is a variable that nothing was sent for and that has no default.
func (vs *values) absent(v *ast.Value) bool {
	if v.Kind != ast.Variable {
		return false
	}
	_, given := vs.variables[v.Raw]
	return !given
}

// literal reads a value of the document; its type is looked at by coerce.
func (vs *values) literal(v *ast.Value) (any, error) {
	if err := vs.visit(); err != nil {
		return nil, err
	}
	switch v.Kind {
	case ast.Variable: // an absent one in a list is a null
		return vs.variables[v.Raw], nil
	case ast.IntValue, ast.FloatValue:
		return json.Number(v.Raw), nil
	case ast.StringValue, ast.BlockValue:
		if strings.ContainsRune(v.Raw, unicode.ReplacementChar) {
			return nil, fmt.Errorf("a string has half a surrogate pair, or U+FFFD, in it")
		}
		return v.Raw, nil
	case ast.BooleanValue:
		return v.Raw == "true", nil
	case ast.NullValue:
		return nil, nil
	case ast.EnumValue:
		return enumName(v.Raw), nil
	case ast.ListValue:
		return vs.literalList(v)
	case ast.ObjectValue:
		return vs.literalObject(v)
	}
	return nil, fmt.Errorf("a value of an unknown kind")
}

func (vs *values) literalList(v *ast.Value) (any, error) {
	list := make([]any, 0, len(v.Children))
	for _, child := range v.Children {
		element, err := vs.literal(child.Value)
		if err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	return list, nil
}

func (vs *values) literalObject(v *ast.Value) (any, error) {
	object := make(map[string]any, len(v.Children))
	named := make(map[string]bool, len(v.Children)) // also the absent ones
	for _, child := range v.Children {
		if named[child.Name] {
			return nil, fmt.Errorf("the field %s stands twice in one object", shown(child.Name))
		}
		named[child.Name] = true
		if vs.absent(child.Value) {
			continue
		}
		value, err := vs.literal(child.Value)
		if err != nil {
			return nil, fmt.Errorf("%.80s: %w", child.Name, err)
		}
		object[child.Name] = value
	}
	return object, nil
}

// coerce makes a value be of a type, or says why it cannot be. What was coerced once stays as it is.
func (vs *values) coerce(typ *ast.Type, v any) (any, error) {
	if err := vs.visit(); err != nil {
		return nil, err
	}
	if v == nil {
		if typ.NonNull {
			return nil, fmt.Errorf("null where the type %s is expected", typ)
		}
		return nil, nil
	}
	if typ.Elem != nil {
		return vs.coerceList(typ, v)
	}
	definition := vs.schema.Types[typ.NamedType]
	if definition == nil {
		return nil, fmt.Errorf("there is no type %s", shown(typ.NamedType))
	}
	switch definition.Kind {
	case ast.InputObject:
		return vs.coerceObject(definition, v)
	case ast.Enum:
		return coerceEnum(definition, v)
	case ast.Scalar:
		return vs.coerceScalar(definition.Name, v)
	case ast.Object, ast.Interface, ast.Union:
	}
	return nil, fmt.Errorf("%s is no type of an input", definition.Name)
}

// coerceList makes a list of one out of what is none.
func (vs *values) coerceList(typ *ast.Type, v any) (any, error) {
	elements, isList := v.([]any)
	if !isList {
		elements = []any{v}
	}
	list := make([]any, len(elements))
	for at, element := range elements {
		var err error
		if list[at], err = vs.coerce(typ.Elem, element); err != nil {
			return nil, fmt.Errorf("element %d: %w", at, err)
		}
	}
	return list, nil
}

func (vs *values) coerceObject(definition *ast.Definition, v any) (any, error) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("expected an object of the type %s, found %s", definition.Name, kindOf(v))
	}
	object := make(map[string]any, len(given))
	for name, value := range given {
		field := definition.Fields.ForName(name)
		if field == nil {
			return nil, fmt.Errorf("the type %s has no field %s", definition.Name, shown(name))
		}
		coerced, err := vs.coerce(field.Type, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		object[name] = coerced
	}
	for _, field := range definition.Fields {
		if _, given := object[field.Name]; given {
			continue
		}
		if err := vs.fill(object, field.Name, field.Type, field.DefaultValue); err != nil {
			return nil, err
		}
	}
	return object, checkOneOf(definition, object)
}

// checkOneOf: exactly one field of such an object is given, and is not null.
func checkOneOf(definition *ast.Definition, object map[string]any) error {
	if definition.Directives.ForName("oneOf") == nil {
		return nil
	}
	for _, value := range object {
		if len(object) == 1 && value != nil {
			return nil
		}
	}
	return fmt.Errorf("exactly one field of the type %s must be given", definition.Name)
}

func coerceEnum(definition *ast.Definition, v any) (any, error) {
	var name string
	switch v := v.(type) {
	case enumName:
		name = string(v)
	case string: // as variables have it
		name = v
	default:
		return nil, fmt.Errorf("expected a value of the enum %s, found %s", definition.Name, kindOf(v))
	}
	if definition.EnumValues.ForName(name) == nil {
		return nil, fmt.Errorf("the enum %s has no such value", definition.Name)
	}
	return name, nil
}

func (vs *values) coerceScalar(name string, v any) (any, error) {
	switch name {
	case "Int":
		if n, ok := v.(json.Number); ok {
			_, err := strconv.ParseInt(string(n), 10, 32)
			if err == nil {
				return n, nil
			}
		}
	case "Float":
		if n, ok := v.(json.Number); ok {
			return n, nil
		}
	case "String":
		if s, ok := v.(string); ok {
			return s, nil
		}
	case "Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case "ID":
		switch id := v.(type) {
		case string:
			return id, nil
		case json.Number: // a whole number is an id by its digits
			if !strings.ContainsAny(string(id), ".eE") {
				return string(id), nil
			}
		}
	default:
		return v, vs.checkOpaque(v)
	}
	return nil, fmt.Errorf("expected %s, found %s", name, kindOf(v))
}

// checkOpaque looks into a scalar that the schema says nothing of. A bare word means nothing there: servers
// drop it, or take it as a string.
func (vs *values) checkOpaque(v any) error {
	if err := vs.visit(); err != nil {
		return err
	}
	switch v := v.(type) {
	case enumName:
		return errors.New("a bare word where a string is expected")
	case []any:
		for _, element := range v {
			if err := vs.checkOpaque(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, value := range v {
			if err := vs.checkOpaque(value); err != nil {
				return err
			}
		}
	}
	return nil
}
