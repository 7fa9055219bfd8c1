package railway

import (
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// greedy writes queries that select all there is, as deep as it is told. listsOnly leaves out what an object points
// to: that it is hidden hides the object as well, and so what else is wrong with it.
type greedy struct {
	schema    *ast.Schema
	pack      *judge.Pack
	world     *world
	listsOnly bool
}

// selection is every field of a type that does not make the query more than a read.
func (g greedy) selection(typ *ast.Type, depth int) string {
	definition := g.schema.Types[typ.Name()]
	line := g.pack.Types[definition.Name]
	switch {
	case definition.Kind == ast.Scalar || definition.Kind == ast.Enum:
		return ""
	case depth == 0 || definition.Kind != ast.Object || line != nil && line.Bound == judge.ByClass:
		return "{ __typename }"
	}
	fields := []string{"__typename"}
	for _, f := range definition.Fields {
		special := g.pack.Fields[definition.Name+"."+f.Name]
		below := g.pack.Types[f.Type.Name()]
		if special != nil && !special.Secret || below != nil && below.Bound == judge.ByClass || strings.HasSuffix(strings.ToLower(f.Name), "cursor") {
			continue // a cursor is an id in disguise: where a page begins is not hidden
		}
		if slices.Contains([]string{"Variable.plugin", "Variable.service", "VolumeInstance.service"}, definition.Name+"."+f.Name) {
			continue // the schema promises what need not be there
		}
		if composite := g.schema.Types[f.Type.Name()].Kind == ast.Object; g.listsOnly && composite && !isList(f) {
			continue
		}
		name := f.Name
		if f.Arguments.ForName("decryptVariables") != nil {
			name += "(decryptVariables: true)"
		}
		fields = append(fields, name+g.selection(f.Type, depth-1))
	}
	return "{ " + strings.Join(fields, " ") + " }"
}

func isList(f *ast.FieldDefinition) bool {
	return f.Type.Elem != nil || f.Name == "node" || strings.HasSuffix(f.Type.Name(), "Connection")
}

// query writes a root query with staging's ids in its arguments; empty where it wants what is not in the world.
func (g greedy) query(f *ast.FieldDefinition, depth int) string {
	var arguments []string
	for _, a := range f.Arguments {
		value, known := g.value(f.Name, a.Name, a.Type)
		if !known && a.Type.NonNull {
			return ""
		}
		if known {
			arguments = append(arguments, a.Name+": "+value)
		}
	}
	document := "{ " + f.Name
	if len(arguments) > 0 {
		document += "(" + strings.Join(arguments, ", ") + ")"
	}
	return document + g.selection(f.Type, depth) + " }"
}

func (g greedy) value(operation, name string, typ *ast.Type) (string, bool) {
	w := g.world
	staging := func(kind string) string { // the younger of two
		all := w.server.IDs(kind)
		return `"` + all[len(all)-1] + `"`
	}
	ids := map[string]string{
		"projectId": `"` + w.Shop + `"`, "environmentId": `"` + w.Staging + `"`, "serviceId": `"` + w.Web + `"`, "rootServiceId": `"` + w.Postgres + `"`,
		"volumeInstanceId": `"` + w.ShopDataStaging + `"`, "deploymentId": staging("Deployment"), "bucketId": staging("Bucket"),
		"privateNetworkId": staging("PrivateNetwork"), "workspaceId": `"` + w.Workspace + `"`, "ids": `["` + w.Shop + `"]`,
		"project.id": `"` + w.Shop + `"`, "environment.id": `"` + w.Staging + `"`, "service.id": `"` + w.Web + `"`, "deployment.id": staging("Deployment"),
		"deploymentEvents.id": staging("Deployment"), "environmentPatch.id": staging("EnvironmentPatch"), "volumeInstance.id": `"` + w.ShopDataStaging + `"`,
		"sandbox.id": staging("Sandbox"), "sandboxSessions.id": staging("Sandbox"), "customDomain.id": staging("CustomDomain"), "domainStatus.id": staging("CustomDomain"),
		"team.id": `"` + w.Workspace + `"`, "startDate": `"2026-01-01T00:00:00Z"`, "endDate": `"2026-05-01T00:00:00Z"`, "measurements": "[CPU_USAGE]",
		"deployments.input": `{projectId: "` + w.Shop + `"}`,
	}
	for _, key := range []string{operation + "." + name, name} {
		if value, known := ids[key]; known {
			return value, true
		}
	}
	if typ.Name() == "Boolean" && typ.NonNull {
		return "true", true
	}
	return "", false
}

// TestNoSecretAndNothingOfProductionIsRead by any query of class read that a lease of staging may make, though it
// select everything: what types and fields say in rows.pack, held to a Railway with both in it.
func TestNoSecretAndNothingOfProductionIsRead(t *testing.T) {
	w := newWorld(t, 0)
	schema, err := lists.Railway()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, asked := w.elsewhere(), 0
	for _, f := range schema.Query.Fields {
		if row := w.pack.Rows().Rows["query "+f.Name]; row == nil || row.Class != judge.Read {
			continue
		}
		for _, listsOnly := range []bool{false, true} {
			for _, depth := range []int{2, 4, 6, 8} {
				g := greedy{schema, w.pack.Rows(), w, listsOnly}
				if answer, may := w.ask(g.query(f, depth)); may {
					asked++
					w.tellsOnlyStaging(f.Name, answer, elsewhere)
				}
			}
		}
	}
	if asked < 400 {
		t.Errorf("only %d answers were looked at", asked)
	}
}

func (w *world) tellsOnlyStaging(query, answer string, elsewhere map[string]string) {
	for _, secret := range w.server.Secrets() {
		if strings.Contains(answer, secret) {
			w.t.Errorf("%s tells the secret %s", query, secret)
		}
	}
	for id, kind := range elsewhere {
		if at := strings.Index(answer, id); at >= 0 {
			w.t.Errorf("%s tells of a %s elsewhere: …%s", query, kind, answer[max(0, at-60):at])
		}
	}
}

// elsewhere are the ids of all that lives in production alone, or in another project.
func (w *world) elsewhere() map[string]string {
	ids := map[string]string{}
	for id, r := range w.server.Snapshot().Records {
		if slices.Equal(r.Environments, []string{w.Production}) || r.Project == w.Billing {
			ids[id] = r.Kind
		}
	}
	return ids
}

// ask makes a query as a lease of staging with read would, and gives what it would see; not may if it touches
// anything else than staging.
func (w *world) ask(document string) (answer string, may bool) {
	w.t.Helper()
	if document == "" {
		return "", false
	}
	v := w.pack.Judge(call(w.t, document, nil), false)
	if v.Class != judge.Read {
		return "", false
	}
	p := w.staging()
	found, err := p.Resolve(w.t.Context(), v.Operations[0].Touches, false)
	if err != nil {
		w.t.Errorf("%.80s: %v", document, err)
		return "", false
	}
	for _, f := range found {
		for _, place := range f.Places {
			if place.Identity != identity(w.Shop, w.Staging) {
				return "", false
			}
		}
	}
	request := httptest.NewRequest(v.Send.Method, v.Send.Path, strings.NewReader(string(v.Send.Body)))
	request.Header.Set("Content-Type", v.Send.ContentType)
	p.Attach(request.Header)
	recorder := httptest.NewRecorder()
	w.server.ServeHTTP(recorder, request)
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	rewritten, err := v.Answer.Rewrite(body, p.Sight())
	if err != nil {
		w.t.Errorf("%.80s: %v", document, err)
	}
	return string(rewritten), true
}
