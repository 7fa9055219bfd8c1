package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// A wrong command line is told in our words, with what would be right.

// takes is for commands that take exactly these arguments.
func takes(names ...string) cobra.PositionalArgs { return takesUpTo(0, names...) }

// takesUpTo is for commands that take these arguments, of which the last ones may be left out.
func takesUpTo(optional int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names)-optional:
			return fmt.Errorf("%s is missing", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("%q is more than `%s` takes", args[len(names)], c.CommandPath())
		}
		return nil
	}
}

// usageOf is how the command is written.
func usageOf(c *cobra.Command) string { return strings.TrimSuffix(c.UseLine(), " [flags]") }

// howTo is the next step after a wrong command line: how this command is written, and where more stands.
func howTo(c *cobra.Command) string {
	if c == nil || !c.HasParent() {
		return "hourkeyd --help, or hourkeyd COMMAND --help"
	}
	more := fmt.Sprintf("`%s --help` tells more", c.CommandPath())
	if usageOf(c) == c.CommandPath() || c.HasSubCommands() && c.RunE == nil {
		return more
	}
	return fmt.Sprintf("write `%s`; %s", usageOf(c), more)
}

// notOf says that a group has no such command, and which one may have been meant.
func notOf(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2 // letters
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q for %q (did you mean %q?)", name, c.CommandPath(), near[0])
	}
	return fmt.Errorf("unknown command %q for %q", name, c.CommandPath())
}
