package supabase

import (
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func attack(t *testing.T, method, path, query, body string, want judge.Class) {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	v := p.Judge(judge.Call{Method: method, Path: path, Query: query, ContentType: "application/json", Body: []byte(body)}, false)
	if v.Class != want {
		t.Errorf("%s %s?%s %s: %s, want %s (%s)", method, path, query, body, v.Class, want, v.Refusal)
	}
}

// TestAFunctionThatEverybodyMayCall: verify_jwt also stands in the query, which no upload hides.
func TestAFunctionThatEverybodyMayCall(t *testing.T) {
	attack(t, "POST", "/v1/projects/shop/functions", "slug=x&name=x&verify_jwt=false", `{"body":"Deno.serve(...)"}`, judge.Admin)
	attack(t, "PATCH", "/v1/projects/shop/functions/x", "verify_jwt=false", `{"body":"Deno.serve(...)"}`, judge.Admin)
}

// TestAFunctionIsSQLByAnotherDoor: its code has the service key and the database's address with its password, and
// answers at a public host. SQL wants database/… to be named, and project/* does not give it; so must this.
func TestAFunctionIsSQLByAnotherDoor(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range []string{"POST /v1/projects/shop/functions", "POST /v1/projects/shop/functions/deploy", "PATCH /v1/projects/shop/functions/x"} {
		method, path, _ := strings.Cut(door, " ")
		v := p.Judge(judge.Call{Method: method, Path: path, ContentType: "application/json", Body: []byte(`{}`)}, false)
		database := slices.ContainsFunc(v.Operations, func(o judge.Operation) bool {
			return slices.ContainsFunc(o.Touches, func(n judge.Named) bool { return n.Kind == kindDatabase && n.ID == "shop" })
		})
		if v.Class != judge.Admin && !database {
			t.Errorf("%s is %s and reaches no database", door, v.Class)
		}
	}
}

// TestABranchThatIsToBeTheDefault takes the place of the project's own.
func TestABranchThatIsToBeTheDefault(t *testing.T) {
	attack(t, "POST", "/v1/projects/shop/branches", "", `{"branch_name":"x","is_default":true}`, judge.Admin)
}

// TestReadOnlyByAList is neither true nor false.
func TestReadOnlyByAList(t *testing.T) {
	attack(t, "POST", "/v1/projects/shop/database/query", "", `{"query":"drop table orders","read_only":[]}`, judge.Admin)
}

// TestLimitsOfNought stop a service like suspend does.
func TestLimitsOfNought(t *testing.T) {
	attack(t, "PATCH", "/v1/projects/shop/postgrest", "", `{"max_rows":0}`, judge.Delete)
	attack(t, "PATCH", "/v1/projects/shop/config/realtime", "", `{"max_concurrent_users":0}`, judge.Delete)
	attack(t, "PATCH", "/v1/projects/shop/config/storage", "", `{"fileSizeLimit":0}`, judge.Delete)
}
