package main

import (
	"errors"
	"fmt"
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

// quote makes one shell word that stands for value and nothing else: inside single quotes only the
// single quote itself is special (POSIX.1-2024, XCU section 2.2.2).
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// checkVariable refuses what would not stay one variable: a name with shell syntax in it, a value that
// the environment cannot hold. The message never holds the value.
func checkVariable(name string, value api.Secret) error {
	if !isVariable(name) {
		return fmt.Errorf("the broker names a variable %q, which is no name for one", name)
	}
	if strings.ContainsRune(value.Reveal(), 0) {
		return errors.New("the value of " + name + " holds a zero byte, which no environment can carry")
	}
	return nil
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
		case i > 0 && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return name != ""
}
