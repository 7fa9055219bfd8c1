package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

// whoMayWhat is the table as people read it: one letter per kind of caller that is let in, a dash per
// kind that is not, in the order stranger, agent, reviewer, operator, auditor, person (every human who is signed
// in, the three before included). A change of access.go must be made here too, on purpose.
const whoMayWhat = `
saroip POST /oauth/token
saroip POST /v1/agents/enroll
-a---- GET /v1/tasks
-a---- POST /v1/requests
-a---p GET /v1/requests
-a---p GET /v1/requests/{id}
-a---- DELETE /v1/requests/{id}
-a---- POST /v1/requests/{id}/credentials
-a---p GET /v1/leases
-a---- DELETE /v1/leases/{id}
-----p POST /v1/leases/{id}/revoke
--roi- GET /v1/freeze
---o-- POST /v1/freeze
--r-i- GET /v1/approvals
----i- GET /v1/audit
saroip GET /t/{environment}/.well-known/openid-configuration
saroip GET /t/{environment}/jwks.json
saroip POST /t/{environment}/introspect
saroip GET /problems/{code}
saroip GET /healthz
saroip GET /readyz
saroip GET /metrics
`

func TestTheTableIsWhatPeopleRead(t *testing.T) {
	var got strings.Builder
	got.WriteByte('\n')
	for _, line := range table() {
		for i, letter := range "saroip" {
			if line.may&(1<<i) == 0 {
				letter = '-'
			}
			got.WriteRune(letter)
		}
		got.WriteString(" " + line.method + " " + line.path + "\n")
	}
	if diff := cmp.Diff(whoMayWhat, got.String()); diff != "" {
		t.Errorf("(-read +table)\n%s", diff)
	}
}

// caller sends as one kind of caller.
type caller struct {
	kind who
	as   func(*http.Request)
}

// callers makes one caller of each kind, each of that kind alone.
func (x *site) allCallers() map[string]caller {
	roles := x.Broker.Configuration()
	roles.Groups["operators"] = []string{"oscar"}
	roles.Roles[broker.RoleOperator] = []string{"operators"}
	nobody := func(*http.Request) {}
	return map[string]caller{
		"stranger":         {stranger, nobody},
		"agent":            {agent, bearer(x.agent.token())},
		"reviewer":         {reviewer | person, x.signIn("erin")},
		"operator":         {operator | person, x.signIn("oscar")},
		"auditor":          {auditor | person, x.signIn("dora")},
		"human of no role": {person, x.signIn("frank")},
		"forged token":     {0, bearer("forged")},
		"forged session":   {0, header("Cookie", "__Host-hourkey-session="+strings.Repeat("A", 43))},
	}
}

// TestEveryRouteByEveryCaller walks the router itself: who is not in the table is refused before the
// handler runs, and whoever is in it is not.
func TestEveryRouteByEveryCaller(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst, c.Limits.CallerBurst = 10_000, 10_000 })
	callers := x.allCallers()
	if kinds(x.Broker.Configuration(), "erin") != reviewer || kinds(x.Broker.Configuration(), "oscar") != operator || kinds(x.Broker.Configuration(), "dora") != auditor {
		t.Fatal("the callers of this test are of more than one kind")
	}
	for _, line := range table() {
		path := strings.NewReplacer("{id}", "none", "{environment}", "staging", "{code}", "conflict").Replace(line.path)
		for name, c := range callers {
			t.Run(line.method+" "+line.path+" by "+name, func(t *testing.T) {
				body := map[body]string{jsonBody: `{`, formBody: `=`, noBody: ""}[line.body] // never good: nothing is changed
				asked := x.do(line.method, path, body, c.as)
				refused := slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed}, asked.Code) && isGate(asked)
				allowed := line.may&(c.kind|stranger) != 0
				if allowed == refused {
					t.Errorf("got %d %s", asked.Code, asked.Body)
				}
			})
		}
	}
}

// isGate tells a refusal of the gate or the router from one of the handler behind it.
func isGate(a *answer) bool {
	for _, words := range []string{" is for ", "nobody known is calling", "access token is not valid", "nothing at this path", "another method", "Bearer"} {
		if strings.Contains(a.Body.String(), words) {
			return true
		}
	}
	return false
}

// TestSessionFromAnotherSite: a browser sends the cookie by itself, so it alone changes nothing.
func TestSessionFromAnotherSite(t *testing.T) {
	x := newSite(t)
	asBob := x.signIn("bob")
	freeze := `{"of":"agent","name":"claude","reason":"drill"}`
	for name, origin := range map[string]string{"none": "", "another": "https://evil.example", "null": "null", "plain": "http://hourkey.test", "a port": "https://hourkey.test:444"} {
		t.Run(name, func(t *testing.T) {
			x.do("POST", "/v1/freeze", freeze, asBob, header("Origin", origin)).wantProblem(broker.CodeForbidden)
		})
	}
	for name, site := range map[string]string{"no site": "", "another site": "cross-site", "a neighbour": "same-site", "typed in": "none"} {
		t.Run(name, func(t *testing.T) {
			x.do("POST", "/v1/freeze", freeze, asBob, header("Sec-Fetch-Site", site)).wantProblem(broker.CodeForbidden)
		})
	}
	if freezes, err := x.Freezes(t.Context()); err != nil || len(freezes) != 0 {
		t.Fatalf("something is frozen: %v %v", freezes, err)
	}
	x.do("POST", "/v1/freeze", freeze, asBob).want(http.StatusOK)
	x.do("GET", "/v1/freeze", "", asBob, header("Origin", "")).want(http.StatusOK)
}

// TestATokenBesideASession: the token counts, and only the token.
func TestATokenBesideASession(t *testing.T) {
	x := newSite(t)
	token := bearer(x.agent.token())
	x.do("POST", "/v1/freeze", `{"of":"all","reason":"x"}`, x.signIn("bob"), token).wantProblem(broker.CodeForbidden)
	x.do("GET", "/v1/freeze", "", x.signIn("bob"), bearer("forged")).wantProblem(broker.CodeUnauthenticated)
}
