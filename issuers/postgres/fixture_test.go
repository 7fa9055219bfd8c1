package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

var (
	shared      *pgtest.Server // one server for all tests of this package; nil if there is none
	sharedError error
)

func TestMain(m *testing.M) {
	shared, sharedError = pgtest.New("max_prepared_transactions=10", "fsync=off", "full_page_writes=off") // nothing here outlives the test
	code := m.Run()
	if shared != nil {
		shared.Stop()
	}
	os.Exit(code)
}

// site is a staging database, beside production's on the same server, made as the documentation says.
type site struct {
	*pgtest.Server
	staging, production string // databases
	owner, admin        string // roles
	adminPassword       string
	ref                 broker.TargetRef
}

const schema = `
CREATE TABLE public.orders (id serial PRIMARY KEY, note text);
CREATE TABLE public.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE public.secrets (id int, value text);
INSERT INTO public.orders (note) SELECT 'row ' || n FROM generate_series(1, 100) n;
INSERT INTO public.secrets VALUES (1, 'not yours');`

var serial int

// newSite makes one on the server that all tests share; everything in it ends with the test.
func newSite(tb testing.TB) *site {
	tb.Helper()
	issuertest.Needs(tb, sharedError, pgtest.ErrAbsent)
	return newSiteOn(tb, shared)
}

// newSiteOn makes one on a server of the test's own.
func newSiteOn(tb testing.TB, server *pgtest.Server) *site {
	tb.Helper()
	serial++
	s := &site{
		Server: server, staging: fmt.Sprintf("staging_%d", serial), production: "production",
		owner: fmt.Sprintf("owner_%d", serial), admin: fmt.Sprintf("hourkey_admin_%d", serial), adminPassword: "admin-password-of-the-test",
		ref: broker.TargetRef{Environment: "staging", Target: "orders-db"},
	}
	tb.Cleanup(func() { s.drop(tb) })
	s.Exec(tb, "postgres", "CREATE ROLE "+s.owner, "CREATE DATABASE "+s.staging+" OWNER "+s.owner)
	s.Exec(tb, s.staging, "SET ROLE "+s.owner+";"+schema)
	if s.Try(s.production, "SELECT 1") != nil { // one for all sites of a server
		s.Exec(tb, "postgres", "CREATE DATABASE "+s.production, "REVOKE CONNECT, TEMPORARY ON DATABASE "+s.production+" FROM PUBLIC")
		s.Exec(tb, s.production, schema)
	}
	for line := range strings.Lines(postgres.AdminSQL(s.admin, s.staging, s.owner)) {
		s.Exec(tb, s.staging, strings.Replace(line, "…", s.adminPassword, 1))
	}
	return s
}

func (s *site) drop(tb testing.TB) {
	if err := s.Try("postgres", "DROP DATABASE IF EXISTS "+s.staging+" WITH (FORCE)",
		"DROP ROLE IF EXISTS "+s.admin, "DROP ROLE IF EXISTS "+s.owner); err != nil {
		tb.Errorf("clearing up: %v", err)
	}
}

func (s *site) adminDSN() string { return s.DSN(s.admin, s.adminPassword, s.staging) }

// config is what the broker opens the staging target with.
func (s *site) config(accept ...string) postgres.Config {
	settings := postgres.Settings{DSN: "env:STAGING_ADMIN_DSN", Owner: s.owner}
	for _, object := range accept {
		settings.Accept = append(settings.Accept, postgres.Accept{Object: object, Why: "the test says so"})
	}
	return postgres.Config{Ref: s.ref, Settings: settings, DSN: broker.NewSecret(s.adminDSN()), Now: time.Now}
}

func (s *site) issuer(tb testing.TB, accept ...string) *postgres.Issuer {
	tb.Helper()
	return open(tb, s.config(accept...))
}

func open(tb testing.TB, config postgres.Config) *postgres.Issuer {
	tb.Helper()
	issuer, err := postgres.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

// What every adapter's tests do alike, by short names.
var (
	describe = issuertest.Describe
	orderFor = issuertest.Order
	next     = issuertest.Next
)

func wish(tb testing.TB, texts ...string) broker.Wish {
	tb.Helper()
	return issuertest.Wish(tb, "orders-db", 10*time.Minute, texts...)
}

// lease issues what the scopes say and ends it with the test.
func lease(tb testing.TB, issuer *postgres.Issuer, name string, texts ...string) (broker.Credential, broker.Handle) {
	tb.Helper()
	return issuertest.Lease(tb, issuer, orderFor(describe(tb, issuer, wish(tb, texts...)), name))
}

// login connects as the holder of a credential does.
func login(ctx context.Context, credential broker.Credential) (*pgx.Conn, error) {
	return pgx.Connect(ctx, credential.Values["DATABASE_URL"].Reveal())
}

// run logs in, runs one statement and leaves.
func run(ctx context.Context, credential broker.Credential, sql string) error {
	conn, err := login(ctx, credential)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// state gives the SQLSTATE of a server's refusal, empty for anything else.
func state(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

const (
	insufficientPrivilege = "42501"
	invalidPassword       = "28P01"
	notPermitted          = "28000" // NOLOGIN
	terminated            = "57P01"
)

// count asks the superuser for a number.
func (s *site) count(tb testing.TB, database, sql string) int {
	tb.Helper()
	ctx := tb.Context()
	conn, err := pgx.Connect(ctx, s.SuperuserDSN(database))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	var n int
	if err := conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return n
}
