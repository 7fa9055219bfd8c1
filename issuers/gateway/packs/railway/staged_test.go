package railway

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
)

const commitStaged = `mutation { environmentPatchCommitStaged(environmentId: "ENV") }`

// stage has Railway stage a patch, as somebody else would.
func (w *world) stage(patch string) {
	w.t.Helper()
	document := `mutation ($e: String!, $p: EnvironmentConfig!) { environmentStageChanges(environmentId: $e, input: $p) { id } }`
	var answer any
	if err := w.staging().client.ask(w.t.Context(), document, map[string]any{"e": w.Staging, "p": json.RawMessage(patch)}, &answer); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) staged() (gateway.Found, error) {
	found, err := w.resolve(w.staging(), strings.ReplaceAll(commitStaged, "ENV", w.Staging))
	if err != nil {
		return gateway.Found{}, err
	}
	return found[0], nil
}

// TestAnothersStagedChangeIsNamed: what a human approves is what is staged, read by name.
func TestAnothersStagedChangeIsNamed(t *testing.T) {
	w := newWorld(t, 0)
	w.stage(`{"services": {"` + w.Web + `": {"variables": {"STRIPE_KEY": {"value": "sk_live_1"}, "OLD": null}, "deploy": {"numReplicas": 3}}}, "volumes": {"` + w.RenderCache + `": {"isDeleted": true}}}`)
	found, err := w.staged()
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{
		"services.web.deploy.numReplicas = 3", "services.web.variables.STRIPE_KEY.value is set", "services.web.variables.OLD is taken away",
		"volumes.render-cache.isDeleted = true",
	} {
		if !strings.Contains(found.Says, says) {
			t.Errorf("says %q, not %q", found.Says, says)
		}
	}
	if strings.Contains(found.Says, "sk_live_1") {
		t.Error("the value of a variable is told")
	}
	digest := string(found.Names[0])
	if !strings.HasPrefix(digest, "staged/") || !slices.Contains(found.Names, broker.Resource("environment/staging")) || lives([]gateway.Found{found})[0] != "environment/staging: staging" {
		t.Errorf("%+v", found)
	}
	again, err := w.staged()
	if err != nil || !slices.Equal(again.Names, found.Names) || again.Says != found.Says {
		t.Errorf("asked again it is another: %v, %v", again, err)
	}
}

// TestAnApprovedCommitWhoseStagedContentChanged has another name, so the approval is not for it.
func TestAnApprovedCommitWhoseStagedContentChanged(t *testing.T) {
	w := newWorld(t, 0)
	seen := map[broker.Resource]string{}
	for _, patch := range []string{
		`{"services": {"` + w.Web + `": {"variables": {"A": {"value": "1"}}}}}`,
		`{"services": {"` + w.Web + `": {"variables": {"A": {"value": "2"}}}}}`, // only a value that is not told
		`{"services": {"` + w.Postgres + `": {"variables": {"A": {"value": "2"}}}}}`,
		`{"services": {"` + w.Web + `": {"deploy": {"numReplicas": 2}}}}`,
		`{"services": {"` + w.Web + `": {"deploy": {"numReplicas": 20000000000000000000001}}}}`,
		`{"services": {"` + w.Web + `": {"deploy": {"numReplicas": 20000000000000000000002}}}}`, // numbers that a float64 takes for one
	} {
		w.stage(patch)
		found, err := w.staged()
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[found.Names[0]]; twice {
			t.Errorf("%s has the name of %s", patch, other)
		}
		seen[found.Names[0]] = patch
	}
}

// TestStagedPowerIsNotCommittedAsSomethingLess: the commit is judged as deleting at worst, so what gives power, or
// cannot be judged, is refused.
func TestStagedPowerIsNotCommittedAsSomethingLess(t *testing.T) {
	w := newWorld(t, 0)
	for patch, says := range map[string]string{
		`{"services": {"` + w.Web + `": {"source": {"image": "evil"}}}}`:                      "whose code runs",
		`{"services": {"` + w.Postgres + `": {"networking": {"tcpProxies": {"p5432": {}}}}}}`: "internet",
		`{"services": {"` + w.Web + `": {"aNewPart": 1}}}`:                                    "cannot be committed",
		`{"services": {"` + w.BillingAPI + `": {"deploy": {"startCommand": "x"}}}}`:           "project billing",
		`{"volumes": {"3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42": {"isDeleted": true}}}`:          "none of the projects",
		`{}`: "nothing is staged",
	} {
		w.stage(patch)
		if _, err := w.staged(); broker.CodeOf(err) != broker.CodeDenied || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", patch, err, says)
		}
	}
}
