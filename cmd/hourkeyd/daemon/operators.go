package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

const onlyOperators = "nobody can lift a freeze, confirm a target or sign an invite"

// WithoutOperators warns of files under which nobody can sign what only operators may, with the way out; empty where
// somebody can, or where single sign-on may bring somebody. Enrolled are the humans who have a passkey: while there are none, the
// first invite needs no signature, so that whoever is named can still come.
func WithoutOperators(server config.Server, enrolled []string) string {
	var operators []string
	for _, group := range server.Roles[broker.RoleOperator] {
		if slices.Contains(server.SingleSignOn.OurGroups(), group) {
			return ""
		}
		operators = append(operators, server.Groups[group]...)
	}
	slices.Sort(operators)
	operators = slices.Compact(operators)
	switch {
	case len(operators) == 0:
		return fmt.Sprintf("nobody is an operator: %s; in hourkey.yaml, give `roles: operator:` a group with somebody in it, then `hourkeyd reload`", onlyOperators)
	case len(enrolled) == 0 || slices.ContainsFunc(operators, func(name string) bool { return slices.Contains(enrolled, name) }):
		return ""
	}
	return fmt.Sprintf("no operator (%s) has a passkey: %s; name an operator who has one%s in hourkey.yaml and `hourkeyd reload`, or stop the broker and `hourkeyd human reset %s`",
		strings.Join(operators, ", "), onlyOperators, known(enrolled), operators[0])
}

// known names those who have a passkey already.
func known(enrolled []string) string {
	if len(enrolled) == 0 {
		return ""
	}
	return " (" + strings.Join(enrolled, ", ") + ")"
}

// enrolled are the humans who have a passkey, by name.
func (d *Daemon) enrolled(ctx context.Context) ([]string, error) {
	humans, err := d.broker.Humans(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, human := range humans {
		passkeys, err := d.broker.Passkeys(ctx, human.Name)
		if err != nil {
			return nil, err
		}
		if len(passkeys) > 0 {
			names = append(names, human.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
