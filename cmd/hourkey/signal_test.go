package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/web/api"
)

// countInterrupts is a child that says how many SIGINT reach it: with BE=counter this binary is it.
func countInterrupts() {
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, os.Interrupt)
	typed := sentByTerminal(os.Interrupt)
	fmt.Println("from a terminal:", typed)
	fmt.Println("ready")
	<-caught
	count := 1
	if typed {
		_, _ = os.Stdin.Read(make([]byte, 16)) // a line: nothing more will be pressed
	}
	for over := time.After(1200 * time.Millisecond); ; {
		select {
		case <-caught:
			count++
		case <-over:
			fmt.Printf("interrupts=%d\n", count)
			return
		}
	}
}

// output collects what a process says, for another goroutine to look at.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// take gives what was said since the last take.
func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.text.Reset()
	return o.text.String()
}

// patience is how long a test waits for what must come to pass: far longer than it takes, since the machine may do much else.
const patience = time.Minute

// comes waits until something is so, and tells whether it came to that.
func comes(so func() bool) bool {
	for end := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// await waits until the text appears.
func (o *output) await(t *testing.T, want string) {
	t.Helper()
	if !comes(func() bool { return strings.Contains(o.String(), want) }) {
		t.Fatalf("no %q in %q", want, o.String())
	}
}

// enrolled starts a fake broker and gives an environment in which this binary is an enrolled hourkey.
func enrolled(t testing.TB) (*fakeBroker, []string) {
	t.Helper()
	fake := newFakeBroker()
	t.Cleanup(fake.Close)
	home := t.TempDir()
	environ := append(os.Environ(), "BE=hourkey", "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "c"), "HOURKEY_TASK=fix", "HOURKEY_ENVIRONMENT=staging")
	enroll := hourkey(environ, "enroll", fake.URL, "--agent", "claude-code")
	enroll.Stdin = strings.NewReader(fake.code)
	if text, err := enroll.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return fake, environ
}

// hourkey is the real program, in a session of its own: no terminal controls it.
func hourkey(environ []string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	command := exec.Command(self, args...)
	command.Env = environ
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	command.WaitDelay = patience // a child of its own may hold on to the pipes
	return command
}

// running starts it with its output collected.
func running(t *testing.T, environ []string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	// A signal that is caught here has its default in what we start, also under nohup.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	t.Cleanup(func() { signal.Stop(caught) })
	said := &output{}
	command := hourkey(environ, args...)
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	return command, said
}

// ends waits for the end and gives the exit code.
func ends(t *testing.T, command *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func send(t *testing.T, command *exec.Cmd, one syscall.Signal) {
	t.Helper()
	if err := command.Process.Signal(one); err != nil {
		t.Fatal(err)
	}
}

func wantLive(t *testing.T, fake *fakeBroker, live, ever int) {
	t.Helper()
	if l, e := fake.live(); l != live || e != ever {
		t.Errorf("%d leases live of %d, want %d of %d", l, e, live, ever)
	}
}

func TestSignalsReachTheChildAndTheLeaseIsReleased(t *testing.T) {
	for name, one := range map[string]syscall.Signal{
		"TERM": unix.SIGTERM, "HUP": unix.SIGHUP, "INT": unix.SIGINT, "QUIT": unix.SIGQUIT, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "WINCH": unix.SIGWINCH,
	} {
		t.Run(name, func(t *testing.T) {
			fake, environ := enrolled(t)
			script := "trap 'echo got; exit 9' " + name + "; echo ready; while :; do sleep 0.02; done"
			command, said := running(t, environ, "exec", "--", "sh", "-c", script)
			said.await(t, "ready")
			send(t, command, one)
			if code := ends(t, command); code != 9 || !strings.Contains(said.String(), "got") {
				t.Errorf("exit code %d, output %s", code, said)
			}
			wantLive(t, fake, 0, 1)
		})
	}
}

func TestChildKilledByASignal(t *testing.T) {
	fake, environ := enrolled(t)
	command, said := running(t, environ, "exec", "--", "sh", "-c", "echo ready; exec sleep 60")
	said.await(t, "ready")
	send(t, command, unix.SIGTERM)
	if code := ends(t, command); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
	wantLive(t, fake, 0, 1)
}

// A signal to hourkey alone, without a terminal, is passed on, once.
func TestKillIsDeliveredOnce(t *testing.T) {
	_, environ := enrolled(t)
	command, said := running(t, environ, "exec", "--", "env", "BE=counter", os.Args[0])
	said.await(t, "ready")
	send(t, command, unix.SIGINT)
	if code := ends(t, command); code != 0 || !strings.Contains(said.String(), "interrupts=1\n") || !strings.Contains(said.String(), "from a terminal: false") {
		t.Errorf("exit code %d, output %s", code, said)
	}
}

// ^C of a terminal reaches the child from the terminal; a second one from us would be a second ^C.
func TestInterruptFromTheTerminalIsDeliveredOnce(t *testing.T) {
	fake, environ := enrolled(t)
	terminal, line := openTerminal(t)
	command := hourkey(environ, "exec", "--", "env", "BE=counter", os.Args[0])
	command.Stdin, command.Stdout, command.Stderr = line, line, line
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	go func() { _, _ = io.Copy(said, terminal) }()
	said.await(t, "ready")
	// Two signals that come close enough become one, so one ^C would prove little, and some may be lost.
	const presses = 30
	for range presses {
		if _, err := terminal.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := terminal.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, command); code != 0 {
		t.Errorf("exit code %d", code)
	}
	said.await(t, "from a terminal: true")
	said.await(t, "interrupts=")
	_, counted, _ := strings.Cut(said.String(), "interrupts=")
	if count, err := strconv.Atoi(strings.TrimSpace(counted)); err != nil || count > presses {
		t.Errorf("%d interrupts for %d presses (%v)", count, presses, err)
	}
	wantLive(t, fake, 0, 1)
}

// openTerminal makes a pseudo-terminal (pty(7)): what is written to terminal is typed on line.
func openTerminal(t *testing.T) (terminal, line *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	if err := unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	line, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	return terminal, line
}

func TestInterruptWhileWaitingWithdrawsTheRequest(t *testing.T) {
	fake, environ := enrolled(t)
	command, said := running(t, environ, "exec", "--scope", "orders-db:public.orders:delete", "--", "true")
	said.await(t, "Approve at:")
	send(t, command, unix.SIGINT)
	if code := ends(t, command); code != 128+2 || !strings.Contains(said.String(), "withdrawn") {
		t.Errorf("exit code %d, output %s", code, said)
	}
	if fake.requests[0].State != api.StateCancelled {
		t.Errorf("the request is %s", fake.requests[0].State)
	}
	wantLive(t, fake, 0, 0)
}

// An agent's harness ends a tool that takes too long. The human may still say yes.
func TestTermWhileWaitingLeavesTheRequest(t *testing.T) {
	fake, environ := enrolled(t)
	command, said := running(t, environ, "exec", "--scope", "orders-db:public.orders:delete", "--", "true")
	said.await(t, "Approve at:")
	send(t, command, unix.SIGTERM)
	if code := ends(t, command); code != 128+15 || !strings.Contains(said.String(), "hourkey exec --request req-1") {
		t.Errorf("exit code %d, output %s", code, said)
	}
	if fake.requests[0].State != api.StatePending {
		t.Errorf("the request is %s", fake.requests[0].State)
	}
}

// nohup is respected: what whoever started us made ignored stays so for the child.
func TestIgnoredSignalStaysIgnored(t *testing.T) {
	fake, environ := enrolled(t)
	self := hourkey(environ).Path
	command := hourkey(environ)
	command.Path, command.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0" exec -- sh -c 'echo ready; read _; echo survived'`, self}
	said := &output{}
	command.Stdout, command.Stderr = said, said
	goOn, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said.await(t, "ready")
	if err := unix.Kill(-command.Process.Pid, unix.SIGHUP); err != nil { // the whole group, as at the end of a session
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // in which nothing must come of it
	if _, err := io.WriteString(goOn, "\n"); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, command); code != 0 || !strings.Contains(said.String(), "survived") {
		t.Errorf("exit code %d, output %s", code, said)
	}
	wantLive(t, fake, 0, 1)
}

// Attack on the release: whoever reads our stderr goes away, and the next warning would kill us.
func TestBrokenStderrDoesNotKeepTheLeaseAlive(t *testing.T) {
	fake, environ := enrolled(t)
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := hourkey(environ, "exec", "--ttl", "2s", "--", "sh", "-c", "sleep 3; exit 5")
	command.Stderr = written
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = written.Close(), read.Close()
	if code := ends(t, command); code != 5 {
		t.Errorf("exit code %d", code)
	}
	wantLive(t, fake, 0, 1)
}

func TestLeaseThatEndsFirstIsSaidAndTheCommandRunsOn(t *testing.T) {
	_, environ := enrolled(t)
	const ended = "warning: the credential for orders-db in staging has ended; the command runs on without it"
	said := &output{}
	command := hourkey(environ, "exec", "--ttl", "1s", "--", "sh", "-c", "read _; echo done")
	command.Stdout, command.Stderr = said, said
	goOn, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	said.await(t, ended)
	if _, err := io.WriteString(goOn, "\n"); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, command); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(said.String(), "done") {
		t.Errorf("the command did not run on: %s", said)
	}
}

// The terminal must show again what is typed after ^C at the prompt for the code.
func TestInterruptAtThePromptRestoresTheTerminal(t *testing.T) {
	fake := newFakeBroker()
	defer fake.Close()
	terminal, line := openTerminal(t)
	command := hourkey(append(os.Environ(), "BE=hourkey", "XDG_CONFIG_HOME="+t.TempDir()), "enroll", fake.URL, "--agent", "a")
	command.Stdin, command.Stdout, command.Stderr = line, line, line
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	go func() { _, _ = io.Copy(said, terminal) }()
	said.await(t, "One-time code (not shown): ")
	if !comes(func() bool { return !echoes(t, line) }) { // a moment after it asks
		t.Error("what is typed at the prompt is shown")
	}
	if _, err := terminal.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, command); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if !echoes(t, line) {
		t.Error("the terminal is left without echo")
	}
}

func echoes(t *testing.T, line *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// BenchmarkVersion is how long the program takes to start, against one that does nothing.
func BenchmarkVersion(b *testing.B) {
	self := filepath.Join(b.TempDir(), "hourkey")
	if text, err := exec.Command("go", "build", "-o", self, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	for name, args := range map[string][]string{"hourkey version": {self, "version"}, "true": {"true"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := exec.CommandContext(context.Background(), args[0], args[1:]...).Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The kubeconfig with a token goes however the command or hourkey ends; what a killed hourkey left goes with the next run.
func TestKubeconfigDoesNotOutliveTheCommand(t *testing.T) {
	_, environ := enrolled(t)
	folder := t.TempDir()
	environ = append(environ, "TMPDIR="+folder, "HOURKEY_ENVIRONMENT=cloud")
	left := func() []string {
		found, err := filepath.Glob(filepath.Join(folder, "hourkey-exec-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	run := func() (*exec.Cmd, *output) {
		command, said := running(t, environ, "exec", "--target", "cluster", "--", "sh", "-c", "test -s $KUBECONFIG && echo ready; while :; do sleep 0.02; done")
		said.await(t, "ready")
		return command, said
	}
	for _, one := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		command, said := run()
		send(t, command, one)
		if code := ends(t, command); code != exitSignal+int(one) || len(left()) > 0 {
			t.Errorf("%v: exit code %d, left %v, %s", one, code, left(), said)
		}
	}
	command, _ := run()
	send(t, command, unix.SIGKILL)
	command.WaitDelay = time.Second // its child lives on, and holds the pipes
	_ = command.Wait()
	if err := unix.Kill(-command.Process.Pid, unix.SIGKILL); err != nil { // its child, which is in the same group
		t.Error(err)
	}
	if len(left()) != 1 {
		t.Fatalf("left %v", left())
	}
	old := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(left()[0], old, old); err != nil {
		t.Fatal(err)
	}
	if text, err := hourkey(environ, "exec", "--target", "cluster", "--", "true").CombinedOutput(); err != nil || len(left()) > 0 {
		t.Errorf("left %v, %v, %s", left(), err, text)
	}
}
