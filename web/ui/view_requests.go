package ui

import (
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Requests is the view of PageRequests.
type Requests struct {
	Filter       RequestFilter
	Filtered     bool
	States       []Choice
	Environments []Choice
	Rows         []RequestRow
	Empty        string // why there are none
	Pager        Pager
}

// RequestFilter is what a human looks for among requests. Before is where a page begins, in the list's own terms.
type RequestFilter struct {
	State              broker.RequestState
	Agent, Environment string
	Before             string
}

// Path is where the page with this filter is.
func (f RequestFilter) Path() string {
	return with("/requests", map[string]string{"state": string(f.State), "agent": f.Agent, "environment": f.Environment, "before": f.Before})
}

// RequestRow is one request in a list.
type RequestRow struct {
	Path, Agent, Task, Owner string
	Environments             []Environment
	Granted                  []Granted
	More                     int
	Once                     bool
	State, StateText         string
	Asked                    Moment
	Left                     Moment // until nobody can decide, or collect, any more; empty when that is over
	Repeats                  string // "asked 2 times"; empty: once
}

// RequestsOf makes the view of a page of requests. environments are those that may be chosen, older is where the
// next page begins, empty at the end; looked is how many were looked through when the page is not full for all
// that.
func RequestsOf(filter RequestFilter, environments []string, list []broker.Request, older string, looked int, configuration *broker.Configuration, now time.Time) Requests {
	view := Requests{Filter: filter, States: choices(requestStates(), string(filter.State)), Environments: environmentChoices(environments, filter.Environment)}
	for _, r := range list {
		view.Rows = append(view.Rows, requestRow(r, configuration, now))
	}
	first := filter
	first.Before = ""
	if filter.Before != "" {
		view.Pager.First = first.Path()
	}
	if older != "" {
		next := filter
		next.Before = older
		view.Pager.Next, view.Pager.Text = next.Path(), "Older requests"
	}
	if looked > 0 {
		view.Pager.Text, view.Pager.Note = "Look further back", "Looked through "+count(looked, "request")+"."
	}
	view.Filtered = first != RequestFilter{}
	switch {
	case view.Filtered:
		view.Empty, view.Pager = "No request like that.", view.Pager.found()
	case filter.Before != "":
		view.Empty = "There are no older ones."
	default:
		view.Empty = "No agent has asked for anything that you may see."
	}
	return view
}

func requestStates() []Choice {
	options := []Choice{{Value: "", Text: "Any state"}}
	for _, state := range []broker.RequestState{
		broker.RequestPending, broker.RequestApproved, broker.RequestCollected, broker.RequestDenied, broker.RequestExpired, broker.RequestCancelled,
	} {
		options = append(options, Choice{Value: string(state), Text: stateName(state)})
	}
	return options
}

func environmentChoices(environments []string, selected string) []Choice {
	options := []Choice{{Value: "", Text: "Any environment"}}
	for _, environment := range environments {
		options = append(options, Choice{Value: environment, Text: environment})
	}
	return choices(options, selected)
}

// stateName is a request's state in the filter: one word.
func stateName(state broker.RequestState) string {
	switch state {
	case broker.RequestPending:
		return "Waiting"
	case broker.RequestApproved:
		return "Approved"
	case broker.RequestCollected:
		return "Collected"
	case broker.RequestDenied:
		return "Denied"
	case broker.RequestExpired:
		return "Expired"
	case broker.RequestCancelled:
		return "Withdrawn"
	}
	return "Unknown state"
}

func requestRow(r broker.Request, configuration *broker.Configuration, now time.Time) RequestRow {
	row := RequestRow{
		Path: RequestPath(r.ID), Agent: r.Agent, Task: r.Task, Owner: r.Owner, Environments: environmentsOf(r.Environments, configuration),
		Once: r.Operation != nil, State: string(r.State), StateText: settledText(r), Asked: onClock(r.Created),
	}
	if r.Repeats > 0 {
		row.Repeats = strings.ToLower(asked(r))
	}
	var scopes []broker.Scope
	for _, item := range r.Effective() {
		scopes = append(scopes, item.Description.Means()...)
	}
	row.Granted, row.More = granted(scopes, r.Called)
	switch waits := r.State == broker.RequestPending || r.State == broker.RequestApproved; {
	case waits && now.Before(r.Deadline):
		row.Left = countdown(r.Deadline, now)
	case waits: // the broker is about to say so
		row.State, row.StateText = string(broker.RequestExpired), "Its time is over"
	}
	return row
}
