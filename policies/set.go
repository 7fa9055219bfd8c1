package policies

import (
	"maps"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Source is everything that decisions are made from. Load keeps no reference into it.
type Source struct {
	Tasks        []File              // policies/tasks/*.yaml
	Guardrails   []File              // policies/*.cedar; none is fine
	Environments map[string][]string // environment → names of its targets
	Groups       map[string][]string // group → humans
}

// File is a file's name, as reasons and problems will show it, and its content.
type File struct {
	Name string
	Data []byte
}

// Set is a checked set of tasks and guardrails. It implements broker.Policy.
type Set struct {
	tasks      map[string]*task           // name → task
	guardrails guardrails                 // in the order of the files
	places     map[broker.TargetRef]place // known targets
	groups     map[string][]string        // group → humans, sorted
}

var _ broker.Policy = (*Set)(nil)

// Load checks everything and gives the set, or one *broker.Error (CodeInvalid) with every problem:
// line by line in its message, one by one in its Reasons.
func Load(source Source) (*Set, error) {
	var found problems
	set := &Set{tasks: map[string]*task{}, groups: map[string][]string{}}
	for group, humans := range source.Groups {
		set.groups[group] = slices.Sorted(slices.Values(humans))
	}
	set.places = placesOf(source.Environments, &found)
	for _, file := range source.Tasks {
		set.addTasks(file, source.Environments, &found)
	}
	names := set.namesOf(source)
	for _, file := range source.Guardrails {
		set.guardrails = append(set.guardrails, loadGuardrails(file, names, &found)...)
	}
	set.guardrails.refuseDoubles(&found)
	if err := found.err(); err != nil {
		return nil, err
	}
	return set, nil
}

// addTasks reads one file into the set.
func (s *Set) addTasks(file File, environments map[string][]string, found *problems) {
	for _, t := range decodeTasks(file, environments, found) {
		if before, double := s.tasks[t.name]; double {
			found.add(file.Name, t.at.line, "task %q is there already, at %s", t.name, before.at)
			continue
		}
		s.tasks[t.name] = t
	}
}

// Tasks lists what the agent may ask for, by name.
func (s *Set) Tasks(agent string) []broker.Task {
	return s.tasksFor(func(t *task) bool { return t.lists(agent) })
}

// AllTasks lists every task, by name, also those that nobody may ask for.
func (s *Set) AllTasks() []broker.Task {
	return s.tasksFor(func(*task) bool { return true })
}

func (s *Set) tasksFor(wanted func(*task) bool) []broker.Task {
	var listed []broker.Task
	for _, name := range slices.Sorted(maps.Keys(s.tasks)) {
		t := s.tasks[name]
		if !wanted(t) {
			continue
		}
		listed = append(listed, broker.Task{
			Name: t.name, Summary: t.summary, Environments: slices.Clone(t.environments),
			Gives: t.gives.texts(), WithApproval: t.withApproval.texts(), TTL: t.ttl, Where: t.at.String(),
		})
	}
	return listed
}
