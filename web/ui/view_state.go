package ui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// stateText is the state in a few words.
func stateText(r broker.Request, c Context) string {
	if r.State != broker.RequestPending {
		return settledText(r)
	}
	missing := missingOf(r, c)
	switch {
	case Unshown(r) != "", stale(r, c):
		return "Cannot be approved"
	case len(standing(c.Approvals)) > 0 && missing > 0:
		return fmt.Sprintf("%d signed, waits for %s", len(standing(c.Approvals)), moreHumans(missing))
	case missing > 1:
		return "Waits for " + count(missing, "human")
	}
	return settledText(r)
}

func moreHumans(n int) string {
	if n == 1 {
		return "1 more human"
	}
	return fmt.Sprintf("%d more humans", n)
}

// settledText is the state of a request in a list.
func settledText(r broker.Request) string {
	once := r.Operation != nil
	switch {
	case once && r.State == broker.RequestApproved:
		return "Approved, not used yet"
	case once && r.State == broker.RequestCollected:
		return "Approved and used"
	}
	switch r.State {
	case broker.RequestPending:
		return "Waits for a human"
	case broker.RequestApproved:
		return "Approved, not collected yet"
	case broker.RequestCollected:
		return "Approved and collected"
	case broker.RequestDenied:
		return "Denied"
	case broker.RequestExpired:
		return expiredText(r)
	case broker.RequestCancelled:
		if byAgent(r) {
			return "Withdrawn by the agent"
		}
		return "Ended by " + actor(r.ClosedBy)
	}
	return "Unknown state"
}

func expiredText(r broker.Request) string {
	switch {
	case r.Verdict != "":
		return "Ended by the broker"
	case r.HadPassed():
		return "Approved, but " + notTaken(r)
	}
	return "Expired"
}

// byAgent tells whether the agent itself withdrew a request; one of an older broker does not say who did.
func byAgent(r broker.Request) bool {
	return r.ClosedBy == "" || strings.HasPrefix(r.ClosedBy, string(broker.CallerAgent)+":")
}

// notTaken says what an agent did not do with what it was allowed.
func notTaken(r broker.Request) string {
	if r.Operation != nil {
		return "not used in time"
	}
	return "not collected in time"
}

func labels(r broker.Request) []string {
	var list []string
	if r.Repeats > 0 {
		list = append(list, asked(r))
	}
	if isNarrowed(r) {
		list = append(list, "Less than was asked")
	}
	return list
}

func isNarrowed(r broker.Request) bool { return r.Granted != nil || r.GrantedTTL != 0 }

// asked counts the first time too.
func asked(r broker.Request) string { return fmt.Sprintf("Asked %d times", r.Repeats+1) }

// outcomeOf says how a request ended, by whom and when.
func outcomeOf(r broker.Request, c Context) []string {
	switch r.State {
	case broker.RequestDenied:
		return []string{Decided(r, c.DeniedBy, c.Approvals, c.Now) + "."}
	case broker.RequestApproved:
		return []string{Decided(r, "", c.Approvals, c.Now) + ".", "It waits for the agent until " + clock(r.Deadline) + ": " + left(r.Deadline, c.Now) + "."}
	case broker.RequestCollected:
		how := "The agent has its credentials."
		if r.Operation != nil {
			how = "The agent has made the call."
		}
		lines := []string{Decided(r, "", c.Approvals, c.Now) + ".", how}
		if !r.Expires.IsZero() && r.Operation == nil {
			lines = append(lines, "They end at "+clock(r.Expires)+": "+left(r.Expires, c.Now)+".")
		}
		return lines
	case broker.RequestExpired:
		return expired(r, c)
	case broker.RequestCancelled:
		return []string{Decided(r, "", c.Approvals, c.Now) + "."}
	case broker.RequestPending:
	}
	return nil
}

// expired says what ran out: the humans' time, or the agent's.
func expired(r broker.Request, c Context) []string {
	const again = "The agent may ask again."
	switch {
	case r.Verdict != "":
		return []string{Decided(r, "", c.Approvals, c.Now) + ".", said(r.Verdict)}
	case r.HadPassed():
		return []string{Decided(r, "", c.Approvals, c.Now) + ".", again}
	case len(c.Approvals) > 0:
		return []string{"Not all decided before " + clock(r.Deadline) + ". " + again}
	}
	return []string{"Nobody decided before " + clock(r.Deadline) + ". " + again}
}

// endable tells whether the request's keys may still work, so that somebody may want to end them.
func endable(r broker.Request, now time.Time) bool {
	return r.State == broker.RequestCollected && r.Operation == nil && now.Before(r.Expires)
}

func stoppedText(f broker.Freeze) string {
	until := "until an operator lifts it"
	if !f.Until.IsZero() {
		until = "until " + clock(f.Until)
	}
	return f.Name + " is frozen " + until + ": it gets nothing, and what it had is ended."
}

// Decided says who decided a request, or ended it, and when: "bob denied this 20 seconds ago (21 Nov 2026 02:39 UTC)".
// by is who denied it, empty when that is not known.
func Decided(r broker.Request, by string, approvals []broker.Approval, now time.Time) string {
	when := ""
	if !r.Decided.IsZero() {
		when = " " + moment(r.Decided, now) // of the yes, where there was one
	}
	switch r.State {
	case broker.RequestDenied:
		if by == "" {
			return "This was denied" + when
		}
		return by + " denied this" + when
	case broker.RequestApproved, broker.RequestCollected:
		return approvedBy(approvals) + when
	case broker.RequestExpired, broker.RequestCancelled:
		if r.HadPassed() {
			return approvedBy(approvals) + when + "; " + ended(r, "it")
		}
		return ended(r, "this") + when
	case broker.RequestPending:
	}
	return "This waits for a human"
}

func approvedBy(approvals []broker.Approval) string {
	if len(approvals) == 0 {
		return "Policy alone allowed this"
	}
	return joined(reviewers(standing(approvals))) + " approved this"
}

// ended says how a request ended without a yes, or after one before the agent took it. it is how the sentence calls
// the request.
func ended(r broker.Request, it string) string {
	var text string
	switch {
	case r.State == broker.RequestCancelled && byAgent(r):
		text = "the agent withdrew " + it
	case r.State == broker.RequestCancelled:
		text = actor(r.ClosedBy) + " ended " + it
	case r.Verdict != "": // the broker's own words, for nobody's time was over
		text = "the broker ended " + it
	case r.HadPassed():
		text = it + " was " + notTaken(r)
	default:
		text = it + " expired"
	}
	if it != "this" || strings.HasPrefix(r.ClosedBy, string(broker.CallerHuman)+":") { // goes on, or begins with a name
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// standing leaves out the approvals that no longer count.
func standing(approvals []broker.Approval) []broker.Approval {
	return slices.DeleteFunc(slices.Clone(approvals), func(a broker.Approval) bool { return a.Void != "" })
}

func reviewers(approvals []broker.Approval) []string {
	names := make([]string, len(approvals))
	for i, approval := range approvals {
		names[i] = approval.Reviewer
	}
	return names
}

// joined writes a list as people do: "alice, bob and carol".
func joined(words []string) string {
	switch n := len(words); n {
	case 0:
		return "nobody"
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}

// removed lists what reviewers took out of what was asked.
func removed(r broker.Request) []Scope {
	if r.Granted == nil {
		return nil
	}
	var out []Scope
	for _, asked := range r.Items {
		var kept []broker.Scope
		for _, item := range r.Granted {
			if item.Environment == asked.Environment && item.Target == asked.Target {
				kept = item.Description.Scopes
			}
		}
		for _, scope := range asked.Description.Scopes {
			var gone broker.Actions
			for _, action := range scope.Actions.Each() {
				if !broker.Covers(kept, []broker.Scope{{Target: scope.Target, Resource: scope.Resource, Actions: action}}) {
					gone |= action
				}
			}
			if gone != 0 {
				out = append(out, Scope{Actions: actionsOf(gone), Resource: r.Called(scope.Resource), Prefix: scope.Resource.IsPrefix() && scope.Resource.Stem() != ""})
			}
		}
	}
	return out
}

// oneHuman says, to the human who reads it, where the signature of the agent's own owner counts, and whether it is
// enough.
func oneHuman(r broker.Request, human string, configuration *broker.Configuration) string {
	var where []string
	alone := true
	for _, need := range r.Needs {
		if ownerCounts(need.Environment, r.Owner, configuration) {
			where = append(where, need.Environment)
			alone = alone && need.Humans == 1
		}
	}
	who, says := r.Owner+", who owns this agent, may approve it", "Nobody else needs to look."
	if human == r.Owner {
		who = "you may approve it, though you own this agent"
	}
	switch {
	case len(where) == 0:
		return ""
	case !alone || len(where) < len(r.Needs):
		says = "Others must sign too."
	}
	return fmt.Sprintf("In %s, %s. %s", joined(where), who, says)
}

// ownerCounts repeats broker's rule, to label what follows from it; what counts, the broker decides.
func ownerCounts(environment, owner string, configuration *broker.Configuration) bool {
	e := configuration.Environments[environment]
	return e.OwnerMayReview && !e.Protected && configuration.MayReview(owner, environment)
}

// counts tells whether this human's signature counts for the environment; it too repeats the broker's rule.
func counts(human, environment string, r broker.Request, configuration *broker.Configuration) bool {
	return configuration.MayReview(human, environment) && (human != r.Owner || ownerCounts(environment, r.Owner, configuration))
}

// needOf counts the signatures that may count for the environment.
func needOf(need broker.Need, r broker.Request, c Context) Need {
	have := 0
	for _, approval := range standing(c.Approvals) {
		if counts(approval.Reviewer, need.Environment, r, c.Configuration) {
			have++
		}
	}
	have = min(have, need.Humans)
	view := Need{
		Environment: Environment{Name: need.Environment, Protected: protected(need.Environment, c.Configuration)},
		Signed:      have, Humans: need.Humans, Text: fmt.Sprintf("%d of %s", have, count(need.Humans, "approval")),
	}
	if left := need.Humans - have; left > 0 && r.State == broker.RequestPending {
		view.Text += ", " + fmt.Sprint(left) + " missing"
	}
	return view
}

// missingOf is how many more humans must sign at least: one may count in several environments.
func missingOf(r broker.Request, c Context) int {
	most := 0
	for _, need := range r.Needs {
		view := needOf(need, r, c)
		most = max(most, view.Humans-view.Signed)
	}
	return most
}
