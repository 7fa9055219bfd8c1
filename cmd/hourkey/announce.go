package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// The announcement is for a terminal: the page shows everything.
const (
	scopesTold = 6   // of one target
	textTold   = 300 // characters of one line
)

// announce tells a human what is asked, by whom it can be decided, until when and where.
func (a *app) announce(request api.Request) {
	a.say("request %s of task %s waits for approval until %s", request.ID, request.Task, clock(request.Deadline))
	if request.Repeats > 0 {
		a.say("the same was asked %d times while it waits: it is one request, and asking again changes nothing", request.Repeats+1)
	}
	for _, line := range asks(request) {
		a.say("asked: %s", line)
	}
	for _, reason := range request.Reasons {
		if reason.Outcome == "escalate" {
			a.say("rule: %s", ruleLine(reason))
		}
	}
	for _, need := range request.Needs {
		a.say("needed: %d of the reviewers of %s", need.Humans, need.Environment)
	}
	if request.Page != "" {
		a.say("Approve at: %s", request.Page)
	}
	if request.Phrase != "" {
		a.say("phrase: %s (the page must show the same phrase; if it does not, it is about another request)", request.Phrase)
	}
	if request.Page != "" {
		a.announceQR(request.Page)
	}
}

// asks says what a request asks for: one call, or one line for each target.
func asks(request api.Request) []string {
	if request.Operation != nil {
		return []string{"one call, " + brief(request.Operation.Text)}
	}
	return has(request)
}

// has says what the items of a request hold, as far as reviewers have not taken it away.
func has(request api.Request) []string {
	var lines []string
	for _, item := range request.Items {
		line := scopesBrief(item.Scopes) + " in " + item.Environment
		if others := slices.DeleteFunc(slices.Clone(item.Reaches), func(e string) bool { return e == item.Environment }); len(others) > 0 {
			line += ", reaching " + strings.Join(others, " and ")
		}
		lines = append(lines, line+" for "+span(item.TTLSeconds))
	}
	return lines
}

// scopesBrief lists scopes, the first ones of many.
func scopesBrief(scopes []string) string {
	if more := len(scopes) - scopesTold; more > 1 {
		return strings.Join(scopes[:scopesTold], " ") + fmt.Sprintf(" and %d more, which the page lists,", more)
	}
	return strings.Join(scopes, " ")
}

// brief puts a text on one line, and cuts it.
func brief(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > textTold {
		return string(runes[:textTold]) + "… (the page shows it whole)"
	}
	return string(runes)
}

// announceTaken says what reviewers took away of a request, and what is left. It says nothing when they took
// nothing.
func (a *app) announceTaken(request api.Request) {
	for _, taken := range request.Taken {
		switch {
		case taken.Whole:
			a.say("denied: all of %s in %s: %s", taken.Target, taken.Environment, scopesBrief(taken.Scopes))
		case len(taken.Scopes) > 0:
			a.say("taken away: %s in %s", scopesBrief(taken.Scopes), taken.Environment)
		}
		if taken.TTLSeconds > 0 {
			a.say("shortened: %s in %s, from %s", taken.Target, taken.Environment, span(taken.TTLSeconds))
		}
	}
	if len(request.Taken) == 0 {
		return
	}
	for _, line := range has(request) {
		a.say("left: %s", line)
	}
}

// announceOutcome is for commands that go on with what was approved: what they wait for is said, and what they
// get less of.
func (a *app) announceOutcome(before, after api.Request) {
	if before.State == api.StatePending {
		a.announceApproval(after, "")
	} else {
		a.announceTaken(after)
	}
}

// announceApproval tells of a decision that was waited for, and of what the reviewers changed.
func (a *app) announceApproval(request api.Request, next string) {
	narrowed := ""
	if len(request.Taken) > 0 {
		narrowed = ", but for less than was asked"
	}
	a.say("request %s is approved%s%s", request.ID, narrowed, next)
	if request.Verdict != "" {
		a.say("the reviewer says: %q", brief(request.Verdict))
	}
	a.announceTaken(request)
}
