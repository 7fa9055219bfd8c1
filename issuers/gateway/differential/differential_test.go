package differential

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// target is how often everything is to be hit.
func target() int {
	switch {
	case os.Getenv("HOURKEY_TEST_ALL") == "1":
		return 100
	case testing.Short():
		return 1
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
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // servers are made and thrown away by the thousand
	s := newShared(t)
	plans, destinations := newPlans(s.schema, s.pack.Rows()), newDestinations(s)
	found := &findings{all: map[string]violation{}, times: map[string]int{}}
	work := make(chan func(testing.TB, *author), len(plans)+len(destinations))
	each := func(o *outcome) { found.add(o.violations()) }
	for _, p := range plans {
		work <- func(t testing.TB, a *author) { a.cover(t, p, target(), each) }
	}
	for _, d := range destinations {
		work <- func(t testing.TB, a *author) { a.travel(t, d, target(), each) }
	}
	close(work)
	inWorlds(t, s, func(t testing.TB, a *author) {
		for step := range work {
			step(t, a)
		}
	})
	reportHits(t, plans, destinations)
	reportTally(t, plans)
	found.report(t)
}

// reportHits prints what was hit least, and holds everything to the target.
func reportHits(t *testing.T, plans []*plan, destinations []*destination) {
	t.Helper()
	type line struct {
		name string
		hits int
	}
	var lines []line
	for _, p := range plans {
		for _, g := range p.goals {
			lines = append(lines, line{p.row.Operation + " " + g.name, g.hits})
		}
	}
	for _, d := range destinations {
		lines = append(lines, line{"answer " + d.name(), d.hits})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.hits, b.hits), cmp.Compare(a.name, b.name)) })
	var b strings.Builder
	for at, l := range lines {
		why, never := unreachable()[l.name]
		if at < 40 {
			fmt.Fprintf(&b, "%6d  %s\n", l.hits, strings.TrimSpace(l.name+"  "+why))
		}
		if never == (l.hits > 0) || !never && l.hits < target() {
			t.Errorf("%s was hit %d times, wanted %d; cannot be met: %t", l.name, l.hits, target(), never)
		}
	}
	t.Logf("%d operations, arguments, conditions and fields of answers; the least hit:\n%s", len(lines), b.String())
}

// reportTally prints what became of the calls, and for which rows nothing was ever seen that they guard against.
func reportTally(t *testing.T, plans []*plan) {
	t.Helper()
	var sum tally
	var never []string
	milder := 0
	for _, p := range plans {
		y := p.told
		sum.calls, sum.refused, sum.denied = sum.calls+y.calls, sum.refused+y.refused, sum.denied+y.denied
		sum.passed, sum.acted, sum.cautious, sum.hid = sum.passed+y.passed, sum.acted+y.acted, sum.cautious+y.cautious, sum.hid+y.hid
		switch {
		case p.kind != "mutation" || p.row.Class == judge.Refused:
		case y.acted == 0:
			never = append(never, p.field.Name)
		case judge.Worse(y.worst, p.row.Class) != y.worst:
			milder++
		}
	}
	t.Logf("%d calls of operations: %d refused as they were judged, %d as they were looked up, %d passed; %d did something, %d of them less than they were judged; of %d answers something was hidden",
		sum.calls, sum.refused, sum.denied, sum.passed, sum.acted, sum.cautious, sum.hid)
	t.Logf("rows of mutations of a higher class than the worst that was ever seen of them: %d; mutations that pass and never did anything: %s", milder, strings.Join(never, " "))
}

// report names what was found and is not known, and prints what is.
func (f *findings) report(t *testing.T) {
	t.Helper()
	seen := map[exception]int{}
	for _, key := range sorted(f.all) {
		v := f.all[key]
		if e, is := excepted(v); is {
			seen[e] += f.times[key]
			continue
		}
		t.Errorf("%s (%d times)\n  %s\n  token %s, earlier %s\n  %s", key, f.times[key], v.detail, v.call.token, v.call.earlier, v.call.body)
	}
	for _, e := range slices.Concat(known(), explained()) {
		t.Logf("%5d times what is known: %s %s: %s", seen[e], e.operation, e.what, e.why)
	}
}
