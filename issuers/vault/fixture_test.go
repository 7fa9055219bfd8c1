package vault_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// One Vault and one PostgreSQL for all tests of this package, started by the first test that needs one: fuzzing starts this
// program many times, and needs neither.
var (
	startVault    = sync.OnceValues(vaulttest.New)
	startDatabase = sync.OnceValues(func() (*pgtest.Server, error) {
		return pgtest.New("fsync=off", "full_page_writes=off", "max_connections=400")
	})
	server   *vaulttest.Server
	database *pgtest.Server
)

func TestMain(m *testing.M) {
	code := m.Run()
	if server != nil {
		server.Stop()
	}
	if database != nil {
		database.Stop()
	}
	os.Exit(code)
}

func needsVault(tb testing.TB) {
	tb.Helper()
	var err error
	server, err = startVault()
	issuertest.Needs(tb, err, vaulttest.ErrAbsent)
}

func needsDatabase(tb testing.TB) {
	tb.Helper()
	var err error
	database, err = startDatabase()
	issuertest.Needs(tb, err, pgtest.ErrAbsent)
}

var serial int

// site is one target at Vault: a mount, a token role, policies, and an AppRole for the broker, made as the documentation
// says.
type site struct {
	*vaulttest.Server
	n        int
	settings vault.Settings
	secretID string
	ref      broker.TargetRef
}

// newSite makes a site at Vault. settings lacks what the site itself makes: address, login and token role.
func newSite(tb testing.TB, on *vaulttest.Server, settings vault.Settings) *site {
	tb.Helper()
	serial++
	s := &site{Server: on, n: serial, settings: settings, ref: broker.TargetRef{Environment: "staging", Target: "orders-db"}}
	s.settings.Address, s.settings.TokenRole = on.Address, fmt.Sprintf("hourkey-staging-%d", s.n)
	s.Write(tb, "sys/auth/"+s.loginMount(), map[string]any{"type": "approle"})
	s.Write(tb, "auth/"+s.loginMount()+"/role/hourkey", map[string]any{"token_policies": s.loginPolicy(), "token_ttl": "1h", "token_max_ttl": "24h"})
	role := s.Read(tb, "auth/"+s.loginMount()+"/role/hourkey/role-id")["data"].(map[string]any)
	secret := s.Write(tb, "auth/"+s.loginMount()+"/role/hourkey/secret-id", map[string]any{})["data"].(map[string]any)
	s.settings.Login.AppRole = session.AppRole{RoleID: role["role_id"].(string), SecretID: "env:VAULT_SECRET_ID", Mount: s.loginMount()}
	s.secretID = secret["secret_id"].(string)
	s.tokenRole(tb, nil)
	s.policy(tb, s.loginPolicy(), s.issuer(tb).Policy())
	return s
}

func (s *site) loginMount() string  { return fmt.Sprintf("approle-%d", s.n) }
func (s *site) loginPolicy() string { return fmt.Sprintf("hourkey-login-%d", s.n) }

// tokenRole writes the token role as the documentation says, but for some changes.
func (s *site) tokenRole(tb testing.TB, changes map[string]any) {
	tb.Helper()
	allowed := append([]string{}, s.settings.Policies...)
	for _, offer := range s.settings.Offers {
		allowed = append(allowed, offer.Policies...)
	}
	role := map[string]any{"allowed_policies": allowed, "orphan": true, "renewable": false, "token_explicit_max_ttl": "1h", "token_no_default_policy": true, "token_type": "service"}
	for name, value := range changes {
		role[name] = value
	}
	s.Write(tb, "auth/token/roles/"+s.settings.TokenRole, role)
}

func (s *site) policy(tb testing.TB, name, text string) {
	tb.Helper()
	s.Write(tb, "sys/policies/acl/"+name, map[string]any{"policy": text})
}

// config is what the broker opens the target with.
func (s *site) config() vault.Config {
	return vault.Config{Ref: s.ref, Settings: s.settings, Resolve: s.resolve, Now: time.Now}
}

func (s *site) resolve(field, reference string) (broker.Secret, error) {
	if reference == "env:VAULT_SECRET_ID" {
		return broker.NewSecret(s.secretID), nil
	}
	return broker.Secret{}, fmt.Errorf("%s: no such reference", field)
}

func (s *site) issuer(tb testing.TB) *vault.Issuer {
	tb.Helper()
	return open(tb, s.config())
}

func open(tb testing.TB, config vault.Config) *vault.Issuer {
	tb.Helper()
	issuer, err := vault.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

// shop is a site whose engine is a database engine, with PostgreSQL behind it.
type shop struct {
	*site
	staging, production string // databases
	owner, admin        string // roles of PostgreSQL
	adminPassword       string
}

const schema = `
CREATE TABLE public.orders (id serial PRIMARY KEY, note text);
CREATE TABLE public.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
INSERT INTO public.orders (note) SELECT 'row ' || n FROM generate_series(1, 100) n;`

func newShop(tb testing.TB) *shop {
	tb.Helper()
	needsVault(tb)
	needsDatabase(tb)
	return newShopOn(tb, server, database)
}

func newShopOn(tb testing.TB, on *vaulttest.Server, db *pgtest.Server) *shop {
	tb.Helper()
	n := serial + 1
	s := &shop{
		staging: fmt.Sprintf("staging_%d", n), production: "production",
		owner: fmt.Sprintf("owner_%d", n), admin: fmt.Sprintf("vault_admin_%d", n), adminPassword: "admin-password-of-the-test",
	}
	db.Exec(tb, "postgres", "CREATE ROLE "+s.owner, "CREATE DATABASE "+s.staging+" OWNER "+s.owner)
	tb.Cleanup(func() { _ = db.Try("postgres", "DROP DATABASE IF EXISTS "+s.staging+" WITH (FORCE)") })
	db.Exec(tb, s.staging, "SET ROLE "+s.owner+";"+schema)
	if db.Try(s.production, "SELECT 1") != nil {
		db.Exec(tb, "postgres", "CREATE DATABASE "+s.production, "REVOKE CONNECT, TEMPORARY ON DATABASE "+s.production+" FROM PUBLIC")
		db.Exec(tb, s.production, schema)
	}
	for line := range strings.Lines(postgres.AdminSQL(s.admin, s.staging, s.owner)) {
		db.Exec(tb, s.staging, strings.Replace(line, "…", s.adminPassword, 1))
	}
	mount := fmt.Sprintf("database-%d", n)
	on.Write(tb, "sys/mounts/"+mount, map[string]any{"type": "database"})
	on.Write(tb, mount+"/config/orders", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": s.admin, "password": s.adminPassword,
		"connection_url":    fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", db.Host, db.Port, s.staging),
		"username_template": vault.UsernameTemplate, "max_open_connections": 8,
	})
	s.role(tb, on, mount, "orders-rw", "GRANT SELECT, INSERT, UPDATE ON public.orders TO \"{{name}}\"")
	s.role(tb, on, mount, "orders-all", "GRANT SELECT, INSERT, UPDATE, DELETE ON public.orders TO \"{{name}}\"")
	policy := fmt.Sprintf("hourkey-lease-%d", n)
	s.site = newSite(tb, on, vault.Settings{
		Engine: "database", Mount: mount, Connection: "orders", Policies: []string{policy}, Offers: []vault.Offer{{Role: "orders-rw"}, {Role: "orders-all"}},
		Accept: []vault.Accept{{Object: vault.AcceptPublicConnect, Why: "the test revoked it"}, {Object: vault.AcceptDefinerCode, Why: "the test made none"}},
	})
	s.policy(tb, policy, fmt.Sprintf("path \"%s/creds/orders-rw\" { capabilities = [\"read\"] }\npath \"%s/creds/orders-all\" { capabilities = [\"read\"] }\n", mount, mount))
	return s
}

// role writes a role as the documentation says, with one more statement.
func (s *shop) role(tb testing.TB, on *vaulttest.Server, mount, name string, statements ...string) {
	tb.Helper()
	on.Write(tb, mount+"/roles/"+name, map[string]any{
		"db_name": "orders", "default_ttl": "1h", "max_ttl": "1h",
		"creation_statements":   append(s.common(), statements...),
		"revocation_statements": []string{vault.RevocationSQL(s.owner, s.staging, "public")},
	})
}

func (s *shop) common() []string {
	return []string{
		`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
		`GRANT "{{name}}" TO ` + s.admin,
		`GRANT CONNECT ON DATABASE ` + s.staging + ` TO "{{name}}"`,
		`GRANT USAGE ON SCHEMA public TO "{{name}}"`,
		`GRANT USAGE ON SEQUENCE public.orders_id_seq TO "{{name}}"`,
	}
}

// What every adapter's tests do alike, by short names.
var (
	describe = issuertest.Describe
	orderFor = issuertest.Order
	findings = issuertest.Findings
	next     = issuertest.Next
)

func wish(tb testing.TB, texts ...string) broker.Wish {
	tb.Helper()
	return issuertest.Wish(tb, "orders-db", 10*time.Minute, texts...)
}

// lease issues what the scopes say and ends it with the test.
func lease(tb testing.TB, issuer *vault.Issuer, name string, texts ...string) (broker.Credential, broker.Handle) {
	tb.Helper()
	return issuertest.Lease(tb, issuer, orderFor(describe(tb, issuer, wish(tb, texts...)), name))
}
