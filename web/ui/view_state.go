package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// stateText is the state in a few words.
func stateText(r broker.Request, c Context) string {
	if r.State == broker.RequestPending {
		if missing := missingOf(r, c); len(c.Approvals) > 0 && missing > 0 {
			return "Half done: waits for " + moreHumans(missing)
		}
		return "Waits for a human"
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
		return "Expired"
	case broker.RequestCancelled:
		return "Withdrawn by the agent"
	}
	return "Unknown state"
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
		return []string{"Nobody decided in time. The agent may ask again."}
	case broker.RequestPending, broker.RequestCancelled:
	}
	return nil
}

func stoppedText(f broker.Freeze) string {
	until := "until an operator lifts it"
	if !f.Until.IsZero() {
		until = "until " + clock(f.Until)
	}
	return f.Name + " is frozen " + until + ": it gets nothing, and what it had is ended."
}

// Decided says who decided a request and when: "bob denied this 20 seconds ago". by is who denied it,
// empty when that is not known.
func Decided(r broker.Request, by string, approvals []broker.Approval, now time.Time) string {
	when := ""
	if !r.Decided.IsZero() {
		when = " " + ago(r.Decided, now)
	}
	switch r.State {
	case broker.RequestDenied:
		if by == "" {
			return "This was denied" + when
		}
		return by + " denied this" + when
	case broker.RequestApproved, broker.RequestCollected:
		if len(approvals) == 0 {
			return "Policy alone allowed this" + when
		}
		return joined(reviewers(approvals)) + " approved this" + when
	case broker.RequestExpired:
		return "This expired" + when
	case broker.RequestCancelled:
		return "The agent withdrew this" + when
	case broker.RequestPending:
	}
	return "This waits for a human"
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

// oneHuman says where the agent's own owner may approve alone.
func oneHuman(r broker.Request, configuration *broker.Configuration) string {
	var where []string
	for _, need := range r.Needs {
		if ownerCounts(need.Environment, r.Owner, configuration) {
			where = append(where, need.Environment)
		}
	}
	if len(where) == 0 {
		return ""
	}
	return fmt.Sprintf("In %s, %s, who owns this agent, may approve it alone. Nobody else needs to look.", joined(where), r.Owner)
}

// ownerCounts repeats broker's rule, to label what follows from it; what counts, the broker decides.
func ownerCounts(environment, owner string, configuration *broker.Configuration) bool {
	e := configuration.Environments[environment]
	return e.OwnerMayReview && !e.Protected && configuration.MayReview(owner, environment)
}

// needOf counts the signatures that may count for the environment.
func needOf(need broker.Need, r broker.Request, c Context) Need {
	have := 0
	for _, approval := range c.Approvals {
		if c.Configuration.MayReview(approval.Reviewer, need.Environment) && (approval.Reviewer != r.Owner || ownerCounts(need.Environment, r.Owner, c.Configuration)) {
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
