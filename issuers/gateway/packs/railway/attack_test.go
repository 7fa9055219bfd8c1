package railway

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func attack(t *testing.T, document string, variables map[string]any, want judge.Class) {
	t.Helper()
	if v := newPack(t).Judge(call(t, document, variables), false); v.Class != want {
		t.Errorf("%s %v: %s, want %s (%s)", document, variables, v.Class, want, v.Refusal)
	}
}

// TestATemplateThatNobodyPublished: a template is found by its id or code, of whatever workspace, and what it is
// made of holds the default values of variables.
func TestATemplateThatNobodyPublished(t *testing.T) {
	v := newPack(t).Judge(call(t, `query { template(code: "x") { config serializedConfig services { edges { node { config } } } } }`, nil), false)
	if v.Class != judge.Read {
		t.Skip(v.Refusal)
	}
	answer := `{"data":{"template":{"config":{"v":"PASSWORD"},"serializedConfig":{"services":{"a":{"variables":{"K":{"defaultValue":"PASSWORD"}}}}},"services":{"edges":[{"node":{"config":{"v":"PASSWORD"}}}]}}}}`
	out, err := v.Answer.Rewrite([]byte(answer), judge.Sight{Environment: "e", Project: "p"})
	if err != nil || strings.Contains(string(out), "PASSWORD") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestTheNameOfAnothersDatabase: an endpoint that is made takes a name in the network as one that is renamed does.
func TestTheNameOfAnothersDatabase(t *testing.T) {
	attack(t, `mutation { privateNetworkEndpointCreateOrGet(input: {environmentId: "e", privateNetworkId: "n", serviceId: "s", serviceName: "postgres", tags: []}) { publicId } }`, nil, judge.Admin)
}

// TestACopyEscapesTheNamesThatPoliciesForbid: the copy has every variable and the data of the volumes, under a name
// that no scope and no guardrail speaks of.
func TestACopyEscapesTheNamesThatPoliciesForbid(t *testing.T) {
	attack(t, `mutation { serviceDuplicate(serviceId: "s", environmentId: "e") { id } }`, nil, judge.Admin)
	attack(t, `mutation { volumeInstancePITRRestore(volumeInstanceId: "i", targetTimestamp: "2026-01-01T00:00:00Z", newServiceName: "mine", sourceRepoPath: "/another") { workflowId } }`, nil, judge.Admin)
}

// TestACommitOfAFork: GitHub finds every commit of a network of forks by its number, so whoever has a fork chooses
// the code.
func TestACommitOfAFork(t *testing.T) {
	attack(t, `mutation { serviceInstanceDeployV2(serviceId: "s", environmentId: "e", commitSha: "a1") }`, nil, judge.Admin)
	attack(t, `mutation { serviceInstanceDeploy(serviceId: "s", environmentId: "e", commitSha: "a1") }`, nil, judge.Admin)
	attack(t, `mutation { serviceInstanceDeployV2(serviceId: "s", environmentId: "e") }`, nil, judge.Write)
	patch := map[string]any{"p": map[string]any{"services": map[string]any{"s": map[string]any{"source": map[string]any{"commitSha": "a1"}}}}}
	attack(t, `mutation ($p: EnvironmentConfig) { environmentPatchCommit(environmentId: "e", patch: $p) }`, patch, judge.Admin)
	attack(t, `mutation ($p: EnvironmentConfig!) { environmentStageChanges(environmentId: "e", merge: true, input: $p) { id } }`, patch, judge.Admin)
}

// TestAnEmptyHealthcheck is none, like null.
func TestAnEmptyHealthcheck(t *testing.T) {
	attack(t, `mutation { serviceInstanceUpdate(serviceId: "s", environmentId: "e", input: {healthcheckPath: ""}) }`, nil, judge.Delete)
	patch := map[string]any{"p": map[string]any{"services": map[string]any{"s": map[string]any{"deploy": map[string]any{"healthcheckPath": ""}}}}}
	attack(t, `mutation ($p: EnvironmentConfig) { environmentPatchCommit(environmentId: "e", patch: $p) }`, patch, judge.Delete)
	attack(t, `mutation ($p: EnvironmentConfig!) { environmentStageChanges(environmentId: "e", merge: true, input: $p) { id } }`, patch, judge.Delete)
}

// TestNoReplicasByAList: the configuration is opaque, and [] is no number.
func TestNoReplicasByAList(t *testing.T) {
	patch := map[string]any{"p": map[string]any{"services": map[string]any{"s": map[string]any{"deploy": map[string]any{"numReplicas": []any{}}}}}}
	attack(t, `mutation ($p: EnvironmentConfig) { environmentPatchCommit(environmentId: "e", patch: $p) }`, patch, judge.Delete)
}

// TestANewVolumeOverWhatServes: attaching one is delete by volumeInstanceUpdate and by the configuration.
func TestANewVolumeOverWhatServes(t *testing.T) {
	attack(t, `mutation { volumeCreate(input: {projectId: "p", environmentId: "e", serviceId: "s", mountPath: "/var/lib/postgresql/data"}) { id } }`, nil, judge.Delete)
	attack(t, `mutation { volumeCreate(input: {projectId: "p", environmentId: "e", mountPath: "/data"}) { id } }`, nil, judge.Write)
}
