package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// exports writes one POSIX `export` line for each value, sorted by name.
func exports(values map[string]api.Secret) (string, error) {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := checkVariable(name, values[name]); err != nil {
			return "", err
		}
		lines.WriteString("export " + name + "=" + quote(values[name].Reveal()) + "\n")
	}
	return lines.String(), nil
}

// stale lists what our environment, which is the shell's, has beside the credential in values: what would lead past it, and
// what it replaces without being among what is printed. KUBECONFIG and its like are none: without them tools
// read ~/.kube/config and ~/.aws.
func (a *app) stale(values, printed map[string]api.Secret) []string {
	closed := maps.Clone(values)
	shut(closed)
	var names []string
	for _, entry := range a.environ {
		name, _, _ := strings.Cut(entry, "=")
		_, replaced := values[name]
		_, set := printed[name]
		_, opens := closed[name]
		if (replaced || misleads(name, values) && !opens) && !set && isVariable(name) { // what is no name could be a command
			names = append(names, name)
		}
	}
	return distinct(names)
}

// unsets writes one POSIX `unset` line for each variable.
func unsets(names []string) string {
	var lines strings.Builder
	for _, name := range names {
		lines.WriteString("unset " + name + "\n")
	}
	return lines.String()
}

// quote makes one shell word that stands for value and nothing else: inside single quotes only the
// single quote itself is special (POSIX.1-2024, XCU section 2.2.2).
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
