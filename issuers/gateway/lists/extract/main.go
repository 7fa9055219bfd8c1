// Command extract writes the list of a provider, made from its published description:
//
//	go run ./issuers/gateway/lists/extract PROVIDER DESCRIPTION LIST
package main

import (
	"fmt"
	"os"

	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: extract PROVIDER DESCRIPTION LIST")
	}
	source, err := os.ReadFile(args[1]) //nolint:gosec // who runs it names the files
	if err != nil {
		return fmt.Errorf("reading the description: %w", err)
	}
	list, err := lists.Extract(args[0], source)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[2], list, 0o600); err != nil { //nolint:gosec // likewise
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}
