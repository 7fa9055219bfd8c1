package broker_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func taking(w *brokertest.World, scope string) broker.Ask {
	return broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope(scope)}}
}

func TestTakeWritesRequestAndLeaseAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	before := w.Store.Updates()
	request, credentials, err := w.Take(t.Context(), taking(w, "db:public.orders:read"))
	if err != nil || len(credentials) != 1 || request.State != broker.RequestCollected {
		t.Fatalf("%s, %d credentials, %v", request.State, len(credentials), err)
	}
	if n := w.Store.Updates() - before; n != 2 {
		t.Errorf("%d transactions, want 2: intent with the request, and live", n)
	}
	for _, kind := range []broker.EventType{broker.EventRequestSubmitted, broker.EventLeaseIssuing, broker.EventLeaseIssued} {
		if w.Events(kind) != 1 {
			t.Errorf("%d events %s, want 1", w.Events(kind), kind)
		}
	}
	if _, err := w.Collect(t.Context(), w.Agent, request.ID); err != nil { // a lost answer
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 1 {
		t.Fatalf("live: %v", live)
	}
}

func TestTakeOfADeleteWaitsForAHuman(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, credentials, err := w.Take(t.Context(), taking(w, "db:public.orders:delete"))
	if err != nil || len(credentials) != 0 || request.State != broker.RequestPending || w.Staging.Made() != 0 {
		t.Fatalf("%s, %d credentials, %v", request.State, len(credentials), err)
	}
}

func TestTakeTwiceAtOnceWithOneIdempotencyKey(t *testing.T) {
	w := brokertest.NewWorld(t)
	ask := taking(w, "db:public.orders:read")
	ask.Idempotency = "k"
	var mu sync.Mutex
	var wait sync.WaitGroup
	got := 0
	for range 16 {
		wait.Go(func() {
			_, credentials, err := w.Take(t.Context(), ask)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			got += len(credentials)
			mu.Unlock()
		})
	}
	wait.Wait()
	if got != 1 || len(w.Staging.Live()) != 1 {
		t.Fatalf("%d credentials, %d live", got, len(w.Staging.Live()))
	}
}

func TestTakeOnAFullDiskOrUnderAFreezeIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Store.Fail(errors.New("no space left on device"))
	if _, _, err := w.Take(t.Context(), taking(w, "db:public.orders:read")); err == nil {
		t.Fatal("issued on a full disk")
	}
	w.Store.Fail(nil)
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll}); err != nil {
		t.Fatal(err)
	}
	_, _, err := w.Take(t.Context(), taking(w, "db:public.orders:read"))
	w.WantCode(err, broker.CodeFrozen)
	if w.Staging.Made() != 0 {
		t.Fatal("something was made")
	}
}
