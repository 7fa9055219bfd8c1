package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// The line of a wait that is rewritten, on terminals alone.
const (
	eraseLine = "\r\x1b[K"
	lineRoom  = 76 // columns that it needs: what wraps cannot be rewritten
)

// statusLine is the last line of a terminal while something is waited for. It is rewritten, never repeated.
type statusLine struct {
	mu    sync.Mutex
	shown string
}

// progress says on a terminal what is waited for and how much time there is for it, until stop is called; shown takes
// the request as it is now. The time left is told by this machine's clock: a wrong one shows a wrong number and changes
// nothing else.
func (a *app) progress(request api.Request) (shown func(api.Request), stop func()) {
	width, _ := a.screen()
	if width < lineRoom || a.output == outputJSON {
		return func(api.Request) {}, func() {}
	}
	var latest atomic.Pointer[api.Request]
	latest.Store(&request)
	ticks := time.NewTicker(time.Second)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			now := latest.Load()
			a.draw("hourkey: waiting for a human" + halfSigned(*now) + ", " + timeLeft(*now, a.now()))
			select {
			case <-done:
				return
			case <-ticks.C:
			}
		}
	})
	return func(now api.Request) { latest.Store(&now) }, func() {
		ticks.Stop()
		close(done)
		running.Wait()
		a.draw("")
	}
}

// halfSigned says how far a request has come that needs several humans, in brackets; nothing before the first.
func halfSigned(request api.Request) string {
	switch {
	case request.Signed == 0:
		return ""
	case len(request.Needs) == 1 && request.Signed < request.Needs[0].Humans: // else some count no more
		return fmt.Sprintf(" (%d of %d have signed)", request.Signed, request.Needs[0].Humans)
	default: // who counts where is the broker's to say
		return fmt.Sprintf(" (%d signed)", request.Signed)
	}
}

// timeLeft changes once a minute, and every ten seconds at the end: the line is for a glance.
func timeLeft(request api.Request, now time.Time) string {
	left := min(request.Deadline.Sub(now), request.Deadline.Sub(request.Created))
	switch {
	case left >= 2*time.Minute:
		return short(left.Truncate(time.Minute)) + " left"
	case left >= 10*time.Second:
		return short(left.Truncate(10*time.Second)) + " left"
	default:
		return "the time is nearly over"
	}
}

// draw puts text in the place of the status line; an empty one takes it away.
func (a *app) draw(text string) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	if text != a.status.shown {
		fmt.Fprint(a.stderr, eraseLine+text)
		a.status.shown = text
	}
}

// print writes whole lines, above the status line.
func (a *app) print(lines string) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	if a.status.shown != "" {
		lines = eraseLine + lines + a.status.shown
	}
	fmt.Fprint(a.stderr, lines)
}
