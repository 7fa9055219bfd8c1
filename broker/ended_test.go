package broker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// Nobody is blamed for an end that was another's: who or what ended a request, and whether it had been approved by
// then, are in its record.
func TestEndOfARequestIsNotBlamedOnTheAgent(t *testing.T) {
	bob := broker.Caller{Kind: broker.CallerHuman, Name: "bob"}
	approve := func(w *brokertest.World, r broker.Request) { w.SignAs("bob", broker.ActApprove, r.ID) }
	for name, c := range map[string]struct {
		scope  string
		before func(*brokertest.World, broker.Request)
		end    func(*brokertest.World, broker.Request) error
		state  broker.RequestState
		by     string
		passed bool
	}{
		"denied": {"db:public.orders:delete", nil, func(w *brokertest.World, r broker.Request) error {
			return w.Reject(w.Context(), "bob", r.ID, r.Digest(), "no")
		}, broker.RequestDenied, "human:bob", false},
		"withdrawn": {"db:public.orders:delete", nil, func(w *brokertest.World, r broker.Request) error {
			return w.Cancel(w.Context(), w.Agent, r.ID)
		}, broker.RequestCancelled, "agent:claude", false},
		"withdrawn when it was approved": {"db:public.orders:delete", approve, func(w *brokertest.World, r broker.Request) error {
			return w.Cancel(w.Context(), w.Agent, r.ID)
		}, broker.RequestCancelled, "agent:claude", true},
		"its agent removed": {"db:public.orders:delete", nil, func(w *brokertest.World, _ broker.Request) error {
			return w.RemoveAgent(w.Context(), bob, "claude")
		}, broker.RequestCancelled, "human:bob", false},
		"its agent removed when it was approved": {"db:public.orders:delete", approve, func(w *brokertest.World, _ broker.Request) error {
			return w.RemoveAgent(w.Context(), bob, "claude")
		}, broker.RequestCancelled, "human:bob", true},
		"a human reset": {"db:public.orders:delete", nil, func(w *brokertest.World, _ broker.Request) error {
			_, _, err := w.ResetHuman(w.Context(), "carol")
			return err
		}, broker.RequestCancelled, "shell", false},
		"nobody decided": {"db:public.orders:delete", nil, func(w *brokertest.World, _ broker.Request) error {
			return late(w, broker.PendingFor)
		}, broker.RequestExpired, "broker", false},
		"approved, not collected": {"db:public.orders:delete", approve, func(w *brokertest.World, _ broker.Request) error {
			return late(w, broker.CollectFor)
		}, broker.RequestExpired, "broker", true},
		"approved at the last of the hour but ten, not collected": {"db:public.orders:delete", func(w *brokertest.World, r broker.Request) {
			w.Clock.Advance(broker.PendingFor - broker.CollectFor) // the deadline stays the same by it
			approve(w, r)
		}, func(w *brokertest.World, _ broker.Request) error { return late(w, broker.CollectFor) }, broker.RequestExpired, "broker", true},
		"allowed by policy, not collected": {"db:public.orders:read", nil, func(w *brokertest.World, _ broker.Request) error {
			return late(w, broker.CollectFor)
		}, broker.RequestExpired, "broker", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := brokertest.NewWorld(t)
			request := w.MustAsk("staging", c.scope)
			if c.before != nil {
				c.before(w, request)
			}
			if err := c.end(w, request); err != nil {
				t.Fatal(err)
			}
			got := kept(w, request.ID)
			if got.State != c.state || got.ClosedBy != c.by || got.HadPassed() != c.passed {
				t.Errorf("%s by %q, had passed: %t", got.State, got.ClosedBy, got.HadPassed())
			}
			if got.Digest() != kept(w, request.ID).Digest() || got.Digest() != request.Digest() {
				t.Error("its end changed what was signed")
			}
		})
	}
}

func late(w *brokertest.World, by time.Duration) error {
	w.Clock.Advance(by + time.Second)
	w.Sweep(w.Context())
	return nil
}

// Requests that an older broker ended say less of it: whether they had been approved is told by their deadline.
func TestRequestEndedByAnOlderBrokerHadPassed(t *testing.T) {
	for text, passed := range map[string]bool{
		`{"state":"expired","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T13:00:00Z","decided":"2026-04-24T13:00:01Z"}`:   false,
		`{"state":"expired","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T12:15:00Z","decided":"2026-04-24T12:05:00Z"}`:   true,
		`{"state":"cancelled","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T13:00:00Z","decided":"2026-04-24T12:05:00Z"}`: false,
		`{"state":"expired","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T12:10:00Z","needs":[]}`:                         true,
		`{"state":"denied","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T13:00:00Z"}`:                                     false,
		`{"state":"collected","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T12:10:00Z"}`:                                  true,
		`{"state":"pending","created":"2026-04-24T12:00:00Z","deadline":"2026-04-24T13:00:00Z"}`:                                    false,
	} {
		var request broker.Request
		if err := json.Unmarshal([]byte(text), &request); err != nil {
			t.Fatal(err)
		}
		if request.HadPassed() != passed {
			t.Errorf("%s: had passed: %t", text, !passed)
		}
	}
}

// An approval that the agent's own owner may give is told in the log, before and after; elsewhere it is not.
func TestOneHumanInstallationIsToldInTheLog(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		staging, production := c.Configuration.Environments["staging"], c.Configuration.Environments["production"]
		staging.OwnerMayReview, production.OwnerMayReview = true, true // Validate refuses the second; it counts for nothing
		c.Configuration.Environments["staging"], c.Configuration.Environments["production"] = staging, production
	})
	own := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("alice", broker.ActApprove, own.ID)
	protected := w.MustAsk("production", "db:public.orders:delete")
	read := w.MustAsk("staging", "db:public.orders:read")
	for _, c := range []struct {
		kind broker.EventType
		id   string
		want string
	}{
		{broker.EventRequestSubmitted, own.ID, "staging"},
		{broker.EventRequestApproved, own.ID, "staging"},
		{broker.EventRequestSubmitted, protected.ID, ""},
		{broker.EventRequestSubmitted, read.ID, ""},
	} {
		if got := strings.Join(lastOf(w, c.kind, c.id).OwnerMayApprove, " "); got != c.want {
			t.Errorf("%s of %s: the owner may approve in %q, want %q", c.kind, c.id, got, c.want)
		}
	}
	plain := brokertest.NewWorld(t)
	if got := lastOf(plain, broker.EventRequestSubmitted, plain.MustAsk("staging", "db:public.orders:delete").ID).OwnerMayApprove; got != nil {
		t.Errorf("the owner may approve in %v, and no file says so", got)
	}
}

// A stolen session adds a passkey an hour after its human came and removes the first: it does not become a first one.
func TestFurtherPasskeyStaysOneWhenTheFirstIsGone(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	wantFurther(w, "dora-key", false)
	w.Clock.Advance(time.Hour)
	if err := w.OfferPasskey(t.Context(), "dora", broker.Passkey{ID: "second-key"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("dora", broker.ActAddPasskey, "second-key")
	digest := w.SubjectDigest(broker.ActRemovePasskey, "dora-key")
	ceremony, err := w.Prepare(t.Context(), "dora", broker.Intent{Act: broker.ActRemovePasskey, Subject: "dora-key", Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Sign(t.Context(), "dora", ceremony.Nonce, brokertest.Assert(t, "second-key", ceremony)); err != nil {
		t.Fatal(err)
	}
	wantFurther(w, "second-key", true)
}

// Whoever talks operators into an invite that replaces lost passkeys is announced as one who has a further one.
func TestPasskeyThatReplacesLostOnesIsAFurtherOne(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, code, err := w.InviteHuman(t.Context(), socket, "bob")
	if err != nil {
		t.Fatal(err)
	}
	w.SignAs("carol", broker.ActAdmitHuman, "bob")
	w.SignAs("alice", broker.ActAdmitHuman, "bob")
	if err := w.AddPasskey(t.Context(), "bob", code, broker.Passkey{ID: "new-key"}); err != nil {
		t.Fatal(err)
	}
	wantFurther(w, "new-key", true)
}

func wantFurther(w *brokertest.World, id string, further bool) {
	w.Helper()
	passkey, err := w.Passkey(w.Context(), id)
	if err != nil || passkey.Further != further {
		w.Errorf("%s: further: %t, %v", id, passkey.Further, err)
	}
}
