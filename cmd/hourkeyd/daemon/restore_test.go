package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/store/auditlog"
)

func offline(dir string) Offline {
	return Offline{Path: filepath.Join(dir, "hourkey.yaml"), Guard: config.NewGuard(), Now: time.Now}
}

// backedUp makes a store with an open lease, a request that waits and one that could be collected, and
// gives its backup and its installation.
func backedUp(t *testing.T, dir string) (backup string, was broker.Installation, requests []broker.Request) {
	t.Helper()
	d, stop := open(t, dir)
	enrol(t, d)
	collected, approved, pending := ask(t, d), ask(t, d), ask(t, d, "api:orders/1:delete")
	_, err := d.broker.Collect(t.Context(), robot, collected.ID)
	must(t, err)
	backup = filepath.Join(dir, "backup.db")
	file, err := os.Create(backup)
	must(t, err)
	must(t, d.stack.Backup(t.Context(), file))
	must(t, file.Close())
	d.writeAnchor(t.Context())
	was = d.broker.Installation()
	stop()
	return backup, was, []broker.Request{approved, pending}
}

func TestRestoredStoreIsFrozenVoidAndNew(t *testing.T) {
	dir := folder(t)
	backup, was, requests := backedUp(t, dir)
	done, err := offline(dir).Restore(t.Context(), backup)
	must(t, err)
	if done.Leases != 1 || done.Replaced == "" {
		t.Errorf("got %+v", done)
	}
	if _, err := os.Stat(done.Replaced); err != nil {
		t.Errorf("the former store is gone: %v", err)
	}

	d, _ := open(t, dir)
	now := d.broker.Installation()
	if now.ID == was.ID || now.Epoch != was.Epoch+1 || !cmp.Equal(now.Former, []string{was.ID}) || !strings.Contains(now.Began, "hourkey/") {
		t.Errorf("installation: %+v, was %+v", now, was)
	}
	if d.behind != nil {
		t.Errorf("a restore is no rollback: %v", d.behind)
	}
	if diff := cmp.Diff([]string{"all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
	for _, request := range requests {
		got, err := d.broker.Request(t.Context(), robot, request.ID)
		if err != nil || got.State != broker.RequestCancelled {
			t.Errorf("a request that was %s is %s, %v", request.State, got.State, err)
		}
		if _, err := d.broker.Collect(t.Context(), robot, request.ID); err == nil {
			t.Errorf("a request that was %s could be collected", request.State)
		}
	}
	if _, err := d.broker.Submit(t.Context(), broker.Ask{Agent: robot.Name, AgentKey: robot.Key, Task: "fix", Environments: []string{"staging"}}); broker.CodeOf(err) != broker.CodeFrozen {
		t.Errorf("a new request: %v", err)
	}
	ending(t, d)
	verifies(t, d)
}

// ending wants no lease that anybody could still count on.
func ending(t *testing.T, d *Daemon) {
	t.Helper()
	leases, err := d.broker.Leases(t.Context(), broker.Caller{Kind: broker.CallerSocket}, true)
	must(t, err)
	if len(leases) != 1 || leases[0].State == broker.LeaseLive || leases[0].State == broker.LeaseIssuing {
		t.Errorf("leases: %+v", leases)
	}
}

// verifies wants an export that anyone can check, with one restore in it.
func verifies(t *testing.T, d *Daemon) {
	t.Helper()
	var export bytes.Buffer
	must(t, d.stack.Export(t.Context(), &export))
	key, err := d.stack.LogKey(t.Context())
	must(t, err)
	report, err := auditlog.Verify(&export, key, nil)
	if err != nil || len(report.Epochs) != 1 {
		t.Errorf("got %v, %v", report, err)
	}
}

func TestRestoreWhileABrokerRunsIsRefused(t *testing.T) {
	dir := folder(t)
	backup, was, _ := backedUp(t, dir)
	d, _ := open(t, dir)
	if _, err := offline(dir).Restore(t.Context(), backup); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if _, _, err := offline(dir).ResetHuman(t.Context(), "alice"); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if d.broker.Installation().ID != was.ID {
		t.Error("the store changed")
	}
}

// The key is not in a backup: without it nothing opens, and no new one takes its place.
func TestRestoreWithoutTheKeyIsRefused(t *testing.T) {
	dir := folder(t)
	backup, _, _ := backedUp(t, dir)
	key := filepath.Join(dir, "keys", "kek")
	must(t, os.Remove(key))
	if _, err := offline(dir).Restore(t.Context(), backup); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made")
	}
}

func TestRestoreWithAnotherKeyLeavesTheStoreAlone(t *testing.T) {
	dir, other := folder(t), folder(t)
	backup, _, _ := backedUp(t, other)
	_, stop := open(t, dir)
	stop()
	before, err := os.ReadFile(filepath.Join(dir, "data", StoreName))
	must(t, err)
	if _, err := offline(dir).Restore(t.Context(), backup); err == nil {
		t.Error("a backup that another key seals was restored")
	}
	after, err := os.ReadFile(filepath.Join(dir, "data", StoreName))
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the store was changed")
	}
	left, err := filepath.Glob(filepath.Join(dir, "data", "*.restoring"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRestoreOfWhatIsNoBackupIsRefused(t *testing.T) {
	dir := folder(t)
	_, stop := open(t, dir)
	stop()
	put(t, dir, "no-backup", strings.Repeat("x", 8192))
	for _, from := range []string{"no-backup", "nothing"} {
		if _, err := offline(dir).Restore(t.Context(), filepath.Join(dir, from)); err == nil {
			t.Errorf("%s was restored", from)
		}
	}
}

func TestResetOfAHumanFreezesAndGivesAnInvite(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	_, _, err := d.broker.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "alice")
	must(t, err)
	d.writeAnchor(t.Context())
	stop()
	invite, code, err := offline(dir).ResetHuman(t.Context(), "alice")
	if err != nil || invite.State != broker.InviteUsable || code.IsZero() {
		t.Fatalf("got %+v, %v", invite, err)
	}
	d, _ = open(t, dir)
	if diff := cmp.Diff([]string{"all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
	if d.broker.Installation().Reset.IsZero() {
		t.Error("no page would say so")
	}
}
