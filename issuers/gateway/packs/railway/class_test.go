package railway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// call is a GraphQL call as a client sends it.
func call(t testing.TB, document string, variables map[string]any) judge.Call {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	return judge.Call{Method: "POST", Path: "/graphql/v2", ContentType: "application/json", Body: body}
}

// said writes what a call names: "volume v1 in e1".
func said(operations []judge.Operation) []string {
	var all []string
	for _, o := range operations {
		for _, n := range o.Touches {
			text := strings.TrimRight(n.Kind+" "+n.ID, " ")
			if n.In != "" {
				text += " in " + n.In
			}
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// TestNineSeconds is the document of April 2026, as it is publicly told: an anonymous mutation, the id inline,
// no variables.
func TestNineSeconds(t *testing.T) {
	body := `{"query":"mutation { volumeDelete(volumeId: \"3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42\") }"}`
	v := newPack(t).Judge(judge.Call{Method: "POST", Path: "/graphql/v2", ContentType: "application/json", Body: []byte(body)}, false)
	if v.Class != judge.Delete || !slices.Equal(said(v.Operations), []string{"volume 3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42"}) {
		t.Errorf("%s, names %v: %s", v.Class, said(v.Operations), v.Refusal)
	}
	if why := v.Operations[0].Why; !strings.Contains(why, "every environment") || !strings.Contains(why, "backups") {
		t.Errorf("a reviewer would read: %s", why)
	}
}

type hardCase struct {
	document string
	want     judge.Class
	names    string // what is named, joined by ", "; empty: not looked at
}

func (c hardCase) check(t *testing.T, pack *Pack) {
	t.Helper()
	v := pack.Judge(call(t, c.document, nil), false)
	if v.Class != c.want {
		t.Errorf("%s\n  is %s, want %s (%s)", c.document, v.Class, c.want, v.Refusal+why(v))
	}
	if got := strings.Join(said(v.Operations), ", "); c.names != "" && got != c.names {
		t.Errorf("%s\n  names %s, want %s", c.document, got, c.names)
	}
}

func why(v judge.Verdict) string {
	if len(v.Operations) == 0 {
		return ""
	}
	return v.Operations[0].Why
}

// TestTheOpenCases: the operations for which no class is proposed anywhere, each decided.
func TestTheOpenCases(t *testing.T) {
	pack := newPack(t)
	for _, c := range []hardCase{
		{`mutation { bucketCredentialsReset(bucketId: "b", environmentId: "e", projectId: "p") { bucketName } }`, judge.Admin, "bucket p/b in e"},
		{`mutation { cancelPitrHaWorkflow(environmentId: "e", rootServiceId: "s") }`, judge.Delete, "service s in e"},
		{`mutation { clearPitrHaWorkflowProgress(environmentId: "e", rootServiceId: "s") }`, judge.Delete, "service s in e"},
		{`mutation { deploymentCancel(id: "d") }`, judge.Write, "deployment d"},
		{`mutation { deploymentInstanceExecutionCreate(input: {serviceInstanceId: "i"}) }`, judge.Write, "service-instance i"},
		{`mutation { disablePitrForHaCluster(input: {environmentId: "e", projectId: "p", rootServiceId: "s"}) { projectId } }`, judge.Delete, "service p/s in e"},
		{`mutation { egressGatewayHAMigrationPreview(input: {environmentId: "e", serviceId: "s"}) { ips { ipv4 } } }`, judge.Read, "service s in e"},
		{`mutation { egressGatewayHAMigrationPreview(input: {environmentId: "e", serviceId: "s", allEnvironments: true}) { ips { ipv4 } } }`, judge.Refused, ""},
		{`mutation { environmentApplyChangeSet(environmentId: "e", input: {version: 1, changes: []}) { id } }`, judge.Refused, ""},
		{`mutation { environmentCreate(input: {name: "n", projectId: "p"}) { id } }`, judge.Write, "project p"},
		{`mutation { environmentCreate(input: {name: "n", projectId: "p", sourceEnvironmentId: "e"}) { id } }`, judge.Admin, "project p, environment e"},
		{`mutation { environmentPatchCommit(environmentId: "e", patch: {services: {s: {deploy: {startCommand: "x"}}}}) }`, judge.Write, "environment e, service s in e"},
		{`mutation { environmentPatchCommitStaged(environmentId: "e") }`, judge.Delete, "staged e"},
		{`mutation { environmentPreviewChangeSet(environmentId: "e", input: {}) { effects } }`, judge.Read, "environment e"},
		{`mutation { environmentStageChanges(environmentId: "e", input: {}, merge: true) { id } }`, judge.Write, "environment e"},
		{`mutation { loginSessionConsume(code: "c") }`, judge.Refused, ""},
		{`mutation { projectScheduleDeleteCancel(id: "p") }`, judge.Write, "project p"},
		{`mutation { purgeServiceCache(input: {environmentId: "e", serviceId: "s", scope: ALL}) }`, judge.Write, "service s in e"},
		{`mutation { railwayDomainNameserversSet(input: {id: "d", nameservers: []}) { isDefault } }`, judge.Admin, "bought-domain d"},
		{`mutation { sandboxHeartbeat(environmentId: "e", id: "x") { id } }`, judge.Write, "sandbox x in e"},
		{`mutation { serviceDisconnect(id: "s") { id } }`, judge.Delete, "service s"},
		{`mutation { signalReplace(input: {name: "n", owner: "project:p", type: bool, default: true}) { id } }`, judge.Delete, "signals project:p"},
		{`mutation { templateRevert(input: {environmentId: "e", projectId: "p", rootServiceId: "s", templateCode: "c", groupId: "g"}) { projectId } }`, judge.Delete, "service p/s in e, group g"},
		{`mutation { updateServiceEdgeRules(input: {environmentId: "e", serviceId: "s"}) { id } }`, judge.Delete, "service s in e"},
		{`mutation { usageLimitSet(input: {customerId: "c", softLimitDollars: 1}) }`, judge.Admin, "customer c"},
		{`mutation { variableCollectionUpsert(input: {environmentId: "e", projectId: "p", variables: {A: "1"}}) }`, judge.Write, "variables p/e"},
		{`mutation { volumeInstanceBackupLock(volumeInstanceBackupId: "b", volumeInstanceId: "i") }`, judge.Write, "backup i/b"},
		{`mutation { volumeInstanceBackupRestore(volumeInstanceBackupId: "b", volumeInstanceId: "i", wipeServiceIds: ["s"]) { workflowId } }`, judge.Delete, "backup i/b, service s"},
		{`mutation { volumeInstanceBackupScheduleUpdate(kinds: [DAILY], volumeInstanceId: "i") }`, judge.Delete, "volume-instance i"},
		{`mutation { volumeInstancePITRRestore(targetTimestamp: "2026-01-01T00:00:00Z", volumeInstanceId: "i") { workflowId } }`, judge.Write, "volume-instance i"},
		{`mutation { volumeInstanceUpdate(volumeId: "v", input: {mountPath: "/x"}) }`, judge.Delete, "volume v"},
		{`mutation { volumeInstanceUpdate(volumeId: "v", environmentId: "e", input: {serviceId: "s"}) }`, judge.Delete, "volume v in e, service s in e"},
	} {
		c.check(t, pack)
	}
}

// TestWhatLooksLikeWritingDestroys: payloads of operations that are write by their name.
func TestWhatLooksLikeWritingDestroys(t *testing.T) {
	pack := newPack(t)
	patch := func(of string) string {
		return fmt.Sprintf(`mutation { environmentPatchCommit(environmentId: "e", patch: %s) }`, of)
	}
	stage := func(of string) string {
		return fmt.Sprintf(`mutation { environmentStageChanges(environmentId: "e", merge: true, input: %s) { id } }`, of)
	}
	update := func(of string) string {
		return fmt.Sprintf(`mutation { serviceInstanceUpdate(serviceId: "s", environmentId: "e", input: %s) }`, of)
	}
	for of, want := range map[string]judge.Class{
		`{services: {s: {isDeleted: true}}}`:                                           judge.Delete,
		`{volumes: {v: {isDeleted: true}}}`:                                            judge.Delete,
		`{buckets: {b: {isDeleted: true}}}`:                                            judge.Delete,
		`{groups: {g: {isDeleted: true}}}`:                                             judge.Delete,
		`{services: {s: {variables: {A: null}}}}`:                                      judge.Delete,
		`{services: {s: {variables: {A: {value: ""}}}}}`:                               judge.Delete,
		`{services: {s: {variables: {A: {value: "x", isSealed: true}}}}}`:              judge.Delete,
		`{sharedVariables: {A: null}}`:                                                 judge.Delete,
		`{services: {s: {volumeMounts: {v: {mountPath: "/x"}}}}}`:                      judge.Delete,
		`{services: {s: {volumeMounts: {v: {backupSchedules: []}}}}}`:                  judge.Delete,
		`{services: {s: {volumeMounts: {v: null}}}}`:                                   judge.Delete,
		`{services: {s: {deploy: {numReplicas: 0}}}}`:                                  judge.Delete,
		`{services: {s: {deploy: {numReplicas: "0"}}}}`:                                judge.Delete,
		`{services: {s: {deploy: {sleepApplication: true}}}}`:                          judge.Delete,
		`{services: {s: {deploy: {cronSchedule: "0 0 1 1 *"}}}}`:                       judge.Delete,
		`{services: {s: {deploy: {multiRegionConfig: {r: {numReplicas: 0}}}}}}`:        judge.Delete,
		`{services: {s: {networking: {customDomains: {d: null}}}}}`:                    judge.Delete,
		`{volumes: {v: {sizeMB: 1}}}`:                                                  judge.Delete,
		`{stopServices: ["s"]}`:                                                        judge.Delete,
		`{privateNetworkDisabled: true}`:                                               judge.Delete,
		`{services: {s: {source: {image: "evil"}}}}`:                                   judge.Admin,
		`{services: {s: {source: {repo: "evil/evil"}}}}`:                               judge.Admin,
		`{services: {s: {deploy: {registryCredentials: {username: "u"}}}}}`:            judge.Admin,
		`{services: {s: {networking: {tcpProxies: {p5432: {}}}}}}`:                     judge.Admin,
		`{services: null}`:                                                             judge.Refused,
		`{services: {s: null}}`:                                                        judge.Refused,
		`{volumes: {v: null}}`:                                                         judge.Refused,
		`{volumes: {v: {forkFromBaseEnvironment: true}}}`:                              judge.Refused,
		`{services: {s: {deploy: {aNewSetting: true}}}}`:                               judge.Refused,
		`{aNewPart: true}`:                                                             judge.Refused,
		`"{\"volumes\":{\"v\":{\"isDeleted\":true}}}"`:                                 judge.Refused,
		`{services: {s: {deploy: {startCommand: "x"}, variables: {A: {value: "1"}}}}}`: judge.Write,
	} {
		hardCase{patch(of), want, ""}.check(t, pack)
		hardCase{stage(of), want, ""}.check(t, pack)
	}
	for of, want := range map[string]judge.Class{
		`{startCommand: "x"}`: judge.Write, `{numReplicas: 2}`: judge.Write,
		`{numReplicas: 0}`: judge.Delete, `{numReplicas: null}`: judge.Delete, `{sleepApplication: true}`: judge.Delete, `{cronSchedule: null}`: judge.Delete,
		`{region: "r"}`: judge.Delete, `{multiRegionConfig: {}}`: judge.Delete, `{source: {image: "i"}}`: judge.Admin, `{source: null}`: judge.Refused,
		`{registryCredentials: {username: "u", password: "p"}}`: judge.Admin,
	} {
		hardCase{update(of), want, "base-service s in e"}.check(t, pack)
	}
}

// TestInTwoStepsAndByFlags: flags that make an operation another one, and steps that prepare it.
func TestInTwoStepsAndByFlags(t *testing.T) {
	pack := newPack(t)
	for _, c := range []hardCase{
		{`mutation { environmentStageChanges(environmentId: "e", input: {}) { id } }`, judge.Delete, "environment e"}, // drops what others staged
		{`mutation { environmentStageChanges(environmentId: "e", input: {}, merge: false) { id } }`, judge.Delete, ""},
		{`mutation { environmentStageChanges(environmentId: "e", input: {}, merge: null) { id } }`, judge.Delete, ""},
		{`mutation { environmentPatchCommit(environmentId: "e") }`, judge.Refused, ""},
		{`mutation { environmentPatchCommit(environmentId: "e", patch: null) }`, judge.Refused, ""},
		{`mutation { variableCollectionUpsert(input: {environmentId: "e", projectId: "p", serviceId: "s", replace: true, variables: {}}) }`, judge.Delete, "variables p/e in s"},
		{`mutation { variableCollectionUpsert(input: {environmentId: "e", projectId: "p", variables: {A: null}}) }`, judge.Delete, ""},
		{`mutation { variableUpsert(input: {environmentId: "e", projectId: "p", name: "A", value: ""}) }`, judge.Delete, "variables p/e"},
		{`mutation { variableUpsert(input: {environmentId: "e", projectId: "p", serviceId: "s", name: "A", value: "1"}) }`, judge.Write, "variables p/e in s"},
		{`mutation { sharedVariableConfigure(input: {environmentId: "e", projectId: "p", name: "A", enabledServiceIds: ["s"], disabledServiceIds: []}) { id } }`, judge.Write, "environment p/e, service p/s in e"},
		{`mutation { sharedVariableConfigure(input: {environmentId: "e", projectId: "p", name: "A", enabledServiceIds: [], disabledServiceIds: ["s"]}) { id } }`, judge.Delete, ""},
		{`mutation { volumeInstanceUpdate(volumeId: "v", environmentId: null, input: {serviceId: "s", state: DELETED}) }`, judge.Delete, "volume v, service s"},
		{`mutation { volumeCreate(input: {projectId: "p", mountPath: "/d", environmentId: null}) { id } }`, judge.Write, "new-volume p"},
		{`mutation { serviceDelete(id: "s") }`, judge.Delete, "base-service s"},
		{`mutation { serviceDelete(id: "s", environmentId: "e") }`, judge.Delete, "base-service s in e"},
		{`mutation { serviceCreate(input: {projectId: "p", environmentId: "e", name: "n"}) { id } }`, judge.Write, "base-new-service p in e"},
		{`mutation { serviceCreate(input: {projectId: "p", environmentId: "e", source: {image: "i"}}) { id } }`, judge.Admin, ""},
		{`mutation { serviceUpdate(id: "s", input: {icon: "i"}) { id } }`, judge.Write, "service s"},
		{`mutation { serviceUpdate(id: "s", input: {name: "n"}) { id } }`, judge.Admin, "service s"},
		{`mutation { projectUpdate(id: "p", input: {isPublic: true}) { id } }`, judge.Admin, "project p"},
		{`mutation { deploymentTriggerUpdate(id: "t", input: {branch: "b"}) { id } }`, judge.Write, "deployment-trigger t"},
		{`mutation { deploymentTriggerUpdate(id: "t", input: {repository: "evil/evil"}) { id } }`, judge.Admin, ""},
		{`mutation { egressGatewayAssociationsClear(input: {environmentId: "e", serviceId: "s", allEnvironments: true}) }`, judge.Refused, ""},
		{`mutation { templateDeployV2(input: {serializedConfig: {}, templateId: "t", projectId: "p", existingRootServiceId: "s"}) { projectId } }`, judge.Refused, ""},
		{`mutation { dockerComposeImport(environmentId: "e", projectId: "p", yaml: "", skipStagingPatch: true) { errors } }`, judge.Refused, ""},
		{`mutation { tcpProxyCreate(input: {applicationPort: 5432, environmentId: "e", serviceId: "s"}) { id } }`, judge.Admin, "service s in e"},
		{`mutation { sandboxCreate(input: {environmentId: "e"}) { id } }`, judge.Write, "environment e"},
		{`mutation { sandboxCreate(input: {environmentId: "e", variables: {A: "${{postgres.PASSWORD}}"}}) { id } }`, judge.Admin, ""},
		{`mutation { sandboxCreate(input: {environmentId: "e", networkIsolation: PRIVATE}) { id } }`, judge.Admin, ""},
		{`mutation { deploymentStop(id: "d") }`, judge.Delete, "deployment d"},
	} {
		c.check(t, pack)
	}
}

// TestQueriesThatHandOutPower: a query is not a read because it is a query.
func TestQueriesThatHandOutPower(t *testing.T) {
	pack := newPack(t)
	for _, c := range []hardCase{
		{`{ projectInviteCode(projectId: "p", role: ADMIN) { code } }`, judge.Admin, "project p"},
		{`{ bucketS3Credentials(bucketId: "b", environmentId: "e", projectId: "p") { secretAccessKey } }`, judge.Admin, "bucket p/b in e"},
		{`{ apiTokens { edges { node { displayToken } } } }`, judge.Admin, "account"},
		{`{ projectTokens(projectId: "p") { edges { node { name } } } }`, judge.Admin, "project p"},
		{`{ auditLogs(workspaceId: "w") { edges { node { payload } } } }`, judge.Admin, "workspace w"},
		{`{ sshPublicKeys { edges { node { publicKey } } } }`, judge.Admin, "account"},
		{`{ project(id: "p") { members { email } } }`, judge.Admin, "project-view p"},
		{`{ project(id: "p") { name environments { edges { node { name } } } } }`, judge.Read, "project-view p"},
		{`{ me { name workspaces { name } } }`, judge.Read, "project-view"},
		{`{ me { workspaces { members { email } } } }`, judge.Refused, ""},
		{`{ me { workspaces { customer { invoices { pdfURL } } } } }`, judge.Refused, ""},
		{`{ sessions { edges { node { id } } } }`, judge.Refused, ""},
		{`{ environmentChangeSetApply(environmentId: "e", id: "i") { status } }`, judge.Refused, ""},
		{`{ variables(environmentId: "e", projectId: "p", serviceId: "s") }`, judge.Read, "variables p/e in s"},
		{`{ variables(environmentId: "e", projectId: "p", unrendered: true) }`, judge.Read, "variables p/e"},
		{`{ metrics(startDate: "2026-01-01T00:00:00Z", measurements: [CPU_USAGE]) { measurement } }`, judge.Refused, ""},
		{`{ metrics(startDate: "2026-01-01T00:00:00Z", measurements: [CPU_USAGE], projectId: "p") { measurement } }`, judge.Read, "project p"},
		{`{ metrics(startDate: "2026-01-01T00:00:00Z", measurements: [CPU_USAGE], projectId: "p", volumeInstanceExternalId: "x") { measurement } }`, judge.Refused, ""},
		{`{ regions { name } }`, judge.Read, "project-view"},
		{`{ platformStatus { isStable } }`, judge.Read, ""},
		{`subscription { deploymentLogs(deploymentId: "d") { message } }`, judge.Refused, ""},
	} {
		c.check(t, pack)
	}
}

// TestOtherDoorsAreClosed, each with its own sentence.
func TestOtherDoorsAreClosed(t *testing.T) {
	pack := newPack(t)
	seen := map[string]bool{}
	for _, door := range []struct{ method, path, says string }{
		{"POST", "/project/p/environment/e/up", "upload"},
		{"POST", "/project/p/environment/e/up?serviceId=s", "upload"},
		{"POST", "/graphql/internal", "Railway's own pages"},
		{"POST", "/graphql", "published"},
		{"POST", "/graphql/v2/", "published"},
		{"POST", "/graphql/v3", "published"},
		{"POST", "/api/v1/agent", "agent"},
		{"POST", "/oauth/token", "signing in"},
		{"POST", "/mcp", "MCP"},
		{"GET", "/graphql/v2", "websockets"},
		{"PUT", "/graphql/v2", "POST"},
		{"POST", "/graphql/v2/../internal", "published"},
		{"POST", "/graphql/v%32", "published"},
		{"POST", "/", "no door"},
	} {
		c := call(t, `mutation { volumeDelete(volumeId: "v") }`, nil)
		c.Method, c.Path = door.method, door.path
		for _, lenient := range []bool{false, true} {
			v := pack.Judge(c, lenient)
			if v.Class != judge.Refused || !strings.Contains(v.Refusal, door.says) {
				t.Errorf("%s %s: %s %q", door.method, door.path, v.Class, v.Refusal)
			}
			seen[v.Refusal] = true
		}
	}
	if len(seen) < 9 {
		t.Errorf("only %d sentences for all doors", len(seen))
	}
}
