package system

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// dead wants that nothing is left of a key but what it wrote.
func (i *installation) dead(key api.Credential, session *pgx.Conn, rows int) {
	i.Helper()
	role := key.Values["PGUSER"].Reveal()
	eventually(i, func() error {
		if _, err := session.Exec(context.Background(), "SELECT 1"); err == nil {
			return fmt.Errorf("the open session goes on")
		}
		if roles := i.staging.roles(i, role); len(roles) > 0 {
			return fmt.Errorf("the role is there")
		}
		return nil
	})
	if err := run(i.Context(), key, "SELECT 1"); state(err) != invalidPassword {
		i.Errorf("logging in after the end: got %v", err)
	}
	if n := i.staging.number(i, "SELECT count(*) FROM public.orders WHERE state = $1", role); n != rows {
		i.Errorf("%d of its rows are there, want %d", n, rows)
	}
	if n := i.staging.number(i, "SELECT count(*) FROM pg_largeobject_metadata WHERE pg_get_userbyid(lomowner) = $1", i.staging.owner); n == 0 {
		i.Error("its large object did not go to the owner")
	}
}

// use logs in and writes: a row, and something that the role owns.
func (i *installation) use(key api.Credential) (*pgx.Conn, error) {
	session, err := login(i.Context(), key, "")
	if err != nil {
		return nil, err
	}
	i.Cleanup(func() { shut(session) })
	if _, err = session.Exec(i.Context(), "INSERT INTO public.orders (state) VALUES (current_user)"); err != nil {
		return nil, err
	}
	_, err = session.Exec(i.Context(), "SELECT lo_create(0)")
	return session, err
}

// inUse gives a key of staging, and a session that was begun within its time. On a machine that stood still a short time may have
// been over before; then the next key has twice as much.
func (i *installation) inUse(ttl time.Duration) (key api.Credential, session *pgx.Conn) {
	i.Helper()
	for {
		key = i.key(ttl)
		session, err := i.use(key)
		if err == nil {
			return key, session
		}
		if time.Now().Before(key.Expires) || ttl > patience {
			i.Fatalf("using a key of %s: %v", ttl, err)
		}
		ttl *= 2
	}
}

func TestKeyUsedAfterItsEnd(t *testing.T) {
	t.Parallel()
	i := install(t)
	for _, end := range []struct {
		how string
		ttl time.Duration
		do  func(key api.Credential) error
	}{
		{"TTL", 3 * time.Second, func(key api.Credential) error {
			time.Sleep(time.Until(key.Expires))
			if err := run(t.Context(), key, "SELECT 1"); state(err) != invalidPassword && state(err) != notPermitted {
				t.Errorf("a login at the TTL: got %v", err)
			}
			return nil
		}},
		{"release", time.Minute, func(key api.Credential) error { return i.agent.release(t.Context(), key.Lease) }},
		{"revoke", time.Minute, func(key api.Credential) error { return i.revoke(key.Lease) }},
		{"freeze of the environment", time.Minute, func(api.Credential) error { return i.freeze(broker.FreezeEnvironment, "staging") }},
		{"freeze of the agent", time.Minute, func(api.Credential) error { return i.freeze(broker.FreezeAgent, agentName) }},
		{"freeze of everything", time.Minute, func(api.Credential) error { return i.freeze(broker.FreezeAll, "") }},
	} {
		key, session := i.inUse(end.ttl)
		if err := end.do(key); err != nil {
			t.Errorf("%s: %v", end.how, err)
		}
		i.dead(key, session, 1)
		for _, freeze := range i.status().Freezes {
			_, err := i.agent.get(t.Context(), "staging", 0)
			refused(t, "asking in spite of "+freeze.ID(), err, api.CodeFrozen)
			i.lift(freeze.ID())
		}
		t.Logf("%s: dead", end.how)
	}
	i.none()
}

// TestKillTheBrokerAndOutliveTheTTL: PostgreSQL's own clock ends the logins; the session that is open
// goes on, as declared, and ends when a broker is there again.
func TestKillTheBrokerAndOutliveTheTTL(t *testing.T) {
	t.Parallel()
	i := install(t)
	key, session := i.inUse(3 * time.Second)
	i.broker.kill()
	if err := run(t.Context(), key, "SELECT 1"); err != nil && time.Now().Before(key.Expires) {
		t.Errorf("before the TTL: %v", err)
	}
	time.Sleep(time.Until(key.Expires) + 100*time.Millisecond)
	if err := run(t.Context(), key, "SELECT 1"); state(err) != invalidPassword {
		t.Errorf("a login after the TTL, without a broker: got %v", err)
	}
	if _, err := session.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Logf("the open session ended by itself: %v", err)
	}
	i.serve()
	i.dead(key, session, 1)
	i.none()
}

// TestLeaseResistsItsEnd: what a lease does to stay has no effect on its end.
func TestLeaseResistsItsEnd(t *testing.T) {
	t.Parallel()
	i := install(t)
	for _, sql := range []string{
		`ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`,
		`ALTER ROLE CURRENT_USER PASSWORD 'chosen-by-the-agent'`,
		`ALTER ROLE CURRENT_USER SET statement_timeout = 1`,
		`ALTER ROLE CURRENT_USER SET role = 'postgres'`,
		`DO $$ BEGIN EXECUTE 'GRANT ' || quote_ident(current_user) || ' TO ` + i.staging.owner + `'; END $$`,
		`DO $$ BEGIN EXECUTE 'GRANT ' || quote_ident(current_user) || ' TO ` + i.staging.admin + ` WITH ADMIN OPTION'; END $$`,
		`SELECT lo_create(0) FROM generate_series(1, 2000)`,
		`BEGIN; LOCK TABLE public.orders IN ROW EXCLUSIVE MODE; UPDATE public.orders SET state = 'held'; SELECT pg_sleep(60)`,
		`SELECT pg_sleep(60)`,
		`SELECT pg_notify('x', 'y')`,
	} {
		key := i.key(10 * time.Minute)
		role := key.Values["PGUSER"].Reveal()
		done := make(chan error, 1)
		go func() { done <- run(t.Context(), key, sql) }()
		select {
		case err := <-done:
			t.Logf("%s: %v", sql, err)
		case <-time.After(500 * time.Millisecond):
			t.Logf("%s: running", sql)
		}
		began := time.Now()
		if err := i.agent.release(t.Context(), key.Lease); err != nil {
			t.Errorf("%s: release: %v", sql, err)
		}
		if slices.Contains(i.staging.roles(t, "hk-"), role) {
			t.Errorf("%s: the role is there after %s", sql, time.Since(began))
		}
	}
	i.none()
}
