package proxy

import (
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// slots counts open tunnels, by lease, by agent and in all: one agent with many leases leaves room for others.
type slots struct {
	mu     sync.Mutex
	taken  map[string]int // lease id → open tunnels
	agents map[string]int // agent → open tunnels
	all    int
}

func newSlots() *slots { return &slots{taken: map[string]int{}, agents: map[string]int{}} }

func (s *slots) take(lease, agent string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= mostTunnels || s.taken[lease] >= mostPerLease || s.agents[agent] >= mostPerAgent {
		return broker.Errorf(broker.CodeUnavailable, "too many tunnels are open: at most %d for a lease, %d for an agent, %d in all", mostPerLease, mostPerAgent, mostTunnels).WithNext("close some first")
	}
	s.taken[lease]++
	s.agents[agent]++
	s.all++
	return nil
}

func (s *slots) give(lease, agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.taken[lease]--; s.taken[lease] == 0 {
		delete(s.taken, lease)
	}
	if s.agents[agent]--; s.agents[agent] == 0 {
		delete(s.agents, agent)
	}
}

// budget is memory for large bodies, shared by all calls.
type budget struct {
	mu   sync.Mutex
	left int64
}

func (b *budget) take(bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes > b.left {
		return false
	}
	b.left -= bytes
	return true
}

func (b *budget) give(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += bytes
}

// callsUnderWay lets the proxy stop between calls.
type callsUnderWay struct {
	mu       sync.Mutex
	count    int
	stopping bool
	none     chan struct{} // closed when stopping and there is none
}

func newCallsUnderWay() *callsUnderWay { return &callsUnderWay{none: make(chan struct{})} }

func (c *callsUnderWay) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopping {
		c.count++
	}
	return !c.stopping
}

func (c *callsUnderWay) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count--; c.stopping && c.count == 0 {
		close(c.none)
	}
}

// stop lets no call begin any more and tells when none is left.
func (c *callsUnderWay) stop() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopping && c.count == 0 {
		close(c.none)
	}
	c.stopping = true
	return c.none
}

func (c *callsUnderWay) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}
