package ui

import (
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Inbox is the view of PageInbox.
type Inbox struct {
	Empty  bool
	Groups []Group
	Recent []Entry // requests that are decided
}

// Group is a kind of things that wait.
type Group struct {
	Title   string
	Entries []Entry
}

// Entry is one thing that waits.
type Entry struct {
	Path, Who, What, When string
	Actions               []Action
}

const recentInInbox = 5

// InboxOf makes the view of an inbox; recent are requests that this human may see, newest first.
func InboxOf(in broker.Inbox, recent []broker.Request, now time.Time) Inbox {
	view := Inbox{}
	add := func(title string, entries []Entry) {
		if len(entries) > 0 {
			view.Groups = append(view.Groups, Group{title, entries})
		}
	}
	add("Requests", entries(in.Requests, func(r broker.Request) Entry { return requestEntry(r, now) }))
	add("Freezes to lift", entries(in.Freezes, freezeEntry))
	add("Targets to confirm", entries(in.Pins, pinEntry))
	add("Agents to activate", entries(in.Agents, agentEntry))
	add("People to admit", entries(in.Invites, inviteEntry))
	view.Empty = len(view.Groups) == 0
	for _, r := range recent {
		if r.State != broker.RequestPending && len(view.Recent) < recentInInbox {
			view.Recent = append(view.Recent, Entry{Path: RequestPath(r.ID), Who: r.Agent, What: r.Task + " in " + strings.Join(r.Environments, ", "), When: stateText(r.State, r.Operation != nil)})
		}
	}
	return view
}

func entries[T any](list []T, entry func(T) Entry) []Entry {
	out := make([]Entry, len(list))
	for i, one := range list {
		out[i] = entry(one)
	}
	return out
}

// requestEntry tells the worst that is asked; the page tells all.
func requestEntry(r broker.Request, now time.Time) Entry {
	entry := Entry{Path: RequestPath(r.ID), Who: r.Agent, When: left(r.Deadline, now)}
	where := " in " + strings.Join(r.Environments, ", ")
	clauses := clausesOf(r)
	if len(clauses) == 0 {
		entry.What = "asks for nothing" + where
		return entry
	}
	worst := clauses[0]
	entry.Actions, entry.What = worst.Actions, short(strings.Join(worst.Resources, ", "), 80)
	if worst.More > 0 {
		entry.What += " and " + count(worst.More, "other")
	}
	if len(clauses) > 1 {
		entry.What += ", and more,"
	}
	entry.What += where
	return entry
}

func freezeEntry(f broker.Freeze) Entry {
	who := "everything"
	if f.Of != broker.FreezeAll {
		who = string(f.Of) + " " + f.Name
	}
	return Entry{Path: FreezePath(f.ID()), Who: who, What: "is frozen by " + actor(f.By), When: "since " + clock(f.At)}
}

func pinEntry(p broker.Pin) Entry {
	what := "says that it is " + short(p.Seen.Shown, 120)
	if !p.Confirmed.IsZero() {
		what = "has changed: it now " + what
	}
	return Entry{Path: TargetPath(p.Environment + "/" + p.Target), Who: p.Target + " in " + p.Environment, What: what, When: "seen " + clock(p.Learned)}
}

func agentEntry(a broker.Agent) Entry {
	return Entry{Path: AgentPath(a.Name), Who: a.Name, What: "wants to work on your behalf", When: "added " + clock(a.Created)}
}

func inviteEntry(i broker.Invite) Entry {
	return Entry{Path: HumanPath(i.Human), Who: i.Human, What: "is invited by " + actor(i.By), When: "until " + clock(i.Expires)}
}
