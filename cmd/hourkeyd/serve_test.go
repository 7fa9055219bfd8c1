package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Root alone gets a port below 1024, so that the system's refusal is made here.
func TestPortThatOnlyRootGetsIsTold(t *testing.T) {
	t.Parallel()
	refusal := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}
	err := notOpened(refusal)
	if !strings.Contains(err.Error(), "ports below 1024 are root's") || !strings.Contains(nextStep(err), "trusted_proxies") {
		t.Errorf("got %v, %s", err, nextStep(err))
	}
	if file := error(&os.PathError{Op: "open", Path: "data", Err: syscall.EACCES}); notOpened(file) != file { //nolint:errorlint // the very same
		t.Error("a file that cannot be read is told as a port")
	}
}
