package vault_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

func shown(found []broker.Finding) string {
	var text strings.Builder
	for _, f := range found {
		_, _ = fmt.Fprintf(&text, "\n  refuses %t, %s: %s\n    %s", f.Refuses, f.Object, f.Problem, f.Mend)
	}
	return text.String()
}

// Made as the documentation says, there is nothing to find; the policy that Policy prints is enough, and not too much.
func TestCheckFindsNothingWhereAllIsWell(t *testing.T) {
	for name, issuer := range map[string]*vault.Issuer{"database": newShop(t).issuer(t), "kv": newKV(t).issuer(t)} {
		found := findings(t, issuer)
		if len(found) != 0 {
			t.Errorf("%s:%s", name, shown(found))
		}
	}
}

// Each permission that the broker's login lacks is told, with the line that mends it, and nothing else is.
func TestCheckTellsEachPermissionThatIsMissing(t *testing.T) {
	s := newShop(t)
	lines := strings.Split(strings.TrimSpace(s.issuer(t).Policy()), "\n")
	for at, line := range lines {
		if strings.HasPrefix(line, `path "sys/leases/lookup" `) {
			continue // Vault's policy default, which a login has, gives it
		}
		s.policy(t, s.loginPolicy(), strings.Join(slices.Delete(slices.Clone(lines), at, at+1), "\n"))
		found := findings(t, s.issuer(t))
		stanza, _, _ := strings.Cut(line, " #")
		if !slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Refuses && f.Mend == stanza }) {
			t.Errorf("without %s:%s", line, shown(found))
		}
		if others := slices.DeleteFunc(found, func(f broker.Finding) bool { return f.Mend == stanza }); len(others) > 0 {
			t.Errorf("without %s, also:%s", line, shown(others))
		}
	}
}

// What the login has and does not need is told.
func TestCheckTellsEachPermissionThatIsTooMuch(t *testing.T) {
	s := newShop(t)
	mount := s.settings.Mount
	for _, path := range []string{
		mount + "/roles/orders-rw", mount + "/config/orders", mount + "/creds/orders-rw", "sys/policies/acl/" + s.settings.Policies[0], "sys/mounts/" + mount, "sys/leases/revoke-prefix/*",
	} {
		s.policy(t, s.loginPolicy(), s.issuer(t).Policy()+fmt.Sprintf("\npath %q { capabilities = [\"read\", \"update\", \"sudo\"] }", path))
		found := findings(t, s.issuer(t))
		if !slices.ContainsFunc(found, func(f broker.Finding) bool { return !f.Refuses && strings.Contains(f.Problem, "does not need") }) {
			t.Errorf("with update on %s:%s", path, shown(found))
		}
	}
	d := newKV(t)
	d.policy(t, d.loginPolicy(), d.issuer(t).Policy()+fmt.Sprintf("\npath \"%s/data/*\" { capabilities = [\"read\"] }", d.settings.Mount))
	if found := findings(t, d.issuer(t)); len(found) != 1 || !strings.Contains(found[0].Problem, "read or write the secrets itself") {
		t.Errorf("with read on the secrets:%s", shown(found))
	}
}

// A token that could do everything is not held: root itself, or whoever may write policies or token roles.
func TestRootTokenIsRefused(t *testing.T) {
	needsVault(t)
	make := func(policy string) string {
		name := fmt.Sprintf("mighty-%d", time.Now().UnixNano())
		server.Write(t, "sys/policies/acl/"+name, map[string]any{"policy": policy})
		return server.Write(t, "auth/token/create-orphan", map[string]any{"policies": []string{name}, "ttl": "10m"})["auth"].(map[string]any)["client_token"].(string)
	}
	for name, token := range map[string]string{
		"root":                server.Root,
		"everything":          make(`path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`),
		"writing policies":    make(`path "sys/policies/acl/*" { capabilities = ["create", "update"] }`),
		"writing roles":       make(`path "auth/token/roles/*" { capabilities = ["update"] }`),
		"a way in of its own": make(`path "sys/auth/*" { capabilities = ["update", "sudo"] }`),
	} {
		s := newSite(t, server, settings(func(s *vault.Settings) { s.Policies = []string{"hourkey-lease"} }))
		config := s.config()
		config.Settings.Login = session.Login{Token: "env:VAULT_TOKEN"}
		config.Resolve = func(string, string) (broker.Secret, error) { return broker.NewSecret(token), nil }
		issuer := open(t, config)
		_, err := issuer.Describe(t.Context(), wish(t, "public.orders:read"))
		if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "AppRole") || strings.Contains(err.Error(), token) {
			t.Errorf("%s: Describe: %v; want it refused, with how to make a smaller one", name, err)
		}
		found, err := issuer.Check(t.Context())
		if err != nil || len(found) != 1 || !found[0].Refuses || found[0].Object != "login" {
			t.Errorf("%s: Check: %v, %s", name, err, shown(found))
		}
	}
}

// A token role whose tokens could outlive or outgrow their lease is refused, and check --live prints the command that mends it.
func TestTokenRoleThatGivesTooMuchIsRefused(t *testing.T) {
	d := newKV(t)
	for name, changes := range map[string]map[string]any{
		"no orphans":            {"orphan": false},
		"no longest life":       {"token_explicit_max_ttl": "0"},
		"longer than the hour":  {"token_explicit_max_ttl": "61m"},
		"renewable":             {"renewable": true},
		"periodic":              {"token_period": "10m"},
		"the policy default":    {"token_no_default_policy": false},
		"tokens in batches":     {"token_type": "batch", "orphan": true, "renewable": false, "token_explicit_max_ttl": "0"},
		"any policy":            {"allowed_policies": []string{}},
		"the policy root":       {"allowed_policies": []string{"root"}},
		"policies by a pattern": {"allowed_policies_glob": []string{"*"}},
		"an identity's powers":  {"allowed_entity_aliases": []string{"*"}},
		"a path of their own":   {"path_suffix": "hidden"},
		"a token for one use":   {"token_num_uses": 1},
	} {
		d.Delete(t, "auth/token/roles/"+d.settings.TokenRole)
		d.tokenRole(t, changes)
		issuer := d.issuer(t)
		if _, err := issuer.Describe(t.Context(), wish(t, "app/*:read,write")); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "vault write auth/token/roles/") {
			t.Errorf("%s: Describe: %v; want it refused", name, err)
		}
		found := findings(t, issuer)
		if !slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Refuses && strings.HasPrefix(f.Object, "token role") }) {
			t.Errorf("%s: Check:%s", name, shown(found))
		}
	}
	d.Delete(t, "auth/token/roles/"+d.settings.TokenRole)
	if found := findings(t, d.issuer(t)); len(found) != 1 || !strings.Contains(found[0].Problem, "no token role") {
		t.Errorf("without a token role:%s", shown(found))
	}
	d.tokenRole(t, map[string]any{"allowed_policies": []string{d.settings.Offers[0].Policies[0], "another"}})
	found := findings(t, d.issuer(t))
	if len(found) != 2 || !found[0].Refuses || !strings.Contains(found[1].Problem, "another") {
		t.Errorf("with other policies than are needed:%s", shown(found))
	}
}

// What is wrong with an offer is told, and how to mend it.
func TestCheckJudgesEachOffer(t *testing.T) {
	s := newShop(t)
	mount := s.settings.Mount
	role := func(change map[string]any) {
		s.Delete(t, mount+"/roles/orders-rw")
		data := map[string]any{"db_name": "orders", "default_ttl": "1h", "creation_statements": s.common(), "revocation_statements": []string{vault.RevocationSQL(s.owner, s.staging, "public")}}
		for name, value := range change {
			data[name] = value
		}
		s.Write(t, mount+"/roles/orders-rw", data)
	}
	for name, one := range map[string]struct {
		change  map[string]any
		problem string
	}{
		"membership":              {map[string]any{"creation_statements": append(s.common(), "GRANT "+s.owner+` TO "{{name}}"`)}, "counts as admin"},
		"another database":        {map[string]any{"creation_statements": append(s.common(), `GRANT CONNECT ON DATABASE production TO "{{name}}"`)}, "database production"},
		"Vault's own revocation":  {map[string]any{"revocation_statements": []string{}}, "open session"},
		"another connection":      {map[string]any{"db_name": "other"}, "another connection"},
		"another credential type": {map[string]any{"credential_type": "rsa_private_key"}, "no password"},
	} {
		if name == "another connection" {
			s.Write(t, mount+"/config/other", map[string]any{"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "verify_connection": false, "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/other", "username": "u", "password": "p"})
		}
		role(one.change)
		found := findings(t, s.issuer(t))
		if !slices.ContainsFunc(found, func(f broker.Finding) bool {
			return !f.Refuses && strings.Contains(f.Problem, one.problem) && f.Mend != ""
		}) {
			t.Errorf("%s:%s", name, shown(found))
		}
	}
}

// What nobody vouches for, so that requests need the approvals of delete, is told with the line that vouches; and where one version is
// kept, with the command that mends it.
func TestCheckTellsWhatNobodyVouchesFor(t *testing.T) {
	d, s := newKV(t), newShop(t)
	d.settings.Accept, s.settings.Accept = nil, s.settings.Accept[:1]
	has := func(found []broker.Finding, mend string) bool {
		return slices.ContainsFunc(found, func(f broker.Finding) bool { return !f.Refuses && strings.Contains(f.Mend, mend) })
	}
	kv, db := findings(t, d.issuer(t)), findings(t, s.issuer(t))
	if len(kv) != 4 || !has(kv, "object: "+vault.AcceptVersionHistory) || !has(kv, "object: "+vault.AcceptWholeMount) {
		t.Errorf("kv:%s", shown(kv))
	}
	if len(db) != 2 || !has(db, "object: "+vault.AcceptDefinerCode) {
		t.Errorf("database:%s", shown(db))
	}
	d.Write(t, d.settings.Mount+"/config", map[string]any{"max_versions": 1})
	if found := findings(t, d.issuer(t)); !has(found, "max_versions=") {
		t.Errorf("one version:%s", shown(found))
	}
}

// A wrong login is told by check --live, and names no secret.
func TestCheckWithAWrongLogin(t *testing.T) {
	d := newKV(t)
	config := d.config()
	config.Resolve = func(string, string) (broker.Secret, error) { return broker.NewSecret("a-wrong-secret-id"), nil }
	_, err := open(t, config).Check(t.Context())
	if broker.CodeOf(err) != broker.CodeUnavailable || strings.Contains(fmt.Sprintf("%+v", err), "a-wrong-secret-id") {
		t.Errorf("Check: %v; want it unavailable", err)
	}
}

// A mount that is not there, or is something else, is told.
func TestWrongMountIsRefused(t *testing.T) {
	d := newKV(t)
	for _, mount := range []string{"kv-nowhere", "sys"} {
		config := d.config()
		config.Settings.Mount = mount
		d.policy(t, d.loginPolicy(), open(t, config).Policy())
		if _, err := open(t, config).Describe(t.Context(), wish(t, "app/*:read")); broker.CodeOf(err) != broker.CodeWall {
			t.Errorf("%s: %v; want it refused", mount, err)
		}
	}
	one := newKV1(t)
	config := one.config()
	config.Settings.Engine = "kv"
	one.policy(t, one.loginPolicy(), open(t, config).Policy())
	if _, err := open(t, config).Describe(t.Context(), wish(t, "app/*:read")); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "kv1") {
		t.Errorf("version 1 as version 2: %v", err)
	}
}

// Two environments that share a mount are the same thing where they share a folder, a connection's database or a role; and always at
// version 2 of KV.
func TestIdentity(t *testing.T) {
	d := newKV(t)
	id := func(folders ...string) broker.Identity {
		config := d.config()
		config.Settings.Folders = folders
		who, err := open(t, config).Identify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	first, second, both := id("app"), id("web"), id("web", "app")
	if first.ID == second.ID || strings.Contains(first.Parts, "web") || !strings.Contains(both.Parts, first.Parts) || !strings.Contains(both.Parts, second.Parts) {
		t.Errorf("identities %+v, %+v, %+v", first, second, both)
	}
	if first.Parts != second.Parts {
		t.Errorf("two environments could share a mount of version 2, whose folders are no wall: %s, %s", first.Parts, second.Parts)
	}
	s := newShop(t)
	who, err := s.issuer(t).Identify(t.Context())
	if err != nil || !strings.Contains(who.Shown, s.staging) || strings.Contains(fmt.Sprint(who), s.adminPassword) {
		t.Errorf("%+v, %v; want the database shown", who, err)
	}
	// The connection is led elsewhere: another identity, which nobody has confirmed.
	s.Write(t, s.settings.Mount+"/config/orders", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": s.admin, "password": s.adminPassword, "verify_connection": false,
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/production?sslmode=disable", database.Host, database.Port),
	})
	after, err := s.issuer(t).Identify(t.Context())
	if err != nil || after.ID == who.ID {
		t.Errorf("after the connection was led elsewhere: %+v, %v; was %+v", after, err, who)
	}
}
