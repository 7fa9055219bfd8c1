package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/hourkey/hourkey/web/api"
)

// The exit codes.
const (
	exitDone    = 0
	exitError   = 1
	exitUsage   = 2
	exitDenied  = 3
	exitPending = 4
	exitFound   = 5   // doctor found something
	exitExec    = 125 // our own failure under exec
	exitSignal  = 128 // plus the signal's number
)

// hintError is an error with the next step.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// failf makes an error with a hint.
func failf(hint, format string, args ...any) error {
	return &hintError{err: fmt.Errorf(format, args...), hint: hint}
}

// undecided is a request that did not come to an approval.
type undecided struct {
	request api.Request
}

func (e *undecided) Error() string {
	switch e.request.State {
	case api.StatePending:
		return fmt.Sprintf("request %s is waiting for approval", e.request.ID)
	case api.StateDenied:
		text := fmt.Sprintf("request %s was denied by a reviewer", e.request.ID)
		if e.request.Verdict != "" {
			text += fmt.Sprintf(", who says: %q", brief(e.request.Verdict))
		}
		return text
	case api.StateExpired:
		return fmt.Sprintf("request %s has expired: %s", e.request.ID, cmp.Or(brief(e.request.Verdict), "it was not decided, or not collected, in time"))
	case api.StateCancelled:
		return fmt.Sprintf("request %s was cancelled", e.request.ID)
	default:
		return fmt.Sprintf("request %s is %s", e.request.ID, e.request.State)
	}
}

// next is the hint for a request that cannot be collected.
func (e *undecided) next() string {
	switch e.request.State {
	case api.StatePending:
		return "a human decides; then run `hourkey wait " + e.request.ID + "`"
	case api.StateDenied:
		return "talk to a reviewer before you ask again, or ask for less: fewer resources or actions (--scope), a shorter time (--ttl)"
	case api.StateExpired:
		return "make a new request, and tell a reviewer that it waits"
	default:
		return "make a new request, if it is still needed"
	}
}

// interrupt is the signal that ended a command.
type interrupt struct{ signal os.Signal }

func (e *interrupt) Error() string { return "interrupted by " + e.signal.String() }

func isInterrupt(err error) bool {
	_, yes := errors.AsType[*interrupt](err)
	return yes
}

// exitCode is what err means to a script.
func exitCode(err error) int {
	if status, found := errors.AsType[*childStatus](err); found {
		return status.code
	}
	if stop, found := errors.AsType[*interrupt](err); found {
		if number, ok := stop.signal.(syscall.Signal); ok {
			return exitSignal + int(number)
		}
	}
	if open, found := errors.AsType[*undecided](err); found {
		return stateCode(open.request.State)
	}
	if problem, found := api.AsProblem(err); found {
		return problemCode(problem.Code)
	}
	if _, found := errors.AsType[*usageError](err); found {
		return exitUsage
	}
	return exitError
}

func stateCode(state string) int {
	switch state {
	case api.StatePending:
		return exitPending
	case api.StateDenied:
		return exitDenied
	default:
		return exitError
	}
}

// problemCode: a refusal by policy, by a human or by a freeze is a denial, which asking again the same
// way will not change.
func problemCode(code string) int {
	switch code {
	case api.CodeDenied, api.CodeForbidden, api.CodeFrozen:
		return exitDenied
	case api.CodePending:
		return exitPending
	default:
		return exitError
	}
}

// usageError is a mistake on the command line that only the command itself could see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// report writes the error, what decided, and the next step. With -o json the problem also goes to
// stdout, so that there is always one document to read.
func (a *app) report(err error) {
	if _, found := errors.AsType[*childStatus](err); found {
		return // the command has said what it had to say
	}
	if open, found := errors.AsType[*undecided](err); !found || open.request.State != api.StatePending {
		a.say("error: %s", err) // a pending one was announced
	}
	problem, refused := api.AsProblem(err)
	if refused {
		for _, reason := range deciding(problem.Reasons) {
			a.say("rule: %s", ruleLine(reason))
		}
	}
	if hint := hintOf(err); hint != "" {
		a.say("hint: %s", hint)
	}
	if refused && a.output == outputJSON {
		_ = json.NewEncoder(a.stdout).Encode(problem)
	}
}

// say writes one line to stderr under our name. A broken stderr is no reason to stop: there may be
// leases to release.
func (a *app) say(format string, args ...any) {
	a.print("hourkey: " + visible(fmt.Sprintf(format, args...)) + "\n")
}

// hintOf finds the next step for an error.
func hintOf(err error) string {
	if with, found := errors.AsType[*hintError](err); found {
		return with.hint
	}
	if open, found := errors.AsType[*undecided](err); found {
		return open.next()
	}
	if problem, found := api.AsProblem(err); found {
		return nextOf(problem)
	}
	if call, found := errors.AsType[*net.OpError](err); found && call.Op == "dial" {
		return "see that the broker runs, and that this machine reaches it; without it nothing is issued, and what was issued ends in its time"
	}
	return ""
}

// nextOf is the broker's own next step or, for a thing that it does not know, where its name stands.
func nextOf(problem *api.Problem) string {
	if problem.Next == "" && problem.Code == api.CodeNotFound {
		return "`hourkey requests` and `hourkey leases --all` list what this agent has"
	}
	return problem.Next
}

// deciding gives the reasons that denied or, when none says so, the first.
func deciding(reasons []api.Reason) []api.Reason {
	var denials []api.Reason
	for _, reason := range reasons {
		if reason.Outcome == "deny" {
			denials = append(denials, reason)
		}
	}
	if len(denials) == 0 && len(reasons) > 0 {
		return reasons[:1]
	}
	return denials
}

// ruleLine is file:line, the rule's name and its sentence.
func ruleLine(reason api.Reason) string {
	return fmt.Sprintf("%s: %s: %s", reason.Where, reason.Rule, reason.Text)
}

// visible replaces what a terminal would act on rather than show (the attack: an escape sequence in a
// name or in a reviewer's words that rewrites the line above).
func visible(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '\uFFFD'
		}
		return c
	}, text)
}
