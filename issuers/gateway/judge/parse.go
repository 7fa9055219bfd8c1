package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ParsePack reads the text of a pack, as Row's comment draws it. Every mistake is named with its line, all
// of them joined: a word that is not known, an operation or a type that stands twice, a class without its
// why, a row that does not say what it touches.
func ParsePack(provider, file string, text []byte) (*Pack, error) {
	p := packParser{
		pack: &Pack{Provider: provider, File: file, Rows: map[string]*Row{}, Types: map[string]*Type{}, Fields: map[string]*Field{}},
	}
	for line := range strings.Lines(string(text)) {
		p.line++
		line = strings.TrimRight(line, " \t\r\n")
		words := &words{rest: strings.TrimLeft(line, " \t")}
		switch {
		case words.rest == "" || words.rest[0] == '#':
		case words.rest == line:
			p.endRow()
			p.note(p.head(words))
		case p.row == nil:
			p.note(errors.New("an indented line that belongs to no operation"))
		case p.row.Class == "":
			p.note(p.class(words))
		default:
			p.note(p.detail(words))
		}
	}
	p.endRow()
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	return p.pack, nil
}

type packParser struct {
	pack     *Pack
	line     int
	row      *Row // the one that indented lines belong to
	mistakes []error
}

func (p *packParser) note(err error) { p.noteAt(p.line, err) }

func (p *packParser) noteAt(line int, err error) {
	if err != nil {
		p.mistakes = append(p.mistakes, fmt.Errorf("%s:%d: %w", p.pack.File, line, err))
	}
}

// words takes a line apart.
type words struct{ rest string }

// next gives the next word, "" at the end.
func (w *words) next() string {
	word, rest, _ := strings.Cut(w.rest, " ")
	if at := strings.IndexByte(word, '\t'); at >= 0 {
		word, rest = w.rest[:at], w.rest[at:]
	}
	w.rest = strings.TrimLeft(rest, " \t")
	return word
}

// json takes one JSON value, which may have blanks in it.
func (w *words) json() (any, string, error) {
	decoder := json.NewDecoder(strings.NewReader(w.rest))
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		return nil, "", fmt.Errorf("expected a JSON value at %q", w.rest)
	}
	value, err := readJSON(raw, maxDepth)
	if err != nil {
		return nil, "", fmt.Errorf("the JSON value %s: %w", raw, err)
	}
	w.rest = strings.TrimLeft(w.rest[decoder.InputOffset():], " \t")
	return value, string(raw), nil
}

func (w *words) path() (Path, error) { return parsePath(w.next()) }

// classAndWhy takes what every line that classes ends with.
func (w *words) classAndWhy() (Class, string, error) {
	word := w.next()
	if !slices.Contains(Classes(), Class(word)) {
		return "", "", fmt.Errorf("%q is no class: expected one of %v", word, Classes())
	}
	if w.rest == "" {
		return "", "", fmt.Errorf("the class %s has no why", word)
	}
	return Class(word), w.rest, nil
}

func (w *words) end() error {
	if w.rest != "" {
		return fmt.Errorf("unexpected %q at the end of the line", w.rest)
	}
	return nil
}

var graphQLName = regexp.MustCompile(`^[_A-Za-z][_0-9A-Za-z]*$`)

func (p *packParser) head(w *words) error {
	switch word := w.next(); word {
	case "type":
		return p.typ(w)
	case "field":
		return p.field(w)
	case "mutation", "query", "subscription":
		name := w.next()
		if !graphQLName.MatchString(name) {
			return fmt.Errorf("%q is no name of an operation", name)
		}
		return p.operation(word+" "+name, w)
	case "GET", "POST", "PUT", "PATCH", "DELETE":
		path := w.next()
		if _, err := parseTemplate(path); err != nil {
			return err
		}
		return p.operation(word+" "+path, w)
	default:
		return fmt.Errorf("%q opens no entry: expected mutation, query, subscription, GET, POST, PUT, PATCH, DELETE, type or field", word)
	}
}

func (p *packParser) operation(name string, w *words) error {
	p.row = &Row{Operation: name, Line: p.line}
	if first, twice := p.pack.Rows[name]; twice {
		return fmt.Errorf("%s stands in line %d already", name, first.Line)
	}
	p.pack.Rows[name] = p.row
	return w.end()
}

func (p *packParser) class(w *words) error {
	class, why, err := w.classAndWhy()
	p.row.Class, p.row.Why = class, why
	if err != nil {
		p.row.Class = Refused // the mistake is named once; the next line is a detail
	}
	return err
}

// endRow checks the row that ends here as a whole.
func (p *packParser) endRow() {
	row := p.row
	p.row = nil
	if row == nil {
		return
	}
	none := slices.ContainsFunc(row.Touches, func(t Touch) bool { return t.Kind == "" })
	var err error
	switch {
	case row.Class == "":
		err = fmt.Errorf("%s has no class", row.Operation)
	case len(row.Touches) == 0 && row.Class != Refused:
		err = fmt.Errorf("%s does not say what it touches: write touch none if nothing", row.Operation)
	case none && len(row.Touches) > 1:
		err = fmt.Errorf("%s touches none and something", row.Operation)
	}
	p.noteAt(row.Line, err)
}

func (p *packParser) detail(w *words) error {
	switch word := w.next(); word {
	case "touch":
		return p.touch(w)
	case "when":
		return p.when(w)
	case "only":
		return p.only(w)
	case "hide":
		return p.hide(w)
	case "secret":
		return p.secret(w)
	case "keep":
		return p.keep(w)
	case "raw":
		p.row.Raw = true
		return w.end()
	case "rule":
		if p.row.Rule != "" || w.rest == "" {
			return errors.New("expected one rule with its name")
		}
		p.row.Rule = w.next()
		return w.end()
	default:
		return fmt.Errorf("%q is not known: expected touch, when, only, hide, secret, keep, raw or rule", word)
	}
}

func (p *packParser) touch(w *words) error {
	touch := Touch{Kind: w.next(), Line: p.line}
	word := w.next()
	switch {
	case touch.Kind == "none" && word == "":
		touch.Kind = ""
		p.row.Touches = append(p.row.Touches, touch)
		return nil
	case touch.Kind == "none" || !graphQLName.MatchString(strings.ReplaceAll(touch.Kind, "-", "_")):
		return fmt.Errorf("touch %s %s: expected none, or a kind and the path of its id", touch.Kind, word)
	case word == "-":
		p.row.Touches = append(p.row.Touches, touch)
		return w.end()
	case word == "new":
		touch.New = true
		word = w.next()
	}
	for part := range strings.SplitSeq(word, "/") {
		path, err := parsePath(part)
		if err != nil {
			return err
		}
		touch.Paths = append(touch.Paths, path)
	}
	if w.rest != "" {
		if word := w.next(); word != "in" {
			return fmt.Errorf("unexpected %q after the path: expected in", word)
		}
		var err error
		if touch.In, err = w.path(); err != nil {
			return err
		}
	}
	p.row.Touches = append(p.row.Touches, touch)
	return w.end()
}

func (p *packParser) when(w *words) error {
	condition := Condition{Line: p.line}
	var err error
	if condition.Path, err = w.path(); err != nil {
		return err
	}
	switch condition.Test = Test(w.next()); condition.Test {
	case Given, Absent, Null, Empty:
	case Equal, Unlike, Below, Above:
		if condition.value, condition.Value, err = w.json(); err != nil {
			return err
		}
		if _, number := condition.value.(json.Number); !number && (condition.Test == Below || condition.Test == Above) {
			return fmt.Errorf("when %s %s: expected a number, found %s", condition.Path, condition.Test, condition.Value)
		}
	default:
		return fmt.Errorf("%q is no test: expected given, absent, null, empty, =, !=, < or >", condition.Test)
	}
	condition.Class, condition.Why, err = w.classAndWhy()
	p.row.When = append(p.row.When, condition)
	return err
}

func (p *packParser) only(w *words) error {
	if p.row.Only != nil {
		return errors.New("a second only: one line lists all that is known")
	}
	only := &Only{Line: p.line}
	for !slices.Contains(Classes(), Class(firstWord(w.rest))) {
		path, err := w.path()
		if err != nil {
			return err
		}
		if path[len(path)-1] == keysOf {
			return fmt.Errorf("only %s: keys() names no argument", path)
		}
		only.Paths = append(only.Paths, path)
	}
	if len(only.Paths) == 0 {
		return errors.New("only: expected paths before the class")
	}
	var err error
	only.Class, only.Why, err = w.classAndWhy()
	p.row.Only = only
	return err
}

func firstWord(line string) string { return (&words{rest: line}).next() }

func (p *packParser) hide(w *words) error {
	if w.rest == "" {
		return errors.New("hide: expected paths of arguments")
	}
	for w.rest != "" {
		path, err := w.path()
		if err != nil {
			return err
		}
		if path[len(path)-1] == keysOf {
			return fmt.Errorf("hide %s: names are not hidden, values are", path)
		}
		p.row.Hide = append(p.row.Hide, path)
	}
	return nil
}

func (p *packParser) secret(w *words) error {
	if w.rest == "" {
		return errors.New("secret: expected paths in the answer")
	}
	for w.rest != "" {
		path, err := parseAnswerPath(w.next())
		if err != nil {
			return err
		}
		p.row.Secrets = append(p.row.Secrets, path)
	}
	return nil
}

// parseAnswerPath reads a path in an answer, which may begin with * or **.
func parseAnswerPath(word string) (Path, error) {
	path, err := parsePath("answer." + word)
	if err != nil {
		return nil, err
	}
	if path[len(path)-1] == keysOf {
		return nil, fmt.Errorf("path %q: keys() is for arguments", word)
	}
	return path[1:], nil
}

func (p *packParser) keep(w *words) error {
	keep := Keep{Kind: w.next(), Line: p.line}
	var err error
	if list := w.next(); list != "-" {
		if keep.List, err = parseAnswerPath(list); err != nil {
			return err
		}
	}
	if slices.Contains(keep.List, anyDepth) {
		return fmt.Errorf("keep %s: ** names no list", keep.List)
	}
	if keep.Key, err = parseAnswerPath(w.next()); err != nil {
		return err
	}
	p.row.Keep = append(p.row.Keep, keep)
	return w.end()
}

func (p *packParser) typ(w *words) error {
	typ := &Type{Name: w.next(), Line: p.line}
	if !graphQLName.MatchString(typ.Name) {
		return fmt.Errorf("%q is no name of a type", typ.Name)
	}
	if first, twice := p.pack.Types[typ.Name]; twice {
		return fmt.Errorf("type %s stands in line %d already", typ.Name, first.Line)
	}
	p.pack.Types[typ.Name] = typ
	switch bound := Bound(firstWord(w.rest)); bound {
	case Open:
		w.next()
		typ.Bound, typ.Why = bound, w.rest
		return nil
	case ByEnvironment, ByProject:
		w.next()
		typ.Bound, typ.Field = bound, w.next()
		if !graphQLName.MatchString(typ.Field) {
			return fmt.Errorf("type %s: expected the field that holds the id of its %s", typ.Name, bound)
		}
		typ.Why = w.rest
		return nil
	default:
		typ.Bound = ByClass
		var err error
		if typ.Class, typ.Why, err = w.classAndWhy(); err != nil {
			return fmt.Errorf("type %s: expected open, environment FIELD, project FIELD or a class: %w", typ.Name, err)
		}
		return nil
	}
}

func (p *packParser) field(w *words) error {
	field := &Field{Name: w.next(), Line: p.line}
	typ, name, _ := strings.Cut(field.Name, ".")
	if !graphQLName.MatchString(typ) || !graphQLName.MatchString(name) {
		return fmt.Errorf("%q is no field: expected Type.field", field.Name)
	}
	if first, twice := p.pack.Fields[field.Name]; twice {
		return fmt.Errorf("field %s stands in line %d already", field.Name, first.Line)
	}
	p.pack.Fields[field.Name] = field
	if firstWord(w.rest) == "secret" {
		w.next()
		field.Secret, field.Why = true, w.rest
		return nil
	}
	var err error
	field.Class, field.Why, err = w.classAndWhy()
	return err
}
