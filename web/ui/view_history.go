package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// History is what this agent and this task had before.
type History struct {
	Agent, Task string  // in one sentence each
	Last        []Entry // what humans decided
}

func historyOf(h broker.History, configuration *broker.Configuration, now time.Time) History {
	view := History{Agent: tally("This agent", h.Agent), Task: tally("This task", h.Task)}
	for _, was := range h.Last {
		entry := worstOf(was, configuration)
		entry.Notes = []Note{{Text: settledText(was), Strong: was.State == broker.RequestDenied}, {Text: ago(was.Created, now)}}
		if was.State == broker.RequestDenied && was.Verdict != "" {
			entry.Notes = append(entry.Notes, Note{Text: "“" + short(was.Verdict, 200) + "”"})
		}
		view.Last = append(view.Last, entry)
	}
	return view
}

// tally says in one sentence how earlier requests ended, and how many policy refused before they were any.
func tally(who string, t broker.Tally) string {
	if t.Asked == 0 && t.Refused == 0 {
		return who + ": nothing was asked in the last 30 days."
	}
	parts := []string{fmt.Sprintf("asked %s in the last 30 days", count(t.Asked+t.Refused, "time"))}
	for _, part := range []struct {
		n    int
		text string
	}{{t.Refused, "refused by policy"}, {t.Denied, "denied"}, {t.Granted, "approved"}, {t.Allowed, "allowed by policy alone"}, {t.Expired, "expired"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return who + ": " + strings.Join(parts, ", ") + "."
}
