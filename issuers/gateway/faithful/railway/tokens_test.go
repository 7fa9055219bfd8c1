package railway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

const (
	bearer  = "Authorization"
	project = "Project-Access-Token"
)

func TestTokensReachWhatTheirKindReaches(t *testing.T) {
	server, w := seeded(t)
	inStaging := map[string]any{"p": w.Shop, "e": w.Staging}
	inProduction := map[string]any{"p": w.Shop, "e": w.Production}
	read := `query($p: String!, $e: String!) { variables(projectId: $p, environmentId: $e) }`
	upsert := `mutation($p: String!, $e: String!) { variableUpsert(input: {projectId: $p, environmentId: $e, name: "A", value: "1"}) }`
	for _, c := range []struct {
		name, header, token, document string
		variables                     map[string]any
		denied                        bool
	}{
		{"account reads its user", bearer, "Bearer " + w.AccountToken, `{ me { email } }`, nil, false},
		{"workspace has no user", bearer, "Bearer " + w.WorkspaceToken, `{ me { email } }`, nil, true},
		{"project has no user", project, w.StagingToken, `{ me { email } }`, nil, true},
		{"workspace reads a project", bearer, "Bearer " + w.WorkspaceToken, read, inProduction, false},
		{"workspace deletes a volume", bearer, "Bearer " + w.WorkspaceToken, `mutation { volumeDelete(volumeId: "` + w.ShopData + `") }`, nil, false},
		{"workspace makes no account token", bearer, "Bearer " + w.WorkspaceToken, `mutation { apiTokenCreate(input: {name: "x"}) }`, nil, true},
		{"project reads its environment", project, w.StagingToken, read, inStaging, false},
		{"project writes in its environment", project, w.StagingToken, upsert, inStaging, false},
		{"project reads no other environment", project, w.StagingToken, read, inProduction, true},
		{"project writes in no other environment", project, w.StagingToken, upsert, inProduction, true},
		{"project lists no projects", project, w.StagingToken, `{ projects { edges { node { id } } } }`, nil, true},
		{"project deletes no volume of two environments", project, w.StagingToken, `mutation { volumeDelete(volumeId: "` + w.ShopData + `") }`, nil, true},
		{"project deletes a volume that is its own", project, w.StagingToken, `mutation { volumeDelete(volumeId: "` + w.RenderCache + `") }`, nil, false},
		{"project deletes no service of two environments", project, w.StagingToken, `mutation { serviceDelete(id: "` + w.Web + `") }`, nil, true},
		{"project makes no token", project, w.StagingToken, `mutation { projectTokenCreate(input: {name: "x", projectId: "` + w.Shop + `", environmentId: "` + w.Staging + `"}) }`, nil, true},
		{"a project token as a bearer", bearer, "Bearer " + w.StagingToken, read, inStaging, true},
		{"an account token as a project token", project, w.AccountToken, read, inStaging, true},
		{"an unknown token", bearer, "Bearer faithful-api-token-000000000000000000000000", read, inStaging, true},
		{"no token", bearer, "", read, inStaging, true},
		{"no token, a public question", bearer, "", `{ platformStatus { isStable } }`, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := server.Clone()
			before := s.Snapshot()
			a := send(t, s, c.header, c.token, c.document, c.variables)
			denied := len(a.Errors) > 0 && strings.Contains(a.Errors[0].Message, "Not Authorized")
			if denied != c.denied {
				t.Errorf("denied %v: %s", denied, a.Raw)
			}
			if effects := railway.Compare(before, s.Snapshot()); denied && len(effects) > 0 {
				t.Errorf("denied, and yet: %v", effects)
			}
		})
	}
}

// A project token's answer lists its environment alone.
func TestAProjectTokenSeesItsEnvironmentAlone(t *testing.T) {
	s, w := seeded(t)
	var data struct {
		Project struct {
			Environments struct {
				Edges []struct{ Node struct{ ID string } }
			}
		}
	}
	send(t, s, project, w.StagingToken, `query($id: String!) { project(id: $id) { environments { edges { node { id } } } } }`, map[string]any{"id": w.Shop}).into(t, &data)
	if edges := data.Project.Environments.Edges; len(edges) != 1 || edges[0].Node.ID != w.Staging {
		t.Errorf("it sees %v", edges)
	}
}

// The recipe of issuing: the create call gives the secret alone, the new token names itself, and is dead after.
func TestAProjectTokenNamesItselfUntilItIsDeleted(t *testing.T) {
	s, w := seeded(t)
	var made struct{ ProjectTokenCreate string }
	before := s.Snapshot()
	post(t, s, w.AccountToken, `mutation($i: ProjectTokenCreateInput!) { projectTokenCreate(input: $i) }`,
		map[string]any{"i": map[string]any{"name": "hk-1", "projectId": w.Shop, "environmentId": w.Staging}}).into(t, &made)
	found := kinds(railway.Compare(before, s.Snapshot()))
	if found["granted ProjectToken"] != 1 || found["revealed ProjectToken"] != 1 {
		t.Errorf("it did %v", found)
	}
	var self struct {
		ProjectToken struct{ ID, EnvironmentID string }
	}
	ask := `{ projectToken { id environmentId } }`
	send(t, s, project, made.ProjectTokenCreate, ask, nil).into(t, &self)
	if self.ProjectToken.EnvironmentID != w.Staging {
		t.Errorf("the token is for %v", self)
	}
	post(t, s, w.AccountToken, `mutation($id: String!) { projectTokenDelete(id: $id) }`, map[string]any{"id": self.ProjectToken.ID}).into(t, &struct{}{})
	if a := send(t, s, project, made.ProjectTokenCreate, ask, nil); len(a.Errors) == 0 || a.Errors[0].Message != "Not Authorized" {
		t.Errorf("after its end: %s", a.Raw)
	}
}

// A member may make and change, and not delete.
func TestAMemberDeletesNoVolume(t *testing.T) {
	s, w := seeded(t)
	token := s.AddAccountToken(w.Colleague, "grace")
	for document, denied := range map[string]bool{
		`mutation { volumeDelete(volumeId: "` + w.ShopData + `") }`:                                       true,
		`mutation { serviceDelete(id: "` + w.Web + `") }`:                                                 true,
		`mutation { environmentPatchCommit(environmentId: "` + w.Staging + `", patch: {volumes: null}) }`: true,
		`mutation { volumeUpdate(volumeId: "` + w.ShopData + `", input: {name: "x"}) { id } }`:            false,
	} {
		if a := post(t, s.Clone(), token, document, nil); (len(a.Errors) > 0) != denied {
			t.Errorf("%s: %s", document, a.Raw)
		}
	}
}

// A code that a signed-in user approves becomes an account token for whoever holds the code.
func TestALoginCodeBecomesAnAccountToken(t *testing.T) {
	s, w := seeded(t)
	var code struct{ LoginSessionCreate string }
	send(t, s, "X-None", "", `mutation { loginSessionCreate }`, nil).into(t, &code)
	post(t, s, w.AccountToken, `mutation($c: String!) { loginSessionAuth(input: {code: $c}) }`, map[string]any{"c": code.LoginSessionCreate}).into(t, &struct{}{})
	var token struct{ LoginSessionConsume string }
	consume := `mutation($c: String!) { loginSessionConsume(code: $c) }`
	send(t, s, "X-None", "", consume, map[string]any{"c": code.LoginSessionCreate}).into(t, &token)
	var self struct{ Me struct{ ID string } }
	post(t, s, token.LoginSessionConsume, `{ me { id } }`, nil).into(t, &self)
	if self.Me.ID != w.User {
		t.Errorf("the code gave %v", self)
	}
	if a := send(t, s, "X-None", "", consume, map[string]any{"c": code.LoginSessionCreate}); len(a.Errors) == 0 {
		t.Error("the code worked twice")
	}
}

func TestReadsThatHandOutSecrets(t *testing.T) {
	server, w := furnished(t)
	pe := `projectId: "` + w.Shop + `", environmentId: "` + w.Production + `"`
	for document, reveals := range map[string]bool{
		`{ variables(` + pe + `, serviceId: "` + w.Web + `") }`:                                                                              true,
		`{ environment(id: "` + w.Production + `") { config } }`:                                                                             false,
		`{ environment(id: "` + w.Production + `") { config(decryptVariables: true) } }`:                                                     true,
		`{ environmentStagedChanges(environmentId: "` + w.Production + `") { patch } }`:                                                      false,
		`{ environmentStagedChanges(environmentId: "` + w.Production + `") { patch(decryptVariables: true) } }`:                              true,
		`{ projectInviteCode(projectId: "` + w.Shop + `", role: ADMIN) { code } }`:                                                           true,
		`{ projectInviteCode(projectId: "` + w.Shop + `", role: ADMIN) { id } }`:                                                             false,
		`{ bucketS3Credentials(` + pe + `, bucketId: "` + server.IDs("Bucket")[0] + `") { secretAccessKey } }`:                               true,
		`{ projectTokens(projectId: "` + w.Shop + `") { edges { node { name displayToken } } } }`:                                            false,
		`{ project(id: "` + w.Shop + `") { environments { edges { node { variables { edges { node { name } } } } } } } }`:                    false,
		`mutation { sandboxExec(environmentId: "` + w.Production + `", id: "` + server.IDs("Sandbox")[0] + `", command: "env") { stdout } }`: true,
	} {
		s := server.Clone()
		before := s.Snapshot()
		a := post(t, s, w.AccountToken, document, nil)
		a.into(t, &struct{}{})
		told := false
		for _, e := range railway.Compare(before, s.Snapshot()) {
			told = told || e.Kind == "revealed"
		}
		if told != reveals || (len(s.Revealed(a.Raw)) > 0) != reveals {
			t.Errorf("%s: revealed %v, wanted %v: %s", document, told, reveals, a.Raw)
		}
	}
}

// What the caller sent along is not revealed to it; a reference to another's secret is.
func TestAReferencePullsAnotherServicesSecret(t *testing.T) {
	s, w := seeded(t)
	upsert := `mutation($v: String!) { variableUpsert(input: {projectId: "` + w.Shop + `", environmentId: "` + w.Staging + `", serviceId: "` + w.Web + `", name: "X", value: $v, skipDeploys: true}) }`
	post(t, s, w.AccountToken, upsert, map[string]any{"v": "${{postgres.POSTGRES_PASSWORD}}"}).into(t, &struct{}{})
	var data struct{ Variables map[string]string }
	post(t, s, w.AccountToken, `{ variables(projectId: "`+w.Shop+`", environmentId: "`+w.Staging+`", serviceId: "`+w.Web+`") }`, nil).into(t, &data)
	if !strings.HasPrefix(data.Variables["X"], "faithful-postgres-password-") {
		t.Errorf("X is %q", data.Variables["X"])
	}
}

func TestTheHourlyLimitAnswers429(t *testing.T) {
	c := newClock()
	s := railway.New(railway.Config{Now: c.Now, HourlyLimit: 3, Schema: schema(t)})
	w := s.Seed()
	for i, want := range []int{200, 200, 200, 429} {
		if a := post(t, s, w.AccountToken, `{ me { id } }`, nil); a.Status != want {
			t.Errorf("request %d: status %d", i, a.Status)
		}
	}
	if a := post(t, s, w.WorkspaceToken, `{ apiToken { workspaces { id } } }`, nil); a.Status != 200 {
		t.Errorf("another token pays for it: %s", a.Raw)
	}
	c.Add(time.Hour)
	if a := post(t, s, w.AccountToken, `{ me { id } }`, nil); a.Status != 200 {
		t.Errorf("an hour later: %s", a.Raw)
	}
}
