package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// About is what a message is about. A channel can be limited to some of them.
type About string

// What messages are about.
const (
	AboutRequests About = "requests" // something waits for somebody
	AboutOutcomes About = "outcomes" // what came of a request
	AboutPeople   About = "people"   // who comes in, and with which key
	AboutAlarms   About = "alarms"   // freezes, lifts, and what should not be
)

// Abouts lists them all.
func Abouts() []About { return []About{AboutRequests, AboutOutcomes, AboutPeople, AboutAlarms} }

// notice is one event, as it is told. Its texts hold our own words, names, and what humans wrote, made
// harmless; no secret, and nothing that an agent said.
type notice struct {
	number       uint64 // of the event
	event        broker.Event
	about        About
	agent        string   // whose doing it is, empty when no agent can cause it
	environments []string // empty: it concerns all
	title        string   // a few words
	text         string   // one line
	names        string   // goes on after text where everybody reads the same
	path         string   // of the page
	hearers      []hearer
}

// hearer is one human whom a notice concerns, and why.
type hearer struct{ human, why string }

// wide is the line that everybody reads who is in a channel.
func (n *notice) wide() string { return clip(n.text+n.names, maxText) }

// hears adds a human, once.
func (n *notice) hears(why string, humans ...string) {
	for _, human := range humans {
		if !slices.ContainsFunc(n.hearers, func(h hearer) bool { return h.human == human }) {
			n.hearers = append(n.hearers, hearer{human, why})
		}
	}
}

// aboutOf says which events are told; what is not here is told to nobody. An event that this package appends
// is never here, or one message would be the reason for the next.
func aboutOf(kind broker.EventType) (About, bool) {
	switch kind { //nolint:exhaustive // the others are told to nobody
	case broker.EventRequestSubmitted:
		return AboutRequests, true
	case broker.EventRequestApproved, broker.EventRequestRejected, broker.EventRequestExpired, broker.EventRequestCancelled:
		return AboutOutcomes, true
	case broker.EventAgentEnrolled, broker.EventHumanInvited, broker.EventHumanAdmitted, broker.EventHumanReset,
		broker.EventPasskeyOffered, broker.EventPasskeyAdded, broker.EventPasskeyRemoved:
		return AboutPeople, true
	case broker.EventFrozen, broker.EventLifted, broker.EventLeaseStuck, broker.EventTargetChanged, broker.EventRestored, broker.EventSameUser:
		return AboutAlarms, true
	}
	return "", false
}

// scene is one event and what is known when it is told, which may be much later.
type scene struct {
	broker.Reader
	number uint64
	event  broker.Event
	config *broker.Configuration
	now    time.Time
}

// notice says what there is to tell of the event now; nil when there is nothing, or nothing any more.
func (s *scene) notice() (*notice, error) {
	about, told := aboutOf(s.event.Type)
	if !told {
		return nil, nil
	}
	var n *notice
	var err error
	switch about {
	case AboutRequests, AboutOutcomes:
		n, err = s.request()
	case AboutPeople:
		n, err = s.people()
	case AboutAlarms:
		n, err = s.alarm()
	}
	if err != nil || n == nil {
		return nil, err
	}
	n.number, n.event, n.about = s.number, s.event, about
	n.title, n.text = clip(n.title, maxText/10), clip(n.text, maxText)
	if rest, is := strings.CutPrefix(n.text, "the "); is {
		n.text = "The " + rest
	}
	return n, nil
}

// data decodes the event's data.
func (s *scene) data(into any) error {
	if len(s.event.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(s.event.Data, into); err != nil {
		return unreadable{fmt.Errorf("event %d (%s): %w", s.number, s.event.Type, err)}
	}
	return nil
}

// unreadable is an event of a form that this version does not know. It is passed over: to stop at it would
// silence everything after it.
type unreadable struct{ error }

// load fills record; found is false when there is none.
func (s *scene) load(record broker.Record) (found bool, err error) {
	err = s.Load(record)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// operators lists, sorted, who operates, those included who must sign on again before they can act: an alarm
// at night is for them too.
func operators(config *broker.Configuration) []string {
	var names []string
	for _, group := range config.Roles[broker.RoleOperator] {
		names = append(names, config.Groups[group]...)
		names = append(names, config.Away[group]...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
