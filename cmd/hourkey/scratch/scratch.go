// Package scratch makes the folders in which exec keeps files for its child: a kubeconfig with a token, authorities to trust.
//
// It owns: that nobody else can look into such a folder or put another in its place, that it goes with the run, and that what a
// run left behind which was killed goes with the next one.
//
// It does not know: what lies in it.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prefix = "hourkey-exec-"
	// settled is how old a folder must be to count as left behind: one that is being made is not locked yet.
	settled = time.Minute
	// outside is whom Linux shows, in a user namespace, for owners that have no place in it, like the root of the machine.
	outside = 65534
)

// Folder is a folder of mode 0700. Its lock says that the run it belongs to is alive.
type Folder struct {
	Path string
	lock *os.File // of the folder itself; gone with the process, however that ends
}

// New makes a folder in $TMPDIR, and removes what earlier runs of this user left there. now is for their age.
func New(now time.Time) (*Folder, error) {
	within := os.TempDir()
	if err := safe(within); err != nil {
		return nil, err
	}
	sweep(within, now)
	path, err := os.MkdirTemp(within, prefix) // mode 0700
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	handle, err := locked(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking a folder: %w", err), os.RemoveAll(path))
	}
	return &Folder{Path: path, lock: handle}, nil
}

// Remove takes the folder away with all that is in it. It may be called twice.
func (f *Folder) Remove() error {
	return errors.Join(os.RemoveAll(f.Path), f.close())
}

func (f *Folder) close() error {
	if f.lock == nil {
		return nil
	}
	handle := f.lock
	f.lock = nil
	return handle.Close()
}

// locked opens a folder and locks it, unless another process has: that is unix.EWOULDBLOCK. A link is not followed.
func locked(path string) (*os.File, error) {
	handle, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(handle.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return handle, nil
}

// sweep removes folders of ours whose process is gone: whoever was killed could not. What cannot be removed is left alone.
func sweep(within string, now time.Time) {
	entries, err := filepath.Glob(filepath.Join(within, prefix+"*"))
	if err != nil {
		return
	}
	for _, path := range entries {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || owner(info) != os.Getuid() || now.Sub(info.ModTime()) < settled {
			continue
		}
		if handle, err := locked(path); err == nil {
			_ = os.RemoveAll(path)
			_ = handle.Close()
		}
	}
}

// safe refuses a place where another user can put a folder of theirs in the place of ours, with a kubeconfig that names a
// program: each folder on the way must belong to us or root, and who else may write there must not move what is not theirs
// (the sticky bit).
func safe(place string) error {
	path, err := filepath.EvalSymlinks(place)
	if err != nil {
		return fmt.Errorf("looking at TMPDIR: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("looking at TMPDIR: %w", err)
	}
	for {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("looking at TMPDIR: %w", err)
		}
		of := owner(info)
		if ours := of == os.Getuid() || of == 0 || of == outside; !ours || info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("others can change %s, which is no place for a credential: let TMPDIR name a folder of your own", path)
		}
		if path == filepath.Dir(path) {
			return nil
		}
		path = filepath.Dir(path)
	}
}

// owner is the id of the user a file belongs to.
func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
