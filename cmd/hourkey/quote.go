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
	if runsCode(name) {
		return fmt.Errorf("the broker names the variable %s, by which code is run: no credential needs that", name)
	}
	if strings.ContainsRune(value.Reveal(), 0) {
		return errors.New("the value of " + name + " holds a zero byte, which no environment can carry")
	}
	return nil
}

// runsCode tells of variables that loaders, shells and interpreters take code or its place from. A broker that
// was taken over has what it issues, and not the machine of who asks it.
func runsCode(name string) bool {
	name = strings.ToUpper(name)
	for _, prefix := range []string{"LD_", "DYLD_", "NODE_", "PYTHON", "PERL", "RUBY", "GEM_", "GIT_", "BASH_", "ZDOTDIR", "JAVA_", "JDK_", "_JAVA", "MAVEN_", "GCONV_", "NPM_CONFIG_", "HOURKEY_", "XDG_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PATH", "HOME", "SHELL", "ENV", "IFS", "PS4", "PROMPT_COMMAND", "EDITOR", "VISUAL", "PAGER", "BROWSER", "TMPDIR", "CLASSPATH", "CDPATH"}, name)
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
