package scratch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// place makes $TMPDIR a folder of this test.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func newFolder(t *testing.T, now time.Time) *Folder {
	t.Helper()
	folder, err := New(now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Remove() })
	return folder
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestFolderIsForItsOwnerAlone(t *testing.T) {
	place(t)
	folder := newFolder(t, time.Now())
	if info, err := os.Stat(folder.Path); err != nil || info.Mode() != 0o700|os.ModeDir {
		t.Errorf("%v, %v", info, err)
	}
	for range 2 {
		if err := folder.Remove(); err != nil || exists(folder.Path) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

// A process that was killed leaves its folder, with a token in it, and its lock is gone with it.
func TestWhatAKilledRunLeftGoesWithTheNext(t *testing.T) {
	place(t)
	now := time.Now()
	killed, alive := newFolder(t, now), newFolder(t, now)
	if err := os.WriteFile(filepath.Join(killed.Path, "kubeconfig"), []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := killed.close(); err != nil { // as the system does
		t.Fatal(err)
	}
	soon := newFolder(t, now.Add(settled/2))
	if !exists(killed.Path) {
		t.Error("one that may be in the making was removed")
	}
	late := newFolder(t, now.Add(2*settled))
	if exists(killed.Path) {
		t.Error("it is still there")
	}
	for name, folder := range map[string]*Folder{"alive": alive, "soon": soon, "late": late} {
		if !exists(folder.Path) {
			t.Errorf("that of a run that lives was removed: %s", name)
		}
	}
}

// The attack: a link that is called as ours are, so that the sweep removes what it leads to.
func TestSweepFollowsNoLink(t *testing.T) {
	dir := place(t)
	mine := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(mine, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mine, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, filepath.Join(dir, prefix+"1")); err != nil {
		t.Fatal(err)
	}
	newFolder(t, time.Now().Add(time.Hour))
	if !exists(filepath.Join(mine, "file")) {
		t.Error("what a link leads to was removed")
	}
}

// The attack: another user, who may write where our folder is made, moves it away and puts a kubeconfig with a program in its place.
func TestFolderAmongStrangersIsRefused(t *testing.T) {
	dir := place(t)
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", inner)
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o777: false, 0o770: false, 0o777 | os.ModeSticky: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		folder, err := New(time.Now())
		if (err == nil) != want {
			t.Errorf("%v: %v", mode, err)
		}
		if err == nil {
			_ = folder.Remove()
		}
	}
	if entries, err := os.ReadDir(inner); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
