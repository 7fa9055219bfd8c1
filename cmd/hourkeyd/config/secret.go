package config

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Secrets resolves the secret references of a configuration.
type Secrets struct {
	Dir    string                           // of hourkey.yaml; file: is relative to it
	Guard  Guard                            // for file:
	Lookup func(name string) (string, bool) // of the process's environment: os.LookupEnv
}

// variable is what the name of an environment variable may be (POSIX.1, section 8.1).
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Resolve gives the secret that env:NAME or file:PATH refers to. Its errors never repeat a text that
// is no reference: it may be the secret itself, pasted into the wrong place (invariant 10).
func (s Secrets) Resolve(reference string) (broker.Secret, error) {
	scheme, rest, _ := strings.Cut(reference, ":")
	switch scheme {
	case "env":
		return s.environment(rest)
	case "file":
		return s.file(rest)
	case "vault":
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "references to a vault are not supported by this version: they come later").
			WithNext("use env:NAME or file:PATH")
	default:
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected a reference to a secret, not the secret itself").
			WithNext("write env:NAME or file:PATH")
	}
}

// IsReference tells whether text has the form of a reference, so that it may be repeated in an error.
func IsReference(text string) bool {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "env":
		return variable.MatchString(rest)
	case "file", "vault":
		return rest != "" && !strings.HasPrefix(rest, "//") // file://user:password@… is no path
	default:
		return false
	}
}

func (s Secrets) environment(name string) (broker.Secret, error) {
	if !variable.MatchString(name) {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected the name of an environment variable after env:")
	}
	value, set := s.Lookup(name)
	if !set || value == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "the environment variable is not set").
			WithNext("export %s where hourkeyd runs, not in a file that an agent can read", name)
	}
	return broker.NewSecret(value), nil
}

func (s Secrets) file(path string) (broker.Secret, error) {
	if path == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected a path after file:")
	}
	text, err := s.Guard.ReadSecret(absolute(s.Dir, path))
	if err != nil {
		return broker.Secret{}, readable(err, clip(path))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "the file is empty")
	}
	return broker.NewSecret(value), nil
}

// absolute reads a path of the configuration: relative ones start at the folder of hourkey.yaml.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
