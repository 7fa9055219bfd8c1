package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// The clocks of the warning: five minutes before the end, or a fifth of a shorter life.
const (
	warnBefore = 5 * time.Minute
	lookAgain  = 30 * time.Second // timers stand still while a laptop sleeps, wall clocks do not
)

// notice is one line for stderr at its time.
type notice struct {
	at   time.Time
	text string
}

// notices plans what is said about the ends of credentials: those that end together are named together.
func notices(credentials []api.Credential, now time.Time) []notice {
	ends := map[time.Time][]string{} // end → targets
	for _, c := range credentials {
		end := c.Expires.Truncate(time.Second).UTC()
		ends[end] = append(ends[end], c.Target+" in "+c.Environment)
	}
	var all []notice
	for end, names := range ends {
		lead := min(warnBefore, end.Sub(now)/5)
		name := strings.Join(names, ", ")
		if lead > 0 {
			all = append(all, notice{end.Add(-lead), "the credential for " + name + " ends in " + short(lead) + ", at " + clock(end) + "; more time is a new request"})
		}
		all = append(all, notice{end, "the credential for " + name + " has ended; the command runs on without it"})
	}
	slices.SortFunc(all, func(a, b notice) int { return a.at.Compare(b.at) })
	return all
}

// watch says each notice at its time, until ctx ends.
func (a *app) watch(ctx context.Context, all []notice) {
	for _, one := range all {
		for left := one.at.Sub(a.now()); left > 0; left = one.at.Sub(a.now()) {
			timer := time.NewTimer(min(left, lookAgain))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
		if ctx.Err() == nil {
			a.say("warning: %s", one.text)
		}
	}
}
