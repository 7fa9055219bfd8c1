package system

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
	"github.com/hourkey/hourkey/web/api"
)

// machine is what all tests share: hourkeyd, built once per tag, and one PostgreSQL.
type machine struct {
	mu       sync.Mutex
	dir      string
	binaries map[string]string // build tag → hourkeyd
	server   *pgtest.Server
	refused  error // why there is no server
	made     int   // databases
}

var shared machine

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // a group that can write would be refused, and rightly
	code := m.Run()
	if shared.server != nil {
		shared.server.Stop()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// hourkeyd gives the binary that is built with a tag, or none.
func (m *machine) hourkeyd(tb testing.TB, tag string) string {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.binaries[tag] != "" {
		return m.binaries[tag]
	}
	if m.dir == "" {
		dir, err := os.MkdirTemp("", "hourkey-system-")
		must(tb, err)
		m.dir, m.binaries = dir, map[string]string{}
	}
	path := filepath.Join(m.dir, "hourkeyd"+tag)
	if out, err := exec.Command("go", "build", "-tags", tag, "-o", path, "..").CombinedOutput(); err != nil {
		tb.Fatalf("building hourkeyd: %v\n%s", err, out)
	}
	m.binaries[tag] = path
	return path
}

// postgres gives the server. Nothing on it outlives the test, so it need not sync.
func (m *machine) postgres(tb testing.TB) *pgtest.Server {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil && m.refused == nil {
		m.server, m.refused = pgtest.New("max_prepared_transactions=10", "fsync=off", "full_page_writes=off")
		if m.server != nil {
			m.server.Exec(tb, "postgres", "REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC")
		}
	}
	if errors.Is(m.refused, pgtest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		tb.Skip(m.refused)
	}
	must(tb, m.refused)
	return m.server
}

// database is one environment's.
type database struct {
	*pgtest.Server
	name, owner     string
	admin, password string // the broker's login
}

const schema = `
CREATE TABLE public.orders (id serial PRIMARY KEY, state text);
CREATE TABLE public.customers (id int PRIMARY KEY, name text);
CREATE TABLE public.secrets (id int, value text);
INSERT INTO public.orders (state) SELECT 'new' FROM generate_series(1, 100);
INSERT INTO public.customers SELECT n, 'customer ' || n FROM generate_series(1, 10) n;
INSERT INTO public.secrets VALUES (1, 'not yours');
CREATE FUNCTION public.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders';
REVOKE EXECUTE ON FUNCTION public.wipe() FROM PUBLIC;`

// database makes one as the documentation says. It is not open to anybody before its wall stands: other
// tests audit the same server meanwhile.
func (m *machine) database(tb testing.TB, environment string) *database {
	tb.Helper()
	server := m.postgres(tb)
	m.mu.Lock()
	m.made++
	d := &database{Server: server, name: fmt.Sprintf("%s_%d", environment, m.made), password: rand.Text()}
	m.mu.Unlock()
	d.owner, d.admin = "owner_"+d.name, "hourkey_"+d.name
	d.Exec(tb, "postgres", "CREATE ROLE "+d.owner,
		"CREATE DATABASE "+d.name+" OWNER "+d.owner+" TEMPLATE template0 ALLOW_CONNECTIONS false",
		"REVOKE CONNECT, TEMPORARY ON DATABASE "+d.name+" FROM PUBLIC", "ALTER DATABASE "+d.name+" ALLOW_CONNECTIONS true")
	d.Exec(tb, d.name, "SET ROLE "+d.owner+";"+schema)
	for line := range strings.Lines(postgres.AdminSQL(d.admin, d.name, d.owner)) {
		d.Exec(tb, d.name, strings.Replace(line, "…", d.password, 1))
	}
	return d
}

func (d *database) dsn() string { return d.DSN(d.admin, d.password, d.name) }

// number asks the superuser for one.
func (d *database) number(tb testing.TB, sql string, args ...any) (n int) {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), d.SuperuserDSN(d.name))
	must(tb, err)
	defer shut(conn)
	must(tb, conn.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// roles lists the roles of the whole server whose names begin so.
func (d *database) roles(tb testing.TB, prefix string) []string {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), d.SuperuserDSN(d.name))
	must(tb, err)
	defer shut(conn)
	rows, err := conn.Query(context.Background(), "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, $1)", prefix)
	must(tb, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(tb, err)
	slices.Sort(names)
	return names
}

// hold keeps every issue and end at this database waiting, until the returned function is called.
func (d *database) hold(tb testing.TB) (release func()) {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), d.SuperuserDSN(d.name))
	must(tb, err)
	_, err = conn.Exec(context.Background(), "BEGIN; GRANT CONNECT ON DATABASE "+pgx.Identifier{d.name}.Sanitize()+" TO postgres")
	must(tb, err)
	return sync.OnceFunc(func() { shut(conn) })
}

// The SQLSTATEs of refusals (PostgreSQL, appendix A).
const (
	insufficientPrivilege = "42501"
	invalidPassword       = "28P01"
	notPermitted          = "28000" // NOLOGIN
)

func state(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// login connects as the holder of a credential does, to a database that he chooses (empty: the key's).
func login(ctx context.Context, c api.Credential, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(c.Values["DATABASE_URL"].Reveal())
	if err != nil {
		return nil, err
	}
	if database != "" {
		config.Database = database
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

// run logs in, runs one statement and leaves.
func run(ctx context.Context, c api.Credential, sql string) error {
	conn, err := login(ctx, c, "")
	if err != nil {
		return err
	}
	defer shut(conn)
	_, err = conn.Exec(ctx, sql)
	return err
}

func shut(conn *pgx.Conn) { _ = conn.Close(context.Background()) } // there is nobody to tell

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// patience is how long a test waits for what must come to pass. It takes far less; but the machine may do much else, and
// stand still for seconds.
const patience = time.Minute

// eventually tries until there is no error.
func eventually(tb testing.TB, try func() error) {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("after %s: %v", patience, err)
		}
	}
}
