package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// hookedStore lets a test come in between: before runs ahead of every Update, in the caller's goroutine.
type hookedStore struct {
	*brokertest.Store
	mu     sync.Mutex
	before func(context.Context) error
}

func (s *hookedStore) hook(before func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *hookedStore) Update(ctx context.Context, change func(broker.Tx) error) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	return s.Store.Update(ctx, change)
}

// hang is a disk that answers nothing: what waits for it gives up with its context.
func hang(release <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attackGate is newGate with a changed configuration; the store can be hooked.
func attackGate(t *testing.T, environments []string, change func(*broker.Config)) (*gate, *hookedStore) {
	t.Helper()
	hooked := &hookedStore{}
	can := broker.Capabilities{Kind: "memory", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		hooked.Store = c.Store.(*brokertest.Store)
		c.Store = hooked
		for _, target := range c.Configuration.Targets {
			target.Issuer.(*brokertest.Issuer).Can = can
		}
		if change != nil {
			change(c)
		}
	})
	w.Policy.Gives = []broker.Scope{w.Scope("db:service/*:read,write")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:volume/*:delete")}
	request, err := w.Submit(t.Context(), broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: environments, Scopes: []broker.Scope{w.Scope("db:service/*:read,write")}})
	if err != nil {
		t.Fatal(err)
	}
	if request.State == broker.RequestPending {
		w.SignAs("bob", broker.ActApprove, request.ID)
	}
	g := &gate{World: w}
	for _, c := range w.MustCollect(request) {
		if c.Environment == "staging" {
			g.token = c.Gateway.Token
		}
	}
	g.lease = g.present()
	return g, hooked
}

func staging() []string { return []string{"staging"} }

// run runs the broker's background until the test ends.
func (g *gate) run() (stop func()) {
	g.Helper()
	ctx, cancel := context.WithCancel(g.Context())
	ran := make(chan struct{})
	go func() { _ = g.Run(ctx); close(ran) }()
	until(g, "somebody writes what passes", g.CallsWait)
	return sync.OnceFunc(func() { cancel(); <-ran })
}

func (g *gate) requestOf(id string) broker.Request {
	g.Helper()
	q, err := g.Request(g.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	if err != nil {
		g.Fatal(err)
	}
	return q
}

// --- a call passes that should not ---------------------------------------------------------------

// An environment may have several targets: two Railway projects behind one account token. A lease for one of
// them names an id of the other: its place is a target of the same environment, so it "lives in staging".
func TestLeaseOfOneTargetUsedOnAnotherTargetOfItsEnvironment(t *testing.T) {
	other := &brokertest.Issuer{ID: "memory:billing", Can: broker.Capabilities{Kind: "memory", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}}
	g, _ := attackGate(t, staging(), func(c *broker.Config) {
		c.Configuration.Targets[broker.TargetRef{Environment: "staging", Target: "billing"}] = broker.Target{Binding: "staging/billing/1", Issuer: other}
	})
	g.SignAs("bob", broker.ActConfirmTarget, "staging/billing")
	g.Policy.Forbid = func(q broker.Query) bool { return q.Target == "billing" } // nobody touches billing
	if _, err := g.use("serviceInstanceUpdate(billing's api)", at("service/api", broker.Write, "billing")); broker.CodeOf(err) != broker.CodeDenied {
		t.Errorf("a lease of staging/db wrote to staging/billing, past its guardrail: %v", err)
	}
	_, err := g.use("volumeDelete(billing's)", at("volume/ledger", broker.Delete, "billing"))
	if broker.CodeOf(err) == broker.CodePending {
		t.Errorf("and a human is asked to delete in target %q what lives in billing: %v", g.requestOf(g.pending(err)).Items[0].Target, err)
	}
}

// A guardrail forbids admin on one service. The lease has admin on a prefix, which Submit lets pass because each name is
// judged when it is used; the use is a read, so the guardrail is asked about reading, and the mask is lifted.
func TestGuardrailAgainstAdminHoldsForSecretValues(t *testing.T) {
	g, _ := attackGate(t, staging(), nil)
	g.Policy.Offers = []broker.Scope{g.Scope("db:service/*:admin")}
	g.Policy.Forbid = func(q broker.Query) bool {
		return slices.ContainsFunc(q.Scopes, func(s broker.Scope) bool { return s.Resource == "service/payments" && s.Actions.Has(broker.Admin) })
	}
	request := g.MustAsk("staging", "db:service/*:read,admin")
	g.SignAs("bob", broker.ActApprove, request.ID)
	g.token = g.MustCollect(request)[0].Gateway.Token
	g.lease = g.present()
	pass, err := g.use("query variables(payments)", at("service/payments", broker.Read, "staging"))
	if err == nil && pass.Secrets {
		t.Error("the secret values of payments are shown, on which a guardrail forbids admin")
	}
}

// The same into another environment: guardrails and tasks are asked about the lease's target, not about the one
// in which the thing lives.
func TestGuardrailOfTheOtherEnvironmentsTargetIsAsked(t *testing.T) {
	other := &brokertest.Issuer{ID: "memory:ledger", Can: broker.Capabilities{Kind: "memory", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}}
	g, _ := attackGate(t, []string{"staging", "production"}, func(c *broker.Config) {
		c.Configuration.Targets[broker.TargetRef{Environment: "production", Target: "ledger"}] = broker.Target{Binding: "production/ledger/1", Issuer: other}
	})
	g.SignAs("bob", broker.ActConfirmTarget, "production/ledger")
	g.Policy.Forbid = func(q broker.Query) bool { return q.Target == "ledger" }
	_, err := g.use("volumeDelete(ledger)", at("volume/ledger", broker.Delete, "ledger"))
	if broker.CodeOf(err) != broker.CodeDenied {
		t.Errorf("the guardrail on production/ledger was never asked: %v", err)
	}
}

// (held, because json.Marshal writes a byte that is not UTF-8 and U+FFFD itself in two ways)
func TestApprovalOfAnOperationWithBytesThatAreNotUTF8(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("DELETE /volumes/\xff", volume)
	if broker.CodeOf(err) != broker.CodePending {
		return // refused: well
	}
	g.SignAs("bob", broker.ActApprove, g.pending(err))
	_, err = g.use("DELETE /volumes/\xfe", volume)
	if err == nil {
		t.Error("the approval of one operation let another one pass")
	}

}

// The transaction that lets a write pass looks at the lease again, and not at the agent: a key that was replaced
// because it was stolen gets one more write.
func TestWriteAfterTheAgentsKeyWasReplaced(t *testing.T) {
	g, store := attackGate(t, staging(), nil)
	code, err := g.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "claude", "alice")
	if err != nil {
		t.Fatal(err)
	}
	once := sync.OnceFunc(func() {
		store.hook(nil)
		if _, err := g.EnrolAgent(t.Context(), "claude", code, json.RawMessage(`{}`), "new-thumb"); err != nil {
			t.Error(err)
		}
	})
	store.hook(func(context.Context) error { once(); return nil }) // after the look, before the record
	if _, err := g.use("set", at("service/web", broker.Write, "staging")); err == nil {
		t.Error("EnrolAgent had returned, and the former key's write passed")
	}
}

// A denial is for one text. An argument that changes nothing makes it another question, as often as one likes.
func TestDeniedOperationIsNotAskedAgainInOtherWords(t *testing.T) {
	g := newGate(t)
	asked := 0
	for i := range 9 {
		_, err := g.use(fmt.Sprintf("DELETE /volumes/cache?n=%d", i), at("volume/cache", broker.Delete, "staging"))
		if broker.CodeOf(err) != broker.CodePending {
			continue
		}
		asked++
		id := g.pending(err)
		if err := g.Reject(t.Context(), "bob", id, g.SubjectDigest(broker.ActApprove, id), "no"); err != nil {
			t.Fatal(err)
		}
	}
	if asked > 3 {
		t.Errorf("after three times no, %d more were asked about the deletion of the same volume", asked-3)
	}
}

// A new request costs nothing where the task gives it at once, and forgets every denial.
func TestDeniedOperationIsNotAskedAgainThroughAnotherRequest(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	id := g.pending(err)
	if err := g.Reject(t.Context(), "bob", id, g.SubjectDigest(broker.ActApprove, id), "no"); err != nil {
		t.Fatal(err)
	}
	_, credentials, err := g.Take(t.Context(), broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: staging(), Scopes: []broker.Scope{g.Scope("db:service/*:read,write")}})
	if err != nil {
		t.Fatal(err)
	}
	g.token = credentials[0].Gateway.Token
	g.lease = g.present()
	if _, err = g.use("volumeDelete(cache)", volume); broker.CodeOf(err) == broker.CodePending {
		t.Error("one free request later the humans are asked again")
	}
}

// --- the log -------------------------------------------------------------------------------------

// Entries that are on their way to a disk that hangs are neither waiting nor failed, so reads go on passing.
func TestReadsPassForAsLongAsTheDiskHangs(t *testing.T) {
	g, store := attackGate(t, staging(), nil)
	stop := g.run()
	defer stop()
	release := make(chan struct{})
	defer close(release)
	store.hook(hang(release))
	touched := at("service/web", broker.Read, "staging")
	_, _ = g.use("first", touched)
	until(t, "the log counts as late", func() bool { return !g.CallsWait() })
	passed := 0
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := g.Use(ctx, g.lease, broker.Call{Operation: fmt.Sprint("get ", i%2), Touches: []broker.Touched{touched}}); err == nil {
			passed++
		}
		cancel()
	}
	if passed > 0 {
		t.Errorf("%d reads passed while none could be recorded", passed)
	}
}

// What a write came to is dropped without a word when the log is failing at that moment.
func TestOutcomeOfAWriteIsLostWhileTheLogFails(t *testing.T) {
	g, _ := attackGate(t, staging(), nil)
	stop := g.run()
	defer stop()
	touched := at("service/web", broker.Write, "staging")
	call := broker.Call{Operation: "set", Touches: []broker.Touched{touched}}
	pass, err := g.Use(t.Context(), g.lease, call)
	if err != nil {
		t.Fatal(err)
	}
	g.Store.Fail(fmt.Errorf("no space left on device"))
	_, _ = g.use("get", at("service/web", broker.Read, "staging"))
	until(t, "the log is failing", func() bool { return !g.CallsWait() })
	g.Used(t.Context(), g.lease, pass, call, "outcome unknown")
	g.Store.Fail(nil)
	until(t, "the log says how the write came out", func() bool { return g.Events(broker.EventCallAnswered) == 1 })
}

// A read that passed before the release is written after it, with the time of writing.
func TestLogSaysThatAReadPassedAfterItsLeaseEnded(t *testing.T) {
	g, _ := attackGate(t, staging(), nil)
	stop := g.run()
	defer stop()
	if _, err := g.use("get", at("service/web", broker.Read, "staging")); err != nil {
		t.Fatal(err)
	}
	passed := g.Clock.Now()
	g.Clock.Advance(time.Second)
	if err := g.Release(t.Context(), g.Agent, g.lease.Lease.ID); err != nil {
		t.Fatal(err)
	}
	stop()
	ended := false
	for _, event := range g.Store.Log() {
		ended = ended || event.Type == broker.EventLeaseEnded
		if event.Type != broker.EventCallPassed || !ended {
			continue
		}
		var data broker.CallEvent
		if err := json.Unmarshal(event.Data, &data); err != nil || !data.First.Equal(passed) {
			t.Errorf("the log says %s: passed at %s, after the end; when it really did (first: %s) is not in it", data.Operation, event.Time, data.First)
		}
	}
}

// What was asked, and then denied, withdrawn or forgotten, is in the log by its scopes alone.
func TestLogSaysWhichOperationWasAskedFor(t *testing.T) {
	g := newGate(t)
	_, err := g.use("volumeDelete(volumeId: \"cache\")", at("volume/cache", broker.Delete, "staging"))
	id := g.pending(err)
	if err := g.Reject(t.Context(), "bob", id, g.SubjectDigest(broker.ActApprove, id), "no"); err != nil {
		t.Fatal(err)
	}
	for _, event := range g.Store.Log() {
		if strings.Contains(string(event.Data), "volumeDelete") {
			return
		}
	}
	t.Error("no event says that volumeDelete was tried, asked for and denied")
}

// Touches, and the sentence of a refusal, are written whole: one call is megabytes of log, and nothing limits calls.
func TestOneRefusedCallFillsTheLog(t *testing.T) {
	g := newGate(t)
	var touches []broker.Touched
	for i := range 20_000 { // 100 operations of 200 names each are let through by the judge
		touches = append(touches, at(fmt.Sprintf("volume/3d2c42fb-9f0b-4c38-8d5f-%012d", i), broker.Delete, "production"))
	}
	_, err := g.use("volumeDelete(…)", touches...)
	g.WantCode(err, broker.CodeDenied)
	log := g.Store.Log()
	if n := len(log[len(log)-1].Data); n > 128<<10 {
		t.Errorf("one refused call wrote %d KB", n>>10)
	}
	if len(err.Error()) > 16<<10 {
		t.Errorf("and was answered with one line of %d KB", len(err.Error())>>10)
	}
}

// A refusal costs the agent nothing, and is an fsync and an event each time; reads are counted, refusals are not.
func TestEqualRefusalsAreOneLineWithACount(t *testing.T) {
	g, _ := attackGate(t, staging(), nil)
	stop := g.run()
	began := time.Now()
	for range 500 {
		_, _ = g.use("x", at("service/web", broker.Write, "production"))
		g.RefusedCall(t.Context(), g.lease, "GET /never", broker.Errorf(broker.CodeDenied, "no row"))
	}
	stop()
	most := 100 + 2*int(time.Since(began)/(50*time.Millisecond)) // what comes within 50 ms is one line of each kind
	if n := g.Events(broker.EventCallRefused); n > most {
		t.Errorf("1000 refusals of two kinds are %d events, want at most %d", n, most)
	}
}

// --- the end -------------------------------------------------------------------------------------

// "A freeze is held in memory from the first line on": an admission that is remembered does not ask.
func TestReadsPassAfterAFreezeThatIsBeingWritten(t *testing.T) {
	g, store := attackGate(t, staging(), nil)
	stop := g.run()
	defer stop()
	touched := at("service/web", broker.Read, "staging")
	if _, err := g.use("get", touched); err != nil { // remembered from here on
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	store.hook(hang(release))
	go func() {
		_, _ = g.Freeze(context.WithoutCancel(t.Context()), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll})
	}()
	until(t, "frozen, and calls cut", func() bool {
		list, err := g.Freezes(t.Context())
		return err == nil && len(list) == 1 && g.lease.Ends.Err() != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := g.Use(ctx, g.lease, broker.Call{Operation: "get", Touches: []broker.Touched{touched}}); err == nil {
		t.Error("everything is frozen, the page says so, and a read passed")
	}
}

// Sixteen leases of a target are ended at a time, and each waits for the disk for a minute: the others' calls go on.
func TestFreezeWithAHangingDiskCutsEveryCall(t *testing.T) {
	g, store := attackGate(t, staging(), nil)
	lives := []context.Context{g.lease.Ends}
	for range 40 {
		_, credentials, err := g.Take(t.Context(), broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: staging(), Scopes: []broker.Scope{g.Scope("db:service/*:read,write")}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.Present(t.Context(), credentials[0].Gateway.Token, "thumb")
		if err != nil {
			t.Fatal(err)
		}
		lives = append(lives, p.Ends)
	}
	release := make(chan struct{})
	store.hook(hang(release))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = g.Freeze(context.WithoutCancel(t.Context()), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll})
	}()
	until(t, "the calls of all are cut", func() bool {
		return !slices.ContainsFunc(lives, func(life context.Context) bool { return life.Err() == nil })
	})
	close(release)
	<-done
}

// An approved call that reaches production goes on through staging's lease; production is frozen meanwhile.
func TestFreezeOfProductionCutsWhatReachesIt(t *testing.T) {
	g := newGate(t, "staging", "production")
	touched := at("volume/data", broker.Delete, "production")
	_, err := g.use("volumeDelete(data)", touched)
	id := g.pending(err)
	g.SignAs("bob", broker.ActApprove, id)
	g.SignAs("carol", broker.ActApprove, id)
	if _, err := g.use("volumeDelete(data)", touched); err != nil { // it is under way from here on
		t.Fatal(err)
	}
	if _, err := g.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeEnvironment, Name: "production"}); err != nil {
		t.Fatal(err)
	}
	if g.lease.Ends.Err() == nil {
		t.Error("production is frozen, and the call that deletes there is not cut")
	}
}

// bothIssuer makes a credential of its provider, and a gateway token beside it.
type bothIssuer struct{ *brokertest.Issuer }

func (i bothIssuer) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	credential, handle, err := i.Issuer.Issue(ctx, order)
	credential.Gateway = &broker.Gateway{Token: broker.NewSecret(broker.TokenPrefix + order.Lease + "_x")}
	return credential, handle, err
}

// The end of whatever has a token skips the provider, whether or not its issuer says that it is a gateway's.
func TestCredentialBesideAGatewayTokenIsEnded(t *testing.T) {
	issuer := bothIssuer{&brokertest.Issuer{ID: "memory:both", Can: broker.Capabilities{Kind: "memory", EndsEarly: true, Ends: "at once"}, Tables: []string{"public.orders"}}}
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Targets[broker.TargetRef{Environment: "staging", Target: "db"}] = broker.Target{Binding: "both", Issuer: issuer}
	})
	request := w.MustAsk("staging", "db:public.orders:read")
	credentials, err := w.Collect(t.Context(), w.Agent, request.ID)
	if err != nil {
		return // refused: well
	}
	if err := w.Release(t.Context(), w.Agent, credentials[0].Lease); err != nil {
		t.Fatal(err)
	}
	if live := issuer.Live(); len(live) > 0 {
		t.Errorf("the lease is ended, and %v works on", live)
	}
}

// --- what a resolver may give ----------------------------------------------------------------------

// A thing without a name is refused, and then its first name goes into the event of the refusal.
func TestTouchedWithoutNamesIsRefusedAndNotAPanic(t *testing.T) {
	g := newGate(t)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	_, err := g.use("x", broker.Touched{Actions: broker.Write, Places: []broker.Place{{Identity: "memory:staging"}}})
	g.WantCode(err, broker.CodeInternal)
}

// --- what the reviewer sees ------------------------------------------------------------------------

// A thing that lives in production alone, touched through staging's lease, stands under "db in staging".
func TestItemSaysWhereTheOperationHappens(t *testing.T) {
	g := newGate(t, "staging", "production")
	_, err := g.use("set", at("service/web", broker.Write, "production"))
	item := g.requestOf(g.pending(err)).Items[0]
	if !slices.Contains(item.Description.Reaches, item.Environment) {
		t.Errorf("the page's heading is %s in %s, %s; the operation reaches %v", item.Target, item.Environment, item.Description.Identity, item.Description.Reaches)
	}
	for _, line := range item.Description.Elsewhere {
		if strings.Contains(line, "also") {
			t.Errorf("%q: it lives nowhere else", line)
		}
	}
}

// strictPolicy offers what it lists, and resolves nothing else.
type strictPolicy struct {
	*brokertest.Policy
	offers []broker.Scope
}

func (p strictPolicy) Resolve(ask broker.Ask) (broker.Resolution, error) {
	if !broker.Covers(append(slices.Clone(p.Gives), p.offers...), ask.Scopes) {
		return broker.Resolution{}, broker.Errorf(broker.CodeDenied, "not offered")
	}
	return p.Policy.Resolve(ask)
}

// Two volumes of one name, which the task offers by that name: the reviewer is shown one.
func TestTwoResourcesOfOneNameAreShownAsTwo(t *testing.T) {
	var policy *strictPolicy
	g, _ := attackGate(t, staging(), func(c *broker.Config) {
		policy = &strictPolicy{Policy: c.Configuration.Policy.(*brokertest.Policy)}
		c.Configuration.Policy = policy
	})
	policy.offers = []broker.Scope{g.Scope("db:volume/data:delete")}
	policy.Offers = policy.offers
	named := func(id string) broker.Touched {
		touched := at("volume/"+id, broker.Delete, "staging")
		touched.Names = append(touched.Names, "volume/data")
		return touched
	}
	_, err := g.use("volumeDelete(id-1) volumeDelete(id-2)", named("id-1"), named("id-2"))
	if broker.CodeOf(err) == broker.CodeDenied {
		return // refused: well
	}
	request := g.requestOf(g.pending(err))
	said := broker.Sentence(request)
	if n := len(request.Items[0].Description.Scopes); n != 2 || !strings.Contains(said, "id-1") || !strings.Contains(said, "id-2") {
		t.Errorf("two volumes are deleted, %d is shown: %s", n, said)
	}
}

// A branch that is called like another one's id takes over how that one is called on the page.
func TestNameThatIsAnothersIDChangesNotHowThatIsShown(t *testing.T) {
	g := newGate(t)
	main := at("branch/aaaa", broker.Delete, "staging")
	main.Names = append(main.Names, "branch/main")
	hostile := at("branch/bbbb", broker.Delete, "staging")
	hostile.Names = append(hostile.Names, "branch/aaaa", "project/scratch") // Supabase's branches have three names
	g.Policy.Offers = []broker.Scope{g.Scope("db:*:delete")}
	_, err := g.use("delete both", main, hostile)
	request := g.requestOf(g.pending(err))
	if called := request.Called("branch/aaaa"); !strings.Contains(called, "main") {
		t.Errorf("main is shown as %q", called)
	}
}

// The provider's word for a place changes between approval and use: "if anything differs it is another question".
func TestApprovalThatNoLongerFitsIsAskedAgain(t *testing.T) {
	g := newGate(t, "staging", "production")
	touched := at("volume/data", broker.Delete, "staging", "production")
	_, err := g.use("volumeDelete(data)", touched)
	id := g.pending(err)
	g.SignAs("bob", broker.ActApprove, id)
	g.SignAs("carol", broker.ActApprove, id)
	touched.Places = []broker.Place{touched.Places[0], {Identity: "memory:production", Shown: "prod"}}
	for range 2 {
		_, err = g.use("volumeDelete(data)", touched)
	}
	if broker.CodeOf(err) != broker.CodePending {
		t.Errorf("for ten minutes nobody can be asked: %v", err)
	}
}

// --- what held -------------------------------------------------------------------------------------

func TestOneApprovalRacedBy64Callers(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	g.SignAs("bob", broker.ActApprove, g.pending(err))
	g.Clock.Advance(time.Second) // what is newest goes by the clock
	var wait sync.WaitGroup
	passed := make(chan broker.Pass, 64)
	for range 64 {
		wait.Go(func() {
			if pass, err := g.Use(g.Context(), g.present(), broker.Call{Operation: "volumeDelete(cache)", Touches: []broker.Touched{volume}}); err == nil {
				passed <- pass
			}
		})
	}
	wait.Wait()
	if len(passed) != 1 {
		t.Errorf("one approval let %d calls pass", len(passed))
	}
	if n := g.Events(broker.EventRequestSubmitted); n > 3 { // the lease's, this one, and one new question
		t.Errorf("%d requests were made", n)
	}
}

func TestApprovalOfALeaseThatWasRevokedOrWhosePasskeyIsGone(t *testing.T) {
	volume := at("volume/cache", broker.Delete, "staging")
	for what, change := range map[string]func(*gate){
		"the lease is revoked": func(g *gate) {
			_ = g.Revoke(g.Context(), broker.Caller{Kind: broker.CallerSocket}, g.lease.Lease.ID)
		},
		"the reviewer's passkey is removed": func(g *gate) {
			_ = g.Store.Update(g.Context(), func(tx broker.Tx) error { return tx.Delete(&broker.Passkey{ID: "bob-key"}) })
		},
		"the store refuses": func(g *gate) { g.Store.Fail(fmt.Errorf("full")) },
	} {
		g := newGate(t)
		_, err := g.use("volumeDelete(cache)", volume)
		g.SignAs("bob", broker.ActApprove, g.pending(err))
		change(g)
		if _, err := g.use("volumeDelete(cache)", volume); err == nil {
			t.Errorf("%s: it passed", what)
		}
		g.Store.Fail(nil)
		if what == "the store refuses" {
			if _, err := g.use("volumeDelete(cache)", volume); err != nil {
				t.Errorf("%s: the approval is lost: %v", what, err)
			}
		}
	}
}

// The timer of a lease goes by the machine's clock, the lease by ours: the sweeper is there for the difference.
func TestClockThatJumpsCutsWhatIsUnderWay(t *testing.T) {
	g, _ := attackGate(t, staging(), nil)
	stop := g.run()
	defer stop()
	g.Clock.Advance(time.Hour)
	until(t, "its hour is over, and its calls are cut", func() bool { return g.lease.Ends.Err() != nil })
}

func TestAdmissionIsNotRememberedBeyondWhatEndsIt(t *testing.T) {
	socket := broker.Caller{Kind: broker.CallerSocket}
	for what, change := range map[string]func(*gate) error{
		"agent removed": func(g *gate) error { return g.RemoveAgent(g.Context(), socket, "claude") },
		"environment frozen": func(g *gate) error {
			_, err := g.Freeze(g.Context(), socket, broker.Freeze{Of: broker.FreezeEnvironment, Name: "staging"})
			return err
		},
		"a new key": func(g *gate) error {
			code, err := g.AddAgent(g.Context(), socket, "claude", "alice")
			if err == nil {
				_, err = g.EnrolAgent(g.Context(), "claude", code, json.RawMessage(`{}`), "other")
			}
			return err
		},
		"the clock goes back": func(g *gate) error { g.Clock.Advance(-time.Minute); return nil },
		"the hour is over":    func(g *gate) error { g.Clock.Advance(time.Hour); return nil },
		"a guardrail": func(g *gate) error {
			g.Policy.Forbid = func(broker.Query) bool { return true }
			next := *g.Configuration() // as a reload: a policy that is loaded does not change
			next.Hash = "config-2"
			return g.Reload(g.Context(), socket, &next, nil)
		},
		"its target is gone from the files": func(g *gate) error {
			next := *g.Configuration()
			next.Hash, next.Targets = "config-2", map[broker.TargetRef]broker.Target{}
			g.Policy.Forbid = func(q broker.Query) bool { return true } // as policies does for a target that it does not know
			return g.Reload(g.Context(), socket, &next, nil)
		},
	} {
		g := newGate(t)
		touched := at("service/web", broker.Read, "staging")
		if _, err := g.use("get", touched); err != nil {
			t.Fatal(err)
		}
		if err := change(g); err != nil {
			t.Fatal(what, err)
		}
		if _, err := g.use("get", touched); err == nil {
			t.Errorf("%s: a read passed", what)
		}
	}
}

// Two targets that share one thing are not two environments.
func TestATargetThatIsPartOfAnothersIsNotIsolated(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.SetID("memory:11+12")
	w.Staging.Parts = "memory:11 memory:12"
	w.Production.SetID("memory:12")
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.Submit(t.Context(), taking(w, "db:public.orders:read"))
	if code := broker.CodeOf(err); code != broker.CodeWall && code != broker.CodeUnconfirmed {
		t.Fatalf("submitted: %v", err)
	}
	_, err = w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActConfirmTarget, Subject: "staging/db", Digest: w.SubjectDigest(broker.ActConfirmTarget, "staging/db")})
	w.WantCode(err, broker.CodeWall)
}

// Staging has all that begins so, and production a part of it under a name of its own.
func TestATargetWithinAPrefixOfAnothersIsNotIsolated(t *testing.T) {
	for _, parts := range [][2]string{{"s3/acme/*", "s3/acme/prod/*"}, {"s3/acme/prod/*", "s3/acme/*"}, {"s3/acme/*", "s3/acme/one"}, {"s3/acme/one", "s3/acme/*"}} {
		w := brokertest.NewWorld(t)
		w.Staging.Parts, w.Production.Parts = "s3/logs/* "+parts[0], parts[1]
		if _, err := w.Learn(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := w.Submit(t.Context(), taking(w, "db:public.orders:read"))
		if code := broker.CodeOf(err); code != broker.CodeWall && code != broker.CodeUnconfirmed {
			t.Errorf("%v: submitted: %v", parts, err)
		}
	}
	w := brokertest.NewWorld(t)
	w.Staging.Parts, w.Production.Parts = "s3/acme-staging/*", "s3/acme-production/*"
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.MustAsk("staging", "db:public.orders:read")
}
