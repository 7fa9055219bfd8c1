package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

func secretsIn(dir string) Secrets {
	return Secrets{Dir: dir, Guard: NewGuard(), Lookup: func(name string) (string, bool) {
		values := map[string]string{"STAGING_DSN": "postgres://admin:planted@db/orders", "EMPTY": ""}
		value, set := values[name]
		return value, set
	}}
}

func TestReferencesAreResolved(t *testing.T) {
	root, file := tree(t)
	must(t, os.WriteFile(file, []byte("from a file\n"), 0o600))
	for reference, want := range map[string]string{
		"env:STAGING_DSN":       "postgres://admin:planted@db/orders",
		"file:conf/secret.yaml": "from a file",
		"file:" + file:          "from a file",
	} {
		secret, err := secretsIn(root).Resolve(reference)
		if err != nil || secret.Reveal() != want {
			t.Errorf("%s: got %q, %v", reference, secret.Reveal(), err)
		}
	}
}

func TestVaultIsAskedForWhatItKeeps(t *testing.T) {
	secrets := secretsIn("/")
	_, err := secrets.Resolve("vault:kv/data/staging#dsn")
	refused(t, err, "names no Vault")
	secrets.Vault = func(reference string) (broker.Secret, error) { return broker.NewSecret("kept at " + reference), nil }
	if secret, err := secrets.Resolve("vault:kv/data/staging#dsn"); err != nil || secret.Reveal() != "kept at kv/data/staging#dsn" {
		t.Errorf("got %q, %v", secret.Reveal(), err)
	}
}

// Somebody pastes the secret where its reference belongs: the error must not carry it on (invariant 10).
func TestPastedSecretIsNotRepeated(t *testing.T) {
	for _, pasted := range []string{"postgres://admin:planted@db/orders", "planted", "env:postgres://planted", "vault:planted", "file:", "env:"} {
		_, err := secretsIn("/").Resolve(pasted)
		if err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: got %v", pasted, err)
		}
	}
}

func TestMissingSecretIsRefused(t *testing.T) {
	root, file := tree(t)
	must(t, os.WriteFile(file, []byte("\n"), 0o600))
	for reference, want := range map[string]string{
		"env:NOT_SET":           "is not set",
		"env:EMPTY":             "is not set",
		"file:nowhere":          "does not exist",
		"file:conf/secret.yaml": "is empty",
		"":                      "expected a reference",
	} {
		_, err := secretsIn(root).Resolve(reference)
		refused(t, err, want)
	}
}

// Taken out of an error, a secret of one letter leaves no word whole, and tells itself by the gaps.
func TestSecretThatIsNoneIsRefusedAndNotShown(t *testing.T) {
	root, file := tree(t)
	must(t, os.WriteFile(file, []byte("zQ7\n"), 0o600))
	_, err := secretsIn(root).Resolve("file:conf/secret.yaml")
	refused(t, err, "shorter than 4 characters")
	if strings.Contains(err.Error(), "zQ7") {
		t.Errorf("it is shown: %v", err)
	}
	must(t, os.WriteFile(file, []byte("zQ7x\n"), 0o600))
	if _, err := secretsIn(root).Resolve("file:conf/secret.yaml"); err != nil {
		t.Error(err)
	}
}

func TestSecretFileInAWritableFolderIsRefused(t *testing.T) {
	root, file := tree(t)
	must(t, os.Chmod(filepath.Dir(file), 0o777))
	_, err := secretsIn(root).Resolve("file:conf/secret.yaml")
	refused(t, err, "can be written by other users")
}

func TestOnlyReferencesMayBeRepeated(t *testing.T) {
	for text, want := range map[string]bool{
		"env:NAME": true, "file:secrets/x": true, "file:/etc/x": true, "vault:secret/x#y": true,
		"vault:planted": false, "vault:#y": false, "vault:x#": false, "vault://u:p@h#y": false, "vault:a b#y": false,
		"env:pass word": false, "env:": false, "env:postgres://u:p@h/d": false, "file:": false, "file://u:p@h": false,
		"host:planted": false, "planted": false, "": false, "postgres://u:p@h/d": false,
	} {
		if got := IsReference(text); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}
