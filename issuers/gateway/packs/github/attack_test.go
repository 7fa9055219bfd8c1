package github

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func attack(t *testing.T, method, path, body string, want judge.Class) {
	t.Helper()
	v := pack(t).Judge(judge.Call{Method: method, Path: "/repos/acme/shop/" + path, ContentType: "application/json", Body: []byte(body)}, false)
	if v.Class != want {
		t.Errorf("%s %s %s: %s, want %s (%s)", method, path, body, v.Class, want, v.Refusal)
	}
}

// TestADeploymentStartsWorkflowsWithTheCallersWords: `on: deployment` and `on: deployment_status` run with the
// repository's and the named environment's secrets, as `on: repository_dispatch` does, which is admin.
func TestADeploymentStartsWorkflowsWithTheCallersWords(t *testing.T) {
	attack(t, "POST", "deployments", `{"ref":"anything","environment":"production","production_environment":true,"payload":{"run":"x"}}`, judge.Admin)
	attack(t, "POST", "deployments/1/statuses", `{"state":"success","environment":"production"}`, judge.Admin)
}

// TestCopilotInAnotherCase: GitHub does not tell upper from lower case in a login.
func TestCopilotInAnotherCase(t *testing.T) {
	attack(t, "POST", "issues/7/assignees", `{"assignees":["Copilot-SWE-Agent[bot]"]}`, judge.Admin)
	attack(t, "POST", "issues", `{"title":"x","assignees":["COPILOT-swe-agent[bot]"]}`, judge.Admin)
}

// TestAGreenCheckInAnotherCase stands for the same yes.
func TestAGreenCheckInAnotherCase(t *testing.T) {
	attack(t, "POST", "statuses/a1", `{"state":"SUCCESS"}`, judge.Admin)
	attack(t, "POST", "check-runs", `{"name":"ci","head_sha":"a1","conclusion":"Success"}`, judge.Admin)
}

// TestAForcedPushByAList: to Ruby, [] is true.
func TestAForcedPushByAList(t *testing.T) {
	attack(t, "PATCH", "git/refs/heads/main", `{"sha":"a1","force":[]}`, judge.Delete)
	attack(t, "PATCH", "git/refs/heads/main", `{"sha":"a1","force":[false]}`, judge.Delete)
}

// TestAnEmptyScanClosesEveryAlert: a scan that names none closes those that there are; closing one by PATCH is delete.
func TestAnEmptyScanClosesEveryAlert(t *testing.T) {
	attack(t, "POST", "code-scanning/sarifs", `{"commit_sha":"a1","ref":"refs/heads/main","sarif":"H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA=="}`, judge.Delete)
	attack(t, "POST", "dependency-graph/snapshots", `{"version":0,"sha":"a1","ref":"refs/heads/main","job":{"id":"1","correlator":"build"},"detector":{"name":"d","version":"1","url":"u"},"scanned":"2026-01-01T00:00:00Z","manifests":{}}`, judge.Delete)
}

// TestThePagesTokenIsNotShown: a signed token stands in the log and before reviewers otherwise.
func TestThePagesTokenIsNotShown(t *testing.T) {
	v := pack(t).Judge(judge.Call{Method: "POST", Path: "/repos/acme/shop/pages/deployments", ContentType: "application/json",
		Body: []byte(`{"artifact_id":1,"pages_build_version":"a1","oidc_token":"eyJhbGciOiJSUzI1NiJ9.SECRET.SIG"}`)}, false)
	for _, o := range v.Operations {
		if strings.Contains(o.Text, "SECRET") {
			t.Errorf("a reviewer and the log read the token: %s", o.Text)
		}
	}
}
