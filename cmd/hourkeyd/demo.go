package main

import (
	"context"
	"errors"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/cmd/hourkeyd/demo"
)

// demoCommand needs no configuration and leaves nothing behind.
func (m *Main) demoCommand() *cobra.Command {
	var auto bool
	c := &cobra.Command{
		Use: "demo", Short: "The nine-second drill: what happened, and the same with Hourkey", Args: takes(),
		Long: "demo replays the incident of 2026 on a faithful Railway that really loses data, first as it was, then\n" +
			"through Hourkey's gateway, where you are the reviewer. One process, a temporary folder, nothing to\n" +
			"install, and nobody outside this machine is called. It exits with 1 when a wall is off.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			err := demo.Run(ctx, demo.Options{Out: m.Stdout, Now: m.Now, Auto: auto})
			if errors.Is(err, context.Canceled) {
				return exitCode(exitError) // the human has ended it
			}
			return err
		},
	}
	c.Flags().BoolVar(&auto, "auto", false, "a software passkey plays you; needs no human")
	return c
}
