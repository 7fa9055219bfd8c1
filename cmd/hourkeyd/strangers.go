package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/policies"
)

// A name that nobody has is often a misspelt one. It is no error, for what it names may come later; but a person who
// froze the wrong agent must not believe that the right one is held.

// noteNewAgent says what keeps a new agent from working: that nobody is known who could sign its key, and that no
// task lists it.
func (m *Main) noteNewAgent(ctx context.Context, agent, owner string) {
	var humans []broker.Human
	err := m.ask(ctx, http.MethodGet, "/humans", nil, &humans)
	if err == nil && !slices.ContainsFunc(humans, func(h broker.Human) bool { return h.Name == owner }) {
		m.note("there is no human %s yet, and nobody else can sign this agent's key: `hourkeyd human invite %s`. "+
			"If the name is misspelt, add the agent under another one: an agent stays its owner's", owner, owner)
	}
	policy, err := m.policy()
	if err == nil && len(policy.Tasks(agent)) == 0 {
		m.note("no task lists agent %s: add it to `agents:` of a file in policies/tasks, then `hourkeyd reload`", agent)
	}
}

// policy is what the files say of tasks and guardrails.
func (m *Main) policy() (*policies.Set, error) {
	set, err := m.set()
	if err != nil {
		return nil, err
	}
	return daemon.LoadPolicy(set)
}

// noteFreeze says that a freeze holds for nobody who is known.
func (m *Main) noteFreeze(ctx context.Context, freeze admin.ToFreeze) {
	switch freeze.Of {
	case broker.FreezeAgent:
		var agents []broker.Agent
		err := m.ask(ctx, http.MethodGet, "/agents", nil, &agents)
		if err == nil && !slices.ContainsFunc(agents, func(a broker.Agent) bool { return a.Name == freeze.Name }) {
			m.note("there is no agent %s: is that misspelt? `hourkeyd agent list` has the names; --all freezes everything", freeze.Name)
		}
	case broker.FreezeEnvironment:
		set, err := m.set()
		if err != nil {
			return
		}
		if _, known := set.Environments[freeze.Name]; !known {
			m.note("no file says environment %s: is that misspelt? environments/ has the names; --all freezes everything", freeze.Name)
		}
	case broker.FreezeTask:
		if policy, err := m.policy(); err == nil && !slices.ContainsFunc(policy.AllTasks(), func(t broker.Task) bool { return t.Name == freeze.Name }) {
			m.note("no file says task %s: is that misspelt? policies/tasks has the names; --all freezes everything", freeze.Name)
		}
	case broker.FreezeAll:
	}
}

// noteNoSigner says that an invite waits for signatures that nobody can give.
func (m *Main) noteNoSigner(invited string, enrolled []string) {
	others := slices.DeleteFunc(slices.Clone(enrolled), func(name string) bool { return name == invited })
	server, err := m.server()
	if err != nil {
		return
	}
	if warning := daemon.WithoutOperators(server, others); warning != "" {
		m.note("warning: %s", warning)
	}
}

// noteIdleGroups names the groups that single sign-on brings and that no line gives anything: whoever signs on with one
// of them comes in, and finds nothing to decide.
func (m *Main) noteIdleGroups(set *config.Set) {
	for _, group := range set.Server.SingleSignOn.OurGroups() {
		if !usesGroup(set, group) {
			m.note("sso: group %s is in no role of hourkey.yaml and reviews no environment: who signs on with it alone sees only agents of their own", group)
		}
	}
}

func usesGroup(set *config.Set, group string) bool {
	for _, groups := range set.Server.Roles {
		if slices.Contains(groups, group) {
			return true
		}
	}
	for _, environment := range set.Environments {
		if slices.Contains(environment.Reviewers, group) {
			return true
		}
	}
	return false
}
