package main

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// sudo has a PATH of its own: what root is to run is named by its whole path, and no shell reads it otherwise.
func TestWhatRootIsToRunIsALineToPaste(t *testing.T) {
	t.Parallel()
	m := &Main{Args: []string{"install", "--human", "al ice's"}}
	if want := "sudo " + shellLine(thisProgram()) + ` install --human 'al ice'\''s'`; m.asRoot() != want || !filepath.IsAbs(thisProgram()) {
		t.Errorf("got %s, want %s", m.asRoot(), want)
	}
	words := []string{"a b", "", "$HOME", "`id`", "x'y", "plain-1.2/3", "*"}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+shellLine(words...)).Output()
	if err != nil || string(out) != strings.Join(words, "\n")+"\n" {
		t.Errorf("the shell reads %q, %v", out, err)
	}
}

// A store that the broker's user owns: here that is who runs the test. That root alone is told so is the guard's.
func TestRootIsToldToRunItAsTheBrokersUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", "  it:\n    jwt: {audience: \"https://it.example\", resources: [x]}\n")
	m := &Main{Args: []string{"human", "reset", "alice"}, config: filepath.Join(s.dir, "hourkey.yaml")}
	if err := os.WriteFile(filepath.Join(s.dir, "environment"), []byte("A=b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(broker.Gid)
	if err != nil {
		t.Fatal(err)
	}
	want := "run it as the broker's own user: (set -a; . " + s.dir + "/environment; exec setpriv --reuid " + broker.Username + " --regid " + group.Name + " --init-groups " +
		thisProgram() + " human reset alice)"
	if got := m.adviseRoot(os.Getuid()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := os.Chmod(filepath.Join(s.dir, "environment"), 0o666); err != nil { // the attack
		t.Fatal(err)
	}
	if got := m.adviseRoot(os.Getuid()); strings.Contains(got, "set -a") || !strings.Contains(got, "setpriv") {
		t.Errorf("root's shell reads a file that anybody can write: %s", got)
	}
	if got := m.adviseRoot(os.Getuid() + 1); got != "" {
		t.Errorf("a file of another than the broker's user: %s", got)
	}
	if got := ownerOf(filepath.Join(s.dir, "data/not/there")); got != os.Getuid() {
		t.Errorf("the nearest folder belongs to uid %d", got)
	}
}
