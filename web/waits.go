package web

import "sync"

const waitsPerCaller = 32

// waits bounds how many calls of one caller wait for humans at once.
type waits struct {
	mu   sync.Mutex
	held map[string]int // caller → calls that wait
}

func (w *waits) enter(caller string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[caller] >= waitsPerCaller {
		return false
	}
	if w.held == nil {
		w.held = map[string]int{}
	}
	w.held[caller]++
	return true
}

func (w *waits) leave(caller string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[caller]--; w.held[caller] <= 0 {
		delete(w.held, caller)
	}
}
