package railway

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

const (
	keptFor  = 60 * time.Second // how long an answer is good for what only reads and writes (docs/gateway.md)
	mostKept = 256
)

// memory keeps answers for a while and lets one question be under way at a time for each key: who comes
// meanwhile waits for the same answer.
type memory[T any] struct {
	now     func() time.Time
	mu      sync.Mutex
	asked   uint64 // how many questions were begun
	answers map[string]*answer[T]
}

type answer[T any] struct {
	number uint64 // of the question
	began  time.Time
	done   chan struct{} // closed when value and err are set
	value  T
	err    error
}

func newMemory[T any](now func() time.Time) *memory[T] {
	return &memory[T]{now: now, answers: map[string]*answer[T]{}}
}

// recall gives the answer to ask. Fresh, it is one to a question that was begun after the call came: neither
// what was kept nor what is under way already. Errors are not kept.
func (m *memory[T]) recall(ctx context.Context, key string, fresh bool, ask func(context.Context) (T, error)) (T, error) {
	m.mu.Lock()
	came := m.asked
	for {
		a := m.answers[key]
		if a == nil || !a.good(m.now(), fresh, came) {
			return m.askNow(ctx, key, ask) // unlocks
		}
		m.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		mine := !fresh || a.number > came
		if mine && !errors.Is(a.err, context.Canceled) {
			return a.value, a.err
		}
		m.mu.Lock() // what was waited for began too early, or whoever asked has gone
	}
}

// good tells whether an answer is to be waited for: it may still turn out to be too early.
func (a *answer[T]) good(now time.Time, fresh bool, came uint64) bool {
	select {
	case <-a.done:
		return a.err == nil && (fresh && a.number > came || !fresh && now.Sub(a.began) <= keptFor)
	default:
		return true
	}
}

// askNow asks; the lock is held when it is called, and released here.
func (m *memory[T]) askNow(ctx context.Context, key string, ask func(context.Context) (T, error)) (T, error) {
	m.asked++
	a := &answer[T]{number: m.asked, began: m.now(), done: make(chan struct{})}
	m.forgetOld()
	m.answers[key] = a
	m.mu.Unlock()
	defer close(a.done)
	a.err = errors.New("the question was not asked to its end") // if ask panics, who waits must not take nothing for an answer
	a.value, a.err = ask(ctx)
	return a.value, a.err
}

// forgetOld keeps the memory small: keys may come of what a caller named.
func (m *memory[T]) forgetOld() {
	maps.DeleteFunc(m.answers, func(_ string, a *answer[T]) bool {
		select {
		case <-a.done:
			return a.err != nil || m.now().Sub(a.began) > keptFor || len(m.answers) > mostKept
		default:
			return false
		}
	})
}
