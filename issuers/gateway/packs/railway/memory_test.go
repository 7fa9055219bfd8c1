package railway

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFreshIsNotWhatWasUnderWay: a question that was begun before the call came may have been answered before
// what the call is about happened.
func TestFreshIsNotWhatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[int](time.Now)
		begun, asks := 0, make(chan int)
		ask := func(context.Context) (int, error) { begun++; return <-asks, nil }
		var all sync.WaitGroup
		got := make([]int, 5)
		recall := func(at int, fresh bool) {
			all.Go(func() { got[at], _ = m.recall(t.Context(), "k", fresh, ask) })
			synctest.Wait()
		}
		recall(0, false) // asks
		recall(1, false) // waits for that
		recall(2, true)  // must not
		recall(3, true)  // nor this: but one question is enough for both
		asks <- 1
		synctest.Wait()
		recall(4, false) // takes what is under way
		asks <- 2
		all.Wait()
		if want := []int{1, 1, 2, 2, 2}; begun != 2 || !equal(got, want) {
			t.Errorf("%d questions, answers %v, want %v", begun, got, want)
		}
	})
}

func equal(a, b []int) bool {
	for at := range a {
		if a[at] != b[at] {
			return false
		}
	}
	return len(a) == len(b)
}

// TestWhoeverLeavesTakesNobodyAlong: the one who asks goes, and another asks in his place.
func TestWhoeverLeavesTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[int](time.Now)
		ask := func(ctx context.Context) (int, error) {
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Second):
				return 7, nil
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = m.recall(ctx, "k", false, ask) })
		synctest.Wait()
		var got int
		var err error
		all.Go(func() { got, err = m.recall(t.Context(), "k", false, ask) })
		synctest.Wait()
		cancel()
		all.Wait()
		if got != 7 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
	})
}

// TestErrorsAndOldAnswersAreNotKept.
func TestErrorsAndOldAnswersAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[int](time.Now)
		n := 0
		ask := func(context.Context) (int, error) {
			if n++; n == 1 {
				return 0, errors.New("down")
			}
			return n, nil
		}
		if _, err := m.recall(t.Context(), "k", false, ask); err == nil {
			t.Error("no error")
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 2}, {keptFor, 2}, {time.Second, 3}} {
			time.Sleep(step.wait)
			if got, err := m.recall(t.Context(), "k", false, ask); got != step.want || err != nil {
				t.Errorf("%d, %v: want %d", got, err, step.want)
			}
		}
		for at := range 2 * mostKept {
			if _, err := m.recall(t.Context(), string(rune('a'+at)), false, ask); err != nil {
				t.Fatal(err)
			}
		}
		if len(m.answers) > mostKept+1 {
			t.Errorf("%d answers are kept", len(m.answers))
		}
	})
}
