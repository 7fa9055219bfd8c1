package vault_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// Attacks on what Vault hands out and how it ends, by whoever writes policies, roles and connections there, or holds a lease.

// A plus in the place of the mount opens every other mount as well: Vault does so, and Describe refuses it.
func TestAttackPlusInPlaceOfTheMount(t *testing.T) {
	d := newKV(t)
	name := d.settings.Offers[0].Policies[0]
	d.policy(t, name, `path "+/data/app/*" { capabilities = ["create", "read", "update"] }`)
	can := d.capabilitiesOf(t, name, []string{d.production + "/data/app/db"})
	if len(can[d.production+"/data/app/db"]) < 3 {
		t.Errorf("Vault opens %v at the other mount: this test proves nothing", can)
	}
	d.settings.Offers = d.settings.Offers[:1]
	if _, err := d.issuer(t).Describe(t.Context(), wish(t, "app/*:read")); broker.CodeOf(err) != broker.CodeWall || next(err) == "" {
		t.Errorf("Describe: %v; want it refused", err)
	}
}

// Revocation statements that do not drop the login: Vault says that it has ended, and it goes on.
func TestAttackRevocationThatDropsNothing(t *testing.T) {
	s := newShop(t)
	for name, revocation := range map[string][]string{
		"nothing to the point":    {"SELECT 1"},
		"only a semicolon":        {";"},
		"a comment":               {`-- DROP ROLE "{{name}}"`},
		"another login":           {`DROP ROLE IF EXISTS "{{NAME}}"`},
		"and makes it once more":  {`DROP ROLE "{{name}}"; CREATE ROLE "{{name}}" LOGIN`},
		"a name that is not its":  {`DROP ROLE IF EXISTS "x{{name}}"`},
		"as base64":               {"RFJPUCBST0xFICJ7e25hbWV9fSI="},
		"a login that stays":      {`ALTER ROLE "{{name}}" NOLOGIN`},
		"only what it owns":       {`DROP OWNED BY "{{name}}"`},
		"the words in a constant": {`SELECT 'DROP ROLE "{{name}}"'`},
	} {
		s.Delete(t, s.settings.Mount+"/roles/orders-rw")
		s.Write(t, s.settings.Mount+"/roles/orders-rw", map[string]any{
			"db_name": "orders", "default_ttl": "1h", "creation_statements": append(s.common(), `GRANT SELECT, INSERT, UPDATE ON public.orders TO "{{name}}"`), "revocation_statements": revocation,
		})
		_, err := s.only("orders-rw").issuer(t).Describe(t.Context(), wish(t, "public.orders:read"))
		if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "DROP ROLE") {
			t.Errorf("%s: %v; want it refused", name, err)
		}
	}
}

// only is the shop with one of its offers.
func (s *shop) only(role string) *site {
	one := *s.site
	one.settings.Offers = []vault.Offer{{Role: role}}
	return &one
}

// Words that look like the statements that end sessions are not taken for them.
func TestAttackRevocationThatOnlyLooksLikeIt(t *testing.T) {
	s := newShop(t)
	s.Delete(t, s.settings.Mount+"/roles/orders-rw")
	s.Write(t, s.settings.Mount+"/roles/orders-rw", map[string]any{
		"db_name": "orders", "default_ttl": "1h", "creation_statements": append(s.common(), `GRANT SELECT ON public.orders TO "{{name}}"`),
		"revocation_statements": []string{`SELECT 'pg_terminate_backend', 'DROP OWNED'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'x{{name}}'; DROP ROLE "{{name}}"`},
	})
	d := describe(t, s.only("orders-rw").issuer(t), wish(t, "public.orders:read"))
	if !hasWall(d, "open session", broker.WallWeak) || !hasWall(d, "owns at its end", broker.WallWeak) {
		t.Errorf("walls: %+v", d.Walls)
	}
}

// An address whose query leads elsewhere than its beginning says.
func TestAttackConnectionWhoseQueryLeadsElsewhere(t *testing.T) {
	s := newShop(t)
	before, err := s.issuer(t).Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lead := func(address string) (broker.Identity, error) {
		s.Write(t, s.settings.Mount+"/config/orders", map[string]any{
			"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": s.admin, "password": s.adminPassword, "verify_connection": false, "connection_url": address,
		})
		return s.issuer(t).Identify(t.Context())
	}
	at := fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", database.Host, database.Port, s.staging)
	for _, more := range []string{"&dbname=production", "&database=production", "&host=10.0.0.9", "&port=1", "&user=postgres", "&service=production", "&servicefile=/tmp/x", "&HOST=x", "&options=-c%20role%3Dpostgres"} {
		if who, err := lead(at + more); broker.CodeOf(err) != broker.CodeWall {
			t.Errorf("%s: %+v, %v; want it refused", more, who, err)
		}
	}
	for _, address := range []string{
		"host=10.0.0.9 dbname=production user={{username}} password={{password}}", "postgresql://{{username}}:{{password}}@a:5432,b:5432/orders",
		"postgresql:///orders", "http://{{username}}:{{password}}@db:5432/orders", "postgresql://{{username}}:{{password}}@{{username}}:5432/orders",
	} {
		if who, err := lead(address); broker.CodeOf(err) != broker.CodeWall {
			t.Errorf("%s: %+v, %v; want it refused", address, who, err)
		}
	}
	if who, err := lead(strings.Replace(at, database.Host, strings.ToUpper(database.Host), 1)); err != nil || who.ID != before.ID {
		t.Errorf("in another spelling: %+v, %v; was %+v", who, err, before)
	}
}

// A template of names that says the owner's, and a creation statement that only changes the login: nothing of it is read as harmless.
// And a name that could be SQL is not handed out.
func TestAttackLoginNamesThatAreSQL(t *testing.T) {
	s := newShop(t)
	name := func(template string) {
		s.Write(t, s.settings.Mount+"/config/orders", map[string]any{
			"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": s.admin, "password": s.adminPassword, "username_template": template,
			"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", database.Host, database.Port, s.staging),
		})
	}
	role := func(creation ...string) {
		s.Delete(t, s.settings.Mount+"/roles/orders-rw")
		s.Write(t, s.settings.Mount+"/roles/orders-rw", map[string]any{"db_name": "orders", "default_ttl": "1h", "creation_statements": creation, "revocation_statements": []string{vault.RevocationSQL(s.owner, s.staging, "public")}})
	}
	name(s.owner)
	role(`ALTER ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, `GRANT SELECT ON public.orders TO "{{name}}"`)
	issuer := s.only("orders-rw").issuer(t)
	if all := broker.AllActions(describe(t, issuer, wish(t, "public.orders:read")).Scopes); !all.Has(broker.Admin) {
		t.Errorf("a login that was there before is %s; want admin", all)
	}
	name(`hk" CREATEDB VALID UNTIL '2100-01-01' --{{.DisplayName}}`)
	role(append(s.common()[:1], `GRANT SELECT ON public.orders TO "{{name}}"`)...)
	d := describe(t, issuer, wish(t, "public.orders:read"))
	if !strings.Contains(strings.Join(d.Native, "\n"), "CREATEDB") {
		t.Errorf("how logins are called is not said: %q", d.Native)
	}
	credential, handle, err := issuer.Issue(t.Context(), orderFor(d, "hk-sql-1"))
	if err == nil || len(credential.Values) > 0 {
		t.Errorf("a login whose name is SQL was handed out: %v", err)
	}
	_ = issuer.Revoke(t.Context(), "hk-sql-1", handle)
}

// The role becomes another between the description and the credential: what Vault hands out then is not used, and ended.
func TestAttackRoleChangedBetweenDescribeAndIssue(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "public.orders:read,write"))
	b.on("/creds/", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		s.role(t, server, s.settings.Mount, "orders-rw", `GRANT SELECT, INSERT, UPDATE, DELETE ON public.orders TO "{{name}}"`)
		forward.ServeHTTP(w, r)
	})
	credential, handle, err := issuer.Issue(t.Context(), orderFor(d, "hk-toctou-1"))
	b.on("", nil)
	if broker.CodeOf(err) != broker.CodeConflict || len(credential.Values) > 0 {
		t.Errorf("Issue: %v; want it refused as changed", err)
	}
	if err := issuer.Revoke(t.Context(), "hk-toctou-1", handle); err != nil {
		t.Error(err)
	}
	s.nothingLeft(t, issuer, "hk-toctou-1")
}

// The mount becomes another, or its policy, in the same moment.
func TestAttackMountChangedBetweenDescribeAndIssue(t *testing.T) {
	d := newKV(t)
	b := newBetween(t, server.Address)
	d.settings.Address = b.URL
	issuer := d.issuer(t)
	description := describe(t, issuer, wish(t, "app/*:read,write"))
	for name, change := range map[string]func(){
		"the policy is widened": func() {
			d.policy(t, d.settings.Offers[0].Policies[0], kvPolicy(d.settings.Mount, `"create", "read", "update", "delete"`))
		},
		"the mount is another": func() {
			d.Delete(t, "sys/mounts/"+d.settings.Mount)
			d.Write(t, "sys/mounts/"+d.settings.Mount, map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
		},
	} {
		b.on("auth/token/create/", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			change()
			forward.ServeHTTP(w, r)
		})
		credential, handle, err := issuer.Issue(t.Context(), orderFor(description, "hk-toctou-2"))
		b.on("", nil)
		if err == nil || len(credential.Values) > 0 {
			t.Errorf("%s: issued; want it refused", name)
		}
		if err := issuer.Revoke(t.Context(), "hk-toctou-2", handle); err != nil {
			t.Error(err)
		}
	}
}

// The database is down for Vault when the time of a lease is over, and the broker knows nothing but its name. Vault's token is gone
// then: the login is not, until the database itself lets it in no more, so the lease has not ended.
func TestAttackDatabaseIsDownWhenTheTokenEnds(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	t.Parallel()
	d := describe(t, issuer, wish(t, "public.orders:read,write"))
	if !says(d, "VALID UNTIL") {
		t.Errorf("how long it goes on at most is not said: %+v", d.Walls)
	}
	order := orderFor(d, "hk-down-1")
	order.TTL, order.Expires = 10*time.Second, time.Now().Add(10*time.Second)
	credential, _, err := issuer.Issue(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	database.Exec(t, "postgres", "ALTER ROLE "+s.admin+" NOLOGIN", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+s.admin+"'")
	back := sync.OnceFunc(func() { database.Exec(t, "postgres", "ALTER ROLE "+s.admin+" LOGIN") })
	defer back()
	issuertest.Until(t, func() bool { names, err := issuer.List(t.Context(), "hk-down-"); return err == nil && len(names) == 0 })
	if err := run(t.Context(), credential, "SELECT 1"); err != nil {
		t.Errorf("the login, with nobody to end it: %v: the wall is stronger than declared", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := issuer.Revoke(ctx, "hk-down-1", nil); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("Revoke while the database is down: %v; want it not taken for ended", err)
	}
	back()
	if err := issuer.Revoke(t.Context(), "hk-down-1", nil); err != nil {
		t.Errorf("Revoke when it is back: %v", err)
	}
	s.nothingLeft(t, issuer, "hk-down-1")
}

func says(d broker.Description, how string) bool {
	return slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool { return strings.Contains(w.How, how) })
}

// A role whose logins have no end of their own at the database, or a late one, is weak: while Vault is down, nobody ends them.
func TestAttackLoginWithoutAnEndOfItsOwn(t *testing.T) {
	s := newShop(t)
	for name, one := range map[string]struct{ create, ttl string }{
		"no end":              {`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}'`, "1h"},
		"a late one":          {`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`, "2h"},
		"another":             {`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL 'infinity'`, "1h"},
		"taken away again":    {`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; ALTER ROLE "{{name}}" VALID UNTIL 'infinity'`, "1h"},
		"Vault's own default": {`CREATE ROLE "{{name}}" LOGIN NOINHERIT PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`, "0"},
	} {
		s.Write(t, "sys/mounts/"+s.settings.Mount+"/tune", map[string]any{"default_lease_ttl": "20h"})
		s.Delete(t, s.settings.Mount+"/roles/orders-rw")
		s.Write(t, s.settings.Mount+"/roles/orders-rw", map[string]any{"db_name": "orders", "default_ttl": one.ttl, "creation_statements": append([]string{one.create, `GRANT SELECT ON public.orders TO "{{name}}"`}, s.common()[1:]...)})
		if d := describe(t, s.only("orders-rw").issuer(t), wish(t, "public.orders:read")); !hasWall(d, "use after the end", broker.WallWeak) {
			t.Errorf("%s: %+v", name, d.Walls)
		}
	}
}

// Not even root's renewal keeps a lease beyond its time: it is its token's, and that cannot be renewed.
func TestAttackLeaseRenewedBeyondItsTime(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	order := orderFor(describe(t, issuer, wish(t, "public.orders:read,write")), "hk-renew-1")
	order.TTL, order.Expires = 15*time.Second, time.Now().Add(15*time.Second)
	if _, _, err := issuer.Issue(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	path := s.settings.Mount + "/creds/orders-rw"
	_, listed, err := vaulttest.Call(t.Context(), s.Address, s.Root, "LIST", "sys/leases/lookup/"+path+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range listed["data"].(map[string]any)["keys"].([]any) {
		s.Write(t, "sys/leases/renew", map[string]any{"lease_id": path + "/" + id.(string), "increment": 3600})
	}
	_, accessors, err := vaulttest.Call(t.Context(), s.Address, s.Root, "LIST", "auth/token/accessors", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, accessor := range accessors["data"].(map[string]any)["keys"].([]any) {
		_, _, _ = vaulttest.Call(t.Context(), s.Address, s.Root, http.MethodPost, "auth/token/renew-accessor", map[string]any{"accessor": accessor, "increment": 3600})
	}
	t.Parallel()
	time.Sleep(time.Until(order.Expires) + time.Second)
	s.nothingLeft(t, issuer, "hk-renew-1")
}

// Whoever ends the lease's token by its accessor ends the credential too, and the broker's own end finds nothing to do.
func TestAttackTokenEndedByItsAccessor(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	_, handle := lease(t, issuer, "hk-accessor-1", "public.orders:read,write")
	names := strings.Split(string(handle), `"`)
	s.Write(t, "auth/token/revoke-accessor", map[string]any{"accessor": names[3]})
	if err := issuer.Revoke(t.Context(), "hk-accessor-1", handle); err != nil {
		t.Error(err)
	}
	s.nothingLeft(t, issuer, "hk-accessor-1")
}

// Two tokens bear a lease's name, because an answer was lost: a search by the name ends both.
func TestAttackTwoTokensOfOneName(t *testing.T) {
	d := newKV(t)
	issuer := d.issuer(t)
	description := describe(t, issuer, wish(t, "app/*:read,write"))
	var tokens []broker.Credential
	for range 2 {
		credential, _, err := issuer.Issue(t.Context(), orderFor(description, "hk-twice-1"))
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, credential)
	}
	if err := issuer.Revoke(t.Context(), "hk-twice-1", nil); err != nil {
		t.Fatal(err)
	}
	for _, one := range tokens {
		if err := call(t.Context(), one, http.MethodGet, d.settings.Mount+"/data/app/db", nil); err == nil {
			t.Error("one of the two still works")
		}
	}
}

// The offer is gone from the file when its lease is ended by the name alone: the role is still the one that is looked at.
func TestAttackOfferTakenAwayBeforeTheEnd(t *testing.T) {
	s := newShop(t)
	if _, _, err := s.issuer(t).Issue(t.Context(), orderFor(describe(t, s.issuer(t), wish(t, "public.orders:read,write")), "hk-offer-1")); err != nil {
		t.Fatal(err)
	}
	b := newBetween(t, server.Address)
	after := s.only("orders-all")
	after.settings.Address = b.URL
	if err := after.issuer(t).Revoke(t.Context(), "hk-offer-1", nil); err != nil {
		t.Error(err)
	}
	if !slices.Contains(b.calls(), "GET sys/leases/lookup/"+s.settings.Mount+"/creds/orders-rw") && !slices.Contains(b.calls(), "GET sys/leases/lookup/"+s.settings.Mount+"/creds/orders-rw/") {
		t.Errorf("nobody looked whether the role's leases have ended: %q", b.calls())
	}
	s.nothingLeft(t, s.issuer(t), "hk-offer-1")
}

// A role that hides, while it is described, what makes more of its certificates: they are not handed out.
func TestAttackCertificateThatIsMore(t *testing.T) {
	o := newOffice(t)
	b := newBetween(t, server.Address)
	o.settings.Address = b.URL
	issuer := o.issuer(t)
	for name, change := range map[string]map[string]any{
		"it signs others":               {"key_usage": []string{"CertSign", "DigitalSignature"}},
		"it says that revoked are good": {"ext_key_usage": []string{"OCSPSigning"}},
		"it ends at a fixed date":       {"not_after": time.Now().Add(48 * time.Hour).UTC().Format("2006-01-02T15:04:05Z")},
	} {
		o.role(t, change)
		b.on("/roles/client", rewrite(func(answer map[string]any) {
			for field := range change {
				delete(answer["data"].(map[string]any), field)
			}
		}))
		credential, handle, err := issuer.Issue(t.Context(), orderFor(describe(t, issuer, wish(t, "orders-api:read")), "hk-cert-1"))
		if broker.CodeOf(err) != broker.CodeUnavailable || len(credential.Values) > 0 {
			t.Errorf("%s: %v; want it not handed out", name, err)
		}
		if err := issuer.Revoke(t.Context(), "hk-cert-1", handle); err != nil {
			t.Errorf("%s: Revoke: %v", name, err)
		}
	}
}

// AWS roles that say plainly that they give more, or not what.
func TestAttackRolesOfAWSThatGiveMore(t *testing.T) {
	s := newEngine(t, "aws-sts", "aws", declaring("deploy", "bucket/*:read,write"), nil)
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}]}`
	w := wish(t, "bucket/*:read")
	w.TTL = 20 * time.Minute
	for name, one := range map[string]struct {
		role    map[string]any
		refused bool
		has     broker.Actions
	}{
		"Vault's own powers":          {map[string]any{"credential_type": "session_token"}, true, 0},
		"two roles":                   {map[string]any{"credential_type": "assumed_role", "role_arns": "arn:aws:iam::123456789012:role/staging,arn:aws:iam::123456789012:role/production", "policy_document": document}, true, 0},
		"an administrator":            {map[string]any{"credential_type": "assumed_role", "role_arns": "arn:aws:iam::123456789012:role/staging", "policy_arns": "arn:aws:iam::aws:policy/AdministratorAccess"}, false, broker.Delete | broker.Admin},
		"beside a small document":     {map[string]any{"credential_type": "federation_token", "policy_document": document, "policy_arns": "arn:aws:iam::aws:policy/AmazonS3FullAccess"}, false, broker.Delete},
		"by its name for reading":     {map[string]any{"credential_type": "federation_token", "policy_arns": "arn:aws:iam::aws:policy/ReadOnlyAccess"}, false, broker.Delete | broker.Admin},
		"in a group":                  {map[string]any{"credential_type": "federation_token", "policy_document": document, "iam_groups": "readers"}, false, broker.Delete | broker.Admin},
		"a role that nothing narrows": {map[string]any{"credential_type": "assumed_role", "role_arns": "arn:aws:iam::123456789012:role/staging"}, false, broker.Delete | broker.Admin},
		"deleting by other names":     {map[string]any{"credential_type": "federation_token", "policy_document": allow("dynamodb:BatchWriteItem", "rds:ModifyDBInstance", "ec2:StopInstances")}, false, broker.Delete},
		"power by other names":        {map[string]any{"credential_type": "federation_token", "policy_document": allow("ssm:SendCommand", "cloudtrail:StopLogging", "lambda:GetFunction")}, false, broker.Admin},
	} {
		s.Delete(t, s.settings.Mount+"/roles/deploy")
		s.Write(t, s.settings.Mount+"/roles/deploy", one.role)
		d, err := s.issuer(t).Describe(t.Context(), w)
		if (err != nil) != one.refused || !one.has.IsSubsetOf(broker.AllActions(d.Scopes)) {
			t.Errorf("%s: %v, %v; want it refused: %t, with %s", name, broker.Texts(d.Scopes), err, one.refused, one.has)
		}
		if !one.refused && !broker.AllActions(d.Means()).NeedsHuman() {
			t.Errorf("%s: no human decides", name)
		}
	}
}

// A database other than PostgreSQL: what is plain in its statements counts, and a pattern for other databases is refused.
func TestAttackStatementsOfOtherDatabases(t *testing.T) {
	const user = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; "
	for sql, want := range map[string]string{
		user + "GRANT SELECT, INSERT, UPDATE ON `orders`.* TO '{{name}}'@'%'":                         "",
		user + "GRANT SELECT ON `stg\\_orders`.* TO '{{name}}'@'%'":                                   "",
		user + "GRANT SELECT, DELETE ON orders.* TO '{{name}}'@'%'":                                   "delete",
		user + "grant drop on orders.* to '{{name}}'@'%'":                                             "delete",
		user + "GRANT ALL PRIVILEGES ON orders.* TO '{{name}}'@'%'":                                   "delete,admin",
		user + "GRANT SELECT ON orders.* TO '{{name}}'@'%' WITH GRANT OPTION":                         "delete,admin",
		user + "GRANT EXECUTE ON orders.* TO '{{name}}'@'%'":                                          "delete,admin",
		`{"db": "orders", "roles": [{"role": "readWrite"}]}`:                                          "delete",
		`{"db": "admin", "roles": [{"role": "root"}]}`:                                                "delete,admin",
		user + "GRANT SELECT ON `stg_orders`.* TO '{{name}}'@'%'":                                     "refused",
		user + "GRANT SELECT ON stg_orders.orders TO '{{name}}'@'%'":                                  "refused",
		user + "GRANT SELECT ON `stg%`.* TO '{{name}}'@'%'":                                           "refused",
		user + "GRANT SELECT ON *.* TO '{{name}}'@'%'":                                                "refused",
		user + "GRANT SELECT ON/**/stg_orders.* TO '{{name}}'@'%'":                                    "refused",
		"GRANT SELECT ON stg_orders.* TO x":                                                           "refused", // the plugin is MySQL's
		user + "GRANT SELECT ON orders.* TO '{{name}}'@'%'; GRANT SELECT ON `p_`.t TO '{{name}}'@'%'": "refused",
	} {
		plain, err := vault.PlainDatabase("orders:read", sql)
		got := strings.TrimPrefix(strings.TrimPrefix(plain.String(), "read"), ",")
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
}

// Vault is sealed while leases live: each call says so, nothing is taken for ended, and no secret stands in an error.
func TestAttackSealedVault(t *testing.T) {
	own := vaulttest.Start(t)
	own.Write(t, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
	s := newSite(t, own, vault.Settings{Engine: "kv1", Mount: "kv", Folders: []string{"app"}, Offers: []vault.Offer{{Policies: []string{"app-rw"}}}})
	s.policy(t, "app-rw", `path "kv/app/*" { capabilities = ["create", "read", "update"] }`)
	issuer := s.issuer(t)
	t.Parallel()
	d := describe(t, issuer, wish(t, "app/*:read"))
	_, handle, err := issuer.Issue(t.Context(), orderFor(d, "hk-sealed-1"))
	if err != nil {
		t.Fatal(err)
	}
	own.Write(t, "sys/seal", map[string]any{})
	_, describeErr := issuer.Describe(t.Context(), wish(t, "app/*:read"))
	_, _, issueErr := issuer.Issue(t.Context(), orderFor(d, "hk-sealed-2"))
	_, listErr := issuer.List(t.Context(), "hk-")
	for what, err := range map[string]error{
		"Describe": describeErr, "Issue": issueErr, "List": listErr,
		"Revoke": issuer.Revoke(t.Context(), "hk-sealed-1", handle), "Revoke by the name": issuer.Revoke(t.Context(), "hk-sealed-1", nil),
	} {
		if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "sealed") || next(err) == "" || strings.Contains(fmt.Sprintf("%+v", err), s.secretID) {
			t.Errorf("%s: %v; want it said that Vault is sealed", what, err)
		}
	}
}
