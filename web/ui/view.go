package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Invite is the view of PageInvite.
type Invite struct{ Name, Problem string }

// Register is the view of PageRegister. Options is the JSON that the script hands to the browser.
type Register struct{ Human, Options string }

// SignIn is the view of PageSignIn. FromElsewhere is true when the browser came by a link from another
// site, for which it withholds the session cookie; Path is the page that it asked for.
type SignIn struct {
	FromElsewhere bool
	Path          string
	SingleSignOn  bool // there is one
}

// Problem is the view of PageProblem.
type Problem struct{ Title, Message, Next, Back, BackText string }

// Sign is what a passkey is asked to sign: Digest is that of the subject as this page shows it.
type Sign struct {
	Act                     broker.Act
	Subject, Digest, Button string
}

// Action is one action in a sentence. Before is what stands between it and the one before.
type Action struct {
	Before, Name string
	Destructive  bool
}

func actionsOf(set broker.Actions) []Action {
	names := set.Names()
	list := make([]Action, len(names))
	for i, name := range names {
		list[i] = Action{Name: name, Destructive: name == broker.Delete.String() || name == broker.Admin.String()}
		switch {
		case i == 0:
		case i == len(names)-1:
			list[i].Before = " and "
		default:
			list[i].Before = ", "
		}
	}
	return list
}

// clock writes a moment as every page does.
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }

// ago says how long ago something was: "20 seconds ago". What is older than a day gets its date.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return span(d.Truncate(time.Second)) + " ago"
	case d < 2*time.Hour:
		return span(d.Truncate(time.Minute)) + " ago"
	case d < 24*time.Hour:
		return span(d.Truncate(time.Hour)) + " ago"
	}
	return clock(t)
}

// moment is ago and, where that is no date yet, the date.
func moment(t, now time.Time) string {
	if text := ago(t, now); text != clock(t) {
		return text + " (" + clock(t) + ")"
	}
	return clock(t)
}

// span writes a duration in words: "10 minutes", "1 hour", "90 seconds".
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return count(int(d/time.Hour), "hour")
	case d >= time.Minute && d%time.Minute == 0:
		return count(int(d/time.Minute), "minute")
	case d >= 10*time.Minute:
		return count(int(d.Round(time.Minute)/time.Minute), "minute")
	case d >= 2*time.Minute:
		return count(int(d/time.Minute), "minute") + " " + count(int(d%time.Minute/time.Second), "second")
	default:
		return count(int(d/time.Second), "second")
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// grouped writes a number with its thousands apart: "65,536".
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// left says how long something still waits.
func left(until, now time.Time) string {
	if !now.Before(until) {
		return "its time is over"
	}
	if d := until.Sub(now); d >= time.Minute {
		return span(d.Truncate(time.Minute)) + " left"
	}
	return "less than a minute left"
}

// foreign gives what is in reaches and not in named, sorted, once.
func foreign(reaches, named []string) []string {
	var out []string
	for _, environment := range reaches {
		if !slices.Contains(named, environment) && !slices.Contains(out, environment) {
			out = append(out, environment)
		}
	}
	slices.Sort(out)
	return out
}

// short cuts a long identifier for a list; the page of the thing itself never cuts.
func short(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return strings.TrimSpace(string(runes[:most])) + "…"
}
