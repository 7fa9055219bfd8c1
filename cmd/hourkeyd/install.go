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
			"What is there already stays as it is. It starts nothing.",
		RunE: func(c *cobra.Command, _ []string) error {
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
}

func (m *Main) install(ctx context.Context, steps []scaffold.Step) error {
	if os.Geteuid() != 0 {
		return broker.Errorf(broker.CodeForbidden, "install makes a user and a service: only root may").WithNext("sudo hourkeyd install, or --dry-run to see what it does")
	}
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
		results = append(results, applied{title(step), done})
	}
	return m.say(results, func(w io.Writer) {
		for _, r := range results {
			_, _ = fmt.Fprintf(w, "%-8s %s\n", map[bool]string{true: "done", false: "was so"}[r.Done], r.Step)
		}
		_, _ = fmt.Fprint(w, installedNext)
	})
}

const installedNext = `
Next, as root:
  1. edit /etc/hourkey/environments/staging.yaml, and put the login into /etc/hourkey/environment
  2. systemctl start hourkeyd
  3. hourkeyd human invite YOU
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
