//go:build failpoint

package system

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/web/api"
)

const killsPerPoint = 5

// points are every commit and every provider call of issuing and ending: the broker's own, and each
// statement that goes to PostgreSQL.
func points() []string {
	var all []string
	for _, name := range []string{"issue.intent", "issue.provider", "issue.live", "end.order", "end.provider", "end.done"} {
		all = append(all, name+".before", name+".after")
	}
	for _, name := range postgres.Failpoints() {
		all = append(all, "before "+name, "after "+name)
	}
	return all
}

func isIssuing(point string) bool {
	return strings.HasPrefix(point, "issue") || strings.Contains(point, " issue ")
}

// outcome is what the kills at one point left behind, after a restart and a sweep.
type outcome struct {
	point             string
	kills, inRecovery int // inRecovery: of the kills, in the sweep after another
	restarts, logs    int // after which roles and leases agreed; whose log verified
	live              int // leases that were alive after a restart, with their roles
	roles, open       int // left in the end
}

// TestCrashAtEveryStep kills the broker as kill -9 does, at each point at least five times, and starts it
// again: no role without a live lease, no live lease without a role, and the log verifies.
func TestCrashAtEveryStep(t *testing.T) {
	c := newCrash(t)
	var outcomes []outcome
	for _, point := range points() {
		o := outcome{point: point}
		for o.kills < killsPerPoint && !t.Failed() {
			c.kill(&o)
			c.check(&o)
		}
		outcomes = append(outcomes, o)
	}
	report(outcomes)
}

// crash is the installation that is killed; its key of the log is known from the start.
type crash struct {
	*installation
	prefix, logKey, annex string
	serial                int
}

func newCrash(t *testing.T) *crash {
	i := install(t)
	c := &crash{installation: i, prefix: i.prefix(), logKey: i.status().LogKey, annex: "annex_" + i.staging.name}
	i.broker.kill()
	i.binary = shared.hourkeyd(t, "failpoint")
	// Where a lease could come to own something outside its database: only a superuser can do that to it.
	i.staging.Exec(t, "postgres", "CREATE DATABASE "+c.annex+" TEMPLATE template0 ALLOW_CONNECTIONS false",
		"REVOKE CONNECT, TEMPORARY ON DATABASE "+c.annex+" FROM PUBLIC", "GRANT CONNECT ON DATABASE "+c.annex+" TO "+i.staging.admin,
		"ALTER DATABASE "+c.annex+" ALLOW_CONNECTIONS true")
	return c
}

// kill brings the broker to the point, where it dies; when it ends a lease, once more in its recovery.
func (c *crash) kill(o *outcome) {
	c.Helper()
	p := c.launch("HOURKEY_FAILPOINT=" + o.point)
	if c.answers(p) {
		c.provoke(o.point)
	}
	if !p.died(patience) || !p.killed() {
		c.Fatalf("%s was not reached:\n%s", o.point, c.log())
	}
	o.kills++
	if isIssuing(o.point) || o.kills%2 == 0 {
		return
	}
	if again := c.launch("HOURKEY_FAILPOINT=" + o.point); again.died(time.Second) {
		if !again.killed() {
			c.Fatalf("%s: the broker does not start:\n%s", o.point, c.log())
		}
		o.kills++
		o.inRecovery++
	} else {
		again.kill()
	}
}

// killed tells whether the process that ended was killed, and did not give up by itself.
func (p *process) killed() bool {
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// provoke does what leads to the point. The broker dies meanwhile, so that nothing needs to succeed.
func (c *crash) provoke(point string) {
	key, err := c.agent.get(c.Context(), "staging", time.Minute)
	if isIssuing(point) {
		return
	}
	must(c, err)
	c.serial++
	if strings.Contains(point, "prepared") {
		c.leavePrepared(key)
	}
	if strings.Contains(point, "elsewhere") {
		table := fmt.Sprintf("public.left_%d", c.serial)
		c.staging.Exec(c, c.annex, "CREATE TABLE "+table+" ()", "ALTER TABLE "+table+` OWNER TO "`+key.Values["PGUSER"].Reveal()+`"`)
	}
	_ = c.agent.release(c.Context(), key.Lease)
}

// leavePrepared has the lease prepare a transaction, which would outlive its session.
func (c *crash) leavePrepared(key api.Credential) {
	c.Helper()
	conn, err := login(c.Context(), key, "")
	must(c, err)
	defer shut(conn)
	for _, sql := range []string{"BEGIN", "INSERT INTO public.orders (state) VALUES ('never')", fmt.Sprintf("PREPARE TRANSACTION 'left_%d'", c.serial)} {
		_, err := conn.Exec(c.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		must(c, err)
	}
}

// check starts the broker without a failpoint and compares, then ends what a crash after the last commit
// of issuing left alive, rightly.
func (c *crash) check(o *outcome) {
	c.Helper()
	c.serve()
	eventually(c, func() error { return c.accounted(c.prefix) })
	o.restarts++
	if err := c.verify(); err != nil {
		c.Errorf("%s: the log: %v", o.point, err)
	} else {
		o.logs++
	}
	for _, lease := range c.leases(false) {
		o.live++
		must(c, c.revoke(lease.ID))
	}
	o.roles, o.open = len(c.staging.roles(c, c.prefix)), len(c.leases(false))
	if o.roles+o.open > 0 {
		c.Errorf("%s: %d roles and %d leases are left", o.point, o.roles, o.open)
	}
	if n := c.staging.number(c, "SELECT count(*) FROM pg_prepared_xacts"); n > 0 {
		c.Errorf("%s: %d prepared transactions are left", o.point, n)
	}
	c.broker.kill()
}

// verify exports the log over the admin socket and proves it.
func (c *crash) verify() error {
	client, err := admin.Dial(c.path("data"))
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(c.dir, "log")
	if err != nil {
		return err
	}
	defer func() { _ = file.Close(); _ = os.Remove(file.Name()) }()
	if err := client.Stream(context.Background(), "/export", file); err != nil {
		return err
	}
	if _, err := file.Seek(0, 0); err != nil {
		return err
	}
	_, err = auditlog.Verify(file, c.logKey, nil)
	return err
}

func report(outcomes []outcome) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAILPOINT\tKILLS\t(IN RECOVERY)\tRESTARTS, ALL ACCOUNTED\tLOG OK\tLIVE, AND AT THE PROVIDER\tLEFT THERE\tLEASES LEFT")
	kills, restarts := 0, 0
	for _, o := range outcomes {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", o.point, o.kills, o.inRecovery, o.restarts, o.logs, o.live, o.roles, o.open)
		kills += o.kills
		restarts += o.restarts
	}
	fmt.Fprintf(t, "%d points\t%d\t\t%d\n", len(outcomes), kills, restarts)
	_ = t.Flush()
}
