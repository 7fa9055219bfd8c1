package forward

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConnectionOfAnotherUserIsClosed(t *testing.T) {
	if !peersAreKnown {
		t.Log("this system does not tell whose a socket is: the password alone decides")
		return
	}
	for name, step := range map[string]struct {
		uid   int
		found bool
		says  string // "" is served
	}{
		"our own":            {1000, true, ""},
		"another":            {1001, true, "of another user (uid 1001)"},
		"root":               {0, true, "of another user (uid 0)"},
		"not in the table":   {0, false, "of an unknown user"},
		"own, but not found": {1000, false, "of an unknown user"},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var why string
			asked := 0
			own := &ownListener{Listener: listener, uid: 1000, refused: func(text string) { why += text }, uidOf: func(local, remote netip.AddrPort) (int, bool) {
				asked++
				if remote.String() != listener.Addr().String() || local.Port() == remote.Port() {
					t.Errorf("asked for %v → %v", local, remote)
				}
				return step.uid, step.found
			}}
			accepted := make(chan net.Conn)
			go func() {
				conn, err := own.Accept()
				if err == nil {
					_ = conn.Close()
				}
				accepted <- conn
			}()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			_, _ = conn.Read(make([]byte, 1)) // until it is closed
			_ = listener.Close()
			got := <-accepted
			if served := got != nil; served != (step.says == "") || !strings.Contains(why, step.says) || asked != 1 {
				t.Errorf("served %v, said %q, asked %d times", served, why, asked)
			}
		})
	}
}

func TestLineBreakInAReasonDoesNotEndTheStatusLine(t *testing.T) {
	for line, want := range map[string]string{
		"plain":                             "hourkey: plain",
		"two\r\nlines: x":                   "hourkey: two lines: x",
		"ä and \x1b[1m":                     "hourkey: ? and ?[1m",
		"nul \x00 in it":                    "hourkey: nul ? in it",
		strings.Repeat("long ", 100):        ("hourkey: " + strings.Repeat("long ", 100))[:200],
		"x" + strings.Repeat("\u202e", 300): ("hourkey: x" + strings.Repeat("?", 300))[:200],
	} {
		if got := reason(line); got != want {
			t.Errorf("reason(%q) = %q, want %q", line, got, want)
		}
	}
}
