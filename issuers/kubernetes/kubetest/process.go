package kubetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one program that we started. A nil one is none.
type process struct {
	name  string
	stdin io.Closer // closing it, or our death, ends the program
	log   string
	pid   string // file that holds the program's process id, for pause
	ended chan struct{}
}

// launch runs a program under a shell that holds a pipe from us: when the pipe closes, because of stop or because the
// test died, the shell ends the program. So no killed test leaves one behind.
func launch(dir, name, program string, args ...string) (*process, error) {
	const guard = `pid=$1; shift; exec 3<&0
"$@" </dev/null 3<&- & server=$!
echo "$server" >"$pid"
(read -r _ <&3; kill -KILL "$server") & reader=$!
exec 3<&-
wait "$server"; kill "$reader" 2>/dev/null`
	p := &process{name: name, log: filepath.Join(dir, name+".log"), pid: filepath.Join(dir, name+".pid"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "sh", p.pid, program}, args...)...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=" + dir}
	cmd.Stdout, cmd.Stderr = out, out
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// await asks until ready says nil, or the program ends.
func (p *process) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 10*time.Second)
		err := ready(attempt)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return p.failed(err)
		case <-p.ended:
			return p.failed(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *process) failed(err error) error {
	said, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s did not start: %w: %s", p.name, err, said[max(0, len(said)-4000):])
}

func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.stdin.Close()
	<-p.ended
}

// pause stops the program until resume.
func (p *process) pause() (resume func(), err error) {
	text, err := os.ReadFile(p.pid)
	if err != nil {
		return nil, err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return nil, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	for range 1000 { // it is a moment until every thread has stopped
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") T ") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }, nil
}
