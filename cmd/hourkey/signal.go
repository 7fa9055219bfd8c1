package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// ending lists the signals that end a command that is not running a child.
func ending() []os.Signal {
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}
}

// forwarded lists what exec passes on to its child.
func forwarded() []os.Signal { return append(ending(), unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH) }

// untilSignal gives a context that the first ending signal cancels, with an interrupt as its cause.
func untilSignal(parent context.Context) (context.Context, func()) {
	r := listen(parent, ending())
	return r.ctx, r.close
}

// relay receives signals: before a child runs they end the waiting, while it runs they are the child's.
type relay struct {
	ctx    context.Context // ends with the first signal; the relay owns it
	cancel context.CancelCauseFunc
	caught chan os.Signal
	done   chan struct{}

	mu      sync.Mutex
	process *os.Process
	ended   bool // the child is gone: what comes now is ignored, there are leases to release
}

// listen begins to receive. A signal that whoever started us made ignored (nohup) stays ignored, here
// and in the child.
func listen(parent context.Context, signals []os.Signal) *relay {
	r := &relay{caught: make(chan os.Signal, 32), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(parent)
	for _, one := range signals {
		if !signal.Ignored(one) {
			signal.Notify(r.caught, one)
		}
	}
	go func() {
		defer close(r.done)
		for one := range r.caught {
			r.handle(one)
		}
	}()
	return r
}

// close stops receiving.
func (r *relay) close() {
	signal.Stop(r.caught)
	close(r.caught)
	<-r.done
	r.cancel(nil)
}

func (r *relay) handle(one os.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended || one == unix.SIGPIPE:
	case r.process != nil:
		if !sentByTerminal(one) {
			_ = r.process.Signal(one) // it may just have ended
		}
	case one != unix.SIGUSR1 && one != unix.SIGUSR2 && one != unix.SIGWINCH:
		r.cancel(&interrupt{one})
	}
}

// start runs the command, unless a signal came first.
func (r *relay) start(command *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if err := command.Start(); err != nil {
		return err
	}
	r.process = command.Process
	return nil
}

// end tells that the child is gone.
func (r *relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// sentByTerminal tells whether the child has this signal already. The child stays in our process
// group, so that pipelines and ^Z work as without us; when that group is the terminal's foreground
// group, ^C, ^\ and a new window size go to every process in it. Passing them on would make one ^C
// two, which many programs take for "stop at once". (A `kill -INT` of hourkey alone, in the
// foreground of a terminal, therefore does not reach the child; -TERM does.)
func sentByTerminal(one os.Signal) bool {
	if one != unix.SIGINT && one != unix.SIGQUIT && one != unix.SIGWINCH {
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false // no terminal controls us
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
