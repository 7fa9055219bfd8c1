package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // only to silence it
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// The exit codes (docs/design/0001-the-heart.md).
const (
	exitDone    = 0
	exitError   = 1
	exitUsage   = 2
	exitDenied  = 3
	exitWaiting = 4
)

// Main is one run of hourkeyd: tests build it like main does.
type Main struct {
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Now    func() time.Time
	Lookup func(name string) (string, bool) // of the environment
	Guard  config.Guard

	config  string // --config
	output  string // -o: text or json
	started bool   // the command line was understood
}

// Run carries out the command and gives the exit code.
func (m *Main) Run(ctx context.Context) int {
	log.SetOutput(io.Discard) // net/http writes there what providers sent: what we have to say goes through our own log
	m.Guard = m.Guard.Advised(m.adviseRoot)
	root := m.root()
	root.SetArgs(m.Args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code) // the command has said everything
	}
	if !m.started {
		m.complain(broker.Errorf(broker.CodeInvalid, "%s", err.Error()).WithNext("%s", howTo(c)))
		return exitUsage
	}
	m.complain(err)
	return exitFor(err)
}

// exitCode is an error that was printed already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func exitFor(err error) int {
	switch broker.CodeOf(err) {
	case broker.CodeDenied:
		return exitDenied
	case broker.CodePending:
		return exitWaiting
	default:
		return exitError
	}
}

func (m *Main) root() *cobra.Command {
	root := &cobra.Command{
		Use: "hourkeyd", Short: "The credential broker for AI agents", SilenceErrors: true, SilenceUsage: true,
		Long: "hourkeyd issues credentials that work for one task in one environment and die within the hour.\n" +
			"What could delete or hand out more power waits for a human.",
	}
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	root.PersistentFlags().StringVar(&m.config, "config", "", "path of hourkey.yaml (default ./hourkey.yaml, then /etc/hourkey/hourkey.yaml)")
	root.PersistentFlags().StringVarP(&m.output, "output", "o", "text", "text or json")
	root.AddCommand(
		m.demoCommand(), m.initCommand(), m.installCommand(), m.serveCommand(), m.reloadCommand(), m.statusCommand(), m.versionCommand(),
		m.checkCommand(), m.decideCommand(), m.agentCommand(), m.humanCommand(), m.freezeCommand(), m.revokeCommand(),
		m.leasesCommand(), m.auditCommand(), m.backupCommand(), m.restoreCommand(), m.classifyCommand(), m.packsCommand(), m.storybookCommand(),
	)
	m.mark(root)
	return root
}

// mark notes when a command begins: what went wrong before that is a wrong command line. cobra checks
// required flags after its own hooks, so that none of those can tell.
func (m *Main) mark(c *cobra.Command) {
	for _, child := range c.Commands() {
		m.mark(child)
	}
	run := c.RunE
	if run == nil {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if m.output != "text" && m.output != "json" {
			return fmt.Errorf("-o %s: expected text or json", m.output)
		}
		m.started = true
		return run(c, args)
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return notOf(c, args[0])
		}
		return fmt.Errorf("%s needs one of: %s", c.CommandPath(), names(commands))
	}, Run: func(*cobra.Command, []string) {}}
	c.AddCommand(commands...)
	return c
}

func names(commands []*cobra.Command) string {
	all := make([]string, len(commands))
	for i, c := range commands {
		all[i] = c.Name()
	}
	return strings.Join(all, ", ")
}

// say prints a result: value with -o json, what text writes otherwise.
func (m *Main) say(value any, text func(w io.Writer)) error {
	if m.output != "json" {
		text(m.Stdout)
		return nil
	}
	encoder := json.NewEncoder(m.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// note prints what is not the result: it never mixes with JSON.
func (m *Main) note(format string, args ...any) {
	_, _ = fmt.Fprintf(m.Stderr, "hourkeyd: "+format+"\n", args...)
}

// complain prints an error and its next step.
func (m *Main) complain(err error) {
	e, ok := errors.AsType[*broker.Error](err)
	if m.output == "json" {
		problem := admin.ProblemOf(err)
		if !ok {
			problem.Message, problem.Next = err.Error(), ""
		}
		_ = json.NewEncoder(m.Stderr).Encode(map[string]any{"error": problem})
		return
	}
	_, _ = fmt.Fprintf(m.Stderr, "hourkeyd: error: %s\n", indented(message(err, e)))
	if next := nextStep(err); next != "" {
		_, _ = fmt.Fprintf(m.Stderr, "hourkeyd: hint: %s\n", indented(next))
	}
}

// nextStep is that of the error, or of the nearest cause that names one.
func nextStep(err error) string {
	for e, ok := errors.AsType[*broker.Error](err); ok; e, ok = errors.AsType[*broker.Error](e.Err) {
		if e.Next != "" {
			return e.Next
		}
	}
	return ""
}

// message is an error for the operator, who may see its cause; that nobody answers is no cause.
func message(err error, e *broker.Error) string {
	if errors.Is(err, admin.ErrNotRunning) {
		return e.Message
	}
	return err.Error()
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") }

// client reaches the broker that runs with this configuration.
func (m *Main) client() (*admin.Client, error) {
	server, err := m.server()
	if err != nil {
		return nil, err
	}
	return admin.Dial(server.Data)
}

// server reads hourkey.yaml.
func (m *Main) server() (config.Server, error) {
	path, err := config.Find(m.config)
	if err != nil {
		return config.Server{}, err
	}
	return config.LoadServer(path, m.Guard)
}

// set reads all files.
func (m *Main) set() (*config.Set, error) {
	path, err := config.Find(m.config)
	if err != nil {
		return nil, err
	}
	return config.Load(path, m.Guard)
}
