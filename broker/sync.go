package broker

import "sync"

// broadcast lets many wait for the next change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that is closed at the next notify. Take it before looking at the state.
func (w *broadcast) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch == nil {
		w.ch = make(chan struct{})
	}
	return w.ch
}

func (w *broadcast) notify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch != nil {
		close(w.ch)
		w.ch = nil
	}
}

// keyed is a mutex per key; a key that nobody holds or awaits costs nothing.
type keyed struct {
	mu   sync.Mutex
	held map[string]*keyedEntry // key → its lock
}

type keyedEntry struct {
	sync.Mutex
	users int
}

// lock takes the key's mutex and gives the function that releases it.
func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyedEntry{}
	}
	entry := k.held[key]
	if entry == nil {
		entry = &keyedEntry{}
		k.held[key] = entry
	}
	entry.users++
	k.mu.Unlock()
	entry.Lock()
	return func() {
		entry.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if entry.users--; entry.users == 0 {
			delete(k.held, key)
		}
	}
}
