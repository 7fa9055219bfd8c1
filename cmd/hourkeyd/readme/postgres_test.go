package readme

import (
	"crypto/rand"
	"os/exec"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

// newcomer is somebody who does what the section "Your own Postgres" says.
type newcomer struct {
	*shell

	page     *browser
	server   *pgtest.Server
	password string // that the newcomer chose for the broker's login
	broker   int    // process id, while it runs
	origin   string // of the pages, as the terminal told it
	code     string // one-time, of the agent
	asked    string // the page of the request, as the terminal told it
}

// moment is a command of the README at which more happens than that it runs and succeeds.
type moment struct {
	begins string
	do     func(n *newcomer, command string)
}

// moments are in the README's order; each must come up.
var moments = []moment{
	{"go install", (*newcomer).isNew},
	{"hourkeyd init", (*newcomer).edits},
	{"export STAGING_ADMIN_DSN=", (*newcomer).exports},
	{"hourkeyd check --live", (*newcomer).checks},
	{"hourkeyd serve", (*newcomer).serves},
	{"hourkeyd human invite", (*newcomer).makesPasskey},
	{"hourkeyd agent add", (*newcomer).addsAgent},
	{"hourkey enroll", (*newcomer).enrols},
	{"hourkey tasks", (*newcomer).reads},
	{"hourkey exec --task", (*newcomer).updates},
	{"REQUEST=", (*newcomer).asks},
	{"hourkey wait", (*newcomer).approves},
	{"hourkey exec --request", (*newcomer).deletes},
	{"hourkeyd leases", (*newcomer).outlives},
	{"hourkeyd audit verify", (*newcomer).verifies},
}

// TestYourOwnPostgres goes the whole way: init, one edit, check --live, serve, enrol, tasks, exec psql, ask
// for delete, approve with a passkey, delete, expiry, audit verify.
func TestYourOwnPostgres(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil {
		absent(t, "no psql here: install it (Debian: apt-get install postgresql-client) to do what README.md tells")
	}
	mustBeFree(t, "127.0.0.1:8750")
	n := &newcomer{page: newBrowser(t), server: pgtest.Start(t), shell: newShell(t), password: rand.Text()}
	n.database()
	all, next := commands(section(t, "Your own Postgres")), 0
	for _, command := range all {
		if next < len(moments) && strings.HasPrefix(command, moments[next].begins) {
			moments[next].do(n, command)
			next++
		} else {
			n.run(command)
		}
	}
	if next < len(moments) {
		t.Errorf("README.md has no command that begins with %q, at its place in the order", moments[next].begins)
	}
	n.stops()
	t.Logf("%d commands in the README, %d taps, %d fields", len(all), n.page.taps, n.page.typed)
}

// database makes what the README says that the example has, on a server as they are: another database with
// somebody's tables, and ways around a lease that check must find and its SQL must close.
func (n *newcomer) database() {
	n.Helper()
	n.server.Exec(n.T, "postgres", "CREATE ROLE orders_owner", "CREATE DATABASE orders OWNER orders_owner", "CREATE DATABASE billing")
	n.server.Exec(n.T, "billing", "CREATE TABLE invoices (id bigint)")
	n.server.Exec(n.T, "orders", "GRANT CREATE ON SCHEMA public TO PUBLIC", "SET ROLE orders_owner",
		"CREATE TABLE public.orders (id bigint PRIMARY KEY, state text NOT NULL)", "CREATE TABLE public.customers (id bigserial PRIMARY KEY, name text)",
		"INSERT INTO public.orders SELECT i, 'stuck' FROM generate_series(1, 10) i",
		"CREATE FUNCTION public.purge() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders'")
}
