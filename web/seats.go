package web

import "sync"

// seats bounds how many long answers there are at once, for each name (a session, a human, an address) and in all.
type seats struct {
	each, all int

	mu    sync.Mutex
	held  map[string]int // name → answers
	taken int
}

func (s *seats) enter(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.all || s.held[name] >= s.each {
		return false
	}
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[name]++
	s.taken++
	return true
}

func (s *seats) leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.held[name]--; s.held[name] <= 0 {
		delete(s.held, name)
	}
}
