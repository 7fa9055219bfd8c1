package judge

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// REST judges calls to a REST API. It is immutable.
type REST struct {
	pack   *Pack
	routes map[string][]route // by method and door
}

type route struct {
	row      *Row
	template template
}

// NewREST checks the rows of a pack: every path in them begins with a parameter of the operation, query or
// body, and no two operations are one to a server.
func NewREST(pack *Pack) (*REST, error) {
	r := &REST{pack: pack, routes: map[string][]route{}}
	c := checker{pack: pack}
	shapes := map[string]*Row{}
	for _, name := range sortedRows(pack) {
		row := pack.Rows[name]
		method, path, _ := strings.Cut(name, " ")
		template, err := parseTemplate(path)
		if err != nil || method == "mutation" || method == "query" || method == "subscription" {
			c.note(row.Line, "%s is no REST operation", name)
			continue
		}
		shape := method + " " + template.shape()
		if other := shapes[shape]; other != nil {
			c.note(row.Line, "%s is the same as %s", name, other.Operation)
		}
		shapes[shape] = row
		c.restRow(row, template)
		door := method + " " + template.door()
		r.routes[door] = append(r.routes[door], route{row, template})
	}
	if len(pack.Types) > 0 || len(pack.Fields) > 0 {
		c.note(0, "type and field are for GraphQL")
	}
	if err := c.all(); err != nil {
		return nil, err
	}
	return r, nil
}

func sortedRows(pack *Pack) []string {
	names := make([]string, 0, len(pack.Rows))
	for name := range pack.Rows {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// shape is the template without the names of its parameters.
func (t template) shape() string {
	var shape []string
	for _, p := range t {
		switch {
		case p.second != nil:
			shape = append(shape, "{}"+p.between+"{}")
		case p.multi:
			shape = append(shape, "{...}")
		case p.name != "":
			shape = append(shape, "{}")
		default:
			shape = append(shape, strings.ToLower(p.literal))
		}
	}
	return strings.Join(shape, "/")
}

func (c *checker) restRow(row *Row, t template) {
	known := append(t.names(), "query", "body")
	for _, path := range append(row.paths(), row.Hide...) {
		if !slices.Contains(known, path[0]) {
			c.note(row.Line, "%s: the path %s begins with none of %s", row.Operation, path, strings.Join(known, ", "))
		}
		if path[0] == "body" && (row.Raw || strings.HasPrefix(row.Operation, "GET ")) {
			c.note(row.Line, "%s: the path %s looks into a body that there is none of", row.Operation, path)
		}
	}
	if row.Raw && strings.HasPrefix(row.Operation, "GET ") {
		c.note(row.Line, "%s: raw is for a body, which GET has none of", row.Operation)
	}
}

// paths lists every path into the arguments.
func (row *Row) paths() []Path {
	var all []Path
	for _, touch := range row.Touches {
		all = append(all, touch.Paths...)
		if touch.In != nil {
			all = append(all, touch.In)
		}
	}
	for _, condition := range row.When {
		all = append(all, condition.Path)
	}
	if row.Only != nil {
		all = append(all, row.Only.Paths...)
	}
	return all
}

// Judge says what a call would do, and what is sent instead of it. Lenient is for `hourkeyd classify`.
func (r *REST) Judge(call Call, lenient bool) Verdict {
	segments, err := NormalPath(call.Path)
	if err != nil {
		return refused(nil, err)
	}
	row, parameters, err := r.find(call.Method, segments)
	if err != nil {
		return refused(nil, err)
	}
	query, err := readQuery(call.Query)
	if err != nil {
		return refused(nil, err)
	}
	body, err := readBody(call, row)
	if err != nil {
		return refused(nil, err)
	}
	arguments := argumentsOf(parameters, query, body)
	if err := oneDoor(row, call.Method, parameters, arguments); err != nil {
		return refused(nil, err)
	}
	send := Send{Method: call.Method, Path: escapePath(segments), Query: query}
	send.put(call, row, body)
	operation, err := row.operation(arguments, send)
	switch {
	case err != nil:
		return refused(nil, err)
	case operation.Class == Refused:
		return refused([]Operation{operation}, fmt.Errorf("%s is never let through: %s", operation.Name, operation.Why))
	case lenient:
		return Verdict{Class: operation.Class, Operations: []Operation{operation}}
	}
	answer := Answer{rest: row, plain: call.Method == "HEAD" || len(row.Secrets) == 0 && len(row.Keep) == 0}
	return Verdict{Class: operation.Class, Operations: []Operation{operation}, Send: send, Answer: answer}
}

func (row *Row) operation(arguments map[string]any, send Send) (Operation, error) {
	d, err := row.decide(arguments)
	if err != nil {
		return Operation{}, err
	}
	touches, err := row.named(arguments)
	operation := Operation{
		Name: row.Operation, Class: d.class, Why: d.why, Line: d.line, Rule: row.Rule,
		Touches: touches, Text: send.text(),
	}
	shown, exact := hide(arguments, row.Hide)
	if operation.Exact = exact; exact != "" {
		operation.Text = send.showing(shown).text()
	}
	return operation, err
}

// showing is the call with other values in its query and body.
func (s Send) showing(arguments map[string]any) Send {
	if query, ok := arguments["query"].(map[string]any); ok {
		s.Query = url.Values{}
		for key, value := range query {
			for _, one := range listOf(value) {
				s.Query.Add(key, scalarText(one))
			}
		}
	}
	if body, given := arguments["body"]; given && !s.Raw {
		s.Body = appendJSON(nil, body)
	}
	return s
}

func listOf(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// find gives the one row that a call belongs to.
func (r *REST) find(method string, segments []string) (*Row, map[string]any, error) {
	as := method
	switch method {
	case "HEAD":
		as = "GET"
	case "GET", "POST", "PUT", "PATCH", "DELETE":
	default:
		return nil, nil, fmt.Errorf("the method %s is not known here", shown(method))
	}
	var rows []*Row
	var fits []fit
	for _, door := range doors(segments) {
		for _, route := range r.routes[as+" "+door] {
			if fit, ok := route.template.match(segments); ok {
				rows, fits = append(rows, route.row), append(fits, fit)
			}
		}
	}
	if len(rows) == 0 {
		return nil, nil, fmt.Errorf("the pack has no row for %s %s", as, shown(escapePath(segments)))
	}
	for at, best := range fits {
		closest := true
		for other := range fits {
			closest = closest && (other == at || best.closerThan(fits[other]))
		}
		if closest && best.exact {
			return rows[at], best.values, nil
		}
	}
	return nil, nil, fmt.Errorf("%s %s could be read as more than one operation", as, shown(escapePath(segments)))
}

// doors are those behind which the row of a path can be.
func doors(segments []string) []string {
	if len(segments) == 0 {
		return []string{""}
	}
	return []string{strings.ToLower(segments[0]), ""}
}

// readQuery reads the query strictly: "a=1&b=2", a key may stand several times.
func readQuery(raw string) (url.Values, error) {
	query := url.Values{}
	if raw == "" {
		return query, nil
	}
	if len(raw) > maxPathBytes {
		return nil, fmt.Errorf("the query is longer than %d bytes", maxPathBytes)
	}
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, err := queryWord(key)
		if err == nil && (key == "" || strings.ContainsAny(key, "[]")) {
			err = errors.New("a name must not be empty or have [ or ] in it: servers differ on what that means")
		}
		if err == nil {
			value, err = queryWord(value)
		}
		if err != nil {
			return nil, fmt.Errorf("the query, at %s: %w", shown(pair), err)
		}
		query.Add(key, value)
	}
	return query, nil
}

func queryWord(escaped string) (string, error) {
	for at := range len(escaped) {
		if b := escaped[at]; b <= ' ' || b >= 0x7f || strings.IndexByte(";#\\\"<>^`{|}", b) >= 0 {
			return "", fmt.Errorf("it has %s in it unescaped", shown(string(rune(b))))
		}
	}
	word, err := url.QueryUnescape(escaped)
	switch {
	case err != nil:
		return "", errors.New("it has an escape that is none")
	case !utf8.ValidString(word):
		return "", errors.New("it is not UTF-8")
	case strings.ContainsFunc(word, unicode.IsControl):
		return "", errors.New("it has a control character in it")
	}
	return word, nil
}

// noBody stands for a body that is not there, which null is not.
type noBody struct{}

// readBody reads a JSON object or list. What the caller says of its type does not matter, for it goes out as
// JSON, but it must not say that it is something else; curl's default for -d is taken for nothing said.
func readBody(call Call, row *Row) (any, error) {
	media, parameters, err := mime.ParseMediaType(call.ContentType)
	if call.ContentType != "" && err != nil {
		return nil, fmt.Errorf("the content type %s cannot be read", shown(call.ContentType))
	}
	switch {
	case len(call.Body) == 0:
		return noBody{}, nil
	case call.Method == "GET" || call.Method == "HEAD":
		return nil, fmt.Errorf("%s has no body here", call.Method)
	case row.Raw:
		return noBody{}, nil
	case !isJSONMedia(media) || !strings.EqualFold(cmp.Or(parameters["charset"], "utf-8"), "utf-8"):
		return nil, fmt.Errorf("the body must be JSON, not %s", shown(call.ContentType))
	}
	body, err := readJSON(call.Body, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("the body is not JSON that can be read in one way only: %w", err)
	}
	switch body.(type) {
	case map[string]any, []any:
		return body, nil
	}
	return nil, fmt.Errorf("the body must be an object or a list, found %s", kindOf(body))
}

func isJSONMedia(media string) bool {
	switch media {
	case "", "application/json", "application/x-www-form-urlencoded":
		return true
	}
	return strings.HasPrefix(media, "application/vnd.") && strings.HasSuffix(media, "+json")
}

// argumentsOf makes one tree of all that a call says.
func argumentsOf(parameters map[string]any, query url.Values, body any) map[string]any {
	arguments := make(map[string]any, len(parameters)+2)
	for name, value := range parameters {
		arguments[name] = value
	}
	asked := make(map[string]any, len(query))
	for key, values := range query {
		if asked[key] = values[0]; len(values) > 1 {
			list := make([]any, len(values))
			for at, value := range values {
				list[at] = value
			}
			asked[key] = list
		}
	}
	arguments["query"] = asked
	if _, none := body.(noBody); !none {
		arguments["body"] = body
	}
	return arguments
}

// oneDoor refuses an argument that comes by another door than the row looks at. Many servers put the path's
// parameters, the query and the body into one: a row that looks at body.force must not be passed by with
// ?force=true.
func oneDoor(row *Row, method string, parameters, arguments map[string]any) error {
	query, _ := arguments["query"].(map[string]any)
	body, _ := arguments["body"].(map[string]any)
	for _, key := range sortedKeys(query) {
		if hasFold(parameters, key) {
			return fmt.Errorf("the query says %s: this operation takes that in the path", shown(key))
		}
	}
	if method == "GET" || method == "HEAD" {
		return nil
	}
	known := map[string]any{}  // "query.force"
	looks := map[string]bool{} // "query", "body"
	for _, path := range row.paths() {
		looks[path[0]] = true
		if len(path) > 1 {
			known[path[0]+"."+path[1]] = true
		}
	}
	for _, key := range sortedKeys(query) {
		if looks["body"] && !hasFold(known, "query."+key) {
			return fmt.Errorf("the query says %s: this operation takes its arguments in the body", shown(key))
		}
	}
	for _, key := range sortedKeys(body) {
		if hasFold(known, "query."+key) && !hasFold(known, "body."+key) {
			return fmt.Errorf("the body says %s: this operation takes that in the query", shown(key))
		}
	}
	return nil
}

// hasFold: a key in whatever case.
func hasFold(object map[string]any, key string) bool {
	for other := range object {
		if strings.EqualFold(other, key) {
			return true
		}
	}
	return false
}

// put makes the body that goes out.
func (s *Send) put(call Call, row *Row, body any) {
	if row.Raw {
		s.Raw, s.ContentType, s.Body = true, call.ContentType, call.Body
		return
	}
	if _, none := body.(noBody); !none {
		s.ContentType, s.Body = "application/json", appendJSON(nil, body)
	}
}

// text is the whole call, for reviewers and the log.
func (s Send) text() string {
	text := s.Method + " " + s.Path
	if len(s.Query) > 0 {
		text += "?" + s.Query.Encode()
	}
	switch {
	case s.Raw && len(s.Body) > 0:
		text += fmt.Sprintf(" with %d bytes, SHA-256 %x", len(s.Body), sha256.Sum256(s.Body))
	case len(s.Body) > 0:
		text += " " + string(s.Body)
	}
	return text
}
