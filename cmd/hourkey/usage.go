package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A wrong command line is told in our words, with what would be right: agents read errors.

// none is for commands that take no arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return misused(cmd, "", "%q is more than `%s` takes", args[0], cmd.CommandPath())
}

// exactly is for commands that take these arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misused(cmd, "", "no %s: expected `%s`", names[len(args)], strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		case len(args) > len(names):
			return misused(cmd, "", "%q is more than `%s` takes", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// onlyCommands is for commands that hold others.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // letters; what SuggestionsFor compares with
	near := cmd.SuggestionsFor(args[0])
	for at := range near {
		near[at] = "`" + cmd.CommandPath() + " " + near[at] + "`"
	}
	return misused(cmd, strings.Join(near, " or "), "there is no command `%s %s`", cmd.CommandPath(), args[0])
}

// misused is a usage error; near is what may have been meant, empty if nothing comes near.
func misused(cmd *cobra.Command, near, format string, args ...any) error {
	hint := "run `" + cmd.CommandPath() + " --help`"
	if near != "" {
		hint = "did you mean " + near + "? Else " + hint
	}
	return &hintError{err: &usageError{fmt.Sprintf(format, args...)}, hint: hint}
}

// wrongFlag tells what the parser of flags found.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, is := errors.AsType[*pflag.NotExistError](err); is {
		return unknownFlag(cmd, unknown)
	}
	if bare, is := errors.AsType[*pflag.ValueRequiredError](err); is {
		return misused(cmd, "", "--%s has no value: expected %s", bare.GetFlag().Name, wanted(bare.GetFlag()))
	}
	if wrong, is := errors.AsType[*pflag.InvalidValueError](err); is {
		return misused(cmd, "", "--%s is %q: expected %s", wrong.GetFlag().Name, wrong.GetValue(), wanted(wrong.GetFlag()))
	}
	if syntax, is := errors.AsType[*pflag.InvalidSyntaxError](err); is {
		return misused(cmd, "", "%q is no flag: expected --name or --name=value", syntax.GetSpecifiedFlag())
	}
	return err
}

func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	name := unknown.GetSpecifiedName()
	if unknown.GetSpecifiedShortnames() != "" {
		return misused(cmd, "", "there is no flag -%s", name)
	}
	var near []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden && (strings.HasPrefix(flag.Name, name) || strings.HasPrefix(name, flag.Name)) {
			near = append(near, "--"+flag.Name)
		}
	})
	return misused(cmd, strings.Join(near, " or "), "there is no flag --%s", name)
}

// wanted says what a flag takes.
func wanted(flag *pflag.Flag) string {
	switch flag.Value.Type() {
	case "duration":
		return "a span of time like 15m or 90s"
	case "bool":
		return "true or false"
	default:
		return "a text after it, " + flag.Usage
	}
}
