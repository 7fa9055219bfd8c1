package ui

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Environments is the view of PageEnvironments: what is in force, not what a file says.
type Environments struct{ List []EnvironmentRow }

// EnvironmentRow is one environment.
type EnvironmentRow struct {
	Name       string
	Protected  bool
	Frozen     string
	FreezePath string
	Needs      []NeedRow
	Reviewers  []GroupRow
	Owner      string // whether an agent's owner may approve
	Targets    []TargetRow
	Where      string // file:line
}

// NeedRow says how many humans approve one action.
type NeedRow struct {
	Action Action
	Text   string
	Few    bool // fewer humans may approve than must
}

// GroupRow is a group of reviewers. Away are those whose single sign-on is too old to count.
type GroupRow struct {
	Name         string
	Humans, Away []string
}

// TargetRow is one target of an environment.
type TargetRow struct {
	Name, Kind       string
	Identity         string // as the provider told it; empty when it was never asked
	State, StateText string
	Path             string // of its page; empty when there is none yet
	Promises         []string
}

// EnvironmentsOf makes the view of those environments of the configuration that are named.
func EnvironmentsOf(names []string, configuration *broker.Configuration, pins []broker.Pin, freezes []broker.Freeze) Environments {
	var view Environments
	for _, name := range names {
		environment := configuration.Environments[name]
		row := EnvironmentRow{
			Name: name, Protected: environment.Protected, Where: environment.Where, Owner: ownerRule(environment),
			Frozen: frozenText(freezes, broker.FreezeEnvironment, name), FreezePath: frozenPath(freezes, broker.FreezeEnvironment, name),
			Reviewers: reviewerGroups(environment, configuration),
		}
		enough := len(humansOf(row.Reviewers))
		for _, action := range actionsOf(broker.Read | broker.Write | broker.Delete | broker.Admin) {
			row.Needs = append(row.Needs, needRow(action, environment, enough))
		}
		refs := slices.SortedFunc(maps.Keys(configuration.Targets), func(a, b broker.TargetRef) int { return cmp.Compare(a.String(), b.String()) })
		for _, ref := range refs {
			if ref.Environment == name {
				row.Targets = append(row.Targets, targetRow(ref, configuration.Targets[ref].Issuer.Capabilities(), pins))
			}
		}
		view.List = append(view.List, row)
	}
	return view
}

func needRow(action Action, environment broker.Environment, reviewers int) NeedRow {
	set, _ := broker.ParseActions(action.Name) // it is one of the names
	action.Before = ""
	humans := environment.Needs(set)
	row := NeedRow{Action: action, Text: "no human needed"}
	if humans > 0 {
		row.Text, row.Few = count(humans, "human"), humans > reviewers
	}
	return row
}

func reviewerGroups(environment broker.Environment, configuration *broker.Configuration) []GroupRow {
	names := environment.Reviewers
	if len(names) == 0 {
		names = configuration.Roles[broker.RoleReviewer]
	}
	var rows []GroupRow
	for _, name := range names {
		rows = append(rows, GroupRow{
			Name: name, Humans: slices.Sorted(slices.Values(configuration.Groups[name])), Away: slices.Sorted(slices.Values(configuration.Away[name])),
		})
	}
	return rows
}

func humansOf(groups []GroupRow) map[string]bool {
	humans := map[string]bool{} // human → reviews here
	for _, group := range groups {
		for _, human := range slices.Concat(group.Humans, group.Away) {
			humans[human] = true
		}
	}
	return humans
}

func ownerRule(environment broker.Environment) string {
	if environment.OwnerMayReview && !environment.Protected {
		return "An agent's owner may approve what the agent asks here. One human can be both owner and reviewer."
	}
	return "An agent's owner never approves what the agent asks here."
}

func targetRow(ref broker.TargetRef, can broker.Capabilities, pins []broker.Pin) TargetRow {
	row := TargetRow{Name: ref.Target, Kind: can.Kind, State: "unknown", StateText: "Not asked yet who it is", Promises: promises(can)}
	at := slices.IndexFunc(pins, func(p broker.Pin) bool { return p.Environment == ref.Environment && p.Target == ref.Target })
	if at < 0 {
		return row
	}
	pin := pins[at]
	row.Identity, row.Path = pin.Seen.Shown, TargetPath(ref.String())
	switch {
	case pin.IsConfirmed() && pin.ConfirmedBy == "broker":
		row.State, row.StateText = "confirmed", "Needs no confirmation"
	case pin.IsConfirmed():
		row.State, row.StateText = "confirmed", "Confirmed by "+pin.ConfirmedBy
	case !pin.Confirmed.IsZero():
		row.State, row.StateText = "changed", "Changed since it was confirmed: nothing is issued"
	default:
		row.State, row.StateText = "unconfirmed", "Not confirmed: nothing is issued"
	}
	return row
}

// promises says in words what an issuer says of itself.
func promises(can broker.Capabilities) []string {
	var list []string
	switch {
	case can.Gateway:
		list = append(list, "Wall: Hourkey's gateway judges every single call.")
	case can.Local:
		list = append(list, "Wall: the services that check its tokens.")
	default:
		list = append(list, "Wall: the provider's own limits; each request shows which.")
	}
	if can.EndsEarly {
		list = append(list, "A key can be ended at any time.")
	} else {
		list = append(list, "A key cannot be ended before its time.")
	}
	if can.Ends != "" {
		list = append(list, "How a key ends. "+said(can.Ends))
	}
	if can.TTLFloor > 0 {
		list = append(list, "No key for less than "+span(can.TTLFloor)+".")
	}
	if can.TTLMax > 0 {
		list = append(list, "No key for more than "+span(can.TTLMax)+".")
	}
	return list
}

// Tasks is the view of PageTasks.
type Tasks struct {
	List    []TaskRow
	All     bool // this human sees every task
	Reviews bool // this human sees those of some environments
}

// TaskRow is one kind of work.
type TaskRow struct {
	Name, Summary, Where string
	Agents               []string // who may ask for it; empty: nobody
	Environments         []Environment
	Gives, WithApproval  []Granted
	TTL                  string
	Frozen               string
	FreezePath           string // empty where this human may not look at the freeze
}

// TasksOf makes the view. agents tells which agents may ask for a task, by its name; opens: this human may look at their
// freezes.
func TasksOf(tasks []broker.Task, agents map[string][]string, freezes []broker.Freeze, opens bool, configuration *broker.Configuration) Tasks {
	var view Tasks
	for _, task := range tasks {
		ttl := task.TTL
		if ttl == 0 {
			ttl = broker.Hour
		}
		row := TaskRow{
			Name: task.Name, Summary: task.Summary, Where: task.Where, Agents: agents[task.Name], TTL: span(ttl),
			Environments: environmentsOf(task.Environments, configuration), Gives: scopeRows(task.Gives), WithApproval: scopeRows(task.WithApproval),
			Frozen: frozenText(freezes, broker.FreezeTask, task.Name),
		}
		if opens {
			row.FreezePath = frozenPath(freezes, broker.FreezeTask, task.Name)
		}
		view.List = append(view.List, row)
	}
	return view
}

// scopeRows shows scopes as policy has them. One that cannot be read is shown as it is.
func scopeRows(texts []string) []Granted {
	var rows []Granted
	for _, text := range texts {
		scope, err := broker.ParseScope(text)
		if err != nil {
			rows = append(rows, Granted{Resource: text})
			continue
		}
		rows = append(rows, Granted{actionsOf(scope.Actions), string(scope.Resource), scope.Target})
	}
	return rows
}
