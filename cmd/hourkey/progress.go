package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// The line of a wait that is rewritten, on terminals alone.
const (
	eraseLine = "\r\x1b[K"
	lineRoom  = 60 // columns that it needs: what wraps cannot be rewritten
)

// statusLine is the last line of a terminal while something is waited for. It is rewritten, never repeated.
type statusLine struct {
	mu    sync.Mutex
	shown string
}

// progress says on a terminal how much time there is for the decision, until stop is called. The time left
// is told by this machine's clock: a wrong one shows a wrong number and changes nothing else.
func (a *app) progress(request api.Request) (stop func()) {
	width, _ := a.screen()
	if width < lineRoom || a.output == outputJSON {
		return func() {}
	}
	ticks := time.NewTicker(time.Second)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			a.draw("hourkey: waiting for a human, " + timeLeft(request, a.now()))
			select {
			case <-done:
				return
			case <-ticks.C:
			}
		}
	})
	return func() {
		ticks.Stop()
		close(done)
		running.Wait()
		a.draw("")
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
