package scaffold

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// machine is a folder in place of the machine; it writes down the commands.
func machine(t *testing.T) (m Machine, commands *[]string) {
	t.Helper()
	syscall.Umask(0o022)
	root := t.TempDir()
	program := filepath.Join(root, "program")
	must(t, os.WriteFile(program, []byte("binary"), 0o700))
	for _, folder := range []string{"etc/systemd/system", "var/lib", "usr/local/bin"} {
		must(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	}
	commands = &[]string{}
	made := false
	return Machine{
		Root: root, Program: program,
		Run: func(_ context.Context, command []string) error {
			*commands = append(*commands, strings.Join(command, " "))
			made = made || command[0] == "useradd"
			return nil
		},
		Lookup: func(name string) (int, int, error) {
			if name == ServiceUser && !made {
				return 0, 0, user.UnknownUserError(name)
			}
			return os.Getuid(), os.Getgid(), nil
		},
	}, commands
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, m Machine) (done int) {
	t.Helper()
	steps, err := Installation("alice")
	must(t, err)
	for _, step := range steps {
		did, err := m.Apply(t.Context(), step)
		if err != nil {
			t.Fatalf("%s: %v", step.Why, err)
		}
		if did {
			done++
		}
	}
	return done
}

func TestInstallationClosesWhatAgentsMustNotSee(t *testing.T) {
	m, commands := machine(t)
	apply(t, m)
	for path, want := range map[string]os.FileMode{
		"/etc/hourkey": 0o750, "/etc/hourkey/hourkey.yaml": 0o640, "/etc/hourkey/policies/guardrails.cedar": 0o640,
		"/etc/hourkey/secrets": 0o700, "/etc/hourkey/environment": 0o600, "/var/lib/hourkey": 0o700,
		"/usr/local/bin/hourkeyd": 0o755, serviceUnit: 0o644,
	} {
		info, err := os.Stat(m.path(path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %04o", path, info.Mode(), err, want)
		}
	}
	if len(*commands) != 3 || !strings.HasPrefix((*commands)[0], "useradd --system") {
		t.Errorf("commands: %q", *commands)
	}
}

// Installing again, after an upgrade, keeps what the operator wrote.
func TestInstallationNeverOverwrites(t *testing.T) {
	m, commands := machine(t)
	apply(t, m)
	mine := m.path("/etc/hourkey/environments/staging.yaml")
	must(t, os.WriteFile(mine, []byte("# mine\n"), 0o600))
	*commands = nil
	apply(t, m)
	text, err := os.ReadFile(mine)
	if err != nil || string(text) != "# mine\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if slices.ContainsFunc(*commands, func(c string) bool { return strings.HasPrefix(c, "useradd") }) {
		t.Errorf("the user was made twice: %q", *commands)
	}
}

// The attack on oneself: install over an installation brings back the example tasks, and what they give.
func TestInstallationWritesNoExampleAgain(t *testing.T) {
	m, _ := machine(t)
	apply(t, m)
	taken := []string{"/etc/hourkey/policies/tasks/orders.yaml", "/etc/hourkey/policies/guardrails.cedar", "/etc/hourkey/environments/staging.yaml"}
	for _, path := range taken {
		must(t, os.Remove(m.path(path)))
	}
	apply(t, m)
	for _, path := range taken {
		if _, err := os.Stat(m.path(path)); err == nil {
			t.Errorf("%s is there again", path)
		}
	}
	// One that broke off before hourkey.yaml, which is last, is finished.
	must(t, os.Remove(m.path("/etc/hourkey/hourkey.yaml")))
	apply(t, m)
	for _, path := range append(taken, "/etc/hourkey/hourkey.yaml") {
		if _, err := os.Stat(m.path(path)); err != nil {
			t.Error(err)
		}
	}
}

// An old unit lacks what a new version walls off: whoever upgrades is told.
func TestUnitOfAnotherVersionIsTold(t *testing.T) {
	m, _ := machine(t)
	apply(t, m)
	if got := different(t, m); len(got) != 0 {
		t.Errorf("just written: %q", got)
	}
	must(t, os.WriteFile(m.path(serviceUnit), []byte("[Service]\n"), 0o644))
	must(t, os.WriteFile(m.path("/etc/hourkey/hourkey.yaml"), []byte("# mine\n"), 0o640))
	apply(t, m)
	if got := different(t, m); !slices.Equal(got, []string{serviceUnit}) {
		t.Errorf("told: %q", got)
	}
}

func different(t *testing.T, m Machine) (files []string) {
	t.Helper()
	steps, err := Installation("alice")
	must(t, err)
	for _, step := range steps {
		differs, err := m.Differs(step)
		must(t, err)
		if differs {
			files = append(files, step.File)
		}
	}
	return files
}

func TestFailedCommandStopsTheInstallation(t *testing.T) {
	m, _ := machine(t)
	m.Run = func(context.Context, []string) error { return errors.New("no") }
	steps, err := Installation("alice")
	must(t, err)
	if _, err := m.Apply(t.Context(), steps[0]); err == nil {
		t.Error("a failed useradd was taken for done")
	}
}

func TestFreshRefusesAnyPartOfAConfiguration(t *testing.T) {
	for _, name := range []string{"hourkey.yaml", "environments", "policies"} {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		if Fresh(dir) == nil {
			t.Errorf("%s is there, and Fresh says nothing", name)
		}
	}
	if err := Fresh(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestWriteKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "AGENTS.md"), []byte("mine"), 0o600))
	kept, err := Write(dir, []File{{"AGENTS.md", "ours"}, {"a/b", "new"}})
	if err != nil || len(kept) != 1 || kept[0].Name != "AGENTS.md" {
		t.Errorf("got %v, %v", kept, err)
	}
	info, err := os.Stat(filepath.Join(dir, "a/b"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestHumanFromOSUser(t *testing.T) {
	for from, want := range map[string]string{"alice": "alice", "Alice.B": "alice.b", "DOMAIN\\bob": "domain-bob", "-x": "x", "ü": "", "": ""} {
		if got := HumanFrom(from); got != want {
			t.Errorf("%q: got %q, want %q", from, got, want)
		}
	}
}
