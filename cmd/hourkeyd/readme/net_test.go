package readme

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside tells the tests that they run in a network of their own.
const inside = "HOURKEY_TEST_OWN_NETWORK"

// TestMain starts the tests once more, in a network of their own: the README's port is free there, and
// what happens to run on this machine is not reached by mistake. That takes root. Anybody else would need
// a user namespace, where root's folders seem to belong to nobody, which hourkeyd rightly refuses; so
// there, and in a container that forbids namespaces, the port must be free.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "1" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "bringing up the loopback of our own network:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	again, err := inOwnNetwork()
	if err != nil {
		os.Exit(m.Run())
	}
	err = again.Wait()
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		os.Exit(max(failed.ExitCode(), 1))
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "running in our own network:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inOwnNetwork starts this program again, with nothing but a loopback around it.
func inOwnNetwork() (*exec.Cmd, error) {
	runtime.LockOSThread() // Pdeathsig is the death of the thread that started the child
	c := exec.Command(os.Args[0], os.Args[1:]...)
	c.Env = append(os.Environ(), inside+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return c, c.Start()
}

// loopbackUp does what `ip link set lo up` does.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback)
}

// mustBeFree fails where something already listens on the README's address.
func mustBeFree(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("README.md uses %s, and it is taken here (%v): stop what listens there, or run this test as root", address, err)
	}
	_ = listener.Close()
}
