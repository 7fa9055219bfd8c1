package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is one value of a file, with the keys that lead to it: JSON, YAML and INI files all become a
// list of these. The index of a list is a key too.
type entry struct {
	path  []string
	value string
	line  int // from 1
}

// is tells whether the path fits; "*" stands for any key.
func (e entry) is(pattern ...string) bool {
	return len(e.path) == len(pattern) && slices.EqualFunc(e.path, pattern, func(key, want string) bool {
		return want == "*" || key == want
	})
}

// valueOf gives the value at a path, "" if there is none.
func valueOf(entries []entry, path ...string) string {
	for _, e := range entries {
		if slices.Equal(e.path, path) {
			return e.value
		}
	}
	return ""
}

const maxDepth = 64 // no credential file nests like that

var errDepth = errors.New("nested too deeply")

// frame is an object or list that is being read.
type frame struct {
	object bool
	key    string // of an object: the one whose value comes next
	hasKey bool
	index  int
}

// readJSON reads a JSON text. A key that stands twice gives two entries: either may be the one in use.
func readJSON(data []byte) ([]entry, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	r := jsonReader{data: data, line: 1}
	for {
		part, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			if len(r.stack) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return r.entries, nil
		}
		if err != nil {
			return nil, err
		}
		if err := r.take(part, decoder.InputOffset()); err != nil {
			return nil, err
		}
	}
}

type jsonReader struct {
	data    []byte
	line    int
	offset  int64
	stack   []frame
	entries []entry
}

func (r *jsonReader) take(part json.Token, offset int64) error {
	r.line += bytes.Count(r.data[r.offset:offset], []byte("\n"))
	r.offset = offset
	switch part := part.(type) {
	case json.Delim:
		if part == '{' || part == '[' {
			if len(r.stack) == maxDepth {
				return errDepth
			}
			r.stack = append(r.stack, frame{object: part == '{'})
			return nil
		}
		r.stack = r.stack[:len(r.stack)-1]
		r.next()
	case string:
		if top := r.top(); top != nil && top.object && !top.hasKey {
			top.key, top.hasKey = part, true
			return nil
		}
		r.value(part)
	default:
		r.value(fmt.Sprint(part))
	}
	return nil
}

func (r *jsonReader) top() *frame {
	if len(r.stack) == 0 {
		return nil
	}
	return &r.stack[len(r.stack)-1]
}

func (r *jsonReader) value(text string) {
	path := make([]string, len(r.stack))
	for i, f := range r.stack {
		if path[i] = f.key; !f.object {
			path[i] = strconv.Itoa(f.index)
		}
	}
	r.entries = append(r.entries, entry{path, text, r.line})
	r.next()
}

// next goes on to the next member of what is being read.
func (r *jsonReader) next() {
	if top := r.top(); top != nil {
		top.hasKey = false
		top.index++
	}
}

// readYAML reads a YAML text. An alias counts where its anchor stands, so that no bomb of aliases unfolds.
func readYAML(data []byte) ([]entry, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	var entries []entry
	return entries, walkYAML(&root, nil, &entries)
}

func walkYAML(node *yaml.Node, path []string, entries *[]entry) error {
	if len(path) > maxDepth {
		return errDepth
	}
	switch node.Kind {
	case yaml.ScalarNode:
		*entries = append(*entries, entry{slices.Clone(path), node.Value, node.Line})
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := walkYAML(node.Content[i+1], append(path, node.Content[i].Value), entries); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			if err := walkYAML(item, append(path, strconv.Itoa(i)), entries); err != nil {
				return err
			}
		}
	case yaml.DocumentNode:
		return walkYAML(node.Content[0], path, entries)
	default: // an alias
	}
	return nil
}

// readINI reads sections of `key = value`. Lines that begin with # or ; are comments; settings nested
// under another (the AWS CLI has them) count as keys of the section.
func readINI(data []byte) []entry {
	var entries []entry
	section := ""
	for i, line := range lines(data) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if name, is := strings.CutPrefix(line, "["); is {
			section, _, _ = strings.Cut(name, "]")
			section = strings.TrimSpace(section)
			continue
		}
		key, value, has := strings.Cut(line, "=")
		if !has {
			continue
		}
		entries = append(entries, entry{[]string{section, strings.TrimSpace(key)}, strings.TrimSpace(value), i + 1})
	}
	return entries
}

// readDotenv reads an environment file, or what a shell's start-up file sets: `NAME=value`, with `export`
// before it, in quotes over several lines, with a comment behind. A line that is commented out counts:
// it holds its secret all the same.
func readDotenv(data []byte) []entry {
	var entries []entry
	all := lines(data)
	for i := 0; i < len(all); i++ {
		line := strings.TrimLeft(all[i], "# \t")
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		name, value, has := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !has || !isName(name) {
			continue
		}
		value, more := dotenvValue(strings.TrimSpace(value), all[i+1:])
		entries = append(entries, entry{[]string{name}, value, i + 1})
		i += more
	}
	return entries
}

// dotenvValue takes quotes and comments off, and tells how many of the lines that follow belong to it.
func dotenvValue(value string, following []string) (string, int) {
	if value == "" || !strings.ContainsRune("\"'`", rune(value[0])) {
		if at := strings.Index(value, " #"); at >= 0 {
			value = value[:at]
		}
		return strings.TrimSpace(value), 0
	}
	quote, first := value[0], value[1:]
	if at := closing(first, quote); at >= 0 {
		return first[:at], 0
	}
	const most = 100 // lines of one value: a private key has fewer
	for more, line := range following[:min(len(following), most)] {
		if at := closing(line, quote); at >= 0 {
			return first + "\n" + strings.Join(append(slices.Clone(following[:more]), line[:at]), "\n"), more + 1
		}
	}
	return first, 0 // never closed: the line alone
}

// closing finds the quote that ends a value.
func closing(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote:
			return i
		}
	}
	return -1
}

// isName tells a variable's name, as environment files have it.
func isName(text string) bool {
	return text != "" && strings.IndexByte(digits, text[0]) < 0 && span([]byte(text), letters+"_.-") == len(text)
}

// login is one entry of a netrc file.
type login struct {
	machine  string // empty: the default entry
	password string
	line     int
}

// readNetrc reads the netrc format as curl, ftp and git have it: words separated by white space, in
// double quotes where they have spaces, comments from # to the end of the line, and macros, which end
// with an empty line.
func readNetrc(data []byte) []login {
	var logins []login
	words := netrcWords(data)
	for i := 0; i < len(words); i++ {
		switch words[i].text {
		case "machine":
			logins = append(logins, login{machine: textAt(words, i+1)})
			i++
		case "default":
			logins = append(logins, login{})
		case "login", "account":
			i++
		case "password", "passwd":
			if len(logins) > 0 && i+1 < len(words) {
				logins[len(logins)-1].password, logins[len(logins)-1].line = words[i+1].text, words[i+1].line
			}
			i++
		}
	}
	return logins
}

type word struct {
	text string
	line int
}

func textAt(words []word, i int) string {
	if i < len(words) {
		return words[i].text
	}
	return ""
}

func netrcWords(data []byte) []word {
	var words []word
	inMacro := false
	for i, line := range lines(data) {
		if inMacro {
			inMacro = strings.TrimSpace(line) != ""
			continue
		}
		for line = strings.TrimLeft(line, " \t"); line != "" && line[0] != '#'; line = strings.TrimLeft(line, " \t") {
			var text string
			text, line = netrcWord(line)
			if text == "macdef" {
				inMacro = true
				break
			}
			words = append(words, word{text, i + 1})
		}
	}
	return words
}

// netrcWord takes the first word off a line.
func netrcWord(line string) (text, rest string) {
	if line[0] == '"' {
		if at := closing(line[1:], '"'); at >= 0 {
			return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(line[1 : 1+at]), line[at+2:]
		}
	}
	if at := strings.IndexAny(line, " \t"); at >= 0 {
		return line[:at], line[at:]
	}
	return line, ""
}

// lines splits a text.
func lines(data []byte) []string {
	return strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
}

// lineCounter tells the lines of offsets that only grow.
type lineCounter struct {
	data         []byte
	offset, line int
}

func countLines(data []byte) *lineCounter { return &lineCounter{data: data, line: 1} }

func (c *lineCounter) at(offset int) int {
	c.line += bytes.Count(c.data[c.offset:offset], []byte("\n"))
	c.offset = offset
	return c.line
}
