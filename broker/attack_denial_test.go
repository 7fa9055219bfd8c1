package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// A provider that hangs holds up no denial: whoever says "deny and freeze" is not overruled meanwhile.
func TestDenyAndFreezeWhileTheProviderHangs(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	request := w.MustAsk("staging", "db:public.orders:delete")
	hangs := make(chan struct{})
	w.Staging.OnRevoke = func(string) error { <-hangs; return nil }
	done := make(chan error, 1)
	go func() { done <- w.RejectAndFreeze(t.Context(), "bob", request.ID, request.Digest(), "no") }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := w.Await(ctx, w.Agent, request.ID, 0)
	if err != nil || got.State != broker.RequestDenied || got.Verdict != "no" {
		t.Errorf("while the provider hangs the agent reads %s (%q), %v", got.State, got.Verdict, err)
	}
	w.WantCode(w.TrySign("carol", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}), broker.CodeConflict)
	select {
	case err := <-done:
		t.Errorf("done before the leases are ended: %v", err)
	default:
	}
	close(hangs)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Errorf("live: %v", live)
	}
}

// hangingUp is a store whose caller goes away with the first write.
type hangingUp struct {
	*brokertest.Store
	hangUp func()
}

func (s *hangingUp) Update(ctx context.Context, change func(broker.Tx) error) error {
	s.hangUp()
	return s.Store.Update(ctx, change)
}

// A page that is closed, or a phone that loses the network, takes nothing back: the agent is frozen, its lease ended,
// and the request denied.
func TestDenyAndFreezeWhenTheHumanHangsUp(t *testing.T) {
	store := &hangingUp{hangUp: func() {}}
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		store.Store = c.Store.(*brokertest.Store)
		c.Store = store
	})
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	request := w.MustAsk("staging", "db:public.orders:delete")
	ctx, cancel := context.WithCancel(t.Context())
	store.hangUp = cancel
	if err := w.RejectAndFreeze(ctx, "bob", request.ID, request.Digest(), "no"); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Fatal("nobody hung up")
	}
	if got := kept(w, request.ID); got.State != broker.RequestDenied || got.DecidedBy != "human:bob" {
		t.Errorf("%s by %s", got.State, got.DecidedBy)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Errorf("live: %v", live)
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
}

// What is refused for its words freezes nobody.
func TestDenyAndFreezeInTooManyWords(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.WantCode(w.RejectAndFreeze(t.Context(), "bob", request.ID, request.Digest(), strings.Repeat("x", 2001)), broker.CodeInvalid)
	if w.Events(broker.EventFrozen) != 0 {
		t.Error("frozen all the same")
	}
}

// kept is a request as it is stored.
func kept(w *brokertest.World, id string) broker.Request {
	w.Helper()
	request, err := w.Request(w.Context(), socket, id)
	if err != nil {
		w.Fatal(err)
	}
	return request
}
