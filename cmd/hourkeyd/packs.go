package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/issuers/gateway/lists"
	"github.com/hourkey/hourkey/issuers/gateway/packs"
)

// packInfo is one line of `packs list`.
type packInfo struct {
	Provider string   `json:"provider"`
	Hosts    []string `json:"hosts"`
	Rows     int      `json:"rows"`
	Source   string   `json:"source"`
	SHA256   string   `json:"sha256"` // of the published description that the rows were written for
}

// packDiff is what `packs diff` prints.
type packDiff struct {
	Provider string       `json:"provider"`
	Changes  []packChange `json:"changes"`
}

type packChange struct {
	Kind string `json:"kind"` // added, removed, changed
	What string `json:"what"`
}

func (m *Main) packsCommand() *cobra.Command {
	return group("packs", "What the gateway knows of providers",
		&cobra.Command{
			Use: "list", Short: "List the providers, their rows and the description that those were written for", Args: takes(),
			RunE: func(*cobra.Command, []string) error { return m.listPacks() },
		},
		&cobra.Command{
			Use: "diff PROVIDER FILE", Short: "What a new version of a provider's description adds, as rows to fill", Args: takes("PROVIDER", "FILE"),
			Long: "diff compares FILE, a provider's published description (GraphQL introspection as JSON, or a table of method\n" +
				"and path) or a list that `packs extract` made, with what the pack was written for. Operations that are new\n" +
				"are printed as rows to fill in; until they are, the gateway refuses them. Nothing is changed.",
			ValidArgsFunction: completeProvider,
			RunE:              func(_ *cobra.Command, args []string) error { return m.diffPack(args[0], args[1]) },
		},
		&cobra.Command{
			Use: "extract PROVIDER FILE", Short: "Print the list of facts that a pack is checked against, from a description", Args: takes("PROVIDER", "FILE"),
			ValidArgsFunction: completeProvider,
			RunE:              func(_ *cobra.Command, args []string) error { return m.extractList(args[0], args[1]) },
		},
	)
}

func (m *Main) listPacks() error {
	var all []packInfo
	for _, name := range packs.Names() {
		pack, err := m.pack(name)
		if err != nil {
			return err
		}
		source, sum := lists.Source(name)
		all = append(all, packInfo{name, pack.Hosts(), len(pack.Rows().Rows), source, sum})
	}
	return m.say(all, func(w io.Writer) {
		for _, p := range all {
			_, _ = fmt.Fprintf(w, "%-10s %5d rows  %s  (written for %s, sha256 %.12s…)\n", p.Provider, p.Rows, strings.Join(p.Hosts, " "), p.Source, p.SHA256)
		}
	})
}

func (m *Main) diffPack(provider, file string) error {
	if _, err := m.pack(provider); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the description: %w", err)
	}
	changes, err := lists.Diff(provider, lists.Raw(provider), text)
	if err != nil {
		return err
	}
	diff := packDiff{Provider: provider, Changes: []packChange{}}
	for _, change := range changes {
		diff.Changes = append(diff.Changes, packChange{change.Kind, change.What})
	}
	return m.say(diff, func(w io.Writer) { writeDiff(w, diff) })
}

// writeDiff prints new operations in the form of the pack, with a class that does not parse: a row that
// nobody has thought about must not load.
func writeDiff(w io.Writer, diff packDiff) {
	rows := 0
	for _, change := range diff.Changes {
		switch {
		case change.Kind == "added" && isOperation(change.What):
			rows++
			_, _ = fmt.Fprintf(w, "# added: %s\n%s\n    CLASS  WHY\n    touch  KIND PATH\n\n", change.What, operationOf(change.What))
		default:
			_, _ = fmt.Fprintf(w, "# %s: %s\n", change.Kind, change.What)
		}
	}
	if len(diff.Changes) == 0 {
		_, _ = fmt.Fprintf(w, "nothing has changed: the pack of %s is for this description\n", diff.Provider)
		return
	}
	_, _ = fmt.Fprintf(w, "# changes: %d, of them rows to fill in: %d; docs/packs.md tells how\n", len(diff.Changes), rows)
}

// operationOf cuts the arguments off: "mutation volumeDelete(volumeId: String!): Boolean!".
func operationOf(what string) string {
	name, _, _ := strings.Cut(what, "(")
	if first, _, _ := strings.Cut(name, " "); first == "mutation" || first == "query" || first == "subscription" {
		name, _, _ = strings.Cut(name, ":")
		return name
	}
	return what
}

func isOperation(what string) bool {
	first, _, _ := strings.Cut(what, " ")
	return slices.Contains([]string{"mutation", "query", "subscription", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, first)
}

func (m *Main) extractList(provider, file string) error {
	if _, err := m.pack(provider); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the description: %w", err)
	}
	list, err := lists.Extract(provider, text)
	if err != nil {
		return err
	}
	_, err = m.Stdout.Write(list)
	return err
}
