//go:build failpoint

package daemon

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// failpoint kills this process, as kill -9 does, when it comes to the point that HOURKEY_FAILPOINT names:
// NAME, or NAME:N for the Nth time.
func failpoint() func(name string) {
	wanted, count := os.Getenv("HOURKEY_FAILPOINT"), int64(1)
	if at := strings.LastIndexByte(wanted, ':'); at >= 0 {
		if n, err := strconv.ParseInt(wanted[at+1:], 10, 64); err == nil {
			wanted, count = wanted[:at], n
		}
	}
	if wanted == "" {
		return nil
	}
	var reached atomic.Int64
	return func(name string) {
		if name == wanted && reached.Add(1) == count {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way; nothing after the point may run
		}
	}
}
