package postgres

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

// probeFor is how long the answer of a probe is believed. A lease lives up to sixty times as long: what
// becomes wrong a minute later would not have been seen at its issue either.
const probeFor = time.Minute

// objectTrust is the finding for a server that does not want the password. It cannot be accepted.
const objectTrust = "password login"

// probes are what connections of their own found out: whether a wrong password is refused, and what lies
// in the other databases that the lease could connect to.
type probes struct {
	proved    time.Time // when a wrong password was last refused
	databases []otherDatabase
}

type otherDatabase struct {
	name  string
	empty bool
	holds string // in words
	at    time.Time
}

// probe gives fresh probes for the databases of the snapshot. One caller at a time does the work.
func (i *Issuer) probe(ctx context.Context, seen *snapshot, fresh bool) (probes, error) {
	select {
	case i.probing <- struct{}{}:
	case <-ctx.Done():
		return probes{}, ctx.Err()
	}
	defer func() { <-i.probing }()
	young := func(at time.Time) bool {
		age := i.config.Now().Sub(at)
		return !fresh && !at.IsZero() && age >= 0 && age < probeFor
	}
	if !young(i.probes.proved) {
		if err := i.proveLogin(ctx, seen.TLS); err != nil {
			return probes{}, err
		}
		i.probes.proved = i.config.Now()
	}
	known := map[string]otherDatabase{}
	for _, d := range i.probes.databases {
		known[d.name] = d
	}
	i.probes.databases = nil
	for _, name := range seen.Databases {
		d := known[name]
		if !young(d.at) {
			d = i.lookInto(ctx, name)
		}
		i.probes.databases = append(i.probes.databases, d)
	}
	return probes{proved: i.probes.proved, databases: append([]otherDatabase(nil), i.probes.databases...)}, ctx.Err()
}

// holdsSQL counts what is not PostgreSQL's own, nor a harmless part of an extension, nor what any lease can make there: one
// could stop every broker's issuing on this server. Large objects count when they are open.
const holdsSQL = `
SELECT
	(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
	(SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname !~ '^pg_temp_')
		+ (SELECT count(*) FROM pg_foreign_server)
		+ (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)' AND has_schema_privilege('public', oid, 'CREATE'))
		+ (SELECT count(*) FROM pg_largeobject_metadata l, aclexplode(l.lomacl) a
			WHERE l.lomacl IS NOT NULL AND a.grantee = 0 AND pg_get_userbyid(l.lomowner) !~ '^hk-[a-z0-9-]+$')`

// lookInto tells whether another database is provably empty. One that cannot be looked into is not.
func (i *Issuer) lookInto(ctx context.Context, name string) otherDatabase {
	d := otherDatabase{name: name, holds: "what the admin login cannot look into", at: i.config.Now()}
	conn, err := dial(ctx, i.route.other(name))
	if err != nil {
		d.at = time.Time{} // perhaps a passing fault: ask again next time
		return d
	}
	defer shut(conn)
	var tables, others int
	if err := conn.QueryRow(ctx, holdsSQL).Scan(&tables, &others); err != nil {
		d.at = time.Time{}
		return d
	}
	d.empty = tables == 0 && others == 0
	d.holds = "tables or other objects of its own"
	return d
}

// proveLogin logs in as a role that is not there, with a random password: over the configured route the
// server must answer that the password is wrong, as it does for every role when it asks for one. Then the same
// without TLS and with it: a lease can choose either, and pg_hba.conf can have a line for each.
func (i *Issuer) proveLogin(ctx context.Context, serverTLS bool) error {
	configured := i.route.admin.Copy()
	if refused, err := i.wrongLogin(ctx, configured); err != nil || refused != stateInvalidPassword {
		return i.trustError(refused, err)
	}
	if strings.HasPrefix(configured.Host, "/") {
		return nil
	}
	ways := []*tls.Config{nil}
	if serverTLS {
		// #nosec G402 -- nothing secret goes over this connection: it must fail at the login
		ways = append(ways, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	}
	for _, way := range ways {
		config := i.route.admin.Copy()
		config.TLSConfig, config.Fallbacks, config.ChannelBinding = way, nil, "disable"
		// No line for this way is as good as a wrong password: nobody logs in there.
		if refused, err := i.wrongLogin(ctx, config); err != nil || (refused != stateInvalidPassword && refused != stateNotAuthorized) {
			return i.trustError(refused, err)
		}
	}
	return nil
}

// wrongLogin gives the SQLSTATE with which the server refused, empty if it let us in or wanted the password
// in the clear. Under RequireAuth the client gives up at the moment a server that trusts says so, before the
// server goes on to say that there is no such role: so a SQLSTATE means a refusal.
func (i *Issuer) wrongLogin(ctx context.Context, config *pgx.ConnConfig) (string, error) {
	random := make([]byte, 24)
	if _, err := io.ReadFull(i.config.Random, random); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	config.User = "hk-probe-" + hex.EncodeToString(random[:8])
	config.Password = hex.EncodeToString(random[8:])
	config.RequireAuth = "scram-sha-256,md5" // md5 asks a role with a SCRAM verifier for SCRAM
	conn, err := dial(ctx, config)
	if err == nil {
		shut(conn)
		return "", nil
	}
	if state := stateOf(err); state != "" {
		if strings.HasPrefix(state, "28") {
			return state, nil
		}
		return "", fmt.Errorf("proving that a wrong password is refused: %w", err)
	}
	if _, network := errors.AsType[net.Error](err); network || ctx.Err() != nil || errors.Is(err, io.EOF) {
		return "", fmt.Errorf("proving that a wrong password is refused: %w", err)
	}
	return "", nil
}

func (i *Issuer) trustError(refused string, err error) error {
	target := i.config.Ref.String()
	switch {
	case err != nil:
		return i.fault("proving that a wrong password is refused", err)
	case refused == stateNotAuthorized:
		return broker.Errorf(broker.CodeWall, "%s: no line of the server's pg_hba.conf lets a lease's role log in with a password [%s]", target, objectTrust).
			WithNext("add to pg_hba.conf, then SELECT pg_reload_conf():\nhostssl %s all <agents' network> scram-sha-256", i.route.database)
	}
	return broker.Errorf(broker.CodeWall, "%s: the server lets roles in without checking a SCRAM password, so no key would ever end: VALID UNTIL means nothing there [%s]", target, objectTrust).
		WithNext("in pg_hba.conf replace trust, password and every other method on the lines that match leases (database %s, user all) by scram-sha-256, then SELECT pg_reload_conf()", i.route.database)
}
