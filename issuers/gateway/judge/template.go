package judge

import (
	"fmt"
	"slices"
	"strings"
)

// template is the path of a REST operation, as packs write it.
type template []part

// part is one segment of a template: a literal, a parameter, or two parameters with something between them
// ("{base}...{head}", at the end of a template alone).
type part struct {
	literal string
	name    string
	multi   bool // {name...}: one or more segments of the path
	between string
	second  *part
}

// parseTemplate reads "/repos/{owner}/{repo}/contents/{path...}". At most one part takes several segments, so
// that a path fits a template in one way only.
func parseTemplate(text string) (template, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("the path %q does not begin with /", text)
	}
	if text == "/" {
		return nil, nil
	}
	segments := strings.Split(text[1:], "/")
	t := make(template, 0, len(segments))
	spans := 0
	for at, segment := range segments {
		p, err := parsePart(segment)
		if err == nil && p.second != nil && at < len(segments)-1 {
			err = fmt.Errorf("the segment %s has two parameters and is not the last", segment)
		}
		if err != nil {
			return nil, fmt.Errorf("the path %q: %w", text, err)
		}
		if p.multi || p.second != nil && p.second.multi {
			spans++
		}
		t = append(t, p)
	}
	names := t.names()
	slices.Sort(names)
	switch {
	case spans > 1:
		return nil, fmt.Errorf("the path %q: two parameters take several segments", text)
	case len(slices.Compact(slices.Clone(names))) != len(names):
		return nil, fmt.Errorf("the path %q: a parameter stands twice", text)
	case slices.Contains(names, "query") || slices.Contains(names, "body"):
		return nil, fmt.Errorf("the path %q: a parameter must not be called query or body", text)
	}
	return t, nil
}

func parsePart(segment string) (part, error) {
	open := strings.IndexByte(segment, '{')
	if open < 0 {
		if normal, err := normalSegment(segment); err != nil || normal != segment {
			return part{}, fmt.Errorf("the segment %q is not one that a path can have", segment)
		}
		return part{literal: segment}, nil
	}
	name, rest, closed := strings.Cut(segment[1:], "}")
	name, multi := strings.CutSuffix(name, "...")
	if open > 0 || !closed || !isParameter(name) {
		return part{}, fmt.Errorf("the segment %q: expected {name} or {name...}", segment)
	}
	p := part{name: name, multi: multi}
	if rest == "" {
		return p, nil
	}
	between, second, _ := strings.Cut(rest, "{")
	next, err := parsePart("{" + second)
	if err != nil || between == "" || next.second != nil {
		return part{}, fmt.Errorf("the segment %q: expected {one}between{other}", segment)
	}
	p.between, p.second = between, &next
	return p, nil
}

func isParameter(name string) bool {
	return graphQLName.MatchString(strings.ReplaceAll(name, "-", "_"))
}

func (t template) names() []string {
	var names []string
	for _, p := range t {
		if p.name != "" {
			names = append(names, p.name)
		}
		if p.second != nil {
			names = append(names, p.second.name)
		}
	}
	return names
}

// How closely a template fits a segment, closest first.
const (
	asLiteral = iota
	asParameter
	asSpan
)

// fit is how a path fits a template.
type fit struct {
	values map[string]any
	as     []int // of each segment of the path
	exact  bool  // the literals are written as in the template
}

// could tells, without making anything, that a path does not fit: by the literals before and after the part
// that takes several segments. Most templates are done with here.
func (t template) could(segments []string) bool {
	if len(segments) < len(t) {
		return false
	}
	for at := range t {
		if t[at].spans() {
			break
		}
		if t[at].name == "" && !isSame(t[at].literal, segments[at]) {
			return false
		}
	}
	for at := 1; at <= len(t); at++ {
		p := &t[len(t)-at]
		if p.spans() {
			return true
		}
		if p.name == "" && !isSame(p.literal, segments[len(segments)-at]) {
			return false
		}
	}
	return len(segments) == len(t)
}

func isSame(literal, segment string) bool {
	return literal == segment || strings.EqualFold(literal, segment)
}

func (p *part) spans() bool { return p.multi || p.second != nil && p.second.multi }

// door is the first segment of a template, in small letters; empty when that is a parameter.
func (t template) door() string {
	if len(t) == 0 {
		return ""
	}
	return strings.ToLower(t[0].literal)
}

// match fits a path to a template. Literals are compared without case: a server that does so must not get
// what was judged as somebody's parameter.
func (t template) match(segments []string) (fit, bool) {
	if !t.could(segments) {
		return fit{}, false
	}
	f := fit{exact: true}
	spare := len(segments) - len(t) // segments beyond one for each part
	at := 0
	for _, p := range t {
		if p.name == "" {
			if !strings.EqualFold(p.literal, segments[at]) {
				return fit{}, false
			}
			f.exact = f.exact && p.literal == segments[at]
			f.as = append(f.as, asLiteral)
			at++
			continue
		}
		taken := 1
		if p.spans() {
			taken += spare
			spare = 0
		}
		if !f.take(p, segments[at:at+taken]) {
			return fit{}, false
		}
		at += taken
	}
	return f, at == len(segments)
}

// take gives segments to a parameter, or to two.
func (f *fit) take(p part, segments []string) bool {
	if f.values == nil {
		f.values = map[string]any{}
	}
	as := asParameter
	if p.spans() {
		as = asSpan
	}
	for range segments {
		f.as = append(f.as, as)
	}
	value := strings.Join(segments, "/")
	if p.second == nil {
		f.values[p.name] = value
		return true
	}
	first, second, found := strings.Cut(value, p.between)
	if !found || first == "" || second == "" || strings.Contains(second, p.between) ||
		!p.multi && strings.Contains(first, "/") || !p.second.multi && strings.Contains(second, "/") {
		return false
	}
	f.values[p.name], f.values[p.second.name] = first, second
	return true
}

// closerThan: at no segment further off, and at one closer.
func (f fit) closerThan(g fit) bool {
	closer := false
	for at := range f.as {
		if f.as[at] > g.as[at] {
			return false
		}
		closer = closer || f.as[at] < g.as[at]
	}
	return closer
}
