package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

const stranger = 64321 // a uid that is neither root nor ours

// tree makes a folder that only we can write, with a file secret.yaml in conf/.
func tree(t *testing.T) (root, file string) {
	t.Helper()
	root = t.TempDir()
	must(t, os.Chmod(root, 0o700))
	must(t, os.Mkdir(filepath.Join(root, "conf"), 0o700))
	file = filepath.Join(root, "conf", "secret.yaml")
	must(t, os.WriteFile(file, []byte("x: 1\n"), 0o600))
	must(t, os.Chmod(file, 0o600))
	return root, file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ownedBy says that somebody else owns the named paths, which a test cannot do without being root.
func ownedBy(uid int, paths ...string) Guard {
	g := NewGuard()
	g.owner = func(path string, info fs.FileInfo) int {
		for _, p := range paths {
			if p == path {
				return uid
			}
		}
		return Guard{}.ownerOf(path, info)
	}
	return g
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want a refusal that says %q", err, want)
	}
}

func TestOwnFileIsRead(t *testing.T) {
	_, file := tree(t)
	text, err := NewGuard().ReadSecret(file)
	if err != nil || string(text) != "x: 1\n" {
		t.Fatalf("got %q, %v", text, err)
	}
}

func TestWorldWritableFileIsRefused(t *testing.T) {
	_, file := tree(t)
	must(t, os.Chmod(file, 0o606))
	_, err := NewGuard().Read(file)
	refused(t, err, "can be written by other users")
}

func TestGroupWritableFolderAboveIsRefused(t *testing.T) {
	root, file := tree(t)
	must(t, os.Chmod(root, 0o770))
	_, err := NewGuard().Read(file)
	refused(t, err, "can be written by other users")
}

func TestOtherUsersFileIsRefused(t *testing.T) {
	_, file := tree(t)
	_, err := ownedBy(stranger, file).Read(file)
	refused(t, err, "belongs to another user")
}

func TestOtherUsersFolderAboveIsRefused(t *testing.T) {
	root, file := tree(t)
	_, err := ownedBy(stranger, root).Read(file)
	refused(t, err, "belongs to another user")
}

func TestRootsFolderIsTrusted(t *testing.T) {
	root, file := tree(t)
	if _, err := ownedBy(0, root, filepath.Dir(file)).Read(file); err != nil {
		t.Fatal(err)
	}
}

// A sticky folder that all can write, like /tmp, protects entries of their owners only.
func TestStickyFolderProtectsOnlyWhatIsOurs(t *testing.T) {
	root, file := tree(t)
	must(t, os.Chmod(root, 0o777|os.ModeSticky))
	if _, err := NewGuard().Read(file); err != nil {
		t.Fatalf("our own folder in a sticky one: %v", err)
	}
	_, err := ownedBy(stranger, filepath.Dir(file)).Read(file)
	refused(t, err, "belongs to another user")
}

func TestSymlinkIntoAWritableFolderIsRefused(t *testing.T) {
	root, file := tree(t)
	open := filepath.Join(root, "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.WriteFile(filepath.Join(open, "evil.yaml"), nil, 0o600))
	must(t, os.Chmod(open, 0o777))
	must(t, os.Remove(file))
	must(t, os.Symlink("../open/evil.yaml", file))
	_, err := NewGuard().Read(file)
	refused(t, err, "can be written by other users")
}

func TestSymlinkThroughALinkedFolderIsFollowedAsTheKernelDoes(t *testing.T) {
	// conf/up → ../deep/inner, and conf/up/../f is deep/f for the kernel, conf/f for a lexical reader.
	root, _ := tree(t)
	must(t, os.MkdirAll(filepath.Join(root, "deep", "inner"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "deep", "f"), []byte("deep"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "conf", "f"), []byte("conf"), 0o600))
	must(t, os.Symlink("../deep/inner", filepath.Join(root, "conf", "up")))
	must(t, os.Symlink("conf/up/../f", filepath.Join(root, "link")))
	text, err := NewGuard().Read(filepath.Join(root, "link"))
	if err != nil || string(text) != "deep" {
		t.Fatalf("got %q, %v: want what the kernel opens", text, err)
	}
}

func TestSymlinkOfAnotherUserIsRefused(t *testing.T) {
	root, file := tree(t)
	link := filepath.Join(root, "link")
	must(t, os.Symlink(file, link))
	_, err := ownedBy(stranger, link).Read(link)
	refused(t, err, "belongs to another user")
}

func TestSymlinkLoopIsRefused(t *testing.T) {
	root, _ := tree(t)
	link := filepath.Join(root, "loop")
	must(t, os.Symlink("loop", link))
	_, err := NewGuard().Read(link)
	refused(t, err, "symbolic links")
}

func TestReadableSecretFileIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604} {
		_, file := tree(t)
		must(t, os.Chmod(file, mode))
		_, err := NewGuard().ReadSecret(file)
		refused(t, err, "other users can read it")
	}
}

func TestPipeInPlaceOfAFileIsRefused(t *testing.T) {
	root, _ := tree(t)
	pipe := filepath.Join(root, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	_, err := NewGuard().Read(pipe)
	refused(t, err, "not a regular file")
}

func TestOversizedFileIsRefused(t *testing.T) {
	_, file := tree(t)
	must(t, os.Truncate(file, maxFile+1))
	_, err := NewGuard().Read(file)
	refused(t, err, "longer than")
}
