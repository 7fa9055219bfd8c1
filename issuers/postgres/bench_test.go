package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

// BenchmarkIssue compares the issuer with the same SQL sent through bare pgx over the same number of connections: audit, and then audit, verifier,
// CREATE, GRANT in a transaction.
func BenchmarkIssue(b *testing.B) {
	s := newSiteOn(b, pgtest.Start(b)) // durable, as in production
	issuer, w := s.issuer(b), wish(b, "public.orders:read,write")
	issuertest.Bench(b, issuer, w, newFloor(b, issuer, w).request)
}

// BenchmarkAudit is the wall audit alone: the round trip and the judging.
func BenchmarkAudit(b *testing.B) {
	s := newSite(b)
	issuer := s.issuer(b)
	conn, err := pgx.ConnectConfig(b.Context(), issuer.ConnConfig())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	scopes := wish(b, readWrite...).Scopes
	for b.Loop() {
		if err := issuer.Audit(b.Context(), conn, scopes); err != nil {
			b.Fatal(err)
		}
	}
}

// floor is bare pgx with as many connections as the issuer's pool has.
type floor struct {
	issuer      *postgres.Issuer
	conns       chan *pgx.Conn
	description broker.Description
	owner       string
}

func newFloor(b *testing.B, issuer *postgres.Issuer, w broker.Wish) *floor {
	b.Helper()
	f := &floor{issuer: issuer, conns: make(chan *pgx.Conn, 8), description: describe(b, issuer, w)}
	for range cap(f.conns) {
		conn, err := pgx.ConnectConfig(b.Context(), issuer.ConnConfig())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close(context.Background()) })
		f.conns <- conn
	}
	return f
}

func (f *floor) request(ctx context.Context, name string) (broker.Handle, error) {
	if err := f.with(func(conn *pgx.Conn) error { return f.audit(ctx, conn) }); err != nil {
		return nil, err
	}
	verifier, err := f.issuer.NewVerifier()
	if err != nil {
		return nil, err
	}
	return nil, f.with(func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := f.audit(ctx, conn); err != nil {
				return err
			}
			until := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
			_, err := conn.PgConn().Exec(ctx, postgres.Script(f.description, name, verifier, until)).ReadAll()
			return err
		})
	})
}

func (f *floor) with(do func(*pgx.Conn) error) error {
	conn := <-f.conns
	defer func() { f.conns <- conn }()
	return do(conn)
}

func (f *floor) audit(ctx context.Context, conn *pgx.Conn) error {
	var document []byte
	return conn.QueryRow(ctx, postgres.SnapshotSQL(), []string{"public.orders"}, []string{}, f.owner).Scan(&document)
}
