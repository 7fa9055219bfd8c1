package notify

import (
	"time"

	"golang.org/x/time/rate"
)

// How much one agent can have a channel tell: twenty requests with their outcomes at once, then one thing in
// two minutes.
const (
	crowdBurst = 40
	crowdEvery = 2 * time.Minute
)

// crowd keeps one agent from burying what others ask. The attack: to submit and withdraw all day, until
// people mute the channel.
type crowd map[string]*rate.Limiter // agent → what it has left

// room is what a crowd leaves for one more notice.
type room int

const (
	roomEnough room = iota
	roomLast        // it must say that the next are not told, or silence would be taken for rest
	roomNone
)

// admit takes room for a notice that an agent causes, or empty, somebody else.
func (c crowd) admit(agent string, now time.Time) room {
	if agent == "" {
		return roomEnough
	}
	left := c[agent]
	if left == nil {
		left = rate.NewLimiter(rate.Every(crowdEvery), crowdBurst)
		c[agent] = left
	}
	switch {
	case !left.AllowN(now, 1):
		return roomNone
	case left.TokensAt(now) < 1:
		return roomLast
	}
	return roomEnough
}

// tooMuch says instead that there is more than is told.
func (n *notice) tooMuch() {
	n.title = called(n.agent) + " asks too much"
	n.text = called(n.agent) + " asks so often that for a while not all of it is told. What waits is in the inbox, and there an agent can be frozen."
	n.names, n.path = "", "/"
}
