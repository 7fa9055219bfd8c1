package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hourkey/hourkey/web/api"
)

// TestMain lets this test binary be the real hourkey, for scripts and for the tests of signals.
func TestMain(m *testing.M) {
	switch os.Getenv("BE") {
	case "hourkey":
		main()
	case "counter":
		countInterrupts()
		return
	case "fetch":
		fetch()
		return
	}
	testscript.Main(m, map[string]func(){"hourkey": main, "fetch": fetch})
}

// fetch URL is a program that knows nothing of us: it prints what is there, with Go's own HTTP client.
func fetch() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(os.Stdout, answer.Body)
	_ = answer.Body.Close()
}

// contextAfter runs wake when the caller of r is gone; the result undoes that.
func contextAfter(r *http.Request, wake func()) func() {
	stop := context.AfterFunc(r.Context(), wake)
	return func() { stop() }
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			fake := newFakeBroker()
			env.Defer(fake.Close)
			env.Values["fake"] = fake
			env.Setenv("URL", fake.URL)
			env.Setenv("HOST_FOLDER", strings.ReplaceAll(strings.TrimPrefix(fake.URL, "http://"), ":", "_"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			return os.WriteFile(filepath.Join(env.WorkDir, "code"), []byte(fake.code+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     scriptCode,
			"review":   scriptReview,
			"narrow":   scriptNarrow,
			"leases":   scriptLeases,
			"nosecret": scriptNoSecret,
			"lose":     scriptLose,
			"polled":   scriptPolled,
			"pages":    scriptPages,
			"state":    scriptState,
		},
	})
}

func fakeOf(ts *testscript.TestScript) *fakeBroker { return ts.Value("fake").(*fakeBroker) }

// scriptCode runs a command and wants exactly this exit code: code 3 hourkey request …
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// scriptReview decides on what is pending, waiting for it to come: review approved|denied [WORDS], in which
// \x1b is an escape.
func scriptReview(ts *testscript.TestScript, _ bool, args []string) {
	words := strings.ReplaceAll(strings.Join(args[1:], " "), `\x1b`, "\x1b")
	if !comes(func() bool { return fakeOf(ts).review(args[0], words) > 0 }) {
		ts.Fatalf("nothing came to be reviewed")
	}
}

// scriptNarrow takes something away from what is pending, waiting for it to come.
func scriptNarrow(ts *testscript.TestScript, _ bool, _ []string) {
	if !comes(func() bool { return fakeOf(ts).narrow() > 0 }) {
		ts.Fatalf("nothing came to be narrowed")
	}
}

// scriptPolled waits until somebody began to wait for a request's decision for the Nth time: polled REQUEST N.
func scriptPolled(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if !comes(func() bool { return fakeOf(ts).polled(args[0]) >= want }) {
		ts.Fatalf("nobody waits for %s", args[0])
	}
}

// scriptPages gives the pages another origin: pages ORIGIN.
func scriptPages(ts *testscript.TestScript, _ bool, args []string) {
	fakeOf(ts).showPagesAt(args[0])
}

// scriptLeases wants so many leases alive of so many ever: leases LIVE EVER.
func scriptLeases(ts *testscript.TestScript, _ bool, args []string) {
	live, ever := fakeOf(ts).live()
	if got := fmt.Sprintf("%d %d", live, ever); got != strings.Join(args, " ") {
		ts.Fatalf("leases (live, ever) %s, want %s", got, strings.Join(args, " "))
	}
}

// scriptNoSecret wants no secret in these files; negated, it wants one.
func scriptNoSecret(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		if leaked := fakeOf(ts).leaks(ts.ReadFile(name)) > 0; leaked != neg {
			ts.Fatalf("%s: holds a secret: %v", name, leaked)
		}
	}
}

// scriptLose loses answers on their way: lose METHOD PATH COUNT.
func scriptLose(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	fake := fakeOf(ts)
	fake.mu.Lock()
	defer fake.mu.Unlock()
	fake.lose[args[0]+" "+args[1]] = count
}

// scriptState wants the last request in this state: state cancelled.
func scriptState(ts *testscript.TestScript, _ bool, args []string) {
	fake := fakeOf(ts)
	fake.mu.Lock()
	defer fake.mu.Unlock()
	last := api.Request{State: "none"}
	if n := len(fake.requests); n > 0 {
		last = *fake.requests[n-1]
	}
	if last.State != args[0] {
		ts.Fatalf("the last request is %s, want %s", last.State, args[0])
	}
}
