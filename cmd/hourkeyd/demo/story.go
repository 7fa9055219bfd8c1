package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// story writes the drill as a timeline.
type story struct {
	out   io.Writer
	began time.Time
	now   func() time.Time
}

// The columns of a line: the time and who are before what happened.
const (
	indent = 21
	width  = 80 // of what happened
)

func (s *story) title(title, below string) { s.printf("\n%s\n%s\n", title, below) }
func (s *story) chapter(text string)       { s.printf("\n%s\n", text) }
func (s *story) line(who, what string)     { s.row(" ", who, what) }
func (s *story) good(who, what string)     { s.row("✓", who, what) }
func (s *story) bad(who, what string)      { s.row("✗", who, what) }
func (s *story) shell(text string)         { s.printf("%*s%s\n", indent, "", text) }
func (s *story) printf(f string, a ...any) { _, _ = fmt.Fprintf(s.out, f, a...) } // a closed terminal stops nothing

func (s *story) row(mark, who, what string) {
	before := fmt.Sprintf(" %7.3fs %s %-8s ", s.now().Sub(s.began).Seconds(), mark, who)
	for _, line := range wrapped(what) {
		s.printf("%s%s\n", before, line)
		before = strings.Repeat(" ", indent)
	}
}

// wrapped breaks a text between words. A word is never cut: it may be an address.
func wrapped(text string) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// askYou tells what to do on the page. The page of the request comes by itself after the passkey.
func (s *story) askYou(origin, name, code string, asked pending) {
	port := origin[strings.LastIndexByte(origin, ':')+1:]
	s.printf(`
     1. open      %s/invite
     2. type      name %s   code %s
     3. make a passkey (your phone, your laptop's fingerprint, or a security key)
     4. read      %s
        which comes next; its phrase must be  %s
        approve with the passkey, or deny

   No passkey on this machine? The browser offers "use a phone", and Chromium has a virtual one in its
   developer tools (More tools, WebAuthn). No browser here? From a machine that
   has one: ssh -L %s:localhost:%s and this machine's name, keeping the name localhost; or run the drill with --auto.

   Waiting for you … (Ctrl-C ends the drill)

`, origin, name, code, asked.page, asked.phrase, port, port)
}

func (s *story) end(auto bool) {
	s.printf("\nEvery wall held. With your own database or provider: README.md. What a gateway cannot see: docs/gateway.md.\n")
	if auto {
		s.printf("Run it without --auto to be the reviewer yourself.\n")
	}
}
