package judge

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

var graphQLSeeds = [][2]string{
	{`mutation { volumeDelete(volumeId: "v") }`, ``},
	{`mutation A($i: ServiceInput!, $e: String = "e") { a: serviceUpdate(serviceId: "s", environmentId: $e, input: $i) { id n: name ...F } } fragment F on Service { volume { id } }`,
		`{"i":{"numReplicas":0,"tags":"danger","mount":{"volumeId":"v","path":"/"},"source":null}}`},
	{`query($x: Boolean = true) { search(text: "t") { __typename ... on Named { name } ... on Token @skip(if: $x) { secret } } status @include(if: $x) }`, `{"x":false}`},
	{`{ nodes(ids: [1, "b"]) { id ... on Service { variables { value } owner { projects { services { edges { node { id } } } } } } } }`, ``},
	{`mutation { configPatch(environmentId: """e""", patch: {services: {a: {isDeleted: true}}, n: [1.5, -0, 1e9, null]}) variablesUpsert(input: {environmentId: "e", variables: {A: "\u0041"}}) }`, ``},
	{`{ __schema { types { name fields(includeDeprecated: true) { name } } } one(which: {id: 5}) { id } }`, ``},
	{`mutation($d: JSON) { projectDelete(id: 12, answer: YES) configPatch(environmentId: "e", patch: [$d]) serviceDelete(id: null) }`, `{"d":{"a":[]}}`},
}

// What is sent is read by the parser and validator that others wrote, fits the schema, has the same root
// fields with the same arguments, and is judged as the same thing.
func FuzzJudgeGraphQL(f *testing.F) {
	for _, seed := range graphQLSeeds {
		f.Add(seed[0], seed[1])
	}
	g, schema := shop(f), shopSchema(f)
	f.Fuzz(func(t *testing.T, text, variables string) {
		if strings.Contains(text, reservedAlias) || strings.Contains(variables, reservedAlias) || variables != "" && !json.Valid([]byte(variables)) {
			return
		}
		call := document(text, variables)
		v := g.Judge(call, false)
		lenient := g.Judge(call, true)
		if v.Class == Refused {
			return
		}
		if lenient.Class != v.Class {
			t.Fatalf("class %s, and %s in the lenient reading: %s", v.Class, lenient.Class, lenient.Refusal)
		}
		sameRoots(t, schema, v)
		again := g.Judge(post(strings.ReplaceAll(string(v.Send.Body), reservedAlias, "theirs_")), false)
		if strings.Contains(again.Refusal, "more than") || strings.Contains(again.Refusal, "nested deeper") {
			return // our own fields count as well
		}
		if diff := cmp.Diff(v.Operations, again.Operations, cmpopts.IgnoreFields(Operation{}, "Text")); diff != "" {
			t.Fatalf("what is sent is judged in another way: %s\n-first +sent\n%s\n%s", again.Refusal, diff, v.Send.Body)
		}
	})
}

// sameRoots reads what is sent once more, without anything of ours.
func sameRoots(t *testing.T, schema *ast.Schema, v Verdict) {
	t.Helper()
	var body struct {
		Query     string
		Variables map[string]json.RawMessage
	}
	if err := json.Unmarshal(v.Send.Body, &body); err != nil {
		t.Fatalf("what is sent is no JSON: %v\n%s", err, v.Send.Body)
	}
	sent, errs := gqlparser.LoadQueryWithRules(schema, body.Query, nil)
	if errs != nil {
		// Our expansion of an interface may meet what the document was refused for by the specification's
		// rule on answers of different shapes; the provider refuses it as well.
		if !strings.Contains(errs.Error(), "conflict") {
			t.Fatalf("what is sent does not fit the schema: %v\n%s", errs, v.Send.Body)
		}
		return
	}
	if len(sent.Operations) != 1 || len(sent.Fragments) != 0 || len(sent.Operations[0].SelectionSet) != len(v.Operations) {
		t.Fatalf("what is sent has other operations than what was judged\n%s", v.Send.Body)
	}
	for at, selection := range sent.Operations[0].SelectionSet {
		root := selection.(*ast.Field)
		arguments := map[string]any{}
		for _, argument := range root.Arguments {
			if argument.Value.Kind != ast.Variable {
				t.Fatalf("an argument is sent as a literal\n%s", v.Send.Body)
			}
			decoder := json.NewDecoder(bytes.NewReader(body.Variables[argument.Value.Raw]))
			decoder.UseNumber()
			var value any
			if err := decoder.Decode(&value); err != nil {
				t.Fatal(err)
			}
			arguments[argument.Name] = value
		}
		want := string(sent.Operations[0].Operation) + " " + string(appendCall(nil, &field{name: root.Name, arguments: arguments}))
		if !strings.HasPrefix(v.Operations[at].Text, want) || v.Operations[at].Name != root.Name {
			t.Fatalf("judged %s, sent %s", v.Operations[at].Text, want)
		}
	}
}

var restSeeds = [][4]string{
	{"GET", "/repos/acme/shop/contents/a/%C3%A9/b%20c", "ref=x&ref=y+z", ""},
	{"PATCH", "/repos/acme/shop", "", `{"archived":true,"name":null}`},
	{"DELETE", "/repos/acme/shop/caches", "key=a%26b&force=1", ""},
	{"POST", "/jobs", "now", `{"jobs":[{"environment":"e","repository_id":7}]}`},
	{"HEAD", "/repos/a/b/branches/x/y/protection", "", ""},
	{"GET", "/repos/a/b/compare/a...b/c", "", ""},
	{"GET", "/repos/a/%2e%2e/b", "", ""},
	{"POST", "/repos/a/b/assets", "", "\x00raw"},
}

// What is sent is judged as the same thing, and Go reads its path and its query as the judge did.
func FuzzJudgeREST(f *testing.F) {
	for _, seed := range restSeeds {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	r := forge(f)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		v := r.Judge(Call{Method: method, Path: path, Query: query, Body: []byte(body)}, false)
		if v.Class == Refused {
			return
		}
		theirs, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatalf("%q is judged, and Go cannot read it: %v", path, err)
		}
		ours, err := url.ParseRequestURI(v.Send.Path)
		if err != nil || theirs.Path != ours.Path || ours.RawPath != "" && ours.EscapedPath() != v.Send.Path || theirs.RawQuery != "" || ours.JoinPath().Path != ours.Path {
			t.Fatalf("%q is sent as %q: %v, to Go they are %q and %q", path, v.Send.Path, err, theirs.Path, ours.Path)
		}
		segments, err := NormalPath(path)
		if err != nil || "/"+strings.Join(segments, "/") != ours.Path {
			t.Fatalf("%q is read as %q, by Go as %q", path, segments, ours.Path)
		}
		values, err := url.ParseQuery(query)
		if err != nil || !cmp.Equal(values, v.Send.Query, cmpopts.EquateEmpty()) {
			t.Fatalf("the query %q is read as %q, by Go as %q, %v", query, v.Send.Query, values, err)
		}
		again := r.Judge(Call{Method: v.Send.Method, Path: v.Send.Path, Query: v.Send.Query.Encode(), ContentType: v.Send.ContentType, Body: v.Send.Body}, false)
		if diff := cmp.Diff(v.Operations, again.Operations); diff != "" {
			t.Fatalf("what is sent is judged in another way: %s\n-first +sent\n%s", again.Refusal, diff)
		}
	})
}

// A pack that is read is checked without a panic, and reads the same twice.
func FuzzParsePack(f *testing.F) {
	for _, seed := range []string{
		"mutation volumeDelete\n delete w\n touch volume a.b/keys(c) in d\n when a = [1] admin w\n only a.** b refused w\n",
		"GET /a/{b}/{c...}\n read r\n touch x b/c\n secret ** a.*\n keep x - id\n raw\n rule r\n",
		"type A environment b why\nfield A.b secret\n# c\n",
	} {
		f.Add([]byte(seed))
	}
	schema := shopSchema(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		pack, err := ParsePack("p", "p.pack", text)
		if err != nil {
			return
		}
		again, _ := ParsePack("p", "p.pack", text)
		if diff := cmp.Diff(pack, again, cmpopts.IgnoreUnexported(Condition{})); diff != "" {
			t.Fatalf("read in two ways:\n%s", diff)
		}
		for name, row := range pack.Rows {
			if row.Operation != name || row.Class == "" || row.Why == "" || len(row.Touches) == 0 && row.Class != Refused {
				t.Fatalf("an incomplete row: %+v", row)
			}
		}
		if _, err := NewGraphQL(pack, schema); err == nil {
			t.Fatal("a pack without most rows fits the schema")
		}
		if r, err := NewREST(pack); err == nil {
			_ = r.Judge(Call{Method: "GET", Path: "/a/b/c"}, false)
		}
	})
}

// Whatever the provider answers: no panic, and nothing of another environment or secret remains. In the
// seeds all that must not be seen has "production" in it; the fuzzer moves the pieces around.
func FuzzRewrite(f *testing.F) {
	text := `{ project(id: "shop") { volumes { id service { variables { value } config } backups { id } } services { edges { node { id } } } }
		search(text: "x") { ... on Node { id } ... on Named { name } } volume(id: "v") { id } variables(environmentId: "e") }`
	g := shop(f)
	v := g.Judge(document(text, ""), false)
	if v.Class == Refused {
		f.Fatal(v.Refusal)
	}
	for _, seed := range []string{
		`{"data":{"project":{"hk_of_Project":"shop","volumes":[{"hk_of_Volume":"production","id":"x"},{"hk_of_Volume":"staging","id":"y","service":{"hk_of_Service":"staging","variables":[{"value":"secret"}]}}]}}}`,
		`{"data":{"search":[{"hk_is":"Volume","hk_of_Volume":"staging","id":"y"},{"hk_is":"Token"}],"variables":{"A":"secret"}},"errors":[{"message":"m","path":["a",1]}]}`,
		`{"data":{"volume":{"hk_of_Volume":null,"id":"z"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := v.Answer.Rewrite(answer, staging)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("no JSON: %s", got)
		}
		var before, after struct{ Data map[string]any }
		_ = json.Unmarshal(answer, &before)
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatal(err)
		}
		allowed := map[string]bool{hiddenValue: true}
		mine(before.Data, "", allowed)
		for _, s := range leaves(after.Data, nil) {
			if !allowed[s] {
				t.Fatalf("%q is seen, and stands in nothing of the lease's\n%s\n%s", s, answer, got)
			}
		}
	})
}

// mine collects, in a way of its own, what may be seen: texts directly in objects that say that they are of
// staging, or of a type that belongs nowhere.
func mine(v any, key string, allowed map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			mine(element, key, allowed)
		}
	case map[string]any:
		if _, isSecret := v["value"]; isSecret && key == "variables" || key == "config" {
			return
		}
		for name, place := range v {
			if strings.HasPrefix(name, "hk_of_") && place != "staging" && place != "shop" {
				return
			}
		}
		for name, value := range v {
			mine(value, name, allowed)
		}
	case string:
		allowed[v] = true
	}
}

func leaves(v any, all []string) []string {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			all = leaves(element, all)
		}
	case map[string]any:
		for _, value := range v {
			all = leaves(value, all)
		}
	case string:
		all = append(all, v)
	}
	return all
}
