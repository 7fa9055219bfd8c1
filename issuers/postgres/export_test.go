package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
)

// SnapshotSQL is the audit's statement, for the benchmark that sends the same SQL without us.
func SnapshotSQL() string { return snapshotSQL }

// ConnConfig is how the issuer's own connections are configured.
func (i *Issuer) ConnConfig() *pgx.ConnConfig { return i.route.admin.Copy() }

// Audit is one wall audit over a connection.
func (i *Issuer) Audit(ctx context.Context, conn *pgx.Conn, scopes []broker.Scope) error {
	_, err := i.audit(ctx, conn, scopes)
	return err
}

// NewVerifier makes a password's verifier as Issue does.
func (i *Issuer) NewVerifier() (string, error) {
	_, verifier, err := newPassword(i.config.Random)
	return verifier, err
}

// Script is what Issue sends after the audit, for a description, a name and a verifier.
func Script(description broker.Description, name, verifier, until string) string {
	return strings.NewReplacer(shownRole.name, quote(name), shownRole.verifier, literal(verifier), shownRole.until, literal(until)).
		Replace("SELECT pg_advisory_xact_lock(29104508263362937); " + strings.Join(description.Native, ";"))
}
