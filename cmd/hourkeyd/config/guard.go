package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hourkey/hourkey/broker"
)

// maxLinks is how many symbolic links a path may go through, as the kernel counts them.
const maxLinks = 40

// Guard refuses files that anybody but root and one OS user could have written. The zero value trusts
// root alone; NewGuard trusts this process's user too.
type Guard struct {
	uid    int
	owner  func(path string, info fs.FileInfo) int // of a file; tests give files to other users with it
	advice func(owner int) string                  // may be nil

	forOwner bool // this process is root, and looks at files for uid, who must be able to read them
}

// NewGuard trusts root and the user of this process.
func NewGuard() Guard { return Guard{uid: os.Geteuid()} }

// ForOwnerOf trusts root and whoever owns the folder, when this process is root: root looks at the files of
// a broker that runs as another user.
func (g Guard) ForOwnerOf(folder string) Guard {
	info, err := os.Lstat(folder)
	if err != nil || g.uid != 0 || !info.IsDir() {
		return g
	}
	g.uid = g.ownerOf(folder, info)
	g.forOwner = g.uid != 0
	return g
}

// Advised has root, who was refused a file of another user, read what advice says of that user; where that is nothing,
// what everybody reads.
func (g Guard) Advised(advice func(owner int) string) Guard {
	g.advice = advice
	return g
}

// Read gives a file that nobody else can have written.
func (g Guard) Read(path string) ([]byte, error) { return g.read(path, g.public) }

// ReadSecret is Read for a file that nobody else may read either.
func (g Guard) ReadSecret(path string) ([]byte, error) { return g.read(path, g.private) }

// Check refuses a path that somebody else could write, or any folder or link on the way to it. What
// does not exist is fs.ErrNotExist.
func (g Guard) Check(path string) error {
	_, _, err := g.walk(path)
	return err
}

// CheckSecret is Check, and refuses what others can read.
func (g Guard) CheckSecret(path string) error {
	_, info, err := g.walk(path)
	if err != nil {
		return err
	}
	return g.private(path, info)
}

func (g Guard) public(string, fs.FileInfo) error { return nil }

func (g Guard) private(path string, info fs.FileInfo) error {
	if g.forOwner && g.ownerOf(path, info) != g.uid {
		return broker.Errorf(broker.CodeInvalid, "%s holds a secret and belongs to root: the broker's own user (%s) cannot read it", path, userName(g.uid)).
			WithNext("%s", g.chown(path))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return broker.Errorf(broker.CodeInvalid, "%s holds a secret and other users can read it (mode %04o)", path, mode).
			WithNext("chmod go= %s", path)
	}
	return nil
}

// read opens what walk has found, never the path as it was given: between the two nobody but the
// trusted users can have changed anything on the way.
func (g Guard) read(path string, rule func(string, fs.FileInfo) error) ([]byte, error) {
	resolved, info, err := g.walk(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, broker.Errorf(broker.CodeInvalid, "%s is not a regular file", path)
	}
	if err := rule(path, info); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(resolved, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer file.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(text) > maxFile {
		return nil, broker.Errorf(broker.CodeInvalid, "%s is longer than %d bytes", path, maxFile)
	}
	return text, nil
}

// walk goes from the root to the file, one name at a time as the kernel does, through symbolic links,
// and looks at each folder, each link and the file itself. It gives the path without links.
func (g Guard) walk(path string) (string, fs.FileInfo, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", nil, fmt.Errorf("resolving %s: %w", path, err)
	}
	at, links := "/", 0
	info, err := g.look(at)
	rest := strings.Split(absolute, "/")
	for err == nil && len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			info, err = g.look(at)
			continue
		}
		next := filepath.Join(at, name)
		if info, err = g.look(next); err != nil {
			break
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, broker.Errorf(broker.CodeInvalid, "%s goes through more than %d symbolic links", path, maxLinks)
		}
		var target string
		if target, err = os.Readlink(next); err != nil {
			break
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = slices.Concat(strings.Split(target, "/"), rest)
		info, err = g.look(at)
	}
	if err != nil {
		return "", nil, err
	}
	return at, info, nil
}

// look refuses one folder, link or file that another user owns or can write. A POSIX access list that
// lets somebody else write shows in the group's bits (acl(5): they are then its mask), so that the
// mode tells all. A sticky folder may be writable by all: what stands in it can be replaced by its own
// owner only, and that owner is looked at next.
func (g Guard) look(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if owner := g.ownerOf(path, info); owner != 0 && owner != g.uid {
		return nil, broker.Errorf(broker.CodeInvalid, "%s belongs to another user (%s): expected root or the broker's own user (uid %d)", path, userName(owner), g.uid).
			WithNext("%s", g.mendOwner(owner))
	}
	mode := info.Mode()
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0
	if mode.Perm()&0o022 != 0 && !sticky && mode&fs.ModeSymlink == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "%s can be written by other users (mode %04o)", path, mode.Perm()).
			WithNext("chmod go-w %s", path)
	}
	return info, nil
}

func (g Guard) ownerOf(path string, info fs.FileInfo) int {
	if g.owner != nil {
		return g.owner(path, info)
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return -1 // nobody whom we trust: fails closed
	}
	return int(stat.Uid)
}
