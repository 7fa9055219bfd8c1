package broker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func pendingDelete(w *brokertest.World) (broker.Request, broker.Intent) {
	w.Helper()
	another := time.Duration(w.Events(broker.EventRequestSubmitted)) * time.Second // the very same would fold into the one that waits
	request, err := w.Submit(w.Context(), broker.Ask{
		Agent: w.Agent.Name, AgentKey: w.Agent.Key, Task: "fix", Environments: []string{"staging"},
		Scopes: []broker.Scope{w.Scope("db:public.*:delete")}, TTL: 30*time.Minute - another,
	})
	if err != nil {
		w.Fatal(err)
	}
	return request, broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}
}

// refused checks that a signature was refused, recorded, and that nothing can be collected.
func refused(w *brokertest.World, request broker.Request, err error, code broker.Code) {
	w.Helper()
	w.WantCode(err, code)
	if w.Events(broker.EventReviewRefused) != 1 {
		w.Fatalf("%d refusals recorded, want 1", w.Events(broker.EventReviewRefused))
	}
	for _, e := range w.Store.Log() { // a statement may be long, and whoever signs wrongly does so again and again
		if e.Type == broker.EventReviewRefused && len(e.Data) > 1000 {
			w.Errorf("a refusal is a line of %d bytes", len(e.Data))
		}
	}
	if _, err := w.Collect(w.Context(), w.Agent, request.ID); err == nil {
		w.Fatal("collected all the same")
	}
}

func TestApprovalReplayed(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	assertion := brokertest.Assert(t, "bob-key", ceremony)
	if _, err := w.Sign(t.Context(), "bob", ceremony.Nonce, assertion); err != nil {
		t.Fatal(err)
	}
	other, _ := pendingDelete(w)
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, assertion)
	refused(w, other, err, broker.CodeConflict)
}

func TestApprovalForAnotherRequest(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, one := pendingDelete(w)
	second, two := pendingDelete(w)
	first, err := w.Prepare(t.Context(), "bob", one)
	if err != nil {
		t.Fatal(err)
	}
	target, err := w.Prepare(t.Context(), "bob", two)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "bob", target.Nonce, brokertest.Assert(t, "bob-key", first))
	refused(w, second, err, broker.CodeForbidden)
}

func TestApprovalWithoutUserVerification(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	assertion := brokertest.Assert(t, "bob-key", ceremony)
	assertion.AuthenticatorData = []byte{0}
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, assertion)
	refused(w, request, err, broker.CodeForbidden)
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-key", ceremony))
	w.WantCode(err, broker.CodeConflict) // the failed attempt consumed the nonce
}

func TestApprovalByAnotherHumansPasskey(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "carol-key", ceremony))
	refused(w, request, err, broker.CodeForbidden)
}

func TestApprovalByTheAgentsKey(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	_, err := w.Prepare(t.Context(), "claude", intent)
	w.WantCode(err, broker.CodeNotFound)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "thumb", ceremony))
	refused(w, request, err, broker.CodeForbidden)
}

func TestApprovalPreparedForAnotherHuman(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "carol", ceremony.Nonce, brokertest.Assert(t, "carol-key", ceremony))
	refused(w, request, err, broker.CodeForbidden)
}

func TestApprovalAfterItsTime(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(broker.SignFor + time.Second)
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-key", ceremony))
	refused(w, request, err, broker.CodeConflict)
}

func TestApprovalOfAnExpiredRequest(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, intent := pendingDelete(w)
	w.Clock.Advance(broker.PendingFor + time.Second)
	w.WantCode(w.TrySign("bob", intent), broker.CodeConflict)
}

func TestApprovalAfterAReload(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	ceremony, err := w.Prepare(t.Context(), "bob", intent)
	if err != nil {
		t.Fatal(err)
	}
	edited := w.Configuration()
	edited.Hash = "config-2"
	if err := w.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, edited, nil); err != nil {
		t.Fatal(err)
	}
	_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-key", ceremony))
	refused(w, request, err, broker.CodeConflict)
}

func TestApprovalOfWhatWasNotShown(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, intent := pendingDelete(w)
	intent.Digest = "of another page"
	_, err := w.Prepare(t.Context(), "bob", intent)
	w.WantCode(err, broker.CodeConflict)
}

func narrowTo(w *brokertest.World, scopes ...string) *broker.Narrowing {
	n := broker.NarrowedItem{Environment: "staging", Target: "db"}
	for _, scope := range scopes {
		n.Scopes = append(n.Scopes, w.Scope(scope))
	}
	return &broker.Narrowing{Items: []broker.NarrowedItem{n}}
}

func TestReviewerNarrows(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	intent.Narrow = narrowTo(w, "db:public.orders:delete")
	intent.Narrow.TTL = 10 * time.Minute
	if err := w.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	got := w.MustCollect(request)
	if text := strings.Join(broker.Texts(got[0].Scopes), " "); text != "db:public.orders:delete" {
		t.Fatalf("granted %s", text)
	}
	if !got[0].Expires.Equal(w.Clock.Now().Add(10 * time.Minute)) {
		t.Fatalf("expires %s", got[0].Expires)
	}
}

func TestReviewerWidens(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, intent := pendingDelete(w)
	for _, scopes := range [][]string{{"db:public.orders:delete,read"}, {"db:public.secrets:delete"}, {"db:public.*:delete"}} {
		intent.Narrow = narrowTo(w, scopes...)
		_, err := w.Prepare(t.Context(), "bob", intent)
		w.WantCode(err, broker.CodeInvalid)
	}
	intent.Narrow = &broker.Narrowing{TTL: 40 * time.Minute}
	_, err := w.Prepare(t.Context(), "bob", intent)
	w.WantCode(err, broker.CodeInvalid)
}

func TestSecondReviewerSeesWhatTheFirstNarrowed(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.*:delete")
	intent := broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}
	stale := intent
	narrowed := narrowTo(w, "db:public.orders:delete")
	narrowed.Items[0].Environment = "production"
	intent.Narrow = narrowed
	if err := w.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.TrySign("carol", stale), broker.CodeConflict)
	w.SignAs("carol", broker.ActApprove, request.ID)
	got := w.MustCollect(request)
	if text := strings.Join(broker.Texts(got[0].Scopes), " "); text != "db:public.orders:delete" {
		t.Fatalf("granted %s", text)
	}
}

// TestStoreEditedBetweenApprovalAndCollect: whoever can write the store still cannot make an approval
// for something else, because every signature is checked again.
func TestStoreEditedBetweenApprovalAndCollect(t *testing.T) {
	edits := map[string]func(*broker.Request, *broker.Approval){
		"request wider": func(q *broker.Request, _ *broker.Approval) {
			q.Items[0].Description.Scopes[0].Actions |= broker.Admin
		},
		"granted wider": func(q *broker.Request, _ *broker.Approval) {
			item := q.Items[0]
			item.Description.Native = append(item.Description.Native, "GRANT ALL")
			q.Granted = []broker.Item{item}
		},
		"longer": func(q *broker.Request, _ *broker.Approval) { q.GrantedTTL = time.Hour },
		"another agent key": func(q *broker.Request, a *broker.Approval) {
			a.Statement.AgentKey = "mallory"
		},
		"another reviewer": func(_ *broker.Request, a *broker.Approval) { a.Statement.Reviewer, a.Reviewer = "carol", "carol" },
		"statement wider":  func(_ *broker.Request, a *broker.Approval) { a.Statement.TTL = 3600 },
		"another origin":   func(_ *broker.Request, a *broker.Approval) { a.Statement.Origin = "https://evil.test" },
		"signature":        func(_ *broker.Request, a *broker.Approval) { a.Assertion.Signature[0] ^= 1 },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			w := brokertest.NewWorld(t)
			request, _ := pendingDelete(w)
			w.SignAs("bob", broker.ActApprove, request.ID)
			err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
				q, a := broker.Request{ID: request.ID}, broker.Approval{Request: request.ID, Reviewer: "bob"}
				if err := tx.Load(&q); err != nil {
					return err
				}
				if err := tx.Load(&a); err != nil {
					return err
				}
				edit(&q, &a)
				if err := tx.Save(&q); err != nil {
					return err
				}
				return tx.Save(&a)
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Collect(t.Context(), w.Agent, request.ID)
			if err == nil || w.Staging.Made() != 0 {
				t.Fatal("issued what nobody signed")
			}
			if w.Events(broker.EventCollectRefused) != 1 {
				t.Error("the refusal was not recorded")
			}
		})
	}
}

func TestReviewerWhoLeftTheGroupNoLongerCounts(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, _ := pendingDelete(w)
	w.SignAs("bob", broker.ActApprove, request.ID)
	cfg := w.Configuration()
	cfg.Groups = map[string][]string{"team": {"alice", "carol"}} // the hash is left alone: the count alone must notice
	if err := w.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, cfg, nil); err != nil {
		t.Fatal(err)
	}
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeDenied)
}

func TestLostPasskeyVoidsItsApproval(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, _ := pendingDelete(w)
	w.SignAs("bob", broker.ActApprove, request.ID)
	if _, _, err := w.ResetHuman(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Collect(t.Context(), w.Agent, request.ID); err == nil {
		t.Fatal("collected on the approval of a passkey that was reset")
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
}

func TestDenialNeedsNoPasskeyAndIsFinal(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	w.WantCode(w.Reject(t.Context(), "mallory", request.ID, request.Digest(), ""), broker.CodeNotFound)
	w.WantCode(w.Reject(t.Context(), "bob", request.ID, "of another page", ""), broker.CodeConflict)
	if err := w.Reject(t.Context(), "bob", request.ID, request.Digest(), "not today"); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.TrySign("carol", intent), broker.CodeConflict)
	_, err := w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeDenied)
	if !strings.Contains(err.Error(), "not today") {
		t.Errorf("%q does not say why", err)
	}
}

func TestSocketNeitherApprovesNorLiftsNorIssues(t *testing.T) {
	w := brokertest.NewWorld(t)
	request, intent := pendingDelete(w)
	_, err := w.Prepare(t.Context(), "socket", intent)
	w.WantCode(err, broker.CodeNotFound)
	_, err = w.Collect(t.Context(), broker.Caller{Kind: broker.CallerSocket}, request.ID)
	w.WantCode(err, broker.CodeNotFound)
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll}); err != nil {
		t.Fatal(err)
	}
	_, err = w.Prepare(t.Context(), "socket", broker.Intent{Act: broker.ActLiftFreeze, Subject: "all", Digest: w.SubjectDigest(broker.ActLiftFreeze, "all")})
	w.WantCode(err, broker.CodeForbidden)
}

func TestAgentIsInertUntilItsOwnerSigns(t *testing.T) {
	w := brokertest.NewWorld(t)
	socket := broker.Caller{Kind: broker.CallerSocket}
	code, err := w.AddAgent(t.Context(), socket, "ci/deploy", "bob")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.EnrolAgent(t.Context(), "ci/deploy", broker.NewSecret("wrong"), json.RawMessage(`{}`), "ci-thumb")
	w.WantCode(err, broker.CodeForbidden)
	if _, err := w.EnrolAgent(t.Context(), "ci/deploy", broker.NewSecret(strings.ToUpper(code.Reveal())), json.RawMessage(`{}`), "ci-thumb"); err != nil {
		t.Fatal(err)
	}
	_, err = w.EnrolAgent(t.Context(), "ci/deploy", code, json.RawMessage(`{}`), "mallory")
	w.WantCode(err, broker.CodeForbidden) // the code works once
	ask := broker.Ask{Agent: "ci/deploy", AgentKey: "ci-thumb", Task: "fix", Environments: []string{"staging"}}
	_, err = w.Submit(t.Context(), ask)
	w.WantCode(err, broker.CodeForbidden)
	intent := broker.Intent{Act: broker.ActActivateAgent, Subject: "ci/deploy", Digest: w.SubjectDigest(broker.ActActivateAgent, "ci/deploy")}
	w.WantCode(w.TrySign("alice", intent), broker.CodeNotFound) // not hers
	if err := w.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Submit(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
}

func TestLaterInvitesWaitForOperators(t *testing.T) {
	w := brokertest.NewWorld(t)
	socket := broker.Caller{Kind: broker.CallerSocket}
	invite, code, err := w.InviteHuman(t.Context(), socket, "dave")
	if err != nil || invite.State != broker.InviteInert {
		t.Fatalf("%+v, %v", invite, err)
	}
	_, err = w.Redeem(t.Context(), "dave", code)
	w.WantCode(err, broker.CodeForbidden)
	w.WantCode(w.AddPasskey(t.Context(), "dave", code, broker.Passkey{ID: "dave-key"}), broker.CodeForbidden)
	w.SignAs("bob", broker.ActAdmitHuman, "dave")
	w.SignAs("alice", broker.ActAdmitHuman, "dave")
	if _, err := w.Redeem(t.Context(), "dave", code); err != nil {
		t.Fatal(err)
	}
	if err := w.AddPasskey(t.Context(), "dave", code, broker.Passkey{ID: "dave-key"}); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.AddPasskey(t.Context(), "dave", code, broker.Passkey{ID: "second"}), broker.CodeForbidden)
}

func TestNewcomerToAProtectedEnvironmentNeedsAsManyAsItsApprovals(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Groups["team"] = []string{"alice", "bob", "carol", "dave"} })
	invite, code, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "dave")
	if err != nil || invite.Needs != 2 {
		t.Fatalf("needs %d, %v", invite.Needs, err)
	}
	w.SignAs("alice", broker.ActAdmitHuman, "dave")
	_, err = w.Redeem(t.Context(), "dave", code)
	w.WantCode(err, broker.CodeForbidden)
	w.SignAs("bob", broker.ActAdmitHuman, "dave")
	if _, err := w.Redeem(t.Context(), "dave", code); err != nil {
		t.Fatal(err)
	}
}
