package postgres_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/postgres"
)

// holds logs in with a credential, in its own database or another, and runs sql.
func holds(t *testing.T, s *site, credential broker.Credential, database, sql string) *pgx.Conn {
	t.Helper()
	url := strings.Replace(credential.Values["DATABASE_URL"].Reveal(), "/"+s.staging+"?", "/"+database+"?", 1)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return conn
}

// A lease may change its own password. Uncommitted, or prepared, that holds its row of pg_authid locked against NOLOGIN.
func TestLeaseThatLocksItsOwnRoleIsEndedAllTheSame(t *testing.T) {
	for name, hold := range map[string]string{
		"idle in a transaction": "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'",
		"prepared":              "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'; PREPARE TRANSACTION 'hold'",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			issuer := s.issuer(t)
			credential, handle := lease(t, issuer, "hk-hold-1", readWrite...)
			conn := holds(t, s, credential, s.staging, hold)
			if err := issuer.Revoke(t.Context(), "hk-hold-1", handle); err != nil {
				t.Fatalf("Revoke: %v", err)
			}
			if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
				t.Error("the session goes on")
			}
			if n := s.count(t, s.staging, "SELECT count(*) FROM pg_prepared_xacts"); n != 0 {
				t.Errorf("%d prepared transactions are left", n)
			}
		})
	}
}

// Every role of a database can take any advisory lock, so none of them may stand between a lease and its end.
func TestAdvisoryLocksOfALeaseStopNobody(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	credential, _ := lease(t, issuer, "hk-advisory-1", "public.orders:read")
	holds(t, s, credential, s.staging, "SELECT pg_advisory_lock(29395947799405945)")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, handle, err := issuer.Issue(ctx, orderFor(describe(t, issuer, wish(t, readWrite...)), "hk-advisory-2"))
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	if err := issuer.Revoke(ctx, "hk-advisory-2", handle); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
}

// What a lease opens of its own must not look like a missing wall: it would stop every later lease, of this target
// or of every target on the server, while it lives and after.
func TestLeaseCannotStopOthersByOpeningWhatIsItsOwn(t *testing.T) {
	for name, attack := range map[string]struct{ database, sql string }{
		"a large object for PUBLIC":            {"", "SELECT lo_create(8801); GRANT ALL ON LARGE OBJECT 8801 TO PUBLIC"},
		"default privileges for PUBLIC":        {"", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"},
		"a large object in another database":   {"postgres", "SELECT lo_create(8802)"},
		"an open one in another database":      {"postgres", "SELECT lo_create(8803); GRANT ALL ON LARGE OBJECT 8803 TO PUBLIC"},
		"a temporary definer function there":   {"postgres", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"},
		"a temporary table for PUBLIC there":   {"postgres", "CREATE TEMP TABLE t (id int); GRANT ALL ON t TO PUBLIC"},
		"default privileges there, for PUBLIC": {"postgres", "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			issuer := s.issuer(t)
			credential, handle := lease(t, issuer, "hk-brick-1", "public.orders:read")
			if attack.database == "" {
				attack.database = s.staging
			}
			holds(t, s, credential, attack.database, attack.sql)
			describe(t, s.issuer(t), wish(t, readWrite...))
			if err := issuer.Revoke(t.Context(), "hk-brick-1", handle); err != nil {
				t.Fatalf("Revoke: %v", err)
			}
			describe(t, s.issuer(t), wish(t, readWrite...))
			_ = s.Try("postgres", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
		})
	}
}

// A backend that waits inside dblink for another server hears no signal. Its session cannot be ended then, and is left
// with no rights.
func TestSessionThatHearsNoSignalLosesItsRights(t *testing.T) {
	s := newSite(t)
	s.Exec(t, s.staging, "CREATE EXTENSION dblink")
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-deaf-1", "public.orders:read")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := silent.Accept(); err == nil {
			accepted <- conn
		}
	}()
	var client sync.WaitGroup
	client.Go(func() {
		_ = run(context.Background(), credential, fmt.Sprintf("SELECT dblink_connect('host=127.0.0.1 port=%d user=x password=y dbname=z sslmode=disable gssencmode=disable')", silent.Addr().(*net.TCPAddr).Port))
	})
	there := <-accepted
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := issuer.Revoke(ctx, "hk-deaf-1", handle); err == nil {
		t.Error("Revoke says that it is ended")
	}
	if n := s.count(t, s.staging, "SELECT count(*) FROM pg_class WHERE relacl::text LIKE '%hk-deaf-1%'"); n != 0 {
		t.Errorf("the session keeps rights on %d relations", n)
	}
	_ = there.Close()
	_ = silent.Close()
	client.Wait()
}

// Requests that wait for a lock of a lease must not hold up the end of another.
func TestLockedTableHoldsUpNeitherRequestsNorEnds(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	locking, _ := lease(t, issuer, "hk-lock-1", readWrite...)
	holds(t, s, locking, s.staging, "BEGIN; LOCK TABLE public.orders")
	const bound = 8 * time.Second // one lock alone would be waited for longer
	took := 2 * bound
	for try := 0; took > bound && try < 3; try++ { // the machine may have stood still; a lock would do it each time
		took = s.endsBesideRequests(t, issuer, fmt.Sprintf("hk-lock-2-%d", try))
	}
	if took > bound {
		t.Errorf("Revoke took %s", took)
	}
}

// endsBesideRequests tells how long the end of a lease takes while 24 requests are described.
func (s *site) endsBesideRequests(t *testing.T, issuer *postgres.Issuer, name string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, handle := lease(t, issuer, name, readWrite...)
	var requests sync.WaitGroup
	for range 24 {
		requests.Go(func() {
			if _, err := issuer.Describe(ctx, wish(t, readWrite...)); err != nil {
				t.Errorf("Describe: %v", err)
			}
		})
	}
	at := time.Now()
	if err := issuer.Revoke(ctx, name, handle); err != nil {
		t.Errorf("Revoke: %v", err)
	}
	took := time.Since(at)
	requests.Wait()
	return took
}

// Leases that take every connection of the server cannot keep the broker from ending them.
func TestEndWhenLeasesHoldEveryConnection(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "public.orders:read"))
	var names []string
	for full := false; !full; {
		name := fmt.Sprintf("hk-full-%d", len(names))
		credential, _, err := issuer.Issue(t.Context(), orderFor(d, name))
		if err != nil {
			break // its pool has no idle connection left: that is as full as it gets
		}
		names = append(names, name)
		for range 16 {
			conn, err := login(t.Context(), credential)
			if full = err != nil; full {
				break
			}
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
		}
	}
	for _, name := range names {
		if err := issuer.Revoke(t.Context(), name, nil); err != nil {
			t.Errorf("Revoke: %v", err)
		}
	}
}

// Two brokers, or a broker's old and new configuration, do not know of each other's turn.
func TestTwoIssuersOnOneTableAtOnce(t *testing.T) {
	s := newSite(t)
	var clients sync.WaitGroup
	for n, issuer := range []*postgres.Issuer{s.issuer(t), s.issuer(t)} {
		d := describe(t, issuer, wish(t, readWrite...))
		for at := range 16 {
			clients.Go(func() {
				for round := range 3 {
					name := fmt.Sprintf("hk-two-%d-%d-%d", n, at, round)
					_, handle, err := issuer.Issue(t.Context(), orderFor(d, name))
					if err != nil {
						t.Errorf("Issue: %v", err)
					}
					if err := issuer.Revoke(t.Context(), name, handle); err != nil {
						t.Errorf("Revoke: %v", err)
					}
				}
			})
		}
	}
	clients.Wait()
}
