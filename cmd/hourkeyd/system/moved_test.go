package system

import (
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

// TestTargetRenamedWhileALeaseLives: after a restart the broker does not know how to end what the target of
// the former name issued, though the same database is configured, under another name.
func TestTargetRenamedWhileALeaseLives(t *testing.T) {
	t.Parallel()
	i := install(t)
	key, session := i.inUse(6 * time.Second)
	for _, name := range []string{"environments/staging.yaml", "environments/production.yaml", "policies/tasks/orders.yaml"} {
		i.edit(name, "orders-db", "orders")
	}
	i.stop()
	i.serve()
	time.Sleep(time.Until(key.Expires))
	i.dead(key, session, 1)
}

// TestVariableLeadsElsewhereWhileALeaseLives: the variable leads to another server while a lease lives: the key is not ended, and must not be said to be.
func TestVariableLeadsElsewhereWhileALeaseLives(t *testing.T) {
	t.Parallel()
	other, err := pgtest.New("fsync=off")
	must(t, err)
	t.Cleanup(other.Stop)
	i := install(t)
	moved := *i.staging
	moved.Server = other
	other.Exec(t, "postgres", "CREATE ROLE "+moved.owner, "CREATE DATABASE "+moved.name+" OWNER "+moved.owner)
	for line := range strings.Lines(postgres.AdminSQL(moved.admin, moved.name, moved.owner)) {
		other.Exec(t, moved.name, strings.Replace(line, "…", moved.password, 1))
	}
	for how, dsn := range map[string]string{"another server": moved.dsn(), "production's database": i.production.dsn()} {
		key, session := i.inUse(8 * time.Second)
		i.stop()
		i.serve("STAGING_ADMIN_DSN=" + dsn)
		time.Sleep(time.Until(key.Expires) + 3*time.Second)
		_, err = session.Exec(t.Context(), "SELECT 1")
		alive := err == nil || len(i.staging.roles(t, key.Values["PGUSER"].Reveal())) > 0
		for _, lease := range i.leases(true) {
			if lease.ID == key.Lease && lease.State == broker.LeaseEnded && alive {
				t.Errorf("%s: the lease is said to be ended; its session: %v; roles %v", how, err, i.staging.roles(t, key.Values["PGUSER"].Reveal()))
			} else if lease.ID == key.Lease {
				t.Logf("%s: %s, alive %t", how, lease.State, alive)
			}
		}
		i.stop()
		i.serve()
		eventually(t, func() error {
			if len(i.staging.roles(t, key.Values["PGUSER"].Reveal())) > 0 {
				return errStillThere(how)
			}
			return nil
		})
		_, err = session.Exec(t.Context(), "SELECT 1")
		t.Logf("%s, back again: session %v", how, err)
	}
}
