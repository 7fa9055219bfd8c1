package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/cmd/hourkeyd/scaffold"
)

// initialised is what init prints.
type initialised struct {
	Folder  string   `json:"folder"`
	Written []string `json:"written"`
	Kept    []string `json:"kept"` // was there already
}

func (m *Main) initCommand() *cobra.Command {
	var human string
	c := &cobra.Command{
		Use: "init [DIR]", Short: "Write a first configuration; never overwrites", Args: takesUpTo(1, "DIR"),
		Long: "init writes hourkey.yaml, an environment, a task and a guardrail into the folder, each explained where it stands,\n" +
			"with an example of a target for every provider; and AGENTS.md, which tells agents how to ask. It makes neither\n" +
			"store nor key: serve does. What is there already is never overwritten.",
		Example: "  hourkeyd init ~/hourkey --human alice",
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if human == "" {
				user, _ := m.Lookup("USER")
				human = scaffold.HumanFrom(user)
			}
			return m.init(dir, human)
		},
	}
	c.Flags().StringVar(&human, "human", "", "your name in groups and roles (default: the OS user's)")
	return c
}

func (m *Main) init(dir, human string) error {
	files, err := scaffold.Configuration(scaffold.Here(human))
	if err != nil {
		return err
	}
	repository, err := scaffold.Repository()
	if err != nil {
		return err
	}
	if err := scaffold.Fresh(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	// What serve would refuse is said before there is anything to move.
	if err := m.Guard.Check(dir); err != nil {
		return err
	}
	files = append(files, repository...)
	kept, err := scaffold.Write(dir, files)
	if err != nil {
		return err
	}
	return m.initialised(dir, human, files, kept)
}

func (m *Main) initialised(dir, human string, files, kept []scaffold.File) error {
	result := initialised{Folder: dir, Written: []string{}, Kept: []string{}}
	for _, file := range files {
		result.Written = append(result.Written, file.Name)
	}
	for _, file := range kept {
		result.Kept = append(result.Kept, file.Name)
		for i, name := range result.Written {
			if name == file.Name {
				result.Written = slices.Delete(result.Written, i, i+1)
				break
			}
		}
	}
	return m.say(result, func(w io.Writer) {
		for _, name := range result.Written {
			_, _ = fmt.Fprintf(w, "wrote %s\n", filepath.Join(dir, name))
		}
		for _, file := range kept {
			_, _ = fmt.Fprintf(w, "\n%s is there already and stays as it is. Add to it:\n\n%s\n", filepath.Join(dir, file.Name), file.Text)
		}
		_, _ = fmt.Fprintf(w, nextSteps, filepath.Join(dir, "environments/staging.yaml"), "hourkeyd human invite "+human)
	})
}

const nextSteps = `
Next:
  1. edit %s: which database, and which role owns its tables; or AWS,
     Kubernetes, Vault, Railway, GitHub, Supabase, a service of yours: each stands there as an
     example, and its task in policies/tasks/orders.yaml. Without a database, take orders-db out
     of the one and fix-orders-data out of the other
  2. export STAGING_ADMIN_DSN=postgres://…    the broker's own login, where agents cannot read it
  3. hourkeyd check --live                    prints the SQL that is still missing
  4. hourkeyd serve                           in another terminal
  5. %-40s your passkey; then open the page that serve names
  6. copy AGENTS.md to where agents work      it tells them how to ask; in Claude Code's CLAUDE.md: @AGENTS.md

An agent under your own OS user can read what you can read. ` + "`hourkeyd install`" + ` gives the broker a user of its own.
`
