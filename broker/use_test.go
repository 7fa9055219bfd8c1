package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// gate is a world whose targets are behind the gateway, with one lease in staging.
type gate struct {
	*brokertest.World
	token broker.Secret
	lease *broker.Presented
}

func newGate(t *testing.T, environments ...string) *gate {
	t.Helper()
	w := brokertest.NewWorld(t)
	can := broker.Capabilities{Kind: "memory", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}
	w.Staging.Can, w.Production.Can = can, can
	w.Policy.Gives = []broker.Scope{w.Scope("db:service/*:read,write")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:volume/*:delete")}
	if len(environments) == 0 {
		environments = []string{"staging"}
	}
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: environments, Scopes: []broker.Scope{w.Scope("db:service/*:read,write")}}
	request, err := w.Submit(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if request.State == broker.RequestPending {
		w.SignAs("bob", broker.ActApprove, request.ID)
	}
	credentials, err := w.Collect(t.Context(), w.Agent, request.ID)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{World: w}
	for _, c := range credentials {
		if c.Environment == "staging" {
			g.token = c.Gateway.Token
		}
	}
	g.lease = g.present()
	return g
}

func (g *gate) present() *broker.Presented {
	g.Helper()
	p, err := g.Present(g.Context(), g.token, "thumb")
	if err != nil {
		g.Fatal(err)
	}
	return p
}

func (g *gate) use(operation string, touches ...broker.Touched) (broker.Pass, error) {
	g.Helper()
	return g.Use(g.Context(), g.lease, broker.Call{Operation: operation, Touches: touches})
}

func at(name string, action broker.Actions, places ...string) broker.Touched {
	t := broker.Touched{Names: []broker.Resource{broker.Resource(name)}, Actions: action, Says: name + " and all that is on it"}
	for _, place := range places {
		t.Places = append(t.Places, broker.Place{Identity: "memory:" + place, Shown: place})
	}
	return t
}

func (g *gate) pending(err error) string {
	g.Helper()
	e, ok := errors.AsType[*broker.Error](err)
	if !ok || e.Code != broker.CodePending || e.Request == "" || !strings.Contains(e.Message, e.URL) || !strings.Contains(e.Message, e.Request) {
		g.Fatalf("want a request that waits, with link and id: %v", err)
	}
	return e.Request
}

func TestCallThatTheLeaseCoversPassesAndIsDurable(t *testing.T) {
	g := newGate(t)
	if _, err := g.use("set", at("service/web", broker.Write, "staging")); err != nil {
		t.Fatal(err)
	}
	if n := g.Events(broker.EventCallPassed); n != 1 {
		t.Errorf("%d events before the write was forwarded, want 1", n)
	}
	if _, err := g.use("get", at("service/web", broker.Read, "staging")); err != nil {
		t.Fatal(err)
	}
	if n := g.Events(broker.EventCallPassed); n != 2 { // nobody runs to write it later, so it was written at once
		t.Errorf("%d events, want 2", n)
	}
}

func TestReadsAreInTheLogATenthOfASecondLater(t *testing.T) {
	g := newGate(t)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { _ = g.Run(ctx); close(ran) }()
	time.Sleep(20 * time.Millisecond)
	for range 50 {
		if _, err := g.use("get", at("service/web", broker.Read, "staging")); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	<-ran
	total := 0
	for _, e := range g.CallsOf(broker.EventCallPassed) {
		total += e.Count
	}
	if total != 50 {
		t.Errorf("the log counts %d reads, want 50", total)
	}
}

func TestReadsStopWhenTheLogCannotBeWritten(t *testing.T) {
	g := newGate(t)
	g.Store.Fail(errors.New("no space left on device"))
	defer g.Store.Fail(nil)
	if _, err := g.use("get", at("service/web", broker.Read, "staging")); err == nil {
		t.Fatal("a read passed unrecorded")
	}
}

func TestLeaseTokenOfAnotherKeyOrNobody(t *testing.T) {
	g := newGate(t)
	for what, err := range map[string]error{
		"another key":     second(g.Present(t.Context(), g.token, "other")),
		"no key":          second(g.Present(t.Context(), g.token, "")),
		"another secret":  second(g.Present(t.Context(), broker.NewSecret(g.token.Reveal()+"x"), "thumb")),
		"a made-up lease": second(g.Present(t.Context(), broker.NewSecret("hkt_0_x"), "thumb")),
		"nothing":         second(g.Present(t.Context(), broker.Secret{}, "thumb")),
	} {
		if broker.CodeOf(err) != broker.CodeUnauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	if g.lease.Ends.Err() != nil {
		t.Error("a stranger's guess ended the lease's calls")
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestCallsEndWithTheLease(t *testing.T) {
	for what, end := range map[string]func(*gate) error{
		"release": func(g *gate) error { return g.Release(g.Context(), g.Agent, g.lease.Lease.ID) },
		"revoke": func(g *gate) error {
			return g.Revoke(g.Context(), broker.Caller{Kind: broker.CallerSocket}, g.lease.Lease.ID)
		},
		"freeze": func(g *gate) error {
			_, err := g.Freeze(g.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude"})
			return err
		},
		"freeze on a full disk": func(g *gate) error {
			g.Store.Fail(errors.New("no space left on device"))
			_, _ = g.Freeze(g.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude"})
			return nil
		},
		"expiry": func(g *gate) error {
			g.Clock.Advance(31 * time.Minute)
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGate(t)
			if err := end(g); err != nil {
				t.Fatal(err)
			}
			if what != "expiry" && g.lease.Ends.Err() == nil { // the timer of an expiry runs by the real clock
				t.Error("calls that are under way go on")
			}
			if _, err := g.use("get", at("service/web", broker.Read, "staging")); err == nil {
				t.Error("a call passed")
			}
			if _, err := g.Present(t.Context(), g.token, "thumb"); err == nil {
				t.Error("the token was taken")
			}
		})
	}
}

func TestProductionsIDThroughAStagingLease(t *testing.T) {
	g := newGate(t)
	_, err := g.use("set", at("service/web", broker.Write, "production"))
	g.WantCode(err, broker.CodeDenied)
	_, err = g.use("set", at("service/web", broker.Read, "staging", "production"))
	g.WantCode(err, broker.CodeDenied)
	_, err = g.use("set", at("service/web", broker.Write, "elsewhere"))
	g.WantCode(err, broker.CodeDenied)
	if n := g.Events(broker.EventCallRefused); n != 3 {
		t.Errorf("%d refusals in the log, want 3", n)
	}
}

func TestCallOutsideTheScope(t *testing.T) {
	g := newGate(t)
	_, err := g.use("x", at("bucket/logs", broker.Read, "staging"))
	g.WantCode(err, broker.CodeDenied)
	_, err = g.use("x", at("service/web", broker.Delete, "staging"))
	g.WantCode(err, broker.CodeDenied)
	_, err = g.use("x", broker.Touched{Names: []broker.Resource{"service/web"}, Actions: broker.Read})
	g.WantCode(err, broker.CodeInternal) // lives nowhere: not looked up
	_, err = g.use("x", at("service/web", broker.Read|broker.Write, "staging"))
	g.WantCode(err, broker.CodeInternal)
}

func TestGuardrailForbidsByAnyName(t *testing.T) {
	g := newGate(t)
	g.Policy.Forbid = func(q broker.Query) bool {
		return slices.ContainsFunc(q.Scopes, func(s broker.Scope) bool { return s.Resource == "service/payments" })
	}
	touched := at("service/id-1", broker.Write, "staging")
	touched.Names = append(touched.Names, "service/payments")
	_, err := g.use("set", touched)
	g.WantCode(err, broker.CodeDenied)
}

func TestApprovedOperationPassesOnceAndNoOther(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	id := g.pending(err)
	_, err = g.use("volumeDelete(cache)", volume)
	if again := g.pending(err); again != id {
		t.Errorf("the same call asked twice: %s, %s", id, again)
	}
	if _, err := g.Collect(t.Context(), g.Agent, id); broker.CodeOf(err) != broker.CodePending {
		t.Errorf("collect before the approval: %v", err)
	}
	g.SignAs("bob", broker.ActApprove, id)
	if _, err := g.Collect(t.Context(), g.Agent, id); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("the approval of a call was collected as a credential: %v", err)
	}
	_, err = g.use("volumeDelete(data)", at("volume/data", broker.Delete, "staging"))
	if other := g.pending(err); other == id {
		t.Error("another volume's call found the approval")
	}
	_, err = g.use("volumeDelete(cache, force: true)", volume)
	g.pending(err)
	pass, err := g.use("volumeDelete(cache)", volume)
	if err != nil || pass.Request != id {
		t.Fatalf("approved: %+v, %v", pass, err)
	}
	_, err = g.use("volumeDelete(cache)", volume)
	if again := g.pending(err); again == id {
		t.Error("one approval let two calls pass")
	}
}

// An agent that waited for the human has another lease by then: the approval is for the task, not for the lease.
func TestApprovedOperationPassesThroughTheNextLeaseOfItsTask(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	id := g.pending(err)
	g.another("fix")
	_, err = g.use("volumeDelete(cache)", volume)
	if again := g.pending(err); again != id {
		t.Error("the next lease asks the humans anew")
	}
	g.SignAs("bob", broker.ActApprove, id)
	first := g.lease
	g.another("tidy")
	if _, err = g.use("volumeDelete(cache)", volume); broker.CodeOf(err) != broker.CodePending || g.pending(err) == id {
		t.Errorf("another task's lease uses the approval: %v", err)
	}
	g.lease = first
	if pass, err := g.use("volumeDelete(cache)", volume); err != nil || pass.Request != id {
		t.Fatalf("approved: %+v, %v", pass, err)
	}
}

// The attack: a human revokes the lease, or freezes the agent for a moment, and the agent uses what was approved by the next lease.
func TestApprovedOperationIsCalledBackWithTheLease(t *testing.T) {
	volume := at("volume/cache", broker.Delete, "staging")
	for what, end := range map[string]func(*gate) error{
		"revoked": func(g *gate) error { return g.Revoke(g.Context(), asHuman("carol"), g.lease.Lease.ID) },
		"frozen and lifted": func(g *gate) error {
			_, err := g.Freeze(g.Context(), asHuman("carol"), broker.Freeze{Of: broker.FreezeAgent, Name: "claude"})
			g.SignAs("carol", broker.ActLiftFreeze, "agent:claude")
			return err
		},
	} {
		g := newGate(t)
		_, err := g.use("volumeDelete(cache)", volume)
		id := g.pending(err)
		g.SignAs("bob", broker.ActApprove, id)
		g.Clock.Advance(time.Second)
		if err := end(g); err != nil {
			t.Fatal(err)
		}
		g.Clock.Advance(time.Second)
		g.another("fix")
		if _, err = g.use("volumeDelete(cache)", volume); broker.CodeOf(err) != broker.CodePending || g.pending(err) == id {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// another goes on with another lease in staging, of a task.
func (g *gate) another(task string) {
	g.Helper()
	_, credentials, err := g.Take(g.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: task, Environments: []string{"staging"}, Scopes: []broker.Scope{g.Scope("db:service/*:read,write")},
	})
	if err != nil {
		g.Fatal(err)
	}
	g.token = credentials[0].Gateway.Token
	g.lease = g.present()
}

func TestApprovedOperationThatReachesFurtherByThen(t *testing.T) {
	g := newGate(t)
	_, err := g.use("commit", at("volume/cache", broker.Delete, "staging"))
	g.SignAs("bob", broker.ActApprove, g.pending(err))
	_, err = g.use("commit", at("volume/cache", broker.Delete, "staging", "production"))
	g.WantCode(err, broker.CodeDenied)
	_, err = g.use("commit", at("volume/cache", broker.Delete, "staging"), at("volume/data", broker.Delete, "staging"))
	g.pending(err) // the staged content changed: another question
}

func TestOperationInTwoEnvironmentsNeedsTheHumansOfBoth(t *testing.T) {
	g := newGate(t, "staging", "production")
	shared := at("volume/data", broker.Delete, "staging", "production")
	_, err := g.use("volumeDelete(data)", shared)
	id := g.pending(err)
	g.SignAs("bob", broker.ActApprove, id)
	_, err = g.use("volumeDelete(data)", shared)
	if again := g.pending(err); again != id {
		t.Error("asked again instead of waiting for production's second human")
	}
	g.SignAs("carol", broker.ActApprove, id)
	if _, err := g.use("volumeDelete(data)", shared); err != nil {
		t.Fatal(err)
	}
}

func TestWriteIntoTheOtherEnvironmentOfOneRequestIsNotCovered(t *testing.T) {
	g := newGate(t, "staging", "production")
	_, err := g.use("set", at("service/web", broker.Write, "production"))
	g.pending(err) // through staging's lease it is one signed operation, or nothing
}

func TestDeniedOperationIsNotAskedAgain(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	id := g.pending(err)
	if err := g.Reject(t.Context(), "bob", id, g.SubjectDigest(broker.ActApprove, id), "not today"); err != nil {
		t.Fatal(err)
	}
	_, err = g.use("volumeDelete(cache)", volume)
	g.WantCode(err, broker.CodeDenied)
	if !strings.Contains(err.Error(), "not today") {
		t.Errorf("the reviewer's words are lost: %v", err)
	}
}

func TestApprovalOfAnOperationDiesInTenMinutesAndWithAReload(t *testing.T) {
	g := newGate(t)
	volume := at("volume/cache", broker.Delete, "staging")
	_, err := g.use("volumeDelete(cache)", volume)
	id := g.pending(err)
	g.SignAs("bob", broker.ActApprove, id)
	next := g.Configuration()
	changed := *next
	changed.Hash = "config-2"
	if err := g.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, &changed, nil); err != nil {
		t.Fatal(err)
	}
	_, err = g.use("volumeDelete(cache)", volume)
	if again := g.pending(err); again == id {
		t.Error("asked under one configuration, used under another")
	}
	if err := g.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, next, nil); err != nil {
		t.Fatal(err)
	}
	g.Clock.Advance(11 * time.Minute)
	_, err = g.use("volumeDelete(cache)", volume)
	if again := g.pending(err); again == id {
		t.Error("the approval is older than ten minutes")
	}
}

func TestOperationTooLongToBeShownIsNotApproved(t *testing.T) {
	g := newGate(t)
	_, err := g.use(strings.Repeat("x", 65<<10), at("volume/cache", broker.Delete, "staging"))
	g.WantCode(err, broker.CodeDenied)
}

func TestHiddenValueIsPartOfWhatWasApproved(t *testing.T) {
	g := newGate(t)
	call := broker.Call{Operation: "volumeRestore(key: hidden)", Exact: "digest-1", Touches: []broker.Touched{at("volume/cache", broker.Delete, "staging")}}
	_, err := g.Use(t.Context(), g.lease, call)
	g.SignAs("bob", broker.ActApprove, g.pending(err))
	call.Exact = "digest-2"
	_, err = g.Use(t.Context(), g.lease, call)
	g.pending(err)
}
