package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Wider says in words, one sentence each, what next allows that former did not, or no longer takes
// away. A nil former allows nothing. Where it cannot tell whether a change of a guardrail is wider, it
// says that it changed.
func Wider(former, next *Set) []string {
	if former == nil {
		former = &Set{}
	}
	w := wider{former: former, next: next}
	for _, name := range slices.Sorted(maps.Keys(next.tasks)) {
		w.task(next.tasks[name])
	}
	w.guardrails()
	w.groups()
	return w.list
}

type wider struct {
	former, next *Set
	list         []string
}

func (w *wider) say(format string, args ...any) {
	w.list = append(w.list, fmt.Sprintf(format, args...))
}

func (w *wider) task(t *task) {
	before, known := w.former.tasks[t.name]
	if !known {
		w.say("task %s is new: %s may ask, in %s (%s)", t.name, joined(t.agents), strings.Join(t.environments, ", "), t.at)
		return
	}
	for _, agent := range t.agents {
		if !slices.ContainsFunc(before.agents, func(p pattern) bool { return p.covers(agent) }) {
			w.say("task %s: %s may now ask (%s)", t.name, agent, t.agentsAt)
		}
	}
	for _, environment := range t.environments {
		if !slices.Contains(before.environments, environment) {
			w.say("task %s: works now in %s (%s)", t.name, environment, t.environmentsAt)
		} else {
			w.targets(t, environment)
		}
	}
	w.scopes(t, before)
	if t.longest() > before.longest() {
		w.say("task %s: keys may now live %s instead of %s", t.name, minutes(t.longest()), minutes(before.longest()))
	}
}

// scopes compares line by line; a line that the former lines covered together is not wider.
func (w *wider) scopes(t, before *task) {
	for _, e := range t.gives {
		one := []broker.Scope{e.scope}
		switch {
		case broker.Covers(before.gives.scopes(), one):
		case broker.Covers(before.may(), one):
			w.say("task %s: gives %s, for which a human was needed (%s)", t.name, e.scope, e.reason.Where)
		default:
			w.say("task %s: gives %s (%s)", t.name, e.scope, e.reason.Where)
		}
	}
	for _, e := range t.withApproval {
		if !broker.Covers(before.may(), []broker.Scope{e.scope}) {
			w.say("task %s: %s may now be asked for with approval (%s)", t.name, e.scope, e.reason.Where)
		}
	}
}

// targets finds those that came into an environment which the task listed already.
func (w *wider) targets(t *task, environment string) {
	said := map[string]bool{}
	for _, scope := range t.may() {
		ref := broker.TargetRef{Environment: environment, Target: scope.Target}
		_, was := w.former.places[ref]
		if _, is := w.next.places[ref]; is && !was && !said[ref.Target] {
			said[ref.Target] = true
			w.say("task %s: target %s is new in %s", t.name, ref.Target, environment)
		}
	}
}

func (w *wider) guardrails() {
	for _, g := range w.former.guardrails {
		switch now := w.next.guardrails.byID(g.id); {
		case now == nil:
			w.say("guardrail %s is gone (it was at %s)", g.id, g.at)
		case now.text != g.text:
			w.say("guardrail %s changed (%s)", g.id, now.at)
		}
	}
}

// groups tells of changed groups that guardrails name: who leaves one escapes a forbid, who joins one
// may fall under an exception.
func (w *wider) groups() {
	for _, g := range w.next.guardrails {
		for _, group := range g.groups {
			was, is := w.former.groups[group], w.next.groups[group]
			if _, known := w.former.groups[group]; known && !slices.Equal(was, is) {
				w.say("group %s, which guardrail %s names, is now %s instead of %s", group, g.id, listOr(is), listOr(was))
			}
		}
	}
}

func listOr(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func joined(patterns []pattern) string {
	texts := make([]string, len(patterns))
	for i, p := range patterns {
		texts[i] = string(p)
	}
	return strings.Join(texts, ", ")
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}
