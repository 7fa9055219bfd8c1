package differential

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// target is how often everything is to be hit.
func target() int {
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		if n, err := strconv.Atoi(os.Getenv("N")); err == nil {
			return n
		}
		return 100
	}
	return 2
}

// findings collects violations: of each kind the one with the shortest call.
type findings struct {
	mu    sync.Mutex
	all   map[string]violation // by key
	times map[string]int
}

func (f *findings) add(all []violation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range all {
		f.times[v.key()]++
		if known, there := f.all[v.key()]; !there || len(v.call.body)+len(v.call.earlier) < len(known.call.body)+len(known.call.earlier) {
			f.all[v.key()] = v
		}
	}
}

func TestDifferential(t *testing.T) {
	s := newShared(t)
	plans := newPlans(s.schema, s.pack.Rows())
	found := &findings{all: map[string]violation{}, times: map[string]int{}}
	queue := make(chan *plan, len(plans))
	for _, p := range plans {
		queue <- p
	}
	close(queue)
	t.Run("calls", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				a := &author{shared: s, w: newWorld(t, s), plans: plans}
				for p := range queue {
					a.cover(t, p, target(), func(o *outcome) { found.add(o.violations()) })
				}
			})
		}
	})
	report(t, plans, found)
}

func report(t *testing.T, plans []*plan, found *findings) {
	t.Helper()
	type line struct {
		name string
		hits int
	}
	var lines []line
	var sum tally
	for _, p := range plans {
		for _, g := range p.goals {
			lines = append(lines, line{p.row.Operation + " " + g.name, g.hits})
		}
		sum.calls += p.told.calls
		sum.refused += p.told.refused
		sum.denied += p.told.denied
		sum.passed += p.told.passed
		sum.acted += p.told.acted
		sum.cautious += p.told.cautious
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.hits, b.hits), cmp.Compare(a.name, b.name)) })
	t.Logf("%d calls: %d refused by a row or the reading, %d by the look-up, %d passed, %d of them did something, %d of those less than they were judged", sum.calls, sum.refused, sum.denied, sum.passed, sum.acted, sum.cautious)
	var b strings.Builder
	for _, l := range lines[:min(60, len(lines))] {
		fmt.Fprintf(&b, "%6d  %s\n", l.hits, l.name)
	}
	t.Logf("%d goals; the least hit:\n%s", len(lines), b.String())
	for _, key := range sorted(found.all) {
		v := found.all[key]
		t.Errorf("%s (%d times)\n  %s\n  token %s, earlier %s\n  %s", key, found.times[key], v.detail, v.call.token, v.call.earlier, v.call.body)
	}
}
