package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// next is what an error tells to do.
func next(t *testing.T, err error) string {
	t.Helper()
	e, ok := err.(*broker.Error) //nolint:errorlint // as it was given
	if !ok {
		t.Fatalf("got %v, want an error of ours", err)
	}
	return e.Next
}

// Root who is refused the store of a service must not be told to take it away from the service.
func TestRootIsNotToldToChownTheServicesStore(t *testing.T) {
	root, file := tree(t)
	g := Guard{owner: func(path string, _ fs.FileInfo) int {
		if path == file {
			return stranger
		}
		return 0
	}}
	advised := g.Advised(func(owner int) string {
		if owner != stranger {
			t.Errorf("asked about uid %d", owner)
		}
		return "run it as the service"
	})
	if err := advised.Check(file); next(t, err) != "run it as the service" || !strings.Contains(err.Error(), "uid 64321") {
		t.Errorf("got %v, %s", err, next(t, err))
	}
	none := g.Advised(func(int) string { return "" })
	if err := none.Check(file); !strings.HasPrefix(next(t, err), "chown it to whom the broker runs as") {
		t.Errorf("got %s", next(t, err))
	}
	if err := advised.Check(root); err != nil {
		t.Error(err)
	}
}

// Root can read everything: what check finds good, the service must be able to read.
func TestSecretThatTheServiceCannotReadIsNotGoodForRoot(t *testing.T) {
	root, file := tree(t)
	g := Guard{uid: stranger, forOwner: true, owner: func(string, fs.FileInfo) int { return 0 }}
	_, err := g.ReadSecret(file)
	refused(t, err, "cannot read it")
	if next(t, err) != "chown 64321 '"+file+"'" {
		t.Errorf("got %s", next(t, err))
	}
	if err := g.Check(root); err != nil {
		t.Errorf("what is no secret is root's: %v", err)
	}
	g.owner = func(string, fs.FileInfo) int { return stranger }
	if _, err := g.ReadSecret(file); err != nil {
		t.Error(err)
	}
}

func TestWhatTheBrokerCannotReadIsToldWithWhatMendsIt(t *testing.T) {
	g := Guard{uid: os.Getuid()}
	for op, want := range map[string]string{"open": "'/etc/hourkey/policies/a'", "lstat": "'/etc/hourkey/policies'"} {
		err := g.granted(&fs.PathError{Op: op, Path: "/etc/hourkey/policies/a", Err: fs.ErrPermission}, "policies/a")
		refused(t, err, "policies/a: cannot be read by the broker's own user (uid ")
		if !strings.HasPrefix(next(t, err), "as root: chgrp ") || !strings.HasSuffix(next(t, err), " && chmod g+rX "+want) {
			t.Errorf("%s: %s", op, next(t, err))
		}
	}
}

// Who names a file that is not there yet reads how to make it, so that a service can read it.
func TestMissingSecretFileSaysHowToWriteIt(t *testing.T) {
	root, _ := tree(t)
	for uid, want := range map[int]string{
		0:        "write the secret there, mode 0600, or name another file",
		stranger: "write the secret there, mode 0600, and owned by whom the broker runs as (chown 64321 '" + root + "/nowhere'), or name another file",
	} {
		secrets := secretsIn(root)
		secrets.Guard = Guard{uid: uid, owner: func(string, fs.FileInfo) int { return uid }}
		if _, err := secrets.Resolve("file:nowhere"); next(t, err) != want {
			t.Errorf("uid %d: %s", uid, next(t, err))
		}
	}
}

// A service has its variables from a file, which no shell has read.
func TestMissingVariableOfAServiceNamesItsFile(t *testing.T) {
	root, _ := tree(t)
	_, err := secretsIn(root).Resolve("env:NOT_SET")
	if next(t, err) != "export NOT_SET where hourkeyd runs, not in a file that an agent can read" {
		t.Errorf("got %s", next(t, err))
	}
	file := filepath.Join(root, "environment")
	must(t, os.WriteFile(file, nil, 0o600))
	_, err = secretsIn(root).Resolve("env:NOT_SET")
	if !strings.HasPrefix(next(t, err), "NOT_SET='…' belongs into "+file+", ") || !strings.HasSuffix(next(t, err), "set -a; . "+file) {
		t.Errorf("got %s", next(t, err))
	}
	must(t, os.Chmod(file, 0o666)) // the attack: somebody else wrote what root's shell is to read
	if _, err = secretsIn(root).Resolve("env:NOT_SET"); strings.Contains(next(t, err), file) {
		t.Errorf("got %s", next(t, err))
	}
}
