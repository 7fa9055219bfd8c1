package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
)

func (m *Main) serveCommand() *cobra.Command {
	var service bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker", Args: takes(),
		Long: "serve runs the broker until it gets SIGTERM or SIGINT. SIGHUP reloads, like `hourkeyd reload`.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			reloads := make(chan os.Signal, 1)
			signal.Notify(reloads, syscall.SIGHUP)
			defer signal.Stop(reloads)
			return m.serve(ctx, reloads, service)
		},
	}
	c.Flags().BoolVar(&service, "service", false, "set by the unit that `hourkeyd install` writes")
	must(c.Flags().MarkHidden("service"))
	return c
}

func (m *Main) serve(ctx context.Context, reloads <-chan os.Signal, service bool) error {
	path, err := config.Find(m.config)
	if err != nil {
		return err
	}
	d, err := daemon.Open(ctx, daemon.Options{
		Path: path, Guard: m.Guard, Lookup: m.Lookup, Now: m.Now, Log: m.log(), Version: thisBuild().Version,
		Reloads: reloads, OwnUser: service && installed(path),
	})
	if err != nil {
		return notOpened(err)
	}
	banner, err := d.Banner(ctx)
	if err != nil {
		return err
	}
	if err := m.say(banner, func(w io.Writer) { writeBanner(w, banner) }); err != nil {
		return err
	}
	return d.Run(ctx)
}

// notOpened adds to an error that only the system's words explain what to do about it.
func notOpened(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return broker.Errorf(broker.CodeUnavailable, "another program listens there").Because(err).
			WithNext("stop it, or set another port: `listen` in hourkey.yaml, or HOURKEY_LISTEN=127.0.0.1:PORT")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return broker.Errorf(broker.CodeUnavailable, "this machine has no such address").Because(err).
			WithNext("set `listen` in hourkey.yaml to an address of this machine, like 127.0.0.1:8750")
	case errors.Is(err, syscall.EACCES) && isListen(err):
		return broker.Errorf(broker.CodeUnavailable, "this user may not listen there: ports below 1024 are root's").Because(err).
			WithNext("set `listen` in hourkey.yaml to another port, like 0.0.0.0:8443; a proxy that has the other one can stand before it (trusted_proxies)")
	default:
		return err
	}
}

// isListen tells whether it was at the door, not at a file.
func isListen(err error) bool {
	at, ok := errors.AsType[*net.OpError](err)
	return ok && at.Op == "listen"
}

// installed tells whether this is the set-up that `hourkeyd install` makes: an unprivileged user whose
// configuration belongs to root. Whoever could write it himself would be the broker's user in all but name.
func installed(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	return known && stat.Uid == 0 && os.Geteuid() != 0
}

// log writes to the standard error: the service's journal.
func (m *Main) log() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if m.output == "json" {
		return slog.New(slog.NewJSONHandler(m.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(m.Stderr, options))
}

func writeBanner(w io.Writer, b daemon.Banner) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { _, _ = fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("hourkeyd", "%s (listening on %s)", b.Origin, b.Listen)
	line("installation", "%s, %d environment(s), %d target(s)", b.Installation, b.Environments, b.Targets)
	line("event log", "verified by %s", b.LogKey)
	if b.SameUser {
		line("protects from", "mistakes only: agents under the broker's own OS user can reach its keys; `hourkeyd install` separates them")
	}
	if b.Behind != "" {
		line("BEHIND", "%s", b.Behind)
	}
	if len(b.Frozen) > 0 {
		line("FROZEN", "%s: nothing is issued for it until an operator lifts it at %s", strings.Join(b.Frozen, ", "), b.Origin)
	}
	_ = t.Flush()
}
