package railway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// walker calls operations with arguments that need not fit one another: ids of other kinds, of other
// environments, of what is gone; null, and nothing at all.
type walker struct {
	*rand.Rand
	generator
	ids []string
}

func (k walker) call() (document string, variables map[string]any) {
	roots := [][]*ast.FieldDefinition{k.schema.Mutation.Fields, k.schema.Mutation.Fields, k.schema.Query.Fields}
	n := k.IntN(len(roots))
	f := roots[n][k.IntN(len(roots[n]))]
	kind := map[bool]string{true: "query", false: "mutation"}[n == 2]
	k.field = f.Name
	document, variables = k.document(kind, f)
	k.spoil(variables)
	return document, variables
}

// spoil changes some of the values.
func (k walker) spoil(values map[string]any) {
	for name, value := range values {
		switch v := value.(type) {
		case map[string]any:
			k.spoil(v)
		case string:
			if k.IntN(3) == 0 {
				values[name] = k.ids[k.IntN(len(k.ids))]
			}
		}
		switch k.IntN(12) {
		case 0:
			delete(values, name)
		case 1:
			values[name] = nil
		}
	}
}

// Nothing that callers send brings the server down, or its state into disorder.
func TestNoArgumentsBringItDown(t *testing.T) {
	const calls = 3000
	s := schema(t)
	random := rand.New(rand.NewPCG(7, 11))
	start, begun := furnished(t)
	ids := append(slices.Collect(maps.Keys(start.Snapshot().Records)), "none")
	slices.Sort(ids)
	var server *railway.Server
	var world railway.World
	done := 0
	for i := range calls {
		if i%100 == 0 { // before long everything is deleted: begin anew
			server, world = start.Clone(), begun
		}
		k := walker{Rand: random, generator: generator{schema: s, server: server, world: world, yes: i%2 == 0}, ids: ids}
		document, variables := k.call()
		a := post(t, server, world.AccountToken, document, variables)
		if a.Status >= http.StatusInternalServerError {
			t.Fatalf("%d for %s %v: %s", a.Status, document, variables, a.Raw)
		}
		if a.Status == http.StatusOK && len(a.Errors) == 0 {
			done++
		}
		if i%5 == 0 {
			checkOrder(t, server)
		}
	}
	t.Logf("%d of %d calls succeeded", done, calls)
}

// checkOrder looks whether everything that belongs to something belongs to something that is there.
func checkOrder(t *testing.T, s *railway.Server) {
	t.Helper()
	all := s.Snapshot().Records
	for _, r := range all {
		for _, field := range []string{"volumeId", "volumeInstanceId", "environmentId", "projectId", "bucketId", "privateNetworkId"} {
			var owner string
			if json.Unmarshal([]byte(r.Fields[field]), &owner) != nil || owner == "" {
				continue
			}
			if _, there := all[owner]; !there {
				t.Fatalf("%s %s belongs to %s %s, which is gone", r.Kind, r.ID, field, owner)
			}
		}
	}
}

// FuzzRequest sends bodies as they come: the server answers each with JSON.
func FuzzRequest(f *testing.F) {
	shared := railway.New(railway.Config{Now: newClock().Now, Random: rand.NewChaCha8([32]byte{4}), Schema: schema(f)})
	w := shared.Seed()
	for _, body := range []string{
		`{"query":"mutation { volumeDelete(volumeId: \"` + w.ShopData + `\") }"}`,
		`[{"query":"{ me { id } }"},{"query":"query a($b: String = \"x\") { project(id: $b) { ...c @skip(if: false) } } fragment c on Project { name }","variables":{"b":null}}]`,
		`{"query":"mutation($p: EnvironmentConfig!) { environmentStageChanges(environmentId: \"` + w.Staging + `\", input: $p) { patch } }","variables":{"p":{"volumes":{"` + w.ShopData + `":null}}}}`,
		`{"query":"{ __schema { types { name fields { name } } } }","operationName":"","extensions":{"persistedQuery":{"sha256Hash":"00"}}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := shared.Clone()
		r := httptest.NewRequest(http.MethodPost, "/graphql/v2", strings.NewReader(body))
		r.Header.Set("Authorization", fmt.Sprint("Bearer ", w.AccountToken))
		recorder := httptest.NewRecorder()
		s.ServeHTTP(recorder, r)
		if !json.Valid(recorder.Body.Bytes()) || recorder.Code >= http.StatusInternalServerError {
			t.Errorf("%d: %s", recorder.Code, recorder.Body)
		}
	})
}
