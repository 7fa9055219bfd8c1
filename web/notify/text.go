package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// How long things may be in a message, in bytes. The page shows everything.
const (
	maxName  = 80
	maxWords = 400  // of a human
	maxText  = 2500 // a whole line; Slack takes 3,000 characters in a block, ntfy 4,096 bytes
	maxShown = 3    // resources of one kind
	maxNamed = 10   // humans
)

// harmless makes a text that somebody else wrote fit to stand in a message: on one line, at most so many
// bytes, with nothing hidden in it, and nothing that a program would make a link of. What is special to one
// medium (Slack's angle brackets, the headers of mail) is that medium's to escape.
func harmless(text string, most int) string {
	text = ui.Plain(clip(text, most)) // cut first: it may be a megabyte
	return clip(unlinked(strings.NewReplacer("\n", " ", "\t", " ").Replace(text)), most)
}

// unlinked breaks addresses. Mail programs and chats make a link of whatever looks like one, and the attack
// is a table that is called https://evil.example/approve: in a message there is one link, and it is ours.
// Dots inside a word are shown as middle dots, "//" as "/ /".
func unlinked(text string) string {
	var out strings.Builder
	runes := []rune(text)
	for i, c := range runes {
		next := ' '
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		switch {
		case isDot(c) && i > 0 && !unicode.IsSpace(runes[i-1]) && !unicode.IsSpace(next):
			out.WriteRune('·')
		case c == '/' && next == '/':
			out.WriteString("/ ")
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

// isDot tells what a browser takes for the dot of a host name (UTS 46, section 4).
func isDot(c rune) bool {
	return c == '.' || c == 0x2024 || c == 0x3002 || c == 0xFF0E || c == 0xFF61
}

// clip cuts to at most so many bytes, and never inside a character.
func clip(text string, most int) string {
	const mark = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// called gives a name of ours as it is. One that could not have been given here is made harmless.
func called(name string) string {
	if broker.IsAgentName(name) {
		return name
	}
	return harmless(name, maxName)
}

// actor is how a message names who did something: events say "human:alice", "agent:ci", "socket".
func actor(text string) string {
	kind, name, _ := strings.Cut(text, ":")
	switch kind {
	case string(broker.CallerHuman), string(broker.CallerAgent):
		return called(name)
	case string(broker.CallerSocket), "shell":
		return "the broker's shell"
	case "restore":
		return "restoring a backup"
	}
	return "the broker"
}

// quoted is a human's words.
func quoted(words string) string { return "“" + harmless(strings.TrimSpace(words), maxWords) + "”" }

// list writes names out: "bob, carol and dave", and how many more there are.
func list(names []string, most int) string {
	if extra := len(names) - most; extra > 0 {
		names = append(names[:most:most], fmt.Sprintf("%d more", extra))
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// calledAll writes names of ours out.
func calledAll(names []string) string {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = called(name)
	}
	return list(shown, maxNamed)
}

// lasting is a time span as people say it.
func lasting(d time.Duration) string {
	switch minutes, seconds := int(d/time.Minute), int(d%time.Minute/time.Second); {
	case minutes == 0:
		return plural(seconds, "second")
	case seconds == 0:
		return plural(minutes, "minute")
	default:
		return plural(minutes, "minute") + " " + plural(seconds, "second")
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// clock is a point in time as people read it.
func clock(t time.Time) string { return t.UTC().Format("15:04 UTC on 2 January 2006") }
