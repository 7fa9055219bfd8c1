package github

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// thePack is read once: it is immutable.
var thePack = sync.OnceValues(New)

func pack(t *testing.T) *Pack {
	t.Helper()
	p, err := thePack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var several = regexp.MustCompile(`\.\.\.\}`)

// listed is an operation of the pack as the list writes it: there a parameter does not say that it may
// take several segments of the path.
func listed(operation string) string { return several.ReplaceAllString(operation, "}") }

func rowOf(t *testing.T, operation lists.Operation) *judge.Row {
	t.Helper()
	row, known := listedRows()[operation.Method+" "+operation.Path]
	if !known {
		t.Fatalf("no row for %s %s", operation.Method, operation.Path)
	}
	return row
}

// listedRows are the pack's rows by what the list calls them.
var listedRows = sync.OnceValue(func() map[string]*judge.Row {
	all := map[string]*judge.Row{}
	if p, err := thePack(); err == nil {
		for name, row := range p.Rows().Rows {
			all[listed(name)] = row
		}
	}
	return all
})

func TestEveryPublishedOperationHasItsRowAndNoRowIsInvented(t *testing.T) {
	rows := maps.Clone(listedRows())
	for _, operation := range operations(t) {
		name := operation.Method + " " + operation.Path
		if rows[name] == nil {
			t.Errorf("no row for %s", name)
		}
		delete(rows, name)
	}
	for name, row := range rows {
		t.Errorf("line %d: GitHub publishes no %s", row.Line, name)
	}
	if len(rows) == 0 {
		t.Logf("%d rows", len(pack(t).Rows().Rows))
	}
}

// What touches nothing must be public or a list that is filtered, and must not write; what touches the
// account is in no environment.
func TestNothingIsTouchedOnlyByWhatIsPublicOrFiltered(t *testing.T) {
	for name, row := range pack(t).Rows().Rows {
		none := len(row.Touches) == 1 && row.Touches[0].Kind == ""
		if none && row.Class != judge.Read {
			t.Errorf("%s touches nothing and is of class %s", name, row.Class)
		}
		if none && row.Rule != "public" && len(row.Keep) == 0 && !slices.Contains([]string{"GET /", "POST /markdown", "POST /markdown/raw", "GET /search/topics", "GET /search/users"}, name) {
			t.Errorf("%s touches nothing and its answer is not filtered", name)
		}
		if strings.Contains(name, "{owner}/{repo}") && row.Class != judge.Refused && !touches(row, kindRepo) && !touches(row, kindAccount) {
			t.Errorf("%s names a repository and touches none", name)
		}
	}
}

func touches(row *judge.Row, kind string) bool {
	return slices.ContainsFunc(row.Touches, func(touch judge.Touch) bool { return touch.Kind == kind })
}

// Attack: an argument that GitHub adds tomorrow turns a write into something else. What writes to a
// repository knows all its arguments.
func TestWritesKnowAllTheirArguments(t *testing.T) {
	for name, row := range pack(t).Rows().Rows {
		if row.Class == judge.Write && !touches(row, kindAccount) && row.Only == nil && !row.Raw {
			t.Errorf("%s has no line that lists its arguments", name)
		}
	}
}

// The words that GitHub's own answers use for tokens: each is masked in every row of the repositories that
// can give one (facts of the published description, which has temp_clone_token in 131 of these answers).
func TestAnswersWithTokensAreMasked(t *testing.T) {
	for _, operation := range []string{
		"GET /repos/{owner}/{repo}", "PATCH /repos/{owner}/{repo}", "GET /repos/{owner}/{repo}/pulls", "GET /repos/{owner}/{repo}/pulls/{pull_number}",
		"GET /repos/{owner}/{repo}/forks", "GET /user/repos", "GET /orgs/{org}/repos", "GET /installation/repositories", "GET /repos/{owner}/{repo}/actions/runs",
	} {
		v := pack(t).Judge(judge.Call{Method: strings.Fields(operation)[0], Path: example(operation)}, false)
		body := `{"temp_clone_token":"ABC","full_name":"acme/shop","head":{"repo":{"temp_clone_token":"ABC"}},"repositories":[{"full_name":"acme/shop","temp_clone_token":"ABC"}]}`
		if row := pack(t).Rows().Rows[operation]; len(row.Keep) > 0 && len(row.Keep[0].List) == 0 {
			body = "[" + body + "]"
		}
		seen, err := v.Answer.Rewrite([]byte(body), judge.Sight{Keeps: func(string, string) bool { return true }})
		if err != nil {
			t.Errorf("%s: %v", operation, err)
		}
		if strings.Contains(string(seen), "ABC") {
			t.Errorf("%s shows a token: %s", operation, seen)
		}
	}
}

// example fills the parameters of an operation.
func example(operation string) string {
	return strings.NewReplacer("{owner}", "acme", "{repo}", "shop", "{org}", "acme", "{pull_number}", "7").Replace(strings.Fields(operation)[1])
}

func TestListsOfRepositoriesKeepTheLeasesAlone(t *testing.T) {
	v := pack(t).Judge(judge.Call{Method: "GET", Path: "/user/repos", Query: "per_page=100"}, false)
	seen, err := v.Answer.Rewrite([]byte(`[{"id":1,"full_name":"acme/shop"},{"id":2,"full_name":"acme/payroll"},{"id":3}]`), judge.Sight{Keeps: func(kind, id string) bool { return kind == "repo" && id == "acme/shop" }})
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"full_name":"acme/shop","id":1}]`; string(seen) != want {
		t.Errorf("seen %s, wanted %s", seen, want)
	}
	v = pack(t).Judge(judge.Call{Method: "GET", Path: "/installation/repositories"}, false)
	if _, err := v.Answer.Rewrite([]byte(`{"repos":[{"full_name":"acme/payroll"}]}`), judge.Sight{}); err == nil {
		t.Error("an answer of another shape was passed on unfiltered")
	}
}

// Attack: GraphQL, for which there is no pack, by any of its paths.
func TestGraphQLIsRefused(t *testing.T) {
	for _, path := range []string{"/graphql", "/GraphQL", "/api/graphql", "/graphql/", "//graphql"} {
		v := pack(t).Judge(judge.Call{Method: "POST", Path: path, ContentType: "application/json", Body: []byte(`{"query":"{viewer{login}}"}`)}, false)
		if v.Class != judge.Refused || v.Refusal == "" {
			t.Errorf("POST %s is %s", path, v.Class)
		}
	}
}

// GitHub's own links between pages name repositories by their number. They are judged as the repository's,
// and looked up by that number.
func TestARepositoryByItsNumberIsJudgedAsOne(t *testing.T) {
	v := pack(t).Judge(judge.Call{Method: "GET", Path: "/repositories/1296269/issues", Query: "page=2"}, false)
	want := []judge.Named{{Kind: kindRepo, ID: "~/1296269", At: "owner/repo"}}
	if diff := cmp.Diff(want, v.Operations[0].Touches); v.Class != judge.Read || diff != "" {
		t.Errorf("class %s, touches (-want +got):\n%s", v.Class, diff)
	}
	if v.Send.Path != "/repositories/1296269/issues" || v.Operations[0].Text != "GET /repositories/1296269/issues?page=2" {
		t.Errorf("sends %s, says %q", v.Send.Path, v.Operations[0].Text)
	}
	if v := pack(t).Judge(judge.Call{Method: "DELETE", Path: "/repositories/1296269"}, false); v.Class != judge.Delete || v.Send.Path != "/repositories/1296269" {
		t.Errorf("DELETE by number: %s, sends %s", v.Class, v.Send.Path)
	}
	for _, path := range []string{"/repositories/1296269x/issues", "/repositories/01/issues", "/repositories/../repos/acme/shop"} {
		if v := pack(t).Judge(judge.Call{Method: "GET", Path: path}, false); v.Class != judge.Refused {
			t.Errorf("%s is %s", path, v.Class)
		}
	}
}

// Every one of the list's operations can be asked about, and comes out as its row says or worse.
func TestEveryOperationIsJudgedByItsOwnRow(t *testing.T) {
	for _, operation := range operations(t) {
		row := rowOf(t, operation)
		path := parameter.ReplaceAllString(operation.Path, "7")
		v := pack(t).Judge(judge.Call{Method: operation.Method, Path: path}, true)
		if len(v.Operations) != 1 || v.Operations[0].Name != row.Operation {
			t.Errorf("%s %s is judged as %v: %s", operation.Method, path, v.Operations, v.Refusal)
			continue
		}
		if judge.Worse(v.Class, row.Class) != v.Class {
			t.Errorf("%s %s: %s, but its row says %s", operation.Method, path, v.Class, row.Class)
		}
	}
}

func TestAnEnterpriseServersPathsAreJudgedAndSentWithItsPrefix(t *testing.T) {
	p, err := Settings{URL: "https://github.acme.example/api/v3"}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"github.acme.example"}, p.Hosts()); diff != "" {
		t.Error(diff)
	}
	for _, path := range []string{"/api/v3/repos/acme/shop", "/repos/acme/shop"} {
		v := p.Judge(judge.Call{Method: "GET", Path: path}, false)
		if v.Send.Path != "/api/v3/repos/acme/shop" || !strings.Contains(v.Operations[0].Text, " /api/v3/repos/acme/shop") {
			t.Errorf("%s: %s, sends %q", path, v.Class, v.Send.Path)
		}
	}
	if v := p.Judge(judge.Call{Method: "POST", Path: "/api/graphql", Body: []byte("{}")}, false); v.Class != judge.Refused {
		t.Errorf("GraphQL is %s", v.Class)
	}
}

func TestRefusalsReadAsGitHubsErrors(t *testing.T) {
	kind, body := pack(t).Refuse(judge.Call{}, 403, gateway.Problem{Message: `repo "x" lives in <production>`, URL: "https://hourkey.example/r/1"})
	var got refusal
	if err := json.Unmarshal(body, &got); err != nil || !strings.HasPrefix(kind, "application/json") {
		t.Fatalf("%s: %v", kind, err)
	}
	if diff := cmp.Diff(refusal{`repo "x" lives in <production>`, "https://hourkey.example/r/1", "403"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesHaveNoTokenOfGitHubs(t *testing.T) {
	want := map[string]string{"GITHUB_TOKEN": "hkp_x", "GH_TOKEN": "hkp_x", "GITHUB_API_URL": "http://127.0.0.1:1/x"}
	if diff := cmp.Diff(want, pack(t).Variables("http://127.0.0.1:1/x", "hkp_x")); diff != "" {
		t.Error(diff)
	}
}
