package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/policies"
)

func base() *Built {
	environment := broker.Environment{
		Name: "staging", Protected: true, Reviewers: []string{"oncall"}, Where: "staging.yaml:1",
		Approval: map[broker.Actions]int{broker.Read: 0, broker.Write: 1, broker.Delete: 2, broker.Admin: 2},
	}
	return &Built{Policies: &policies.Set{}, Configuration: &broker.Configuration{
		Environments: map[string]broker.Environment{"staging": environment},
		Groups:       map[string][]string{"oncall": {"alice"}}, Roles: map[broker.Role][]string{broker.RoleOperator: {"oncall"}},
		Targets: map[broker.TargetRef]broker.Target{{Environment: "staging", Target: "db"}: {Binding: "one"}},
		Limits:  broker.Limits{PendingPerAgent: 5, LeasesPerAgent: 5},
	}}
}

func TestWhatGotWiderIsSaid(t *testing.T) {
	environment := func(change func(*broker.Environment)) func(*Built) {
		return func(b *Built) {
			e := b.Environments["staging"]
			change(&e)
			b.Environments["staging"] = e
		}
	}
	for name, test := range map[string]struct {
		change func(*Built)
		want   string
	}{
		"nothing":            {func(*Built) {}, ""},
		"no protection":      {environment(func(e *broker.Environment) { e.Protected = false }), "is not protected any more"},
		"fewer humans":       {environment(func(e *broker.Environment) { e.Approval[broker.Delete] = 1 }), "delete needs 1 human(s) instead of 2"},
		"more humans":        {environment(func(e *broker.Environment) { e.Approval[broker.Delete] = 3 }), ""},
		"the owner approves": {environment(func(e *broker.Environment) { e.OwnerMayReview = true }), "the owner of an agent may now approve"},
		"another group":      {environment(func(e *broker.Environment) { e.Reviewers = []string{"oncall", "interns"} }), "group interns may now approve"},
		"no group: the role": {environment(func(e *broker.Environment) { e.Reviewers = nil }), "whoever has the role reviewer may now approve"},
		"a new environment":  {func(b *Built) { b.Environments["production"] = broker.Environment{} }, "environment production is new"},
		"a new member":       {func(b *Built) { b.Groups["oncall"] = []string{"alice", "mallory"} }, "group oncall: mallory"},
		"a member less":      {func(b *Built) { b.Groups["oncall"] = nil }, ""},
		"a role's new group": {func(b *Built) { b.Roles[broker.RoleOperator] = []string{"oncall", "interns"} }, "role operator: group interns"},
		"more leases":        {func(b *Built) { b.Limits.LeasesPerAgent = 6 }, "6 leases instead of 5"},
		"more requests":      {func(b *Built) { b.Limits.PendingPerAgent = 6 }, "6 requests pending instead of 5"},
		"fewer of both":      {func(b *Built) { b.Limits = broker.Limits{} }, ""},
		"the target's change": {func(b *Built) {
			b.Targets[broker.TargetRef{Environment: "staging", Target: "db"}] = broker.Target{Binding: "two"}
		}, "target staging/db is configured in another way"},
	} {
		t.Run(name, func(t *testing.T) {
			next := base()
			test.change(next)
			got := wider(base(), next)
			if test.want == "" {
				if diff := cmp.Diff([]string(nil), got); diff != "" {
					t.Error(diff)
				}
			} else if len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("got %q, want one line with %q", got, test.want)
			}
		})
	}
}
