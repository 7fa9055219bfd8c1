package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/policies"
)

// wider says in words what a new configuration allows that the old one did not: tasks and guardrails by
// package policies, environments, groups, roles and limits here.
func wider(former, next *Built) []string {
	list := policies.Wider(former.Policies, next.Policies)
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(next.Environments)) {
		was, known := former.Environments[name]
		if !known {
			say("environment %s is new (%s)", name, next.Environments[name].Where)
			continue
		}
		widerEnvironment(say, was, next.Environments[name])
	}
	for _, ref := range slices.SortedFunc(maps.Keys(next.Targets), byName) {
		if was, known := former.Targets[ref]; known && was.Binding != next.Targets[ref].Binding {
			say("target %s is configured in another way", ref)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(next.Groups)) {
		if more := newcomers(former.Groups[group], next.Groups[group]); more != "" {
			say("group %s: %s may now do what it may", group, more)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(next.Roles)) {
		if more := newcomers(former.Roles[role], next.Roles[role]); more != "" {
			say("role %s: group %s has it now", role, more)
		}
	}
	if next.Limits.LeasesPerAgent > former.Limits.LeasesPerAgent {
		say("an agent may have %d leases instead of %d", next.Limits.LeasesPerAgent, former.Limits.LeasesPerAgent)
	}
	if next.Limits.PendingPerAgent > former.Limits.PendingPerAgent {
		say("an agent may have %d requests pending instead of %d", next.Limits.PendingPerAgent, former.Limits.PendingPerAgent)
	}
	if next.Limits.PasskeyWait < former.Limits.PasskeyWait {
		say("a further passkey may sign after %s instead of %s", next.Limits.PasskeyWait, former.Limits.PasskeyWait)
	}
	return list
}

func widerEnvironment(say func(format string, args ...any), was, is broker.Environment) {
	if was.Protected && !is.Protected {
		say("environment %s is not protected any more (%s)", is.Name, is.Where)
	}
	for _, action := range (broker.Read | broker.Write | broker.Delete | broker.Admin).Each() {
		if is.Approval[action] < was.Approval[action] {
			say("environment %s: %s needs %d human(s) instead of %d (%s)", is.Name, action, is.Approval[action], was.Approval[action], is.Where)
		}
	}
	if is.OwnerMayReview && !was.OwnerMayReview {
		say("environment %s: the owner of an agent may now approve what it asks (%s)", is.Name, is.Where)
	}
	switch more := newcomers(was.Reviewers, is.Reviewers); {
	case len(is.Reviewers) == 0 && len(was.Reviewers) > 0:
		say("environment %s: whoever has the role reviewer may now approve (%s)", is.Name, is.Where)
	case more != "" && len(was.Reviewers) == 0:
		say("environment %s: group %s approves instead of the role reviewer (%s)", is.Name, more, is.Where)
	case more != "":
		say("environment %s: group %s may now approve (%s)", is.Name, more, is.Where)
	}
}

// newcomers lists who is in the second and not in the first.
func newcomers(was, is []string) string {
	var more []string
	for _, name := range is {
		if !slices.Contains(was, name) {
			more = append(more, name)
		}
	}
	return strings.Join(more, ", ")
}

func byName(a, b broker.TargetRef) int { return strings.Compare(a.String(), b.String()) }
