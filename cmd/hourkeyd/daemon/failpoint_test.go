//go:build failpoint

package daemon

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestFailpointKills runs itself as a child that comes to a point three times.
func TestFailpointKills(t *testing.T) {
	if os.Getenv("HOURKEY_FAILPOINT") != "" {
		point := failpoint()
		for i := range 3 {
			point("another")
			point("issue.live.before")
			if i == 1 {
				os.Exit(7) // the second time was the last
			}
		}
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFailpointKills$") //nolint:gosec // itself
	child.Env = append(os.Environ(), "HOURKEY_FAILPOINT=issue.live.before:2")
	exit, ok := errors.AsType[*exec.ExitError](child.Run())
	if !ok || !exit.Sys().(syscall.WaitStatus).Signaled() || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("got %v", exit)
	}
}
