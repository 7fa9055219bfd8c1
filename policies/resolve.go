package policies

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Resolve gives the items of an ask: for each environment, in order of its name, one item per target.
// Without scopes the ask is for what the task gives; with approval-only scopes it must name them. What
// the task does not cover is a *broker.Error, CodeDenied, whose Reasons name the line that says so.
func (s *Set) Resolve(ask broker.Ask) (broker.Resolution, error) {
	t, err := s.admit(ask)
	if err != nil {
		return broker.Resolution{}, err
	}
	environments, err := t.environmentsOf(ask)
	if err != nil {
		return broker.Resolution{}, err
	}
	ttl, err := t.ttlOf(ask.TTL)
	if err != nil {
		return broker.Resolution{}, err
	}
	scopes, err := t.scopesOf(ask.Scopes)
	if err != nil {
		return broker.Resolution{}, err
	}
	resolution := broker.Resolution{TTL: ttl}
	for _, environment := range environments {
		items, err := s.items(t, environment, scopes, len(ask.Scopes) > 0)
		if err != nil {
			return broker.Resolution{}, err
		}
		resolution.Items = append(resolution.Items, items...)
	}
	return resolution, nil
}

// admit gives the task if it lists the agent.
func (s *Set) admit(ask broker.Ask) (*task, error) {
	t, known := s.tasks[ask.Task]
	if !known {
		return nil, s.withTasks(denied("task", noTask(ask.Task)), ask)
	}
	if !t.lists(ask.Agent) {
		return nil, s.withTasks(denied("task", t.notListed(ask.Agent)), ask)
	}
	return t, nil
}

// withTasks says what this agent could do instead.
func (s *Set) withTasks(err *broker.Error, ask broker.Ask) error {
	var own []string
	for _, t := range s.Tasks(ask.Agent) {
		own = append(own, t.Name)
	}
	if len(own) == 0 {
		return err.WithNext("no task lists this agent; a person adds it to the agents of a task, and runs `hourkeyd reload`")
	}
	return err.WithNext("ask for one of this agent's tasks: %s", strings.Join(own, ", "))
}

// environmentsOf gives the environments asked for, sorted.
func (t *task) environmentsOf(ask broker.Ask) ([]string, error) {
	if len(ask.Environments) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "no environment is named: task %s works in %s", t.name, strings.Join(t.environments, ", ")).
			WithField("environment").WithNext("name one environment")
	}
	for _, environment := range ask.Environments {
		if !slices.Contains(t.environments, environment) {
			return nil, denied("environment", t.notIn(environment)).WithNext("ask in one of: %s", strings.Join(t.environments, ", "))
		}
	}
	sorted := slices.Sorted(slices.Values(ask.Environments))
	return slices.Compact(sorted), nil
}

// ttlOf gives the time asked for, or the task's.
func (t *task) ttlOf(asked time.Duration) (time.Duration, error) {
	switch longest := t.longest(); {
	case asked < 0:
		return 0, broker.Errorf(broker.CodeInvalid, "ttl %s is negative: expected 0 to %s", asked, longest).WithField("ttl").WithNext("ask for at most %s", longest)
	case asked > longest && t.ttl == 0:
		reason := broker.Reason{Where: "invariant 1", Rule: t.name, Outcome: broker.Deny, Text: "no key outlives the hour"}
		return 0, denied("ttl", reason).WithNext("ask for at most %s", longest)
	case asked > longest:
		reason := broker.Reason{Where: t.ttlAt.String(), Rule: t.name, Outcome: broker.Deny, Text: "the task allows at most " + longest.String()}
		return 0, denied("ttl", reason).WithNext("ask for at most %s", longest)
	case asked > 0:
		return asked, nil
	default:
		return t.ttl, nil
	}
}

// scopesOf gives the scopes asked for, each covered by the task, or what the task gives.
func (t *task) scopesOf(asked []broker.Scope) ([]broker.Scope, error) {
	if len(asked) == 0 && len(t.gives) == 0 {
		return nil, denied("scope", broker.Reason{Where: t.at.String(), Rule: t.name, Outcome: broker.Deny, Text: "the task gives nothing without approval, and no scope was asked for"}).
			WithNext("ask for a scope within: %s", strings.Join(t.withApproval.texts(), " "))
	}
	if len(asked) == 0 {
		return broker.Normalize(t.gives.scopes()), nil
	}
	may := t.may()
	for _, scope := range asked {
		if err := wellFormed(scope); err != nil {
			return nil, err
		}
		if !broker.Covers(may, []broker.Scope{scope}) {
			return nil, denied("scope", t.notCovered(scope)).WithNext("ask within: %s", strings.Join(broker.Texts(may), " "))
		}
	}
	return broker.Normalize(asked), nil
}

// items groups the scopes by target for one environment. A scope that was asked for must find its
// target there; of what a task gives, the part that does.
func (s *Set) items(t *task, environment string, scopes []broker.Scope, asked bool) ([]broker.ResolvedItem, error) {
	byTarget := map[string][]broker.Scope{} // target → scopes
	for _, scope := range scopes {
		if _, known := s.places[broker.TargetRef{Environment: environment, Target: scope.Target}]; known {
			byTarget[scope.Target] = append(byTarget[scope.Target], scope)
		} else if asked {
			return nil, s.noTarget(t, environment, scope.Target)
		}
	}
	if len(byTarget) == 0 {
		return nil, s.noTarget(t, environment, scopes[0].Target)
	}
	var items []broker.ResolvedItem
	for _, target := range slices.Sorted(maps.Keys(byTarget)) {
		items = append(items, broker.ResolvedItem{Environment: environment, Target: target, Scopes: byTarget[target]})
	}
	return items, nil
}

func (s *Set) noTarget(t *task, environment, target string) error {
	var where []string
	for _, name := range t.environments {
		if _, known := s.places[broker.TargetRef{Environment: name, Target: target}]; known {
			where = append(where, name)
		}
	}
	reason := broker.Reason{Where: t.environmentsAt.String(), Rule: t.name, Outcome: broker.Deny, Text: "environment " + environment + " has no target " + target}
	return denied("environment", reason).WithNext("ask for it in: %s", strings.Join(where, ", "))
}

// wellFormed refuses a scope that ParseScope would refuse, however it was made.
func wellFormed(scope broker.Scope) error {
	if again, err := broker.ParseScope(scope.String()); err != nil {
		return err
	} else if again != scope {
		return broker.Errorf(broker.CodeInvalid, "scope %q is read in another way than it is written", clip(scope.String())).WithField("scope")
	}
	return nil
}

// denied makes the error of one reason.
func denied(field string, reason broker.Reason) *broker.Error {
	err := broker.Errorf(broker.CodeDenied, "%s: task %s: %s", reason.Where, reason.Rule, reason.Text).WithField(field)
	err.Reasons = []broker.Reason{reason}
	return err
}

// The reasons that Resolve and Evaluate share.

func noTask(name string) broker.Reason {
	return broker.Reason{Where: "invariant 6", Rule: clip(name), Outcome: broker.Deny, Text: "no file defines this task"}
}

func (t *task) notListed(agent string) broker.Reason {
	return broker.Reason{Where: t.agentsAt.String(), Rule: t.name, Outcome: broker.Deny, Text: "the task does not list agent " + clip(agent)}
}

func (t *task) notIn(environment string) broker.Reason {
	return broker.Reason{Where: t.environmentsAt.String(), Rule: t.name, Outcome: broker.Deny, Text: "the task does not list environment " + clip(environment)}
}

func (t *task) notCovered(scope broker.Scope) broker.Reason {
	return broker.Reason{Where: t.at.String(), Rule: t.name, Outcome: broker.Deny, Text: "the task does not give " + clip(scope.String()) + ", with approval or without"}
}
