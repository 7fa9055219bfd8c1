package web

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// navigation gives the links to the pages that this human may open.
func navigation(v *visit) []ui.Link {
	if v.human == "" {
		return nil
	}
	return ui.Navigation(v.request.URL.Path, ui.Doors{Environments: v.kinds&human != 0, Audit: v.kinds&auditor != 0, People: v.kinds&operator != 0})
}

// only refuses whoever is none of those kinds.
func (v *visit) only(kind who) error {
	if v.kinds&kind == 0 {
		return broker.Errorf(broker.CodeForbidden, "this page is for: %s", strings.ReplaceAll(kind.String(), " ", ", "))
	}
	return nil
}

// isTypo tells that a form can be sent again, with something else in it.
func isTypo(err error) bool {
	code := broker.CodeOf(err)
	return code == broker.CodeInvalid || code == broker.CodeConflict
}

// seesAll tells whether this human may read whatever anybody may.
func (v *visit) seesAll() bool { return v.kinds&(operator|auditor) != 0 }

// seenEnvironments lists, sorted, the environments of whose rules this human may read.
func (p *pages) seenEnvironments(v *visit) []string {
	config := p.broker.Configuration()
	names := slices.Sorted(maps.Keys(config.Environments))
	return slices.DeleteFunc(names, func(name string) bool { return !v.seesAll() && !config.MayReview(v.human, name) })
}

// newestOf reads at most limit records of an index that goes from the newest on. Whether they may be seen is the
// caller's to have asked.
func newestOf[T any](ctx context.Context, store broker.Store, kind, index string, limit int) ([]T, error) {
	var list []T
	err := store.View(ctx, func(r broker.Reader) error {
		return r.Scan(kind, index, func(raw []byte) error {
			if len(list) == limit {
				return broker.ErrStop
			}
			var one T
			if err := json.Unmarshal(raw, &one); err != nil {
				return fmt.Errorf("reading %s: %w", kind, err)
			}
			list = append(list, one)
			return nil
		})
	})
	return list, err
}

// environmentsPage shows what is in force where this human reviews, operates or audits.
func (p *pages) environmentsPage(v *visit) error {
	if err := v.only(human); err != nil {
		return err
	}
	pins, err := p.broker.Pins(v.ctx())
	if err != nil {
		return err
	}
	freezes, err := p.broker.Freezes(v.ctx())
	if err != nil {
		return err
	}
	view := ui.EnvironmentsOf(p.seenEnvironments(v), p.broker.Configuration(), pins, freezes)
	return p.show(v, http.StatusOK, ui.PageEnvironments, "Environments", view)
}

// tasksPage shows what agents may ask for: an owner's own, a reviewer's those of the environments; and what is configured
// there and nobody may ask for.
func (p *pages) tasksPage(v *visit) error {
	agents, err := p.broker.Agents(v.ctx())
	if err != nil {
		return err
	}
	freezes, err := p.broker.Freezes(v.ctx())
	if err != nil {
		return err
	}
	slices.SortFunc(agents, byName)
	tasks, asking := p.tasksOf(v, agents)
	view := ui.TasksOf(tasks, asking, freezes, v.kinds&human != 0, p.broker.Configuration())
	view.All, view.Reviews = v.seesAll(), v.kinds&human != 0
	return p.show(v, http.StatusOK, ui.PageTasks, "Tasks", view)
}

// tasksOf gives the tasks that this human may see, by name, and which of these agents may ask for each.
func (p *pages) tasksOf(v *visit, agents []broker.Agent) (list []broker.Task, asking map[string][]string) {
	tasks := map[string]broker.Task{} // by name
	asking = map[string][]string{}    // task → agents
	seen := p.seenEnvironments(v)
	reviews := func(task broker.Task) bool {
		return v.seesAll() || slices.ContainsFunc(task.Environments, func(name string) bool { return slices.Contains(seen, name) })
	}
	for _, task := range p.broker.AllTasks() {
		if reviews(task) {
			tasks[task.Name] = task
		}
	}
	for _, agent := range agents {
		if agent.State == broker.AgentRemoved {
			continue
		}
		for _, task := range p.broker.Tasks(agent.Name) {
			if reviews(task) || maySeeAgent(v.human, v.kinds, agent) {
				tasks[task.Name], asking[task.Name] = task, append(asking[task.Name], agent.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		list = append(list, tasks[name])
	}
	return list, asking
}
