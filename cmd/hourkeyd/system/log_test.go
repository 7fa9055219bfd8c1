package system

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// TestExportedLogChanged changes the file in the ways of one who hides something; the key is all that the
// reader has.
func TestExportedLogChanged(t *testing.T) {
	t.Parallel()
	i := install(t)
	for range 3 {
		must(t, i.agent.release(t.Context(), i.key(time.Minute).Lease))
	}
	i.must("audit", "export", i.path("early.jsonl"))
	i.key(time.Minute)
	i.put("kept", i.must("audit", "checkpoint"))
	i.key(time.Minute)
	i.must("audit", "export", i.path("log.jsonl"))
	key := i.status().LogKey
	i.stop() // proving needs no broker

	whole, err := os.ReadFile(i.path("log.jsonl"))
	must(t, err)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	events := bytes.Count(whole, []byte(`{"number":`))
	verify := func(what string, text []byte, want int, args ...string) string {
		t.Helper()
		i.put("tried.jsonl", string(text))
		out, code := i.run(append([]string{"audit", "verify", i.path("tried.jsonl"), "--key", key}, args...)...)
		if code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", what, code, want, out)
		}
		return out
	}
	out := verify("as it was exported", whole, 0)
	if !strings.Contains(out, "later unknown") || !strings.Contains(out, "No kept checkpoint") {
		t.Errorf("it claims more than it knows: %s", out)
	}
	verify("as it was exported, with the kept checkpoint", whole, 0, "--checkpoint", i.path("kept"))

	for at := 0; at < len(whole); at += len(whole) / 97 {
		bent := bytes.Clone(whole)
		bent[at] ^= 1
		verify("one bit of a byte", bent, 1)
	}
	for at := range events {
		if at%5 > 0 {
			continue
		}
		verify("a line removed", join(lines, func(l [][]byte) [][]byte { return append(l[:at:at], l[at+1:]...) }), 1)
		if at+1 < events {
			verify("two lines swapped", join(lines, func(l [][]byte) [][]byte { l[at], l[at+1] = l[at+1], l[at]; return l }), 1)
		}
		verify("a line twice", join(lines, func(l [][]byte) [][]byte { l = append(l[:at+1:at+1], l[at:]...); return l }), 1)
	}
	verify("the last event removed", join(lines, func(l [][]byte) [][]byte { return append(l[:events-1:events-1], l[events:]...) }), 1)
	verify("nothing left", nil, 1)

	// Cut, and signed at that time: an earlier export is the one cut that no signature shows.
	early, err := os.ReadFile(i.path("early.jsonl"))
	must(t, err)
	if out := verify("an earlier export", early, 0); !strings.Contains(out, "later unknown") || !strings.Contains(out, "cannot be told from a whole one") {
		t.Errorf("it claims more than it knows: %s", out)
	}
	verify("an earlier export, with the kept checkpoint", early, 1, "--checkpoint", i.path("kept"))

	other := install(t)
	other.must("audit", "export", other.path("log.jsonl"))
	foreign, err := os.ReadFile(other.path("log.jsonl"))
	must(t, err)
	verify("another installation's log", foreign, 1)
}

func join(lines [][]byte, change func([][]byte) [][]byte) []byte {
	return bytes.Join(change(append([][]byte(nil), lines...)), nil)
}

// TestBackupPutBack: who restores an old state gets a frozen broker, the keys of the time after the backup
// are ended, and what was approved before it is void.
func TestBackupPutBack(t *testing.T) {
	t.Parallel()
	i := install(t)
	known := i.key(10 * time.Minute)
	request, err := i.agent.request(t.Context(), "staging", 0, rwd)
	must(t, err)
	i.approve(request.ID)
	allowed, err := i.agent.request(t.Context(), "staging", 0)
	must(t, err)
	i.must("backup", i.path("backup.db"))
	later := i.key(10 * time.Minute) // the backup knows nothing of it
	former := i.prefix()
	out, code := i.run("restore", i.path("backup.db"))
	if code == 0 {
		t.Errorf("a store was replaced under a running broker: %s", out)
	}
	i.broker.kill()
	i.must("restore", i.path("backup.db"))
	i.serve()

	for name, key := range map[string]api.Credential{"in the backup": known, "after the backup": later} {
		eventually(t, func() error {
			if err := run(t.Context(), key, "SELECT 1"); err == nil {
				return errStillThere(name)
			}
			return nil
		})
	}
	eventually(t, func() error {
		if roles := i.staging.roles(t, former); len(roles) > 0 {
			return errStillThere(strings.Join(roles, ", "))
		}
		return nil
	})
	if i.prefix() == former {
		t.Error("the restored store has the former installation's id")
	}
	for _, id := range []string{request.ID, allowed.ID} {
		_, err := i.agent.collect(t.Context(), id)
		refused(t, "what was decided before", err, api.CodeFrozen, api.CodeExpired, api.CodeConflict)
	}
	_, err = i.agent.get(t.Context(), "staging", 0)
	refused(t, "a restored broker", err, api.CodeFrozen)

	i.lift("all")
	for _, id := range []string{request.ID, allowed.ID} {
		_, err := i.agent.collect(t.Context(), id)
		refused(t, "what was decided before, after the lift", err, api.CodeExpired, api.CodeConflict)
	}
	must(t, run(t.Context(), i.key(time.Minute), "SELECT 1"))
	i.must("audit", "export", i.path("log.jsonl"))
	if out := i.must("audit", "verify", i.path("log.jsonl")); !strings.Contains(out, "A backup was restored") {
		t.Errorf("the log does not tell of the restore: %s", out)
	}
}

type errStillThere string

func (e errStillThere) Error() string { return string(e) + ": still there" }

// TestStoreCopiedBackBehindTheBrokersBack: without `restore`, the anchor tells.
func TestStoreCopiedBackBehindTheBrokersBack(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.stop()
	old, err := os.ReadFile(i.path("data/hourkey.db"))
	must(t, err)
	i.serve()
	key := i.key(10 * time.Minute)
	i.stop()
	must(t, os.WriteFile(i.path("data/hourkey.db"), old, 0o600))
	i.serve()
	_, err = i.agent.get(t.Context(), "staging", 0)
	refused(t, "an older store", err, api.CodeFrozen)
	eventually(t, func() error {
		if run(t.Context(), key, "SELECT 1") == nil {
			return errStillThere("a key that the older store does not know")
		}
		return nil
	})
	i.none()
}

// TestStoreThrownAway: an empty store is not taken for a new installation.
func TestStoreThrownAway(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.stop()
	must(t, os.Remove(i.path("data/hourkey.db")))
	if p := i.launch(); !i.answers(p) {
		return // it refuses to start
	}
	if len(i.status().Freezes) == 0 {
		t.Error("it serves, and is not frozen")
	}
}

// TestBackupPutBackTwice: what was issued between two restores of one backup belongs to an installation id
// that the second one does not know.
func TestBackupPutBackTwice(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.must("backup", i.path("backup.db"))
	i.stop()
	i.must("restore", i.path("backup.db"))
	i.serve()
	i.lift("all")
	between, err := i.agent.get(t.Context(), "staging", 10*time.Minute)
	must(t, err)
	session, err := i.use(between)
	must(t, err)
	i.stop()
	time.Sleep(time.Second) // the name of the store that is kept has seconds
	i.must("restore", i.path("backup.db"))
	i.serve()
	i.dead(between, session, 1)
}
