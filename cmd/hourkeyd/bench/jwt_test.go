package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkJWT is the way over HTTP for a target that calls nobody, by 64 agents at once and by one,
// beside floor. Bars: ratio at least 0.6 for 64; for one, p50 at most one fsync and 1 ms (over-fsync-ms).
func BenchmarkJWT(b *testing.B) {
	for _, agents := range []int{64, 1} {
		for _, calls := range []int{1, 2} {
			b.Run(fmt.Sprintf("agents=%d/calls=%d", agents, calls), func(b *testing.B) { benchJWT(b, agents, calls) })
		}
	}
}

func benchJWT(b *testing.B, agents, calls int) {
	w := newWorld(b, jwtTarget, agents)
	plans, committed := w.calls(jwtTarget, calls)
	f := newFloor(b, plans)
	disk := newDisk(b, committed)
	waits := &measured{name: "fsync"}
	perTurn := 20 * agents
	if agents == 1 {
		perTurn = 400
	}
	mine, _ := inTurns(b, agents, perTurn, w.requestToCredential(w.at, calls, nil), f.requestToCredential(b, agents, w.ask(w.at)), func() {
		if agents == 1 {
			waits.add(takeTurn(b, 1, perTurn, disk))
		}
	})
	b.ReportMetric(float64(committed), "bytes-committed")
	if agents == 1 {
		b.ReportMetric(milliseconds(waits.quantile(50)), "fsync-p50-ms")
		b.ReportMetric(milliseconds(mine.quantile(50)-waits.quantile(50)), "over-fsync-ms")
	}
}

// calls records one way, and gives what each of its HTTP calls committed and the sum of the bytes.
func (w *world) calls(at target, n int) (calls []plan, committed int) {
	w.Helper()
	var lease string
	go1 := w.requestToCredential(at, n, func(_ int, id string) { lease = id })
	w.must(go1(0)) // what happens only once happens now
	wrote := w.recorder.record(func() { w.must(go1(0)) })
	if len(wrote) != n {
		w.Fatalf("%d transactions were recorded; want one for each of %d calls", len(wrote), n)
	}
	request := requestOf(wrote[0])
	for _, transaction := range wrote {
		var call plan
		for _, one := range transaction {
			committed += len(one.key) + max(one.size, 0)
			call = append(call, planned{hollow(one.key, request, lease, w.agents[0].name), valueOf(one)})
		}
		calls = append(calls, call)
	}
	return calls, committed
}

// requestOf finds the request's id in the key of its record ("r" kind 00 key).
func requestOf(transaction []write) string {
	for _, one := range transaction {
		if id, found := bytes.CutPrefix(one.key, []byte("rrequest\x00")); found {
			return string(id)
		}
	}
	return ""
}

// hollow takes out of a key what is another at each call.
func hollow(key []byte, request, lease, agent string) string {
	if bytes.HasPrefix(key, []byte("le")) && len(key) == 10 {
		return "le\x03"
	}
	return strings.NewReplacer(request, "\x01", lease, "\x01", agent, "\x02").Replace(string(key))
}

func valueOf(one write) []byte {
	if one.size < 0 {
		return nil
	}
	return make([]byte, one.size)
}

// requestToCredential is as many calls as the broker's, with the same bodies.
func (f *floor) requestToCredential(tb testing.TB, workers int, ask string) way {
	client := newCaller(workers)
	tokens := make([]string, workers)
	for worker := range workers {
		tokens[worker] = f.token(tb, fmt.Sprintf("ci/%02d", worker))
	}
	var last atomic.Int64
	return func(worker int) error {
		id := fmt.Sprintf("%026d", last.Add(1)) // sorts by time, as the broker's do
		body := ask
		for call := range f.calls {
			if _, err := client.post(fmt.Sprintf("%s/%d/%s", f.origin, call, id), tokens[worker], body); err != nil {
				return err
			}
			body = ""
		}
		return nil
	}
}

// newDisk is one append of the bytes with one fsync.
func newDisk(b *testing.B, size int) way {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	text := make([]byte, size)
	return func(int) error {
		if _, err := file.Write(text); err != nil {
			return err
		}
		return file.Sync()
	}
}
