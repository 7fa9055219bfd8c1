package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

// BenchmarkIssue compares what a request costs at the issuer, Describe and then Issue, with the same SQL sent
// through bare pgx over the same number of connections: audit, and then audit, verifier, CREATE, GRANT in a
// transaction. Rounds alternate, so that both meet the same machine. ×p50 and ×total are the ratios.
func BenchmarkIssue(b *testing.B) {
	s := newSiteOn(b, pgtest.Start(b)) // durable, as in production
	issuer := s.issuer(b)
	floor := newFloor(b, issuer)
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var ours, bare round
			ours.play(b, issuer, clients, requestByIssuer(issuer)) // warm: connections, plans, probes
			bare.play(b, issuer, clients, floor.request)
			ours, bare = round{}, round{}
			for range b.N {
				ours.play(b, issuer, clients, requestByIssuer(issuer))
				bare.play(b, issuer, clients, floor.request)
			}
			b.ReportMetric(ours.percentile(50), "ms-p50")
			b.ReportMetric(ours.percentile(99), "ms-p99")
			b.ReportMetric(bare.percentile(50), "bare-ms-p50")
			b.ReportMetric(bare.percentile(99), "bare-ms-p99")
			b.ReportMetric(ours.percentile(50)/bare.percentile(50), "×p50")
			b.ReportMetric(float64(ours.total)/float64(bare.total), "×total")
		})
	}
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

// round collects the times of many requests.
type round struct {
	each  []time.Duration
	total time.Duration
}

func (r *round) percentile(p int) float64 {
	slices.Sort(r.each)
	return r.each[len(r.each)*p/101].Seconds() * 1000
}

// play runs one request for each client at once, and ends the leases afterwards, untimed.
func (r *round) play(b *testing.B, issuer *postgres.Issuer, clients int, request func(context.Context, string) error) {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for at := range clients {
		all.Go(func() {
			start := time.Now()
			err := request(b.Context(), fmt.Sprintf("hk-bench-%d", at))
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if r.each = append(r.each, took); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	r.total += time.Since(began)
	for at := range clients {
		if err := issuer.Revoke(b.Context(), fmt.Sprintf("hk-bench-%d", at), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func benchWish() broker.Wish {
	return broker.Wish{TTL: time.Minute, Scopes: []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read | broker.Write}}}
}

func requestByIssuer(issuer *postgres.Issuer) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		d, err := issuer.Describe(ctx, benchWish())
		if err != nil {
			return err
		}
		_, _, err = issuer.Issue(ctx, orderFor(d, name))
		return err
	}
}

// floor is bare pgx with as many connections as the issuer's pool has.
type floor struct {
	issuer      *postgres.Issuer
	conns       chan *pgx.Conn
	description broker.Description
	owner       string
}

func newFloor(b *testing.B, issuer *postgres.Issuer) *floor {
	b.Helper()
	f := &floor{issuer: issuer, conns: make(chan *pgx.Conn, 8), description: describe(b, issuer, benchWish())}
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

func (f *floor) request(ctx context.Context, name string) error {
	if err := f.with(func(conn *pgx.Conn) error { return f.audit(ctx, conn) }); err != nil {
		return err
	}
	verifier, err := f.issuer.NewVerifier()
	if err != nil {
		return err
	}
	return f.with(func(conn *pgx.Conn) error {
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
