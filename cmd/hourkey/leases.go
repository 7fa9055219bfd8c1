package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) leasesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "leases",
		Short: "List this agent's open leases",
		Args:  none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			client, _, err := a.client()
			if err != nil {
				return err
			}
			leases, err := client.Leases(ctx, all)
			if err != nil {
				return err
			}
			if len(leases) == 0 {
				a.say("no lease is open")
			}
			return a.show(api.LeaseList{Leases: leases}, func(out io.Writer) { leaseTable(out, leases) })
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "ended ones too")
	return a.withOutput(cmd)
}

func leaseTable(out io.Writer, leases []api.Lease) {
	var rows [][]string
	for _, l := range leases {
		rows = append(rows, []string{l.ID, l.State, l.Environment, l.Target, clock(l.Expires), l.Request, strings.Join(l.Scopes, " ")})
	}
	table(out, []string{"LEASE", "STATE", "ENVIRONMENT", "TARGET", "ENDS", "REQUEST", "SCOPES"}, rows)
}

// released is what release says with -o json.
type released struct {
	Lease    string `json:"lease"`
	Released bool   `json:"released"`
}

func (a *app) releaseCommand() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use:   "release LEASE",
		Short: "End a lease now",
		Args:  exactly("LEASE"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			client, _, err := a.client()
			if err != nil {
				return err
			}
			if err := client.Release(ctx, args[0]); err != nil {
				return err
			}
			return a.show(released{Lease: args[0], Released: true}, func(out io.Writer) { fmt.Fprintln(out, "released "+visible(args[0])) })
		}),
	})
}
