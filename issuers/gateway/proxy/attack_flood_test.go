package proxy

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The attack: calls that are refused cost the agent nothing, and the broker a durable line each, of up to
// 16 KB. A full disk stops everybody: nothing passes that cannot be recorded.
func TestRefusedCallsDoNotFillTheLog(t *testing.T) {
	r, w, _ := realRig(t)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { _ = w.Run(ctx); close(ran) }()
	t.Cleanup(func() { stop(); <-ran })
	client := r.client()
	wait(t, "refusals to be gathered", func() bool { // until Run is there, each is written by itself
		before := w.Events(broker.EventCallRefused)
		r.do(client, "GET", "/never/at/first", "")
		return w.Events(broker.EventCallRefused) == before
	})
	const many = 1000
	c := r.plain()
	defer c.Close()
	go func() {
		for range many {
			say(c, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
		}
		say(c, "GET /never HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	}()
	began := time.Now()
	_, _ = io.Copy(io.Discard, c)
	took := time.Since(began)
	time.Sleep(300 * time.Millisecond)
	most := many/10 + int(took/(50*time.Millisecond)) // what comes within 50 ms is one line
	if lines := w.Events(broker.EventCallRefused); lines > most {
		t.Errorf("%d equal refusals of one lease are %d lines, in %v", many+1, lines, took)
	}
}
