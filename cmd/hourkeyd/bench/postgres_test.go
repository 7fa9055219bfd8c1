package bench

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
	"github.com/hourkey/hourkey/web/api"
)

// BenchmarkPostgres is the way over HTTP to a login of a real PostgreSQL, beside the same SQL through bare
// pgx: an audit of the walls, then, in one transaction, an audit, CREATE ROLE with a SCRAM verifier, and GRANT.
// Bar: times-floor at most 1.25. audit-p50-ms is the audit's own round trip.
func BenchmarkPostgres(b *testing.B) {
	server := pgtest.Start(b)
	for _, agents := range []int{1, 64} {
		for _, calls := range []int{1, 2} {
			b.Run(fmt.Sprintf("agents=%d/calls=%d", agents, calls), func(b *testing.B) { benchPostgres(b, server, agents, calls) })
		}
	}
}

func benchPostgres(b *testing.B, server *pgtest.Server, agents, calls int) {
	w := newWorld(b, newDatabase(b, server, fmt.Sprintf("ours_%d_%d", agents, calls)), agents)
	got := leases{of: w.agents}
	ours := w.requestToCredential(w.at, calls, got.add)
	f := newPGFloor(b, server, fmt.Sprintf("floor_%d_%d", agents, calls), w.native())
	audits := &measured{name: "audit"}
	perTurn := 30
	if agents > 1 {
		perTurn = 3 * agents
	}
	mine, bare := inTurns(b, agents, perTurn, ours, f.requestToCredential, func() {
		w.release(&got)
		f.release()
		audits.add(takeTurn(b, 1, 10, func(int) error { return f.with(f.audit) }))
	})
	b.ReportMetric(median(mine.elapsed).Seconds()/median(bare.elapsed).Seconds(), "times-floor")
	b.ReportMetric(milliseconds(audits.quantile(50)), "audit-p50-ms")
}

const adminPassword = "the-admin-password-of-a-benchmark"

// newDatabase makes a database with an owner and an admin login as the documentation says. name keeps those
// of one server apart.
func newDatabase(tb testing.TB, server *pgtest.Server, name string) target {
	tb.Helper()
	owner, admin := ownerOf(name), name+"_admin"
	server.Exec(tb, "postgres", "CREATE ROLE "+owner, "CREATE DATABASE "+name+" OWNER "+owner)
	server.Exec(tb, name, "SET ROLE "+owner+"; CREATE TABLE public.orders (id serial PRIMARY KEY, note text)")
	for line := range strings.Lines(postgres.AdminSQL(admin, name, owner)) {
		server.Exec(tb, name, strings.Replace(line, "…", adminPassword, 1))
	}
	return target{
		name: "orders-db", kind: "postgres", body: "{dsn: \"env:SECRET\", owner: " + owner + "}", scope: "public.orders:read,write",
		secret: server.DSN(admin, adminPassword, name),
	}
}

func ownerOf(database string) string { return database + "_owner" }

// leases collects what must be ended between turns: PostgreSQL slows down with every role that has a grant.
type leases struct {
	mu  sync.Mutex
	ids [][2]string // token of the agent, lease
	of  []*agent
}

func (l *leases) add(worker int, lease string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, [2]string{l.of[worker].token, lease})
}

// release ends the leases as agents do.
func (w *world) release(got *leases) {
	w.Helper()
	client := newCaller(8)
	var next atomic.Int64
	takeTurn(w, 8, len(got.ids), func(int) error {
		one := got.ids[next.Add(1)-1]
		r, err := http.NewRequestWithContext(w.Context(), http.MethodDelete, w.origin+strings.Replace(api.PathLease, "{id}", one[1], 1), nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+one[0])
		answer, err := client.http.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			return fmt.Errorf("releasing: %s", answer.Status)
		}
		return nil
	})
	got.ids = nil
}

// native gives the SQL that a request for what the task gives would run, as the broker shows it.
func (w *world) native() []string {
	w.Helper()
	raw, err := newCaller(1).post(w.origin+api.PathRequests, w.agents[0].token, w.ask(w.at))
	w.must(err)
	var request api.Request
	w.must(json.Unmarshal(raw, &request))
	return request.Items[0].Native
}

// pgFloor is bare pgx over as many connections as the issuer keeps.
type pgFloor struct {
	testing.TB
	conns     chan *pgx.Conn
	auditSQL  string
	owner     string
	statement string // all of them, with {lease} and its like still in them

	last  atomic.Int64
	roles chan string
}

const pgConnections = 8

func newPGFloor(tb testing.TB, server *pgtest.Server, database string, native []string) *pgFloor {
	tb.Helper()
	at := newDatabase(tb, server, database)
	text, err := os.ReadFile("../../../issuers/postgres/snapshot.sql")
	if err != nil {
		tb.Fatal(err)
	}
	f := &pgFloor{TB: tb, conns: make(chan *pgx.Conn, pgConnections), auditSQL: string(text), owner: ownerOf(database), roles: make(chan string, 1<<12)}
	f.statement = strings.ReplaceAll(strings.Join(native, ";\n"), "ours_", "floor_")
	for range pgConnections {
		conn, err := pgx.Connect(tb.Context(), at.secret)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = conn.Close(context.Background()) })
		f.conns <- conn
	}
	return f
}

func (f *pgFloor) with(do func(ctx context.Context, conn *pgx.Conn) error) error {
	conn := <-f.conns
	defer func() { f.conns <- conn }()
	return do(f.Context(), conn)
}

func (f *pgFloor) audit(ctx context.Context, conn *pgx.Conn) error {
	var document []byte
	return conn.QueryRow(ctx, f.auditSQL, []string{"public.orders"}, []string{}, f.owner).Scan(&document)
}

func (f *pgFloor) requestToCredential(int) error {
	if err := f.with(f.audit); err != nil {
		return err
	}
	return f.with(f.issue)
}

func (f *pgFloor) issue(ctx context.Context, conn *pgx.Conn) error {
	name := fmt.Sprintf("hk-floor-%08d-%08d", time.Now().UnixMilli()%1e8, f.last.Add(1))
	verifier, err := scramVerifier(rand.Text(), []byte(rand.Text())[:16])
	if err != nil {
		return err
	}
	until := time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339)
	script := strings.NewReplacer("{lease}", `"`+name+`"`, "'{SCRAM-SHA-256 verifier}'", "'"+verifier+"'", "'{end of the lease}'", "'"+until+"'").Replace(f.statement)
	f.roles <- name
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := f.audit(ctx, conn); err != nil {
			return err
		}
		// The lock keeps GRANTs on one table apart, which PostgreSQL else refuses ("tuple concurrently updated").
		script := "SELECT pg_advisory_xact_lock(1);\n" + script + ";\nSELECT oid FROM pg_roles WHERE rolname = '" + name + "'"
		_, err := conn.PgConn().Exec(ctx, script).ReadAll()
		return err
	})
}

// release takes back each GRANT, as the admin login made it, and drops the roles.
func (f *pgFloor) release() {
	f.Helper()
	var revoke []string
	for line := range strings.SplitSeq(f.statement, ";\n") {
		if after, found := strings.CutPrefix(line, "GRANT "); found {
			revoke = append(revoke, "REVOKE "+strings.Replace(after, " TO {lease}", " FROM {lease}", 1))
		}
	}
	script := strings.Join(append(revoke, "DROP ROLE {lease}"), ";\n")
	err := f.with(func(ctx context.Context, conn *pgx.Conn) error {
		for len(f.roles) > 0 {
			if _, err := conn.Exec(ctx, strings.ReplaceAll(script, "{lease}", `"`+<-f.roles+`"`)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
}

// scramVerifier is what pg_authid keeps (RFC 5802 section 3, RFC 7677).
func scramVerifier(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$4096:%s$%s:%s", encode(salt), encode(stored[:]), encode(sign("Server Key"))), nil
}
