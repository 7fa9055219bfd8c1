package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

var socket = broker.Caller{Kind: broker.CallerSocket}

var stagingDB = broker.TargetRef{Environment: "staging", Target: "db"}

func stored(w *brokertest.World, id string) broker.Lease {
	w.Helper()
	lease := broker.Lease{ID: id}
	if err := w.Store.View(w.Context(), func(r broker.Reader) error { return r.Load(&lease) }); err != nil {
		w.Fatal(err)
	}
	return lease
}

// wrap changes the issuer of staging/db.
func wrap(around func(*brokertest.Issuer) broker.Target) func(*broker.Config) {
	return func(c *broker.Config) {
		inner := c.Configuration.Targets[stagingDB].Issuer.(*brokertest.Issuer)
		target := around(inner)
		target.Binding = "staging/db/1"
		c.Configuration.Targets[stagingDB] = target
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

// running runs the broker's background until it is stopped.
func running(w *brokertest.World) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { _ = w.Run(ctx); close(ran) }()
	return func() { cancel(); <-ran }
}

// A short freeze on top of one until lifted must not lift it: lifting wants an operator's passkey.
func TestShortFreezeLiftsALongOne(t *testing.T) {
	w := brokertest.NewWorld(t)
	if _, err := w.Freeze(t.Context(), socket, broker.Freeze{Of: broker.FreezeAll, Reason: "incident"}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Freeze(t.Context(), socket, broker.Freeze{Of: broker.FreezeAll, Until: w.Clock.Now().Add(time.Second)})
	w.Clock.Advance(2 * time.Second)
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
}

// bare gives no handle: the name is enough.
type bare struct{ *brokertest.Issuer }

func (b bare) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	credential, _, err := b.Issuer.Issue(ctx, order)
	return credential, nil, err
}

func TestFreezeBetweenIntentAndProviderCall(t *testing.T) {
	var w *brokertest.World
	var frozen sync.WaitGroup
	w = brokertest.NewWorld(t, wrap(func(i *brokertest.Issuer) broker.Target { return broker.Target{Issuer: bare{i}} }), func(c *broker.Config) {
		c.Failpoint = func(name string) {
			if name != "issue.intent.after" {
				return
			}
			frozen.Go(func() { _, _ = w.Freeze(context.Background(), socket, broker.Freeze{Of: broker.FreezeAll}) })
			until(t, "the end is ordered", func() bool { return w.Events(broker.EventLeaseEnding) > 0 })
			time.Sleep(50 * time.Millisecond)
		}
	})
	_, err := w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	frozen.Wait()
	if err == nil {
		t.Fatal("handed out")
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("alive under an ended lease: %v", live)
	}
}

func TestRevokeOvertakenByTheLiveTransactionKeepsTheHandle(t *testing.T) {
	var w *brokertest.World
	w = brokertest.NewWorld(t, func(c *broker.Config) {
		c.Failpoint = func(name string) {
			if name == "end.order.before" { // the lease is read, the order not yet written
				until(t, "it is live", func() bool { return w.Events(broker.EventLeaseIssued) > 0 })
			}
		}
	})
	var id string
	var revoked sync.WaitGroup
	w.Staging.OnRevoke = func(string) error { return errors.New("connection refused") }
	w.Staging.OnIssue = func(order broker.Order) error {
		id = order.Lease
		revoked.Go(func() { _ = w.Revoke(context.Background(), socket, order.Lease) })
		time.Sleep(50 * time.Millisecond)
		return nil
	}
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	revoked.Wait()
	if got := stored(w, id); got.Open() && len(got.Handle) == 0 {
		t.Fatalf("an open lease lost its handle: %+v", got)
	}
}

func TestPanicOfAnIssuerDoesNotKeepItsLeaseAlive(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.OnIssue = func(order broker.Order) error { w.Staging.Plant(order.Name); panic("nil map in an SDK") }
	func() {
		defer func() { _ = recover() }() // as web does
		_, _ = w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	}()
	w.Clock.Advance(time.Hour)
	done := make(chan struct{})
	go func() { w.Sweep(context.Background()); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the sweeper waits for an issuer that will never answer")
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("alive after its time: %v", live)
	}
}

func TestHungProviderDoesNotHoldUpTheEndAtAnother(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	w.Clock.Advance(time.Second) // in whatever order they are ended, one of staging's is behind them
	for range 20 {
		w.MustCollect(w.MustAsk("production", "db:public.orders:read"))
	}
	w.Clock.Advance(time.Second) // its id sorts behind theirs
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	hung := make(chan struct{})
	w.Production.OnRevoke = func(string) error { <-hung; return nil }
	var frozen sync.WaitGroup
	frozen.Go(func() { _, _ = w.Freeze(context.Background(), socket, broker.Freeze{Of: broker.FreezeAll}) })
	defer frozen.Wait()
	defer close(hung)
	until(t, "staging's lease is ended", func() bool { return len(w.Staging.Live()) == 0 })
}

// slow does not answer who it is or what lives there.
type slow struct {
	*brokertest.Issuer
	hung chan struct{}
}

func (s slow) List(ctx context.Context, _ string) ([]string, error) {
	select {
	case <-s.hung:
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

func TestHungListDoesNotHoldUpExpiry(t *testing.T) {
	hung := make(chan struct{})
	w := brokertest.NewWorld(t, wrap(func(i *brokertest.Issuer) broker.Target { return broker.Target{Issuer: slow{i, hung}} }))
	w.MustCollect(w.MustAsk("production", "db:public.orders:read"))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	defer running.Wait()
	defer cancel()
	defer close(hung)
	time.Sleep(100 * time.Millisecond) // the wide sweep has begun
	w.Clock.Advance(31 * time.Minute)
	until(t, "production's lease is ended at its time", func() bool { return len(w.Production.Live()) == 0 })
}

func TestWorseOfTheTwoEvaluationsCounts(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Policy.Gives = []broker.Scope{w.Scope("db:public.orders:read")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:public.*:read")}
	w.Staging.Tables = []string{"public.orders"}
	if request := w.MustAsk("staging", "db:public.*:read"); request.State != broker.RequestPending {
		t.Fatalf("state %s, though the first evaluation says escalate", request.State)
	}
}

func TestNarrowedDescriptionReachesAnUnnamedEnvironment(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read,delete")
	w.Staging.Reaches = []string{"production", "staging"} // the volume was attached there in between
	err := w.TrySign("bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: &broker.Narrowing{
		Items: []broker.NarrowedItem{{Environment: "staging", Target: "db", Scopes: []broker.Scope{w.Scope("db:public.orders:read")}}},
	}})
	if err != nil {
		return
	}
	if _, err := w.Collect(t.Context(), w.Agent, request.ID); err == nil {
		t.Fatal("a request for staging was issued a credential that reaches production (invariant 4)")
	}
}

func TestNarrowingOfAnItemThatIsNotThere(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	_, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: &broker.Narrowing{
		Items: []broker.NarrowedItem{{Environment: "Staging", Target: "db"}},
	}})
	w.WantCode(err, broker.CodeInvalid)
}

func TestFreezeOfAReachedEnvironmentEndsItsLeases(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Reaches = []string{"production", "staging"}
	request, err := w.Submit(t.Context(), broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"production", "staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")}})
	if err != nil {
		t.Fatal(err)
	}
	w.MustCollect(request)
	if _, err := w.Freeze(t.Context(), socket, broker.Freeze{Of: broker.FreezeEnvironment, Name: "production"}); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("reaches frozen production and lives: %v", live)
	}
}

func TestTargetEditedAndRestartedStillEnds(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	lease := mustLeases(w)[0]
	w.Config.Configuration = w.Configuration()
	w.Config.Configuration.Hash = "config-2"
	w.Config.Configuration.Targets[stagingDB] = broker.Target{Binding: "staging/db/2", Issuer: w.Staging} // one more line under accept:
	w.Reopen()
	if err := w.Revoke(t.Context(), socket, lease.ID); err != nil {
		t.Fatalf("the same database under an edited file: %v", err)
	}
}

func TestTokenOfAVanishedLocalTargetIsNotStuckForGood(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Can = broker.Capabilities{Kind: "local", Local: true, TTLMax: 5 * time.Minute}
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	id := mustLeases(w)[0].ID
	w.Config.Configuration = w.Configuration()
	delete(w.Config.Configuration.Targets, stagingDB)
	w.Reopen()
	for range 10 {
		w.Clock.Advance(10 * time.Minute)
		w.Sweep(t.Context())
	}
	if got := stored(w, id); got.State != broker.LeaseEnded {
		t.Fatalf("dead for an hour and %s, %d attempts", got.State, got.Attempts)
	}
}

// crashed leaves in the store what a broker had committed when it died.
func crashed(w *brokertest.World, records ...broker.Record) {
	w.Helper()
	if err := w.Store.Update(w.Context(), func(tx broker.Tx) error {
		for _, r := range records {
			if err := tx.Save(r); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	w.Reopen()
}

func TestCrashAfterTheFreezeIsRecorded(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	crashed(w, &broker.Freeze{Of: broker.FreezeAll, By: "socket", At: w.Clock.Now()})
	defer running(w)()
	until(t, "ended, and not alive until its TTL", func() bool { return len(w.Staging.Live()) == 0 })
}

func TestCrashAfterTheAgentIsRemoved(t *testing.T) {
	var w *brokertest.World
	dead := false
	w = brokertest.NewWorld(t, func(c *broker.Config) {
		c.Failpoint = func(name string) {
			for dead && strings.HasPrefix(name, "end.") {
				select {} // nothing happens any more in this process
			}
		}
	})
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	dead = true
	go func() { _ = w.RemoveAgent(context.Background(), socket, "claude") }()
	until(t, "removed", func() bool { return w.Events(broker.EventAgentRemoved) > 0 })
	w.Config.Failpoint = nil
	w.Reopen()
	defer running(w)()
	until(t, "ended, and not alive until its TTL", func() bool { return len(w.Staging.Live()) == 0 })
}

func TestResetHumanEndsWhatLives(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	if _, _, err := w.ResetHuman(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	defer running(w)()
	until(t, "ended, and not alive until its TTL", func() bool { return len(w.Staging.Live()) == 0 })
	if w.Events(broker.EventFrozen) == 0 {
		t.Error("the freeze is not in the log")
	}
}

func TestAgentThatHangsUpStillLeavesItsDenialInTheLog(t *testing.T) {
	w := brokertest.NewWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	w.Policy.Forbid = func(broker.Query) bool { hangUp(); return true }
	_, err := w.Submit(ctx, broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}})
	w.WantCode(err, broker.CodeDenied)
	if w.Events(broker.EventRequestDenied) != 1 {
		t.Fatal("a probe left no trace")
	}
}

func TestRevokeOnAFullDiskKeepsItsCauseAndActor(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	id := mustLeases(w)[0].ID
	w.Store.Fail(errors.New("no space left on device"))
	if err := w.Revoke(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, id); err != nil {
		t.Fatal(err)
	}
	w.Store.Fail(nil)
	w.Sweep(t.Context())
	if got := stored(w, id); got.Cause != broker.CauseRevoked || got.By != "human:bob" {
		t.Fatalf("the log says %s by %s, and bob revoked it", got.Cause, got.By)
	}
}

func TestBackOffHoldsAfterAFullDisk(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	id := mustLeases(w)[0].ID
	calls := 0
	w.Staging.OnRevoke = func(string) error { calls++; return errors.New("connection refused") }
	w.Store.Fail(errors.New("no space left on device"))
	_ = w.Revoke(t.Context(), socket, id)
	w.Store.Fail(nil)
	for range 20 {
		w.Sweep(t.Context())
	}
	if calls > 3 {
		t.Fatalf("%d calls of a provider that is down, with no time passing", calls)
	}
}

func TestRefusedSecondSignatureIsRecordedAndConsumed(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete")
	intent := broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Typed: []string{"production"}}
	first, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	for i, ceremony := range []*broker.Ceremony{first, second} {
		if _, err := w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-key", ceremony)); (err == nil) != (i == 0) {
			t.Fatal(err)
		}
	}
	if w.Events(broker.EventReviewRefused) != 1 {
		t.Error("the refusal is not in the log")
	}
	if err := w.Store.View(t.Context(), func(r broker.Reader) error { return r.Load(&broker.Ceremony{Nonce: second.Nonce}) }); err == nil {
		t.Error("the nonce was not consumed")
	}
}

func TestWhatTheIssuerRefusesIsInTheLog(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.OnIssue = func(broker.Order) error { return broker.Errorf(broker.CodeConflict, "a table was added") }
	_, err := w.Collect(t.Context(), w.Agent, w.MustAsk("staging", "db:public.orders:read").ID)
	w.WantCode(err, broker.CodeConflict)
	if w.Events(broker.EventCollectRefused) != 1 {
		t.Fatal("why nothing was issued is nowhere")
	}
}

func TestNamesThatAreNoTextCannotStandForOneAnother(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Tables = []string{"public.o\xff"} // encoding/json, and so the digest, makes it the same as "public.o\xfe"
	_, err := w.Ask("staging", "db:public.*:delete")
	w.WantCode(err, broker.CodeInternal)
}

// racing runs between once, in front of the next update.
type racing struct {
	*brokertest.Store
	between func()
}

func (r *racing) Update(ctx context.Context, change func(broker.Tx) error) error {
	if f := r.between; f != nil {
		r.between = nil
		f()
	}
	return r.Store.Update(ctx, change)
}

func TestCancelOvertakenByAnApprovalDoesNotClaimSuccess(t *testing.T) {
	var store *racing
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		store = &racing{Store: c.Store.(*brokertest.Store)}
		c.Store = store
	})
	request := w.MustAsk("staging", "db:public.orders:delete")
	store.between = func() { w.SignAs("bob", broker.ActApprove, request.ID) }
	err := w.Cancel(t.Context(), w.Agent, request.ID)
	if got, _ := w.Request(t.Context(), w.Agent, request.ID); err == nil && got.State != broker.RequestCancelled {
		t.Fatalf("cancel said yes, the request is %s", got.State)
	}
}

func TestChangedIdentityIsShownToOperatorsAtOnce(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.SetID("memory:moved")
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeUnconfirmed) // "an operator must look at it, and confirm it on …/targets"
	inbox, err := w.Inbox(t.Context(), "bob")
	if err != nil || len(inbox.Pins) != 1 {
		t.Fatalf("%d targets to look at, %v", len(inbox.Pins), err)
	}
}

func TestClockSetBackDoesNotLengthenALease(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	w.Clock.Advance(29 * time.Minute)
	_, _ = w.Ask("staging", "db:public.orders:read") // an event of now
	w.Clock.Advance(-2 * time.Hour)                  // and the clock is set back
	w.Clock.Advance(2 * time.Minute)                 // 31 minutes of life
	w.Sweep(t.Context())
	if live := w.Staging.Live(); len(live) != 0 {
		t.Fatalf("alive after its 30 minutes, and for two hours to come: %v", live)
	}
}

// uncommitted runs the change and then cannot make it durable.
type uncommitted struct {
	*brokertest.Store
	fail bool
}

func (u *uncommitted) Update(ctx context.Context, change func(broker.Tx) error) error {
	return u.Store.Update(ctx, func(tx broker.Tx) error {
		if err := change(tx); err != nil || !u.fail {
			return err
		}
		return errors.New("fsync: input/output error")
	})
}

func TestOwnUserIsRecordedThoughTheDiskFailedAtFirst(t *testing.T) {
	var store *uncommitted
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		store = &uncommitted{Store: c.Store.(*brokertest.Store)}
		c.Store = store
	})
	store.fail = true
	w.SawOwnUser(t.Context())
	store.fail = false
	w.SawOwnUser(t.Context())
	if w.Events(broker.EventSameUser) != 1 {
		t.Fatal("said in memory, not for good")
	}
}

// growing is World with n requests of the agent in the store.
func BenchmarkRequestsOfOneAgent(b *testing.B) {
	w := brokertest.NewWorld(b)
	one := w.MustAsk("staging", "db:public.orders:read")
	if err := w.Store.Update(b.Context(), func(tx broker.Tx) error {
		for i := range 100_000 {
			one.ID = fmt.Sprintf("%026d", i)
			if err := tx.Save(&one); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	raw, _ := json.Marshal(one)
	b.Logf("one request is %d bytes", len(raw))
	for b.Loop() {
		if _, err := w.Requests(b.Context(), w.Agent, 100); err != nil {
			b.Fatal(err)
		}
	}
}

// An agent's owner may stop what works on their behalf, and nothing else; who may not is not told what there is.
func TestLeaseIsEndedByItsOwnerAndNobodyElses(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	id := mustLeases(w)[0].ID
	next := *w.Broker.Configuration()
	next.Roles = maps.Clone(next.Roles)
	next.Roles[broker.RoleOperator] = []string{"nobody"}
	if err := w.Reload(t.Context(), socket, &next, nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{id, "none"} {
		w.WantCode(w.Revoke(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, id), broker.CodeForbidden)
		w.WantCode(w.Revoke(t.Context(), w.Agent, id), broker.CodeForbidden)
	}
	if err := w.Revoke(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "alice"}, id); err != nil {
		t.Fatal(err)
	}
	if got := stored(w, id); got.State != broker.LeaseEnded || got.By != "human:alice" {
		t.Errorf("%s by %s", got.State, got.By)
	}
}
