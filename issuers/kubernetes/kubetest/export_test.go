package kubetest

import (
	"fmt"
	"os"
	"testing"
)

// PID reads a file that holds a process id.
func PID(tb testing.TB, path string) (pid int) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}
