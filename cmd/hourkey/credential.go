package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) credentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Print credentials for tools that exec cannot start",
		Long: `Print credentials. Prefer exec: it keeps them out of files and scrollback, and releases them at the end.
What is printed here lives until its end, or until hourkey release. Targets behind the gateway have no
key to print: they work under exec alone.`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.credentialEnvCommand())
	return cmd
}

func (a *app) credentialEnvCommand() *cobra.Command {
	var q ask
	var target string
	var wait bool
	cmd := &cobra.Command{
		Use:   "env [--request REQUEST | --task TASK --environment ENVIRONMENT]",
		Short: "Print credentials as shell exports, or as JSON",
		Example: `  eval "$(hourkey credential env --request REQUEST)"
  hourkey credential env --request REQUEST -o json`,
		Args: none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			return a.credentialEnv(ctx, &q, target, wait)
		}),
	}
	q.flags(cmd)
	q.requestFlag(cmd)
	a.reviewFlags(cmd)
	cmd.Flags().StringVar(&target, "target", "", "[ENVIRONMENT/]TARGET: only this one's values")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the humans have decided")
	return a.withOutput(cmd)
}

func (a *app) credentialEnv(ctx context.Context, q *ask, target string, wait bool) error {
	if err := q.complete(a.getenv); err != nil {
		return err
	}
	client, _, err := a.client()
	if err != nil {
		return err
	}
	request, _, err := q.find(ctx, client, true)
	if err != nil {
		return err
	}
	asked := request
	if request.State == api.StatePending {
		a.announce(request)
	}
	if wait {
		request, err = a.decided(ctx, client, request, 0)
	} else {
		request, err = settled(request)
	}
	if err != nil {
		return a.stillWaiting(request, err)
	}
	a.announceOutcome(asked, request)
	credentials, err := a.collect(ctx, client, request)
	if err != nil {
		return err
	}
	chosen, values, err := choose(credentials, target)
	if err == nil {
		err = printable(request, chosen)
	}
	if err == nil {
		err = a.printCredentials(request, chosen, values)
	}
	if err != nil {
		a.release(ctx, client, credentials)
	}
	return err
}

// printable refuses leases behind the gateway: their token is of use only to a program that opens
// tunnels with the agent's key.
func printable(request api.Request, credentials []api.Credential) error {
	for _, c := range credentials {
		if c.Gateway != nil {
			return failf("run `hourkey exec --request "+request.ID+" -- COMMAND`", "%s is reached through the gateway: it has no key that could be printed", place(c))
		}
	}
	return nil
}

// printedCredential is api.Credential with its values in the open: the JSON of `credential`.
type printedCredential struct {
	Environment string            `json:"environment"`
	Target      string            `json:"target"`
	Lease       string            `json:"lease"`
	Scopes      []string          `json:"scopes"`
	Values      map[string]string `json:"values"`
	Expires     time.Time         `json:"expires"`
}

// printCredentials is one of the two ways by which secrets leave (invariant 10).
func (a *app) printCredentials(request api.Request, credentials []api.Credential, values map[string]api.Secret) error {
	lines, err := exports(values)
	if err != nil {
		return err
	}
	if isTerminal(a.stdout) {
		a.say("warning: secrets are being printed to a terminal, and stay in its scrollback; `hourkey exec` keeps them off it")
	}
	printed := struct {
		Request     string              `json:"request"`
		Credentials []printedCredential `json:"credentials"`
	}{Request: request.ID}
	for _, c := range credentials {
		open := printedCredential{Environment: c.Environment, Target: c.Target, Lease: c.Lease, Scopes: c.Scopes, Values: map[string]string{}, Expires: c.Expires}
		for name, value := range c.Values {
			open.Values[name] = value.Reveal()
		}
		printed.Credentials = append(printed.Credentials, open)
	}
	if err := a.show(printed, func(out io.Writer) { _, _ = io.WriteString(out, lines) }); err != nil {
		return err
	}
	for _, c := range credentials {
		a.say("lease %s for %s in %s ends at %s, or with `hourkey release %s`", c.Lease, c.Target, c.Environment, clock(c.Expires), c.Lease)
	}
	return nil
}
