package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func TestLeavingOutAnEnvironmentDoesNotLeaveOutItsReviewers(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Groups["guards"] = []string{"carol", "dave"}
		production := c.Configuration.Environments["production"]
		production.Reviewers = []string{"guards"}
		c.Configuration.Environments["production"] = production
	})
	request, err := w.Submit(t.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging", "production"}, Scopes: []broker.Scope{w.Scope("db:public.orders:delete")},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.TrySign("bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: &broker.Narrowing{
		Items: []broker.NarrowedItem{{Environment: "production", Target: "db"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodePending)
}

func TestNarrowingAbuse(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read,delete")
	item := func(scopes ...string) broker.NarrowedItem {
		n := broker.NarrowedItem{Environment: "staging", Target: "db"}
		for _, text := range scopes {
			n.Scopes = append(n.Scopes, w.Scope(text))
		}
		return n
	}
	for name, narrowing := range map[string]broker.Narrowing{
		"a prefix that covers it":  {Items: []broker.NarrowedItem{item("db:public.*:read")}},
		"one action more":          {Items: []broker.NarrowedItem{item("db:public.orders:read,write")}},
		"another table":            {Items: []broker.NarrowedItem{item("db:public.orders:read", "db:public.customers:read")}},
		"another target":           {Items: []broker.NarrowedItem{item("db2:public.orders:read")}},
		"nothing":                  {Items: []broker.NarrowedItem{item()}},
		"no action":                {Items: []broker.NarrowedItem{{Environment: "staging", Target: "db", Scopes: []broker.Scope{{Target: "db", Resource: "public.orders"}}}}},
		"a longer time":            {TTL: 31 * time.Minute},
		"a time before now":        {TTL: -time.Minute},
		"less than a whole second": {TTL: 1500 * time.Millisecond},
	} {
		_, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: &narrowing})
		if err == nil {
			t.Errorf("%s: a statement was made", name)
		}
	}
}

func TestLeaseCapUnderConcurrentCollects(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.LeasesPerAgent = 3 })
	var wait sync.WaitGroup
	for range 16 {
		request := w.MustAsk("staging", "db:public.orders:read")
		wait.Go(func() { _, _ = w.Collect(t.Context(), w.Agent, request.ID) })
	}
	wait.Wait()
	if n := len(w.Staging.Live()); n != 3 {
		t.Fatalf("%d live, the cap is 3", n)
	}
}

func TestAgentWhoseNameBeginsWithAnothers(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.LeasesPerAgent = 1 })
	if err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: "claude/ci", Owner: "alice", State: broker.AgentActive, Thumbprint: "thumb", Key: json.RawMessage(`{}`)})
	}); err != nil {
		t.Fatal(err)
	}
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	child := broker.Caller{Kind: broker.CallerAgent, Name: "claude/ci", Key: "thumb"}
	if leases, err := w.Leases(t.Context(), child, true); err != nil || len(leases) != 0 {
		t.Fatalf("sees %v, %v", leases, err)
	}
	if requests, err := w.Requests(t.Context(), child, 10); err != nil || len(requests) != 0 {
		t.Fatalf("sees %v, %v", requests, err)
	}
	if err := w.RemoveAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "claude/ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude/ci"}); err != nil {
		t.Fatal(err)
	}
	if len(w.Staging.Live()) != 1 {
		t.Fatal("removing and freezing claude/ci ended a lease of claude")
	}
}

func TestFreezeThatCouldNotBeWrittenStopsLocalIssuersToo(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Can = broker.Capabilities{Kind: "local", Local: true}
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Store.Fail(errors.New("no space left on device"))
	_, _ = w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeTask, Name: "fix"})
	w.Store.Fail(nil)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeFrozen)
}

func TestTargetThatChangedWhileItWasConfirmed(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.SetID("memory:moved")
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	ceremony, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActConfirmTarget, Subject: "staging/db", Digest: w.SubjectDigest(broker.ActConfirmTarget, "staging/db")})
	if err != nil {
		t.Fatal(err)
	}
	w.Staging.SetID("memory:evil")
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-key", ceremony))
	w.WantCode(err, broker.CodeConflict)
	_, err = w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnconfirmed)
}

func TestTargetRemovedAndAddedAgainAsAnother(t *testing.T) {
	w := brokertest.NewWorld(t)
	socket, ref := broker.Caller{Kind: broker.CallerSocket}, broker.TargetRef{Environment: "staging", Target: "db"}
	without := w.Configuration()
	delete(without.Targets, ref)
	without.Hash = "config-2"
	again := w.Configuration()
	again.Targets[ref] = broker.Target{Binding: "staging/db/3", Issuer: &brokertest.Issuer{ID: "memory:other", Can: w.Staging.Can, Tables: w.Staging.Tables}}
	again.Hash = "config-3"
	for _, next := range []*broker.Configuration{without, again} {
		if err := w.Reload(t.Context(), socket, next, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnconfirmed)
}

func TestAgentThatHangsUpDuringIssueLeavesNothingUnaccounted(t *testing.T) {
	w := brokertest.NewWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	w.Staging.OnIssue = func(broker.Order) error { hangUp(); return nil }
	_, _ = w.Collect(ctx, w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	wantAccounted(w)
	wantAllEnded(w)
}

func TestKeyThatWasReplacedDuringIssue(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.OnIssue = func(broker.Order) error {
		return w.Store.Update(t.Context(), func(tx broker.Tx) error {
			return tx.Save(&broker.Agent{Name: "claude", Owner: "alice", State: broker.AgentActive, Thumbprint: "new", Key: json.RawMessage(`{}`)})
		})
	}
	_, err := w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	w.WantCode(err, broker.CodeUnauthenticated)
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
}

func TestIdempotencyKeyOfAnotherAgent(t *testing.T) {
	w := brokertest.NewWorld(t)
	if err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: "other", Owner: "alice", State: broker.AgentActive, Thumbprint: "thumb2", Key: json.RawMessage(`{}`)})
	}); err != nil {
		t.Fatal(err)
	}
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Idempotency: "k"}
	first, err := w.Submit(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	ask.Agent, ask.AgentKey = "other", "thumb2"
	second, err := w.Submit(t.Context(), ask)
	if err != nil || first.ID == second.ID {
		t.Fatalf("%s and %s, %v", first.ID, second.ID, err)
	}
}
