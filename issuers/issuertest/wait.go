package issuertest

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

// Whole tells whether this is the whole run, which leaves nothing out: HOURKEY_TEST_ALL=1.
func Whole() bool { return os.Getenv("HOURKEY_TEST_ALL") == "1" }

// OnlyWhole leaves a test to the whole run. why ends a sentence: "takes long".
func OnlyWhole(tb testing.TB, why string) {
	tb.Helper()
	if !Whole() {
		tb.Skipf("HOURKEY_TEST_ALL=1 runs it: it %s", why)
	}
}

// Needs takes the error with which a server, or a program, was started for a test. Where it is not on this machine, which absent
// says, the test is skipped, or fails in the whole run; it fails at any other error.
func Needs(tb testing.TB, err, absent error) {
	tb.Helper()
	if errors.Is(err, absent) && !Whole() {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Until waits until something is so, and fails when that takes much longer than on any machine.
func Until(tb testing.TB, so func() bool) {
	tb.Helper()
	for end := time.Now().Add(patient); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("it did not come to pass within %s", patient)
		}
	}
}

// Dies tells whether do died at a failpoint: the function that it is given, for an issuer's Config, ends it when it comes to that point,
// as if the broker had been killed.
func Dies(point string, do func(failpoint func(at string))) (died bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(func(at string) {
			if at == point {
				died = true
				runtime.Goexit()
			}
		})
		died = false // it went on
	}()
	<-done
	return died
}
