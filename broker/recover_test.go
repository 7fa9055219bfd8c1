package broker_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// The variable behind env:DSN leads elsewhere after a restart: at the wrong provider there is no such
// credential, and that must not be taken for its end.
func TestVariableLeadsElsewhereWhileALeaseLives(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	elsewhere := &brokertest.Issuer{ID: "memory:elsewhere", Can: w.Staging.Can}
	w.Config.Configuration.Targets[broker.TargetRef{Environment: "staging", Target: "db"}] = broker.Target{Binding: "staging/db/1", Issuer: elsewhere}
	w.Reopen()
	w.Clock.Advance(30 * time.Minute)
	w.Sweep(t.Context())
	if lease := mustLeases(w)[0]; !lease.Open() || len(w.Staging.Live()) != 1 {
		t.Fatalf("the lease counts as %s, and the credential lives", lease.State)
	}
	w.Config.Configuration = w.Configuration()
	w.Reopen()
	w.Clock.Advance(time.Minute)
	w.Sweep(t.Context())
	if len(w.Staging.Live()) != 0 {
		t.Fatal("not ended after the variable was put right")
	}
}

func TestTargetRenamedWhileALeaseLives(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	targets := w.Config.Configuration.Targets
	targets[broker.TargetRef{Environment: "staging", Target: "orders-db"}] = broker.Target{Binding: "other", Issuer: w.Staging}
	delete(targets, broker.TargetRef{Environment: "staging", Target: "db"})
	w.Reopen()
	w.Clock.Advance(30 * time.Minute)
	w.Sweep(t.Context())
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
}

func TestStartOnAFullDiskStillEnds(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	w.Clock.Advance(30 * time.Minute)
	w.Store.Fail(errors.New("no space left on device"))
	w.Reopen()
	w.Sweep(t.Context())
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
	_, err := broker.New(t.Context(), func() broker.Config {
		c := w.Config
		fresh := &brokertest.Store{}
		fresh.Fail(errors.New("no space left on device"))
		c.Store = fresh
		return c
	}())
	if err == nil {
		t.Fatal("a store that never was opened on a full disk")
	}
}

func TestApprovedDeleteIsNotUsedUpByAProviderThatWasDown(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, request.ID)
	w.Staging.OnIssue = func(broker.Order) error { return errors.New("connection refused") }
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeUnavailable)
	w.Staging.OnIssue = nil
	w.MustCollect(request)
	_, err = w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeExpired)
	if live := w.Staging.Live(); len(live) != 1 {
		t.Fatalf("live: %v", live)
	}
}

func TestRestoreKnowsTheIdsOfTheTimeBetween(t *testing.T) {
	w := brokertest.NewWorld(t)
	if err := w.Restored(t.Context(), "checkpoint", "between0"); err != nil {
		t.Fatal(err)
	}
	w.Staging.Plant("hk-between0-0123456789abcdefghjkmnpqrs")
	if err := w.SweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
}

// A human revokes a key; asking the same approved request once more must not give another.
func TestRevokedKeyIsCollectedAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.orders:write")
	w.SignAs("bob", broker.ActApprove, request.ID)
	w.MustCollect(request)
	if err := w.Revoke(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, mustLeases(w)[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeDenied)
}

func TestRevokeDuringIssueUsesTheApprovalUp(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, request.ID)
	var revoked sync.WaitGroup
	w.Staging.OnIssue = func(order broker.Order) error {
		revoked.Go(func() {
			if err := w.Revoke(context.Background(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, order.Lease); err != nil {
				t.Error(err)
			}
		})
		for w.Events(broker.EventLeaseEnding) == 0 {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	revoked.Wait()
	w.WantCode(err, broker.CodeConflict)
	w.Staging.OnIssue = nil
	if _, err := w.Collect(t.Context(), w.Agent, request.ID); err == nil {
		t.Fatal("collected what a human revoked")
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
}

// closing is an issuer that says when it was closed.
type closing struct {
	*brokertest.Issuer
	closed *atomic.Bool
}

func (c closing) Close() error { c.closed.Store(true); return nil }

// A target is led elsewhere and back again, with another secret: the first issuer must not be the one that ends its leases.
func TestTargetThatComesBackWithAnotherSecret(t *testing.T) {
	w := brokertest.NewWorld(t)
	ref := broker.TargetRef{Environment: "staging", Target: "db"}
	reload := func(issuer closing, binding string) {
		t.Helper()
		next := *w.Broker.Configuration()
		next.Targets = maps.Clone(next.Targets)
		next.Targets[ref] = broker.Target{Issuer: issuer, Binding: binding}
		if err := w.Reload(t.Context(), socket, &next, nil); err != nil {
			t.Fatal(err)
		}
	}
	first, last := closing{w.Staging, new(atomic.Bool)}, closing{w.Staging, new(atomic.Bool)}
	reload(first, "a")
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	reload(closing{w.Staging, new(atomic.Bool)}, "b")
	w.Sweep(t.Context())
	if first.closed.Load() {
		t.Error("closed while a lease of it lives")
	}
	reload(last, "a")
	if !first.closed.Load() || last.closed.Load() {
		t.Errorf("the first is closed: %t, the last: %t", first.closed.Load(), last.closed.Load())
	}
	if err := w.Revoke(t.Context(), socket, mustLeases(w)[0].ID); err != nil {
		t.Fatal(err)
	}
}

// An environment is called otherwise while leases of it live: their target goes on under its old name, over any number of reloads.
func TestTargetThatWentOnUnderAnotherNameStillEndsItsLeases(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	old := broker.TargetRef{Environment: "staging", Target: "db"}
	for range 2 {
		next := *w.Broker.Configuration()
		next.Targets, next.Environments = maps.Clone(next.Targets), maps.Clone(next.Environments)
		if target, known := next.Targets[old]; known {
			next.Targets[broker.TargetRef{Environment: "stage", Target: "db"}] = target
			next.Environments["stage"] = next.Environments["staging"]
			delete(next.Targets, old)
			delete(next.Environments, "staging")
		}
		if err := w.Reload(t.Context(), socket, &next, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Revoke(t.Context(), socket, mustLeases(w)[0].ID); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) > 0 {
		t.Errorf("%v live on", live)
	}
}
