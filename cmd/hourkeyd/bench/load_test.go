package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// way goes once from a request to its credential, as one of the workers.
type way func(worker int) error

// caller is an HTTP client like an agent's: keep-alive, one connection for each worker.
type caller struct{ http *http.Client }

func newCaller(workers int) caller {
	return caller{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers, MaxIdleConns: workers}}}
}

// post gives the whole answer.
func (c caller) post(url, token, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header["Authorization"] = []string{"Bearer " + token}
	if body != "" {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", answer.Status, raw)
	}
	return raw, err
}

// cut gives what stands between before and the next quote. Decoding would be work of the load, not of
// what is measured.
func cut(raw []byte, before string) string {
	_, after, _ := bytes.Cut(raw, []byte(before))
	text, _, _ := bytes.Cut(after, []byte(`"`))
	return string(text)
}

// requestToCredential asks and collects: in one call, as exec does, or in two, as who waits for a human
// does. Each lease goes to got, unless that is nil.
func (w *world) requestToCredential(at target, calls int, got func(worker int, lease string)) way {
	client, ask := newCaller(len(w.agents)), w.ask(at)
	if calls == 1 {
		ask = strings.TrimSuffix(ask, "}") + `,"collect":true}`
	}
	return func(worker int) error {
		token := w.agents[worker].token
		answer, err := client.post(w.origin+api.PathRequests, token, ask)
		if err != nil {
			return err
		}
		id := cut(answer, `"id":"`)
		if calls == 2 {
			if answer, err = client.post(w.origin+strings.Replace(api.PathCredentials, "{id}", id, 1), token, ""); err != nil {
				return err
			}
		}
		lease := cut(answer, `"lease":"`)
		if id == "" || lease == "" {
			return fmt.Errorf("no credential: %s", answer)
		}
		if got != nil {
			got(worker, lease)
		}
		return nil
	}
}

// turn goes a way n times by all workers together.
type turn struct {
	took    []time.Duration // each, unsorted
	elapsed time.Duration
	cpu     time.Duration // of the load and what it loads
}

// cpu is the time that this process has computed, and the children that it has waited for. Neighbours on
// the machine change it less than anything else.
func cpu(tb testing.TB) (sum time.Duration) {
	tb.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return sum
}

func takeTurn(tb testing.TB, workers, n int, go1 way) turn {
	tb.Helper()
	var next atomic.Int64
	took := make([][]time.Duration, workers)
	var wait sync.WaitGroup
	begin, used := time.Now(), cpu(tb)
	for worker := range workers {
		wait.Go(func() {
			for next.Add(1) <= int64(n) {
				start := time.Now()
				if err := go1(worker); err != nil {
					tb.Error(err)
					return
				}
				took[worker] = append(took[worker], time.Since(start))
			}
		})
	}
	wait.Wait()
	elapsed, computed := time.Since(begin), cpu(tb)-used
	if tb.Failed() {
		tb.FailNow()
	}
	return turn{slices.Concat(took...), elapsed, computed}
}

// measured is what one way took, over all its turns.
type measured struct {
	name    string
	took    []time.Duration
	elapsed []time.Duration // of each turn
	cpu     []time.Duration // of each turn
	n       int             // in each turn
}

func (m *measured) add(t turn) {
	m.took, m.elapsed, m.cpu, m.n = append(m.took, t.took...), append(m.elapsed, t.elapsed), append(m.cpu, t.cpu), len(t.took)
}

func (m *measured) quantile(percent int) time.Duration {
	slices.Sort(m.took)
	return m.took[min(len(m.took)*percent/100, len(m.took)-1)]
}

func (m *measured) report(b *testing.B) {
	b.ReportMetric(float64(m.n)/median(m.elapsed).Seconds(), m.name+"/s")
	b.ReportMetric(milliseconds(median(m.cpu))/float64(m.n), m.name+"-cpu-ms")
	b.ReportMetric(milliseconds(m.quantile(50)), m.name+"-p50-ms")
	b.ReportMetric(milliseconds(m.quantile(99)), m.name+"-p99-ms")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median[T int64 | float64 | time.Duration](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

const turns = 7 // of each way, alternating

// inTurns lets ours and floor alternate and reports the median over the turns of floor's time by ours:
// 1 is as fast as the floor, 0.5 takes twice as long. between runs untimed after each turn of both.
func inTurns(b *testing.B, workers, n int, ours, floor way, between func()) (mine, bare *measured) {
	b.Helper()
	mine, bare = &measured{name: "ours"}, &measured{name: "floor"}
	takeTurn(b, workers, n/4+workers, ours)
	takeTurn(b, workers, n/4+workers, floor)
	between()
	var ratios []float64
	for b.Loop() {
		for range turns {
			o, f := takeTurn(b, workers, n, ours), takeTurn(b, workers, n, floor)
			between()
			mine.add(o)
			bare.add(f)
			ratios = append(ratios, f.elapsed.Seconds()/o.elapsed.Seconds())
		}
	}
	mine.report(b)
	bare.report(b)
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(bare.cpu).Seconds()/median(mine.cpu).Seconds(), "cpu-ratio")
	b.ReportMetric(0, "ns/op") // of a whole set of turns: says nothing
	return mine, bare
}
