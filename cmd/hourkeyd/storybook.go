package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web"
)

// storybookCommand needs no configuration, no store and no broker.
func (m *Main) storybookCommand() *cobra.Command {
	var listen, out string
	c := &cobra.Command{
		Use: "storybook [--listen ADDRESS | --out DIR]", Short: "Every state of every page, from fixtures", Args: takes(),
		Long: "storybook shows every page in every state that it can have: for whoever reviews the pages, or changes them.\n" +
			"Nothing in it is real. It is served on this machine alone, until ^C; with --out it is written as files\n" +
			"that open from the disk.",
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := web.NewStorybook()
			if err != nil {
				return err
			}
			if out != "" {
				return m.writeStorybook(book, out)
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return m.serveStorybook(ctx, book, listen)
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "an address of this machine alone; port 0 takes a free one")
	c.Flags().StringVar(&out, "out", "", "a folder to write it to, instead")
	c.MarkFlagsMutuallyExclusive("listen", "out")
	return c
}

// serveStorybook serves it until ctx ends.
func (m *Main) serveStorybook(ctx context.Context, book *web.Storybook, address string) error {
	where := web.ListenConfig{Address: address}
	if err := where.Check(); err != nil {
		return broker.Errorf(broker.CodeInvalid, "--listen %s: the storybook is served on this machine alone", address).WithField("listen").WithNext("--listen 127.0.0.1:0, or --out DIR").Because(err)
	}
	listener, err := web.Listen(ctx, where)
	if err != nil {
		return err
	}
	at := struct {
		URL string `json:"url"`
	}{"http://" + listener.Addr().String() + "/"}
	if err := m.say(at, func(w io.Writer) { _, _ = fmt.Fprintln(w, at.URL) }); err != nil {
		return errors.Join(err, listener.Close())
	}
	m.note("every state of every page, from fixtures: nothing in it is real (Ctrl-C ends it)")
	server := &http.Server{Handler: book, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing is under way that matters
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the storybook: %w", err)
	}
	return nil
}

// writeStorybook writes its files below a folder, over those of an earlier one.
func (m *Main) writeStorybook(book *web.Storybook, folder string) error {
	count := 0
	err := book.Each(func(name string, content []byte) error {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // it holds fixtures, for everybody
			return fmt.Errorf("making the storybook's folder: %w", err)
		}
		count++
		return os.WriteFile(file, content, 0o644) //nolint:gosec // as above
	})
	if err != nil {
		return err
	}
	done := struct {
		Index string `json:"index"`
		Files int    `json:"files"`
	}{filepath.Join(folder, "index.html"), count}
	return m.say(done, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%d files; open %s\n", done.Files, done.Index) })
}
