package main

import (
	"context"
	"errors"
	"io"
	"slices"
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
	plugin bool // what is written will ask for the same again, with nobody there who waits
}

// repeatable refuses, before a human is asked or an approval is used up, what a plugin could not ask for again. What it names has
// these scopes.
func repeatable(scopes []string) error {
	if slices.ContainsFunc(scopes, needsHuman) {
		return failf("use `hourkey exec`, which needs no kubeconfig", "what may delete, or gives power, is given once: a plugin would be refused the second time")
	}
	return nil
}

// repeatableRequest is repeatable for a request that was found or made.
func (a *app) repeatableRequest(ctx context.Context, client *api.Client, request api.Request, made bool) error {
	var scopes []string
	for _, item := range request.Items {
		scopes = append(scopes, item.Scopes...)
	}
	err := repeatable(scopes)
	if err == nil && request.State == api.StatePending {
		err = failf("use `hourkey exec`, which waits", "a human must approve this: a plugin would ask again for each command")
	}
	if err != nil && made && request.State == api.StatePending {
		return a.withdraw(ctx, client, request, err)
	}
	return err
}

// credentialFlags declares them.
func (a *app) credentialFlags(cmd *cobra.Command, w *credentialAsk) {
	w.flags(cmd)
	w.requestFlag(cmd)
	a.reviewFlags(cmd)
	cmd.Flags().StringVar(&w.target, "target", "", "[ENVIRONMENT/]TARGET: this one alone")
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
				if err := a.printCredentials(got.request, chosen, values); err != nil {
					return err
				}
				a.releaseBut(ctx, got, chosen...)
				return nil
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
	if err := w.narrow(ctx, client, w.target); err != nil {
		return err
	}
	request, made, err := w.find(ctx, client, !w.plugin) // a plugin's is looked at before it is collected
	if err != nil {
		return err
	}
	if w.plugin {
		if err := a.repeatableRequest(ctx, client, request, made); err != nil {
			return err
		}
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
		return a.stillWaiting(request, waitsElsewhere(request, err))
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

// waitsElsewhere tells what collects a request that waits: whoever asks by its task again, as a plugin does, asks for another one.
func waitsElsewhere(request api.Request, err error) error {
	if open, is := errors.AsType[*undecided](err); !is || open.request.State != api.StatePending {
		return err
	}
	return &hintError{err: err, hint: "a human decides; then `hourkey exec --request " + request.ID + " -- COMMAND` collects it, or this command with --request " + request.ID +
		" in the place of its task: asking by the task again is another request"}
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

// releaseBut ends what was issued beside what is printed: nobody will use it.
func (a *app) releaseBut(ctx context.Context, got taken, printed ...api.Credential) {
	others := slices.DeleteFunc(slices.Clone(got.credentials), func(c api.Credential) bool {
		return slices.ContainsFunc(printed, func(p api.Credential) bool { return p.Lease == c.Lease })
	})
	a.release(ctx, got.client, others)
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
	if err := a.show(printed, func(out io.Writer) { _, _ = io.WriteString(out, unsets(a.stale(values, values))+lines) }); err != nil {
		return err
	}
	if !values[kubeToken].IsZero() {
		a.say("kubectl reads none of these variables: `hourkey credential kubectl --kubeconfig FILE` makes a file for it")
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
