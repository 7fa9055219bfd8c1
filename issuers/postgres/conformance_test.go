package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
)

func TestConformance(t *testing.T) {
	s := newSite(t)
	issuertest.Run(t, issuertest.Harness{
		Issuer: s.issuer(t),
		Reopen: func(t *testing.T) issuertest.Issuer { return s.issuer(t) },

		ReadWrite: wish(t, "public.orders:read,write"),
		Delete:    wish(t, "public.orders:read,write,delete"),
		Unknown:   wish(t, "public.nowhere:read"),
		Admin:     wish(t, "public.orders:admin"),
		Short:     2 * time.Second,

		Use: use,
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return elsewhere(ctx, c, s.staging, s.production)
		},
		Outside: attacks(s),
		Connect: connect,

		SessionOutlivesTTL: true,
		Refused:            refused,

		SecretNames: []string{"PGPASSWORD", "DATABASE_URL"},
		Secrets:     []string{s.adminPassword, s.SuperuserPassword()},
		Fault: func(*testing.T) (issuertest.Issuer, error) {
			config := s.config()
			config.DSN = broker.NewSecret(s.DSN(s.admin, "a-wrong-password", s.staging))
			return postgres.New(config)
		},
	})
}

var statements = map[broker.Actions]string{
	broker.Read:   "SELECT count(*) FROM public.orders",
	broker.Write:  "WITH w AS (INSERT INTO public.orders (note) VALUES ('new') RETURNING id) UPDATE public.orders SET note = 'changed' WHERE id IN (SELECT id FROM w)",
	broker.Delete: "DELETE FROM public.orders WHERE id = -1",
}

func use(ctx context.Context, c broker.Credential, action broker.Actions) error {
	return run(ctx, c, statements[action])
}

func elsewhere(ctx context.Context, c broker.Credential, here, there string) error {
	url := strings.Replace(c.Values["DATABASE_URL"].Reveal(), "/"+here+"?", "/"+there+"?", 1)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT * FROM public.orders")
	return err
}

func refused(err error) bool {
	switch state(err) {
	case insufficientPrivilege, invalidPassword, notPermitted, terminated:
		return true
	}
	// A session that was terminated may be found closed before its last message was read.
	return strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF")
}

type session struct{ *pgx.Conn }

func connect(ctx context.Context, c broker.Credential) (issuertest.Session, error) {
	conn, err := login(ctx, c)
	return session{conn}, err
}

func (s session) Do(ctx context.Context, action broker.Actions) error {
	_, err := s.Exec(ctx, statements[action])
	return err
}

func (s session) Close() { _ = s.Conn.Close(context.Background()) }

// attacks are what a lease for read and write on public.orders must be refused by PostgreSQL itself.
func attacks(s *site) map[string]func(context.Context, broker.Credential) error {
	list := map[string]string{
		"a table outside the grant":            "SELECT * FROM public.secrets",
		"writing a table outside the grant":    "INSERT INTO public.customers (name) VALUES ('x')",
		"DELETE":                               "DELETE FROM public.orders",
		"DELETE in a CTE":                      "WITH d AS (DELETE FROM public.orders RETURNING 1) SELECT * FROM d",
		"MERGE with DELETE":                    "MERGE INTO public.orders o USING (SELECT 1 AS id) x ON o.id = x.id WHEN MATCHED THEN DELETE",
		"TRUNCATE":                             "TRUNCATE public.orders",
		"DROP":                                 "DROP TABLE public.orders",
		"ALTER":                                "ALTER TABLE public.orders DROP COLUMN note",
		"CREATE INDEX":                         "CREATE INDEX ON public.orders (note)",
		"a trigger":                            "CREATE TRIGGER t BEFORE INSERT ON public.orders EXECUTE FUNCTION suppress_redundant_updates_trigger()",
		"CREATE TABLE":                         "CREATE TABLE public.mine (id int)",
		"CREATE SCHEMA":                        "CREATE SCHEMA mine",
		"a temporary table":                    "CREATE TEMPORARY TABLE mine (id int)",
		"SET ROLE owner":                       "SET ROLE " + s.owner,
		"SET ROLE admin":                       "SET ROLE " + s.admin,
		"SET SESSION AUTHORIZATION":            "SET SESSION AUTHORIZATION " + s.owner,
		"COPY TO PROGRAM":                      "COPY public.orders TO PROGRAM 'cat'",
		"COPY FROM a file":                     "COPY public.orders FROM '/etc/passwd'",
		"reading a file":                       "SELECT pg_read_file('/etc/passwd')",
		"importing a file as a large object":   "SELECT lo_import('/etc/passwd')",
		"password hashes":                      "SELECT * FROM pg_authid",
		"a new role":                           "CREATE ROLE accomplice LOGIN",
		"handing the grant on":                 "DO $$ BEGIN GRANT SELECT ON public.orders TO PUBLIC; IF has_table_privilege('public', 'public.orders', 'SELECT') IS NOT TRUE THEN RAISE insufficient_privilege; END IF; END $$",
		"a longer life":                        "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
		"more connections":                     "ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000",
		"ending another's session":             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + s.admin + "'",
		"setting a sequence back":              "SELECT setval('public.orders_id_seq', 1)",
		"switching triggers and keys off":      "SET session_replication_role = replica",
		"every database's files":               "SELECT pg_ls_dir('.')",
		"an untrusted extension":               "CREATE EXTENSION dblink",
		"a subscription to another server":     "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
		"disabling the foreign keys' triggers": "ALTER TABLE public.orders DISABLE TRIGGER ALL",
	}
	tries := map[string]func(context.Context, broker.Credential) error{}
	for name, sql := range list {
		tries[name] = func(ctx context.Context, c broker.Credential) error { return run(ctx, c, sql) }
	}
	tries["a wrong password"] = func(ctx context.Context, c broker.Credential) error {
		conn, err := pgx.Connect(ctx, s.DSN(c.Values["PGUSER"].Reveal(), "guess", s.staging))
		if err == nil {
			_ = conn.Close(ctx)
		}
		return err
	}
	return tries
}

// The variables that exec hands on must be enough for a plain psql; every one that is not secret is exact.
func TestCredentialLeadsAPlainClientToTheDatabase(t *testing.T) {
	s := newSite(t)
	credential, _ := lease(t, s.issuer(t), "hk-values-1", "public.orders:read")
	want := map[string]string{
		"PGHOST": s.Host, "PGPORT": fmt.Sprint(s.Port), "PGDATABASE": s.staging, "PGUSER": "hk-values-1", "PGSSLMODE": "disable",
	}
	for name, value := range want {
		if got := credential.Values[name].Reveal(); got != value {
			t.Errorf("%s is %q; want %q", name, got, value)
		}
		t.Setenv(name, credential.Values[name].Reveal())
	}
	t.Setenv("PGPASSWORD", credential.Values["PGPASSWORD"].Reveal())
	if len(credential.Values) != len(want)+2 {
		t.Errorf("the credential has %d values; want %d, PGPASSWORD and DATABASE_URL with them", len(credential.Values), len(want)+2)
	}
	conn, err := pgx.Connect(t.Context(), "") // all from the environment
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var who string
	if err := conn.QueryRow(t.Context(), "SELECT session_user || '@' || current_database()").Scan(&who); err != nil || who != "hk-values-1@"+s.staging {
		t.Errorf("logged in as %s, %v", who, err)
	}
}
