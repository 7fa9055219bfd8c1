package postgres

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Kind is the name of this kind of target in an environment's file.
const Kind = "postgres"

// Settings is the body of a `postgres:` target in an environment's file.
type Settings struct {
	DSN    string   `yaml:"dsn"`    // a reference to the admin login's URL: env:STAGING_ADMIN_DSN
	Owner  string   `yaml:"owner"`  // the role that gets what a lease leaves behind: the tables' owner
	Accept []Accept `yaml:"accept"` // holes of the walls that are known and wanted
}

// Accept names one hole, as a refusal and check --live print it, and why it is accepted. Reviewers see both.
type Accept struct {
	Object string `yaml:"object"`
	Why    string `yaml:"why"`
}

// Config is what an Issuer is opened with. Random and Failpoint may be left out.
type Config struct {
	Ref      broker.TargetRef // every scope must name its target; a lease reaches its environment alone
	Settings Settings
	DSN      broker.Secret // what Settings.DSN refers to
	Now      func() time.Time
	Random   io.Reader // default crypto/rand
	// Failpoint is called around each step of Issue and Revoke at the server, with "before " or "after " and
	// the step's name, one of Failpoints. For crash tests; nil in production.
	Failpoint func(point string)
}

// Failpoints are the steps of Issue and Revoke at the server, in their order. "revoke roll-back-prepared" and
// "revoke elsewhere" are only reached by a lease that prepared a transaction, or owns something in another database.
func Failpoints() []string {
	return []string{
		pointIssueBegin, pointIssueAudit, pointIssueCreate, pointIssueCommit,
		pointRevokeFind, pointRevokeNoLogin, pointRevokeTerminate, pointRevokePrepared, pointRevokeElsewhere,
		pointRevokeBegin, pointRevokeReassign, pointRevokeDrop, pointRevokeSessions, pointRevokeCommit, pointRevokeVerify,
	}
}

const (
	pointIssueBegin      = "issue begin"
	pointIssueAudit      = "issue audit"
	pointIssueCreate     = "issue create and grant"
	pointIssueCommit     = "issue commit"
	pointRevokeFind      = "revoke find"
	pointRevokeNoLogin   = "revoke nologin"
	pointRevokeTerminate = "revoke terminate"
	pointRevokePrepared  = "revoke roll-back-prepared"
	pointRevokeElsewhere = "revoke elsewhere"
	pointRevokeBegin     = "revoke begin"
	pointRevokeReassign  = "revoke reassign and drop owned"
	pointRevokeDrop      = "revoke drop role"
	pointRevokeSessions  = "revoke look for sessions"
	pointRevokeCommit    = "revoke commit"
	pointRevokeVerify    = "revoke verify"
)

// Issuer issues at one database. Its methods are safe for concurrent use.
type Issuer struct {
	config Config
	route  route
	pool   *pool
	ending *pool // for Revoke and List alone: who asks must not hold up who ends
	turn   turn  // privileges change under it

	probing chan struct{} // held by who reads or renews probes
	probes  probes        // what was found out over connections of their own, kept for a minute
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
	_ broker.Lister   = (*Issuer)(nil)
	_ broker.Checker  = (*Issuer)(nil)
)

const (
	ttlFloor = time.Second
	ends     = "Logins end at the TTL by the server's own clock, whether or not a broker runs. A session that is open then goes on " +
		"until the broker terminates it: within seconds while it runs, otherwise when it starts again."
)

// New opens an issuer. It connects to nothing: the server is first asked by Describe, Identify or Check.
// Errors are CodeInvalid and name the field.
func New(config Config) (*Issuer, error) {
	if config.Now == nil || config.Ref.Environment == "" || config.Ref.Target == "" {
		return nil, broker.Errorf(broker.CodeInternal, "postgres: Config wants Ref and Now")
	}
	if err := config.Settings.check(); err != nil {
		return nil, err
	}
	route, err := parseDSN(config.DSN)
	if err != nil {
		return nil, err
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	return &Issuer{config: config, route: route, pool: newPool(route.admin, poolSize, config.Now), ending: newPool(route.admin, endingSize, config.Now), turn: make(turn, 1), probing: make(chan struct{}, 1)}, nil
}

func (s Settings) check() error {
	if s.Owner == "" {
		return invalid("owner", "is missing: the role that owns the tables, which gets what a lease leaves behind")
	}
	for at, accept := range s.Accept {
		if accept.Object == "" || accept.Why == "" {
			return invalid("accept", "has an entry without object or why: reviewers are shown both")
		}
		if !isAcceptable(accept.Object) {
			return invalid("accept", "names "+accept.Object+", which cannot be accepted: a lease could not be issued, or not be ended, or would leave the owner's rights behind")
		}
		if slices.ContainsFunc(s.Accept[:at], func(other Accept) bool { return other.Object == accept.Object }) {
			return invalid("accept", "names "+accept.Object+" twice")
		}
	}
	return nil
}

// Close closes the idle connections. An issuer that is dropped without it leaves none behind either: they
// end by themselves after a minute.
func (i *Issuer) Close() error {
	i.pool.close()
	i.ending.close()
	return nil
}

// Capabilities says what a PostgreSQL lease promises.
func (i *Issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{Kind: Kind, TTLFloor: ttlFloor, EndsEarly: true, DescribesAtIssue: true, Ends: ends}
}

// Identify asks the server for its system identifier and the database's name and oid.
func (i *Issuer) Identify(ctx context.Context) (broker.Identity, error) {
	conn, err := i.pool.acquire(ctx)
	if err != nil {
		return broker.Identity{}, i.fault("connecting", err)
	}
	defer i.pool.release(conn)
	seen, err := look(ctx, conn, nil, i.config.Settings.Owner)
	if err != nil {
		return broker.Identity{}, i.fault("identifying the server", err)
	}
	return broker.Identity{ID: seen.identity(), Shown: i.shown(seen)}, nil
}

func (i *Issuer) shown(seen *snapshot) string {
	return "database " + seen.Database + " on " + i.route.address() + ", PostgreSQL " + seen.release() + ", system " + seen.System
}

// List gives the names of the leases' roles in this database that begin with prefix. Roles belong to
// the whole server: a role that was given CONNECT on another database is that target's to list, one that was given it
// nowhere is everybody's.
func (i *Issuer) List(ctx context.Context, prefix string) ([]string, error) {
	conn, err := i.ending.acquire(ctx)
	if err != nil {
		return nil, i.fault("connecting", err)
	}
	defer i.ending.release(conn)
	rows, err := conn.Query(ctx, listSQL, prefix)
	if err != nil {
		return nil, i.fault("listing roles", err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, i.fault("listing roles", err)
		}
		if broker.IsLeaseName(name) {
			names = append(names, name)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, i.fault("listing roles", err)
	}
	return names, nil
}

const listSQL = `
SELECT r.rolname
FROM pg_roles r
WHERE starts_with(r.rolname, $1)
	AND (EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) a WHERE a.grantee = r.oid AND d.datname = current_database())
		OR NOT EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) a WHERE a.grantee = r.oid))
ORDER BY r.rolname`

// at runs one step of Issue or Revoke between its two failpoints.
func (i *Issuer) at(point string, do func() error) error {
	if i.config.Failpoint != nil {
		i.config.Failpoint("before " + point)
		defer i.config.Failpoint("after " + point)
	}
	return do()
}
