package web

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// tiring is a World and the agent that wants its reviewers to give in.
type tiring struct {
	*brokertest.World
	n int
}

func newTiring(t *testing.T, limit int) *tiring {
	t.Helper()
	return &tiring{World: brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.PendingPerAgent = limit })}
}

func (w *tiring) asks(change ...func(*broker.Ask)) (broker.Request, error) {
	w.Helper()
	ask := broker.Ask{Agent: "claude", AgentKey: w.Agent.Key, Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read,delete")}}
	for _, c := range change {
		c(&ask)
	}
	return w.Submit(w.Context(), ask)
}

// another is an ask that differs from all before in its life, by a second.
func (w *tiring) another() (broker.Request, error) {
	w.Helper()
	w.n++
	return w.asks(func(a *broker.Ask) { a.TTL = 20*time.Minute - time.Duration(w.n)*time.Second })
}

func (w *tiring) no(request broker.Request) {
	w.Helper()
	if err := w.Reject(w.Context(), "bob", request.ID, request.Digest(), "no"); err != nil {
		w.Fatal(err)
	}
}

// otherWords ask for what newTiring's agent asks, and have the same effect to the last bit.
func otherWords(w *tiring) map[string]func(*broker.Ask) {
	both := []broker.Scope{w.Scope("db:public.orders:delete"), w.Scope("db:public.orders:read")}
	return map[string]func(*broker.Ask){
		"other words":               func(a *broker.Ask) { a.Reason = "it is urgent, and the CEO says so" },
		"in another order":          func(a *broker.Ask) { a.Scopes = []broker.Scope{w.Scope("db:public.orders:delete,read")} },
		"in two parts":              func(a *broker.Ask) { a.Scopes = both },
		"twice":                     func(a *broker.Ask) { a.Scopes = append(a.Scopes, a.Scopes...) },
		"the environment twice":     func(a *broker.Ask) { a.Environments = []string{"staging", "staging"} },
		"with a new key to repeat":  func(a *broker.Ask) { a.Idempotency = "another" },
		"the task's own life":       func(a *broker.Ask) { a.TTL = 30 * time.Minute },
		"a pattern for the one":     func(a *broker.Ask) { a.Scopes = []broker.Scope{w.Scope("db:public.o*:read,delete")} },
		"a pattern and the one":     func(a *broker.Ask) { a.Scopes = append(a.Scopes, w.Scope("db:public.orde*:read")) },
		"all of that, and a reason": func(a *broker.Ask) { a.Scopes, a.TTL, a.Reason = both, 30*time.Minute, "please" },
	}
}

// TestTheSameInOtherWordsIsOneQuestion: while it waits it is the same request; after a no it is the same no.
func TestTheSameInOtherWordsIsOneQuestion(t *testing.T) {
	for name, change := range otherWords(newTiring(t, 20)) {
		t.Run(name, func(t *testing.T) {
			w := newTiring(t, 20)
			first, err := w.asks()
			if err != nil {
				t.Fatal(err)
			}
			again, err := w.asks(change)
			if err != nil || again.ID != first.ID {
				t.Errorf("while it waits: another request (%s), %v", again.ID, err)
			}
			w.no(first)
			if again.ID != first.ID && err == nil {
				w.no(again)
			}
			told, err := w.asks(change) // with the same Idempotency-Key: the one that was denied
			if told.State != broker.RequestDenied && broker.CodeOf(err) != broker.CodeDenied {
				t.Errorf("after the no: %v", err)
			}
			w = newTiring(t, 20)
			if first, err = w.asks(); err != nil {
				t.Fatal(err)
			}
			w.no(first)
			if _, err = w.asks(change); broker.CodeOf(err) != broker.CodeDenied {
				t.Errorf("after a no to the first words: %v", err)
			}
		})
	}
}

// TestSmallChangesAreCappedAndThenRest: what differs by a second is another question, and there are few of them: so many at
// once, and after three noes ten minutes of rest, after six an hour.
func TestSmallChangesAreCappedAndThenRest(t *testing.T) {
	w := newTiring(t, 4)
	var waiting []broker.Request
	for range 4 {
		request, err := w.another()
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, request)
	}
	_, err := w.another()
	w.WantCode(err, broker.CodeSlowDown)
	for i, request := range waiting {
		w.no(request)
		_, err := w.another()
		if i < 2 && err != nil || i >= 2 && broker.CodeOf(err) != broker.CodeSlowDown {
			t.Errorf("after %d noes: %v", i+1, err)
		}
	}
	asked := 0
	for range 60 { // an hour of trying each minute, while a human denies at once whatever comes
		w.Clock.Advance(time.Minute)
		if request, err := w.another(); err == nil {
			asked++
			w.no(request)
		}
	}
	if asked > 3 {
		t.Errorf("a human was asked %d times in the hour after four noes", asked)
	}
}

// TestAnAgentThatWithdrawsDoesNotEscapeItsReviewers: it asks, and takes it back before anybody can say no, all day.
func TestAnAgentThatWithdrawsDoesNotEscapeItsReviewers(t *testing.T) {
	w := newTiring(t, 20)
	asked := 0
	for range 100 {
		w.Clock.Advance(10 * time.Second)
		request, err := w.asks()
		if err != nil {
			w.WantCode(err, broker.CodeSlowDown)
			continue
		}
		asked++
		if err := w.Cancel(t.Context(), w.Agent, request.ID); err != nil {
			t.Fatal(err)
		}
	}
	if asked > 20 {
		t.Errorf("humans were asked %d times within 17 minutes, and could never say no", asked)
	}
}

// TestTwoKeysAreOneAgent: an agent that enrols anew is the one that was told no.
func TestTwoKeysAreOneAgent(t *testing.T) {
	w := newTiring(t, 3)
	first, err := w.asks()
	if err != nil {
		t.Fatal(err)
	}
	w.no(first)
	for range 2 {
		if _, err := w.another(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		agent := &broker.Agent{Name: "claude"}
		if err := tx.Load(agent); err != nil {
			return err
		}
		agent.FormerThumbs, agent.Thumbprint = append(agent.FormerThumbs, agent.Thumbprint), "thumb-2"
		return tx.Save(agent)
	}); err != nil {
		t.Fatal(err)
	}
	w.Agent.Key = "thumb-2"
	_, err = w.asks()
	w.WantCode(err, broker.CodeDenied)
	if _, err := w.another(); err != nil {
		t.Fatal(err)
	}
	_, err = w.another()
	w.WantCode(err, broker.CodeSlowDown) // those of the former key fill the same places
}

// TestWhatExpiredIsAskedOncePerHour: nobody answered; the same may be asked again, and waits an hour again.
func TestWhatExpiredIsAskedOncePerHour(t *testing.T) {
	w := newTiring(t, 20)
	ids := map[string]bool{}
	for range 60 * 3 {
		request, err := w.asks()
		if err != nil {
			t.Fatal(err)
		}
		ids[request.ID] = true
		w.Clock.Advance(time.Minute)
		w.Sweep(t.Context())
	}
	if len(ids) > 3 {
		t.Errorf("humans were asked %d times in three hours", len(ids))
	}
}

// TestOperationsAndRequestsRestTogether: three noes are three noes, to requests or to calls through the gateway.
func TestOperationsAndRequestsRestTogether(t *testing.T) {
	w := newTiring(t, 20)
	can := broker.Capabilities{Kind: "memory", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}
	w.Staging.Can = can
	w.Policy.Gives = []broker.Scope{w.Scope("db:service/*:read,write")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:volume/*:delete")}
	given, err := w.asks(func(a *broker.Ask) { a.Scopes = []broker.Scope{w.Scope("db:service/*:read,write")} })
	if err != nil {
		t.Fatal(err)
	}
	lease, err := w.Present(t.Context(), w.MustCollect(given)[0].Gateway.Token, w.Agent.Key)
	if err != nil {
		t.Fatal(err)
	}
	call := func(volume, words string) (string, error) {
		_, err := w.Use(t.Context(), lease, broker.Call{Operation: "volumeDelete " + volume + words, Touches: []broker.Touched{{
			Names: []broker.Resource{broker.Resource("volume/" + volume)}, Actions: broker.Delete, Places: []broker.Place{{Identity: "memory:staging", Shown: "staging"}},
		}}})
		e, _ := errors.AsType[*broker.Error](err)
		if e == nil {
			return "", err
		}
		return e.Request, err
	}
	volume := func(name string) (broker.Request, error) {
		return w.asks(func(a *broker.Ask) { a.Scopes = []broker.Scope{w.Scope("db:volume/" + name + ":delete")} })
	}
	deny := func(id string) {
		t.Helper()
		request, err := w.Request(t.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
		if err != nil {
			t.Fatal(err)
		}
		w.no(request)
	}
	for i := range 2 {
		id, err := call(fmt.Sprintf("v%d", i), "")
		w.WantCode(err, broker.CodePending)
		deny(id)
		_, err = call(fmt.Sprintf("v%d", i), "")
		w.WantCode(err, broker.CodeDenied) // the very same call
	}
	request, err := volume("v7")
	if err != nil {
		t.Fatal(err)
	}
	w.no(request)
	_, err = volume("v8")
	w.WantCode(err, broker.CodeSlowDown)
	_, err = call("v9", "")
	w.WantCode(err, broker.CodeSlowDown)
	w.Clock.Advance(11 * time.Minute)
	if _, err := call("v9", ""); broker.CodeOf(err) != broker.CodePending {
		t.Errorf("after the rest: %v", err)
	}
}
