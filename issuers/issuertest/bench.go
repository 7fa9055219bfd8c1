package issuertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Bench compares what a request costs at the issuer, Describe and then Issue, with the same calls made bare, by
// one client and by 64 at once. bare makes them for a lease of that name, and gives the handle that the issuer
// needs to end it. Rounds alternate, so that both meet the same machine; the first ones make connections and do
// not count, and ends are not timed. ×p50 and ×total are the ratios.
func Bench(b *testing.B, issuer broker.Issuer, wish broker.Wish, bare func(ctx context.Context, name string) (broker.Handle, error)) {
	b.Helper()
	ours := func(ctx context.Context, name string) (broker.Handle, error) {
		d, err := issuer.Describe(ctx, wish)
		if err != nil {
			return nil, err
		}
		_, handle, err := issuer.Issue(ctx, Order(d, name))
		return handle, err
	}
	for _, clients := range []int{1, many} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			got, floor := &round{}, &round{}
			got.play(b, issuer, clients, ours)
			floor.play(b, issuer, clients, bare)
			*got, *floor = round{}, round{}
			for range b.N {
				got.play(b, issuer, clients, ours)
				floor.play(b, issuer, clients, bare)
			}
			b.ReportMetric(got.percentile(50), "ms-p50")
			b.ReportMetric(got.percentile(99), "ms-p99")
			b.ReportMetric(floor.percentile(50), "bare-ms-p50")
			b.ReportMetric(floor.percentile(99), "bare-ms-p99")
			b.ReportMetric(got.percentile(50)/floor.percentile(50), "×p50")
			b.ReportMetric(float64(got.total)/float64(floor.total), "×total")
		})
	}
}

// round collects the times of many requests.
type round struct {
	each  []time.Duration
	total time.Duration
}

// percentile is in milliseconds.
func (r *round) percentile(p int) float64 {
	slices.Sort(r.each)
	return r.each[len(r.each)*p/101].Seconds() * 1000
}

// play runs one request for each client at once, and ends the leases afterwards, untimed.
func (r *round) play(b *testing.B, issuer broker.Issuer, clients int, request func(context.Context, string) (broker.Handle, error)) {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	handles := make([]broker.Handle, clients)
	began := time.Now()
	for at := range clients {
		all.Go(func() {
			start := time.Now()
			handle, err := request(b.Context(), fmt.Sprintf("hk-bench-%d", at))
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			handles[at] = handle
			if r.each = append(r.each, took); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	r.total += time.Since(began)
	for at, handle := range handles { // one after the other: the next round meets a server at rest
		if err := issuer.Revoke(b.Context(), fmt.Sprintf("hk-bench-%d", at), handle); err != nil {
			b.Fatal(err)
		}
	}
}
