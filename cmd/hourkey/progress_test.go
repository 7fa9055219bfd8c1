package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

func TestTimeLeftMovesSeldom(t *testing.T) {
	now := time.Date(2026, 11, 21, 2, 40, 0, 0, time.UTC)
	request := api.Request{Created: now, Deadline: now.Add(time.Hour)}
	for at, want := range map[time.Duration]string{
		-time.Hour: "1h left", 0: "1h left", time.Second: "59m left", 58 * time.Minute: "2m left", 58*time.Minute + time.Second: "1m50s left",
		59*time.Minute + 45*time.Second: "10s left", 59*time.Minute + 55*time.Second: "the time is nearly over", 2 * time.Hour: "the time is nearly over",
	} {
		if got := timeLeft(request, now.Add(at)); got != want {
			t.Errorf("after %v: %q, want %q", at, got, want)
		}
	}
}

// What is said while the status line stands goes above it.
func TestLinesAndTheStatusLineDoNotMix(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out}
	a.say("one")
	a.draw("59m left")
	a.draw("59m left")
	a.say("two")
	a.draw("58m left")
	a.draw("")
	a.draw("")
	a.say("three")
	want := "hourkey: one\n\r\x1b[K59m left\r\x1b[Khourkey: two\n59m left\r\x1b[K58m left\r\x1b[Khourkey: three\n"
	if got := out.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWaitOnATerminalTellsTheTimeLeftOnOneLine(t *testing.T) {
	fake, environ := enrolled(t)
	environ = append(environ, "TERM=xterm", "HOURKEY_QR=0")
	_, _ = onTerminal(t, environ, 80, 24, "request", "--scope", "orders-db:public.orders:delete")
	go func() {
		if comes(func() bool { return fake.polled("req-1") > 0 }) {
			time.Sleep(2500 * time.Millisecond) // in which the line must stay as it is
			fake.review(api.StateApproved, "")
		}
	}()
	said, code := onTerminal(t, environ, 80, 24, "wait", "req-1")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if strings.Count(said, "\r\x1b[Khourkey: waiting for a human, 59m left") != 1 {
		t.Errorf("%q", said)
	}
	if !strings.Contains(said, "left\r\x1b[Khourkey: request req-1 is approved") {
		t.Errorf("the status line stays: %q", said)
	}
}

func TestWaitOnANarrowOrDumbTerminalHasNoStatusLine(t *testing.T) {
	_, environ := enrolled(t)
	_, _ = onTerminal(t, environ, 80, 24, "request", "--scope", "orders-db:public.orders:delete")
	for name, step := range map[string]struct {
		columns uint16
		term    string
		output  string
	}{"narrow": {59, "xterm", "text"}, "dumb": {80, "dumb", "text"}, "JSON": {80, "xterm", "json"}} {
		said, code := onTerminal(t, append(environ, "TERM="+step.term), step.columns, 24, "wait", "req-1", "--timeout", "1s", "-o", step.output)
		if code != exitPending || strings.Contains(said, "waiting for a human, ") || strings.Contains(said, "\x1b") {
			t.Errorf("%s: exit code %d, %q", name, code, said)
		}
	}
}

// The attack: a signature that counts no more makes the line say that all is signed.
func TestHalfSignedNeverSaysThatAllHave(t *testing.T) {
	needs := func(humans ...int) (all []api.Need) {
		for _, n := range humans {
			all = append(all, api.Need{Environment: "e", Humans: n})
		}
		return all
	}
	for want, request := range map[string]api.Request{
		"":                      {Needs: needs(2)},
		" (1 of 2 have signed)": {Needs: needs(2), Signed: 1},
		" (2 signed)":           {Needs: needs(2), Signed: 2},
		" (1 signed)":           {Needs: needs(2, 1), Signed: 1},
	} {
		if got := halfSigned(request); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if line := "hourkey: waiting for a human" + halfSigned(request) + ", the time is nearly over"; len(line) >= lineRoom {
			t.Errorf("%d columns wrap where %d are enough: %s", len(line), lineRoom, line)
		}
	}
}
