package issuers

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// decode reads a target's body into settings, a pointer to a struct with yaml tags. A field that is
// unknown or written twice, or has the wrong kind of value, is an error with its line. No error repeats a value:
// it may be a secret that was written in the wrong place.
func (c Config) decode(node *yaml.Node, settings any) error {
	if node == nil {
		return c.refuse(nil, "the target has no settings")
	}
	if err := c.strict(node, reflect.TypeOf(settings).Elem(), "the target"); err != nil {
		return err
	}
	if err := node.Decode(settings); err != nil {
		return c.refuse(node, "the settings cannot be read") // the decoder's own text repeats values
	}
	return nil
}

// strict checks the shape of node against a type: structs, slices and scalars.
func (c Config) strict(node *yaml.Node, want reflect.Type, field string) error {
	switch {
	case node.Kind == yaml.AliasNode:
		return c.refuse(node, "%s is an alias: write it out, so that whoever reviews this file sees it", field)
	case want == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(node.Value); node.Kind != yaml.ScalarNode || err != nil {
			return c.refuse(node, "%s is not a duration like 5m", field)
		}
	case want.Kind() == reflect.Struct:
		return c.strictStruct(node, want, field)
	case want.Kind() == reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			return c.refuse(node, "%s must be a list", field)
		}
		for _, element := range node.Content {
			if err := c.strict(element, want.Elem(), "an entry of "+field); err != nil {
				return err
			}
		}
	case node.Kind != yaml.ScalarNode || node.Tag == "!!null":
		return c.refuse(node, "%s must be a single value", field)
	}
	return nil
}

func (c Config) strictStruct(node *yaml.Node, want reflect.Type, field string) error {
	if node.Kind != yaml.MappingNode {
		return c.refuse(node, "%s must be a mapping of names to values", field)
	}
	types, names := fieldsOf(want)
	seen := map[string]bool{}
	for at := 0; at+1 < len(node.Content); at += 2 {
		key, value := node.Content[at], node.Content[at+1]
		kind, known := types[key.Value]
		switch {
		case !known:
			return c.refuse(key, "unknown field %q%s: expected %s", clip(key.Value), suggestion(key.Value, names), strings.Join(names, ", "))
		case seen[key.Value]:
			return c.refuse(key, "%s is written twice", key.Value)
		}
		seen[key.Value] = true
		if err := c.strict(value, kind, key.Value); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf gives a struct's fields by their yaml names, and the names in order.
func fieldsOf(t reflect.Type) (types map[string]reflect.Type, names []string) {
	types = map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		types[name] = f.Type
		names = append(names, name)
	}
	return types, names
}

// refuse makes an error at a node.
func (c Config) refuse(node *yaml.Node, format string, args ...any) error {
	return broker.Errorf(broker.CodeInvalid, "%s%s", c.where(node), fmt.Sprintf(format, args...))
}

// locate puts file, line and target in front of an error that an issuer's constructor made.
func (c Config) locate(node *yaml.Node, ref broker.TargetRef, err error) error {
	known, ok := errors.AsType[*broker.Error](err)
	if !ok {
		return broker.Errorf(broker.CodeInternal, "%starget %s cannot be opened", c.where(node), ref).Because(err)
	}
	if strings.HasPrefix(known.Message, c.File+":") && c.File != "" {
		return known // it names its own line already
	}
	placed := *known
	placed.Message = c.where(at(node, known.Field)) + "target " + ref.String() + ": " + known.Message
	return &placed
}

// at finds the node of a field, or gives the whole.
func at(node *yaml.Node, field string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return node
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == field {
			return node.Content[i]
		}
	}
	return node
}

func (c Config) where(node *yaml.Node) string {
	switch {
	case node == nil && c.File == "":
		return ""
	case node == nil:
		return c.File + ": "
	case c.File == "":
		return fmt.Sprintf("line %d: ", node.Line)
	}
	return fmt.Sprintf("%s:%d: ", c.File, node.Line)
}

// suggestion gives `, did you mean "owner"?` for the nearest of names, if one is near.
func suggestion(word string, names []string) string {
	best, nearest := 3, ""
	for _, name := range names {
		if d := distance(clip(word), name); d < best {
			best, nearest = d, name
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", nearest)
}

// distance is the number of single-byte edits between two short words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func clip(word string) string {
	const most = 40
	if len(word) > most {
		return word[:most] + "…"
	}
	return word
}
