package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
	"github.com/hourkey/hourkey/web/api"
)

func (a *app) execCommand() *cobra.Command {
	var q ask
	var target string
	cmd := &cobra.Command{
		Use:                   "exec [--request REQUEST | --task TASK --environment ENVIRONMENT] [FLAG]... -- COMMAND [ARGUMENT]...",
		DisableFlagsInUseLine: true, // what follows the command is the command's

		Short: "Run a command with credentials in its environment, and release them when it ends",
		Long: `Run a command with credentials in its environment. When a human has to decide, exec prints where and
waits. At the end every lease is released, whatever the command's status.

The command gets the credentials' variables and nothing else of ours; its input and output are untouched.
For a Kubernetes target it gets KUBECONFIG as well, a private file that is gone when the command ends. What leads
elsewhere, like AWS_PROFILE and ~/.aws beside keys for AWS, is taken out. With --target only that target is asked for.
For targets behind the gateway exec runs a forwarder on 127.0.0.1 while the command runs: the command gets a
base URL and HTTPS_PROXY, files that name the gateway's authority, and no token. Other https hosts than those
of its targets are then refused. docs/exec.md says what that means for which tool.

When a lease ends before the command does, exec says so five minutes before and at the end, and lets the
command run on: what it still does without access is its own affair, and killing it could do more harm.

^C while waiting withdraws the request that this exec made; any other signal leaves it to be collected
later with --request. Signals that arrive while the command runs are passed on to it.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"no command: expected `hourkey exec … -- COMMAND`"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true
			return a.exec(cmd.Context(), &q, target, args)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is the command's
	q.flags(cmd)
	q.requestFlag(cmd)
	a.reviewFlags(cmd)
	cmd.Flags().StringVar(&target, "target", "", "[ENVIRONMENT/]TARGET: this one alone")
	return cmd
}

// childStatus is how exec's command ended, when not with 0.
type childStatus struct{ code int }

func (e *childStatus) Error() string { return fmt.Sprintf("the command ended with status %d", e.code) }

func (a *app) exec(ctx context.Context, q *ask, target string, args []string) error {
	if err := q.complete(a.getenv); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0]) // before anybody is asked for anything
	if err != nil {
		return fmt.Errorf("finding the command: %w", err)
	}
	client, id, err := a.client()
	if err != nil {
		return err
	}
	// Go lets a write to a broken stderr kill the process, unless SIGPIPE is received; then nothing would be released.
	signals := listen(ctx, append(forwarded(), unix.SIGPIPE))
	defer signals.close()

	if err := q.narrow(signals.ctx, client, target); err != nil {
		return err
	}
	request, err := a.obtain(signals.ctx, client, q)
	if err != nil {
		return err
	}
	credentials, err := a.collect(signals.ctx, client, request)
	if err != nil {
		return err
	}
	defer a.release(ctx, client, credentials)
	chosen, values, err := choose(credentials, target)
	if err != nil {
		return err
	}
	stop, err := a.forward(client, id.Origin, chosen, values)
	if err != nil {
		return err
	}
	defer stop() // before the release: a tunnel that breaks off says less than one that was closed
	remove, err := kubeconfigFor(values, a.now())
	if err != nil {
		return err
	}
	defer a.tidy(remove)
	shut(values)
	command := &exec.Cmd{Path: path, Args: args, Env: childEnviron(a.environ, values), Stdin: a.stdin, Stdout: a.stdout, Stderr: os.Stderr}
	if err := a.runChild(ctx, signals, command, chosen); err != nil {
		a.hintMore(err, request, chosen)
		return err
	}
	return nil
}

// forward runs a forwarder for the credentials that are behind the gateway, if there are any, and adds
// its variables to values. Stop ends it.
func (a *app) forward(client *api.Client, origin string, credentials []api.Credential, values map[string]api.Secret) (stop func(), err error) {
	config := forward.Config{
		Open: client.OpenTunnel, Getenv: a.getenv, Say: func(line string) { a.say("warning: %s", line) },
		Now: a.now, Direct: append(directHosts(values), hostOf(origin)), // a hourkey inside the command has its own way to the broker
	}
	for _, c := range credentials {
		if c.Gateway != nil {
			config.Targets = append(config.Targets, forward.Target{Name: place(c), Gateway: *c.Gateway})
		}
	}
	if len(config.Targets) == 0 {
		return func() {}, nil
	}
	forwarder, err := forward.Start(config)
	if err != nil {
		return nil, fmt.Errorf("starting the forwarder: %w", err)
	}
	for name, value := range forwarder.Environ() {
		if _, taken := values[name]; taken {
			return nil, errors.Join(fmt.Errorf("a credential sets %s, which the forwarder needs", name), forwarder.Close())
		}
		values[name] = value
	}
	return func() {
		if err := forwarder.Close(); err != nil {
			a.say("warning: ending the forwarder: %s", err)
		}
	}, nil
}

// tidy removes what was written for the child.
func (a *app) tidy(remove func() error) {
	if err := remove(); err != nil {
		a.say("warning: a file with a credential is left, which ends with its lease: %s", err)
	}
}

// hostOf is the host of an origin, without port.
func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// obtain finds or makes the request and waits for humans where they must decide.
func (a *app) obtain(ctx context.Context, client *api.Client, q *ask) (api.Request, error) {
	request, made, err := q.find(ctx, client, true)
	if err != nil {
		return request, err
	}
	if request.State == api.StatePending {
		a.announce(request)
	}
	settledRequest, err := a.decided(ctx, client, request, 0)
	if stop, interrupted := errors.AsType[*interrupt](err); interrupted {
		if made && stop.signal == os.Interrupt {
			return request, a.withdraw(ctx, client, request, err)
		}
		return request, &hintError{err: err, hint: "the request still waits for a human: `hourkey exec --request " + request.ID + " -- COMMAND` goes on with it"}
	}
	if err == nil {
		a.announceOutcome(request, settledRequest)
	}
	return settledRequest, err
}

// withdraw cancels a request that nobody will collect, so that no human is asked in vain.
func (a *app) withdraw(ctx context.Context, client *api.Client, request api.Request, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := client.Cancel(ctx, request.ID); err != nil {
		a.say("warning: request %s could not be withdrawn: %s", request.ID, err)
		return cause
	}
	a.say("request %s is withdrawn", request.ID)
	return cause
}

// runChild runs the command to its end, telling on stderr when its leases end.
func (a *app) runChild(ctx context.Context, signals *relay, command *exec.Cmd, credentials []api.Credential) error {
	if err := signals.start(command); err != nil {
		if isInterrupt(err) {
			return err
		}
		return fmt.Errorf("starting the command: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { a.watch(watching, notices(credentials, a.now())) })
	err := command.Wait()
	signals.end()
	stop()
	watcher.Wait()
	return statusOf(command.ProcessState, err)
}

// statusOf gives nil for 0, and else the status as a shell would tell it.
func statusOf(state *os.ProcessState, err error) error {
	if err == nil {
		return nil
	}
	if state == nil {
		return fmt.Errorf("waiting for the command: %w", err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &childStatus{exitSignal + int(status.Signal())}
	}
	return &childStatus{state.ExitCode()}
}

// hintMore tells, after a command that failed, what it could do and how to ask for more: an agent that
// was refused by the provider reads it and asks, instead of looking for another way.
func (a *app) hintMore(err error, request api.Request, credentials []api.Credential) {
	status, failed := errors.AsType[*childStatus](err)
	if !failed || status.code > exitSignal { // a signal is no refusal
		return
	}
	more := "hourkey request --task " + request.Task
	for _, environment := range request.Environments {
		more += " --environment " + environment
	}
	a.say("hint: this lease covers %s; ask for more with `%s --scope TARGET:RESOURCE:ACTIONS --wait` (`hourkey tasks` lists what may be asked)", covers(credentials), more)
}

// leasedNames tells a child which of its variables are of leases, by their names alone: doctor reads it.
const leasedNames = "HOURKEY_LEASED"

// childEnviron is our environment with the credentials' values in it, without what would lead past them. Of our own
// variables only the five that a hourkey inside the command needs stay: the others could be a broker's settings, and secret.
func childEnviron(parent []string, values map[string]api.Secret) []string {
	kept := map[string]bool{"HOURKEY_TASK": true, "HOURKEY_ENVIRONMENT": true, "HOURKEY_URL": true, "HOURKEY_CA": true, "HOURKEY_QR": true}
	leased := slices.Collect(maps.Keys(values))
	var environ []string
	for _, entry := range parent {
		name, value, _ := strings.Cut(entry, "=")
		_, replaced := values[name]
		if name == leasedNames { // of a hourkey around us, whose variables are here too
			leased = append(leased, strings.Fields(value)...)
		}
		if replaced || misleads(name, values) || strings.HasPrefix(name, "HOURKEY_") && !kept[name] {
			continue
		}
		environ = append(environ, entry)
	}
	for name, value := range values {
		environ = append(environ, name+"="+value.Reveal())
	}
	return append(environ, leasedNames+"="+strings.Join(distinct(leased), " "))
}
