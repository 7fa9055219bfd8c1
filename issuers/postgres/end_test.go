package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
)

// The end takes the key, the sessions and the role; what the lease wrote, and what it could own, stays.
func TestRowsAndLargeObjectsSurviveTheEnd(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-end-1", readWrite...)
	for _, sql := range []string{"INSERT INTO public.orders (note) VALUES ('kept')", "SELECT lo_create(777)"} {
		if err := run(t.Context(), credential, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := issuer.Revoke(t.Context(), "hk-end-1", handle); err != nil {
		t.Fatal(err)
	}
	for what, sql := range map[string]string{
		"row": "SELECT count(*) FROM public.orders WHERE note = 'kept'",
		"large object of the owner": "SELECT count(*) FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner WHERE l.oid = 777 AND r.rolname = '" +
			s.owner + "'",
	} {
		if n := s.count(t, s.staging, sql); n != 1 {
			t.Errorf("%s: %d; want it kept", what, n)
		}
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'hk-%'"); n != 0 {
		t.Errorf("%d roles are left", n)
	}
}

// A transaction that the lease prepared would outlive it and keep its locks.
func TestPreparedTransactionDoesNotOutliveTheLease(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-end-2", readWrite...)
	if err := run(t.Context(), credential, `BEGIN; LOCK TABLE public.orders; UPDATE public.orders SET note = NULL; PREPARE TRANSACTION 'it''s \mine'`); err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-end-2", handle); err != nil {
		t.Fatal(err)
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"); n != 0 {
		t.Errorf("%d prepared transactions are left", n)
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM public.orders WHERE note IS NULL"); n != 0 {
		t.Errorf("%d rows were changed by it", n)
	}
}

// A lease that fights its end: it changes its password, keeps many sessions busy and logs in all the time.
func TestLeaseThatFightsItsEnd(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-end-3", readWrite...)
	if err := run(t.Context(), credential, "ALTER ROLE CURRENT_USER PASSWORD 'mine'; ALTER ROLE CURRENT_USER SET statement_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	mine := s.DSN("hk-end-3", "mine", s.staging)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if conn, err := pgx.Connect(ctx, mine); err == nil {
					_, _ = conn.Exec(ctx, "BEGIN; LOCK TABLE public.orders IN ACCESS SHARE MODE; SELECT pg_sleep(60)")
					_ = conn.Close(context.Background())
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	err := issuer.Revoke(t.Context(), "hk-end-3", handle)
	stop()
	clients.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := pgx.Connect(t.Context(), mine); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a login after the end")
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// Where the configuration accepts another database, what the lease owns there is given back too.
func TestEndReachesADatabaseThatWasAccepted(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-end-4", readWrite...)
	url := strings.Replace(credential.Values["DATABASE_URL"].Reveal(), "/"+s.staging+"?", "/postgres?", 1)
	conn, err := pgx.Connect(t.Context(), url) // an empty maintenance database is only warned of
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT lo_create(778)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Exec(t, "postgres", "SELECT lo_unlink(778)") })
	if err := issuer.Revoke(t.Context(), "hk-end-4", handle); err != nil {
		t.Fatal(err)
	}
	if n := s.count(t, "postgres", "SELECT count(*) FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner WHERE r.rolname = '"+s.owner+"'"); n != 1 {
		t.Errorf("%d large objects went to the owner; want 1", n)
	}
	s.Exec(t, "postgres", "ALTER LARGE OBJECT 778 OWNER TO postgres")
}

// A broker that dies before or after any statement leaves nothing that a later one cannot end by the name
// alone, and no role that is not listed.
func TestDeathAroundEveryStatement(t *testing.T) {
	s := newSite(t)
	fresh := s.issuer(t)
	order := orderFor(describe(t, fresh, wish(t, readWrite...)), "")
	for at, point := range points() {
		order.Name = fmt.Sprintf("hk-death-%03d", at)
		dead := issuertest.Dies(point, func(failpoint func(string)) {
			dying := s.config()
			dying.Failpoint = failpoint
			issuer := open(t, dying)
			_, handle, err := issuer.Issue(t.Context(), order)
			if err != nil {
				t.Errorf("%s: Issue: %v", point, err)
			}
			if err := issuer.Revoke(t.Context(), order.Name, handle); err != nil {
				t.Errorf("%s: Revoke: %v", point, err)
			}
		})
		if rare := strings.Contains(point, "prepared") || strings.Contains(point, "elsewhere"); !dead && !rare {
			t.Errorf("%s was not reached", point)
		}
		listed, err := fresh.List(t.Context(), order.Name)
		if err != nil {
			t.Fatal(err)
		}
		if there := s.count(t, s.staging, "SELECT count(*) FROM pg_roles WHERE rolname = '"+order.Name+"'"); there != len(listed) {
			t.Errorf("%s: %d roles at the server, %v listed", point, there, listed)
		}
		if err := fresh.Revoke(t.Context(), order.Name, nil); err != nil {
			t.Errorf("%s: ending what is left: %v", point, err)
		}
		if left := s.count(t, s.staging, "SELECT count(*) FROM pg_roles WHERE rolname = '"+order.Name+"'"); left != 0 {
			t.Errorf("%s: the role is still there", point)
		}
	}
}

func points() []string {
	var list []string
	for _, point := range postgres.Failpoints() {
		list = append(list, "before "+point, "after "+point)
	}
	return list
}

// Somebody else's GRANT on the same table, without our lock, makes PostgreSQL refuse with "tuple
// concurrently updated": issuing and ending go on.
func TestForeignGrantsAtTheSameTime(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	s.Exec(t, s.staging, "CREATE ROLE reporting_"+s.owner)
	t.Cleanup(func() { s.Exec(t, s.staging, "DROP OWNED BY reporting_"+s.owner, "DROP ROLE reporting_"+s.owner) })
	ctx, stop := context.WithCancel(t.Context())
	var other sync.WaitGroup
	other.Go(func() {
		for ctx.Err() == nil {
			_ = s.Try(s.staging, "GRANT SELECT ON public.orders TO reporting_"+s.owner, "REVOKE SELECT ON public.orders FROM reporting_"+s.owner)
		}
	})
	defer other.Wait()
	defer stop()
	order := orderFor(describe(t, issuer, wish(t, readWrite...)), "")
	for at := range 30 {
		order.Name = fmt.Sprintf("hk-foreign-%d", at)
		_, handle, err := issuer.Issue(t.Context(), order)
		if err != nil {
			t.Fatalf("Issue: %v", err)
		}
		if err := issuer.Revoke(t.Context(), order.Name, handle); err != nil {
			t.Fatalf("Revoke: %v", err)
		}
	}
}

// Two targets on one server do not list, and so do not end, each other's leases.
func TestTwoDatabasesOfOneServerListTheirOwn(t *testing.T) {
	one, two := newSite(t), newSite(t)
	first, second := one.issuer(t, "database "+two.staging), two.issuer(t, "database "+one.staging)
	lease(t, first, "hk-same-1", readWrite...)
	lease(t, second, "hk-same-2", readWrite...)
	for issuer, want := range map[*postgres.Issuer][]string{first: {"hk-same-1"}, second: {"hk-same-2"}} {
		if names, err := issuer.List(t.Context(), "hk-same-"); err != nil || !slices.Equal(names, want) {
			t.Errorf("List: %v, %v; want %v", names, err, want)
		}
	}
}

// The prefix of a list is text, not a pattern: _ and % would reach another installation.
func TestPrefixIsNoPattern(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	lease(t, issuer, "hk-ab-1", readWrite...)
	for _, prefix := range []string{"hk-a_-", "hk-%", "hk-ab-1' OR true --"} {
		if names, err := issuer.List(t.Context(), prefix); err != nil || len(names) != 0 {
			t.Errorf("List(%q): %v, %v; want none", prefix, names, err)
		}
	}
}

// Names that try to be SQL: of tables, schemas, columns' sequences, the owner, the database.
func TestNamesThatTryToBeSQL(t *testing.T) {
	s := newSite(t)
	nasty := `x"; DROP TABLE public.secrets; --`
	quoted := pgx.Identifier{nasty}.Sanitize()
	s.Exec(t, s.staging, "SET ROLE "+s.owner+"; CREATE SCHEMA "+quoted+"; CREATE TABLE "+quoted+"."+quoted+" (id serial); RESET ROLE",
		"GRANT USAGE ON SCHEMA "+quoted+" TO "+s.admin+" WITH GRANT OPTION",
		"CREATE ROLE "+pgx.Identifier{nasty + s.owner}.Sanitize()+" ROLE "+s.admin)
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP ROLE "+pgx.Identifier{nasty + s.owner}.Sanitize()) })
	config := s.config()
	config.Settings.Owner = nasty + s.owner
	issuer := open(t, config)
	credential, handle := lease(t, issuer, "hk-nasty-1", nasty+"."+nasty+":read,write")
	if err := run(t.Context(), credential, "INSERT INTO "+quoted+"."+quoted+" DEFAULT VALUES"); err != nil {
		t.Errorf("using it: %v", err)
	}
	if err := issuer.Revoke(t.Context(), "hk-nasty-1", handle); err != nil {
		t.Errorf("Revoke: %v", err)
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM public.secrets"); n != 1 {
		t.Error("the injection was executed")
	}
}

// A prefix stands for the tables of now: what has an unreadable name is refused, views and what is born later
// are not in it.
func TestPrefixIsTheTablesOfNow(t *testing.T) {
	s := newSite(t)
	s.Exec(t, s.staging, "SET ROLE "+s.owner+"; CREATE VIEW public.v AS SELECT 1; CREATE SCHEMA publicly; CREATE TABLE publicly.t (id int)")
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "public.*:read"))
	if got, want := broker.Texts(d.Scopes), []string{"orders-db:public.customers:read", "orders-db:public.orders:read", "orders-db:public.secrets:read"}; !slices.Equal(got, want) {
		t.Errorf("public.* is %v; want %v", got, want)
	}
	if len(d.Facts) != 3 || d.Facts[0].Text == "" {
		t.Errorf("facts: %+v", d.Facts)
	}
	credential, _ := issuertest.Lease(t, issuer, orderFor(d, "hk-now-1"))
	s.Exec(t, s.staging, "SET ROLE "+s.owner+"; CREATE TABLE public.later (id int)")
	if err := run(t.Context(), credential, "SELECT * FROM public.later"); state(err) != insufficientPrivilege {
		t.Errorf("a table born later: %v; want it refused", err)
	}
	for _, name := range []string{"public.*", "public.\u202egnihton", "public.orders*"} {
		s.Exec(t, s.staging, "SET ROLE "+s.owner+"; CREATE TABLE public."+pgx.Identifier{strings.TrimPrefix(name, "public.")}.Sanitize()+" (id int)")
		if _, err := issuer.Describe(t.Context(), wish(t, "public.*:read")); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("with a table named %q: %v; want it refused", name, err)
		}
		s.Exec(t, s.staging, "DROP TABLE public."+pgx.Identifier{strings.TrimPrefix(name, "public.")}.Sanitize())
	}
}

// Writing by way of a view changes tables that were not named, with the view owner's rights.
func TestWritingByWayOfAViewIsRefused(t *testing.T) {
	s := newSite(t)
	s.Exec(t, s.staging, "SET ROLE "+s.owner+"; CREATE VIEW public.v AS SELECT * FROM public.secrets")
	for _, actions := range []string{"write", "delete", "read,delete"} {
		if _, err := s.issuer(t, "view public.v").Describe(t.Context(), wish(t, "public.v:"+actions)); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s on a view: %v; want it refused", actions, err)
		}
	}
}

// The dead are told from the unreachable: a wrong admin password names no secret and no way in.
func TestWrongAdminPassword(t *testing.T) {
	s := newSite(t)
	config := s.config()
	config.DSN = broker.NewSecret(s.DSN(s.admin, "wrong-wrong-wrong", s.staging))
	_, err := open(t, config).Describe(t.Context(), wish(t, readWrite...))
	if broker.CodeOf(err) != broker.CodeUnavailable || strings.Contains(err.Error(), "wrong-wrong") {
		t.Errorf("Describe: %v", err)
	}
	if e, ok := errors.AsType[*broker.Error](err); !ok || strings.Contains(e.Message+e.Next, s.admin) {
		t.Errorf("the caller is told the admin's name: %v", err)
	}
}

// An issuer that was dropped without Close, or closed, leaves no connection behind.
func TestClosedIssuerLeavesNoConnection(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	describe(t, issuer, wish(t, readWrite...))
	if err := issuer.Close(); err != nil {
		t.Fatal(err)
	}
	issuertest.Until(t, func() bool { // a server's process outlives its connection by a moment
		return s.count(t, s.staging, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+s.admin+"'") == 0
	})
	if _, err := issuer.Identify(t.Context()); err == nil {
		t.Error("a closed issuer answers")
	}
}
