package supabase

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// The cases where verb and name mislead, or an argument decides. ~ is /v1/projects/shop.
func TestHardCases(t *testing.T) {
	const only = "project shop"
	for _, c := range []struct {
		call, body string
		class      judge.Class
		touches    string
	}{
		// Reads that hand out power, and those that are masked instead.
		{"GET ~/api-keys", ``, judge.Admin, only},
		{"GET ~/api-keys/7?reveal=true", ``, judge.Admin, only},
		{"GET ~/pgsodium", ``, judge.Admin, only},
		{"GET ~/config/auth", ``, judge.Admin, only},
		{"GET /v1/branches/b1", ``, judge.Admin, "branch b1"},
		{"GET /v1/oauth/authorize?client_id=x", ``, judge.Admin, "account"},
		{"GET ~/postgrest", ``, judge.Read, only},
		{"GET ~/secrets", ``, judge.Read, only},
		{"GET ~/config/auth/signing-keys", ``, judge.Read, only},
		{"HEAD ~/actions", ``, judge.Read, only},

		// SQL: any statement is any power, unless Supabase runs it as one who may only read.
		{"POST ~/database/query", `{"query":"drop table orders"}`, judge.Admin, "project shop, database shop"},
		{"POST ~/database/query", `{"query":"select 1","read_only":true}`, judge.Read, "project shop, database shop"},
		{"POST ~/database/query", `{"query":"select 1","read_only":false}`, judge.Admin, "project shop, database shop"},
		{"POST ~/database/query", `{"query":"select 1","read_only":null}`, judge.Admin, "project shop, database shop"},
		{"POST ~/database/query", `{"query":"select 1","read_only":[true,false]}`, judge.Admin, "project shop, database shop"},
		{"POST ~/database/query", `{"query":"select 1","read_only":true,"role":"postgres"}`, judge.Refused, ""},
		{"POST ~/database/query?read_only=true", `{"query":"drop table orders"}`, judge.Refused, ""},
		{"POST ~/database/query/read-only", `{"query":"select 1"}`, judge.Read, "project shop, database shop"},
		{"POST ~/database/migrations", `{"query":"drop table orders"}`, judge.Admin, "project shop, database shop"},
		{"PUT ~/database/migrations", `{"query":"select 1","rollback":"drop table orders"}`, judge.Admin, "project shop, database shop"},
		{"PATCH ~/database/migrations/1", `{"rollback":"drop table orders"}`, judge.Admin, "project shop, database shop"},
		{"DELETE ~/database/migrations?gte=1", ``, judge.Delete, "project shop, database shop"},

		// What reaches beyond the project that it names.
		{"DELETE ~", ``, judge.Delete, "project shop, branches shop"},
		{"DELETE ~/branches", ``, judge.Delete, "project shop, branches shop"},
		{"POST /v1/branches/b1/merge", `{}`, judge.Delete, "branch b1, parent b1"},
		{"GET /v1/branches/b1/diff", ``, judge.Read, "branch b1, parent b1"},
		{"POST /v1/branches/b1/push", `{}`, judge.Write, "branch b1"},
		{"POST /v1/branches/b1/reset", `{}`, judge.Delete, "branch b1"},
		{"POST /v1/projects", `{"name":"x"}`, judge.Write, "account"},
		{"GET /v1/organizations/acme/members", ``, judge.Read, "organization acme"},
		{"GET /v1/projects", ``, judge.Read, ""},

		// Weaker recovery, restores that lose what came after, scale to nothing.
		{"POST ~/database/backups/restore-pitr", `{"recovery_time_target_unix":1}`, judge.Delete, only},
		{"POST ~/database/backups/undo", `{"name":"x"}`, judge.Delete, only},
		{"POST ~/database/backups/restore-point", `{"name":"x"}`, judge.Write, only},
		{"PATCH ~/database/backups/schedule", `{"schedule_for":"1"}`, judge.Delete, only},
		{"DELETE ~/billing/addons/pitr_7", ``, judge.Admin, only},
		{"POST ~/pause", ``, judge.Delete, only},
		{"POST ~/restore", `{}`, judge.Write, only},
		{"POST ~/restore/cancel", ``, judge.Delete, only},
		{"PATCH ~/config/realtime", `{"max_concurrent_users":10}`, judge.Write, only},
		{"PATCH ~/config/realtime", `{"suspend":true}`, judge.Delete, only},
		{"PATCH ~/config/realtime", `{"private_only":false}`, judge.Admin, only},
		{"POST ~/config/realtime/shutdown", ``, judge.Delete, only},
		{"PUT ~/config/database/postgres", `{"statement_timeout":"1s"}`, judge.Delete, only},
		{"POST ~/readonly/temporary-disable", ``, judge.Delete, only},
		{"PUT ~/ssl-enforcement", `{"requestedConfig":{"database":false}}`, judge.Delete, only},
		{"DELETE ~/network-bans", `{"ipv4_addresses":["1.2.3.4"]}`, judge.Delete, only},
		{"POST ~/network-bans/retrieve", ``, judge.Read, only},
		{"POST ~/vanity-subdomain/check-availability", `{"vanity_subdomain":"x"}`, judge.Read, only},
		{"POST ~/upgrade", `{"target_version":"17"}`, judge.Delete, only},

		// An argument of the body decides.
		{"PUT ~/functions", `[{"id":"1","slug":"a","name":"a","status":"ACTIVE","version":1}]`, judge.Write, only},
		{"PUT ~/functions", `[{"id":"1","slug":"a","name":"a","status":"ACTIVE","version":1},{"id":"2","slug":"b","name":"b","status":"REMOVED","version":1}]`, judge.Delete, only},
		{"PUT ~/functions", `[{"id":"1","slug":"a","name":"a","status":"ACTIVE","version":1,"verify_jwt":false}]`, judge.Admin, only},
		{"PATCH /v1/branches/b1", `{"request_review":true}`, judge.Write, "branch b1"},
		{"PATCH /v1/branches/b1", `{"persistent":false}`, judge.Delete, "branch b1"},
		{"PATCH /v1/branches/b1", `{"branch_name":"preview-x"}`, judge.Admin, "branch b1"},
		{"PATCH /v1/branches/b1", `{"git_branch":"evil"}`, judge.Admin, "branch b1"},
		{"POST ~/branches", `{"branch_name":"x"}`, judge.Write, only},
		{"POST ~/branches", `{"branch_name":"x","with_data":true}`, judge.Admin, only},
		{"POST ~/branches", `{"branch_name":"x","secrets":{"K":"v"}}`, judge.Admin, only},
		{"PATCH ~/postgrest", `{"max_rows":100}`, judge.Write, only},
		{"PATCH ~/postgrest", `{"db_schema":"public,auth"}`, judge.Admin, only},
		{"PATCH ~/config/storage", `{"fileSizeLimit":100}`, judge.Write, only},
		{"PATCH ~/config/storage", `{"features":{"s3Protocol":{"enabled":true}}}`, judge.Admin, only},
		{"PATCH ~", `{"name":"shop"}`, judge.Admin, only},

		// Power.
		{"POST ~/cli/login-role", `{"read_only":true}`, judge.Admin, only},
		{"PATCH ~/config/auth", `{"site_url":"https://evil.example"}`, judge.Admin, only},
		{"POST ~/secrets", `[{"name":"K","value":"v"}]`, judge.Admin, only},
		{"DELETE ~/secrets", `["K"]`, judge.Admin, only},
		{"POST ~/claim-token", ``, judge.Admin, only},
		{"POST /v1/organizations/acme/project-claim/t", ``, judge.Admin, "organization acme"},
		{"POST /v1/oauth/token", `{"grant_type":"refresh_token"}`, judge.Refused, ""},
		{"PATCH ~/database/password", `{"password":"x"}`, judge.Admin, only},
		{"POST ~/network-restrictions/apply", `{"dbAllowedCidrs":["0.0.0.0/0"]}`, judge.Admin, only},

		// Two doors, two readings, no row.
		{"POST ~/pause/../restore", ``, judge.Refused, ""},
		{"POST /v1/projects/shop%2f..%2fpayroll/pause", ``, judge.Refused, ""},
		{"POST ~/restore", `{"then":"delete"}`, judge.Refused, ""},
		{"GET ~/a-door-of-tomorrow", ``, judge.Refused, ""},
		{"DELETE /V1/projects/shop", ``, judge.Refused, ""},
	} {
		method, path, _ := strings.Cut(strings.Replace(c.call, "~", "/v1/projects/shop", 1), " ")
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

// A function's code comes as an archive; it passes as it is, with its digest in what is recorded.
func TestAFunctionsCodePassesAsItIs(t *testing.T) {
	v := pack(t).Judge(judge.Call{Method: "POST", Path: "/v1/projects/shop/functions/deploy", Query: "slug=pay", ContentType: "multipart/form-data; boundary=x", Body: []byte("--x--")}, false)
	if v.Class != judge.Write || !v.Send.Raw || !strings.Contains(v.Operations[0].Text, "SHA-256") {
		t.Errorf("class %s, raw %t, %v: %s", v.Class, v.Send.Raw, v.Operations, v.Refusal)
	}
}
