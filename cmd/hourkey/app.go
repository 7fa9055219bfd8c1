package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hourkey/hourkey/web/api"
)

// app is what every command works with.
type app struct {
	stdin   *os.File
	stdout  *os.File
	stderr  io.Writer
	environ []string
	now     func() time.Time

	output   string // of -o: text or json
	qr, noQR bool   // of --qr and --no-qr
	ran      bool   // a command's own code was reached: what fails from here on is no usage error

	status statusLine // guards stderr
}

// system is the app on this machine.
func system() *app {
	return &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), now: time.Now}
}

// getenv gives a variable of the environment, empty if it is not set.
func (a *app) getenv(name string) string {
	for _, entry := range slices.Backward(a.environ) {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

// isTerminal tells whether file is one that a human looks at.
func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// run executes the command line and gives the exit code.
func run(args []string, a *app) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitDone
	}
	code := exitUsage
	if a.ran {
		code = exitCode(err)
	} else if hintOf(err) == "" {
		err = &hintError{err: err, hint: "run `" + command.CommandPath() + " --help`"}
	}
	a.report(err)
	if _, own := errors.AsType[*childStatus](err); command.Name() == "exec" && !own && !isInterrupt(err) {
		return exitExec
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hourkey",
		Short: "Ask for credentials by task, and run commands with them",
		Long: `hourkey asks a Hourkey broker for credentials that work for one task, in one environment, for
at most an hour. What could delete or hand out power waits for a human.

Exit codes: 0 done, 1 error, 2 usage, 3 denied, 4 waiting for approval, 5 doctor found something. Under
exec the status is the command's own (128 + N when signal N killed it), and 125 when hourkey itself failed.

Variables: HOURKEY_TASK and HOURKEY_ENVIRONMENT stand in for --task and --environment, HOURKEY_URL names
the broker when several are enrolled, HOURKEY_CA is a PEM file with the authority of a private broker.
HOURKEY_QR=1 prints the review's page as a QR code in any case, HOURKEY_QR=0 never; without it a terminal
that is large enough shows one.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.AddCommand(a.enrollCommand(), a.tasksCommand(), a.requestCommand(), a.requestsCommand(), a.waitCommand(),
		a.execCommand(), a.leasesCommand(), a.releaseCommand(), a.credentialCommand(), a.doctorCommand(), a.versionCommand())
	a.completes(root)
	return root
}

// does makes a command's RunE: it marks where usage errors end, and lets a signal end the context.
func (a *app) does(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.output != outputText && a.output != outputJSON {
			return errors.New("-o " + a.output + ": expected text or json")
		}
		a.ran = true
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		return work(ctx, args)
	}
}

// withOutput gives a command its -o flag.
func (a *app) withOutput(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&a.output, "output", "o", outputText, "text or json")
	return cmd
}

// client opens the agent's key for the broker that is meant and makes a client with it.
func (a *app) client() (*api.Client, *identity, error) {
	id, err := a.identity()
	if err != nil {
		return nil, nil, err
	}
	roots, err := a.roots(id.CAFile)
	if err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(api.ClientConfig{
		Origin: id.Origin, Agent: id.Agent, Key: id.key, Roots: roots, UserAgent: userAgent(), Now: a.now,
	})
	return client, id, err
}
