package vault_test

import (
	"fmt"
	"math/rand/v2"

	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// scopes of a policy, by what Hourkey makes of it; no server is asked.
func scopesOf(t *testing.T, version2 bool, maxVersions int64, policy string) ([]string, error) {
	t.Helper()
	scopes, _, err := vault.JudgePolicy("orders-db", "kv-staging", []string{"app", "web"}, version2, maxVersions, policy)
	return broker.Texts(scopes), err
}

func TestPolicyIsRead(t *testing.T) {
	for name, one := range map[string]struct{ policy, want string }{
		"read alone":                    {`path "kv-staging/data/app/*" { capabilities = ["read"] }`, "orders-db:app/*:read"},
		"one secret":                    {`path "kv-staging/data/app/db" { capabilities = ["read"] }`, "orders-db:app/db:read"},
		"write":                         {`path "kv-staging/data/app/*" { capabilities = ["create", "update", "patch"] }`, "orders-db:app/*:write"},
		"delete":                        {`path "kv-staging/data/app/*" { capabilities = ["read", "delete"] }`, "orders-db:app/*:read,delete"},
		"deleting by a POST":            {`path "kv-staging/delete/app/*" { capabilities = ["update"] }`, "orders-db:app/*:delete"},
		"destroying by a PUT":           {`path "kv-staging/destroy/app/*" { capabilities = ["create", "update"] }`, "orders-db:app/*:delete"},
		"how many versions are kept":    {`path "kv-staging/metadata/app/*" { capabilities = ["update"] }`, "orders-db:app/*:delete"},
		"the same by a patch":           {`path "kv-staging/metadata/app/*" { capabilities = ["patch"] }`, "orders-db:app/*:delete"},
		"names and metadata":            {`path "kv-staging/metadata/app/*" { capabilities = ["list", "read"] }`, "orders-db:app/*:read"},
		"undelete":                      {`path "kv-staging/undelete/app/*" { capabilities = ["update"] }`, "orders-db:app/*:write"},
		"recovery from a snapshot":      {`path "kv-staging/data/app/*" { capabilities = ["recover"] }`, "orders-db:app/*:delete"},
		"sudo":                          {`path "kv-staging/data/app/*" { capabilities = ["read", "sudo"] }`, "orders-db:app/*:read,admin"},
		"the old word write":            {`path "kv-staging/data/app/*" { policy = "write" }`, "orders-db:app/*:read,write,delete"},
		"deny":                          {`path "kv-staging/data/app/*" { capabilities = ["deny", "delete"] }`, ""},
		"a leading slash":               {`path "/kv-staging/data/app/*" { capabilities = ["delete"] }`, "orders-db:app/*:delete"},
		"any one segment":               {`path "kv-staging/+/app/*" { capabilities = ["read"] }`, "orders-db:app/*:read"},
		"any one segment, written":      {`path "kv-staging/+/app/*" { capabilities = ["update"] }`, "orders-db:app/*:write,delete"},
		"a segment within":              {`path "kv-staging/data/app/+/db" { capabilities = ["read"] }`, "orders-db:app/*:read"},
		"a template":                    {`path "kv-staging/data/app/{{identity.entity.id}}/db" { capabilities = ["read"] }`, "orders-db:app/*:read"},
		"two rules":                     {"path \"kv-staging/data/app/*\" { capabilities = [\"read\"] }\npath \"kv-staging/data/web/a\" { capabilities = [\"update\"] }", "orders-db:app/*:read orders-db:web/a:write"},
		"JSON":                          {`{"path": {"kv-staging/data/app/*": {"capabilities": ["read", "delete"]}}}`, "orders-db:app/*:read,delete"},
		"limited parameters":            {"path \"kv-staging/data/app/*\" {\n  capabilities = [\"update\"]\n  allowed_parameters = { \"a\" = [] }\n}", "orders-db:app/*:write"},
		"the token's own business":      {"path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\npath \"kv-staging/data/app/*\" { capabilities = [\"read\"] }", "orders-db:app/*:read"},
		"reading the engine's settings": {"path \"kv-staging/config\" { capabilities = [\"read\"] }\npath \"kv-staging/data/app/*\" { capabilities = [\"read\"] }", "orders-db:app/*:read"},
		"a comment that lies":           {"path \"kv-staging/data/app/*\" { # read only\n capabilities = [\"delete\"] }", "orders-db:app/*:delete"},
	} {
		got, err := scopesOf(t, true, 0, one.policy)
		if strings.Join(got, " ") != one.want || err != nil {
			t.Errorf("%s: %v, %v; want %s", name, got, err, one.want)
		}
	}
}

// A plus in the place of a mount with several names opens its neighbours.
func TestPlusWithinAMountOfSeveralNames(t *testing.T) {
	for _, policy := range []string{`path "team/+/data/app/*" { capabilities = ["read"] }`, `path "+/kv/data/app/*" { capabilities = ["read"] }`, `path "team/k*" { capabilities = ["read"] }`} {
		if scopes, _, err := vault.JudgePolicy("orders-db", "team/kv", []string{"app"}, true, 0, policy); broker.CodeOf(err) != broker.CodeWall {
			t.Errorf("%s: %v, %v; want it refused", policy, broker.Texts(scopes), err)
		}
	}
}

func TestPolicyThatOpensMoreIsRefused(t *testing.T) {
	for name, policy := range map[string]string{
		"everything":                  `path "*" { capabilities = ["read"] }`,
		"the whole mount":             `path "kv-staging/*" { capabilities = ["read"] }`,
		"all secrets":                 `path "kv-staging/data/*" { capabilities = ["read"] }`,
		"all folders that begin so":   `path "kv-staging/data/app*" { capabilities = ["read"] }`,
		"all mounts that begin so":    `path "kv-*" { capabilities = ["read"] }`,
		"another folder":              `path "kv-staging/data/other/*" { capabilities = ["read"] }`,
		"any folder":                  `path "kv-staging/data/+/db" { capabilities = ["read"] }`,
		"names of all folders":        `path "kv-staging/metadata/" { capabilities = ["list"] }`,
		"any mount (a plus)":          `path "+/data/app/*" { capabilities = ["read"] }`,
		"any mount, and any door":     `path "+/+/app/*" { capabilities = ["read"] }`,
		"a pattern of the mount":      `path "kv-stagin+/data/app/*" { capabilities = ["read"] }`,
		"the mount, percent-encoded":  `path "kv%2dstaging/data/app/*" { capabilities = ["read"] }`,
		"a folder, percent-encoded":   `path "kv-staging/data/app%2f../other/*" { capabilities = ["read"] }`,
		"what cannot be seen":         "path \"kv-staging/data/app/\u202edb\" { capabilities = [\"read\"] }",
		"two slashes":                 `path "kv-staging//data/app/*" { capabilities = ["read"] }`,
		"a folder in other letters":   "path \"kv-staging/data/\u0430pp/*\" { capabilities = [\"read\"] }",
		"a newline in a name":         `path "kv-staging/data/app\n/*" { capabilities = ["read"] }`,
		"a template before the mount": `path "{{identity.entity.name}}/data/app/*" { capabilities = ["read"] }`,
		"the whole Vault, by JSON":    `{"path": {"+/*": {"capabilities": ["read"]}}}`,
		"another mount":               `path "kv-production/data/app/*" { capabilities = ["read"] }`,
		"the engine's settings":       `path "kv-staging/config" { capabilities = ["update"] }`,
		"tokens":                      `path "auth/token/create" { capabilities = ["update"] }`,
		"policies":                    `path "sys/policies/acl/mine" { capabilities = ["update"] }`,
		"a template of a folder":      `path "kv-staging/data/{{identity.entity.name}}/*" { capabilities = ["read"] }`,
		"an unknown capability":       `path "kv-staging/data/app/*" { capabilities = ["read", "teleport"] }`,
		"an unknown key":              `path "kv-staging/data/app/*" { capability = ["read"] }`,
		"an unknown part":             `patth "kv-staging/data/app/*" { capabilities = ["read"] }`,
		"capabilities said twice":     "path \"kv-staging/data/app/*\" {\n capabilities = [\"read\"]\n capabilities = [\"delete\"]\n}",
		"no policy at all":            `what is this`,
		"a door that is not known":    `path "kv-staging/brandnew/app/*" { capabilities = ["read"] }`,
		"an unknown word of old":      `path "kv-staging/data/app/*" { policy = "all" }`,
		"its own renewal, and more":   `path "auth/token/lookup-self" { capabilities = ["read", "sudo"] }`,
		"sudo over the whole of auth": `path "auth/*" { capabilities = ["sudo"] }`,
	} {
		if got, err := scopesOf(t, true, 0, policy); broker.CodeOf(err) != broker.CodeWall || next(err) == "" {
			t.Errorf("%s: %v, %v; want it refused, with a next step", name, got, err)
		}
	}
}

// What Vault's own engine lets a token do, the judgement has said. Policies are made at random, and Vault is asked about
// every path for every capability; each that it grants must be within what was judged.
func TestVaultNeverGivesMoreThanWasJudged(t *testing.T) {
	d := newKV(t)
	random := rand.New(rand.NewPCG(7, uint64(len(t.Name()))))
	mount := d.settings.Mount
	d.settings.Folders = []string{"app", "web"}
	doors := []string{"data", "metadata", "delete", "undelete", "destroy", "subkeys", "+", "config"}
	tails := []string{"app/*", "app/db", "app/+", "app/+/x", "app/d*", "web/*", "web/a/b", "+/db", "*", "app", "app/", "other/x", "app*"}
	capabilities := []string{"create", "read", "update", "patch", "delete", "list", "sudo", "deny"}
	paths := []string{mount + "/config", mount + "/other", "sys/policies/acl/x"}
	for _, door := range doors[:6] {
		for _, tail := range []string{"app", "app/db", "app/x/x", "app/dx", "web/a/b", "web/db", "other/x", "application/x"} {
			paths = append(paths, mount+"/"+door+"/"+tail)
		}
	}
	judged := 0
	for n := range 150 {
		var text strings.Builder
		for range 1 + random.IntN(3) {
			some := slices.Clone(capabilities)
			random.Shuffle(len(some), func(a, b int) { some[a], some[b] = some[b], some[a] })
			_, _ = fmt.Fprintf(&text, "path %q { capabilities = [%q, %q] }\n", mount+"/"+doors[random.IntN(len(doors))]+"/"+tails[random.IntN(len(tails))], some[0], some[1])
		}
		scopes, gives, err := vault.JudgePolicy("orders-db", mount, d.settings.Folders, true, 0, text.String())
		if err != nil {
			continue // nothing would be issued
		}
		judged++
		name := fmt.Sprintf("random-%d-%d", d.n, n)
		d.policy(t, name, text.String())
		for path, can := range d.capabilitiesOf(t, name, paths) {
			d.judgedAll(t, text.String(), scopes, path, can)
			d.promisedAll(t, text.String(), gives, path, can)
		}
		d.Delete(t, "sys/policies/acl/"+name)
	}
	t.Logf("%d of 150 policies were judged, the others refused", judged)
	if judged < 20 {
		t.Errorf("only %d of the policies could be judged: that proves little", judged)
	}
}

// capabilitiesOf asks Vault what a token with one policy may do.
func (s *site) capabilitiesOf(t *testing.T, policy string, paths []string) map[string][]string {
	t.Helper()
	made := s.Write(t, "auth/token/create-orphan", map[string]any{"policies": []string{policy}, "no_default_policy": true, "ttl": "1m"})["auth"].(map[string]any)
	answer := s.Write(t, "sys/capabilities", map[string]any{"token": made["client_token"], "paths": paths})["data"].(map[string]any)
	can := map[string][]string{}
	for _, path := range paths {
		can[path] = session.Texts(answer[path])
	}
	return can
}

// judgedAll holds one path's real capabilities against the scopes.
func (d *drawer) judgedAll(t *testing.T, policy string, scopes []broker.Scope, path string, can []string) {
	t.Helper()
	rest, inside := strings.CutPrefix(path, d.settings.Mount+"/")
	door, resource, _ := strings.Cut(rest, "/")
	for _, capability := range can {
		if capability == "deny" || capability == "root" {
			continue
		}
		class := map[string]broker.Actions{"read": broker.Read, "list": broker.Read, "sudo": broker.Admin, "create": broker.Delete, "update": broker.Delete, "patch": broker.Delete, "delete": broker.Delete}[capability]
		if class == broker.Delete && (door == "data" && capability != "delete" || door == "undelete" && (capability == "create" || capability == "update")) {
			class = broker.Write
		}
		asked := broker.Scope{Target: "orders-db", Resource: broker.Resource(resource), Actions: class}
		if inside && door == "config" && class == broker.Read {
			continue
		}
		if !inside || !broker.Covers(scopes, []broker.Scope{asked}) {
			t.Errorf("Vault lets %s at %s, judged as %v:\n%s", capability, path, broker.Texts(scopes), policy)
		}
	}
}

// promisedAll holds what the judgement promises of one secret against the real capabilities.
func (d *drawer) promisedAll(t *testing.T, policy string, gives func(broker.Scope) bool, path string, can []string) {
	t.Helper()
	resource, inside := strings.CutPrefix(path, d.settings.Mount+"/data/")
	if !inside {
		return
	}
	for action, wanted := range map[broker.Actions][]string{broker.Read: {"read"}, broker.Write: {"create", "update"}, broker.Delete: {"delete"}} {
		for _, capability := range wanted {
			if gives(broker.Scope{Target: "orders-db", Resource: broker.Resource(resource), Actions: action}) && !slices.Contains(can, capability) {
				t.Errorf("%s of %s is promised, and Vault does not let %s:\n%s", action, resource, capability, policy)
			}
		}
	}
}

// What a description promises, the token can do: of several rules Vault takes the most specific one.
func TestWhatIsPromisedWorks(t *testing.T) {
	d := newKV(t)
	name := d.settings.Offers[0].Policies[0]
	d.settings.Offers = d.settings.Offers[:1]
	issuer := d.issuer(t)
	for what, one := range map[string]struct {
		more string
		asks string
		ok   bool
	}{
		"the whole folder":              {"", "app/*:read,write", true},
		"a secret in it":                {"", "app/db:read,write", true},
		"a rule takes a secret away":    {`path "%s/data/app/db" { capabilities = ["deny"] }`, "app/db:read", false},
		"and the folder is not whole":   {`path "%s/data/app/db" { capabilities = ["deny"] }`, "app/*:read", false},
		"but the others are there":      {`path "%s/data/app/db" { capabilities = ["deny"] }`, "app/other:read", true},
		"a rule makes one read-only":    {`path "%s/data/app/db" { capabilities = ["read"] }`, "app/db:write", false},
		"reading it still works":        {`path "%s/data/app/db" { capabilities = ["read"] }`, "app/db:read", true},
		"delete is not given":           {"", "app/db:delete", false},
		"admin never is":                {"", "app/db:admin", false},
		"another folder is not":         {"", "web/db:read", false},
		"the mount is not":              {"", "*:read", false},
		"a rule with parameters counts": {"path \"%s/data/app/db\" {\n capabilities = [\"create\", \"read\", \"update\"]\n denied_parameters = { \"x\" = [] }\n}", "app/db:read", true},
	} {
		text := kvPolicy(d.settings.Mount, `"create", "read", "update"`)
		if one.more != "" {
			text += fmt.Sprintf(one.more, d.settings.Mount)
		}
		d.policy(t, name, text)
		_, err := issuer.Describe(t.Context(), wish(t, one.asks))
		if (err == nil) != one.ok {
			t.Errorf("%s: %s: %v; want it described: %t", what, one.asks, err, one.ok)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{`path "kv-staging/data/app/*" { capabilities = ["read"] }`, `{"path": {"a": {"capabilities": ["read"]}}}`, `path "*" {}`, `path = "x"`, `path "a" "b" {}`, "path \"kv-staging/data/app/{{x}}\" { policy = \"write\" }"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, policy string) {
		scopes, _, err := vault.JudgePolicy("orders-db", "kv-staging", []string{"app"}, true, 0, policy)
		if err != nil {
			if broker.CodeOf(err) != broker.CodeWall {
				t.Errorf("%q: %v", policy, err)
			}
			return
		}
		for _, scope := range scopes {
			if scope.Resource != "app" && !strings.HasPrefix(scope.Resource.Stem(), "app/") {
				t.Errorf("%q reaches %s", policy, scope)
			}
		}
	})
}
