package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func historyFor(w *brokertest.World, human string, request broker.Request) broker.History {
	w.Helper()
	h, err := w.History(w.Context(), broker.Caller{Kind: broker.CallerHuman, Name: human}, request)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// probe asks n times for what policy does not give.
func probe(w *brokertest.World, task string, n int) {
	w.Helper()
	for range n {
		_, err := w.Submit(w.Context(), broker.Ask{
			Agent: "claude", AgentKey: "thumb", Task: task, Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:secrets:admin")},
		})
		w.WantCode(err, broker.CodeDenied)
	}
}

func countsKept(w *brokertest.World) (n int) {
	w.Helper()
	err := w.Store.View(w.Context(), func(r broker.Reader) error {
		return r.Scan("refusals", "", func([]byte) error { n++; return nil })
	})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// An agent that tries what policy forbids, and then asks for something harmless, does not look new to its reviewer.
func TestProbesThatPolicyRefusedAreInTheHistory(t *testing.T) {
	w := brokertest.NewWorld(t)
	first := w.MustAsk("staging", "db:public.orders:delete")
	probe(w, "fix", 5)
	if again := w.MustAsk("staging", "db:public.orders:delete"); again.ID != first.ID || again.Repeats != 1 {
		t.Errorf("a probe between two asks kept them from folding: %s, %d", again.ID, again.Repeats)
	}
	w.Clock.Advance(24 * time.Hour)
	probe(w, "fix", 2)
	request := w.MustAsk("staging", "db:public.customers:delete")
	h := historyFor(w, "bob", request)
	if h.Agent.Refused != 7 || h.Task.Refused != 7 || h.Agent.Asked != 1 {
		t.Errorf("%+v", h)
	}
	if h := historyFor(w, "nobody", request); h.Agent.Refused != 0 || h.Task.Refused != 0 {
		t.Errorf("told to a stranger: %+v", h)
	}
	owned := request
	owned.Owner = "dora" // who has no role
	if h := historyFor(w, "dora", owned); h.Agent.Refused != 7 || h.Task.Refused != 0 {
		t.Errorf("the owner is told of others' agents too: %+v", h)
	}
	if h := historyFor(w, "bob", first); h.Agent.Refused != 5 {
		t.Errorf("before the first there were %d, want those of its own day", h.Agent.Refused)
	}
}

// The attack: tasks that are made up, a new name each time, to fill the disk, or to push the real probes out of the count.
func TestProbesUnderMadeUpTasksFillNoDiskAndHideNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	for i := range 300 {
		probe(w, fmt.Sprintf("made-up-%d", i), 1)
		w.Clock.Advance(20 * time.Second) // as often as an agent that asks for nothing is heard
	}
	probe(w, "fix", 3)
	if n := countsKept(w); n != 2 {
		t.Errorf("%d records are kept of a day, want one for the task that there is and one for all others", n)
	}
	if h := historyFor(w, "bob", w.MustAsk("staging", "db:public.orders:delete")); h.Agent.Refused != 303 || h.Task.Refused != 3 {
		t.Errorf("%+v", h)
	}
}

// What was refused is forgotten after as long as a history looks back.
func TestRefusalsAreForgottenAfterAMonth(t *testing.T) {
	w := brokertest.NewWorld(t)
	probe(w, "fix", 4)
	w.Clock.Advance(29 * 24 * time.Hour)
	w.Sweep(t.Context())
	request := w.MustAsk("staging", "db:public.orders:delete")
	if h := historyFor(w, "bob", request); h.Agent.Refused != 4 || countsKept(w) != 1 {
		t.Errorf("after 29 days: %+v, %d kept", h, countsKept(w))
	}
	w.Clock.Advance(2 * 24 * time.Hour)
	if h := historyFor(w, "bob", w.MustAsk("staging", "db:public.customers:delete")); h.Agent.Refused != 0 {
		t.Errorf("after 31 days, before any sweep: %+v", h)
	}
	w.Sweep(t.Context())
	if n := countsKept(w); n != 0 {
		t.Errorf("after 31 days %d are kept", n)
	}
}

// A target that no operator has confirmed is refused too, and that is not the agent's doing.
func TestRefusalForWhatOthersMustMendIsNotHeldAgainstTheAgent(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.SetID("memory:another")
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnconfirmed)
	if n := countsKept(w); n != 0 || w.Events(broker.EventRequestDenied) != 1 {
		t.Errorf("%d kept, %d recorded", n, w.Events(broker.EventRequestDenied))
	}
}
