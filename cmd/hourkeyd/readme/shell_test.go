package readme

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a command may take; building from nothing on a slow machine is the longest.
const patience = 8 * time.Minute

// prompt is what the shell prints when it waits for the next command, with the last one's status.
var prompt = regexp.MustCompile(`<<ready:(\d+)>>`)

// shell is a terminal with one interactive bash in it, in which everything happens as a user types it.
type shell struct {
	*testing.T
	terminal *os.File
	home     string // HOME

	mu     sync.Mutex
	screen bytes.Buffer  // all that was printed
	at     int           // up to here it was read
	news   chan struct{} // something was printed
}

// newShell starts a bash in the repository's root, with a home of its own.
func newShell(t *testing.T) *shell {
	t.Helper()
	home, err := os.MkdirTemp("", "hk-home-") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	terminal, line := openTerminal(t)
	s := &shell{T: t, terminal: terminal, home: home, news: make(chan struct{}, 1)}
	bash := exec.Command("bash", "--noprofile", "--norc", "--noediting", "-i")
	bash.Dir, bash.Env = root(t), environment(t, home)
	bash.Stdin, bash.Stdout, bash.Stderr = line, line, line
	bash.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := bash.Start(); err != nil {
		t.Fatal(err)
	}
	_ = line.Close()
	go s.watch() // ends when the terminal is closed
	t.Cleanup(func() {
		_ = bash.Process.Kill()
		_ = bash.Wait()
		_ = terminal.Close()
	})
	s.awaits(prompt)
	return s
}

// root is the repository's folder.
func root(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// environment is a new user's: nothing of ours, and nothing that tells psql where to go. Only Go's
// caches are kept, for building twice proves nothing.
func environment(t *testing.T, home string) []string {
	t.Helper()
	raw, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "GOTOOLCHAIN").Output()
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]string
	if err := json.Unmarshal(raw, &settings); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(home, "bin")
	environ := []string{
		"HOME=" + home, "GOBIN=" + bin, "PATH=" + bin + ":" + os.Getenv("PATH"), "USER=newcomer", "TERM=dumb", "LANG=C.UTF-8",
		"PS1=<<ready:$?>>", "PS2=",
	}
	for name, value := range settings {
		if value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// openTerminal makes a pseudo-terminal (pty(7)) that does not echo.
func openTerminal(t *testing.T) (terminal, line *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal("no pseudo-terminals here: ", err)
	}
	control, err := terminal.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	err = control.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	line, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	settings.Lflag &^= unix.ECHO
	settings.Oflag &^= unix.ONLCR
	if err := unix.IoctlSetTermios(int(line.Fd()), unix.TCSETS, settings); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(line.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 120}); err != nil {
		t.Fatal(err)
	}
	return terminal, line
}

func (s *shell) watch() {
	chunk := make([]byte, 4096)
	for {
		n, err := s.terminal.Read(chunk)
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.screen.Write(chunk[:n])
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// awaits reads on until the terminal shows the pattern, and gives what stood before it and its groups.
func (s *shell) awaits(pattern *regexp.Regexp) (before string, groups []string) {
	s.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		unread := s.screen.String()[s.at:]
		s.mu.Unlock()
		if found := pattern.FindStringSubmatchIndex(unread); found != nil {
			s.at += found[1]
			for i := 0; i < len(found); i += 2 {
				groups = append(groups, unread[found[i]:found[i+1]])
			}
			return unread[:found[0]], groups
		}
		select {
		case <-s.news:
		case <-late:
			s.Fatalf("the terminal did not show %s, but:\n%s", pattern, unread)
		}
	}
}

// types types a line.
func (s *shell) types(text string) {
	s.Helper()
	if _, err := s.terminal.WriteString(text + "\n"); err != nil {
		s.Fatal(err)
	}
}

// ends waits for the end of the command that runs.
func (s *shell) ends() (output string, status int) {
	s.Helper()
	output, groups := s.awaits(prompt)
	status, err := strconv.Atoi(groups[1])
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("%s[status %d]", output, status)
	return output, status
}

// begins types a command and does not wait for its end.
func (s *shell) begins(command string) {
	s.Helper()
	s.Logf("$ %s", command)
	s.types(command)
}

// try runs a command to its end.
func (s *shell) try(command string) (output string, status int) {
	s.Helper()
	s.begins(command)
	return s.ends()
}

// run runs a command that must succeed.
func (s *shell) run(command string) string {
	s.Helper()
	output, status := s.try(command)
	if status != 0 {
		s.Fatalf("%s\nended with status %d:\n%s", command, status, output)
	}
	return output
}

// find gives the first group of a pattern that must be in text.
func find(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("expected %s in:\n%s", pattern, text)
	}
	return found[1]
}
