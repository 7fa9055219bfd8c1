package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
)

// warnTasks tells, at each target, which tasks ask there for what they never get: too short a lease and, where live, a scope
// that the issuer itself does not take; and which targets no task asks for. Only an issuer knows its kinds of resources, so it is asked to describe the scope.
func warnTasks(ctx context.Context, built *daemon.Built, live bool, result *checked) {
	tasks := built.Policies.AllTasks()
	for at := range result.Targets {
		t := &result.Targets[at]
		environment, name, _ := strings.Cut(t.Target, "/")
		ref := broker.TargetRef{Environment: environment, Target: name}
		named := false
		for _, task := range tasks {
			scopes := scopesAt(task, ref)
			if len(scopes) == 0 {
				continue
			}
			named = true
			if floor := built.Targets[ref].Issuer.Capabilities().TTLFloor; task.TTL > 0 && task.TTL < floor {
				t.Findings = append(t.Findings, shortTask(task, ref, floor))
			}
			if live && !t.refuses() {
				t.Findings = append(t.Findings, untaken(ctx, built.Targets[ref], task, scopes)...)
			}
		}
		if !named {
			t.Findings = append(t.Findings, idleTarget(ref))
		}
	}
}

// idleTarget is of a target that no agent can ever ask for: its task was forgotten, or names it otherwise.
func idleTarget(ref broker.TargetRef) broker.Finding {
	return broker.Finding{
		Object: "tasks", Problem: fmt.Sprintf("none with %s among its environments names %s: no agent can ask for anything there", ref.Environment, ref.Target),
		Mend: fmt.Sprintf("a task in policies/tasks, with environments: [%s] and gives: or with_approval: [\"%s:…\"]", ref.Environment, ref.Target),
	}
}

// scopesAt are what a task gives at a target, with or without a human.
func scopesAt(task broker.Task, ref broker.TargetRef) []broker.Scope {
	if !slices.Contains(task.Environments, ref.Environment) {
		return nil
	}
	var scopes []broker.Scope
	for _, text := range slices.Concat(task.Gives, task.WithApproval) {
		if scope, err := broker.ParseScope(text); err == nil && scope.Target == ref.Target {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

func shortTask(task broker.Task, ref broker.TargetRef, floor time.Duration) broker.Finding {
	return broker.Finding{
		Object:  "task " + task.Name,
		Problem: fmt.Sprintf("%s: its leases live at most %s, and one at %s lives at least %s: every request is refused", task.Where, short(task.TTL), ref, short(floor)),
		Mend:    "ttl: " + short(floor) + ", or longer",
	}
}

// untaken asks what each scope would be, as it stands in the file. Every other error than that it cannot be given is none of the file's.
func untaken(ctx context.Context, target broker.Target, task broker.Task, scopes []broker.Scope) []broker.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var found []broker.Finding
	for _, scope := range scopes {
		ttl := max(cmp.Or(task.TTL, broker.Hour), target.Issuer.Capabilities().TTLFloor)
		_, err := target.Issuer.Describe(ctx, broker.Wish{Scopes: []broker.Scope{scope}, TTL: ttl})
		e, ok := errors.AsType[*broker.Error](err)
		if !ok || e.Code != broker.CodeInvalid && e.Code != broker.CodeDenied || e.Field == "ttl" {
			continue
		}
		found = append(found, broker.Finding{
			Object:  "task " + task.Name,
			Problem: fmt.Sprintf("%s: %s, asked for as it stands there, is refused: %s", task.Where, scope, e.Message),
			Mend:    cmp.Or(e.Next, "name what is there, or take it out of the task"),
		})
	}
	return found
}

// short writes a duration as the files do: 15m, not 15m0s.
func short(d time.Duration) string {
	if d%time.Minute == 0 {
		return strings.TrimSuffix(d.String(), "0s")
	}
	return d.String()
}
