//go:build linux

package bolt

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// TestDiskFull fills a small file system of its own. Where mounting one is not allowed, the next test
// stands for it: it does the same, as any user, with a limit for the process.
func TestDiskFull(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=512k"); err != nil {
		t.Logf("mounting a file system: %v; see TestFileSizeLimit", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	full(t, filepath.Join(folder, "hourkey.db"), syscall.ENOSPC, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFileSizeLimit(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	limit := func(bytes uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(old.Cur)
	path := filepath.Join(t.TempDir(), "hourkey.db")
	e, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(e, "first", "1"), e.Close()); err != nil {
		t.Fatal(err)
	}
	limit(256 << 10)
	full(t, path, syscall.EFBIG, func() { limit(old.Cur) })
}

// full writes until there is no more space, and then looks whether all that was confirmed is there, nothing of
// what was refused, and whether it goes on by itself when there is space again.
func full(t *testing.T, path string, cause syscall.Errno, free func()) {
	e := open(t, path)
	block := strings.Repeat("x", 2000)
	write := func(i int) error {
		return e.Update(t.Context(), func(c store.Change) error {
			return errors.Join(c.Put(fmt.Appendf(nil, "a-%04d", i), []byte(block)), c.Put(fmt.Appendf(nil, "b-%04d", i), []byte(block)))
		})
	}
	confirmed, refused := map[int]bool{}, 0
	for i := 0; refused < 20 && i < 1000; i++ {
		err := write(i)
		if err == nil {
			confirmed[i] = true
			continue
		}
		refused++
		if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), cause.Error()) ||
			!strings.Contains(err.Error(), "the disk of the store is full; nothing was changed") {
			t.Fatalf("got %v", err)
		}
	}
	if refused == 0 || len(confirmed) == 0 {
		t.Fatalf("%d writes confirmed, %d refused: the test does not test", len(confirmed), refused)
	}
	if read(t, e, "a-0000") != block {
		t.Error("it cannot be read while the disk is full")
	}
	free()
	if err := write(5000); err != nil {
		t.Fatalf("it does not recover: %v", err)
	}
	confirmed[5000] = true
	check := func(e *Engine) {
		t.Helper()
		for i := range 5001 {
			a, b := read(t, e, fmt.Sprintf("a-%04d", i)), read(t, e, fmt.Sprintf("b-%04d", i))
			if a != b || (a != "") != confirmed[i] {
				t.Errorf("write %d: confirmed %t, there %t and %t", i, confirmed[i], a != "", b != "")
			}
		}
	}
	check(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, path))
	t.Logf("%d writes confirmed, %d refused", len(confirmed), refused)
}
