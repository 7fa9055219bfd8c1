package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// Why somebody hears of a request.
const (
	whyDecide  = "You may decide it."
	whyOwner   = "The agent works on your behalf."
	whySkipped = "You were asked, and there is nothing left for you to decide."
	whySigned  = "You had approved it."
)

// request tells of a request that humans decide. One that policy allowed or denied by itself is told to
// nobody: that happens all day.
func (s *scene) request() (*notice, error) {
	var data broker.RequestEvent
	if err := s.data(&data); err != nil {
		return nil, err
	}
	request := broker.Request{ID: s.event.Subject}
	found, err := s.load(&request)
	if err != nil || !found || len(request.Needs) == 0 {
		return nil, err
	}
	n := &notice{agent: request.Agent, environments: data.Environments, path: ui.RequestPath(request.ID)}
	if s.event.Type == broker.EventRequestSubmitted {
		return s.waits(n, request, data.Asked), nil
	}
	signed, err := s.signed(request.ID)
	if err != nil {
		return nil, err
	}
	return s.outcome(n, request, data, signed), nil
}

// waits tells of a request that waits, if it still does: after a long stop, or an hour of retries, it may be
// decided by now, and then the outcome is told instead, further down the log.
func (s *scene) waits(n *notice, request broker.Request, asked []string) *notice {
	if request.State != broker.RequestPending || s.now.After(request.Deadline) {
		return nil
	}
	n.title = called(request.Agent) + " asks to " + actions(request) + " in " + where(request)
	n.text = sentence(request, "asks to") + "."
	var needs []string
	for _, need := range request.Needs {
		needs = append(needs, fmt.Sprintf("%d in %s", need.Humans, called(need.Environment)))
	}
	n.names = fmt.Sprintf(" Must approve: %s. May decide: %s.", list(needs, maxNamed), calledAll(asked))
	n.hears(whyDecide, asked...)
	n.hears(whyOwner, request.Owner)
	return n
}

// outcome tells what came of a request: to the owner, to everybody who was asked and did not sign, and, where
// it came to nothing, to those who did.
func (s *scene) outcome(n *notice, request broker.Request, data broker.RequestEvent, signed []string) *notice {
	verb, how := "asked to", ""
	switch s.event.Type {
	case broker.EventRequestApproved:
		verb, how = "may", "Approved by "+calledAll(signed)
		n.title = "Approved: "
	case broker.EventRequestRejected:
		how = "Denied by " + actor(s.event.Actor)
		n.title = "Denied: "
	case broker.EventRequestCancelled:
		how = "Withdrawn by " + actor(s.event.Actor)
		n.title = "Withdrawn: "
	default:
		n.title, how = expired(request, data, signed)
	}
	n.title += called(request.Agent) + ", " + actions(request) + " in " + where(request)
	n.text = how + ": " + sentence(request, verb) + "."
	if data.Words != "" {
		n.text += " In the words of " + actor(s.event.Actor) + ": " + quoted(data.Words)
	}
	s.outcomeHearers(n, request, data.Asked, signed)
	return n
}

// expired says what ran out: the humans' time, or the agent's; or why the broker did not wait for either.
func expired(request broker.Request, data broker.RequestEvent, signed []string) (title, how string) {
	passed := request.HadPassed()
	switch {
	case data.Words != "" && passed:
		return "Ended: ", "Ended by the broker, though approved by " + calledAll(signed)
	case data.Words != "":
		return "Ended: ", "Ended by the broker"
	case passed:
		return "Expired: ", "Expired: approved by " + calledAll(signed) + ", but not collected in time"
	}
	return "Expired: ", "Expired before it was decided"
}

func (s *scene) outcomeHearers(n *notice, request broker.Request, asked, signed []string) {
	n.hears(whyOwner, request.Owner)
	if request.HadPassed() && s.event.Type != broker.EventRequestApproved {
		return // that nothing is left to decide, they heard when it was approved
	}
	skipped := slices.DeleteFunc(slices.Clone(asked), func(human string) bool {
		return slices.Contains(signed, human) || s.event.Actor == "human:"+human || human == request.Owner
	})
	if s.event.Type != broker.EventRequestApproved {
		n.hears(whySigned, signed...)
	}
	if len(skipped) > 0 {
		n.names = " Without: " + calledAll(skipped) + "."
	}
	n.hears(whySkipped, skipped...)
}

// signed lists who approved, in the order of their names.
func (s *scene) signed(id string) (humans []string, err error) {
	err = s.Scan("approval", "request/"+id, func(raw []byte) error {
		var approval broker.Approval
		if err := json.Unmarshal(raw, &approval); err != nil {
			return fmt.Errorf("reading an approval: %w", err)
		}
		humans = append(humans, approval.Reviewer)
		return nil
	})
	return humans, err
}

// sentence says in one line what a request is for. The page has all of it, and the resources by their exact
// names.
func sentence(r broker.Request, verb string) string {
	text := fmt.Sprintf("%s %s %s, for %s", called(r.Agent), verb, wish(r), lasting(r.EffectiveTTL()))
	if r.Operation != nil {
		text = fmt.Sprintf("%s %s %s, by one call, within %s", called(r.Agent), verb, wish(r), lasting(r.EffectiveTTL()))
	}
	return text + ", for task " + called(r.Task) + ", on behalf of " + called(r.Owner)
}

// wish names what would be done to what: "read and write public·orders of db in staging".
func wish(r broker.Request) string {
	var parts []string
	for _, item := range r.Effective() {
		for _, same := range byActions(item.Description.Means()) {
			var names []string
			for _, scope := range same {
				names = append(names, harmless(r.Called(scope.Resource), maxName))
			}
			parts = append(parts, fmt.Sprintf("%s %s of %s in %s", list(same[0].Actions.Names(), maxNamed), list(names, maxShown), called(item.Target), reaches(item)))
		}
	}
	if extra := len(parts) - maxShown; extra > 0 {
		parts = append(parts[:maxShown], fmt.Sprintf("%d more", extra))
	}
	return strings.Join(parts, "; ")
}

// byActions puts scopes together that have the same actions, the worst first.
func byActions(scopes []broker.Scope) [][]broker.Scope {
	var groups [][]broker.Scope
	for _, scope := range scopes {
		at := slices.IndexFunc(groups, func(g []broker.Scope) bool { return g[0].Actions == scope.Actions })
		if at < 0 {
			groups = append(groups, []broker.Scope{scope})
			continue
		}
		groups[at] = append(groups[at], scope)
	}
	slices.SortStableFunc(groups, func(a, b []broker.Scope) int { return int(b[0].Actions) - int(a[0].Actions) })
	return groups
}

// reaches names every environment that an item reaches.
func reaches(item broker.Item) string {
	if len(item.Description.Reaches) == 0 {
		return called(item.Environment)
	}
	return calledAll(item.Description.Reaches)
}

func where(r broker.Request) string { return calledAll(r.Environments) }

func actions(r broker.Request) string { return list(r.Actions().Names(), maxNamed) }
