// Command extract writes the table of package actions, made from the published list of AWS's actions:
//
//	go run ./issuers/aws/actions/extract LIST TABLE
package main

import (
	"fmt"
	"os"

	"github.com/hourkey/hourkey/issuers/aws/actions"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: extract LIST TABLE")
	}
	source, err := os.ReadFile(args[0]) //nolint:gosec // who runs it names the files
	if err != nil {
		return fmt.Errorf("reading the list: %w", err)
	}
	table, err := actions.Extract(source)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1], table, 0o600); err != nil { //nolint:gosec // likewise
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}
