package system

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	issuer "github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/transit"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// vaultTargets are the targets of an environment, as docs/issuers/vault.md has them; in capitals what differs. The way in is
// itself kept in Vault, for the broker's own login of hourkey.yaml.
const vaultTargets = `  orders-db:
    vault:
      address: ADDRESS
      login: {approle: {role_id: ROLE_ID, secret_id: "vault:kv/data/hourkey/ENV#secret_id"}}
      engine: database
      mount: database-ENV
      connection: orders
      token_role: hourkey-ENV-orders
      policies: [hourkey-ENV-lease]
      offers: [{role: orders-rw}, {role: orders-all}]
      accept: [{object: public-connect, why: the test closed every database}, {object: definer-code, why: the test looked}]
  app-secrets:
    vault:
      address: ADDRESS
      login: {approle: {role_id: ROLE_ID, secret_id: "vault:kv/data/hourkey/ENV#secret_id"}}
      engine: kv
      mount: kv-ENV
      folders: [app]
      token_role: hourkey-ENV-app
      offers: [{policies: [ENV-app-rw]}, {policies: [ENV-app-all]}]
      accept: [{object: version-history, why: the test keeps them}, {object: whole-mount, why: the test looked}]
`

const vaultTasks = gatewayTask + `:
  summary: Repair the orders, turn the settings of the app
  agents: [claude-code]
  environments: [staging, production]
  gives: ["orders-db:public.orders:read,write", "app-secrets:app/*:read,write"]
  with_approval: ["orders-db:public.orders:delete", "app-secrets:app/*:delete"]
  ttl: 30m
`

// strongroom is a Vault beside the PostgreSQL that all tests share.
type strongroom struct {
	*vaulttest.Server
	tap       *tap
	databases map[string]*database // environment → its own
}

// approle makes a login by AppRole, and gives its role id and secret id.
func (s strongroom) approle(t *testing.T, name string, policies ...string) (role, secret string) {
	t.Helper()
	s.Write(t, "auth/approle/role/"+name, map[string]any{"token_policies": policies, "token_ttl": "1h", "token_max_ttl": "24h"})
	role = s.Read(t, "auth/approle/role/"+name+"/role-id")["data"].(map[string]any)["role_id"].(string)
	return role, s.Write(t, "auth/approle/role/"+name+"/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
}

func (s strongroom) policy(t *testing.T, name, text string) {
	t.Helper()
	s.Write(t, "sys/policies/acl/"+name, map[string]any{"policy": text})
}

func (s strongroom) tokenRole(t *testing.T, name string, policies ...string) {
	t.Helper()
	s.Write(t, "auth/token/roles/"+name, map[string]any{
		"allowed_policies": policies, "orphan": true, "renewable": false, "token_explicit_max_ttl": "1h", "token_no_default_policy": true, "token_type": "service",
	})
}

// database has Vault make logins of one database, of two kinds.
func (s strongroom) database(t *testing.T, environment string) {
	t.Helper()
	d, mount := s.databases[environment], "database-"+environment
	s.Write(t, "sys/mounts/"+mount, map[string]any{"type": "database"})
	s.Write(t, mount+"/config/orders", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": d.admin, "password": d.password, "username_template": issuer.UsernameTemplate,
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", d.Host, d.Port, d.name),
	})
	for role, privileges := range map[string]string{"orders-rw": "SELECT, INSERT, UPDATE", "orders-all": "SELECT, INSERT, UPDATE, DELETE"} {
		s.Write(t, mount+"/roles/"+role, map[string]any{
			"db_name": "orders", "default_ttl": "1h", "max_ttl": "1h", "revocation_statements": []string{issuer.RevocationSQL(d.owner, d.name, "public")},
			"creation_statements": []string{
				`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`, `GRANT "{{name}}" TO ` + d.admin,
				`GRANT CONNECT ON DATABASE ` + d.name + ` TO "{{name}}"`, `GRANT USAGE ON SCHEMA public TO "{{name}}"`,
				`GRANT ` + privileges + ` ON public.orders TO "{{name}}"`, `GRANT USAGE ON SEQUENCE public.orders_id_seq TO "{{name}}"`,
			},
		})
	}
	s.policy(t, "hourkey-"+environment+"-lease", grantsOf("read", mount+"/creds/orders-rw", mount+"/creds/orders-all"))
	s.tokenRole(t, "hourkey-"+environment+"-orders", "hourkey-"+environment+"-lease")
}

// secrets makes a KV engine with one value.
func (s strongroom) secrets(t *testing.T, environment string) {
	t.Helper()
	mount := "kv-" + environment
	s.Write(t, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	for name, capabilities := range map[string]string{"rw": `create", "read", "update`, "all": `create", "read", "update", "delete`} {
		s.secretPolicy(t, environment, name, capabilities)
	}
	s.tokenRole(t, "hourkey-"+environment+"-app", environment+"-app-rw", environment+"-app-all")
	eventually(t, func() error { // an engine that was just mounted upgrades itself
		status, answer, err := vaulttest.Call(t.Context(), s.Address, s.Root, http.MethodPost, mount+"/data/app/db", map[string]any{"data": map[string]any{"password": environment + "'s"}})
		if err == nil && status >= http.StatusBadRequest {
			err = fmt.Errorf("status %d, %v", status, answer)
		}
		return err
	})
}

// secretPolicy is that of an offer of the KV engine.
func (s strongroom) secretPolicy(t *testing.T, environment, name, capabilities string) {
	t.Helper()
	mount := "kv-" + environment
	s.policy(t, environment+"-app-"+name, grantsOf(capabilities, mount+"/data/app/*")+grantsOf(`list", "read`, mount+"/metadata/app/*"))
}

// grantsOf writes rules of a policy.
func grantsOf(capabilities string, paths ...string) (text string) {
	for _, path := range paths {
		text += fmt.Sprintf("path %q { capabilities = [\"%s\"] }\n", path, capabilities)
	}
	return text
}

// login gives the broker a login for the targets of an environment, with the policies that they print.
func (s strongroom) login(t *testing.T, environment string) (targets string) {
	t.Helper()
	role, secret := s.approle(t, "hourkey-"+environment, "hourkey-"+environment+"-orders-db", "hourkey-"+environment+"-app-secrets")
	targets = strings.NewReplacer("ADDRESS", s.tap.URL, "ROLE_ID", role, "ENV", environment).Replace(vaultTargets)
	var parsed map[string]struct{ Vault issuer.Settings }
	must(t, yaml.Unmarshal([]byte(targets), &parsed))
	for name, target := range parsed {
		opened, err := issuer.New(issuer.Config{
			Ref: broker.TargetRef{Environment: environment, Target: name}, Settings: target.Vault, Now: time.Now,
			Resolve: func(string, string) (broker.Secret, error) { return broker.NewSecret(secret), nil },
		})
		must(t, err)
		s.policy(t, "hourkey-"+environment+"-"+name, opened.Policy())
		must(t, opened.Close())
	}
	s.Write(t, "kv/data/hourkey/"+environment, map[string]any{"data": map[string]any{"secret_id": secret}})
	return targets
}

// newStrongroom makes the server, and what an installation at it is configured with.
func newStrongroom(t *testing.T) (strongroom, outpostFiles) {
	t.Helper()
	server := vaulttest.Start(t)
	s := strongroom{server, plainTap(t, server.Address), map[string]*database{"staging": shared.database(t, "staging"), "production": shared.database(t, "production")}}
	s.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	s.Write(t, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	s.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	s.Write(t, "transit/keys/hourkey", map[string]any{"type": "aes256-gcm96"})
	s.policy(t, "hourkey", transit.Settings{Key: "hourkey"}.Policy()+grantsOf("read", "kv/data/hourkey/*"))
	role, secret := s.approle(t, "hourkey", "hourkey")
	files := outpostFiles{
		tap: s.tap, tasks: vaultTasks, targets: map[string]string{}, secrets: map[string]string{"vault-secret-id": secret},
		server: fmt.Sprintf("keys: vault:transit/keys/hourkey\nvault:\n  address: %s\n  login: {approle: {role_id: %s, secret_id: file:secrets/vault-secret-id}}\n", s.tap.URL, role),
	}
	for _, environment := range []string{"staging", "production"} {
		s.database(t, environment)
		s.secrets(t, environment)
		files.targets[environment] = s.login(t, environment)
	}
	return s, files
}

func installAtVault(t *testing.T) (*outpost, strongroom) {
	t.Helper()
	needs(t, "curl", "psql")
	s, files := newStrongroom(t)
	o := prepareOutpost(t, files)
	o.checks("as documented", 0, "good: files and targets")
	o.open("staging/orders-db", "staging/app-secrets", "production/orders-db", "production/app-secrets")
	return o, s
}

// TestNativeVault: an agent's day with the real Vault, a database behind it, and secrets in it. The broker's own secrets, and the key
// that opens its store, are in that Vault as well.
func TestNativeVault(t *testing.T) {
	t.Parallel()
	o, s := installAtVault(t)
	staging := s.databases["staging"]
	psql := func(sql string) []string { return []string{"/usr/bin/psql", "-v", "ON_ERROR_STOP=1", "-c", sql} }
	kv := func(method, path, body string) []string {
		return []string{"/bin/sh", "-c", `curl -sS --fail-with-body -H "X-Vault-Token: $VAULT_TOKEN" -X ` + method + ` --data '` + body + `' "$VAULT_ADDR/v1/` + path + `"`}
	}
	const mayNot = "permission denied"
	o.try(
		step{"read", "", psql("SELECT count(*) FROM orders"), false, "100"},
		step{"write", "", psql("UPDATE orders SET state = 'open' WHERE id = 7"), false, "UPDATE 1"},
		step{"delete", "", psql("DELETE FROM orders WHERE id = 8"), true, mayNot},
		step{"another table", "", psql("SELECT * FROM secrets"), true, mayNot},
		step{"another environment", "", append(psql("SELECT 1"), "-d", s.databases["production"].name), true, mayNot},
		step{"read a value", "", kv("GET", "kv-staging/data/app/db", ""), false, "staging's"},
		step{"write a value", "", kv("POST", "kv-staging/data/app/db", `{"data":{"password":"newer"}}`), false, "version"},
		step{"delete a value", "", kv("DELETE", "kv-staging/data/app/db", ""), true, mayNot},
		step{"another environment's value", "", kv("GET", "kv-production/data/app/db", ""), true, mayNot},
		step{"a policy of its own", "", kv("POST", "sys/policies/acl/staging-app-rw", `{"policy":"path \"*\" { capabilities = [\"sudo\"] }"}`), true, mayNot},
		step{"the broker's own secrets", "", kv("GET", "kv/data/hourkey/staging", ""), true, mayNot},
		step{"a token of its own", "", kv("POST", "auth/token/create", "{}"), true, mayNot},
	)
	flags := o.approved("orders-db:public.orders:read,write,delete", "app-secrets:app/*:read,write,delete")
	o.try(step{"delete, approved", flags, []string{"/bin/sh", "-c", `psql -v ON_ERROR_STOP=1 -c 'DELETE FROM orders WHERE id = 8' && ` + kv("DELETE", "kv-staging/data/app/db", "")[2]}, false, "DELETE 1"})
	if n := staging.number(t, "SELECT count(*) FROM public.orders"); n != 99 {
		t.Errorf("%d orders, want 99", n)
	}
	o.vaultEnds(s)

	// A new start opens the store by the key in Vault; without Vault nothing starts.
	o.stop()
	o.serve()
	o.try(step{"after a new start", "", psql("SELECT 1"), false, "1 row"})
	o.hides("Vault token", "Vault login's password", "secret by a vault: reference", "key that Transit wraps")

	// What is taken away from the broker's login at Vault is told, by the line that mends it.
	s.policy(t, "hourkey-staging-orders-db", grantsOf("update", "auth/token/create/hourkey-staging-orders"))
	o.checks("without most permissions", 1, "REFUSED   login database-staging/roles/orders-rw", `path "database-staging/roles/orders-rw" { capabilities = ["read"] }`)
	s.policy(t, "hourkey", grantsOf("read", "transit/keys/hourkey", "kv/data/hourkey/*"))
	o.checks("without the use of the key", 1, "REFUSED   login transit/decrypt/hourkey", `path "transit/decrypt/hourkey" { capabilities = ["update"] }`)
	s.Stop()
	if out, code := o.run("serve"); code != 1 || !strings.Contains(out, "Vault cannot be reached") {
		t.Errorf("without Vault: exit code %d\n%s", code, out)
	}
}

// vaultEnds wants what was released to be worth nothing: neither the login of the database nor the token lives on.
func (o *outpost) vaultEnds(s strongroom) {
	o.Helper()
	prefix := o.prefix()
	out, code := o.as("exec", "--environment", "staging", "--", "/bin/sh", "-c", "echo $VAULT_TOKEN; echo $PGUSER")
	words := strings.Fields(out)
	if code != 0 || len(words) != 2 || !strings.HasPrefix(words[1], prefix) {
		o.Fatalf("exec: exit code %d\n%s", code, out)
	}
	o.vault.keep("Vault token", words[0])
	eventually(o, func() error {
		if lives, err := s.lives(o.Context(), words[0]); lives || err != nil {
			return fmt.Errorf("the token lives: %t, %w", lives, err)
		}
		if roles := s.databases["staging"].roles(o, prefix); len(roles) > 0 {
			return errors.New("still there: " + strings.Join(roles, " "))
		}
		return nil
	})
}

// lives asks, as root, whether Vault knows a token. To ask by the token itself proves nothing: its policies let it ask for nothing
// of the kind, dead or alive.
func (s strongroom) lives(ctx context.Context, token string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, answer, err := vaulttest.Call(ctx, s.Address, s.Root, http.MethodPost, "auth/token/lookup", map[string]any{"token": token})
	switch {
	case err != nil:
		return false, err
	case status == http.StatusOK:
		return true, nil
	case status == http.StatusForbidden && strings.Contains(fmt.Sprint(answer["errors"]), "bad token"):
		return false, nil
	}
	return false, fmt.Errorf("status %d, %v", status, answer)
}
