package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// reload puts the World's configuration in force under another hash.
func reload(w *brokertest.World, hash string) {
	w.Helper()
	next := w.Configuration()
	next.Hash = hash
	if err := w.Reload(w.Context(), socket, next, nil); err != nil {
		w.Fatal(err)
	}
}

// What nobody can sign any more, and nothing is issued for, does not wait on in inboxes and in the agent's share; the
// agent hears at once why, and asks again.
func TestReloadEndsWhatWaits(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.PendingPerAgent = 2 })
	allowed := w.MustAsk("staging", "db:public.orders:read")
	approved := w.MustAsk("staging", "db:public.customers:delete")
	w.SignAs("bob", broker.ActApprove, approved.ID)
	pending := w.MustAsk("staging", "db:public.orders:delete")
	signedOnce := w.MustAsk("production", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, signedOnce.ID)
	heard := make(chan broker.Request, 1)
	go func() {
		ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
		defer cancel()
		request, _ := w.Await(ctx, w.Agent, pending.ID, 0)
		heard <- request
	}()
	reload(w, "config-2")
	w.Sweep(t.Context())
	if got := <-heard; got.State != broker.RequestExpired {
		t.Errorf("the agent hears %s", got.State)
	}
	for _, c := range []struct {
		request broker.Request
		passed  bool
	}{{allowed, true}, {approved, true}, {pending, false}, {signedOnce, false}} {
		wantOutdated(w, c.request.ID, c.passed)
	}
	if inbox, err := w.Inbox(t.Context(), "carol"); err != nil || inbox.Waiting != 0 {
		t.Errorf("carol's inbox still has %d, %v", inbox.Waiting, err)
	}
	again := w.MustAsk("staging", "db:public.orders:delete") // there is room, and it is not folded into a dead one
	w.MustAsk("production", "db:public.orders:delete")
	w.Sweep(t.Context())
	w.SignAs("bob", broker.ActApprove, again.ID)
	w.MustCollect(again)
}

func wantOutdated(w *brokertest.World, id string, passed bool) {
	w.Helper()
	got := kept(w, id)
	if got.State != broker.RequestExpired || got.ClosedBy != "broker" || got.HadPassed() != passed {
		w.Errorf("%s: %s by %s, had passed: %t", id, got.State, got.ClosedBy, got.HadPassed())
	}
	_, err := w.Collect(w.Context(), w.Agent, id)
	w.WantCode(err, broker.CodeExpired)
	if !strings.Contains(err.Error(), "the configuration changed: ask again") {
		w.Errorf("the agent is told %q", err)
	}
	if data := lastOf(w, broker.EventRequestExpired, id); data.Words != "the configuration changed: ask again" {
		w.Errorf("the log says %q", data.Words)
	}
}

// lastOf is the data of the last event of that type about a request.
func lastOf(w *brokertest.World, kind broker.EventType, id string) (data broker.RequestEvent) {
	w.Helper()
	for _, event := range w.Store.Log() {
		if event.Type == kind && event.Subject == id {
			data = broker.RequestEvent{}
			if err := json.Unmarshal(event.Data, &data); err != nil {
				w.Fatal(err)
			}
		}
	}
	return data
}

// There and back again: what was asked in between was decided under files that are gone.
func TestReloadBackDoesNotForgetWhatWasAskedInBetween(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Sweep(t.Context())
	reload(w, "config-2")
	between := w.MustAsk("staging", "db:public.orders:delete")
	reload(w, "config-1")
	after := w.MustAsk("staging", "db:public.orders:delete")
	w.Sweep(t.Context())
	wantOutdated(w, between.ID, false)
	if got := kept(w, after.ID); got.State != broker.RequestPending {
		t.Errorf("what was asked under the files in force is %s", got.State)
	}
}

// Files that were edited while the broker was stopped end what waits as a reload does.
func TestRestartUnderOtherFilesEndsWhatWaits(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.Config.Configuration = w.Configuration()
	w.Config.Configuration.Hash = "config-2"
	w.Reopen()
	w.Sweep(t.Context())
	wantOutdated(w, request.ID, false)
}

// What was being decided while the files changed is refused, not stored to be closed.
func TestRequestDecidedWhileTheFilesChange(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Policy.Forbid = func(broker.Query) bool {
		w.Policy.Forbid = nil
		reload(w, "config-2")
		return false
	}
	_, err := w.Ask("staging", "db:public.orders:delete")
	w.WantCode(err, broker.CodeConflict)
	if all, err := w.Requests(t.Context(), socket, 10); err != nil || len(all) != 0 {
		t.Errorf("%d requests are stored, %v", len(all), err)
	}
}

// Thousands wait: no transaction holds up the others to end them all.
func TestReloadEndsThousandsInBatches(t *testing.T) {
	const waiting, most = 1100, 500
	w := brokertest.NewWorld(t)
	err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		for i := range waiting {
			request := &broker.Request{
				ID: fmt.Sprintf("r%04d", i), Agent: "claude", AgentKey: "thumb", Owner: "alice", Environments: []string{"staging"}, Config: "config-0",
				State: broker.RequestPending, Needs: []broker.Need{{Environment: "staging", Humans: 1}}, Created: w.Clock.Now(), Deadline: w.Clock.Now().Add(time.Hour),
			}
			if err := tx.Save(request); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for left := waiting; left > 0; left -= most {
		before := w.Events(broker.EventRequestExpired)
		w.Sweep(t.Context())
		if n := w.Events(broker.EventRequestExpired) - before; n != min(left, most) {
			t.Fatalf("%d ended in one pass, %d were left", n, left)
		}
	}
	w.Sweep(t.Context())
	before := w.Store.Updates()
	w.Sweep(t.Context())
	if n := w.Store.Updates() - before; n != 0 {
		t.Errorf("%d transactions with nothing left to end", n)
	}
}

// Nobody can sign what a reload made stale: whoever may decide can still say no, and others cannot.
func TestReloadedRequestIsNotApprovedAndCanBeDenied(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	reload(w, "config-2")
	w.WantCode(w.MaySign(t.Context(), "bob", broker.ActApprove, request.ID), broker.CodeConflict)
	for human, code := range map[string]broker.Code{"bob": "", "alice": "", "mallory": broker.CodeNotFound} {
		w.WantCode(w.MayReject(t.Context(), human, request.ID), code)
	}
	w.WantCode(w.MayReject(t.Context(), "bob", "none"), broker.CodeNotFound)
	if err := w.Reject(t.Context(), "bob", request.ID, request.Digest(), "no"); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.MayReject(t.Context(), "bob", request.ID), broker.CodeConflict)
	w.WantCode(w.MayReject(t.Context(), "alice", request.ID), broker.CodeForbidden)
}

// before is a store that lets something happen just before its next change.
type before struct {
	broker.Store
	do func()
}

func (s *before) Update(ctx context.Context, change func(broker.Tx) error) error {
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return s.Store.Update(ctx, change)
}

// The attack: two reloads within one sweep, which then takes what was asked under the newest files for outdated.
func TestReloadWhileTheSweepLooksEndsNothingOfTheNewFiles(t *testing.T) {
	var store before
	w := brokertest.NewWorld(t, func(c *broker.Config) { store.Store = c.Store; c.Store = &store })
	w.Sweep(t.Context())
	reload(w, "config-2")
	var fresh broker.Request
	store.do = func() { // the sweep has read which files are in force
		reload(w, "config-3")
		fresh = w.MustAsk("staging", "db:public.orders:delete")
	}
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	if got := kept(w, fresh.ID); got.State != broker.RequestPending {
		t.Errorf("asked under the files in force, and %s: %q", got.State, got.Verdict)
	}
}

// A collect that a reload overtook gives back what can never be collected again.
func TestReloadDuringACollectEndsWhatIsGivenBack(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:read")
	w.Staging.OnIssue = func(broker.Order) error {
		w.Staging.OnIssue = nil
		reload(w, "config-2")
		w.Sweep(t.Context())
		return nil
	}
	if _, err := w.Collect(t.Context(), w.Agent, request.ID); err == nil {
		t.Error("issued under files that are not in force")
	}
	wantOutdated(w, request.ID, true)
}
