package readme

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// What the terminal shows and a human reads there.
const (
	address = `(http://localhost:\d+[^\s]*)`
	oneTime = `\b([0-9a-z]{5}(?:-[0-9a-z]{5}){3})\b`
)

// isNew: nothing of us is there before.
func (n *newcomer) isNew(command string) {
	n.Helper()
	if _, status := n.try("hourkeyd version"); status != 127 {
		n.Fatal("hourkeyd was there before it was installed")
	}
	n.run(command)
}

// edits: the example's owner stands in the file already, so that the one edit is to look.
func (n *newcomer) edits(command string) {
	n.Helper()
	n.run(command)
	n.run("grep 'owner: orders_owner' environments/staging.yaml")
}

// exports: the README's line keeps a DSN that is given. Its login does not exist yet.
func (n *newcomer) exports(command string) {
	n.Helper()
	n.run("export STAGING_ADMIN_DSN=" + n.server.DSN("hourkey_admin", n.password, "orders"))
	n.run(command)
}

// checks until there is nothing left to mend, running as a superuser what check prints, and only that.
func (n *newcomer) checks(command string) {
	n.Helper()
	said := ""
	for range 4 {
		output, status := n.try(command)
		if said += output; status != 0 {
			n.mend(output)
			continue
		}
		for _, hole := range []string{"hourkey_admin", "billing", "purge", "schema public"} {
			if !strings.Contains(said, hole) {
				n.Errorf("check said nothing of %s", hole)
			}
		}
		return
	}
	n.Fatalf("%s is still not content after 4 rounds of what it printed", command)
}

var (
	statement = regexp.MustCompile(`(?m)^ +(?:mend: +)?([A-Z]+ [^\n]*;[^\n]*)$`)
	elided    = "PASSWORD '…'" // the newcomer's own goes here
)

// mend runs the SQL of check's output in psql, line by line.
func (n *newcomer) mend(output string) {
	n.Helper()
	var sql strings.Builder
	for _, found := range statement.FindAllStringSubmatch(output, -1) {
		sql.WriteString(strings.ReplaceAll(found[1], elided, "PASSWORD '"+n.password+"'") + "\n")
	}
	if sql.Len() == 0 {
		n.Fatal("check refuses, and prints no SQL that mends it")
	}
	psql := exec.Command("psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", n.server.SuperuserDSN("orders"))
	psql.Stdin = strings.NewReader(sql.String())
	said, err := psql.CombinedOutput()
	n.Logf("as superuser:\n%s%s", sql.String(), said)
	if err != nil {
		n.Fatalf("what check printed is not SQL that a superuser can run: %v", err)
	}
}

// serves: the broker runs on behind the shell; the test ends it by its process id.
func (n *newcomer) serves(command string) {
	n.Helper()
	n.run(command)
	id, err := strconv.Atoi(strings.TrimSpace(n.run("echo $!")))
	if err != nil {
		n.Fatal(err)
	}
	n.broker = id
	n.Cleanup(func() {
		if n.Failed() {
			log, _ := os.ReadFile(filepath.Join(n.home, "hourkey", "hourkeyd.log"))
			n.Logf("hourkeyd.log:\n%s", log)
		}
		if n.broker == 0 {
			return
		}
		_ = syscall.Kill(id, syscall.SIGTERM)
		for range 100 { // it writes into the home that is about to be removed
			if syscall.Kill(id, 0) != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		_ = syscall.Kill(id, syscall.SIGKILL)
	})
}

// makesPasskey and confirms that staging is staging.
func (n *newcomer) makesPasskey(command string) {
	n.Helper()
	output := n.run(command)
	invite := find(n.T, output, address)
	at, err := url.Parse(invite)
	if err != nil {
		n.Fatal(err)
	}
	n.origin = at.Scheme + "://" + at.Host
	n.page.enrols(invite, "alice", find(n.T, output, oneTime))
	n.page.follows("/targets/staging/orders-db")
	n.page.sees("says that it is")
	n.page.signs("Nothing waits for you")
}

// addsAgent notes the agent's one-time code.
func (n *newcomer) addsAgent(command string) {
	n.Helper()
	n.code = find(n.T, n.run(command), oneTime)
}

// enrols types the code, compares thumbprints, and signs the agent's key.
func (n *newcomer) enrols(command string) {
	n.Helper()
	n.begins(command)
	n.awaits(regexp.MustCompile(`One-time code[^\n]*: `))
	n.types(n.code)
	output, status := n.ends()
	if status != 0 {
		n.Fatal("enrolling failed")
	}
	if strings.Contains(output, n.code) {
		n.Error("the terminal shows the one-time code")
	}
	n.page.opens(n.origin)
	n.page.follows("/agents/claude-code")
	n.page.sees(find(n.T, output, `thumbprint (\S+)`))
	n.page.signs("Nothing waits for you")
}

// reads what the agent may do.
func (n *newcomer) reads(command string) {
	n.Helper()
	if output := n.run(command); !strings.Contains(output, "fix-orders-data") {
		n.Error("hourkey tasks does not list the README's task")
	}
}

// updates a row, with a role that is gone when the command is.
func (n *newcomer) updates(command string) {
	n.Helper()
	if output := n.run(command); !strings.Contains(output, "UPDATE 1") {
		n.Error("psql did not say that it updated one row")
	}
	if state := n.query("SELECT state FROM public.orders WHERE id = 7"); state != "open" {
		n.Errorf("row 7 is %s", state)
	}
	n.nobodyIsLeft()
	inherited := n.run("hourkey exec --task fix-orders-data --environment staging -- env")
	if strings.Contains(inherited, n.password) || !strings.Contains(inherited, "\nPGUSER=hk-") {
		n.Error("what the agent runs has the broker's own login, or no login")
	}
	if output, status := n.try(strings.Replace(command, "UPDATE public.orders SET state = 'open'", "DELETE FROM public.orders", 1)); status == 0 || !strings.Contains(output, "permission denied") {
		n.Error("routine work deleted a row")
	}
}

// asks: the id goes into REQUEST, the page's address to the terminal; 4 means that a human has to decide.
func (n *newcomer) asks(command string) {
	n.Helper()
	output, status := n.try(command)
	if status != 4 {
		n.Errorf("hourkey request ended with status %d, expected 4", status)
	}
	n.asked = find(n.T, output, `Approve at: `+address)
}

// approves on the page, while the agent waits.
func (n *newcomer) approves(command string) {
	n.Helper()
	n.begins(command)
	n.page.opens(n.asked)
	n.page.sees("Exactly what would be issued")
	if words := n.page.ask(`document.querySelector(".words").innerText`); words != "duplicates of import 12" {
		n.Errorf("the agent's words on the page are %q", words)
	}
	n.page.signs("Approved, not collected yet")
	if _, status := n.ends(); status != 0 {
		n.Fatal("an approved request was not told to the agent")
	}
}

// deletes the row that was meant, and leaves no role behind.
func (n *newcomer) deletes(command string) {
	n.Helper()
	if output := n.run(command); !strings.Contains(output, "DELETE 1") {
		n.Error("psql did not say that it deleted one row")
	}
	if rows := n.query("SELECT string_agg(id::text, ' ' ORDER BY id) FROM public.orders"); rows != "1 2 3 4 5 6 7 9 10" {
		n.Errorf("the rows are %s", rows)
	}
	n.nobodyIsLeft()
	n.page.opens(n.asked)
	n.page.shoot()
}

// outlives: a key that nobody gave back is dead when its time is over. (Not in the README: nobody wants to
// wait there.)
func (n *newcomer) outlives(command string) {
	n.Helper()
	for ttl := 3; ; ttl *= 4 { // on a machine that stood still, the first may have been over before
		n.run(fmt.Sprintf(`eval "$(hourkey credential env --task fix-orders-data --environment staging --ttl %ds)"`, ttl))
		if _, status := n.try(`psql -c "SELECT count(*) FROM public.orders"`); status == 0 {
			break
		}
		if ttl > 30 {
			n.Fatal("a fresh key does not work")
		}
	}
	n.run(command)
	late := time.Now().Add(3 * time.Minute)
	for n.leases() != "0" && time.Now().Before(late) {
		time.Sleep(200 * time.Millisecond)
	}
	n.nobodyIsLeft()
	if output, status := n.try(`psql -c "SELECT count(*) FROM public.orders"`); status == 0 || !strings.Contains(output, "authentication failed") {
		n.Error("the key outlives its lease")
	}
	n.run("unset DATABASE_URL ${!PG*}")
	n.run(command)
}

// verifies the log, and that a changed one is found out.
func (n *newcomer) verifies(command string) {
	n.Helper()
	n.run(command)
	n.run(`grep -q hourkey.lease.ended log.jsonl`)
	n.run(`sed '0,/claude-code/s//claude-c0de/' log.jsonl > edited.jsonl`)
	if _, status := n.try(strings.Replace(command, "log.jsonl", "edited.jsonl", 1)); status != 1 {
		n.Error("an edited log verifies")
	}
}

// stops the broker, as the README says below the commands.
func (n *newcomer) stops() {
	n.Helper()
	n.run("kill %1 && wait %1")
	n.broker = 0
}

// query asks the database as its superuser for one text.
func (n *newcomer) query(sql string) (answer string) {
	n.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, n.server.SuperuserDSN("orders"))
	if err != nil {
		n.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(&answer); err != nil {
		n.Fatal(err)
	}
	return answer
}

// leases counts the roles of leases that the server has.
func (n *newcomer) leases() string {
	n.Helper()
	return n.query(`SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'hk-%'`)
}

func (n *newcomer) nobodyIsLeft() {
	n.Helper()
	if count := n.leases(); count != "0" {
		n.Errorf("%s roles of leases that ended are left", count)
	}
}
