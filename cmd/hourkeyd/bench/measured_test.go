package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// What is measured and reported here has no bar.

// BenchmarkExec is what `hourkey exec -- true` takes beyond `true` itself, with the built program: start,
// token, request, credential, child, release.
func BenchmarkExec(b *testing.B) {
	w := newWorld(b, jwtTarget, 0)
	program := filepath.Join(b.TempDir(), "hourkey")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/hourkey/hourkey/cmd/hourkey").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	home := b.TempDir()
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"HOURKEY_TASK=" + task, "HOURKEY_ENVIRONMENT=" + environment}
	run := func(stdin string, args ...string) error {
		command := exec.Command(args[0], args[1:]...)
		command.Env, command.Stdin = environ, strings.NewReader(stdin)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	w.must(run(w.invite("ci/exec")+"\n", program, "enroll", w.origin, "--agent", "ci/exec"))
	w.activate("ci/exec")
	mine, bare := inTurns(b, 1, 15, func(int) error { return run("", program, "exec", "--", "true") },
		func(int) error { return run("", "true") }, func() {})
	b.ReportMetric(milliseconds(mine.quantile(50)-bare.quantile(50)), "overhead-p50-ms")
}

// BenchmarkStart opens a broker whose store holds 10,000 live leases, up to the first answer over HTTP.
func BenchmarkStart(b *testing.B) {
	const stored = 10_000
	folder := b.TempDir()
	filling := &span{TB: b}
	openWorld(filling, folder, jwtTarget).fill(stored)
	filling.end()
	var took []time.Duration
	for b.Loop() {
		once := &span{TB: b}
		begin := time.Now()
		w := openWorld(once, folder, jwtTarget)
		answer, err := newCaller(1).http.Get(w.origin + api.PathReady)
		w.must(err)
		w.must(answer.Body.Close())
		took = append(took, time.Since(begin))
		if status, err := w.broker.Status(b.Context()); err != nil || status.Leases[broker.LeaseLive] != stored {
			b.Fatalf("open leases: %v (%v); want %d live", status.Leases, err, stored)
		}
		once.end()
	}
	b.ReportMetric(milliseconds(median(took)), "start-ms")
	b.ReportMetric(stored, "leases")
	b.ReportMetric(0, "ns/op")
}

// span is a part of a benchmark: what is cleaned up at its end is cleaned up when end is called.
type span struct {
	testing.TB
	ends []func()
}

// Cleanup implements testing.TB.
func (s *span) Cleanup(end func()) { s.ends = append(s.ends, end) }

func (s *span) end() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
}

// fill stores live leases.
func (w *world) fill(n int) {
	w.Helper()
	now := time.Now().UTC()
	w.must(w.kept.Update(w.Context(), func(tx broker.Tx) error {
		for n := range n {
			if err := tx.Save(&broker.Lease{
				ID: fmt.Sprintf("%026d", n), Name: fmt.Sprintf("hk-bench-%026d", n), Request: fmt.Sprintf("r%025d", n), Agent: fmt.Sprintf("ci/%02d", n%64),
				Owner: operator, Task: task, Environment: environment, Target: w.at.name, Binding: w.binding(), State: broker.LeaseLive,
				Created: now, Expires: now.Add(broker.Hour),
				Scopes: []broker.Scope{{Target: w.at.name, Resource: "orders/*", Actions: broker.Read | broker.Write}},
			}); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (w *world) binding() string {
	for _, target := range w.configuration.Targets {
		return target.Binding
	}
	return ""
}

// BenchmarkMemory is the resident memory of this process, a broker and its load, idle and after 100,000
// requests, and the heap that is in use then. It takes minutes: HOURKEY_BENCH_LONG=1, -benchtime 1x.
func BenchmarkMemory(b *testing.B) {
	if os.Getenv("HOURKEY_BENCH_LONG") != "1" {
		b.Skip("100,000 requests take minutes: set HOURKEY_BENCH_LONG=1")
	}
	const requests = 100_000
	w := newWorld(b, jwtTarget, 64)
	for b.Loop() {
		b.ReportMetric(resident(b), "idle-rss-MB")
		b.ReportMetric(heap(), "idle-heap-MB")
		load := takeTurn(b, len(w.agents), requests, w.requestToCredential(w.at, 2, nil))
		b.ReportMetric(resident(b), "after-rss-MB")
		b.ReportMetric(heap(), "after-heap-MB")
		b.ReportMetric(requests/load.elapsed.Seconds(), "requests/s")
	}
	info, err := os.Stat(filepath.Join(w.folder, "data", "hourkey.db"))
	w.must(err)
	b.ReportMetric(float64(info.Size())/(1<<20), "store-MB")
}

// heap is what is in use after a collection.
func heap() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}

// resident reads RssAnon of proc(5): without the store's pages, which belong to the page cache.
func resident(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("this machine has no /proc")
	}
	_, after, _ := bytes.Cut(raw, []byte("RssAnon:"))
	var kib float64
	if _, err := fmt.Sscan(string(after), &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
