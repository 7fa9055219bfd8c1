package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what the Go tool stamped into this binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes that are not in Revision
	Go       string `json:"go"`
}

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
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

func (m *Main) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: takes(), RunE: func(*cobra.Command, []string) error {
		b := thisBuild()
		return m.say(b, func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "hourkeyd %s (%s, %s)\n", b.Version, cmp.Or(b.Revision, "revision not known"), b.Go)
		})
	}}
}
