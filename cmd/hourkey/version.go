package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this binary was made from, as the Go toolchain recorded it.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

func readBuild() build {
	info, found := debug.ReadBuildInfo()
	if !found || info.Main.Version == "" || info.Main.Version == "(devel)" {
		info = cmp.Or(info, &debug.BuildInfo{GoVersion: runtime.Version()})
		info.Main.Version = "devel"
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

// userAgent names this program to the broker (RFC 9110 section 10.1.5).
func userAgent() string {
	return "hourkey/" + readBuild().Version
}

func (a *app) versionCommand() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  none,
		RunE: a.does(func(context.Context, []string) error {
			b := readBuild()
			return a.show(b, func(out io.Writer) {
				fmt.Fprintf(out, "hourkey %s (%s, %s)\n", b.Version, cmp.Or(b.Revision, "revision not known"), b.Go)
			})
		}),
	})
}
