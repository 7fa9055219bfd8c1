package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
)

func freezeAll(t *testing.T, b *broker.Broker, until time.Time) {
	t.Helper()
	_, err := b.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll, Reason: "odd", Until: until})
	must(t, err)
}

func theFreeze(t *testing.T, b *broker.Broker, id string) broker.Freeze {
	t.Helper()
	freezes, err := b.Freezes(t.Context())
	must(t, err)
	at := slices.IndexFunc(freezes, func(f broker.Freeze) bool { return f.ID() == id })
	if at < 0 {
		t.Fatalf("%s is not frozen: %v", id, freezes)
	}
	return freezes[at]
}

// The attack: the copy that is put in place is from a time when everything was frozen for a while. Its
// own freeze must not stand in for the one that lasts until operators lift it.
func TestOlderCopyWithAFreezeThatEndsStaysFrozen(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	freezeAll(t, d.broker, time.Now().Add(time.Minute))
	stop()
	older := copyOf(t, dir)
	d, stop = open(t, dir)
	_, err := d.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeTask, Name: "fix", Reason: "odd"})
	must(t, err)
	d.writeAnchor(t.Context())
	stop()
	putBack(t, dir, older)
	d, _ = open(t, dir)
	if d.behind == nil {
		t.Fatal("the older copy was not noticed")
	}
	if freeze := theFreeze(t, d.broker, "all"); !freeze.Until.IsZero() {
		t.Errorf("a store behind its anchor thaws by itself at %s", freeze.Until)
	}
}

// refusing is a store that takes no writes while it is told so.
type refusing struct {
	broker.Store
	full atomic.Bool
}

func (r *refusing) Update(ctx context.Context, change func(broker.Tx) error) error {
	if r.full.Load() {
		return errors.New("disk full")
	}
	return r.Store.Update(ctx, change)
}

// A freeze that was made longer while the store took no writes: the list and the anchor must say so, or
// the next start knows the short one alone.
func TestFreezeMadeLongerWhileTheStoreTakesNoWritesIsKeptInTheAnchor(t *testing.T) {
	dir := folder(t)
	d, _ := open(t, dir)
	store := &refusing{Store: d.stack.Store}
	verifier, err := newVerifier(d.server.Origin)
	must(t, err)
	b, err := broker.New(t.Context(), broker.Config{
		Store: store, Sealer: d.stack.Keys, Verifier: verifier, Configuration: d.current.Configuration, Origin: d.server.Origin, Now: time.Now,
	})
	must(t, err)
	keeper := &anchorer{stack: d.stack, broker: b, log: slog.New(slog.DiscardHandler)}
	store.full.Store(true)
	task := broker.Freeze{Of: broker.FreezeTask, Name: "fix", Reason: "odd", Until: time.Now().Add(time.Minute)}
	for _, until := range []time.Time{task.Until, {}} {
		task.Until = until
		if _, err := b.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, task); broker.CodeOf(err) != broker.CodeUnavailable {
			t.Fatalf("got %v", err)
		}
		keeper.write(t.Context())
	}
	anchor, err := auditlog.ReadAnchor(d.stack.anchor)
	must(t, err)
	if len(anchor.Freezes) != 1 || !anchor.Freezes[0].Until.IsZero() {
		t.Errorf("the anchor keeps %+v", anchor.Freezes)
	}
}

// The same, when the shorter one is in the store.
func TestFreezeMadeLongerWhileTheStoreTakesNoWritesIsListedSo(t *testing.T) {
	dir := folder(t)
	d, _ := open(t, dir)
	freezeAll(t, d.broker, time.Now().Add(time.Minute))
	store := &refusing{Store: d.stack.Store}
	verifier, err := newVerifier(d.server.Origin)
	must(t, err)
	b, err := broker.New(t.Context(), broker.Config{
		Store: store, Sealer: d.stack.Keys, Verifier: verifier, Configuration: d.current.Configuration, Origin: d.server.Origin, Now: time.Now,
	})
	must(t, err)
	store.full.Store(true)
	if _, err := b.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll, Reason: "odd"}); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	if freeze := theFreeze(t, b, "all"); !freeze.Until.IsZero() {
		t.Errorf("it is listed as ending at %s", freeze.Until)
	}
}
