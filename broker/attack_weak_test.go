package broker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// An agent asks for no more than a write, at a provider whose wall before deleting has a known way around.
func TestWriteThatIsKnownToDeleteNeedsTheApprovalOfDelete(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Weak = broker.Delete
	request := w.MustAsk("staging", "db:public.orders:read,write")
	if request.State != broker.RequestPending || !strings.Contains(broker.Sentence(request), "read, write and delete public.orders") {
		t.Fatalf("%s: %s", request.State, broker.Sentence(request))
	}
	if !slices.ContainsFunc(request.Decision.Reasons, func(r broker.Reason) bool {
		return strings.Contains(r.Text, "approve delete in staging, which nothing else stops (going around: it is known to work)")
	}) {
		t.Errorf("the agent is not told why: %v", request.Decision.Reasons)
	}
	w.SignAs("bob", broker.ActApprove, request.ID)
	if got := w.MustCollect(request)[0].Scopes; got[0].Actions != broker.Read|broker.Write {
		t.Errorf("what is granted is %s; want no more than was asked", got)
	}
	if read := w.MustAsk("staging", "db:public.customers:read"); read.State != broker.RequestApproved {
		t.Errorf("a read is %s", read.State)
	}
}

func TestWriteThatIsKnownToDeleteInAProtectedEnvironment(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Production.Weak = broker.Delete
	request := w.MustAsk("production", "db:public.orders:write")
	if len(request.Needs) != 1 || request.Needs[0].Humans != 2 {
		t.Errorf("needs %v; want the two of a delete", request.Needs)
	}
	if typed := w.Broker.Configuration().MustType(request.Items); len(typed) != 1 {
		t.Errorf("nobody types the name of the environment: %v", typed)
	}
}

// A guardrail forbids to delete; a write that can is a delete.
func TestGuardrailForbidsWhatAWeakWallGives(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Weak = broker.Delete
	w.Policy.Forbid = func(q broker.Query) bool { return broker.AllActions(q.Scopes).Has(broker.Delete) }
	_, err := w.Ask("staging", "db:public.orders:write")
	w.WantCode(err, broker.CodeDenied)
}

// A wall becomes weak between the approval by policy and the collect.
func TestWallWeakensBeforeTheCollect(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:write")
	w.Staging.Weak = broker.Delete
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeConflict)
}

// An issuer's description speaks of what another target could do.
func TestWallThatGivesAnotherTarget(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Weak, w.Staging.WeakAt = broker.Delete, "other"
	_, err := w.Ask("staging", "db:public.orders:write")
	w.WantCode(err, broker.CodeInternal)
}

// What a hole gives may be everything that there is.
func TestSentenceSaysEverything(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Weak, w.Staging.Tables = broker.Delete, nil
	request := w.MustAsk("staging", "db:public.orders:write")
	request.Items[0].Description.Walls[0].Gives[0].Resource = "*"
	if got := broker.Sentence(request); !strings.Contains(got, "asks to delete * (everything) of db in staging; write public.orders of db in staging") {
		t.Error(got)
	}
}
