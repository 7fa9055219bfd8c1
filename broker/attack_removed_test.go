package broker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// halfSigned is a request that needs two humans and has the signature of bob, who has a second passkey, bob2-key.
func halfSigned(w *brokertest.World, narrow *broker.Narrowing) broker.Request {
	w.Helper()
	if err := w.OfferPasskey(w.Context(), "bob", broker.Passkey{ID: "bob2-key"}); err != nil {
		w.Fatal(err)
	}
	w.SignAs("bob", broker.ActAddPasskey, "bob2-key")
	request := w.MustAsk("production", "db:public.*:delete")
	if err := w.TrySign("bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: narrow}); err != nil {
		w.Fatal(err)
	}
	w.Clock.Advance(time.Second)
	return request
}

// signWith is SignAs with another passkey of the human.
func signWith(w *brokertest.World, human, passkey string, act broker.Act, subject string) {
	w.Helper()
	intent := broker.Intent{Act: act, Subject: subject, Digest: w.SubjectDigest(act, subject)}
	if act == broker.ActApprove {
		intent.Typed = []string{"production"}
	}
	ceremony, err := w.Prepare(w.Context(), human, intent)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.Sign(w.Context(), human, ceremony.Nonce, brokertest.Assert(w, passkey, ceremony)); err != nil {
		w.Fatal(err)
	}
	w.Clock.Advance(time.Second)
}

// dropGroup has bob in no group any more, as a sign-on without it does: the files, and so their hash, stay.
func dropGroup(w *brokertest.World) {
	w.Helper()
	withGroup(w, "alice", "carol", "dan")
}

func withGroup(w *brokertest.World, humans ...string) {
	w.Helper()
	cfg := w.Configuration()
	cfg.Groups = map[string][]string{"team": humans}
	if err := w.Reload(w.Context(), broker.Caller{Kind: broker.CallerSocket}, cfg, nil); err != nil {
		w.Fatal(err)
	}
}

// newReviewer gives dan a passkey.
func newReviewer(w *brokertest.World) {
	w.Helper()
	if err := w.Store.Update(w.Context(), func(tx broker.Tx) error { return tx.Save(&broker.Passkey{ID: "dan-key", Human: "dan"}) }); err != nil {
		w.Fatal(err)
	}
}

// stands fails unless the request is in that state and so many signatures count.
func stands(w *brokertest.World, id string, state broker.RequestState, signed int) {
	w.Helper()
	request, err := w.Request(w.Context(), w.Agent, id)
	if err != nil || request.State != state || request.Signed != signed {
		w.Fatalf("%s, %d signed, %v; want %s, %d signed", request.State, request.Signed, err, state, signed)
	}
}

// voids gives why each approval no longer counts, by reviewer, in their order.
func voids(w *brokertest.World, id string) (list []string) {
	w.Helper()
	approvals, err := w.Approvals(w.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	if err != nil {
		w.Fatal(err)
	}
	for _, approval := range approvals {
		list = append(list, strings.TrimSuffix(approval.Reviewer+": "+approval.Void, ": "))
	}
	return list
}

const gone = "bob: the passkey that signed it was removed"

// The attack: a passkey was stolen and has signed; its owner removes it before the second human signs.
func TestApprovalOfARemovedPasskeyIsNotOneOfTwo(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	stands(w, request.ID, broker.RequestPending, 1)
	signWith(w, "bob", "bob2-key", broker.ActRemovePasskey, "bob-key")
	stands(w, request.ID, broker.RequestPending, 0)
	if diff := cmp.Diff([]string{gone}, voids(w, request.ID)); diff != "" {
		t.Error(diff)
	}
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	if diff := cmp.Diff([]string{gone, "carol"}, voids(w, request.ID)); diff != "" {
		t.Error(diff)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodePending)
	if w.Events(broker.EventRequestApproved) != 0 || w.Production.Made() != 0 {
		t.Error("approved, or issued")
	}
	wantVoidInTheLog(w, broker.EventRequestReviewed, broker.VoidApproval{Reviewer: "bob", Passkey: "bob-key", Why: "the passkey that signed it was removed"})

	newReviewer(w)
	withGroup(w, "alice", "bob", "carol", "dan")
	w.SignAs("dan", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
	w.MustCollect(request)
}

// wantVoidInTheLog fails unless the last event of that type says which approvals were left out.
func wantVoidInTheLog(w *brokertest.World, kind broker.EventType, want ...broker.VoidApproval) {
	w.Helper()
	var data broker.RequestEvent
	for _, event := range w.Store.Log() {
		if event.Type == kind {
			data = broker.RequestEvent{}
			if err := json.Unmarshal(event.Data, &data); err != nil {
				w.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, data.Void); diff != "" {
		w.Error(diff)
	}
	if data.Approval == nil || data.Approval.Void != "" {
		w.Error("the event does not hold the approval that counts")
	}
}

// Whose passkey was removed signs again with another one: two signatures of one human, and one that counts.
func TestHumanOfARemovedPasskeySignsAgainWithAnother(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	w.WantCode(w.MaySign(t.Context(), "bob", broker.ActApprove, request.ID), broker.CodeConflict) // signed, and it counts
	wantInbox(w, "bob")
	signWith(w, "bob", "bob2-key", broker.ActRemovePasskey, "bob-key")
	wantInbox(w, "bob", request.ID)
	signWith(w, "bob", "bob2-key", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	wantInbox(w, "bob")
	w.WantCode(w.MaySign(t.Context(), "bob", broker.ActApprove, request.ID), broker.CodeConflict)
	if diff := cmp.Diff([]string{gone, "bob"}, voids(w, request.ID)); diff != "" {
		t.Error(diff)
	}
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
	w.MustCollect(request)
}

func wantInbox(w *brokertest.World, human string, want ...string) {
	w.Helper()
	inbox, err := w.Inbox(w.Context(), human)
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, request := range inbox.Requests {
		got = append(got, request.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
}

// What the left-out human had taken out stays out: the next one saw and signed the smaller request.
func TestWhatARemovedPasskeyNarrowedStaysNarrowed(t *testing.T) {
	w := brokertest.NewWorld(t)
	narrowed := narrowTo(w, "db:public.orders:delete")
	narrowed.Items[0].Environment = "production"
	request := halfSigned(w, narrowed)
	signWith(w, "bob", "bob2-key", broker.ActRemovePasskey, "bob-key")
	signWith(w, "bob", "bob2-key", broker.ActApprove, request.ID)
	w.SignAs("carol", broker.ActApprove, request.ID)
	got := w.MustCollect(request)
	if text := strings.Join(broker.Texts(got[0].Scopes), " "); text != "db:public.orders:delete" {
		t.Fatalf("granted %s", text)
	}
}

// The attack: a reviewer signs, is thrown out of the group, and the second human's signature is the last.
func TestApprovalOfWhoLostTheGroupIsNotOneOfTwo(t *testing.T) {
	w := brokertest.NewWorld(t)
	newReviewer(w)
	request := halfSigned(w, nil)
	dropGroup(w)
	stands(w, request.ID, broker.RequestPending, 0)
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	const left = "bob: bob may not approve this any more"
	if diff := cmp.Diff([]string{left, "carol"}, voids(w, request.ID)); diff != "" {
		t.Error(diff)
	}

	withGroup(w, "alice", "bob", "carol", "dan") // given back: what was left out stays so, until bob signs once more
	stands(w, request.ID, broker.RequestPending, 1)
	w.SignAs("bob", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
	w.MustCollect(request)
}

// The same by single sign-on, where no file changes: the reviewer's next sign-on brings no group.
func TestApprovalOfWhomSingleSignOnThrewOutIsNotOneOfTwo(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	request := w.MustAsk("production", "db:public.orders:delete")
	w.SignAs("dora", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	_, err := w.SignedOn(t.Context(), account("dora"), "")
	w.WantCode(err, broker.CodeForbidden)
	stands(w, request.ID, broker.RequestPending, 0)
	w.Clock.Advance(time.Second)
	w.SignAs("bob", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
	w.MustCollect(request)
}

// One call through the gateway, too, waits for as many as count.
func TestOperationSignedByARemovedPasskeyWaits(t *testing.T) {
	g := newGate(t, "staging", "production")
	newReviewer(g.World)
	withGroup(g.World, "alice", "bob", "carol", "dan")
	shared := at("volume/data", broker.Delete, "staging", "production")
	_, err := g.use("volumeDelete(data)", shared)
	id := g.pending(err)
	g.SignAs("bob", broker.ActApprove, id)
	if err := g.Store.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(&broker.Passkey{ID: "bob-key"}) }); err != nil {
		t.Fatal(err)
	}
	g.Clock.Advance(time.Second)
	g.SignAs("carol", broker.ActApprove, id)
	_, err = g.use("volumeDelete(data)", shared)
	if again := g.pending(err); again != id {
		t.Error("asked again instead of waiting for another human")
	}
	g.SignAs("dan", broker.ActApprove, id)
	if _, err := g.use("volumeDelete(data)", shared); err != nil {
		t.Fatal(err)
	}
}

// A group that is taken away and given back before anybody else signs has changed nothing.
func TestApprovalCountsAgainWithTheGroup(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	dropGroup(w)
	if again, err := w.Submit(t.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"production"}, Scopes: []broker.Scope{w.Scope("db:public.*:delete")},
	}); err != nil || again.ID != request.ID || again.Signed != 0 {
		t.Fatalf("%s, %d signed, %v", again.ID, again.Signed, err)
	}
	withGroup(w, "alice", "bob", "carol")
	stands(w, request.ID, broker.RequestPending, 1)
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
}

// All lost: other operators sign, the new passkey replaces the old ones, and what those signed is left out.
func TestApprovalOfAReplacedPasskeyIsNotOneOfTwo(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	_, code, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "bob")
	if err != nil {
		t.Fatal(err)
	}
	w.SignAs("carol", broker.ActAdmitHuman, "bob")
	w.SignAs("alice", broker.ActAdmitHuman, "bob")
	w.Clock.Advance(time.Second)
	if err := w.AddPasskey(t.Context(), "bob", code, broker.Passkey{ID: "bob3-key"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
	if diff := cmp.Diff([]string{gone, "carol"}, voids(w, request.ID)); diff != "" {
		t.Error(diff)
	}
}

// A removed passkey comes back by the same id: what was signed before does not come back with it.
func TestApprovalOfARemovedPasskeyThatIsMadeAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	signWith(w, "bob", "bob2-key", broker.ActRemovePasskey, "bob-key")
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob-key"}); err != nil {
		t.Fatal(err)
	}
	signWith(w, "bob", "bob2-key", broker.ActAddPasskey, "bob-key")
	stands(w, request.ID, broker.RequestPending, 0)
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestPending, 1)
}

// Once enough have signed, nobody signs again: collecting refuses by itself.
func TestPasskeyRemovedAfterTheLastSignatureIssuesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := halfSigned(w, nil)
	w.SignAs("carol", broker.ActApprove, request.ID)
	stands(w, request.ID, broker.RequestApproved, 2)
	signWith(w, "bob", "bob2-key", broker.ActRemovePasskey, "bob-key")
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeDenied)
	if w.Production.Made() != 0 {
		t.Error("issued")
	}
}

// Whoever can write the store says of an approval that it does not count: it is one less, and gives no more.
func TestApprovalMarkedVoidInTheStoreCountsForNobody(t *testing.T) {
	for name, edit := range map[string]func(*broker.Approval){
		"as it was": func(*broker.Approval) {},
		"with more in it": func(a *broker.Approval) {
			a.Items[0].Description.Scopes[0].Actions |= broker.Admin
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := brokertest.NewWorld(t)
			request := halfSigned(w, nil)
			w.SignAs("carol", broker.ActApprove, request.ID)
			err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
				a := broker.Approval{Request: request.ID, Reviewer: "bob"}
				if err := tx.Load(&a); err != nil {
					return err
				}
				if err := tx.Delete(&a); err != nil {
					return err
				}
				a.Void = "because"
				edit(&a)
				return tx.Save(&a)
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Collect(t.Context(), w.Agent, request.ID)
			w.WantCode(err, broker.CodeDenied)
			if w.Production.Made() != 0 {
				t.Error("issued")
			}
		})
	}
}
