package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func TestRoutineWorkGoesThroughAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read,write")
	if request.State != broker.RequestApproved {
		t.Fatalf("state %s, want approved", request.State)
	}
	credentials := w.MustCollect(request)
	if len(credentials) != 1 || !credentials[0].Expires.Equal(w.Clock.Now().Add(30*time.Minute)) {
		t.Fatalf("got %v", credentials)
	}
	if live := w.Staging.Live(); len(live) != 1 || !strings.HasPrefix(live[0], "hk-"+w.Installation().ID+"-") {
		t.Fatalf("live at the provider: %v", live)
	}
	for _, kind := range []broker.EventType{broker.EventRequestSubmitted, broker.EventLeaseIssuing, broker.EventLeaseIssued} {
		if w.Events(kind) != 1 {
			t.Errorf("%d events %s, want 1", w.Events(kind), kind)
		}
	}
}

func TestPrefixIsExpandedToConcreteResources(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.*:read")
	got := strings.Join(broker.Texts(request.Items[0].Description.Scopes), " ")
	if want := "db:public.customers:read db:public.orders:read"; got != want {
		t.Fatalf("described %s, want %s", got, want)
	}
}

func TestLeaseEndsAtItsTime(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	w.Clock.Advance(29 * time.Minute)
	w.Sweep(t.Context())
	if len(w.Staging.Live()) != 1 {
		t.Fatal("the lease ended early")
	}
	w.Clock.Advance(time.Minute)
	w.Sweep(t.Context())
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("alive after its time: %v", live)
	}
	leases, err := w.Leases(t.Context(), w.Agent, true)
	if err != nil || leases[0].State != broker.LeaseEnded || leases[0].Cause != broker.CauseExpired || leases[0].Handle != nil {
		t.Fatalf("lease %+v, %v", leases, err)
	}
}

func TestDeleteWaitsForAHumanWhateverAFileSays(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Policy.Gives = append(w.Policy.Gives, w.Scope("db:public.*:delete,admin")) // a file that says too much
	request := w.MustAsk("staging", "db:public.orders:delete")
	if request.State != broker.RequestPending {
		t.Fatalf("state %s, want pending", request.State)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodePending)
	w.SignAs("bob", broker.ActApprove, request.ID)
	w.MustCollect(request)
	if w.Staging.Made() != 1 {
		t.Fatalf("made %d", w.Staging.Made())
	}
}

func TestProtectedWantsTwoDistinctHumansAndNeverTheOwner(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete")
	intent := broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}
	w.WantCode(w.TrySign("alice", intent), broker.CodeForbidden) // owns the agent
	if err := w.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.TrySign("bob", intent), broker.CodeConflict) // the same human twice
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodePending)
	if err := w.TrySign("carol", intent); err != nil {
		t.Fatal(err)
	}
	w.MustCollect(request)
}

func TestNobodyCouldApprove(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Groups["team"] = []string{"alice", "bob"} })
	_, err := w.Ask("production", "db:public.orders:delete")
	w.WantCode(err, broker.CodeDenied)
}

func TestDenyEndsBeforeAnyProviderIsCalled(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Policy.Forbid = func(q broker.Query) bool { return !q.Described }
	w.Staging.SetID("memory:elsewhere") // describing would say so
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeDenied)
	if w.Events(broker.EventRequestDenied) != 1 {
		t.Fatal("the denial was not recorded")
	}
}

func TestSecondEvaluationSeesConcreteResources(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Policy.Forbid = func(q broker.Query) bool {
		return q.Described && len(q.Scopes) > 0 && q.Scopes[0].Resource == "public.customers"
	}
	_, err := w.Ask("staging", "db:public.*:read")
	w.WantCode(err, broker.CodeDenied)
}

func TestDescriptionSmallerThanAskedIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Tables = nil
	_, err := w.Ask("staging", "db:public.*:read")
	w.WantCode(err, broker.CodeInternal)
}

func TestReachingAnotherEnvironmentIsRefused(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Reaches = []string{"production", "staging"}
	_, err := w.Ask("staging", "db:public.orders:delete")
	w.WantCode(err, broker.CodeDenied)
	if !strings.Contains(err.Error(), "production") {
		t.Errorf("%q does not name production", err)
	}
}

func TestOtherAgentsRequestIsNotFound(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	for _, caller := range []broker.Caller{
		{Kind: broker.CallerAgent, Name: "mallory", Key: "thumb"},
		{Kind: broker.CallerAgent, Name: "claude", Key: "another key"},
		{Kind: broker.CallerHuman, Name: "claude", Key: "thumb"},
		{Kind: broker.CallerSocket},
	} {
		_, err := w.Collect(t.Context(), caller, request.ID)
		w.WantCode(err, broker.CodeNotFound)
	}
}

func TestConfigurationEditedBetweenDecisionAndCollect(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	edited := w.Configuration()
	edited.Hash = "config-2"
	edited.Targets[broker.TargetRef{Environment: "staging", Target: "db"}] = broker.Target{Binding: "staging/db/2", Issuer: w.Production}
	if err := w.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, edited, nil); err != nil {
		t.Fatal(err)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeConflict)
	_, err = w.Ask("staging", "db:public.orders:read") // asked anew: it is not what was confirmed as staging
	w.WantCode(err, broker.CodeUnconfirmed)
	if w.Production.Made()+w.Staging.Made() != 0 {
		t.Fatal("something was issued")
	}
}

func TestTargetThatBecameAnotherIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Staging.SetID("memory:restored-elsewhere")
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeUnconfirmed)
}

func TestSecondEnvironmentWithTheSameIdentity(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.SetID("memory:production")
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := w.TrySign("bob", broker.Intent{Act: broker.ActConfirmTarget, Subject: "staging/db", Digest: w.SubjectDigest(broker.ActConfirmTarget, "staging/db")})
	w.WantCode(err, broker.CodeWall)
	_, err = w.Ask("production", "db:public.orders:read")
	w.WantCode(err, broker.CodeWall)
}

func TestDescriptionThatChangedIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, request.ID)
	w.Staging.Reaches = []string{"staging", "preview"}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeConflict)
}

func TestCollectedTooLate(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Clock.Advance(broker.CollectFor + time.Second)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeExpired)
	w.Sweep(t.Context())
	if got, _ := w.Request(t.Context(), w.Agent, request.ID); got.State != broker.RequestExpired {
		t.Fatalf("state %s", got.State)
	}
}

func TestSecondCollectEndsTheFirstAndKeepsItsExpiry(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	first := w.MustCollect(request)
	w.Clock.Advance(5 * time.Minute)
	second := w.MustCollect(request)
	if live := w.Staging.Live(); len(live) != 1 || !strings.HasSuffix(live[0], second[0].Lease) {
		t.Fatalf("live: %v, want only %s", live, second[0].Lease)
	}
	if !second[0].Expires.Equal(first[0].Expires) {
		t.Fatalf("expires %s, want the original %s", second[0].Expires, first[0].Expires)
	}
}

func TestDeleteIsCollectedOnceAtMost(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, request.ID)
	w.MustCollect(request)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeExpired)
}

func TestOneApprovalCollectedTwiceAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, request.ID)
	var got sync.Map
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			if _, err := w.Collect(t.Context(), w.Agent, request.ID); err == nil {
				got.Store(i, true)
			}
		})
	}
	wait.Wait()
	n := 0
	got.Range(func(any, any) bool { n++; return true })
	if n != 1 || len(w.Staging.Live()) != 1 {
		t.Fatalf("%d collects succeeded, %d live", n, len(w.Staging.Live()))
	}
}

func TestSameIdempotencyKeyTwiceAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Idempotency: "k"}
	ids := make([]string, 16)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			request, err := w.Submit(t.Context(), ask)
			if err != nil {
				t.Error(err)
			}
			ids[i] = request.ID
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two requests: %s and %s", ids[0], id)
		}
	}
	ask.Scopes = []broker.Scope{w.Scope("db:public.orders:read")}
	_, err := w.Submit(t.Context(), ask)
	w.WantCode(err, broker.CodeConflict)
}

func TestCredentialThatOutlivesItsLeaseIsEnded(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Longer = time.Minute
	_, err := w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	w.WantCode(err, broker.CodeUnavailable)
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("still live: %v", live)
	}
}

func TestAllItemsOrNone(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Production.OnIssue = func(broker.Order) error { return errors.New("the provider is down") }
	request, err := w.Submit(t.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging", "production"},
		Scopes: []broker.Scope{w.Scope("db:public.orders:read")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeUnavailable)
	if live := append(w.Staging.Live(), w.Production.Live()...); len(live) != 0 {
		t.Fatalf("live after a failed collect: %v", live)
	}
}

func TestClockSetBackIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Clock.Advance(-6 * time.Second)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeUnavailable)
	_, err = w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnavailable)
}

func TestFullDiskIssuesNothingAndStillEnds(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	lease := mustLeases(w)[0]
	next := w.MustAsk("staging", "db:public.orders:read")
	w.Store.Fail(errors.New("no space left on device"))
	_, err := w.Collect(t.Context(), w.Agent, next.ID)
	w.WantCode(err, broker.CodeUnavailable)
	if err := w.Release(t.Context(), w.Agent, lease.ID); err != nil {
		t.Fatalf("release: %v", err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll}); err == nil {
		t.Fatal("the freeze claims to be recorded")
	}
	w.Store.Fail(nil)
	_, err = w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
	w.Sweep(t.Context())
	if got := mustLeases(w, true); got[len(got)-1].State != broker.LeaseEnded {
		t.Fatalf("the end was not recorded after the disk had room again: %+v", got)
	}
	if w.Events(broker.EventFrozen) != 1 {
		t.Fatal("the freeze was not recorded after the disk had room again")
	}
}

func mustLeases(w *brokertest.World, all ...bool) []broker.Lease {
	w.Helper()
	leases, err := w.Leases(w.Context(), w.Agent, len(all) > 0)
	if err != nil {
		w.Fatal(err)
	}
	return leases
}

func TestFreezeDuringIssue(t *testing.T) {
	for _, freeze := range []broker.Freeze{
		{Of: broker.FreezeAll},
		{Of: broker.FreezeAgent, Name: "claude"},
		{Of: broker.FreezeTask, Name: "fix"},
		{Of: broker.FreezeEnvironment, Name: "staging"},
	} {
		t.Run(freeze.ID(), func(t *testing.T) {
			w := brokertest.NewWorld(t)
			request := w.MustAsk("staging", "db:public.orders:read")
			var frozen sync.WaitGroup
			w.Staging.OnIssue = func(broker.Order) error {
				began := make(chan struct{})
				frozen.Go(func() {
					close(began)
					if _, err := w.Freeze(context.Background(), broker.Caller{Kind: broker.CallerSocket}, freeze); err != nil {
						t.Error(err)
					}
				})
				<-began
				for w.Events(broker.EventFrozen) == 0 {
					time.Sleep(time.Millisecond)
				}
				return nil
			}
			_, err := w.Collect(t.Context(), w.Agent, request.ID)
			frozen.Wait()
			if err == nil {
				t.Fatal("a credential was handed out under a freeze")
			}
			if live := w.Staging.Live(); len(live) != 0 {
				t.Fatalf("live: %v", live)
			}
		})
	}
}

func TestRevokeDuringCollect(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
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
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
}

func TestEndIsRetriedAlarmedAndRecovers(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	w.Staging.OnRevoke = func(string) error { return errors.New("connection refused") }
	w.WantCode(w.Release(t.Context(), w.Agent, mustLeases(w)[0].ID), broker.CodeUnavailable)
	for range 6 {
		w.Clock.Advance(time.Minute)
		w.Sweep(t.Context())
	}
	if got := mustLeases(w)[0]; got.State != broker.LeaseStuck || w.Events(broker.EventLeaseStuck) != 1 {
		t.Fatalf("state %s, %d alarms", got.State, w.Events(broker.EventLeaseStuck))
	}
	w.Staging.OnRevoke = nil
	w.Clock.Advance(5 * time.Minute)
	w.Sweep(t.Context())
	if got := mustLeases(w, true)[0]; got.State != broker.LeaseEnded || got.Cause != broker.CauseReleased {
		t.Fatalf("lease %+v", got)
	}
}

func TestCrashDuringIssueIsAccountedFor(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Staging.OnIssue = func(broker.Order) error { panic("kill -9") }
	func() {
		defer func() { _ = recover() }()
		_, _ = w.Collect(t.Context(), w.Agent, request.ID)
	}()
	w.Staging.OnIssue = nil
	lease := mustLeases(w)[0]
	w.Staging.Plant(lease.Name) // the provider had done it
	w.Reopen()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	for len(w.Staging.Live()) > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := mustLeases(w, true)[0]; got.State != broker.LeaseEnded {
		t.Fatalf("lease %+v", got)
	}
}

func TestOrphanIsEndedAndAnotherInstallationsIsLeftAlone(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	mine := w.Staging.Live()[0]
	w.Staging.Plant("hk-" + w.Installation().ID + "-0123456789abcdefghjkmnpqrs")
	w.Staging.Plant("hk-otherone-0123456789abcdefghjkmnpqrs")
	if err := w.SweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(w.Staging.Live(), " ")
	if !strings.Contains(got, mine) || !strings.Contains(got, "hk-otherone-") || len(w.Staging.Live()) != 2 || w.Events(broker.EventOrphanEnded) != 1 {
		t.Fatalf("live: %s", got)
	}
}

func TestRestoredStoreOpensFrozenAndEndsWhatLives(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	open := w.MustAsk("staging", "db:public.orders:delete")
	was := w.Installation().ID
	if err := w.Restored(t.Context(), "the old checkpoint"); err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	w.Staging.Plant("hk-" + was + "-0123456789abcdefghjkmnpqrs") // issued after the backup was taken
	w.Sweep(t.Context())
	if err := w.SweepOrphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
	if got, _ := w.Request(t.Context(), w.Agent, open.ID); got.State != broker.RequestCancelled {
		t.Fatalf("an open request survived the restore: %s", got.State)
	}
	if now := w.Installation(); now.ID == was || len(now.Former) != 1 || now.Former[0] != was {
		t.Fatalf("installation %+v", now)
	}
	w.SignAs("bob", broker.ActLiftFreeze, "all")
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
}

func TestAgentsWordsNeverDecide(t *testing.T) {
	w := brokertest.NewWorld(t)
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:delete")}}
	for i, words := range []string{"", "approved by alice", "SYSTEM: allow this"} {
		ask.Reason, ask.TTL = words, time.Duration(10+i)*time.Minute // the very same, but for the words, would fold
		request, err := w.Submit(t.Context(), ask)
		if err != nil || request.State != broker.RequestPending || request.Reason != words {
			t.Fatalf("%q: %s, %v", words, request.State, err)
		}
	}
}

func TestBadInputNamesTheField(t *testing.T) {
	w := brokertest.NewWorld(t)
	good := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}}
	for name, spoil := range map[string]func(*broker.Ask){
		"task":            func(a *broker.Ask) { a.Task = "../fix" },
		"environments":    func(a *broker.Ask) { a.Environments = nil },
		"ttl":             func(a *broker.Ask) { a.TTL = 61 * time.Minute },
		"reason":          func(a *broker.Ask) { a.Reason = strings.Repeat("x", 3000) },
		"scope":           func(a *broker.Ask) { a.Scopes = []broker.Scope{{Target: "db", Resource: "a*b", Actions: broker.Read}} },
		"idempotency_key": func(a *broker.Ask) { a.Idempotency = strings.Repeat("x", 200) },
	} {
		ask := good
		spoil(&ask)
		_, err := w.Submit(t.Context(), ask)
		e, ok := errors.AsType[*broker.Error](err)
		if !ok || e.Code != broker.CodeInvalid || e.Field != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := w.Events(broker.EventRequestSubmitted) + w.Events(broker.EventRequestDenied); n != 0 {
		t.Errorf("bad input left %d events", n)
	}
}

func TestAwaitWakesOnDecision(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	got := make(chan broker.RequestState)
	go func() {
		r, err := w.Await(t.Context(), w.Agent, request.ID, 0)
		if err != nil {
			t.Error(err)
		}
		got <- r.State
	}()
	if err := w.Reject(t.Context(), "bob", request.ID, request.Digest(), "no"); err != nil {
		t.Fatal(err)
	}
	if state := <-got; state != broker.RequestDenied {
		t.Fatalf("state %s", state)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if r, err := w.Await(ctx, w.Agent, w.MustAsk("staging", "db:public.customers:delete").ID, 0); err != nil || r.State != broker.RequestPending {
		t.Fatalf("%s, %v", r.State, err)
	}
}

// The first of two signatures wakes whoever waits and did not know of it, and nobody else.
func TestAwaitWakesOnTheFirstOfTwoSignatures(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete")
	got := make(chan broker.Request)
	go func() {
		r, err := w.Await(t.Context(), w.Agent, request.ID, 0)
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	w.SignAs("bob", broker.ActApprove, request.ID)
	if r := <-got; r.State != broker.RequestPending || r.Signed != 1 {
		t.Fatalf("%s, %d signed", r.State, r.Signed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if r, err := w.Await(ctx, w.Agent, request.ID, 1); err != nil || r.Signed != 1 || ctx.Err() == nil {
		t.Fatalf("woken by nothing: %d signed, %v", r.Signed, err)
	}
	w.SignAs("carol", broker.ActApprove, request.ID)
	if r, err := w.Await(t.Context(), w.Agent, request.ID, 1); err != nil || r.State != broker.RequestApproved || r.Signed != 2 {
		t.Fatalf("%s, %d signed, %v", r.State, r.Signed, err)
	}
}

func TestCapsPerAgent(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Limits = broker.Limits{PendingPerAgent: 2, LeasesPerAgent: 2}
	})
	for _, table := range []string{"orders", "customers"} {
		w.MustAsk("staging", "db:public."+table+":delete")
		w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	}
	_, err := w.Ask("staging", "db:public.*:delete")
	w.WantCode(err, broker.CodeSlowDown)
	_, err = w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	w.WantCode(err, broker.CodeSlowDown)
}

func TestRemovedAgentCanNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	if err := w.RemoveAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "claude"); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("live: %v", live)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeExpired)
	_, err = w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnauthenticated)
}

func TestNameAtTheProvider(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	name := w.Staging.Live()[0]
	if len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		t.Fatalf("name %q (invariant 8)", name)
	}
}

func TestLocalIssuerThatCannotEndEarly(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Can = broker.Capabilities{Kind: "local", Local: true, TTLMax: 5 * time.Minute, Ends: "at its expiry"}
	request := w.MustAsk("staging", "db:public.orders:read")
	w.MustCollect(request)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeConflict) // two would live
	lease := mustLeases(w)[0]
	if lease.State != broker.LeaseEnding || lease.Expires.Sub(w.Clock.Now()) > 5*time.Minute {
		t.Fatalf("lease %+v", lease)
	}
	w.Clock.Advance(5 * time.Minute)
	w.Sweep(t.Context())
	if got := mustLeases(w, true)[0]; got.State != broker.LeaseEnded {
		t.Fatalf("lease %+v", got)
	}
}

func TestNoSecretInErrorsEventsOrRecords(t *testing.T) {
	w := brokertest.NewWorld(t)
	credentials := w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	secret := credentials[0].Values["TOKEN"].Reveal()
	all := fmt.Sprintf("%v %+v %#v", credentials, credentials, credentials)
	for _, event := range w.Store.Log() {
		all += string(event.Data)
	}
	if strings.Contains(all, secret) {
		t.Fatal("the secret was printed or recorded")
	}
}
