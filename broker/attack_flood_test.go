package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// denials gives the lines of the log for denied asks, how many asks they stand for, and how long they are.
func denials(w *brokertest.World) (lines []broker.RequestEvent, asks, size int) {
	w.Helper()
	for _, e := range w.Store.Log() {
		if e.Type != broker.EventRequestDenied {
			continue
		}
		var line broker.RequestEvent
		if err := json.Unmarshal(e.Data, &line); err != nil {
			w.Fatal(err)
		}
		lines, asks, size = append(lines, line), asks+max(1, line.Count), size+len(e.Data)
	}
	return lines, asks, size
}

// denied asks for much that policy does not give, each time for something else.
func denied(w *brokertest.World, number int) error {
	scopes := make([]broker.Scope, 64)
	for i := range scopes {
		scopes[i] = broker.Scope{Target: "db", Resource: broker.Resource(fmt.Sprintf("secrets.%s_%d_%d", strings.Repeat("x", 400), number, i)), Actions: broker.Admin}
	}
	_, err := w.Submit(w.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: scopes, Reason: strings.Repeat("w ", 1000),
	})
	return err
}

// The attack: an agent asks day and night for what it does not get, each ask 29 KB, until the disk is full.
func TestAFloodOfDeniedAsksIsAFewLines(t *testing.T) {
	w := brokertest.NewWorld(t)
	const asks = 1200
	heard := 0
	for n := range asks { // ten a second
		w.Clock.Advance(100 * time.Millisecond)
		err := denied(w, n)
		if broker.CodeOf(err) == broker.CodeDenied {
			heard++
			continue
		}
		w.WantCode(err, broker.CodeSlowDown)
		if e, ok := errors.AsType[*broker.Error](err); !ok || e.After <= 0 || e.After > 20*time.Second {
			t.Fatalf("no time is named: %v", err)
		}
		if n%5 == 0 {
			w.Sweep(t.Context())
		}
	}
	w.Clock.Advance(time.Minute)
	w.Sweep(t.Context())
	lines, told, size := denials(w)
	if heard > 30+6 || len(lines) > heard+3 || size > len(lines)*8000 {
		t.Errorf("%d were heard, and are %d lines of %d bytes", heard, len(lines), size)
	}
	if told != asks {
		t.Errorf("the log tells of %d asks, want %d", told, asks)
	}
	if first := lines[0].Items[0].Scopes; len(first) > 6 || !strings.Contains(first[len(first)-1], "SHA-256 of all 64") {
		t.Errorf("of the scopes is told: %d, the last is %.100q", len(first), first[len(first)-1])
	}
	last := lines[len(lines)-1]
	if last.Code != broker.CodeSlowDown || last.Count == 0 || last.Since.IsZero() || last.Owner != "alice" || last.Task != "fix" || last.Outcome != broker.Deny {
		t.Errorf("the last line is %+v", last)
	}
	if h := historyFor(w, "bob", w.MustAsk("staging", "db:public.orders:delete")); h.Agent.Refused != heard {
		t.Errorf("the history counts %d, want the %d that policy looked at", h.Agent.Refused, heard)
	}
}

// Many at the same time are not more lines than one after the other, and all are counted.
func TestAFloodOfDeniedAsksAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	var wait sync.WaitGroup
	for n := range 200 {
		wait.Go(func() { _ = denied(w, n) })
	}
	wait.Wait()
	if lines, _, _ := denials(w); len(lines) != 30 {
		t.Errorf("%d lines, want 30", len(lines))
	}
	w.Clock.Advance(time.Minute)
	w.Sweep(t.Context())
	if lines, asks, _ := denials(w); len(lines) != 31 || asks != 200 {
		t.Errorf("%d lines tell of %d asks, want 31 and 200", len(lines), asks)
	}
}

// An agent that is not heard is heard again after a while; others are heard all the time, and what it has stays its own.
func TestAnAgentThatFloodsIsHeardAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	lease := w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))[0].Lease
	for n := range 31 {
		_ = denied(w, n)
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeSlowDown)
	if err := w.Release(t.Context(), w.Agent, lease); err != nil {
		t.Errorf("it cannot give back what it has: %v", err)
	}
	enrolled(w, "other")
	if _, err := w.Submit(t.Context(), broker.Ask{Agent: "other", AgentKey: "other-thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")}}); err != nil {
		t.Errorf("another agent: %v", err)
	}
	w.Clock.Advance(20 * time.Second)
	for range 100 { // what is given costs none of it
		w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	}
}

// enrolled puts a second agent of alice's beside claude.
func enrolled(w *brokertest.World, name string) {
	w.Helper()
	err := w.Store.Update(w.Context(), func(tx broker.Tx) error {
		agent := &broker.Agent{Name: "claude"}
		if err := tx.Load(agent); err != nil {
			return err
		}
		agent.Name, agent.Thumbprint = name, name+"-thumb"
		return tx.Save(agent)
	})
	if err != nil {
		w.Fatal(err)
	}
}

// The attack: one ask that waits for a human, made again and again with other words.
func TestAFloodOfWhatWaitsAlreadyIsAFewLines(t *testing.T) {
	w := brokertest.NewWorld(t)
	first := w.MustAsk("staging", "db:public.orders:delete")
	for range 500 {
		if again, err := w.Ask("staging", "db:public.orders:delete"); err == nil && again.ID != first.ID {
			t.Fatal("the human is asked twice")
		}
	}
	if n := w.Events(broker.EventRequestRepeated); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
	w.Clock.Advance(time.Minute)
	w.Sweep(t.Context())
	log := w.Store.Log()
	var counted broker.RequestEvent
	if last := log[len(log)-1]; last.Type != broker.EventRequestRepeated || last.Subject != first.ID || json.Unmarshal(last.Data, &counted) != nil || counted.Count != 470 {
		t.Errorf("the last line is %s of %s with %s, want the other 470 repetitions", last.Type, last.Subject, last.Data)
	}
	if h := historyFor(w, "bob", w.MustAsk("staging", "db:public.customers:delete")); h.Agent.Refused != 0 {
		t.Errorf("the history says that policy refused %d", h.Agent.Refused)
	}
}

// The attack on honest people: forty jobs wait for one human, and no other job of their agent is heard.
func TestJobsThatWaitKeepNoOtherJobFromBeingHeard(t *testing.T) {
	w := brokertest.NewWorld(t)
	read := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")}}
	for range 40 {
		w.MustAsk("staging", "db:public.orders:delete")
	}
	for n := range 60 {
		w.Clock.Advance(5 * time.Second)
		w.MustAsk("staging", "db:public.orders:delete")
		_, credentials, err := w.Take(t.Context(), read)
		if err != nil {
			t.Fatalf("read %d: %v", n, err)
		}
		if err := w.Release(t.Context(), w.Agent, credentials[0].Lease); err != nil {
			t.Fatal(err)
		}
	}
}

// The attack: what policy allows is asked for all day and never fetched; each is a record that is kept.
func TestAllowedAsksThatNobodyCollectsAreBounded(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Limits = broker.Limits{PendingPerAgent: 2, LeasesPerAgent: 3}
	})
	first := w.MustAsk("staging", "db:public.orders:read")
	for range 4 {
		w.MustAsk("staging", "db:public.orders:read")
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeSlowDown)
	_, _, err = w.Take(t.Context(), broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")}})
	w.WantCode(err, broker.CodeSlowDown)
	w.MustCollect(first)
	w.MustAsk("staging", "db:public.orders:read") // in the place of the first
	_, err = w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeSlowDown)
	w.Clock.Advance(broker.CollectFor + time.Second)
	w.Sweep(t.Context())
	w.MustAsk("staging", "db:public.orders:read")
}

// The attack: it is withdrawn at once, and makes room for the next.
func TestAllowedAsksThatAreWithdrawnAreBounded(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Limits = broker.Limits{PendingPerAgent: 2, LeasesPerAgent: 3}
	})
	for n := range 300 {
		request, err := w.Ask("staging", "db:public.orders:read")
		if err == nil {
			err = w.Cancel(t.Context(), w.Agent, request.ID)
		}
		if err != nil {
			w.WantCode(err, broker.CodeSlowDown)
		} else if n >= 30 {
			t.Fatalf("the ask of number %d was heard", n)
		}
	}
	if n := w.Events(broker.EventRequestSubmitted); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
}

// The attack: what cannot be issued, because the agent has all the leases that it may have, is collected again and again.
func TestAFloodOfCollectsThatAreRefusedIsAFewLines(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.LeasesPerAgent = 1 })
	held := w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))[0].Lease
	request := w.MustAsk("staging", "db:public.orders:read")
	for range 200 {
		_, err := w.Collect(t.Context(), w.Agent, request.ID)
		w.WantCode(err, broker.CodeSlowDown)
	}
	if n := w.Events(broker.EventCollectRefused); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
	if err := w.Release(t.Context(), w.Agent, held); err != nil {
		t.Fatal(err)
	}
	w.MustCollect(request) // it gets what it was given all the same
}

// What was not heard is told once the store takes a line again, and when the broker stops.
func TestAFloodIsToldThoughTheStoreRefusesAndTheBrokerStops(t *testing.T) {
	w := brokertest.NewWorld(t)
	for n := range 40 {
		_ = denied(w, n)
	}
	w.Clock.Advance(time.Minute)
	w.Store.Fail(errors.New("full"))
	w.Sweep(t.Context())
	w.Store.Fail(nil)
	for n := range 50 { // the minute brought three more, and 47 are not heard
		_ = denied(w, 40+n)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_ = w.Run(ctx)
	lines, asks, _ := denials(w)
	if asks != 90 || len(lines) != 34 {
		t.Errorf("%d lines tell of %d asks, want 34 and 90", len(lines), asks)
	}
}

// Many jobs of one agent wait for one human: each is told which request that is, however often they asked.
func TestParallelJobsThatWaitForAHumanAreAllTold(t *testing.T) {
	w := brokertest.NewWorld(t)
	for n := range 100 {
		if _, err := w.Ask("staging", "db:public.orders:delete"); err != nil {
			t.Fatalf("job %d: %v", n, err)
		}
	}
	if lines := w.Events(broker.EventRequestRepeated); lines > 30 {
		t.Errorf("100 jobs are %d lines", lines)
	}
}

// An agent at its limit of leases asks for more, and is heard as soon as there is room.
func TestAnAgentAtItsLeaseLimitIsHeardOn(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.Limits.LeasesPerAgent = "config-2", 64
	reconfigure(w, next)
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")}}
	var first string
	for range 110 {
		if _, credentials, err := w.Take(t.Context(), ask); err == nil && first == "" {
			first = credentials[0].Lease
		} else if err != nil {
			w.WantCode(err, broker.CodeSlowDown)
		}
	}
	if err := w.Release(t.Context(), w.Agent, first); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Take(t.Context(), ask); err != nil {
		t.Errorf("there is room, and: %v", err)
	}
}
