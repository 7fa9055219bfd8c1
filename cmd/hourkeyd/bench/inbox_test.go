package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const manyPending = 10_000

// BenchmarkInbox opens the inbox over HTTP while ten thousand requests wait for the human, beside the same
// with ten. Bar: 100 ms with ten thousand.
func BenchmarkInbox(b *testing.B) {
	for _, pending := range []int{10, manyPending} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			w := newWorld(b, jwtTarget, 1)
			w.askHumans(pending)
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, _, err := w.olga.Read(b.Context(), "/"); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			opened := &measured{name: "inbox"}
			opened.add(turn{took: took})
			b.ReportMetric(milliseconds(opened.quantile(50)), "p50-ms")
			b.ReportMetric(milliseconds(opened.quantile(99)), "p99-ms")
		})
	}
}

// askHumans submits so many requests, each for something else, that wait for the owner herself.
func (w *world) askHumans(n int) {
	w.Helper()
	e := w.configuration.Environments[environment]
	e.Approval[broker.Write], e.OwnerMayReview = 1, true
	w.configuration.Environments[environment] = e
	slots := make(chan struct{}, 64)
	var wait sync.WaitGroup
	a := w.agents[0]
	known, err := w.broker.Agent(w.Context(), a.name)
	w.must(err)
	for i := range n {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			_, err := w.broker.Submit(w.Context(), broker.Ask{
				Agent: a.name, AgentKey: known.Thumbprint, Task: task, Environments: []string{environment}, Reason: "the nightly run wants it",
				Scopes: []broker.Scope{{Target: w.at.name, Resource: broker.Resource(fmt.Sprintf("orders/%05d", i)), Actions: broker.Write}},
			})
			if err != nil {
				w.Error(err)
			}
		})
	}
	wait.Wait()
	inbox, err := w.broker.Inbox(w.Context(), operator)
	w.must(err)
	if inbox.Waiting != n {
		w.Fatalf("%d wait, want %d", inbox.Waiting, n)
	}
}
