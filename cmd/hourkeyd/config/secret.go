package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
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
	// Vault reads what PATH#FIELD, without "vault:", names. Nil where hourkey.yaml names no Vault.
	Vault func(reference string) (broker.Secret, error)
}

// shortest is how many characters a secret has at least: wherever secrets are taken out of what a provider says, one of a
// letter or two would be found in every word.
const shortest = 4

// variable is what the name of an environment variable may be (POSIX.1, section 8.1).
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// vaultReference is PATH#FIELD, with the path of Vault's API.
var vaultReference = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]{0,255}#[A-Za-z0-9_.-]{1,128}$`)

// Resolve gives the secret that env:NAME, file:PATH or vault:PATH#FIELD refers to; the last asks Vault each time. Its errors
// never repeat a text that is no reference: it may be the secret itself, pasted into the wrong place (invariant 10).
func (s Secrets) Resolve(reference string) (broker.Secret, error) {
	secret, err := s.resolve(reference)
	if err == nil && len(secret.Reveal()) < shortest {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "what it refers to is shorter than %d characters: that is no secret, and to hide it in messages would garble other words", shortest).
			WithNext("look whether something else was written there, or make a longer one at the provider")
	}
	return secret, err
}

func (s Secrets) resolve(reference string) (broker.Secret, error) {
	scheme, rest, _ := strings.Cut(reference, ":")
	switch scheme {
	case "env":
		return s.environment(rest)
	case "file":
		return s.file(rest)
	case "vault":
		return s.vault(rest)
	default:
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected a reference to a secret, not the secret itself").
			WithNext("write env:NAME, file:PATH or vault:PATH#FIELD")
	}
}

// IsReference tells whether text has the form of a reference, so that it may be repeated in an error.
func IsReference(text string) bool {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "env":
		return variable.MatchString(rest)
	case "file":
		return rest != "" && !strings.HasPrefix(rest, "//") // file://user:password@… is no path
	case "vault":
		return vaultReference.MatchString(rest)
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
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "the environment variable is not set").WithNext("%s", s.mendVariable(name))
	}
	return broker.NewSecret(value), nil
}

// mendVariable says where a variable belongs: a service has them from the file that the installation made beside
// hourkey.yaml, and no shell has them.
func (s Secrets) mendVariable(name string) string {
	file := filepath.Join(s.Dir, "environment")
	if s.Dir == "" || NewGuard().Check(file) != nil { // a shell that reads it does what is in it, mostly root's
		return "export " + name + " where hourkeyd runs, not in a file that an agent can read"
	}
	return fmt.Sprintf("%s='…' belongs into %s, which the service reads at its start (systemctl restart hourkeyd); for a command of your own, before it: set -a; . %s", name, file, file)
}

func (s Secrets) file(path string) (broker.Secret, error) {
	if path == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected a path after file:")
	}
	at := absolute(s.Dir, path)
	text, err := s.Guard.ReadSecret(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "%s: does not exist", clip(path)).
			WithNext("write the secret there, mode 0600%s, or name another file", s.Guard.ownedBy(at))
	case errors.Is(err, fs.ErrPermission):
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "%s: cannot be read by the broker's own user (%s)", clip(path), userName(s.Guard.uid)).
			WithNext("as root: %s", s.Guard.chown(cmp.Or(closed(err), at)))
	case err != nil:
		return broker.Secret{}, readable(err, clip(path))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "the file is empty")
	}
	return broker.NewSecret(value), nil
}

func (s Secrets) vault(reference string) (broker.Secret, error) {
	if s.Vault == nil {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "hourkey.yaml names no Vault that could be asked").
			WithNext("say in hourkey.yaml where it is and how the broker logs in, by env: or file: (vault: {address: …, login: …}), or use env:NAME or file:PATH")
	}
	return s.Vault(reference)
}

// absolute reads a path of the configuration: relative ones start at the folder of hourkey.yaml.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
