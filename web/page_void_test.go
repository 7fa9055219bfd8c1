package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// The attack: bob reads that one of two has signed, and that his signature is the last; the passkey behind the first is
// gone.
func TestAPageDoesNotCountTheSignatureOfARemovedPasskey(t *testing.T) {
	w := settled(t)
	w.twoSign()
	shared := w.config.Environments["shared"]
	shared.Protected = false // else its name is typed
	w.config.Environments["shared"] = shared
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/shared/db", "shared/db")
	request := w.askIn("shared")
	path := "/requests/" + request.ID
	w.sign(w.alice, broker.ActApprove, path, request.ID)
	text, _ := w.reads(w.bob, path)
	w.wantsText(text, "1 signed, waits for 1 more human", "Then the agent can collect it.")

	passkey := w.keysOf("alice")[0]
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(&passkey) }))
	text, _ = w.reads(w.bob, path)
	w.wantsText(text, "Waits for 2 humans", "0 of 2 approvals, 2 missing", "No longer counts : the passkey that signed it was removed", "1 more human must sign before the agent can collect it.")
	w.sign(w.bob, broker.ActApprove, path, request.ID)
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Errorf("the request is %s", got)
	}
	text, _ = w.reads(w.bob, path)
	w.wantsText(text, "1 signed, waits for 1 more human", "1 of 2 approvals, 1 missing", "No longer counts", "You signed this. It waits for others.")
}

// What programs read says the same as the page: how many count, and why one does not.
func TestTheAPIDoesNotCountTheSignatureOfARemovedPasskey(t *testing.T) {
	x := newSite(t)
	request := x.MustAsk("production", "db:public.orders:delete")
	x.SignAs("bob", broker.ActApprove, request.ID)
	x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(&broker.Passkey{ID: "bob-key"}) }))
	x.Clock.Advance(time.Second)
	x.SignAs("carol", broker.ActApprove, request.ID)

	var one api.Request
	x.do("GET", strings.Replace(api.PathRequest, "{id}", request.ID, 1), "", bearer(x.agent.token())).want(http.StatusOK).decode(&one)
	if one.State != api.StatePending || one.Signed != 1 {
		t.Errorf("%s, %d signed", one.State, one.Signed)
	}
	var signed api.ApprovalList
	x.do("GET", api.PathApprovals+"?request="+request.ID, "", x.signIn("carol")).want(http.StatusOK).decode(&signed)
	if len(signed.Approvals) != 2 || signed.Approvals[0].Reviewer != "bob" || signed.Approvals[0].Void != "the passkey that signed it was removed" || signed.Approvals[1].Void != "" {
		t.Errorf("%+v", signed.Approvals)
	}
}
