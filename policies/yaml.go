package policies

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds one policy file: far above any that a person would read, far below what could hurt.
const maxFile = 256 << 10

// yamlLine finds the line in an error of the YAML parser.
var yamlLine = regexp.MustCompile(`(?s)^line (\d+): (.*)$`)

// reader reads the YAML of one file strictly and notes what is wrong.
type reader struct {
	file  string
	found *problems
}

func (r reader) wrong(node *yaml.Node, format string, args ...any) {
	r.found.add(r.file, node.Line, format, args...)
}

// parse gives the mapping that the file consists of; nil if it is empty or wrong.
func (r reader) parse(data []byte) *yaml.Node {
	if len(data) > maxFile {
		r.found.add(r.file, 1, "the file has %d bytes: at most %d are read", len(data), maxFile)
		return nil
	}
	if at := notText(data); at > 0 {
		r.found.add(r.file, at, "the file is not UTF-8 text")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) {
			r.malformed(err)
		}
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		r.wrong(&second, "a second document begins here: write one document per file") // it would be ignored, and a task with it
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.malformed(err)
		return nil
	}
	if len(document.Content) != 1 || !r.isPlain(document.Content[0]) {
		return nil
	}
	return document.Content[0]
}

func (r reader) malformed(err error) {
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if parts := yamlLine.FindStringSubmatch(text); parts != nil {
		line, _ = strconv.Atoi(parts[1])
		text = parts[2]
	}
	r.found.add(r.file, line, "not YAML: %s", clip(text))
}

// isPlain refuses what makes a file say something else than it seems to: anchors, aliases and merge
// keys (a list changed far from where it is read; the billion laughs), and explicit tags.
func (r reader) isPlain(node *yaml.Node) bool {
	switch {
	case node.Kind == yaml.AliasNode:
		r.wrong(node, "alias *%s: aliases are not allowed, write the value out", clip(node.Value))
	case node.Anchor != "":
		r.wrong(node, "anchor &%s: anchors are not allowed, write the value out", clip(node.Anchor))
	case node.Tag == "!!merge":
		r.wrong(node, "merge key <<: merging is not allowed, write the fields out")
	case node.Style&yaml.TaggedStyle != 0:
		r.wrong(node, "tag %s: tags are not allowed", clip(node.Tag))
	default:
		for _, child := range node.Content {
			if !r.isPlain(child) {
				return false
			}
		}
		return true
	}
	return false
}

// field is one key of a mapping and its value.
type field struct {
	name       string
	key, value *yaml.Node
}

// fields gives the fields of a mapping in their order, each name once.
func (r reader) fields(node *yaml.Node, what string) []field {
	if node.Kind != yaml.MappingNode {
		r.wrong(node, "%s: expected a mapping of names to values", what)
		return nil
	}
	seen := map[string]int{} // name → line
	var list []field
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		name, ok := r.text(key, what+": a name")
		if !ok {
			continue
		}
		if line, double := seen[name]; double {
			r.wrong(key, "%q is there already, at line %d", clip(name), line)
			continue
		}
		seen[name] = key.Line
		list = append(list, field{name, key, node.Content[i+1]})
	}
	return list
}

// text gives a scalar that is text; 5, true, null and an empty value are not.
func (r reader) text(node *yaml.Node, what string) (string, bool) {
	switch {
	case node.Kind != yaml.ScalarNode:
		r.wrong(node, "%s: expected text", what)
	case node.Tag == "!!null" || node.Value == "":
		r.wrong(node, "%s is empty", what)
	case node.Tag != "!!str":
		r.wrong(node, "%s: expected text, found %s: put it in quotes if it is a name", what, clip(node.Value))
	default:
		return node.Value, true
	}
	return "", false
}

// listed is one entry of a list of texts.
type listed struct {
	text string
	node *yaml.Node
}

// texts gives a list of texts, none of them twice.
func (r reader) texts(node *yaml.Node, what string) []listed {
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, "%s: expected a list, like [a, b]", what)
		return nil
	}
	seen := map[string]bool{}
	var list []listed
	for _, entry := range node.Content {
		text, ok := r.text(entry, what+": an entry")
		if !ok {
			continue
		}
		if seen[text] {
			r.wrong(entry, "%s: %q is listed twice", what, clip(text))
			continue
		}
		seen[text] = true
		list = append(list, listed{text, entry})
	}
	return list
}

// notText gives the first line (from 1) that holds bytes that are not UTF-8, a NUL or a byte order
// mark, which would let another encoding in; 0 if the data is text.
func notText(data []byte) int {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 || bytes.Contains(line, []byte("\ufeff")) {
			return i + 1
		}
	}
	return 0
}
