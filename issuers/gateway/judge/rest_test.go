package judge

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func forge(t testing.TB) *REST {
	t.Helper()
	text, err := os.ReadFile("testdata/forge.pack")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := ParsePack("forge", "forge.pack", text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewREST(pack)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rest makes a call out of "DELETE /path?query" and a body.
func rest(line, body string) Call {
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	call := Call{Method: method, Path: path, Query: query, Body: []byte(body)}
	if body != "" {
		call.ContentType = "application/json"
	}
	return call
}

func wantREST(t *testing.T, r *REST, call Call, class Class) Verdict {
	t.Helper()
	v := r.Judge(call, false)
	if v.Class != class || len(v.Operations) != 1 {
		t.Fatalf("%s %s?%s %s: class %s, wanted %s: %s", call.Method, call.Path, call.Query, call.Body, v.Class, class, v.Refusal)
	}
	again := r.Judge(Call{
		Method: v.Send.Method, Path: v.Send.Path, Query: v.Send.Query.Encode(), ContentType: v.Send.ContentType, Body: v.Send.Body,
	}, false)
	if diff := cmp.Diff(v.Operations, again.Operations); diff != "" {
		t.Fatalf("what is sent is judged in another way: -first +sent\n%s", diff)
	}
	return v
}

func TestRESTOperation(t *testing.T) {
	r := forge(t)
	v := wantREST(t, r, rest("DELETE /repos/acme/shop", ""), Delete)
	wantTouches(t, v, Named{Kind: "repo", ID: "acme/shop"})
	wantText(t, v, "DELETE /repos/acme/shop")
	if o := v.Operations[0]; o.Name != "DELETE /repos/{owner}/{repo}" || o.Why != "ends a repository" {
		t.Errorf("got %+v", o)
	}
	v = wantREST(t, r, rest("PATCH /repos/acme/shop", ` { "private" : false, "archived":false}`), Admin)
	wantText(t, v, `PATCH /repos/acme/shop {"archived":false,"private":false}`)
	wantREST(t, r, rest("GET /", ""), Read)
	wantREST(t, r, rest("PATCH /repos/acme/shop", ""), Write)
}

func TestPathsThatServersReadDifferently(t *testing.T) {
	r := forge(t)
	for _, path := range []string{
		"/repos/acme/../other/shop", "/repos/acme/shop/../x", "/repos/acme/shop/..", "/repos/./acme/shop", "/repos/acme/shop/.",
		"/repos//acme/shop", "//repos/acme/shop", "/repos/acme/shop/", "/repos/acme/shop//", "/repos/acme/",
		"/repos/acme/%2e%2e/shop", "/repos/acme/%2E./shop", "/repos/acme%2fshop", "/repos/acme%2Fshop/x", "/repos/acme%5cshop/x", `/repos/acme\shop/x`,
		"/repos/acme/shop%252e", "/repos/acme/%25%32%65", "/repos/acme/%252fetc", "/repos/acme/shop%00", "/repos/acme/shop%0a", "/repos/acme/shop%7f",
		"/repos/acme/shop;x=1", "/repos/acme;/shop", "/repos/acme/shop%3bx", "/repos/acme/shop#x", "/repos/acme/shop?x",
		"/repos/acme/%41", "/repos/acme/%7e", "/repos/acme/%5f", "/repos/acme/shop%", "/repos/acme/shop%4", "/repos/acme/shop%zz", "/repos/acme/%u002e",
		"/repos/acme/%ff", "/repos/acme/%c0%ae", "/repos/acme/%c0%af", "/repos/acme/%ed%a0%80", "/repos/acme/é", "/repos/acme/sh op", "/repos/acme/shop%20",
		"/repos/acme/shop.", "/repos/acme/...", "repos/acme/shop", "", "*", "http://forge/repos/acme/shop", "/repos/acme/sh\top", "/repos/acme/a|b", "/repos/acme/{repo}",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			wantRefused(t, r.Judge(Call{Method: method, Path: path}, false), "path")
		}
	}
}

func TestPathsThatAreRead(t *testing.T) {
	for escaped, want := range map[string][]string{
		"/":                             nil,
		"/repos/acme/shop":              {"repos", "acme", "shop"},
		"/a/.github/x.yml":              {"a", ".github", "x.yml"},
		"/a/b%20c/%C3%A9":               {"a", "b c", "é"},
		"/a/b%c3%a9":                    {"a", "bé"},
		"/a/x:y@z,(1)+2=3&$!'*~":        {"a", "x:y@z,(1)+2=3&$!'*~"},
		"/labels/c%23%3F%5B":            {"labels", "c#?["},
		"/a/main...feature":             {"a", "main...feature"},
		"/" + strings.Repeat("a", 1000): {strings.Repeat("a", 1000)},
	} {
		got, err := NormalPath(escaped)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", escaped, got, err)
		}
		if again, err := NormalPath(escapePath(got)); err != nil || !slices.Equal(again, want) {
			t.Errorf("%s is sent as %s: %q, %v", escaped, escapePath(got), again, err)
		}
	}
	for _, long := range []string{strings.Repeat("/a", 65), "/" + strings.Repeat("a", 9000)} {
		if _, err := NormalPath(long); err == nil {
			t.Error("a long path is read")
		}
	}
}

func TestMethods(t *testing.T) {
	r := forge(t)
	v := wantREST(t, r, rest("HEAD /repos/acme/shop", ""), Read)
	if v.Send.Method != "HEAD" || !v.Answer.Plain() {
		t.Errorf("got %+v", v)
	}
	for _, method := range []string{"OPTIONS", "TRACE", "CONNECT", "get", "Delete", "PURGE", "", "PROPFIND"} {
		wantRefused(t, r.Judge(Call{Method: method, Path: "/repos/acme/shop"}, false), "method")
	}
	wantRefused(t, r.Judge(rest("POST /repos/acme/shop", ""), false), "no row")
	wantRefused(t, r.Judge(rest("DELETE /repos/acme", ""), false), "no row")
	wantRefused(t, r.Judge(rest("HEAD /jobs", ""), false), "no row")
	wantRefused(t, r.Judge(rest("POST /run", ""), false), "runs whatever it is told")
	wantRefused(t, r.Judge(rest("GET /repos/acme/shop", "{}"), false), "no body")
	wantRefused(t, r.Judge(rest("HEAD /repos/acme/shop", "{}"), false), "no body")
}

func TestClosestRowWins(t *testing.T) {
	r := forge(t)
	for line, name := range map[string]string{
		"GET /orgs/acme/members":                           "GET /orgs/{org}/members",
		"GET /orgs/acme/teams":                             "GET /orgs/{org}/{anything}",
		"GET /repos/acme/shop/branches/main":               "GET /repos/{owner}/{repo}/branches/{branch...}",
		"GET /repos/acme/shop/branches/a/b/c":              "GET /repos/{owner}/{repo}/branches/{branch...}",
		"GET /repos/acme/shop/branches/a/b/protection":     "GET /repos/{owner}/{repo}/branches/{branch...}/protection",
		"GET /repos/acme/shop/branches/protection":         "GET /repos/{owner}/{repo}/branches/{branch...}",
		"GET /repos/acme/shop/contents/a/b/c.txt":          "GET /repos/{owner}/{repo}/contents/{path...}",
		"GET /repos/acme/shop/compare/main...feature/x":    "GET /repos/{owner}/{repo}/compare/{base}...{head...}",
		"GET /repos/acme/shop/compare/main...fork:feature": "GET /repos/{owner}/{repo}/compare/{base}...{head...}",
	} {
		v := wantREST(t, r, rest(line, ""), cmpClass(name))
		if v.Operations[0].Name != name {
			t.Errorf("%s: row %s, wanted %s", line, v.Operations[0].Name, name)
		}
	}
	for _, line := range []string{"GET /repos/a/b/compare/main", "GET /repos/a/b/compare/a...b...c", "GET /repos/a/b/compare/f/a...b", "GET /repos/a/b/contents"} {
		wantRefused(t, r.Judge(rest(line, ""), false), "no row")
	}
}

func cmpClass(name string) Class {
	if strings.Contains(name, "{anything}") {
		return Admin
	}
	return Read
}

func TestCaseOfTheServer(t *testing.T) {
	r := forge(t)
	// A server that does not care for case would take these for the members.
	for _, line := range []string{"GET /orgs/acme/Members", "GET /orgs/acme/MEMBERS", "GET /Orgs/acme/members", "GET /repos/acme/shop/branches/a/Protection"} {
		wantRefused(t, r.Judge(rest(line, ""), false), "more than one operation")
	}
}

func TestRowsThatOverlap(t *testing.T) {
	pack, err := ParsePack("x", "x.pack", []byte("GET /a/{x}/c\n read r\n touch none\nGET /a/b/{y}\n read r\n touch none\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewREST(pack)
	if err != nil {
		t.Fatal(err)
	}
	wantREST(t, r, rest("GET /a/x/c", ""), Read)
	wantRefused(t, r.Judge(rest("GET /a/b/c", ""), false), "more than one operation")
}

func TestQueries(t *testing.T) {
	r := forge(t)
	caches := "DELETE /repos/acme/shop/caches"
	wantREST(t, r, rest(caches, ""), Delete)
	v := wantREST(t, r, rest(caches+"?key=a+b%26c", ""), Write)
	if diff := cmp.Diff(url.Values{"key": {"a b&c"}}, v.Send.Query); diff != "" {
		t.Error(diff)
	}
	wantText(t, v, caches+"?key=a+b%26c")
	wantREST(t, r, rest(caches+"?key=a&force=true", ""), Delete)
	wantREST(t, r, rest(caches+"?key=a&force=false&force=true", ""), Delete)
	wantREST(t, r, rest(caches+"?key=a&force=0", ""), Write)
	for _, query := range []string{"key=%zz", "key=%", "a;b=c", "key=a;force=true", "=x", "&", "a=1&&b=2", "key[]=x", "key%5B%5D=x", "key=%ff", "key=%00", "key=a%0d%0a", "key=é", "a b=1", "key=x#y"} {
		wantRefused(t, r.Judge(Call{Method: "DELETE", Path: "/repos/acme/shop/caches", Query: query}, false), "query")
	}
}

func TestBodies(t *testing.T) {
	r := forge(t)
	line := "PATCH /repos/acme/shop"
	wantREST(t, r, rest(line, `{"archived":true}`), Delete)
	wantREST(t, r, rest(line, `{"archived":"true"}`), Delete)
	wantREST(t, r, rest(line, `{"archived":null,"private":true}`), Write)
	wantREST(t, r, rest(line, `{"name":null}`), Delete)
	wantREST(t, r, rest(line, `{}`), Write)
	for _, body := range []string{`{"visibility":"public"}`, `{"Description":"x"}`, `[]`} {
		wantRefused(t, r.Judge(rest(line, body), false), "a setting that no row speaks of")
	}
	for _, body := range []string{`{"private":true,"private":false}`, `{"private":true}{"private":false}`, "{\"private\":true}\x00", `"x"`, `null`, `1`, `{"a":`, "{\"a\":\"\xff\"}", strings.Repeat("[", 100)} {
		wantRefused(t, r.Judge(rest(line, body), false), "body")
	}
	topics := "PUT /repos/acme/shop/topics"
	wantREST(t, r, rest(topics, `{"names":["a"]}`), Write)
	for _, body := range []string{`{"names":[]}`, `{"names":null}`, `{"names":""}`, `{"names":["a",""]}`, `{"names":{}}`} {
		wantREST(t, r, rest(topics, body), Delete)
	}
}

func TestContentTypes(t *testing.T) {
	r := forge(t)
	call := rest("PATCH /repos/acme/shop", `{"archived":true}`)
	for _, media := range []string{"", "application/json", "application/json; charset=utf-8", "application/vnd.github+json", "application/x-www-form-urlencoded"} {
		call.ContentType = media
		if v := wantREST(t, r, call, Delete); v.Send.ContentType != "application/json" || v.Send.Raw {
			t.Errorf("%s: sent as %s", media, v.Send.ContentType)
		}
	}
	for _, media := range []string{"multipart/form-data; boundary=x", "text/plain", "application/merge-patch+json", "application/json; charset=utf-16", "application/xml", "json", "a/b, c/d"} {
		call.ContentType = media
		wantRefused(t, r.Judge(call, false), "")
	}
	form := rest("PATCH /repos/acme/shop", "archived=true")
	form.ContentType = "application/x-www-form-urlencoded"
	wantRefused(t, r.Judge(form, false), "not JSON")
}

func TestArgumentsByAnotherDoor(t *testing.T) {
	r := forge(t)
	wantRefused(t, r.Judge(rest("PATCH /repos/acme/shop?archived=true", `{"archived":false}`), false), "arguments in the body")
	wantRefused(t, r.Judge(rest("PATCH /repos/acme/shop?visibility=public", ""), false), "arguments in the body")
	wantRefused(t, r.Judge(rest("DELETE /repos/acme/shop/caches?key=a", `{"force":true}`), false), "in the query")
	wantREST(t, r, rest("GET /repos/acme/shop?archived=true", ""), Read)
	wantRefused(t, r.Judge(rest("DELETE /repos/acme/shop?repo=bank", ""), false), "in the path")
	wantRefused(t, r.Judge(rest("GET /repos/acme/shop?Owner=other", ""), false), "in the path")
}

func TestKeysInAnotherCase(t *testing.T) {
	r := forge(t)
	wantRefused(t, r.Judge(rest("PUT /repos/acme/shop/topics", `{"Names":[]}`), false), `names is written "Names" here`)
	wantRefused(t, r.Judge(rest("PUT /repos/acme/shop/topics", `{"names":["a"],"NAMES":[]}`), false), `names is written "NAMES" here`)
	wantRefused(t, r.Judge(rest("DELETE /repos/acme/shop/caches?key=a&Force=true", ""), false), `force is written "Force" here`)
	wantRefused(t, r.Judge(rest("POST /jobs", `{"jobs":[{"Environment":"production","environment":"staging"}]}`), false), "is written")
	g := shop(t)
	refuses(t, g, document(`mutation { configPatch(environmentId: "e", patch: {services: {s: {IsDeleted: true}}}) }`, ""), "is written")
}

func TestRawBodies(t *testing.T) {
	r := forge(t)
	call := rest("POST /repos/acme/shop/assets?name=x", "\x00\xff{")
	call.ContentType = "application/zip"
	v := wantREST(t, r, call, Write)
	if !v.Send.Raw || string(v.Send.Body) != "\x00\xff{" || v.Send.ContentType != "application/zip" {
		t.Errorf("sent %+v", v.Send)
	}
	if text := v.Operations[0].Text; !strings.Contains(text, "with 3 bytes, SHA-256 ") {
		t.Errorf("text %s", text)
	}
}

func TestIDsInPathsAndBodies(t *testing.T) {
	r := forge(t)
	v := wantREST(t, r, rest("PUT /repos/acme/shop/contents/a/b%20c", `{"branch":"dev"}`), Write)
	wantTouches(t, v, Named{Kind: "file", ID: "acme/shop/a/b c", In: "dev"})
	wantTouches(t, wantREST(t, r, rest("PUT /repos/acme/shop/contents/.github/workflows/ci.yml", ""), Admin),
		Named{Kind: "file", ID: "acme/shop/.github/workflows/ci.yml"})
	v = wantREST(t, r, rest("POST /jobs", `{"jobs":[{"environment":"a","repository_id":7},{"environment":"b"}]}`), Write)
	wantTouches(t, v, Named{Kind: "environment", ID: "a"}, Named{Kind: "environment", ID: "b"}, Named{Kind: "repo", ID: "7"})
	wantTouches(t, wantREST(t, r, rest("POST /jobs", ""), Write), Named{Kind: "environment"}, Named{Kind: "repo"})
	for _, body := range []string{`{"jobs":[{"environment":""}]}`, `{"jobs":[{"environment":{}}]}`, `{"jobs":[{"repository_id":1.5}]}`, `{"jobs":[{"repository_id":-1}]}`, `{"jobs":"[]"}`} {
		wantRefused(t, r.Judge(rest("POST /jobs", body), false), "argument body.jobs")
	}
	wantREST(t, r, rest("POST /jobs?now", ""), Admin)
}

func TestRESTAnswers(t *testing.T) {
	r := forge(t)
	mine := Sight{Keeps: func(kind, id string) bool { return kind == "repo" && (id == "acme/shop" || id == "7") }}
	for _, c := range []struct{ line, answer, want string }{
		{"GET /user/repos", `[{"full_name":"acme/shop","x":1},{"full_name":"acme/bank"},{"name":"shop"},"acme/shop",{"full_name":["acme/shop"]}]`,
			`[{"full_name":"acme/shop","x":1}]`},
		{"GET /installations", `{"total":2,"installations":[{"repositories":[{"id":7},{"id":8}]},{"repositories":[]}]}`,
			`{"installations":[{"repositories":[{"id":7}]},{"repositories":[]}],"total":2}`},
		{"GET /repos/acme/shop/actions/variables", `{"variables":[{"name":"A","value":"s3cret"},{"name":"B","value":{"C":["s3cret",1]}}]}`,
			`{"variables":[{"name":"A","value":"hidden by Hourkey"},{"name":"B","value":{"C":["hidden by Hourkey","hidden by Hourkey"]}}]}`},
		{"GET /repos/acme/shop/actions/variables", `{"variables":["s3cret"]}`, `{"variables":["hidden by Hourkey"]}`},
		{"GET /repos/acme/shop/hooks", `[{"id":1,"a":{"secret":"s3cret"},"secret":["s3cret"],"config":{"url":"https://u:p@h"}}]`,
			`[{"a":{"secret":"hidden by Hourkey"},"config":{"url":"hidden by Hourkey"},"id":1,"secret":["hidden by Hourkey"]}]`},
		{"GET /user/repos", ``, ``},
	} {
		v := wantREST(t, r, rest(c.line, ""), Read)
		got, err := v.Answer.Rewrite([]byte(c.answer), mine)
		if err != nil || string(got) != c.want || v.Answer.Plain() {
			t.Errorf("%s: %v\n got %s\nwant %s", c.line, err, got, c.want)
		}
	}
	v := wantREST(t, r, rest("GET /user/repos", ""), Read)
	if got, _ := v.Answer.Rewrite([]byte(`[{"full_name":"acme/shop"}]`), Sight{}); string(got) != "[]" {
		t.Errorf("without a sight: %s", got)
	}
	for _, answer := range []string{`{"message":"x"}`, `"x"`, `<html>`, `[{"a":1,"a":2}]`} {
		if got, err := v.Answer.Rewrite([]byte(answer), mine); err == nil {
			t.Errorf("%s: let through as %s", answer, got)
		}
	}
	admin := mine
	admin.Secrets = true
	v = wantREST(t, r, rest("GET /repos/acme/shop/actions/variables", ""), Read)
	if got, _ := v.Answer.Rewrite([]byte(`{"variables":[{"value":"s3cret"}]}`), admin); !strings.Contains(string(got), "s3cret") {
		t.Errorf("admin sees %s", got)
	}
	if plain := wantREST(t, r, rest("GET /repos/acme/shop", ""), Read).Answer; !plain.Plain() {
		t.Error("an answer without secrets must pass as it is")
	}
}

func TestLenientREST(t *testing.T) {
	r := forge(t)
	v := r.Judge(rest("PATCH /repos/acme/shop", ""), true)
	if v.Class != Write || v.Send.Method != "" {
		t.Errorf("got %+v", v)
	}
}

func TestRESTPackMistakes(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"GET /a/{x}\n read r\n touch thing y\n", "begins with none of x, query, body"},
		{"GET /a/{x}\n read r\n touch thing body.x\n", "a body that there is none of"},
		{"POST /a\n write r\n touch thing body.x\n raw\n", "a body that there is none of"},
		{"GET /a\n read r\n touch none\n raw\n", "raw is for a body"},
		{"GET /a/{x}\n read r\n touch none\nGET /a/{y}\n read r\n touch none\n", "is the same as"},
		{"GET /a\n read r\n touch none\nGET /A\n read r\n touch none\n", "is the same as"},
		{"mutation a\n read r\n touch none\n", "no REST operation"},
		{"type A open\n", "for GraphQL"},
	} {
		pack, err := ParsePack("x", "x.pack", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = NewREST(pack); err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "x.pack:") {
			t.Errorf("%s: got %v, wanted it to say %q", c.text, err, c.says)
		}
	}
}
