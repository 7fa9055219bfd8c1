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
	cmd.AddCommand(a.credentialEnvCommand(), a.credentialAWSCommand(), a.credentialKubectlCommand())
	return cmd
}

// credentialAsk is what the flags of a credential command say.
type credentialAsk struct {
	ask
	target string
	wait   bool
}

// credentialFlags declares them.
func (a *app) credentialFlags(cmd *cobra.Command, w *credentialAsk) {
	w.flags(cmd)
	w.requestFlag(cmd)
	a.reviewFlags(cmd)
	cmd.Flags().StringVar(&w.target, "target", "", "[ENVIRONMENT/]TARGET: only this one's values")
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the humans have decided")
}

func (a *app) credentialEnvCommand() *cobra.Command {
	var w credentialAsk
	cmd := &cobra.Command{
		Use:   "env [--request REQUEST | --task TASK --environment ENVIRONMENT]",
		Short: "Print credentials as shell exports, or as JSON",
		Example: `  eval "$(hourkey credential env --request REQUEST)"
  hourkey credential env --request REQUEST -o json`,
		Args: none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			return a.credential(ctx, &w, func(got taken) error {
				chosen, values, err := choose(got.credentials, w.target)
				if err == nil {
					err = printable(got.request, chosen)
				}
				if err != nil {
					return err
				}
				return a.printCredentials(got.request, chosen, values)
			})
		}),
	}
	a.credentialFlags(cmd, &w)
	return a.withOutput(cmd)
}

// taken is what came of a request, and of whom.
type taken struct {
	client      *api.Client
	id          *identity
	request     api.Request
	credentials []api.Credential
}

// credential collects what is wanted, and has it printed. What could not be printed is not left alive.
func (a *app) credential(ctx context.Context, w *credentialAsk, printed func(taken) error) error {
	if err := w.complete(a.getenv); err != nil {
		return err
	}
	client, id, err := a.client()
	if err != nil {
		return err
	}
	request, _, err := w.find(ctx, client, true)
	if err != nil {
		return err
	}
	asked := request
	if request.State == api.StatePending {
		a.announce(request)
	}
	if w.wait {
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
	if err := printed(taken{client, id, request, credentials}); err != nil {
		a.release(ctx, client, credentials)
		return err
	}
	return nil
}

// pick gives the one credential that has these variables: of target, if that is not empty. what is the name of such a
// credential.
func pick(credentials []api.Credential, target, what string, variables ...string) (api.Credential, error) {
	var fit []api.Credential
	for _, c := range credentials {
		if (target == "" || target == c.Target || target == place(c)) && holds(c, variables) {
			fit = append(fit, c)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return api.Credential{}, failf("choose one with --target", "there is more than one %s: %s", what, targets(fit))
	case target != "":
		return api.Credential{}, failf("the request has "+targets(credentials), "--target %s: no %s is there", target, what)
	}
	return api.Credential{}, failf("ask for a scope of such a target: the request has "+targets(credentials), "no %s is among the credentials", what)
}

func holds(c api.Credential, variables []string) bool {
	for _, name := range variables {
		if c.Values[name].IsZero() {
			return false
		}
	}
	return true
}

// releaseOthers ends what was issued with the one that is printed: nobody will use it.
func (a *app) releaseOthers(ctx context.Context, got taken, but api.Credential) {
	for _, c := range got.credentials {
		if c.Lease != but.Lease {
			a.release(ctx, got.client, []api.Credential{c})
		}
	}
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
	a.warnOfScrollback()
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

// warnOfScrollback is said before a secret is printed where a human looks.
func (a *app) warnOfScrollback() {
	if isTerminal(a.stdout) {
		a.say("warning: secrets are being printed to a terminal, and stay in its scrollback; `hourkey exec` keeps them off it")
	}
}
