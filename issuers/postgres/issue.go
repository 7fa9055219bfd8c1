package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

// issueTries is how often a transaction is tried that another session's GRANT disturbed.
const issueTries = 12

const tryPause = 5 * time.Millisecond

// handle is what Revoke needs beside the name: with the role gone, its sessions are known by its oid alone.
type handle struct {
	OID oid `json:"oid"`
}

// Issue makes the lease's role in one transaction: audit, CREATE ROLE, GRANT. If the audit no longer gives what
// was approved it is CodeConflict, and nothing is issued.
func (i *Issuer) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	if !broker.IsLeaseName(order.Name) {
		return broker.Credential{}, nil, i.badName(order.Name)
	}
	if order.TTL <= 0 || order.TTL > order.Description.TTL || order.TTL > broker.Hour {
		return broker.Credential{}, nil, broker.Errorf(broker.CodeInternal, "the lease is ordered for %s, longer than the %s described or than the hour, or for no time at all", order.TTL, order.Description.TTL)
	}
	password, verifier, err := newPassword(i.config.Random)
	if err != nil {
		return broker.Credential{}, nil, i.fault("making a password", err)
	}
	created, err := i.create(ctx, order, verifier)
	if err != nil {
		return broker.Credential{}, nil, i.fault("issuing", err)
	}
	i.ending.keepOne(ctx, order.Expires.Add(keptAfter))
	keep, err := json.Marshal(handle{created})
	if err != nil {
		return broker.Credential{}, nil, i.fault("issuing", err)
	}
	return broker.Credential{
		Environment: i.config.Ref.Environment, Target: i.config.Ref.Target, Lease: order.Lease,
		Scopes: order.Description.Scopes, Values: i.route.values(order.Name, password), Expires: order.Expires,
	}, keep, nil
}

func (i *Issuer) create(ctx context.Context, order broker.Order, verifier string) (oid, error) {
	conn, err := i.pool.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer i.pool.release(conn)
	for try := 1; ; try++ {
		created, err := i.createOnce(ctx, conn, order, verifier)
		if err == nil || try == issueTries || !isPassing(err) {
			return created, err
		}
		pause(ctx, try)
	}
}

// pause lets another session's change of privileges go first, a little longer at each try.
func pause(ctx context.Context, try int) {
	select {
	case <-time.After(time.Duration(try) * tryPause):
	case <-ctx.Done():
	}
}

func (i *Issuer) createOnce(ctx context.Context, conn *pgx.Conn, order broker.Order, verifier string) (created oid, err error) {
	var tx pgx.Tx
	if err := i.at(pointIssueBegin, func() error { tx, err = conn.Begin(ctx); return err }); err != nil {
		return 0, err
	}
	defer rollBack(tx)
	var a *audited
	if err := i.at(pointIssueAudit, func() error { a, err = i.audit(ctx, tx, order.Description.Scopes); return err }); err != nil {
		return 0, err
	}
	if i.description(a, order.Description.TTL).Digest() != order.Description.Digest() {
		return 0, broker.Errorf(broker.CodeConflict, "%s: what would be issued is no longer what was approved: tables, privileges or walls have changed", i.config.Ref).
			WithNext("ask again")
	}
	until, err := i.validUntil(a.seen.Now, order)
	if err != nil {
		return 0, err
	}
	as := role{name: quote(order.Name), verifier: literal(verifier), until: literal(until)}
	unlock, err := i.turn.take(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := i.at(pointIssueCreate, func() error {
		created, err = i.createAndGrant(ctx, tx, order.Name, i.statements(a.seen, a.grants, as))
		return err
	}); err != nil {
		return 0, err
	}
	if err := i.at(pointIssueCommit, func() error { return tx.Commit(ctx) }); err != nil {
		return 0, err
	}
	return created, nil
}

// validUntil gives the end of logins by the server's clock: what is left of the order's time is counted from
// the moment of the audit, so that it is never later than the order says, however long the server took.
func (i *Issuer) validUntil(serverNow time.Time, order broker.Order) (string, error) {
	left := min(order.TTL, order.Expires.Sub(i.config.Now()))
	if left <= 0 {
		return "", broker.Errorf(broker.CodeExpired, "%s: issuing took longer than the lease was to live", i.config.Ref)
	}
	return serverNow.Add(left).UTC().Format("2006-01-02 15:04:05.999999+00"), nil
}

// createAndGrant sends all statements in one round trip.
func (i *Issuer) createAndGrant(ctx context.Context, tx pgx.Tx, name string, statements []string) (oid, error) {
	script := fmt.Sprintf("%s;\nSELECT oid FROM pg_roles WHERE rolname = %s", strings.Join(statements, ";\n"), literal(name))
	results, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll()
	if err != nil {
		if stateOf(err) == stateDuplicateObject {
			return 0, broker.Errorf(broker.CodeConflict, "%s: there is a role of that lease already", i.config.Ref).Because(err)
		}
		return 0, err
	}
	last := results[len(results)-1].Rows
	if len(last) != 1 || len(last[0]) != 1 {
		return 0, fmt.Errorf("the role that was created cannot be found")
	}
	var created uint32
	if _, err := fmt.Sscan(string(last[0][0]), &created); err != nil {
		return 0, fmt.Errorf("reading the role's oid: %w", err)
	}
	return oid(created), nil
}

// rollBack ends a transaction that may be over already. Without an answer the connection is closed, which
// rolls back as well.
func rollBack(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = tx.Rollback(ctx)
}
