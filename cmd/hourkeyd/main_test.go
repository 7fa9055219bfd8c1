package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // the scripts' files; a group that can write would be refused, and rightly
	testscript.Main(m, map[string]func(){"hourkeyd": main})
}

// TestScripts runs the real main on testdata/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			port, err := freeport.Take()
			env.Setenv("HOURKEY_LISTEN", "127.0.0.1:"+strconv.Itoa(port))
			env.Setenv("PORT", strconv.Itoa(port))
			env.Setenv("USER", "alice")
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "ready": ready, "gone": gone,
		},
	})
}

// exits CODE COMMAND… runs a command that must end with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ready DATA waits until a broker answers at the admin socket of that data folder.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	socket := filepath.Join(ts.MkAbs(args[0]), admin.SocketName)
	ts.Check(eventually(func() error {
		conn, err := net.Dial("unix", socket) //nolint:noctx // a test's
		if err != nil {
			return err
		}
		return conn.Close()
	}))
}

// gone DATA waits until no broker answers there.
func gone(ts *testscript.TestScript, _ bool, args []string) {
	socket := filepath.Join(ts.MkAbs(args[0]), admin.SocketName)
	ts.Check(eventually(func() error {
		if _, err := os.Stat(socket); err == nil {
			return fmt.Errorf("%s is still there", socket)
		}
		return nil
	}))
}

func eventually(try func() error) (err error) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
