package ui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Inbox is the view of PageInbox.
type Inbox struct {
	Empty  bool
	Away   bool // what waits for this human's groups cannot be shown: the single sign-on is too old
	Groups []Group
	Recent []Entry // requests that are decided

	RecentCut bool // there may be more of them: not all were looked through
}

// Group is a kind of things that wait. More says how many of them are not shown.
type Group struct {
	Title, More string
	Entries     []Entry
}

// Entry is one thing in a list. A request has the worst clause of its sentence; everything else has What.
type Entry struct {
	Path, Who, What string
	Verb            string
	Clause          *Clause
	Also            int // clauses of the request beside this one
	Notes           []Note
}

// Note is in small what else a glance should tell: time left, repeats, how it ended.
type Note struct {
	Text   string
	Strong bool
	Left   Moment // a countdown, in the place of Text
}

func notes(texts ...string) []Note {
	list := make([]Note, len(texts))
	for i, text := range texts {
		list[i] = Note{Text: text}
	}
	return list
}

const (
	recentInInbox = 5
	longInList    = 60 // characters of a name in a list
)

// InboxOf makes the view of an inbox; recent are requests that this human may see, newest first.
func InboxOf(in broker.Inbox, recent []broker.Request, configuration *broker.Configuration, now time.Time) Inbox {
	view := Inbox{Away: in.Away}
	add := func(title, more string, entries []Entry) {
		if len(entries) > 0 || more != "" {
			view.Groups = append(view.Groups, Group{title, more, entries})
		}
	}
	add("Requests", moreWait(in), entries(in.Requests, func(r broker.Request) Entry { return requestEntry(r, configuration, now) }))
	add("Passkeys to confirm", "", entries(in.Passkeys, passkeyEntry))
	add("Targets to confirm", "", entries(in.Pins, pinEntry))
	add("Agents to activate", "", entries(in.Agents, agentEntry))
	add("People to admit", "", entries(in.Invites, inviteEntry))
	view.Empty = len(view.Groups) == 0
	add("Frozen now", "", entries(in.Freezes, freezeEntry)) // last, and no task: a freeze protects
	for _, r := range recent {
		if r.State != broker.RequestPending && len(view.Recent) < recentInInbox {
			view.Recent = append(view.Recent, Entry{Path: RequestPath(r.ID), Who: r.Agent, What: "· " + r.Task + " in " + strings.Join(r.Environments, ", "), Notes: notes(settledText(r), "asked "+clock(r.Created))})
		}
	}
	return view
}

// moreWait says what is not in the list. Behind many that this human signed or owns, how many of the others wait for
// the same human is not known.
func moreWait(in broker.Inbox) string {
	const behind = " may wait for you. They stand behind hundreds that you signed, or that your own agents ask, and the inbox looks no further."
	switch shown := len(in.Requests); {
	case in.Cut && shown == 0:
		return "Up to " + grouped(in.Waiting) + behind
	case in.Cut:
		return "Up to " + grouped(in.Waiting-shown) + " more" + behind
	case in.Waiting <= shown:
		return ""
	case shown == 1:
		return grouped(in.Waiting) + " wait. This one could destroy the most."
	default:
		return fmt.Sprintf("%s wait. These %d could destroy the most.", grouped(in.Waiting), shown)
	}
}

func entries[T any](list []T, entry func(T) Entry) []Entry {
	out := make([]Entry, len(list))
	for i, one := range list {
		out[i] = entry(one)
	}
	return out
}

// requestEntry tells the worst that is asked, and how long it waits; the page tells all.
func requestEntry(r broker.Request, configuration *broker.Configuration, now time.Time) Entry {
	entry := worstOf(r, configuration)
	entry.Notes = []Note{{Left: countdown(r.Deadline, now)}}
	if r.Repeats > 0 {
		entry.Notes = append(entry.Notes, Note{Text: strings.ToLower(asked(r)), Strong: true})
	}
	if isNarrowed(r) {
		entry.Notes = append(entry.Notes, Note{Text: "made smaller by a reviewer"})
	}
	return entry
}

// worstOf is one line about a request.
func worstOf(r broker.Request, configuration *broker.Configuration) Entry {
	entry := Entry{Path: RequestPath(r.ID), Who: r.Agent, Verb: verb(r)}
	clauses := clausesOf(r, configuration)
	if len(clauses) == 0 {
		entry.What = "asks for nothing in " + strings.Join(r.Environments, ", ")
		return entry
	}
	worst := clauses[0]
	for i, t := range worst.Things {
		worst.Things[i] = t.cut(longInList)
	}
	entry.Clause, entry.Also = &worst, len(clauses)-1
	return entry
}

// cut makes a name shorter still.
func (t Thing) cut(most int) Thing {
	length := max(t.Length, len([]rune(t.Name)))
	if t.Name = short(t.Name, most); length > most {
		t.Length = length
	}
	return t
}

func freezeEntry(f broker.Freeze) Entry {
	who := "everything"
	if f.Of != broker.FreezeAll {
		who = string(f.Of) + " " + f.Name
	}
	return Entry{Path: FreezePath(f.ID()), Who: who, What: "is frozen by " + actor(f.By), Notes: notes("since " + clock(f.At))}
}

func pinEntry(p broker.Pin) Entry {
	what := "says that it is " + short(p.Seen.Shown, 120)
	if !p.Confirmed.IsZero() {
		what = "has changed: it now " + what
	}
	return Entry{Path: TargetPath(p.Environment + "/" + p.Target), Who: p.Target + " in " + p.Environment, What: what, Notes: notes("seen " + clock(p.Learned))}
}

func passkeyEntry(w broker.WaitingPasskey) Entry {
	what := "was made with your session, and waits for an earlier passkey of yours"
	return Entry{Path: "/me", Who: cmp.Or(w.Passkey.Name, "a new passkey"), What: what, Notes: notes("until " + clock(w.Expires))}
}

func agentEntry(a broker.Agent) Entry {
	return Entry{Path: AgentPath(a.Name), Who: a.Name, What: "wants to work on your behalf", Notes: notes("added " + clock(a.Created))}
}

func inviteEntry(i broker.Invite) Entry {
	what := "is invited by " + actor(i.By)
	if i.Passkey != nil {
		what = "made a passkey after single sign-on"
	}
	return Entry{Path: HumanPath(i.Human), Who: i.Human, What: what, Notes: notes("until " + clock(i.Expires))}
}
