package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// database/creds, with a real PostgreSQL behind it.
func TestConformanceOfDatabase(t *testing.T) {
	s := newShop(t)
	t.Parallel() // after what counts serial
	issuertest.Run(t, issuertest.Harness{
		Issuer: s.issuer(t),
		Reopen: func(t *testing.T) issuertest.Issuer { return s.issuer(t) },

		ReadWrite: wish(t, "public.orders:read,write"),
		Delete:    wish(t, "public.orders:read,write,delete"),
		Unknown:   wish(t, "public.nowhere:read"),
		Admin:     wish(t, "public.orders:admin"),
		Short:     5 * time.Second,

		Use: func(ctx context.Context, c broker.Credential, action broker.Actions) error {
			return run(ctx, c, statements[action])
		},
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return runAt(ctx, strings.Replace(c.Values["DATABASE_URL"].Reveal(), "/"+s.staging+"?", "/"+s.production+"?", 1), "SELECT * FROM public.orders")
		},
		Outside: sqlAttacks(s),
		Connect: func(ctx context.Context, c broker.Credential) (issuertest.Session, error) {
			conn, err := pgx.Connect(ctx, c.Values["DATABASE_URL"].Reveal())
			return sqlSession{conn}, err
		},
		Refused: refusedBySQL,

		SecretNames: []string{"PGPASSWORD", "DATABASE_URL"},
		Secrets:     []string{s.secretID, s.adminPassword, s.Root},
		Fault:       s.fault,
	})
}

// fault opens an issuer whose secret id is wrong.
func (s *site) fault(*testing.T) (issuertest.Issuer, error) {
	config := s.config()
	config.Resolve = func(string, string) (broker.Secret, error) { return broker.NewSecret("a-wrong-secret-id"), nil }
	return vault.New(config)
}

var statements = map[broker.Actions]string{
	broker.Read:   "SELECT count(*) FROM public.orders",
	broker.Write:  "WITH w AS (INSERT INTO public.orders (note) VALUES ('new') RETURNING id) UPDATE public.orders SET note = 'changed' WHERE id IN (SELECT id FROM w)",
	broker.Delete: "DELETE FROM public.orders WHERE id = -1",
}

func run(ctx context.Context, c broker.Credential, sql string) error {
	return runAt(ctx, c.Values["DATABASE_URL"].Reveal(), sql)
}

func runAt(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

type sqlSession struct{ *pgx.Conn }

func (s sqlSession) Do(ctx context.Context, action broker.Actions) error {
	_, err := s.Exec(ctx, statements[action])
	return err
}

func (s sqlSession) Close() { _ = s.Conn.Close(context.Background()) }

// refusedBySQL: a privilege, a wrong password, a role that may not log in, a session that was terminated.
func refusedBySQL(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "42501" || e.Code == "28P01" || e.Code == "28000" || e.Code == "57P01"
	}
	return strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF")
}

func sqlAttacks(s *shop) map[string]func(context.Context, broker.Credential) error {
	tries := map[string]func(context.Context, broker.Credential) error{}
	for name, sql := range map[string]string{
		"a table outside the grant":            "SELECT * FROM public.customers",
		"DELETE":                               "DELETE FROM public.orders",
		"DELETE in a CTE":                      "WITH d AS (DELETE FROM public.orders RETURNING 1) SELECT * FROM d",
		"MERGE with DELETE":                    "MERGE INTO public.orders o USING (SELECT 1 AS id) x ON o.id = x.id WHEN MATCHED THEN DELETE",
		"TRUNCATE":                             "TRUNCATE public.orders",
		"DROP":                                 "DROP TABLE public.orders",
		"ALTER":                                "ALTER TABLE public.orders DROP COLUMN note",
		"a trigger":                            "CREATE TRIGGER t BEFORE INSERT ON public.orders EXECUTE FUNCTION suppress_redundant_updates_trigger()",
		"SET ROLE owner":                       "SET ROLE " + s.owner,
		"SET ROLE to Vault's own login":        "SET ROLE " + s.admin,
		"a longer life":                        "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
		"a new role":                           "CREATE ROLE accomplice LOGIN",
		"setting a sequence back":              "SELECT setval('public.orders_id_seq', 1)",
		"ending Vault's own session":           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + s.admin + "'",
		"COPY TO PROGRAM":                      "COPY public.orders TO PROGRAM 'cat'",
		"disabling the foreign keys' triggers": "ALTER TABLE public.orders DISABLE TRIGGER ALL",
	} {
		tries[name] = func(ctx context.Context, c broker.Credential) error { return run(ctx, c, sql) }
	}
	return tries
}

// Tokens of policies, for the paths of a KV engine.
func TestConformanceOfKV(t *testing.T) {
	s := newKV(t)
	t.Parallel()
	issuertest.Run(t, issuertest.Harness{
		Issuer: s.issuer(t),
		Reopen: func(t *testing.T) issuertest.Issuer { return s.issuer(t) },

		ReadWrite: wish(t, "app/*:read,write"),
		Delete:    wish(t, "app/*:read,write,delete"),
		Unknown:   wish(t, "nowhere/*:read"),
		Admin:     wish(t, "app/*:admin"),
		Short:     5 * time.Second,

		Use: s.use,
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return call(ctx, c, http.MethodGet, s.production+"/data/app/db", nil)
		},
		Outside: s.attacks(),
		Refused: func(err error) bool { return errors.Is(err, errForbidden) },

		SecretNames: []string{"VAULT_TOKEN"},
		Secrets:     []string{s.secretID, s.Root},
		Fault:       s.fault,
	})
}

// drawer is a site whose engine is KV version 2.
type drawer struct {
	*site
	production string // another mount
}

func newKV(tb testing.TB) *drawer {
	tb.Helper()
	needsVault(tb)
	n := serial + 1
	mount, production := fmt.Sprintf("kv-staging-%d", n), fmt.Sprintf("kv-production-%d", n)
	for _, one := range []string{mount, production} {
		server.Write(tb, "sys/mounts/"+one, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	}
	issuertest.Until(tb, func() bool { // the engine upgrades itself after it was mounted
		status, _, err := vaulttest.Call(tb.Context(), server.Address, server.Root, http.MethodPost, production+"/data/app/db", map[string]any{"data": map[string]string{"password": "production's"}})
		other, _, otherErr := vaulttest.Call(tb.Context(), server.Address, server.Root, http.MethodPost, mount+"/data/app/db", map[string]any{"data": map[string]string{"password": "staging's"}})
		return err == nil && otherErr == nil && status == http.StatusOK && other == http.StatusOK
	})
	rw, all := fmt.Sprintf("app-rw-%d", n), fmt.Sprintf("app-all-%d", n)
	d := &drawer{production: production}
	d.site = newSite(tb, server, vault.Settings{
		Engine: "kv", Mount: mount, Folders: []string{"app"}, Offers: []vault.Offer{{Policies: []string{rw}}, {Policies: []string{all}}},
		Accept: []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "the test keeps them"}, {Object: vault.AcceptWholeMount, Why: "the test has nothing else in it"}},
	})
	d.policy(tb, rw, kvPolicy(mount, `"create", "read", "update"`))
	d.policy(tb, all, kvPolicy(mount, `"create", "read", "update", "delete"`))
	return d
}

func kvPolicy(mount, capabilities string) string {
	return fmt.Sprintf("path \"%s/data/app/*\" { capabilities = [%s] }\npath \"%s/metadata/app/*\" { capabilities = [\"list\", \"read\"] }\n", mount, capabilities, mount)
}

var errForbidden = errors.New("vault refused: 403")

// call uses a credential as any client does.
func call(ctx context.Context, c broker.Credential, method, path string, data any) error {
	status, answer, err := vaulttest.Call(ctx, c.Values["VAULT_ADDR"].Reveal(), c.Values["VAULT_TOKEN"].Reveal(), method, path, data)
	switch {
	case err != nil:
		return err
	case status == http.StatusForbidden:
		return errForbidden
	case status >= http.StatusBadRequest:
		return fmt.Errorf("status %d: %v", status, answer["errors"])
	}
	return nil
}

func (d *drawer) use(ctx context.Context, c broker.Credential, action broker.Actions) error {
	path := d.settings.Mount + "/data/app/db"
	switch action {
	case broker.Read:
		return call(ctx, c, http.MethodGet, path, nil)
	case broker.Write:
		return call(ctx, c, http.MethodPost, path, map[string]any{"data": map[string]string{"password": "changed"}})
	default:
		path = d.settings.Mount + "/data/app/other" // so that reading beside it goes on
		return call(ctx, c, http.MethodDelete, path, nil)
	}
}

func (d *drawer) attacks() map[string]func(context.Context, broker.Credential) error {
	mount, tries := d.settings.Mount, map[string]func(context.Context, broker.Credential) error{}
	for name, one := range map[string]struct {
		method, path string
		data         any
	}{
		"another folder":                           {http.MethodGet, mount + "/data/other/db", nil},
		"DELETE of the latest version":             {http.MethodDelete, mount + "/data/app/db", nil},
		"deleting versions by a POST":              {http.MethodPost, mount + "/delete/app/db", map[string]any{"versions": []int{1}}},
		"destroying versions by a PUT":             {http.MethodPut, mount + "/destroy/app/db", map[string]any{"versions": []int{1}}},
		"all versions and their metadata":          {http.MethodDelete, mount + "/metadata/app/db", nil},
		"keeping one version only":                 {http.MethodPost, mount + "/metadata/app/db", map[string]any{"max_versions": 1}},
		"versions that delete themselves":          {http.MethodPost, mount + "/metadata/app/db", map[string]any{"delete_version_after": "1s"}},
		"keeping one version, by a patch":          {http.MethodPatch, mount + "/metadata/app/db", map[string]any{"max_versions": 1}},
		"keeping one version, in the whole engine": {http.MethodPost, mount + "/config", map[string]any{"max_versions": 1}},
		"a path with dots in it":                   {http.MethodGet, mount + "/data/app/../other/db", nil},
		"a token of its own":                       {http.MethodPost, "auth/token/create", map[string]any{"ttl": "768h"}},
		"an orphan of its own":                     {http.MethodPost, "auth/token/create-orphan", map[string]any{"ttl": "768h"}},
		"another lease's token role":               {http.MethodPost, "auth/token/create/" + d.settings.TokenRole, map[string]any{}},
		"a longer life":                            {http.MethodPost, "auth/token/renew-self", map[string]any{"increment": "768h"}},
		"its own policy":                           {http.MethodPost, "sys/policies/acl/app-rw", map[string]any{"policy": "path \"*\" { capabilities = [\"sudo\"] }"}},
		"another engine":                           {http.MethodPost, "sys/mounts/mine", map[string]any{"type": "kv"}},
		"disabling the engine":                     {http.MethodDelete, "sys/mounts/" + mount, nil},
		"other tokens' accessors":                  {"LIST", "auth/token/accessors", nil},
		"ending others' leases":                    {http.MethodPost, "sys/leases/revoke-prefix/auth", map[string]any{}},
		"sealing Vault":                            {http.MethodPost, "sys/seal", map[string]any{}},
		"its cubbyhole, as a place to keep":        {http.MethodPost, "cubbyhole/mine", map[string]any{"kept": "1"}},
		"an identity":                              {http.MethodPost, "identity/entity", map[string]any{"name": "mine", "policies": "root"}},
		"the storage beneath":                      {http.MethodGet, "sys/raw/core", nil},
		"another mount, the same folder":           {http.MethodGet, d.production + "/data/app/db", nil},
		"names of all folders":                     {"LIST", mount + "/metadata/", nil},
		"another folder, in other letters":         {http.MethodGet, mount + "/data/\u0430pp/db", nil},
		"bringing back a deleted version":          {http.MethodPost, mount + "/undelete/app/db", map[string]any{"versions": []int{1}}},
		"a patch of one field":                     {http.MethodPatch, mount + "/data/app/db", map[string]any{"data": map[string]any{"password": nil}}},
		"its own lookup":                           {http.MethodGet, "auth/token/lookup-self", nil},
		"what it may do":                           {http.MethodPost, "sys/capabilities-self", map[string]any{"paths": []string{"sys"}}},
		"renewing a lease":                         {http.MethodPost, "sys/leases/renew", map[string]any{"lease_id": "x", "increment": 3600}},
		"wrapping a text of its own":               {http.MethodPost, "sys/wrapping/wrap", map[string]any{"kept": "1"}},
		"a batch token":                            {http.MethodPost, "auth/token/create", map[string]any{"type": "batch"}},
		"a login by AppRole":                       {http.MethodPost, "auth/" + d.loginMount() + "/role/hourkey/secret-id", map[string]any{}},
		"a control group's approval":               {http.MethodPost, "sys/control-group/authorize", map[string]any{"accessor": "x"}},
		"its policy, read":                         {http.MethodGet, "sys/policies/acl/" + d.settings.Offers[0].Policies[0], nil},
	} {
		tries[name] = func(ctx context.Context, c broker.Credential) error {
			return call(ctx, c, one.method, one.path, one.data)
		}
	}
	return tries
}
