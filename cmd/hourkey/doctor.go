package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/cmd/hourkey/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var tree string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find the standing credentials on this machine that go around the broker",
		Long: `Find the standing credentials on this machine that go around the broker: logins of command line tools,
keys and tokens in files, in the tree in which an agent works, and in the environment. For each: what it
can reach, as far as that can be told offline, and how to move it behind Hourkey.

No secret is printed. Nothing is written, run, or asked over the network, and no enrolment is needed.
docs/doctor.md lists what is looked at, and what cannot be seen.

Exit codes: 0 nothing found, 1 error, 2 usage, 5 something found.`,
		Args: none,
		RunE: a.does(func(context.Context, []string) error { return a.doctor(tree) }),
	}
	cmd.Flags().StringVar(&tree, "tree", "", "the folder to look through (default: the git checkout around the working directory, or that directory)")
	return a.withOutput(cmd)
}

// podAccount is where Kubernetes keeps the token of a pod's service account.
const podAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func (a *app) doctor(tree string) error {
	if tree == "" {
		here, err := os.Getwd()
		if err != nil {
			return failf("name a folder with --tree", "finding the working directory: %w", err)
		}
		tree = doctor.TreeOf(here)
	}
	tree, err := filepath.Abs(tree)
	if err != nil {
		return failf("name the folder by its whole path", "finding the tree: %w", err)
	}
	report, err := doctor.Examine(doctor.Machine{Home: a.getenv("HOME"), Tree: tree, Environ: a.environ, Pod: podAccount, Now: a.now})
	if err != nil {
		return failf("`hourkey doctor --tree DIR`, with HOME set", "%w", err)
	}
	if err := a.show(report, report.WriteText); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if len(report.Findings) > 0 {
		return &childStatus{exitFound} // the report says it all
	}
	return nil
}
