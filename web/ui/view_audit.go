package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Audit is the view of PageAudit.
type Audit struct {
	Filter    AuditFilter
	Filtered  bool
	Kinds     []Choice
	Rows      []EventRow
	Empty     string // why there are none
	Pager     Pager
	Integrity Integrity
	Exports   bool // the log can be downloaded
}

// AuditFilter is what a human looks for in the log. Every field that is not empty must hold. Before is the number
// of an event: only earlier ones are looked at.
type AuditFilter struct {
	Kind           string // one of AuditKinds
	Actor, Subject string
	Text           string // somewhere in the event, whatever its case
	From, To       string // days, 2026-11-21, UTC, both included
	Before         string
}

// Path is where the page with this filter is.
func (f AuditFilter) Path() string {
	return with("/audit", map[string]string{"kind": f.Kind, "actor": f.Actor, "subject": f.Subject, "text": f.Text, "from": f.From, "to": f.To, "before": f.Before})
}

// AuditKinds gives the groups of event types by which the log can be filtered, and their types' prefixes.
func AuditKinds() []AuditKind {
	return []AuditKind{
		{"requests", "Requests and reviews", []string{"hourkey.request.", "hourkey.review.", "hourkey.collect."}},
		{"leases", "Leases", []string{"hourkey.lease.", "hourkey.orphan."}},
		{"calls", "Calls through the gateway", []string{"hourkey.call."}},
		{"freezes", "Freezes", []string{"hourkey.freeze."}},
		{"agents", "Agents", []string{"hourkey.agent."}},
		{"people", "People and passkeys", []string{"hourkey.human.", "hourkey.passkey."}},
		{"targets", "Targets", []string{"hourkey.target."}},
		{"broker", "Configuration and broker", []string{"hourkey.configuration.", "hourkey.broker."}},
		{"notices", "Notices sent", []string{"hourkey.notice."}},
	}
}

// AuditKind is a group of event types.
type AuditKind struct {
	Name, Text string
	Prefixes   []string
}

// Numbered is an event and its number in the log.
type Numbered struct {
	Number uint64
	Event  broker.Event
}

// EventRow is one event in the list.
type EventRow struct {
	Number, Type   string
	Time           Moment
	Actor, Subject string
	Path           string // of what it is about; empty when there is no such page
	Data           string // JSON, indented
	Cut            string // how much of it there is, when that is more than is shown
}

// Integrity is what can be said of the log without reading it.
type Integrity struct {
	Height     uint64 // events now
	Covers     uint64 // of them by the newest signed checkpoint
	At         time.Time
	Checkpoint string // as signed
	Problem    string // why it does not hold
	Unknown    bool   // nobody tells
}

// Events counts those in the log.
func (i Integrity) Events() string { return events(i.Height) }

// Verified says which of them the checkpoint covers. The first event is number 0.
func (i Integrity) Verified() string {
	switch i.Covers {
	case 0:
		return "none of them verified"
	case 1:
		return "the first verified (number 0)"
	}
	return "the first " + number(i.Covers) + " verified (numbers 0 to " + number(i.Covers-1) + ")"
}

// Proven is what anybody can prove who kept the checkpoint.
func (i Integrity) Proven() string {
	if i.Covers == 1 {
		return "the first event was not changed"
	}
	return "none of the first " + events(i.Covers) + " was changed"
}

// Later tells of the events that no checkpoint covers yet; empty: there are none.
func (i Integrity) Later() string {
	switch later := max(i.Height, i.Covers) - i.Covers; later {
	case 0:
		return ""
	case 1:
		return "1 later event is not signed yet."
	default:
		return number(later) + " later events are not signed yet."
	}
}

func events(n uint64) string { return count(int(n), "event") } //nolint:gosec // a log of 2^63 events is none of ours
func number(n uint64) string { return grouped(int(n)) }        //nolint:gosec // nor is it here

// When is the time of the checkpoint.
func (i Integrity) When() Moment { return onClock(i.At) }

// AuditPage is what a search found: events, newest first; Before is where it goes on, empty when the log is read to
// its beginning; Looked is how many events were looked at, when the page is not full for all that.
type AuditPage struct {
	Events []Numbered
	Before string
	Looked int
}

// AuditOf makes the view of a page of the log.
func AuditOf(filter AuditFilter, page AuditPage, integrity Integrity, exports bool) Audit {
	view := Audit{Filter: filter, Integrity: integrity, Exports: exports, Kinds: []Choice{{Value: "", Text: "Everything"}}}
	for _, kind := range AuditKinds() {
		view.Kinds = append(view.Kinds, Choice{Value: kind.Name, Text: kind.Text})
	}
	view.Kinds = choices(view.Kinds, filter.Kind)
	for _, e := range page.Events {
		view.Rows = append(view.Rows, eventRow(e))
	}
	first := filter
	first.Before = ""
	if filter.Before != "" {
		view.Pager.First = first.Path()
	}
	if page.Before != "" {
		next := filter
		next.Before = page.Before
		view.Pager.Next, view.Pager.Text = next.Path(), "Earlier events"
	}
	if page.Looked > 0 {
		view.Pager.Text, view.Pager.Note = "Search further back", "Searched "+grouped(page.Looked)+" events on this page."
	}
	view.Empty = "Nothing earlier."
	if view.Filtered = first != (AuditFilter{}); view.Filtered {
		view.Empty, view.Pager = "No event like that.", view.Pager.found()
	}
	return view
}

// shownData is how many bytes of an event's data the page shows; the export has all.
const shownData = 16 << 10

func eventRow(e Numbered) EventRow {
	row := EventRow{
		Number: strconv.FormatUint(e.Number, 10), Type: strings.TrimPrefix(string(e.Event.Type), "hourkey."), Time: onClock(e.Event.Time),
		Actor: e.Event.Actor, Subject: short(e.Event.Subject, longName), Path: subjectPath(e.Event),
	}
	row.Time.Text = e.Event.Time.UTC().Format("2 Jan 2006 15:04:05 UTC")
	row.Data = readable(e.Event.Data)
	if len(row.Data) > shownData {
		row.Cut = fmt.Sprintf("Cut: the data has %s bytes. The export has all of it.", grouped(len(e.Event.Data)))
		row.Data = strings.ToValidUTF8(row.Data[:shownData], "") + " …"
	}
	return row
}

// readable is JSON with one field in a line, and with <, > and & as they are: the page escapes them by itself.
func readable(raw json.RawMessage) string {
	var indented bytes.Buffer
	if json.Indent(&indented, raw, "", "  ") != nil {
		return string(raw)
	}
	return strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(indented.String())
}

// subjectPath leads to what an event is about.
func subjectPath(e broker.Event) string {
	group, _, _ := strings.Cut(strings.TrimPrefix(string(e.Type), "hourkey."), ".")
	switch {
	case e.Subject == "", e.Type == broker.EventRequestDenied: // the latter was never stored
		return ""
	case group == "request", group == "collect":
		return RequestPath(e.Subject)
	case group == "agent":
		return AgentPath(e.Subject)
	case group == "target":
		return TargetPath(e.Subject)
	}
	return ""
}
