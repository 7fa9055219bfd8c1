package supabase

import (
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

func operations(t *testing.T) []lists.Operation {
	t.Helper()
	all, err := lists.REST(Kind)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// rowName is the row of an operation: HEAD is judged as the GET of the same path.
func rowName(operation lists.Operation) string {
	if operation.Method == "HEAD" {
		return "GET " + operation.Path
	}
	return operation.Method + " " + operation.Path
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// ask judges an operation without any of its arguments but those of its path.
func ask(t *testing.T, operation lists.Operation) judge.Verdict {
	t.Helper()
	return pack(t).Judge(judge.Call{Method: operation.Method, Path: parameter.ReplaceAllString(operation.Path, "x")}, true)
}

func TestEveryPublishedOperationHasItsRowAndNoRowIsInvented(t *testing.T) {
	unknown := map[string]bool{}
	for name := range pack(t).Rows().Rows {
		unknown[name] = true
	}
	for _, operation := range operations(t) {
		if pack(t).Rows().Rows[rowName(operation)] == nil {
			t.Errorf("no row for %s %s", operation.Method, operation.Path)
		}
		delete(unknown, rowName(operation))
		if v := ask(t, operation); len(v.Operations) != 1 || v.Operations[0].Name != rowName(operation) {
			t.Errorf("%s %s is judged as %v: %s", operation.Method, operation.Path, v.Operations, v.Refusal)
		}
	}
	for name := range unknown {
		t.Errorf("Supabase publishes no %s", name)
	}
}

// Attack: a row is edited by hand and still says that the rule made it, so that nobody looks at it again.
func TestRowsOfTheRuleAreWhatItMakes(t *testing.T) {
	made := 0
	for _, row := range pack(t).Rows().Rows {
		if row.Rule == "" {
			continue
		}
		made++
		path, fits := strings.CutPrefix(row.Operation, "GET /v1/projects/{ref}/")
		if !fits || row.Rule != "reads-of-a-project" {
			t.Errorf("%s: there is no rule %s for it", row.Operation, row.Rule)
			continue
		}
		words := slices.DeleteFunc(strings.Split(path, "/"), func(word string) bool { return strings.HasPrefix(word, "{") })
		want := judge.Row{
			Operation: row.Operation, Class: judge.Read, Why: "reads " + strings.Join(words, "/") + " of the project", Rule: "reads-of-a-project",
			Touches: []judge.Touch{{Kind: kindProject, Paths: []judge.Path{{"ref"}}, Line: row.Touches[0].Line}}, Line: row.Line,
		}
		if diff := cmp.Diff(want, *row, cmp.AllowUnexported(judge.Condition{})); diff != "" {
			t.Errorf("%s (-the rule's +the pack's):\n%s", row.Operation, diff)
		}
	}
	if made == 0 {
		t.Error("the rule made no row")
	}
	t.Logf("rows: %d made by the rule, %d by hand", made, len(pack(t).Rows().Rows)-made)
}

func TestNothingIsTouchedOnlyByWhatIsFiltered(t *testing.T) {
	for name, row := range pack(t).Rows().Rows {
		if row.Touches[0].Kind == "" && (row.Class != judge.Read || len(row.Keep) == 0) {
			t.Errorf("%s touches nothing: it must read, and its answer must be filtered", name)
		}
		if strings.Contains(name, "{ref}") && row.Touches[0].Kind != kindProject || strings.Contains(name, "{slug}") && row.Touches[0].Kind != kindOrganization && len(row.Keep) == 0 {
			t.Errorf("%s does not touch what its path names", name)
		}
	}
}

// Attack: an argument that Supabase adds tomorrow turns a write into something else.
func TestWritesKnowAllTheirArguments(t *testing.T) {
	for name, row := range pack(t).Rows().Rows {
		if row.Class == judge.Write && row.Touches[0].Kind != kindAccount && row.Only == nil && !row.Raw {
			t.Errorf("%s has no line that lists its arguments", name)
		}
	}
}

func TestSecretsInAnswersAreMaskedAndListsAreKept(t *testing.T) {
	own := judge.Sight{Keeps: func(kind, id string) bool { return kind == kindProject && id == "shop" }}
	for _, c := range []struct{ path, answer, want string }{
		{"/v1/projects/shop/postgrest", `{"db_schema":"public","jwt_secret":"S"}`, `{"db_schema":"public","jwt_secret":"hidden by Hourkey"}`},
		{"/v1/projects/shop/secrets", `[{"name":"KEY","value":"S"}]`, `[{"name":"KEY","value":"hidden by Hourkey"}]`},
		{"/v1/projects/shop/config/database/pooler", `[{"connection_string":"S","connectionString":"S","pool_mode":"transaction"}]`, `[{"connectionString":"hidden by Hourkey","connection_string":"hidden by Hourkey","pool_mode":"transaction"}]`},
		{"/v1/projects/shop/config/database/pgbouncer", `{"connection_string":"S"}`, `{"connection_string":"hidden by Hourkey"}`},
		{"/v1/projects/shop/claim-token", `{"token_alias":"S"}`, `{"token_alias":"hidden by Hourkey"}`},
		{"/v1/projects", `[{"ref":"shop"},{"ref":"payroll"},{"name":"S"}]`, `[{"ref":"shop"}]`},
		{"/v1/organizations/acme/projects", `{"pagination":{"count":2},"projects":[{"ref":"payroll"},{"ref":"shop"}]}`, `{"pagination":{"count":2},"projects":[{"ref":"shop"}]}`},
	} {
		seen, err := pack(t).Judge(judge.Call{Method: "GET", Path: c.path}, false).Answer.Rewrite([]byte(c.answer), own)
		if err != nil || string(seen) != c.want {
			t.Errorf("%s shows %s, wanted %s: %v", c.path, seen, c.want, err)
		}
	}
}

func TestToolsGetATokenOfTheRightShapeThatIsWorthNothing(t *testing.T) {
	variables := pack(t).Variables("http://127.0.0.1:1/x", "hkp_x")
	if !regexp.MustCompile(`^sbp_[a-f0-9]{40}$`).MatchString(variables["SUPABASE_ACCESS_TOKEN"]) || variables["SUPABASE_API_URL"] != "http://127.0.0.1:1/x" {
		t.Errorf("%v", variables)
	}
	kind, body := pack(t).Refuse(judge.Call{}, 403, gateway.Problem{Message: `a "word"`})
	if string(body) != `{"message":"a \"word\""}` || !strings.HasPrefix(kind, "application/json") {
		t.Errorf("%s: %s", kind, body)
	}
}
