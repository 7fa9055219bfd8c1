package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// The most that a file may be. A configuration is small; a larger file is a mistake or an attack.
const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 32      // of nested YAML
	maxName  = 80      // bytes of an unknown name that an error repeats
)

// document is one YAML file as nodes, so that every complaint can name its line.
type document struct {
	name string // as errors show it, relative to the folder of hourkey.yaml
	root *yaml.Node
}

// field takes the value of one field of a mapping.
type field func(value *yaml.Node) error

// parse reads a file that holds one mapping in plain YAML. Anchors, aliases, merge keys, custom tags
// and repeated keys are refused: each lets a file say something else than a reader sees in it.
func parse(name string, text []byte) (document, error) {
	d := document{name: name}
	if len(text) > maxFile {
		return d, broker.Errorf(broker.CodeInvalid, "%s: longer than %d bytes", name, maxFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return d, broker.Errorf(broker.CodeInvalid, "%s: is empty", name)
	} else if err != nil {
		return d, broker.Errorf(broker.CodeInvalid, "%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return d, broker.Errorf(broker.CodeInvalid, "%s: expected one YAML document, found more", name)
	}
	d.root = first.Content[0]
	if d.root.Kind != yaml.MappingNode {
		return d, d.errorf(d.root, "", "expected fields, like \"name: value\"")
	}
	return d, d.plain(d.root, 0)
}

// plain refuses what parse names, in the whole tree.
func (d document) plain(node *yaml.Node, depth int) error {
	switch {
	case depth > maxDepth:
		return d.errorf(node, "", "nested more than %d deep", maxDepth)
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		return d.errorf(node, "", "anchors and aliases are not allowed: write the value out")
	case node.Style&yaml.TaggedStyle != 0:
		return d.errorf(node, "", "a YAML tag is not allowed: write the value without it")
	}
	seen := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if err := d.key(child, seen); err != nil {
				return err
			}
		}
		if err := d.plain(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d document) key(node *yaml.Node, seen map[string]bool) error {
	if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
		return d.errorf(node, "", "the name of a field must be a plain word (quote it if it is a number, a date or a truth value)")
	}
	if seen[node.Value] {
		return d.errorf(node, node.Value, "%q stands here twice", clip(node.Value))
	}
	seen[node.Value] = true
	return nil
}

// fields hands each field of a mapping to its function; an unknown one is an error with the nearest
// right name. An empty value leaves the defaults.
func (d document) fields(node *yaml.Node, known map[string]field) error {
	if isNull(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return d.errorf(node, "", "expected fields, like \"name: value\"")
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		take, found := known[key.Value]
		if !found {
			hint := didYouMean(clip(key.Value), slices.Collect(maps.Keys(known)))
			return d.errorf(key, key.Value, "unknown field %q: %s", clip(key.Value), hint)
		}
		if err := take(value); err != nil {
			return err
		}
	}
	return nil
}

// at gives file:line of a node.
func (d document) at(node *yaml.Node) string { return fmt.Sprintf("%s:%d", d.name, node.Line) }

// errorf makes an error that begins with file:line. It must not repeat values: one may be a secret
// that was pasted into the wrong place (invariant 10).
func (d document) errorf(node *yaml.Node, name, format string, args ...any) error {
	return broker.Errorf(broker.CodeInvalid, "%s: %s", d.at(node), fmt.Sprintf(format, args...)).WithField(clip(name))
}

func (d document) truth(into *bool, name string) field {
	return func(value *yaml.Node) error {
		if value.Kind != yaml.ScalarNode || value.Tag != "!!bool" || value.Decode(into) != nil {
			return d.errorf(value, name, "%s: expected true or false", name)
		}
		return nil
	}
}

func (d document) number(into *int, name string) field {
	return func(value *yaml.Node) error {
		if value.Kind != yaml.ScalarNode || value.Tag != "!!int" || value.Decode(into) != nil {
			return d.errorf(value, name, "%s: expected a whole number", name)
		}
		return nil
	}
}

func (d document) text(into *string, name string) field {
	return func(value *yaml.Node) error {
		if value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
			return d.errorf(value, name, "%s: expected a text", name)
		}
		*into = value.Value
		return nil
	}
}

// names takes a list of names, each once.
func (d document) names(into *[]string, name string) field {
	return func(value *yaml.Node) error {
		texts, err := d.list(value, name)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for i, text := range texts {
			if !broker.IsName(text) {
				return d.errorf(value.Content[i], name, "%s: %q is not a name: expected a-z, 0-9, \"-\", \"_\" and \".\"", name, clip(text))
			}
			if seen[text] {
				return d.errorf(value.Content[i], name, "%s: %q stands here twice", name, text)
			}
			seen[text] = true
		}
		*into = texts
		return nil
	}
}

func (d document) list(value *yaml.Node, name string) ([]string, error) {
	if isNull(value) {
		return nil, nil
	}
	if value.Kind != yaml.SequenceNode {
		return nil, d.errorf(value, name, "%s: expected a list, like [one, two]", name)
	}
	texts := make([]string, len(value.Content))
	for i, node := range value.Content {
		if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
			return nil, d.errorf(node, name, "%s: expected a text", name)
		}
		texts[i] = node.Value
	}
	return texts, nil
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func join(texts []string) string { return strings.Join(texts, ", ") }

func clip(text string) string {
	if len(text) <= maxName {
		return text
	}
	return strings.ToValidUTF8(text[:maxName], "") + "…"
}

// each gives every name of a mapping that a user may choose the names of.
func (d document) each(node *yaml.Node, name string, take func(key, value *yaml.Node) error) error {
	if isNull(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return d.errorf(node, name, "%s: expected names with values below", name)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if err := take(node.Content[i], node.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}
