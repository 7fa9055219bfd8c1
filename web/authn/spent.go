package authn

import (
	"sync"
	"time"
)

// spentMost is how many used things one generation remembers, at some 40 bytes each. To push out what a human has
// before them now, strangers must answer, each with a challenge or a sign-on of their own, more than so many times before
// the human has answered.
const spentMost = 1 << 18

// spent remembers what was used, so that nothing is used twice. What can be used carries its own age under a key of
// ours; so what merely waits takes no memory, and nobody can push it out by asking for more of the like.
//
// It holds two generations of at most most entries. One that is dropped before its time, because too many came, leaves
// a floor: what was made no later counts as used. So memory is bounded, and nothing is ever good twice.
type spent struct {
	life  time.Duration // how long something can be used
	most  int
	start time.Time // ages are counted from here: by the clock that nobody sets back, where there is one

	mu         sync.Mutex
	young, old generation
	floor      time.Duration // what was made up to then counts as used
	turned     time.Duration // when young became empty
}

// generation is a set of used things, and when the newest of them was made.
type generation struct {
	used   map[spentID]struct{}
	newest time.Duration
}

type spentID [16]byte

func newSpent(life time.Duration, now time.Time) *spent {
	none := generation{newest: -1}
	return &spent{life: life, most: spentMost, start: now, floor: -1, young: none, old: none}
}

// age is the moment now, as what is made now carries it.
func (s *spent) age(now time.Time) time.Duration { return now.Sub(s.start) }

// isOver tells whether what was made then can be used no more, whoever has used it. What is of the future is of
// another start.
func (s *spent) isOver(made time.Duration, now time.Time) bool {
	return made < 0 || made > s.age(now) || s.age(now)-made >= s.life
}

// use uses up what has that id and was made then; false if it was used before.
func (s *spent) use(id spentID, made time.Duration, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young.used) >= s.most || s.age(now)-s.turned >= s.life {
		s.floor = max(s.floor, s.old.newest)
		s.old, s.young, s.turned = s.young, generation{newest: -1}, s.age(now)
	}
	if s.isOver(made, now) || made <= s.floor || s.young.has(id) || s.old.has(id) {
		return false
	}
	s.young.add(id, made)
	return true
}

// wasUsed tells whether something is remembered as used; what is not may have been forgotten, and is no good all the same.
func (s *spent) wasUsed(id spentID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.young.has(id) || s.old.has(id)
}

func (g *generation) has(id spentID) bool {
	_, found := g.used[id]
	return found
}

func (g *generation) add(id spentID, made time.Duration) {
	if g.used == nil {
		g.used = map[spentID]struct{}{}
	}
	g.used[id], g.newest = struct{}{}, max(g.newest, made)
}
