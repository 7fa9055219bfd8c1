package github

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// rule makes the rows of operations that are alike. The first one that fits makes the row; what none
// fits is written by hand, and any row may be.
type rule struct {
	name  string
	fits  func(method, path string) bool
	class judge.Class
	why   string // "%s" is the subject: the path's own words
	touch judge.Touch
}

func rules() []rule {
	repo := judge.Touch{Kind: kindRepo, Paths: []judge.Path{{"owner"}, {"repo"}}}
	account := judge.Touch{Kind: kindAccount}
	return []rule{
		{"public", isPublic, judge.Read, "the same for everybody: %s", judge.Touch{}},
		{"reads-of-a-repo", readsRepo, judge.Read, "reads %s of the repository", repo},
		{"power-over-a-repo", powerOverRepo, judge.Admin, "hands out or takes away power over the repository: %s", repo},
		{"deletes-in-a-repo", deletesInRepo, judge.Delete, "destroys something of the repository: %s", repo},
		{"reactions-in-a-repo", reactsInRepo, judge.Write, "adds a reaction, which can be taken back: %s", repo},
		{"reads-of-the-account", readsAccount, judge.Read, "reads what belongs to the whole account: %s", account},
		{"power-over-the-account", powerOverAccount, judge.Admin, "decides who may do what in the whole account: %s", account},
		{"deletes-in-the-account", deletesInAccount, judge.Delete, "destroys something outside of any repository of the lease: %s", account},
		{"writes-to-the-account", writesAccount, judge.Write, "makes or sets something outside of any repository of the lease: %s", account},
	}
}

// subject is the words of a path without its parameters and without the repository in front.
func subject(path string) string {
	var words []string
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if !strings.HasPrefix(segment, "{") && segment != "repos" {
			words = append(words, segment)
		}
	}
	if len(words) == 0 {
		return "the repository itself"
	}
	return strings.Join(words, "/")
}

func isPublic(method, path string) bool {
	return method == "GET" && slices.Contains([]string{
		"/advisories", "/advisories/{ghsa_id}", "/apps/{app_slug}", "/codes_of_conduct", "/codes_of_conduct/{key}", "/emojis", "/events",
		"/gists/public", "/gitignore/templates", "/gitignore/templates/{name}", "/licenses", "/licenses/{license}", "/meta", "/octocat",
		"/organizations", "/rate_limit", "/repositories", "/users", "/versions", "/zen",
	}, path)
}

func inRepo(path string) bool {
	return path == "/repos/{owner}/{repo}" || slices.ContainsFunc([]string{"/repos/{owner}/{repo}/", "/networks/{owner}/{repo}/", "/agents/repos/{owner}/{repo}/"},
		func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func readsRepo(method, path string) bool { return method == "GET" && inRepo(path) }

// powerOverRepo: what changes who may do what, with which secrets, and whose machines run the code.
func powerOverRepo(method, path string) bool {
	rest, in := strings.CutPrefix(path, "/repos/{owner}/{repo}/")
	return in && method != "GET" && slices.ContainsFunc([]string{
		"actions/oidc", "actions/permissions", "actions/runners", "actions/secrets", "actions/variables", "agents/secrets", "agents/variables",
		"codespaces/secrets", "collaborators", "dependabot/secrets", "environments", "hooks", "interaction-limits", "invitations", "keys", "properties",
	}, func(area string) bool { return rest == area || strings.HasPrefix(rest, area+"/") })
}

func deletesInRepo(method, path string) bool { return method == "DELETE" && inRepo(path) }

func reactsInRepo(method, path string) bool {
	return method == "POST" && inRepo(path) && strings.HasSuffix(path, "/reactions")
}

func inAccount(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains([]string{
		"agents", "app", "app-manifests", "applications", "assignments", "classrooms", "credentials", "enterprises", "feeds", "gists", "installation", "issues",
		"marketplace_listing", "notifications", "organizations", "orgs", "teams", "user", "users",
	}, first) && !inRepo(path)
}

func readsAccount(method, path string) bool { return method == "GET" && inAccount(path) }

// powerOverAccount: what changes who is in, what they may do, with which secrets and at whose cost.
func powerOverAccount(method, path string) bool {
	if method == "GET" || !inAccount(path) {
		return false
	}
	return slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool {
		return slices.Contains([]string{
			"access", "access_tokens", "add", "app", "applications", "billing", "blocks", "budgets", "code-security", "collaborators", "copilot", "credentials",
			"emails", "email", "enterprises", "gpg_keys", "hooks", "hosted-runners", "installations", "interaction-limits", "invitations", "keys", "members", "memberships",
			"network-configurations", "oidc", "organization-roles", "outside_collaborators", "permissions", "personal-access-token-requests", "personal-access-tokens",
			"private-registries", "properties", "public_members", "remove", "repository-access", "repository_invitations", "rulesets", "runner-groups", "runners", "secrets",
			"security-managers", "settings", "ssh_signing_keys", "teams", "variables", "{security_product}",
		}, segment)
	})
}

func deletesInAccount(method, path string) bool { return method == "DELETE" && inAccount(path) }

func writesAccount(method, path string) bool { return method != "GET" && inAccount(path) }

// Attack: a row is edited by hand and still says that a rule made it, so that nobody looks at it again. The
// first rule that fits makes the row; `only`, `hide` and `secret` lines may be added, for they can but narrow.
func TestRowsOfARuleAreWhatTheRuleMakes(t *testing.T) {
	made := map[string]int{}
	for _, operation := range operations(t) {
		row := rowOf(t, operation)
		if row.Rule == "" {
			continue
		}
		made[row.Rule]++
		fitting := slices.IndexFunc(rules(), func(r rule) bool { return r.fits(operation.Method, operation.Path) })
		if fitting < 0 {
			t.Errorf("%s: no rule fits, but %s is said to have made it", row.Operation, row.Rule)
			continue
		}
		r := rules()[fitting]
		want := judge.Row{Operation: row.Operation, Class: r.class, Why: strings.Replace(r.why, "%s", subject(operation.Path), 1), Touches: []judge.Touch{r.touch}, Rule: r.name}
		if diff := cmp.Diff(want, essence(*row), cmp.AllowUnexported(judge.Condition{})); diff != "" {
			t.Errorf("%s (-the rule's +the pack's):\n%s", row.Operation, diff)
		}
	}
	for _, r := range rules() {
		if made[r.name] == 0 {
			t.Errorf("the rule %s made no row", r.name)
		}
	}
	t.Logf("rows made by rules: %v", made)
}

// essence is what a rule decides of a row.
func essence(row judge.Row) judge.Row {
	row.Line, row.Only, row.Secrets = 0, nil, nil
	row.Touches = slices.Clone(row.Touches)
	for at := range row.Touches {
		row.Touches[at].Line = 0
	}
	row.Hide = nil
	return row
}

func operations(t *testing.T) []lists.Operation {
	t.Helper()
	all, err := lists.REST(Kind)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
