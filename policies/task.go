package policies

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hourkey/hourkey/broker"
)

// task is a named kind of work, as its file gives it.
type task struct {
	name         string
	summary      string
	agents       []pattern
	environments []string
	gives        entries
	withApproval entries
	ttl          time.Duration // 0: the file says nothing

	at, agentsAt, environmentsAt, ttlAt position
}

// lists tells whether the task lists the agent.
func (t *task) lists(agent string) bool {
	return slices.ContainsFunc(t.agents, func(p pattern) bool { return p.matches(agent) })
}

// may is everything that can be asked for: given at once or with approval.
func (t *task) may() []broker.Scope {
	return append(t.gives.scopes(), t.withApproval.scopes()...)
}

// longest is the longest life that the task allows (invariant 1 where it says nothing).
func (t *task) longest() time.Duration {
	if t.ttl == 0 {
		return broker.Hour
	}
	return t.ttl
}

// entry is one line of gives or with_approval, with the reason it stands for.
type entry struct {
	scope  broker.Scope
	reason broker.Reason
}

type entries []entry

// covering gives the first entry that covers one action on a resource; nil if none does.
func (e entries) covering(target string, resource broker.Resource, action broker.Actions) *entry {
	for i := range e {
		if e[i].scope.Covers(broker.Scope{Target: target, Resource: resource, Actions: action}) {
			return &e[i]
		}
	}
	return nil
}

func (e entries) scopes() []broker.Scope {
	scopes := make([]broker.Scope, len(e))
	for i := range e {
		scopes[i] = e[i].scope
	}
	return scopes
}

func (e entries) texts() []string { return broker.Texts(e.scopes()) }

// pattern names agents: one by its name, or, when it ends in "/*", every one below. There is no other
// wildcard and no regular expression, so that a pattern cannot match more than it shows.
type pattern string

func (p pattern) matches(agent string) bool {
	if below, is := strings.CutSuffix(string(p), "*"); is {
		return strings.HasPrefix(agent, below) && broker.IsAgentName(agent)
	}
	return string(p) == agent
}

// covers tells whether p matches every agent that q matches.
func (p pattern) covers(q pattern) bool {
	if below, is := strings.CutSuffix(string(p), "*"); is {
		return strings.HasPrefix(string(q), below)
	}
	return p == q
}

func (p pattern) isValid() bool {
	return broker.IsAgentName(strings.TrimSuffix(string(p), "/*"))
}

var taskFields = []string{"summary", "agents", "environments", "gives", "with_approval", "ttl"}

// decodeTasks reads a task file. It gives every task it finds, the wrong ones too, so that doubles are
// reported even then.
func decodeTasks(file File, environments map[string][]string, found *problems) []*task {
	r := reader{file.Name, found}
	root := r.parse(file.Data)
	if root == nil {
		return nil
	}
	var tasks []*task
	for _, f := range r.fields(root, "the file") {
		if !broker.IsName(f.name) {
			r.wrong(f.key, "task %q is not a name: expected a-z, 0-9 and dashes, at most 64", clip(f.name))
			continue
		}
		d := taskDecoder{reader: r, known: environments, task: &task{name: f.name, at: position{file.Name, f.key.Line}}}
		d.decode(f)
		tasks = append(tasks, d.task)
	}
	return tasks
}

// taskDecoder reads the body of one task.
type taskDecoder struct {
	reader
	known map[string][]string // environment → targets
	task  *task
	given []listed // gives, read last because they need the environments
	asked []listed // with_approval
}

func (d *taskDecoder) decode(body field) {
	before := len(d.found.list)
	for _, f := range d.fields(body.value, "task "+d.task.name) {
		d.field(f)
	}
	d.task.gives = d.entries("gives", d.given, broker.Allow)
	d.task.withApproval = d.entries("with_approval", d.asked, broker.Escalate)
	if len(d.found.list) > before {
		return // a field that was mistyped is not also missing
	}
	switch {
	case len(d.task.agents) == 0:
		d.wrong(body.key, "task %s: agents is missing: list who may ask, like [claude-code]", d.task.name)
	case len(d.task.environments) == 0:
		d.wrong(body.key, "task %s: environments is missing: list where it may work, like [staging]", d.task.name)
	case len(d.task.gives)+len(d.task.withApproval) == 0:
		d.wrong(body.key, `task %s: gives and with_approval are missing: list at least one scope, like "orders-db:public.*:read"`, d.task.name)
	}
}

func (d *taskDecoder) field(f field) {
	here := position{d.file, f.key.Line}
	switch f.name {
	case "summary":
		d.summary(f)
	case "agents":
		d.task.agentsAt = here
		d.agents(f)
	case "environments":
		d.task.environmentsAt = here
		d.environments(f)
	case "gives":
		d.given = d.texts(f.value, "gives")
	case "with_approval":
		d.asked = d.texts(f.value, "with_approval")
	case "ttl":
		d.task.ttlAt = here
		d.ttl(f)
	default:
		d.wrong(f.key, "task %s: unknown field %q%s", d.task.name, clip(f.name), meant(f.name, taskFields))
	}
}

// summary is shown to people, so it must be one short line that shows all of itself.
func (d *taskDecoder) summary(f field) {
	text, ok := d.text(f.value, "summary")
	if !ok {
		return
	}
	if len(text) > 200 || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		d.wrong(f.value, "summary: expected one line of at most 200 bytes without invisible characters")
		return
	}
	d.task.summary = text
}

func (d *taskDecoder) agents(f field) {
	for _, entry := range d.texts(f.value, "agents") {
		p := pattern(entry.text)
		if !p.isValid() {
			d.wrong(entry.node, `agents: %q is neither a name nor a name followed by "/*", like "ci/*"; no other pattern is known`, clip(entry.text))
			continue
		}
		d.task.agents = append(d.task.agents, p)
	}
}

func (d *taskDecoder) environments(f field) {
	for _, entry := range d.texts(f.value, "environments") {
		if _, known := d.known[entry.text]; !known {
			d.wrong(entry.node, "environments: there is no environment %q%s", clip(entry.text), meant(entry.text, slices.Collect(maps.Keys(d.known))))
			continue
		}
		d.task.environments = append(d.task.environments, entry.text)
	}
}

func (d *taskDecoder) ttl(f field) {
	text := f.value.Value // not d.text: 30 is no text, but "30m" is what it should be told
	ttl, err := time.ParseDuration(text)
	switch {
	case err != nil:
		d.wrong(f.value, "ttl: %q is not a duration: expected one like 30m", clip(text))
	case ttl <= 0:
		d.wrong(f.value, "ttl: %q: expected more than 0", clip(text))
	case ttl > broker.Hour:
		d.wrong(f.value, "ttl: %q is more than 60m: no key outlives the hour (invariant 1)", clip(text))
	default:
		d.task.ttl = ttl
	}
}

// entries reads scopes. outcome is what a covered action gets.
func (d *taskDecoder) entries(what string, list []listed, outcome broker.Outcome) entries {
	var all entries
	for _, one := range list {
		scope, err := broker.ParseScope(one.text)
		if err != nil {
			d.wrong(one.node, "%s: %v", what, err)
			continue
		}
		if outcome == broker.Allow && scope.Actions.NeedsHuman() {
			d.wrong(one.node, "gives: %s: no file can give delete or admin (invariant 3); put it under with_approval, where a human decides", scope)
			continue
		}
		if !d.hasTarget(scope.Target) {
			d.wrong(one.node, "%s: no environment of this task has a target %q%s", what, scope.Target, meant(scope.Target, d.targets()))
			continue
		}
		text := "the task gives " + scope.String()
		if outcome == broker.Escalate {
			text = "the task gives " + scope.String() + " only with approval"
		}
		where := position{d.file, one.node.Line}.String()
		all = append(all, entry{scope, broker.Reason{Where: where, Rule: d.task.name, Outcome: outcome, Text: text}})
	}
	return all
}

// hasTarget tells whether the target is in a listed environment; true when no environment is known,
// which is a problem of its own.
func (d *taskDecoder) hasTarget(target string) bool {
	return len(d.task.environments) == 0 || slices.Contains(d.targets(), target)
}

func (d *taskDecoder) targets() []string {
	var targets []string
	for _, environment := range d.task.environments {
		targets = append(targets, d.known[environment]...)
	}
	slices.Sort(targets)
	return slices.Compact(targets)
}
