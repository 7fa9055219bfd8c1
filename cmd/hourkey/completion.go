package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

// completeWithin bounds what a shell waits for while somebody presses Tab.
const completeWithin = 2 * time.Second

// completes teaches a command, and those below it, to complete their flags and arguments: nothing of ours is a file but what
// --kubeconfig and --tree name, and what exec runs.
func (a *app) completes(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		a.completes(below)
	}
	for flag, candidates := range map[string]func(context.Context, *api.Client) ([]string, error){
		"task": taskNames, "environment": environmentNames, "request": requestIDs, "target": targetNames,
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, a.asking(candidates)) // fails for a flag that is not there
		}
	}
	for flag, values := range map[string][]string{"output": {outputText, outputJSON}, "scope": nil, "ttl": nil, "reason": nil, "timeout": nil} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	switch cmd.Name() {
	case "exec", "completion", "bash", "zsh", "fish", "powershell":
	case "wait":
		cmd.ValidArgsFunction = a.asking(requestIDs)
	case "release":
		cmd.ValidArgsFunction = a.asking(leaseIDs)
	default:
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// asking completes with what the broker knows. Failures are silent: there is no place to say them.
func (a *app) asking(candidates func(context.Context, *api.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		client, _, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		all, err := candidates(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fit []string
		for _, one := range all {
			if strings.HasPrefix(one, begun) && isPlain(one) {
				fit = append(fit, one)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

// isPlain tells whether a word is nothing to a shell but itself: completion scripts expand what they are given.
func isPlain(word string) bool {
	return !strings.ContainsFunc(word, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_./", c)
	})
}

func taskNames(ctx context.Context, client *api.Client) ([]string, error) {
	tasks, err := client.Tasks(ctx)
	var names []string
	for _, task := range tasks {
		names = append(names, task.Name)
	}
	return names, err
}

func environmentNames(ctx context.Context, client *api.Client) ([]string, error) {
	tasks, err := client.Tasks(ctx)
	var names []string
	for _, task := range tasks {
		names = append(names, task.Environments...)
	}
	return distinct(names), err
}

func targetNames(ctx context.Context, client *api.Client) ([]string, error) {
	tasks, err := client.Tasks(ctx)
	var names []string
	for _, task := range tasks {
		for _, scope := range append(task.Gives, task.WithApproval...) {
			names = append(names, targetOf(scope))
		}
	}
	return distinct(names), err
}

func requestIDs(ctx context.Context, client *api.Client) ([]string, error) {
	requests, err := client.Requests(ctx)
	var ids []string
	for _, request := range requests {
		ids = append(ids, request.ID)
	}
	return ids, err
}

func leaseIDs(ctx context.Context, client *api.Client) ([]string, error) {
	leases, err := client.Leases(ctx, false)
	var ids []string
	for _, lease := range leases {
		ids = append(ids, lease.ID)
	}
	return ids, err
}

// distinct sorts words and leaves out repetitions.
func distinct(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

// targetOf is the target of a scope, target:resource:actions.
func targetOf(scope string) string {
	target, _, _ := strings.Cut(scope, ":")
	return target
}
