package railway

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
)

// arguments coerces the arguments of a field: variables are put in, defaults are filled in at every depth,
// a single value becomes a list where one is wanted, and what was left out stays absent.
func (x *execution) arguments(f *ast.Field) (args, error) {
	all := args{}
	for _, def := range f.Definition.Arguments {
		var value any
		given := false
		if a := f.Arguments.ForName(def.Name); a != nil {
			value, given = x.literal(a.Value)
		}
		if !given && def.DefaultValue != nil {
			value, given = x.literal(def.DefaultValue)
		}
		if !given {
			if def.Type.NonNull {
				return nil, fmt.Errorf("argument %q of required type %q was not provided", def.Name, def.Type)
			}
			continue
		}
		coerced, err := x.coerce(def.Type, value)
		if err != nil {
			return nil, fmt.Errorf("argument %q: %w", def.Name, err)
		}
		all[def.Name] = coerced
	}
	return all, nil
}

// literal reads a value of the document. It is not given if it is a variable that the request left out.
func (x *execution) literal(v *ast.Value) (value any, given bool) {
	switch v.Kind {
	case ast.Variable:
		value, given = x.vars[v.Raw]
		return value, given
	case ast.NullValue:
		return nil, true
	case ast.IntValue, ast.FloatValue:
		return json.Number(v.Raw), true
	case ast.BooleanValue:
		return v.Raw == "true", true
	case ast.ListValue:
		list := make([]any, 0, len(v.Children))
		for _, child := range v.Children {
			element, _ := x.literal(child.Value)
			list = append(list, element)
		}
		return list, true
	case ast.ObjectValue:
		fields := map[string]any{}
		for _, child := range v.Children {
			if element, given := x.literal(child.Value); given {
				fields[child.Name] = element
			}
		}
		return fields, true
	default:
		return v.Raw, true
	}
}

func (x *execution) coerce(t *ast.Type, value any) (any, error) {
	if value == nil {
		if t.NonNull {
			return nil, fmt.Errorf("expected a value of type %q, found null", t)
		}
		return nil, nil
	}
	if t.Elem != nil {
		return x.coerceList(t, value)
	}
	def := x.s.schema.Types[t.Name()]
	switch def.Kind {
	case ast.InputObject:
		return x.coerceObject(def, value)
	case ast.Enum:
		if s, ok := value.(string); ok && def.EnumValues.ForName(s) != nil {
			return s, nil
		}
		return nil, fmt.Errorf("value does not exist in %q enum", def.Name)
	default:
		return coerceScalar(def.Name, value)
	}
}

func (x *execution) coerceList(t *ast.Type, value any) (any, error) {
	// The validator makes typed slices of single values, so the kind is asked for and not the type.
	list := []any{value}
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		list = make([]any, v.Len())
		for i := range list {
			list[i] = v.Index(i).Interface()
		}
	}
	out := make([]any, len(list))
	for i, element := range list {
		coerced, err := x.coerce(t.Elem, element)
		if err != nil {
			return nil, err
		}
		out[i] = coerced
	}
	return out, nil
}

func (x *execution) coerceObject(def *ast.Definition, value any) (any, error) {
	given, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("expected an object of type %q", def.Name)
	}
	out := map[string]any{}
	for _, f := range def.Fields {
		v, has := given[f.Name]
		if !has && f.DefaultValue != nil {
			v, has = x.literal(f.DefaultValue)
		}
		if !has {
			if f.Type.NonNull {
				return nil, fmt.Errorf("field %q of required type %q was not provided", f.Name, f.Type)
			}
			continue
		}
		coerced, err := x.coerce(f.Type, v)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		out[f.Name] = coerced
	}
	return out, nil
}

func coerceScalar(name string, value any) (any, error) {
	text := fmt.Sprint(value)
	switch name {
	case "Int":
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("Int cannot represent non 32-bit signed integer value: %s", text)
		}
		return n, nil
	case "Float":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("Float cannot represent non numeric value: %s", text)
		}
		return n, nil
	case "String", "ID":
		return text, nil
	default:
		return value, nil // Boolean is checked by the validator; the provider's own scalars take anything
	}
}
