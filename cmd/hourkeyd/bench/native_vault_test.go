package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// BenchmarkVault: a login of a real PostgreSQL that a real Vault makes, beside the same calls by net/http.
func BenchmarkVault(b *testing.B) { benchNative(b, openVault) }

const vaultBody = `{address: ADDRESS, login: {approle: {role_id: ROLE_ID, secret_id: "env:SECRET"}}, engine: database, mount: database, connection: orders,
  token_role: orders, policies: [lease], offers: [{role: orders-rw}, {role: orders-all}],
  accept: [{object: public-connect, why: the benchmark has nobody else}, {object: definer-code, why: there is none}]}`

func openVault(b *testing.B) (target, func(b *testing.B) bare) {
	server, database := vaulttest.Start(b), pgtest.Start(b)
	admin := newDatabase(b, database, "orders")
	server.Write(b, "sys/mounts/database", map[string]any{"type": "database"})
	server.Write(b, "database/config/orders", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "orders_admin", "password": adminPassword, "username_template": vault.UsernameTemplate,
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/orders?sslmode=disable", database.Host, database.Port),
	})
	for role, privileges := range map[string]string{"orders-rw": "SELECT, INSERT, UPDATE", "orders-all": "SELECT, INSERT, UPDATE, DELETE"} {
		server.Write(b, "database/roles/"+role, map[string]any{
			"db_name": "orders", "default_ttl": "1h", "max_ttl": "1h", "revocation_statements": []string{vault.RevocationSQL(ownerOf("orders"), "orders", "public")},
			"creation_statements": []string{
				`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`, `GRANT "{{name}}" TO orders_admin`,
				`GRANT CONNECT ON DATABASE orders TO "{{name}}"`, `GRANT USAGE ON SCHEMA public TO "{{name}}"`, `GRANT ` + privileges + ` ON public.orders TO "{{name}}"`,
			},
		})
	}
	server.Write(b, "sys/policies/acl/lease", map[string]any{"policy": `path "database/creds/+" { capabilities = ["read"] }`})
	server.Write(b, "auth/token/roles/orders", map[string]any{
		"allowed_policies": "lease", "orphan": true, "renewable": false, "token_explicit_max_ttl": "1h", "token_no_default_policy": true, "token_type": "service",
	})
	server.Write(b, "sys/auth/approle", map[string]any{"type": "approle"})
	server.Write(b, "auth/approle/role/hourkey", map[string]any{"token_policies": "hourkey", "token_ttl": "1h"})
	role := server.Read(b, "auth/approle/role/hourkey/role-id")["data"].(map[string]any)["role_id"].(string)
	secret := server.Write(b, "auth/approle/role/hourkey/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	at := target{
		name: admin.name, kind: "vault", scope: "public.orders:read,write", secret: secret,
		body: strings.NewReplacer("ADDRESS", server.Address, "ROLE_ID", role).Replace(vaultBody),
	}
	server.Write(b, "sys/policies/acl/hourkey", map[string]any{"policy": policyOf(b, at)})
	return at, func(b *testing.B) bare { return newBareVault(b, server, role, secret) }
}

// policyOf is what the issuer says that its login needs.
func policyOf(b *testing.B, at target) string {
	b.Helper()
	var settings vault.Settings
	if err := yaml.Unmarshal([]byte(at.body), &settings); err != nil {
		b.Fatal(err)
	}
	issuer, err := vault.New(vault.Config{
		Ref: broker.TargetRef{Environment: environment, Target: at.name}, Settings: settings, Now: time.Now,
		Resolve: func(string, string) (broker.Secret, error) { return broker.NewSecret(at.secret), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer issuer.Close()
	return issuer.Policy()
}

// bareVault makes the calls of one description and one issue.
type bareVault struct {
	testing.TB
	server *vaulttest.Server
	client *http.Client
	token  string
	n      atomic.Int64
	mu     sync.Mutex
	made   []string // lease and accessor, in turns
}

func newBareVault(b *testing.B, server *vaulttest.Server, role, secret string) *bareVault {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(transport.CloseIdleConnections)
	answer := server.Write(b, "auth/approle/login", map[string]any{"role_id": role, "secret_id": secret})
	token := answer["auth"].(map[string]any)["client_token"].(string)
	return &bareVault{TB: b, server: server, client: &http.Client{Transport: transport}, token: token}
}

func (f *bareVault) call(token, method, path string, data any) (map[string]any, error) {
	status, answer, err := vaulttest.CallWith(context.Background(), f.client, f.server.Address, token, method, path, data)
	if err == nil && status >= http.StatusBadRequest {
		err = fmt.Errorf("%s: status %d, %v", path, status, answer["errors"])
	}
	return answer, err
}

// describe reads all that a description rests on, at once.
func (f *bareVault) describe() error { return f.look("orders-rw", "orders-all") }

func (f *bareVault) look(roles ...string) error {
	reads := []string{"sys/health", "sys/mounts/database", "auth/token/roles/orders", "database/config/orders"}
	for _, role := range roles {
		reads = append(reads, "database/roles/"+role)
	}
	failed := make(chan error, len(reads))
	for _, path := range reads {
		go func() { _, err := f.call(f.token, http.MethodGet, path, nil); failed <- err }()
	}
	var first error
	for range reads {
		if err := <-failed; err != nil {
			first = err
		}
	}
	return first
}

// issue makes token and login, and looks whether the role that gave it is still what was described.
func (f *bareVault) issue(int) error {
	name := fmt.Sprintf("hk-floor-%d", f.n.Add(1))
	made, err := f.call(f.token, http.MethodPut, "auth/token/create/orders", map[string]any{
		"policies": []string{"lease"}, "no_default_policy": true, "renewable": false, "type": "service", "ttl": "300s", "explicit_max_ttl": "300s",
		"display_name": name, "meta": map[string]string{"hourkey": name, "agent": "ci/00", "task": task, "role": "orders-rw"},
	})
	if err != nil {
		return err
	}
	auth := made["auth"].(map[string]any)
	got, err := f.call(auth["client_token"].(string), http.MethodGet, "database/creds/orders-rw", nil)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.made = append(f.made, got["lease_id"].(string), auth["accessor"].(string))
	f.mu.Unlock()
	return f.look("orders-rw")
}

func (f *bareVault) release() {
	for at := 0; at < len(f.made); at += 2 {
		f.server.Write(f, "sys/leases/revoke/"+f.made[at], map[string]any{"sync": true})
		f.server.Write(f, "auth/token/revoke-accessor", map[string]any{"accessor": f.made[at+1]})
	}
	f.made = nil
}
