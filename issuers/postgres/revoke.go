package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

const (
	endTries  = 12                    // transactions that a late session, or another session's GRANT, disturbed
	endWithin = 10 * time.Second      // for the lease's sessions to go away
	endPause  = 10 * time.Millisecond // between two looks
)

// errSessions means that the lease still had a session when its role was about to go.
var errSessions = errors.New("sessions of the lease are still open")

// Revoke ends a lease, in the order that leaves no gap: no new login, no session, nothing owned, no role; then
// it looks whether that is so. What the lease wrote stays; what it owns goes to the configured owner.
// A role that is not there is no error.
func (i *Issuer) Revoke(ctx context.Context, name string, keep broker.Handle) error {
	if !broker.IsLeaseName(name) {
		return i.badName(name)
	}
	conn, err := i.ending.acquire(ctx)
	if err != nil {
		return i.fault("connecting", err)
	}
	defer i.ending.release(conn)
	e := &ending{Issuer: i, conn: conn, name: name}
	_ = json.Unmarshal(keep, &e.handle) // a handle that cannot be read must not stop the end: the name is enough
	if err := e.run(ctx); err != nil {
		return i.fault("ending the lease", err)
	}
	return nil
}

// ending is one Revoke.
type ending struct {
	*Issuer
	conn   *pgx.Conn
	name   string
	handle handle
}

func (e *ending) run(ctx context.Context) error {
	there, err := e.find(ctx)
	if err != nil {
		return err
	}
	if !there {
		return e.verify(ctx)
	}
	if err := e.noLogin(ctx); err != nil && stateOf(err) != stateUndefinedObject {
		return errors.Join(err, e.takeBack(ctx))
	}
	for try := 1; ; try++ {
		if err = e.attempt(ctx); err == nil {
			return e.verify(ctx)
		}
		again := errors.Is(err, errSessions) || isPassing(err) || stateOf(err) == stateDependentsExist
		if !again || try == endTries || ctx.Err() != nil {
			return err
		}
		pause(ctx, try)
	}
}

// noLogin stops new logins. The lease can hold its own row of pg_authid locked, by an ALTER ROLE … PASSWORD that it
// does not commit, or prepares: then its sessions and its prepared transactions go first, in the same breath.
func (e *ending) noLogin(ctx context.Context) error {
	alter := "SET LOCAL lock_timeout = '1s'; ALTER ROLE " + quote(e.name) + " NOLOGIN"
	kick := fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = %d; ", e.handle.OID)
	err := e.script(ctx, pointRevokeNoLogin, alter)
	for try := 1; try < endTries && (stateOf(err) == stateLockNotAvailable || isPassing(err)); try++ {
		if err := e.rollBackPrepared(ctx); err != nil {
			return err
		}
		err = e.script(ctx, pointRevokeNoLogin, kick+alter)
	}
	return err
}

// attempt is one try of everything after NOLOGIN. Whatever of it fails, the grants are taken back by themselves: a
// session that cannot be ended (a function of dblink that waits for another server hears no signal), or a role that cannot
// be dropped, is left with nothing.
func (e *ending) attempt(ctx context.Context) error {
	for _, step := range []func(context.Context) error{e.terminate, e.rollBackPrepared, e.elsewhere, e.drop} {
		if err := step(ctx); err != nil {
			return errors.Join(err, e.takeBack(ctx))
		}
	}
	return nil
}

// find asks for the role and its oid.
func (e *ending) find(ctx context.Context) (there bool, err error) {
	err = e.at(pointRevokeFind, func() error {
		var found uint32
		err := e.conn.QueryRow(ctx, "SELECT oid FROM pg_roles WHERE rolname = $1", e.name).Scan(&found)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		e.handle.OID, there = oid(found), err == nil
		return err
	})
	return there, err
}

// terminate ends the sessions, again and again until none is left: one may be logging in at this moment. Its time is up
// only between two looks: a query that is cut off takes the connection with it, and takeBack needs that.
func (e *ending) terminate(ctx context.Context) error {
	up := time.After(endWithin)
	for {
		var sessions int
		if err := e.at(pointRevokeTerminate, func() error {
			return e.conn.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usesysid = $1", uint32(e.handle.OID)).Scan(&sessions)
		}); err != nil {
			return err
		}
		if sessions == 0 {
			return nil
		}
		select {
		case <-time.After(endPause):
		case <-up:
			return fmt.Errorf("%w: %d", errSessions, sessions)
		case <-ctx.Done():
			return fmt.Errorf("%w: %d", errSessions, sessions)
		}
	}
}

// rollBackPrepared ends transactions that the lease prepared: they would outlive it, with their locks.
// Only their owner may, so the admin login takes the role for a moment.
func (e *ending) rollBackPrepared(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, "SELECT database, gid FROM pg_prepared_xacts WHERE owner = $1", e.name)
	if err != nil {
		return err
	}
	type prepared struct{ Database, GID string }
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := e.at(pointRevokePrepared, func() error {
			return e.in(ctx, p.Database, func(ctx context.Context, conn *pgx.Conn) error {
				if _, err := conn.Exec(ctx, "SET ROLE "+quote(e.name)); err != nil {
					return err
				}
				_, err := conn.Exec(ctx, "ROLLBACK PREPARED "+literal(p.GID))
				return err
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere clears what the lease has in other databases, where the configuration accepts that it connects.
func (e *ending) elsewhere(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, `
SELECT DISTINCT d.datname
FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 AND d.datname <> current_database()`, uint32(e.handle.OID))
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		if err := e.at(pointRevokeElsewhere, func() error { return e.in(ctx, database, e.give) }); err != nil {
			return err
		}
	}
	return nil
}

// openedSQL gives what takes back the privileges that the role $1 gave to others on its large objects. They would go to
// the owner with the object, and one for PUBLIC would look like a missing wall to every later audit.
const openedSQL = `
SELECT format('REVOKE ALL ON LARGE OBJECT %s FROM %s', string_agg(DISTINCT l.oid::text, ', '), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_largeobject_metadata l, aclexplode(l.lomacl) a
WHERE l.lomowner = $1 AND l.lomacl IS NOT NULL AND a.grantee <> l.lomowner
GROUP BY a.grantee`

// give hands what the role owns in this database to the owner, closed to everybody else, and takes every privilege from it.
func (e *ending) give(ctx context.Context, conn *pgx.Conn) error {
	statements, err := e.statementsOf(ctx, conn, openedSQL, uint32(e.handle.OID))
	if err != nil {
		return err
	}
	return runAll(ctx, conn, append(statements,
		fmt.Sprintf("REASSIGN OWNED BY %s TO %s", quote(e.name), quote(e.config.Settings.Owner)),
		"DROP OWNED BY "+quote(e.name)))
}

// statementsOf asks for SQL.
func (e *ending) statementsOf(ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// runAll runs statements in one round trip, all or none.
func runAll(ctx context.Context, conn *pgx.Conn, statements []string) error {
	_, err := conn.PgConn().Exec(ctx, strings.Join(statements, ";\n")).ReadAll()
	return err
}

// grantsSQL gives a REVOKE for each grant to the role $1 (named $2) in this database, with exactly the privileges
// that one grantor gave.
const grantsSQL = `
WITH held AS (
	SELECT classid, objid FROM pg_shdepend
	WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1 AND deptype = 'a'
		AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
), acl AS (
	SELECT format('DATABASE %I', d.datname) AS what, a.grantor, a.privilege_type
	FROM held JOIN pg_database d ON classid = 'pg_database'::regclass AND d.oid = objid, aclexplode(d.datacl) a
	WHERE a.grantee = $1
	UNION ALL
	SELECT format('SCHEMA %I', n.nspname), a.grantor, a.privilege_type
	FROM held JOIN pg_namespace n ON classid = 'pg_namespace'::regclass AND n.oid = objid, aclexplode(n.nspacl) a
	WHERE a.grantee = $1
	UNION ALL
	SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname), a.grantor, a.privilege_type
	FROM held JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
	WHERE a.grantee = $1
)
SELECT format('REVOKE %s ON %s FROM %I', string_agg(privilege_type, ', '), what, $2::text) FROM acl GROUP BY what, grantor`

// revokeGrants takes back what Issue granted, as it was granted. DROP OWNED alone does not: it revokes every
// kind of privilege at once, as the one role among the admin's that could grant them all (the owner), and
// leaves what the admin login granted by its own grant option.
func (e *ending) revokeGrants(ctx context.Context) error {
	statements, err := e.statementsOf(ctx, e.conn, grantsSQL, uint32(e.handle.OID), e.name)
	if err != nil || len(statements) == 0 {
		return err
	}
	return runAll(ctx, e.conn, statements)
}

// takeBack takes back the grants and nothing else, for an end that cannot be completed now.
func (e *ending) takeBack(ctx context.Context) error {
	unlock, err := e.turn.take(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return e.revokeGrants(ctx)
}

// in does something in a database over a connection of its own.
func (e *ending) in(ctx context.Context, database string, do func(context.Context, *pgx.Conn) error) error {
	conn, err := dial(ctx, e.route.other(database))
	if err != nil {
		return err
	}
	defer shut(conn)
	return do(ctx, conn)
}

// drop gives back and drops in one transaction, which it rolls back if a session has appeared meanwhile.
func (e *ending) drop(ctx context.Context) error {
	unlock, err := e.turn.take(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var tx pgx.Tx
	if err := e.at(pointRevokeBegin, func() (err error) { tx, err = e.conn.Begin(ctx); return err }); err != nil {
		return err
	}
	defer rollBack(tx)
	if err := e.at(pointRevokeReassign, func() error {
		if err := e.revokeGrants(ctx); err != nil {
			return err
		}
		return e.give(ctx, e.conn)
	}); err != nil {
		return e.goneIf(err)
	}
	if err := e.script(ctx, pointRevokeDrop, "DROP ROLE "+quote(e.name)); err != nil {
		return e.goneIf(err)
	}
	if err := e.at(pointRevokeSessions, func() error { return e.noSessions(ctx, tx, "true") }); err != nil {
		return err
	}
	return e.at(pointRevokeCommit, func() error { return tx.Commit(ctx) })
}

// goneIf makes success of finding that another Revoke was first.
func (e *ending) goneIf(err error) error {
	if stateOf(err) == stateUndefinedObject {
		return nil
	}
	return err
}

// noSessions fails if there is a session of the role's oid for which also holds what condition says.
func (e *ending) noSessions(ctx context.Context, on querier, condition string) error {
	var sessions int
	// A transaction keeps its first view of the sessions unless it is told to look again.
	err := on.QueryRow(ctx, "SELECT count(*) FROM (SELECT pg_stat_clear_snapshot() OFFSET 0) AS fresh, LATERAL (SELECT FROM pg_stat_activity WHERE usesysid = $1 AND "+condition+" OFFSET 0) AS session", uint32(e.handle.OID)).Scan(&sessions)
	if err == nil && sessions > 0 {
		return fmt.Errorf("%w: %d", errSessions, sessions)
	}
	return err
}

// verify looks once more from outside the transaction: no such role, and no session whose role is gone.
func (e *ending) verify(ctx context.Context) error {
	return e.at(pointRevokeVerify, func() error {
		var there bool
		if err := e.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", e.name).Scan(&there); err != nil {
			return err
		}
		if there {
			return fmt.Errorf("the role is still there")
		}
		if e.handle.OID == 0 {
			return nil // it never was, or it was ended without us: sessions of an oid that we do not know cannot be told
		}
		const orphaned = "NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = usesysid)"
		if err := e.noSessions(ctx, e.conn, orphaned); !errors.Is(err, errSessions) {
			return err
		}
		// Only a member of pg_signal_backend may end a session whose role is gone; if the admin login is none, this fails
		// and the lease stays stuck, which is alarmed.
		if _, err := e.conn.Exec(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usesysid = $1 AND "+orphaned, uint32(e.handle.OID)); err != nil {
			return err
		}
		return e.noSessions(ctx, e.conn, orphaned)
	})
}

func (e *ending) script(ctx context.Context, point, sql string) error {
	return e.at(point, func() error { return runAll(ctx, e.conn, []string{sql}) })
}
