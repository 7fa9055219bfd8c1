package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/scaffold"
)

func (m *Main) installCommand() *cobra.Command {
	var human string
	var dryRun bool
	c := &cobra.Command{
		Use: "install", Short: "Set up a systemd service under an OS user of its own; as root", Args: takes(),
		Long: "install makes the OS user hourkey, /etc/hourkey, /var/lib/hourkey and a hardened systemd unit.\n" +
			"What is there already stays as it is: where /etc/hourkey/hourkey.yaml is, no example is written again, and a unit that\n" +
			"this version would write otherwise is told. It starts nothing.",
		RunE: func(c *cobra.Command, _ []string) error {
			if !dryRun && os.Geteuid() != 0 { // first: who runs sudo is the human
				return broker.Errorf(broker.CodeForbidden, "install makes a user and a service: only root may").WithNext("%s, or --dry-run to see what it does", m.asRoot())
			}
			if human == "" {
				user, _ := m.Lookup("SUDO_USER")
				human = scaffold.HumanFrom(user)
			}
			steps, err := scaffold.Installation(human)
			if err != nil {
				return err
			}
			if dryRun {
				return m.say(steps, func(w io.Writer) { writeSteps(w, steps) })
			}
			return m.install(c.Context(), steps)
		},
	}
	c.Flags().StringVar(&human, "human", "", "the first human, in groups and roles (default: who runs sudo)")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print everything that would be done, with every file's text, and do nothing")
	return c
}

// applied is what install prints.
type applied struct {
	Step string `json:"step"`
	Done bool   `json:"done"` // false: it was so already

	Differs bool `json:"differs,omitempty"` // what is there is another than what this version writes
}

// outcome is one line of what install prints.
func (a applied) outcome() string {
	switch {
	case a.Differs:
		return "differs  " + a.Step + "\n" +
			"         is another than what this version writes, and stays. To have it anew: remove it, run install again, then systemctl restart hourkeyd\n"
	case a.Done:
		return "done     " + a.Step + "\n"
	}
	return "was so   " + a.Step + "\n"
}

func (m *Main) install(ctx context.Context, steps []scaffold.Step) error {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, fs.ErrNotExist) {
		return broker.Errorf(broker.CodeUnavailable, "systemd does not run on this machine: nothing was done").
			WithNext("--dry-run prints the user, the files and the unit; set the service up the same way with what runs here")
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	machine, results := scaffold.ThisMachine(program), []applied{}
	for _, step := range steps {
		done, err := machine.Apply(ctx, step)
		if err != nil {
			return broker.Errorf(broker.CodeInternal, "%s failed", title(step)).Because(err).WithNext("mend it and run install again: what is done stays done")
		}
		differs, err := machine.Differs(step)
		if err != nil {
			return fmt.Errorf("reading the unit: %w", err)
		}
		results = append(results, applied{title(step), done, differs})
	}
	return m.say(results, func(w io.Writer) { writeInstalled(w, results) })
}

func writeInstalled(w io.Writer, results []applied) {
	for _, r := range results {
		_, _ = io.WriteString(w, r.outcome())
	}
	_, _ = fmt.Fprintf(w, installedNext, runAs(scaffold.ServiceUser, scaffold.ServiceUser, scaffold.ServiceEnvironment,
		[]string{scaffold.ServiceBinary, "check", "--live", "--config", scaffold.ServiceConfig()}))
}

const installedNext = `
Next, as root (docs/install.md has each step, and what comes later):
  1. edit /etc/hourkey/environments/staging.yaml, and put the login into /etc/hourkey/environment
  2. see that it is good, as the user that the service has:
     %s
  3. systemctl start hourkeyd
  4. hourkeyd human invite YOU
`

func title(s scaffold.Step) string {
	switch {
	case len(s.Command) > 0:
		return strings.Join(s.Command, " ")
	case s.Folder != "":
		return fmt.Sprintf("folder %s (%s, %04o)", s.Folder, s.Owner, s.Mode)
	case s.Copy != "":
		return fmt.Sprintf("copy this program to %s (%s, %04o)", s.Copy, s.Owner, s.Mode)
	default:
		return fmt.Sprintf("file %s (%s, %04o)", s.File, s.Owner, s.Mode)
	}
}

func writeSteps(w io.Writer, steps []scaffold.Step) {
	for _, s := range steps {
		_, _ = fmt.Fprintf(w, "# %s\n%s\n", s.Why, title(s))
		if s.Text != "" {
			_, _ = fmt.Fprintf(w, "    | %s\n", strings.ReplaceAll(strings.TrimRight(s.Text, "\n"), "\n", "\n    | "))
		}
	}
}
