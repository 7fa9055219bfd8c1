package ui

import (
	"net/url"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Moment is a time as people read it, and as the script does (RFC 3339).
type Moment struct{ Text, Machine string }

// onClock is a moment by its date.
func onClock(t time.Time) Moment { return Moment{clock(t), machine(t)} }

// countdown is a moment by what is left until then.
func countdown(until, now time.Time) Moment { return Moment{left(until, now), machine(until)} }

func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Choice is one option of a filter.
type Choice struct {
	Value, Text string
	Selected    bool
}

// choices gives the options with one of them selected; the first of them stands for all.
func choices(options []Choice, selected string) []Choice {
	options = slices.Clone(options)
	for i := range options {
		options[i].Selected = options[i].Value == selected
	}
	return options
}

// Pager leads on in a list that is longer than a page.
type Pager struct {
	First string // to the beginning; empty when this is it
	Next  string // to what comes after; empty when this is the end
	Text  string // of Next
	Note  string // what was looked through, when that was not all
}

// found leads to the list on the pages behind, past the form above it.
func (p Pager) found() Pager {
	for _, path := range []*string{&p.First, &p.Next} {
		if *path != "" {
			*path += "#found"
		}
	}
	return p
}

// with gives a path with a query; values that are empty are left out.
func with(path string, values map[string]string) string {
	query := url.Values{}
	for name, value := range values {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// Granted is one line of what a key may do.
type Granted struct {
	Actions  []Action
	Resource string
	Target   string
}

// shownScopes is how many lines of one key a list shows; the request's page has all.
const shownScopes = 3

// granted gives the first lines, the worst first, and how many there are beside them.
func granted(scopes []broker.Scope, called func(broker.Resource) string) (first []Granted, more int) {
	sorted := slices.Clone(scopes)
	slices.SortStableFunc(sorted, func(a, b broker.Scope) int { return int(b.Actions) - int(a.Actions) }) // admin, then delete, are the highest bits
	for _, scope := range sorted[:min(len(sorted), shownScopes)] {
		first = append(first, Granted{actionsOf(scope.Actions), short(called(scope.Resource), longName), scope.Target})
	}
	return first, len(sorted) - len(first)
}

func byItsName(resource broker.Resource) string { return string(resource) }
