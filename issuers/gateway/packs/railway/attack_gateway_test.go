package railway

import (
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// The text of an operation goes into the log, for auditors and every export, and onto the page. broker.Call says
// that secret values are hidden in it and are in Exact as a digest; nobody hides any, and Exact is never set.
func TestValueOfAVariableIsNotInTheLog(t *testing.T) {
	const secret = "sk_live_4242"
	for what, document := range map[string]string{
		"variableUpsert":           `mutation { variableUpsert(input: {projectId: "p", environmentId: "e", serviceId: "s", name: "STRIPE_KEY", value: "` + secret + `"}) }`,
		"variableCollectionUpsert": `mutation { variableCollectionUpsert(input: {projectId: "p", environmentId: "e", serviceId: "s", replace: false, variables: {STRIPE_KEY: "` + secret + `"}}) }`,
	} {
		v := newPack(t).Judge(call(t, document, nil), false)
		if len(v.Operations) != 1 {
			t.Fatalf("%s: %s", what, v.Refusal)
		}
		if strings.Contains(v.Operations[0].Text, secret) {
			t.Errorf("%s is logged as %s", what, v.Operations[0].Text)
		}
	}
}

// Admin on one service is how a human lets an agent see that service's secret values. A query that names the service
// alone walks over its project to the whole environment's, and all of them are shown.
func TestAdminOnOneServiceShowsTheSecretsOfOthers(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	lease := []broker.Scope{{Target: "railway", Resource: broker.Resource("service/" + w.Web), Actions: broker.Read | broker.Admin}}
	document := `{ service(id: "` + w.Web + `") { project { environments { edges { node { id config(decryptVariables: true) } } } } } }`
	v := w.pack.Judge(call(t, document, nil), false)
	if len(v.Operations) != 1 {
		t.Fatal(v.Refusal)
	}
	found, err := p.Resolve(t.Context(), v.Operations[0].Touches, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found { // what broker.Use asks before it says Pass.Secrets
		if !slices.ContainsFunc(f.Names, func(name broker.Resource) bool {
			return broker.Covers(lease, []broker.Scope{{Target: "railway", Resource: name, Actions: v.Class.Actions() | broker.Admin}})
		}) {
			t.Logf("refused: %v", f.Names)
			return
		}
	}
	request := httptest.NewRequest(v.Send.Method, v.Send.Path, strings.NewReader(string(v.Send.Body)))
	request.Header.Set("Content-Type", v.Send.ContentType)
	p.Attach(request.Header)
	recorder := httptest.NewRecorder()
	w.server.ServeHTTP(recorder, request)
	body, _ := io.ReadAll(recorder.Body)
	sight := p.Sight()
	sight.Secrets = true
	answer, err := v.Answer.Rewrite(body, sight)
	if err != nil {
		t.Fatal(err)
	}
	if revealed := w.server.Revealed(string(answer)); len(revealed) > 0 {
		t.Errorf("the lease has admin on web alone, and is shown %v", revealed)
	}
}
