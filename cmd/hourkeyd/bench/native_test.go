package bench

import (
	"fmt"
	"testing"
)

// bare makes a provider's calls without us: what one description asks, and what one issue does.
type bare interface {
	describe() error
	issue(worker int) error
	release() // ends what was issued since it was last called; not timed
}

// benchNative is the way over HTTP to a credential of a provider that holds the walls itself, beside the same calls of that provider
// made bare. With two calls the broker describes twice, and so does the floor. Bar: times-floor at most 1.25.
func benchNative(b *testing.B, open func(b *testing.B) (target, func(b *testing.B) bare)) {
	at, floor := open(b)
	for _, agents := range []int{1, 16} {
		for _, calls := range []int{1, 2} {
			b.Run(fmt.Sprintf("agents=%d/calls=%d", agents, calls), func(b *testing.B) {
				w, f := newWorld(b, at, agents), floor(b)
				got := leases{of: w.agents}
				bareWay := func(worker int) error {
					for range calls {
						if err := f.describe(); err != nil {
							return err
						}
					}
					return f.issue(worker)
				}
				mine, theirs := inTurns(b, agents, max(15, 2*agents), w.requestToCredential(w.at, calls, got.add), bareWay, func() {
					w.release(&got)
					f.release()
				})
				b.ReportMetric(median(mine.elapsed).Seconds()/median(theirs.elapsed).Seconds(), "times-floor")
				b.ReportMetric(float64(mine.quantile(50))/float64(theirs.quantile(50)), "times-floor-p50")
				b.ReportMetric(milliseconds(mine.quantile(50)-theirs.quantile(50)), "over-floor-p50-ms")
			})
		}
	}
}
