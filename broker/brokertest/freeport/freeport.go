// Package freeport hands ports of loopback to tests that start a program and must tell it its port.
//
// To listen on port 0, close, and pass the number on is a race: the system gives the same number to the next that
// asks, be it another test's server or the near end of any connection, also while a broker under test is down and about
// to come back. A test then speaks to somebody else's server.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// The ports lie below those that Linux gives out by itself: from 32768 (ip(7), ip_local_port_range).
const (
	first = 20000
	count = 12000
)

// Take gives a port that is the caller's until its process ends: nothing listens on it, and no other process of this
// user that asks here gets it, nor this one twice.
func Take() (int, error) {
	folder := filepath.Join(os.TempDir(), "hourkey-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return 0, fmt.Errorf("making the folder of the locks: %w", err)
	}
	start := rand.IntN(count)
	for i := range count {
		port := first + (start+i)%count
		taken, err := take(filepath.Join(folder, strconv.Itoa(port)), port)
		if err != nil || taken {
			return port, err
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", first, first+count-1)
}

// take locks the file of a port. Its descriptor stays open, so that the lock lasts as long as the process.
func take(path string, port int) (bool, error) {
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return false, fmt.Errorf("opening the lock of port %d: %w", port, err)
	}
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && idle(port) {
		return true, nil
	}
	if closed := syscall.Close(fd); closed != nil {
		return false, fmt.Errorf("closing the lock of port %d: %w", port, closed)
	}
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return false, fmt.Errorf("locking port %d: %w", port, err)
	}
	return false, nil
}

// idle tells whether nobody listens there.
func idle(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // at once
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
