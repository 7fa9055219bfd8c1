package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) enrollCommand() *cobra.Command {
	var agent string
	var force bool
	cmd := &cobra.Command{
		Use:   "enroll URL --agent NAME",
		Short: "Make this agent's key and give its public half to a broker",
		Long: `Make an Ed25519 key for this agent and enrol it with a broker. The one-time code, which
hourkeyd agent add prints, is read from a prompt or from the first line of stdin: an argument would show
it to every process. The key lies in ${XDG_CONFIG_HOME:-~/.config}/hourkey, mode 0600, and never leaves.

The agent can do nothing until its owner has signed the key on the broker's page: compare the thumbprint.`,
		Args: exactly("URL"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			return a.enroll(ctx, args[0], agent, force)
		}),
	}
	cmd.Flags().StringVar(&agent, "agent", "", "the agent's name, as the operator added it")
	cmd.Flags().BoolVar(&force, "force", false, "replace the key that this user has for the broker")
	return a.withOutput(cmd)
}

func (a *app) enroll(ctx context.Context, target, agent string, force bool) error {
	origin, err := api.ParseOrigin(target)
	if err != nil {
		return &usageError{err.Error()}
	}
	path, err := a.identityPath(origin)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
		return failf("use it as it is, or replace it with --force", "there is a key for this broker already: %s", path)
	}
	input := bufio.NewReader(io.LimitReader(a.stdin, 4096))
	if agent == "" {
		if agent, err = a.askName(input); err != nil {
			return err
		}
	}
	code, err := a.askCode(ctx, input)
	if err != nil {
		return err
	}
	return a.enrollWith(ctx, path, origin, agent, code)
}

// enrollWith makes the key, keeps it, and only then uses up the code.
func (a *app) enrollWith(ctx context.Context, path, origin, agent string, code api.Secret) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key: %w", err)
	}
	id := &identity{Format: identityFormat, Origin: origin, Agent: agent, Enrolled: a.now().UTC(), Seed: key.Seed(), key: key}
	if authority := a.getenv("HOURKEY_CA"); authority != "" {
		if id.CAFile, err = filepath.Abs(authority); err != nil {
			return fmt.Errorf("finding HOURKEY_CA: %w", err)
		}
	}
	roots, err := a.roots(id.CAFile)
	if err != nil {
		return err
	}
	client, err := api.NewClient(api.ClientConfig{Origin: origin, Agent: agent, Key: key, Roots: roots, UserAgent: userAgent(), Now: a.now})
	if err != nil {
		return err
	}
	draft, err := id.draft(path)
	if err != nil {
		return err
	}
	answer, err := client.Enroll(ctx, code)
	if err != nil {
		return a.notEnrolled(err, os.Remove(draft))
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("putting the key in its place: %w", err)
	}
	return a.show(answer, func(out io.Writer) {
		fmt.Fprintln(out, visible(fmt.Sprintf("agent %s of %s is enrolled with %s; the key is in %s", answer.Name, answer.Owner, origin, path)))
		fmt.Fprintln(out, "thumbprint "+visible(answer.Thumbprint))
		fmt.Fprintln(out, visible(answer.Next))
	})
}

// notEnrolled adds what can be done when the outcome is not known: the code may be used up.
func (a *app) notEnrolled(err, cleanup error) error {
	if cleanup != nil {
		a.say("warning: a key that was not enrolled could not be removed: %s", cleanup)
	}
	if _, refused := api.AsProblem(err); refused {
		return err
	}
	return &hintError{err: err, hint: "try again; if the code is used up by then, the operator makes a new one with `hourkeyd agent add`"}
}

// askName prompts for the agent's name, where there is somebody to ask.
func (a *app) askName(input *bufio.Reader) (string, error) {
	if !isTerminal(a.stdin) {
		return "", &hintError{
			err:  &usageError{"no agent: expected --agent NAME, as the operator added it"},
			hint: "an operator runs `hourkeyd agent add NAME --owner HUMAN`, which prints the one-time code",
		}
	}
	fmt.Fprint(a.stderr, "Agent: ")
	return readLine(input)
}

// askCode reads the one-time code without echo from a terminal, else the first line of stdin.
func (a *app) askCode(ctx context.Context, input *bufio.Reader) (api.Secret, error) {
	if !isTerminal(a.stdin) {
		return codeOf(readLine(input))
	}
	descriptor := int(a.stdin.Fd())
	before, err := term.GetState(descriptor)
	if err != nil {
		return api.Secret{}, fmt.Errorf("asking the terminal: %w", err)
	}
	fmt.Fprint(a.stderr, "One-time code (not shown): ")
	type typed struct {
		text []byte
		err  error
	}
	lines := make(chan typed, 1)
	go func() { // it cannot be stopped; the process ends soon after a signal
		text, err := term.ReadPassword(descriptor)
		lines <- typed{text, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(descriptor, before) // ^C must not leave a terminal that shows nothing
		fmt.Fprintln(a.stderr)
		return api.Secret{}, context.Cause(ctx)
	case line := <-lines:
		fmt.Fprintln(a.stderr)
		return codeOf(string(line.text), line.err)
	}
}

func codeOf(text string, err error) (api.Secret, error) {
	text = strings.TrimSpace(text)
	if err != nil || text == "" {
		return api.Secret{}, &usageError{"no one-time code was given: expected it at the prompt, or as the first line of stdin"}
	}
	return api.NewSecret(text), nil
}

// readLine gives the first line that is not empty.
func readLine(input *bufio.Reader) (string, error) {
	for {
		line, err := input.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			return line, nil
		}
		if err != nil {
			return "", &usageError{"nothing was given"}
		}
	}
}
