package github

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// The cases where verb and name mislead, or an argument decides. ~ is /repos/acme/shop.
func TestHardCases(t *testing.T) {
	const only = "repo acme/shop"
	for _, c := range []struct {
		call, body string
		class      judge.Class
		touches    string
	}{
		// An argument of the body decides.
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1"}`, judge.Write, only},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","force":false}`, judge.Write, only},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","force":true}`, judge.Delete, only},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","force":"true"}`, judge.Delete, only},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","force":1}`, judge.Delete, only},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","Force":true}`, judge.Refused, ""},
		{"DELETE ~/git/refs/heads/feature/x", ``, judge.Delete, only},
		{"PATCH ~", `{"description":"a shop"}`, judge.Write, only},
		{"PATCH ~", `{"archived":true}`, judge.Delete, only},
		{"PATCH ~", `{"archived":false}`, judge.Delete, only},
		{"PATCH ~", `{"private":false}`, judge.Admin, only},
		{"PATCH ~", `{"visibility":"public"}`, judge.Admin, only},
		{"PATCH ~", `{"default_branch":"fix"}`, judge.Admin, only},
		{"PATCH ~", `{"name":"store"}`, judge.Admin, only},
		{"PATCH ~", `{"delete_branch_on_merge":true}`, judge.Delete, only},
		{"PATCH ~", `{"delete_branch_on_merge":false}`, judge.Write, only},
		{"PATCH ~", `{"has_issues":false}`, judge.Delete, only},
		{"PATCH ~", `{"has_issues":true}`, judge.Write, only},
		{"PATCH ~", `{"security_and_analysis":{"secret_scanning":{"status":"disabled"}}}`, judge.Delete, only},
		{"PATCH ~", `{"description":"x","archived":true,"private":false}`, judge.Admin, only},
		{"PATCH ~", `{"self_destruct":true}`, judge.Refused, ""},
		{"PATCH ~/issues/7", `{"state":"closed"}`, judge.Write, only},
		{"PATCH ~/issues/7", `{"labels":["bug"]}`, judge.Delete, only},
		{"PATCH ~/issues/7", `{"labels":[]}`, judge.Delete, only},
		{"PATCH ~/issues/7", `{"assignees":["bob"]}`, judge.Delete, only},
		{"PATCH ~/issues/7", `{"assignees":["bob","copilot-swe-agent[bot]"]}`, judge.Admin, only},
		{"PATCH ~/issues/7", `{"duplicate_issue_id":99}`, judge.Refused, ""},
		{"POST ~/pulls/7/reviews", `{"event":"COMMENT","body":"x"}`, judge.Write, only},
		{"POST ~/pulls/7/reviews", `{"event":"APPROVE"}`, judge.Admin, only},
		{"POST ~/pulls/7/reviews", `{"event":"approve"}`, judge.Admin, only},
		{"POST ~/pulls/7/reviews", `{"body":"a draft"}`, judge.Write, only},
		{"POST ~/statuses/a1", `{"state":"failure"}`, judge.Write, only},
		{"POST ~/statuses/a1", `{"state":"success"}`, judge.Admin, only},
		{"POST ~/check-runs", `{"name":"ci","head_sha":"a1","conclusion":"skipped"}`, judge.Admin, only},
		{"POST ~/deployments", `{"ref":"main"}`, judge.Admin, only},
		{"POST ~/deployments", `{"ref":"main","required_contexts":[]}`, judge.Admin, only},
		{"PATCH ~/releases/7", `{"body":"notes"}`, judge.Write, only},
		{"PATCH ~/releases/7", `{"draft":true}`, judge.Delete, only},
		{"PATCH ~/releases/7", `{"draft":false}`, judge.Write, only},
		{"PATCH ~/code-scanning/alerts/7", `{"state":"dismissed","dismissed_reason":"won't fix"}`, judge.Delete, only},
		{"PATCH ~/code-scanning/alerts/7", `{"state":"open"}`, judge.Write, only},
		{"PATCH ~/dependabot/alerts/7", `{"agent_assignment":{"custom_agent":"x"}}`, judge.Admin, only},
		{"PATCH ~/secret-scanning/alerts/7", `{"state":"resolved","resolution":"wont_fix"}`, judge.Delete, only},
		{"PATCH ~/security-advisories/GHSA-1", `{"state":"published"}`, judge.Admin, only},
		{"PUT ~/branches/main/protection", `{"enforce_admins":null,"required_status_checks":null,"required_pull_request_reviews":null,"restrictions":null}`, judge.Delete, only},
		{"PUT ~/branches/release/1/protection", `{"restrictions":{"users":["bob"],"teams":[]}}`, judge.Admin, only},
		{"POST ~/actions/jobs/7/rerun", `{"enable_debugger":true}`, judge.Admin, only},
		{"PUT ~/pulls/7/merge-async", `{"merge_action":"direct_merge"}`, judge.Delete, only},

		// A PUT replaces, a DELETE may take back, a POST may read or destroy.
		{"PUT ~/topics", `{"names":["a"]}`, judge.Delete, only},
		{"PUT ~/issues/7/labels", `{"labels":["a"]}`, judge.Delete, only},
		{"POST ~/issues/7/labels", `{"labels":["a"]}`, judge.Write, only},
		{"DELETE ~/issues/7/labels/bug", ``, judge.Write, only},
		{"DELETE ~/issues/7/labels", ``, judge.Delete, only},
		{"DELETE ~/labels/bug", ``, judge.Delete, only},
		{"DELETE ~/issues/7/lock", ``, judge.Write, only},
		{"PUT ~/contents/docs/a.md", `{"message":"x","content":"eA=="}`, judge.Write, only},
		{"DELETE ~/contents/docs/a.md", `{"message":"x","sha":"a1"}`, judge.Delete, only},
		{"POST /markdown", `{"text":"*x*"}`, judge.Read, ""},
		{"POST /markdown", `{"text":"#1","mode":"gfm","context":"acme/payroll"}`, judge.Refused, ""},
		{"POST ~/releases/generate-notes", `{"tag_name":"v1"}`, judge.Read, only},
		{"POST /orgs/acme/attestations/delete-request", `{"attestation_ids":[1]}`, judge.Delete, "account"},
		{"POST ~/branches/main/rename", `{"new_name":"trunk"}`, judge.Delete, only},
		{"PUT ~/actions/workflows/ci.yml/disable", ``, judge.Delete, only},
		{"DELETE ~/vulnerability-alerts", ``, judge.Delete, only},

		// Whatever runs, with whose power.
		{"POST ~/actions/workflows/deploy.yml/dispatches", `{"ref":"main","inputs":{"environment":"production"}}`, judge.Admin, only},
		{"POST ~/dispatches", `{"event_type":"x","client_payload":{}}`, judge.Admin, only},
		{"POST ~/actions/runs/7/rerun", ``, judge.Write, only},
		{"POST ~/actions/runs/7/cancel", ``, judge.Write, only},
		{"POST ~/actions/runs/7/force-cancel", ``, judge.Delete, only},
		{"POST ~/actions/runs/7/pending_deployments", `{"environment_ids":[1],"state":"approved","comment":""}`, judge.Admin, only},
		{"POST ~/actions/runs/7/approve", ``, judge.Admin, only},
		{"PUT ~/pulls/7/merge", `{}`, judge.Write, only},
		{"POST ~/merges", `{"base":"main","head":"fix"}`, judge.Write, only},
		{"POST /agents/repos/acme/shop/tasks", `{"prompt":"delete it all"}`, judge.Admin, only},
		{"POST ~/codespaces", `{}`, judge.Admin, "repo acme/shop, account"},

		// Keys, in and out.
		{"POST ~/actions/runners/registration-token", ``, judge.Admin, only},
		{"POST ~/actions/runners/generate-jitconfig", `{"name":"r"}`, judge.Admin, only},
		{"GET ~/actions/secrets/public-key", ``, judge.Read, only},
		{"GET ~/actions/secrets", ``, judge.Read, only},
		{"PUT ~/actions/secrets/KEY", `{"encrypted_value":"eA==","key_id":"1"}`, judge.Admin, only},
		{"DELETE ~/actions/secrets/KEY", ``, judge.Admin, only},
		{"PUT ~/environments/production", `{}`, judge.Admin, only},
		{"PUT ~/actions/oidc/customization/sub", `{"use_default":true}`, judge.Admin, only},
		{"POST ~/keys", `{"key":"ssh-ed25519 AAAA","read_only":false}`, judge.Admin, only},
		{"GET ~/keys", ``, judge.Read, only},
		{"POST ~/hooks", `{"config":{"url":"https://evil.example"}}`, judge.Admin, only},
		{"PUT ~/collaborators/eve", `{"permission":"admin"}`, judge.Admin, only},
		{"POST ~/hooks/7/pings", ``, judge.Write, only},
		{"POST /app/installations/7/access_tokens", `{}`, judge.Refused, ""},
		{"POST /app-manifests/abc/conversions", ``, judge.Refused, ""},
		{"DELETE /installation/token", ``, judge.Refused, ""},
		{"GET /feeds", ``, judge.Admin, "account"},

		// Other repositories and the account.
		{"PUT ~/pulls/7/update-branch", ``, judge.Write, "repo acme/shop, pull acme/shop/7"},
		{"GET ~/compare/main...eve:fix", ``, judge.Read, "repo acme/shop, commits acme/shop/main, commits acme/shop/eve:fix"},
		{"GET ~/compare/a/b...fix", ``, judge.Read, "repo acme/shop, commits acme/shop/a/b...fix"},
		{"POST ~/pulls", `{"title":"x","base":"main","head":"eve:fix"}`, judge.Write, "repo acme/shop, commits acme/shop/eve:fix"},
		{"POST ~/pulls", `{"title":"x","base":"main","head":"fix","head_repo":"payroll"}`, judge.Refused, ""},
		{"POST ~/issues/7/sub_issues", `{"sub_issue_id":99}`, judge.Refused, ""},
		{"POST ~/transfer", `{"new_owner":"eve"}`, judge.Admin, "repo acme/shop, account"},
		{"POST ~/forks", `{}`, judge.Admin, "repo acme/shop, account"},
		{"POST /repos/acme/shop/generate", `{"name":"copy"}`, judge.Write, "repo acme/shop, account"},
		{"PUT /orgs/acme/teams/eve/repos/acme/shop", `{"permission":"admin"}`, judge.Admin, "repo acme/shop, account"},
		{"POST /user/repos", `{"name":"x"}`, judge.Write, "account"},
		{"DELETE /orgs/acme", ``, judge.Delete, "account"},
		{"POST /gists", `{"files":{}}`, judge.Write, "account"},
		{"PUT ~/notifications", `{}`, judge.Delete, "account"},
		{"GET /user", ``, judge.Read, "account"},
		{"GET /search/code?q=password+repo:acme/payroll", ``, judge.Refused, ""},
		{"GET /user/repos", ``, judge.Read, ""},
		{"GET /rate_limit", ``, judge.Read, ""},

		// Two doors, two readings, no row.
		{"PATCH ~/git/refs/heads/main?force=true", `{"sha":"a1"}`, judge.Refused, ""},
		{"PATCH ~/git/refs/heads/main", `{"sha":"a1","force":false,"force":true}`, judge.Refused, ""},
		{"POST ~/actions/runs/7/cancel?force=1", ``, judge.Refused, ""},
		{"DELETE /repos/acme/shop/../payroll", ``, judge.Refused, ""},
		{"DELETE /repos/acme%2fpayroll/shop", ``, judge.Refused, ""},
		{"DELETE /REPOS/acme/shop", ``, judge.Refused, ""},
		{"GET ~/a-door-of-tomorrow", ``, judge.Refused, ""},
		{"PROPFIND ~", ``, judge.Refused, ""},
	} {
		method, path, _ := strings.Cut(strings.Replace(c.call, "~", "/repos/acme/shop", 1), " ")
		path, query, _ := strings.Cut(path, "?")
		v := pack(t).Judge(judge.Call{Method: method, Path: path, Query: query, Body: []byte(c.body)}, false)
		if v.Class != c.class {
			t.Errorf("%s %s: class %s, wanted %s (%s)", c.call, c.body, v.Class, c.class, v.Refusal)
			continue
		}
		if v.Class == judge.Refused {
			continue
		}
		if diff := cmp.Diff(c.touches, touched(v)); diff != "" {
			t.Errorf("%s %s touches (-want +got):\n%s", c.call, c.body, diff)
		}
	}
}

func touched(v judge.Verdict) string {
	var all []string
	for _, named := range v.Operations[0].Touches {
		all = append(all, strings.TrimSuffix(named.Kind+" "+named.ID, " "))
	}
	return strings.Join(all, ", ")
}

// A witness that knows nothing of GitHub: the method. Where the pack says something milder or something
// else than the method does, it is one of these, each looked at and reasoned for in its row.
func TestEveryRowThatGoesAgainstItsMethodIsKnown(t *testing.T) {
	known := map[string]judge.Class{
		"DELETE /gists/{gist_id}/star":                                                           judge.Write,
		"DELETE /notifications/threads/{thread_id}/subscription":                                 judge.Write,
		"DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}/pin":                          judge.Write,
		"DELETE /repos/{owner}/{repo}/issues/{issue_number}/assignees":                           judge.Write,
		"DELETE /repos/{owner}/{repo}/issues/{issue_number}/labels/{name}":                       judge.Write,
		"DELETE /repos/{owner}/{repo}/issues/{issue_number}/lock":                                judge.Write,
		"DELETE /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers":                   judge.Write,
		"DELETE /repos/{owner}/{repo}/subscription":                                              judge.Write,
		"DELETE /user/following/{username}":                                                      judge.Write,
		"DELETE /user/starred/{owner}/{repo}":                                                    judge.Write,
		"GET /feeds":                                                                             judge.Admin,
		"GET /search/code":                                                                       judge.Refused,
		"GET /search/commits":                                                                    judge.Refused,
		"GET /search/issues":                                                                     judge.Refused,
		"GET /search/labels":                                                                     judge.Refused,
		"GET /search/repositories":                                                               judge.Refused,
		"PATCH /orgs/{org}/issue-fields/{issue_field_id}":                                        judge.Delete,
		"PATCH /orgs/{org}/secret-scanning/custom-patterns/{pattern_id}":                         judge.Delete,
		"PATCH /orgs/{org}/secret-scanning/pattern-configurations":                               judge.Delete,
		"PATCH /repos/{owner}/{repo}/branches/{branch}/protection/required_pull_request_reviews": judge.Delete,
		"PATCH /repos/{owner}/{repo}/branches/{branch}/protection/required_status_checks":        judge.Delete,
		"PATCH /repos/{owner}/{repo}/check-suites/preferences":                                   judge.Delete,
		"PATCH /repos/{owner}/{repo}/import":                                                     judge.Delete,
		"PATCH /repos/{owner}/{repo}/import/authors/{author_id}":                                 judge.Delete,
		"PATCH /repos/{owner}/{repo}/import/lfs":                                                 judge.Delete,
		"PATCH /repos/{owner}/{repo}/secret-scanning/custom-patterns/{pattern_id}":               judge.Delete,
		"POST /markdown":     judge.Read,
		"POST /markdown/raw": judge.Read,
		"POST /orgs/{org}/artifacts/metadata/deployment-record/cluster/{cluster}":              judge.Delete,
		"POST /orgs/{org}/attestations/bulk-list":                                              judge.Read,
		"POST /orgs/{org}/attestations/delete-request":                                         judge.Delete,
		"POST /repos/{owner}/{repo}/actions/runs/{run_id}/force-cancel":                        judge.Delete,
		"POST /repos/{owner}/{repo}/branches/{branch}/rename":                                  judge.Delete,
		"POST /repos/{owner}/{repo}/code-scanning/sarifs":                                      judge.Delete,
		"POST /repos/{owner}/{repo}/dependency-graph/snapshots":                                judge.Delete,
		"POST /repos/{owner}/{repo}/issues/{issue_number}/suggestions/{suggestion_id}/approve": judge.Delete,
		"POST /repos/{owner}/{repo}/issues/{issue_number}/suggestions/{suggestion_id}/dismiss": judge.Delete,
		"POST /repos/{owner}/{repo}/releases/generate-notes":                                   judge.Read,
		"POST /repos/{owner}/{repo}/secret-scanning/push-protection-bypasses":                  judge.Delete,
		"POST /repos/{owner}/{repo}/stacks/{stack_number}/unstack":                             judge.Delete,
		"POST /users/{username}/attestations/bulk-list":                                        judge.Read,
		"POST /users/{username}/attestations/delete-request":                                   judge.Delete,
		"PUT /enterprises/{enterprise}/actions/cache/retention-limit":                          judge.Delete,
		"PUT /enterprises/{enterprise}/actions/cache/storage-limit":                            judge.Delete,
		"PUT /notifications": judge.Delete,
		"PUT /organizations/{org}/actions/cache/retention-limit":                                 judge.Delete,
		"PUT /organizations/{org}/actions/cache/storage-limit":                                   judge.Delete,
		"PUT /orgs/{org}/copilot-spaces/{space_number}":                                          judge.Delete,
		"PUT /orgs/{org}/rulesets/{ruleset_id}":                                                  judge.Delete,
		"PUT /orgs/{org}/settings/immutable-releases":                                            judge.Delete,
		"PUT /orgs/{org}/settings/immutable-releases/repositories":                               judge.Delete,
		"PUT /repos/{owner}/{repo}/actions/cache/retention-limit":                                judge.Delete,
		"PUT /repos/{owner}/{repo}/actions/cache/storage-limit":                                  judge.Delete,
		"PUT /repos/{owner}/{repo}/actions/permissions/artifact-and-log-retention":               judge.Delete,
		"PUT /repos/{owner}/{repo}/actions/workflows/{workflow_id}/disable":                      judge.Delete,
		"PUT /repos/{owner}/{repo}/branches/{branch}/protection":                                 judge.Delete,
		"PUT /repos/{owner}/{repo}/branches/{branch}/protection/required_status_checks/contexts": judge.Delete,
		"PUT /repos/{owner}/{repo}/import":                                                       judge.Delete,
		"PUT /repos/{owner}/{repo}/issues/{issue_number}/issue-field-values":                     judge.Delete,
		"PUT /repos/{owner}/{repo}/issues/{issue_number}/labels":                                 judge.Delete,
		"PUT /repos/{owner}/{repo}/notifications":                                                judge.Delete,
		"PUT /repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}/dismissals":           judge.Delete,
		"PUT /repos/{owner}/{repo}/rulesets/{ruleset_id}":                                        judge.Delete,
		"PUT /repos/{owner}/{repo}/topics":                                                       judge.Delete,
		"PUT /users/{username}/copilot-spaces/{space_number}":                                    judge.Delete,
	}
	for _, operation := range operations(t) {
		name, class := operation.Method+" "+operation.Path, rowOf(t, operation).Class
		want, is := known[name]
		if goesAgainst(operation.Method, class) != is || is && want != class {
			t.Errorf("%s is %s: is that meant?", name, class)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("there is no %s", name)
	}
}

func goesAgainst(method string, class judge.Class) bool {
	switch method {
	case "GET":
		return class != judge.Read
	case "DELETE":
		return class == judge.Read || class == judge.Write
	}
	return class == judge.Read || class == judge.Delete
}
