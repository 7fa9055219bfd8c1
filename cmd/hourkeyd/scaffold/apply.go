package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Machine is where steps are carried out. Tests give one that is a folder.
type Machine struct {
	Root    string // in front of every path; empty: the machine itself
	Program string // this program's file
	Run     func(ctx context.Context, command []string) error
	Lookup  func(name string) (uid, gid int, err error) // of a user; its own group
}

// ThisMachine is the one that we run on.
func ThisMachine(program string) Machine {
	return Machine{Program: program, Run: runCommand, Lookup: lookupUser}
}

func runCommand(ctx context.Context, command []string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func lookupUser(name string) (uid, gid int, err error) {
	if name == "root" {
		return 0, 0, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(found.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(found.Gid)
	return uid, gid, err
}

// Apply carries out one step; done is false when there was nothing to do.
func (m Machine) Apply(ctx context.Context, step Step) (done bool, err error) {
	for _, what := range step.Unless {
		if there, err := m.there(what); there || err != nil {
			return false, err
		}
	}
	switch {
	case len(step.Command) > 0:
		return true, m.Run(ctx, step.Command)
	case step.Folder != "":
		if err := os.MkdirAll(m.path(step.Folder), os.FileMode(step.Mode)); err != nil {
			return false, err
		}
		return true, m.own(m.path(step.Folder), step)
	case step.Copy != "":
		return m.copy(step)
	default:
		if err := create(m.path(step.File), step.Text); err != nil {
			return false, err
		}
		return true, m.own(m.path(step.File), step)
	}
}

func (m Machine) path(path string) string { return filepath.Join(m.Root, path) }

func (m Machine) there(what string) (bool, error) {
	if name, is := strings.CutPrefix(what, "user:"); is {
		_, _, err := m.Lookup(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			return false, nil
		}
		return err == nil, err
	}
	_, err := os.Lstat(m.path(what))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Differs tells whether the service's unit is another than the one that the step would write, were there none: an older
// version's, or one that somebody changed.
func (m Machine) Differs(step Step) (bool, error) {
	if step.File != serviceUnit {
		return false, nil
	}
	text, err := os.ReadFile(m.path(step.File))
	return err == nil && string(text) != step.Text, err
}

// own gives a path to whom the step says, never following a link.
func (m Machine) own(path string, step Step) error {
	owner, group, _ := strings.Cut(step.Owner, ":")
	uid, _, err := m.Lookup(owner)
	if err != nil {
		return err
	}
	_, gid, err := m.Lookup(group)
	if err != nil {
		return err
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, os.FileMode(step.Mode))
}

// copy puts this program where the unit starts it, in one move, so that a running one is not torn.
func (m Machine) copy(step Step) (done bool, err error) {
	to := m.path(step.Copy)
	if same, err := sameFile(m.Program, to); err != nil || same {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // a folder of programs
		return false, err
	}
	in, err := os.Open(m.Program)
	if err != nil {
		return false, err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.CreateTemp(filepath.Dir(to), ".hourkeyd-*")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(out.Name()) }() // renamed away unless something failed
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return false, err
	}
	if err := m.own(out.Name(), step); err != nil {
		return false, err
	}
	return true, os.Rename(out.Name(), to)
}

func sameFile(a, b string) (bool, error) {
	first, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(first, second), err
}
