package system

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/web/api"
)

// TestDiskFull fills a disk of its own under the store. Where mounting one is not permitted, the next test
// stands for it.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	i := prepare(t, shared.database(t, "staging"), shared.database(t, "production"))
	data, ballast := i.path("data"), i.path("data/ballast")
	must(t, os.MkdirAll(data, 0o700))
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Logf("mounting a disk: %v; see TestFileSizeLimit", err)
		return
	}
	t.Cleanup(func() { must(t, syscall.Unmount(data, 0)) })
	i.full(func() {
		file, err := os.Create(ballast)
		must(t, err)
		defer file.Close()
		if _, err := io.CopyN(file, zeros{}, 1<<30); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
	}, func() { must(t, os.Remove(ballast)) })
}

// TestFileSizeLimit does the same as any user: whatever the store writes beyond its first pages is refused.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	i := prepare(t, shared.database(t, "staging"), shared.database(t, "production"))
	limit := func(most uint64) {
		t.Helper()
		must(t, unix.Prlimit(i.broker.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}, nil))
	}
	i.full(func() { limit(64 << 10) }, func() { limit(unix.RLIM_INFINITY) })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// full: nothing is issued, what is alive is ended all the same, and it goes on by itself when there is
// space again.
func (i *installation) full(fill, free func()) {
	t := i.TB
	t.Helper()
	i.serve()
	i.people()
	released, revoked, frozen := i.key(10*time.Minute), i.key(10*time.Minute), i.key(10*time.Minute)
	expiring, err := i.agent.get(t.Context(), "production", 15*time.Second)
	must(t, err)
	var waiting []string
	for range 24 {
		request, err := i.agent.request(t.Context(), "staging", time.Minute)
		must(t, err)
		waiting = append(waiting, request.ID)
	}
	prefix := i.prefix()

	fill()
	i.writeUntilFull()
	for _, id := range i.collectUntilFull(waiting) {
		_, err := i.agent.collect(t.Context(), id)
		refused(t, "collecting on a full disk", err, api.CodeUnavailable)
	}
	_, err = i.agent.request(t.Context(), "staging", 0)
	refused(t, "asking on a full disk", err, api.CodeUnavailable)
	if answer, err := http.Get(i.origin + api.PathReady); err != nil || answer.StatusCode == http.StatusOK {
		t.Errorf("it says that it is ready: %v", err)
	}

	for how, end := range map[string]func() error{
		"release": func() error { return i.agent.release(t.Context(), released.Lease) },
		"revoke":  func() error { return i.revoke(revoked.Lease) },
	} {
		if err := end(); err != nil {
			t.Errorf("%s on a full disk: %v", how, err)
		}
	}
	if err := i.freeze(broker.FreezeEnvironment, "staging"); err != nil && broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("freeze on a full disk: %v", err)
	}
	for how, key := range map[string]api.Credential{"released": released, "revoked": revoked, "frozen": frozen, "over": expiring} {
		eventually(t, func() error {
			if len(i.staging.roles(t, key.Values["PGUSER"].Reveal())) > 0 {
				return errStillThere("the key that is " + how)
			}
			return nil
		})
	}
	eventually(t, func() error { // those that were the last to fit, too
		if roles := i.staging.roles(t, prefix); len(roles) > 0 {
			return fmt.Errorf("on a full disk these are alive: %v", roles)
		}
		return nil
	})

	free()
	eventually(t, func() error { return i.accounted(prefix) })
	_, err = i.agent.request(t.Context(), "staging", 0)
	refused(t, "the freeze was kept", err, api.CodeFrozen)
	i.lift("environment:staging")
	must(t, run(t.Context(), i.key(time.Minute), "SELECT 1"))
	i.must("audit", "export", i.path("log.jsonl"))
	i.must("audit", "verify", i.path("log.jsonl"))
}

// writeUntilFull has the broker write until the store takes nothing any more: it may have room of its own.
func (i *installation) writeUntilFull() {
	i.Helper()
	for n := range 400 {
		request, err := i.agent.request(i.Context(), "production", 0)
		if err == nil {
			err = i.agent.call(i.Context(), http.MethodDelete, api.PathRequests+"/"+request.ID, nil, nil, nil)
		}
		problem, _ := errors.AsType[*api.Problem](err)
		if problem != nil && problem.Code == api.CodeUnavailable {
			i.Logf("full after %d requests", n)
			return
		}
		must(i, err)
	}
	i.Fatal("the disk does not get full")
}

// collectUntilFull collects what still fits, for a collect writes less than a request does, and gives the rest.
func (i *installation) collectUntilFull(waiting []string) (rest []string) {
	i.Helper()
	for at, id := range waiting {
		if _, err := i.agent.collect(i.Context(), id); err != nil {
			if len(waiting[at+1:]) < 3 {
				i.Fatalf("too few requests are left to be refused: %d", len(waiting[at+1:]))
			}
			return waiting[at+1:]
		}
	}
	i.Fatal("the disk does not get full")
	return nil
}

// TestFreezeOnAFullDiskThenCrash: the freeze could not be written, and holds; the anchor file keeps it over the crash.
func TestFreezeOnAFullDiskThenCrash(t *testing.T) {
	t.Parallel()
	i := install(t)
	key, session := i.inUse(10 * time.Minute)
	must(t, unix.Prlimit(i.broker.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 64 << 10, Max: unix.RLIM_INFINITY}, nil))
	i.writeUntilFull()
	if err := i.freeze(broker.FreezeAll, ""); err != nil && broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("freeze on a full disk: %v", err)
	}
	i.dead(key, session, 1)
	i.anchored(broker.FreezeAll)
	i.broker.kill()
	i.serve()
	_, err := i.agent.get(t.Context(), "staging", 0)
	refused(t, "after the crash", err, api.CodeFrozen)
	i.none()
}

// anchored waits until the anchor file, which is written once a second, has a freeze, and nothing more comes.
func (i *installation) anchored(of broker.FreezeKind) {
	i.Helper()
	var last auditlog.Anchor
	eventually(i, func() error {
		before := last
		var err error
		if last, err = auditlog.ReadAnchor(i.path("keys/anchor")); err != nil {
			return err
		}
		time.Sleep(2 * time.Second)
		if !slices.ContainsFunc(last.Freezes, func(f broker.Freeze) bool { return f.Of == of }) || last.Height != before.Height {
			return fmt.Errorf("the anchor has %d freezes at height %d, and had the height %d", len(last.Freezes), last.Height, before.Height)
		}
		return nil
	})
}

// TestStartOnAFullDisk: a broker that does not start cannot end what is alive (invariant 6).
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	i := install(t)
	key, session := i.inUse(5 * time.Second)
	i.broker.kill()
	must(t, os.WriteFile(i.path("service.log"), nil, 0o600))
	time.Sleep(time.Until(key.Expires))
	binary := i.binary
	i.binary = i.path("limited")
	must(t, os.WriteFile(i.binary, []byte("#!/bin/sh\nulimit -f 16\nexec "+binary+" \"$@\"\n"), 0o700))
	p := i.launch()
	i.binary = binary
	if !i.answers(p) {
		t.Errorf("the broker does not start on a full disk, so that nobody ends what is alive")
		if _, err := session.Exec(t.Context(), "SELECT 1"); err == nil {
			t.Error("the session of a lease that is over goes on")
		}
		return
	}
	i.dead(key, session, 1)
}
