package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
)

func (d *Daemon) writeAnchor(ctx context.Context) {
	(&anchorer{stack: d.stack, broker: d.broker, log: slog.New(slog.DiscardHandler)}).write(ctx)
}

// copyOf keeps the store of a stopped daemon aside.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(dir, "older.db")
	must(t, copyFile(filepath.Join(dir, "data", StoreName), to))
	return to
}

func putBack(t *testing.T, dir, from string) {
	t.Helper()
	must(t, os.Rename(from, filepath.Join(dir, "data", StoreName)))
}

func TestStoreThatIsWhereItsAnchorIsOpensUnfrozen(t *testing.T) {
	dir := folder(t)
	for range 3 {
		d, stop := open(t, dir)
		if got := frozen(t, d); len(got) > 0 {
			t.Fatalf("frozen: %v", got)
		}
		d.writeAnchor(t.Context())
		stop()
	}
}

// The attack: a copy of the data folder from before a freeze is put in its place.
func TestOlderCopyOfTheStoreOpensFrozen(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	d.writeAnchor(t.Context())
	stop()
	older := copyOf(t, dir)
	d, stop = open(t, dir)
	_, err := d.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "robot", Reason: "odd"})
	must(t, err)
	d.writeAnchor(t.Context())
	stop()
	putBack(t, dir, older)
	d, _ = open(t, dir)
	if diff := cmp.Diff([]string{"agent:robot", "all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
	if banner, err := d.Banner(t.Context()); err != nil || banner.Behind == "" {
		t.Errorf("the banner says nothing: %+v, %v", banner, err)
	}
}

// As many events as the anchor says, but others: a copy that somebody went on with.
func TestStoreThatWentAnotherWayOpensFrozen(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	d.writeAnchor(t.Context())
	stop()
	older := copyOf(t, dir)
	d, stop = open(t, dir)
	d.writeAnchor(t.Context())
	stop()
	putBack(t, dir, older)
	for range 3 { // the starts alone make the log longer than the anchor
		_, stop = open(t, dir)
		stop()
	}
	d, _ = open(t, dir)
	if diff := cmp.Diff([]string{"all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
}

func TestStoreWhoseAnchorIsGoneOpensFrozen(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	d.writeAnchor(t.Context())
	stop()
	must(t, os.Remove(filepath.Join(dir, "keys", "anchor")))
	d, _ = open(t, dir)
	if diff := cmp.Diff([]string{"all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
}

func TestAnchorThatCannotBeReadOpensFrozen(t *testing.T) {
	dir := folder(t)
	_, stop := open(t, dir)
	stop()
	put(t, dir, "keys/anchor", "{")
	d, _ := open(t, dir)
	if diff := cmp.Diff([]string{"all"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
}

func TestWorldWritableAnchorIsRefused(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	d.writeAnchor(t.Context())
	stop()
	must(t, os.Chmod(filepath.Join(dir, "keys", "anchor"), 0o666))
	if _, err := Open(t.Context(), options(dir)); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

// The store took no writes when it was frozen, and the broker died: the anchor remembers.
func TestFreezeThatTheStoreNeverTookIsInForceAfterTheStart(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	anchor, err := d.stack.Log.Anchor(t.Context(), []broker.Freeze{{Of: broker.FreezeTask, Name: "fix", Reason: "odd"}})
	must(t, err)
	must(t, auditlog.WriteAnchor(d.stack.anchor, anchor))
	stop()
	d, _ = open(t, dir)
	if diff := cmp.Diff([]string{"task:fix"}, frozen(t, d)); diff != "" {
		t.Error(diff)
	}
}

// A freeze that was lifted stays lifted, though the anchor was written before.
func TestLiftedFreezeStaysLifted(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	anchor, err := d.stack.Log.Anchor(t.Context(), []broker.Freeze{{Of: broker.FreezeTask, Name: "fix"}})
	must(t, err)
	must(t, auditlog.WriteAnchor(d.stack.anchor, anchor))
	must(t, d.stack.Store.Update(t.Context(), func(tx broker.Tx) error { // as a lift would
		return tx.Append(broker.Event{Type: broker.EventLifted, Time: options(dir).Now(), Actor: "human:alice", Subject: "task:fix"})
	}))
	stop()
	d, _ = open(t, dir)
	if got := frozen(t, d); len(got) > 0 {
		t.Errorf("frozen: %v", got)
	}
}
