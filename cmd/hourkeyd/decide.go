package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
)

// verdict is what decide prints: what the files say, before any provider was asked.
type verdict struct {
	Outcome broker.Outcome  `json:"outcome"`
	Owner   string          `json:"owner"` // for whom it was judged
	TTL     string          `json:"ttl,omitempty"`
	Items   []verdictItem   `json:"items"`
	Needs   []broker.Need   `json:"needs"`
	Reasons []broker.Reason `json:"reasons"`
	Next    string          `json:"next,omitempty"`
}

type verdictItem struct {
	Environment string   `json:"environment"`
	Target      string   `json:"target"`
	Scopes      []string `json:"scopes"`
}

func (m *Main) decideCommand() *cobra.Command {
	var ask broker.Ask
	var owner string
	var scopes []string
	c := &cobra.Command{
		Use:   "decide --agent NAME --task NAME --environment NAME [--scope SCOPE]…",
		Short: "What would happen, and which line says so; from the files alone", Args: takes(),
		Long: "decide reads the files and says what a request would come to, with every line that takes part.\n" +
			"It asks no provider, so that a pattern is judged as a pattern. Exit code: 0 allow, 3 deny, 4 humans decide.",
		RunE: func(*cobra.Command, []string) error {
			for _, text := range scopes {
				scope, err := broker.ParseScope(text)
				if err != nil {
					return err
				}
				ask.Scopes = append(ask.Scopes, scope)
			}
			set, err := m.set()
			if err != nil {
				return err
			}
			return m.decide(set, ask, owner)
		},
	}
	c.Flags().StringVar(&ask.Agent, "agent", "", "the agent that asks")
	c.Flags().StringVar(&ask.Task, "task", "", "the task")
	c.Flags().StringSliceVar(&ask.Environments, "environment", nil, "the environment; repeat for a request that reaches several")
	c.Flags().StringArrayVar(&scopes, "scope", nil, "target:resource:actions; default: what the task gives")
	c.Flags().StringVar(&owner, "owner", "somebody", "the agent's owner, whose groups guardrails may name; the default is in no group")
	c.Flags().DurationVar(&ask.TTL, "ttl", 0, "shorter than the task's")
	for _, name := range []string{"agent", "task", "environment"} {
		must(c.MarkFlagRequired(name))
	}
	return c
}

func (m *Main) decide(set *config.Set, ask broker.Ask, owner string) error {
	policy, err := daemon.LoadPolicy(set)
	if err != nil {
		return err
	}
	v, err := verdictOf(&broker.Configuration{
		Hash: set.Hash, Environments: set.Environments, Groups: set.Server.Groups, Roles: set.Server.Roles, Policy: policy,
	}, ask, owner)
	if err != nil {
		return err
	}
	if err := m.say(v, func(w io.Writer) { writeVerdict(w, v) }); err != nil {
		return err
	}
	switch v.Outcome {
	case broker.Allow:
		return nil
	case broker.Escalate:
		return exitCode(exitWaiting)
	case broker.Deny:
	}
	return exitCode(exitDenied)
}

// verdictOf is the part of broker.Submit that needs neither store nor provider: resolve, evaluate, and who
// must approve. A denial is a verdict, not an error.
func verdictOf(cfg *broker.Configuration, ask broker.Ask, owner string) (verdict, error) {
	v := verdict{Outcome: broker.Allow, Owner: owner, Items: []verdictItem{}, Needs: []broker.Need{}, Reasons: []broker.Reason{}}
	resolution, err := cfg.Policy.Resolve(ask)
	if e, ok := errors.AsType[*broker.Error](err); ok && e.Code == broker.CodeDenied {
		v.Outcome, v.Reasons, v.Next = broker.Deny, append(v.Reasons, e.Reasons...), e.Next
		if len(e.Reasons) == 0 {
			v.Reasons = append(v.Reasons, broker.Reason{Rule: ask.Task, Outcome: broker.Deny, Text: e.Message})
		}
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if resolution.TTL > 0 {
		v.TTL = resolution.TTL.String()
	}
	if len(resolution.Items) == 0 {
		v.Outcome = broker.Deny
	}
	for _, item := range resolution.Items {
		v.add(cfg, ask, owner, item)
	}
	return v, nil
}

func (v *verdict) add(cfg *broker.Configuration, ask broker.Ask, owner string, item broker.ResolvedItem) {
	decision := cfg.Policy.Evaluate(broker.Query{
		Agent: ask.Agent, Owner: owner, OwnerGroups: cfg.GroupsOf(owner), Task: ask.Task,
		Environment: item.Environment, Target: item.Target, Scopes: item.Scopes,
	})
	v.Items = append(v.Items, verdictItem{item.Environment, item.Target, broker.Texts(item.Scopes)})
	v.Outcome = broker.Worse(v.Outcome, decision.Outcome)
	v.Reasons = append(v.Reasons, decision.Reasons...)
	environment := cfg.Environments[item.Environment]
	actions := broker.AllActions(item.Scopes)
	humans := environment.Needs(actions)
	if decision.Outcome == broker.Escalate {
		humans = max(humans, 1)
	}
	if humans == 0 || v.Outcome == broker.Deny {
		return
	}
	v.need(item.Environment, humans)
	v.Outcome = broker.Worse(v.Outcome, broker.Escalate)
	v.Reasons = append(v.Reasons, broker.Reason{
		Where: environment.Where, Rule: item.Environment, Outcome: broker.Escalate,
		Text: fmt.Sprintf("%d human(s) must approve %s in %s", humans, actions, item.Environment),
	})
}

func (v *verdict) need(environment string, humans int) {
	for i := range v.Needs {
		if v.Needs[i].Environment == environment {
			v.Needs[i].Humans = max(v.Needs[i].Humans, humans)
			return
		}
	}
	v.Needs = append(v.Needs, broker.Need{Environment: environment, Humans: humans})
}

func writeVerdict(w io.Writer, v verdict) {
	_, _ = fmt.Fprintln(w, v.Outcome)
	for _, item := range v.Items {
		_, _ = fmt.Fprintf(w, "  %s  %s\n", item.Environment, strings.Join(item.Scopes, " "))
	}
	for _, need := range v.Needs {
		_, _ = fmt.Fprintf(w, "  needs %d human(s) for %s\n", need.Humans, need.Environment)
	}
	if v.TTL != "" && v.Outcome != broker.Deny {
		_, _ = fmt.Fprintf(w, "  for at most %s\n", v.TTL)
	}
	for _, reason := range v.Reasons {
		_, _ = fmt.Fprintf(w, "%s: %s: %s: %s\n", reason.Where, reason.Rule, reason.Outcome, reason.Text)
	}
	if v.Next != "" {
		_, _ = fmt.Fprintf(w, "next: %s\n", v.Next)
	}
}
