package policies

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/hourkey/hourkey/broker"
)

// Evaluate decides one item. Its reasons stand worst first: what denied, what escalated, what allowed.
// Whatever is not known — task, agent, owner, environment, target, scope — is denied (invariant 6).
func (s *Set) Evaluate(query broker.Query) broker.Decision {
	t, at, unknown := s.known(query)
	if unknown.Outcome != "" {
		return broker.Decision{Outcome: broker.Deny, Reasons: []broker.Reason{unknown}}
	}
	var found reasons
	if query.Granted {
		found.add(broker.Reason{Where: t.at.String(), Rule: t.name, Outcome: broker.Allow, Text: "a live lease covers it"})
	}
	for _, scope := range query.Scopes {
		if scope.Target != query.Target || wellFormed(scope) != nil {
			found.add(t.unknown("scope " + clip(scope.String()) + " is not one of target " + query.Target))
			continue
		}
		if !query.Granted {
			found.cover(t, scope)
		}
	}
	if len(s.guardrails) > 0 {
		s.guard(query, at, &found)
	}
	return found.decision()
}

// known looks up what the query names; the reason is set if anything is not as it must be.
func (s *Set) known(query broker.Query) (*task, place, broker.Reason) {
	t, known := s.tasks[query.Task]
	if !known {
		return nil, place{}, noTask(query.Task)
	}
	at, hasTarget := s.places[broker.TargetRef{Environment: query.Environment, Target: query.Target}]
	switch {
	case !t.lists(query.Agent):
		return nil, place{}, t.notListed(query.Agent)
	case !slices.Contains(t.environments, query.Environment):
		return nil, place{}, t.notIn(query.Environment)
	case !hasTarget:
		return nil, place{}, t.unknown("environment " + clip(query.Environment) + " has no target " + clip(query.Target))
	case query.Owner == "": // guardrails on groups would not see the agent
		return nil, place{}, t.unknown("the agent has no owner")
	case len(query.Scopes) == 0:
		return nil, place{}, t.unknown("nothing was asked for")
	default:
		return t, at, broker.Reason{}
	}
}

// unknown is the reason of what no line speaks of: what is not known is denied.
func (t *task) unknown(text string) broker.Reason {
	return broker.Reason{Where: "invariant 6", Rule: t.name, Outcome: broker.Deny, Text: text}
}

// reasons collects the lines that take part, each once per outcome.
type reasons []broker.Reason

func (r *reasons) add(reason broker.Reason) {
	for i := range *r {
		if seen := &(*r)[i]; seen.Where == reason.Where && seen.Outcome == reason.Outcome && seen.Rule == reason.Rule {
			return
		}
	}
	*r = append(*r, reason)
}

// decision is the worst of the reasons; none is a deny.
func (r reasons) decision() broker.Decision {
	decision := broker.Decision{Outcome: broker.Deny}
	if len(r) > 0 {
		decision.Outcome = broker.Allow
	}
	for _, outcome := range []broker.Outcome{broker.Deny, broker.Escalate, broker.Allow} {
		for _, reason := range r {
			if reason.Outcome == outcome {
				decision.Reasons = append(decision.Reasons, reason)
				decision.Outcome = broker.Worse(decision.Outcome, outcome)
			}
		}
	}
	return decision
}

// cover finds, for each action of a scope, the line of the task that gives it.
func (r *reasons) cover(t *task, scope broker.Scope) {
	for _, action := range scope.Actions.Each() {
		given := t.gives.covering(scope.Target, scope.Resource, action)
		switch asked := t.withApproval.covering(scope.Target, scope.Resource, action); {
		case given != nil && !action.NeedsHuman():
			r.add(given.reason)
		case given != nil: // no set that was loaded gives it; the invariant does not hang on the loader
			r.add(broker.Reason{Where: "invariant 3", Rule: t.name, Outcome: broker.Escalate, Text: action.String() + " never without a human"})
		case asked != nil:
			r.add(asked.reason)
		default:
			r.add(t.notCovered(broker.Scope{Target: scope.Target, Resource: scope.Resource, Actions: action}))
		}
	}
}

// guard asks the guardrails about every single action on every resource.
func (s *Set) guard(query broker.Query, at place, found *reasons) {
	agent := agentEntity(query)
	for _, scope := range query.Scopes {
		if scope.Resource.IsPrefix() {
			s.guardPrefix(query, scope, agent, at, found)
			continue
		}
		resource := at.resource(string(scope.Resource))
		for _, action := range scope.Actions.Each() {
			hit, failed := s.guardrails.forbidding(agent, resource, at, action)
			for _, id := range hit {
				found.add(s.guardrails.byID(string(id)).forbids(action, scope, query.Environment))
			}
			for _, id := range failed {
				found.add(s.guardrails.byID(string(id)).failed())
			}
		}
	}
}

// guardPrefix asks about all names with a prefix. Before the issuer has described, names will follow
// one by one, and only a guardrail that would meet each of them denies; afterwards the prefix is all
// that is known for good, and one that might meet a name does.
func (s *Set) guardPrefix(query broker.Query, scope broker.Scope, agent types.Entity, at place, found *reasons) {
	resource := at.resource(scope.Resource.Stem())
	for _, action := range scope.Actions.Each() {
		p := prefix{stem: scope.Resource.Stem(), id: string(resource.UID.ID), env: eval.Env{
			Entities: world{resource, agent, at.target}, Principal: agent.UID, Action: actionUID(action), Resource: resource.UID, Context: cedar.Record{},
		}}
		for _, g := range s.guardrails {
			switch result := p.of(g.node); {
			case result == isFalse, result&isFalse != 0 && !query.Described:
			case result == isTrue:
				found.add(g.forbids(action, scope, query.Environment))
			case result == isError:
				found.add(g.failed())
			default:
				found.add(g.mayMeet(action, scope))
			}
		}
	}
}

func (g *guardrail) forbids(action broker.Actions, scope broker.Scope, environment string) broker.Reason {
	return g.reason("the guardrail forbids " + action.String() + " on " + clip(scope.Target+":"+string(scope.Resource)) + " in " + environment)
}

func (g *guardrail) failed() broker.Reason {
	return g.reason("the guardrail could not be evaluated, so it denies: correct it")
}

func (g *guardrail) mayMeet(action broker.Actions, scope broker.Scope) broker.Reason {
	return g.reason("the guardrail may forbid " + action.String() + " on a name within " + clip(scope.Target+":"+string(scope.Resource)) + ", which cannot be expanded: ask for names, or for a prefix that it cannot meet")
}

func (g *guardrail) reason(text string) broker.Reason {
	return broker.Reason{Where: g.at.String(), Rule: g.id, Outcome: broker.Deny, Text: text}
}
