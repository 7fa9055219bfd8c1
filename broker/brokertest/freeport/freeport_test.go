package freeport

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Two tests got one port, and one spoke to the other's broker.
func TestNoPortIsGivenTwice(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := Take()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < first || port >= first+count {
			t.Fatalf("got %d after %d others", port, len(seen))
		}
		seen[port] = true
	}
}

func TestPortOfAnotherProcessIsNotGiven(t *testing.T) {
	if path := os.Getenv("FREEPORT_TRY"); path != "" {
		port, _ := strconv.Atoi(os.Getenv("FREEPORT_PORT"))
		taken, err := take(path, port)
		if taken || err != nil {
			t.Fatalf("taken %t, %v", taken, err)
		}
		return
	}
	path := t.TempDir() + "/lock"
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if taken, err := take(path, port); !taken || err != nil {
		t.Fatalf("taken %t, %v", taken, err)
	}
	other := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	other.Env = []string{"FREEPORT_TRY=" + path, "FREEPORT_PORT=" + strconv.Itoa(port)}
	if out, err := other.CombinedOutput(); err != nil {
		t.Errorf("another process got it as well: %v\n%s", err, strings.TrimSpace(string(out)))
	}
}

func TestPortThatSomebodyListensOnIsNotGiven(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if taken, err := take(t.TempDir()+"/lock", listener.Addr().(*net.TCPAddr).Port); taken || err != nil {
		t.Errorf("taken %t, %v", taken, err)
	}
}
