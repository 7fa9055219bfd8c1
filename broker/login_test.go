package broker_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

func account(name string, groups ...string) broker.Account {
	return broker.Account{Issuer: "https://login.example", Subject: "sub-" + name, Email: name + "@example.com", Name: name, Groups: groups}
}

func mustSignOn(w *brokertest.World, name string, groups ...string) broker.Login {
	w.Helper()
	login, err := w.SignedOn(w.Context(), account(name, groups...), "")
	if err != nil {
		w.Fatal(err)
	}
	return login
}

// newcomer signs on, offers a passkey, and is admitted by every operator that is needed.
func newcomer(w *brokertest.World, name string, groups ...string) {
	w.Helper()
	mustSignOn(w, name, groups...)
	if _, err := w.AskAdmission(w.Context(), name, broker.Passkey{ID: name + "-key"}); err != nil {
		w.Fatal(err)
	}
	w.SignAs("bob", broker.ActAdmitHuman, name)
	if keys, err := w.Passkeys(w.Context(), name); err != nil || len(keys) != 1 {
		w.SignAs("carol", broker.ActAdmitHuman, name)
	}
}

func TestSingleSignOnBringsAReviewer(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("dora", broker.ActApprove, request.ID)
	w.MustCollect(request)
}

// The attack: an account is made at the provider whose name is that of a reviewer here.
func TestSingleSignOnTakesAKnownName(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, err := w.SignedOn(t.Context(), account("bob", "team"), "")
	w.WantCode(err, broker.CodeConflict)
	_, err = w.SignedOn(t.Context(), account("bob", "team"), "carol") // with a session of somebody else
	w.WantCode(err, broker.CodeConflict)
	if _, err := w.SignedOn(t.Context(), account("bob", "team"), "bob"); err != nil { // connects the own account
		t.Fatal(err)
	}
	other := account("bob", "team")
	other.Subject = "another"
	_, err = w.SignedOn(t.Context(), other, "")
	w.WantCode(err, broker.CodeConflict)
	if n := w.Events(broker.EventSignOnRefused); n != 3 {
		t.Errorf("%d refusals recorded, want 3", n)
	}
	if login, err := w.SignedOn(t.Context(), other, "bob"); err != nil || login.Subject != "another" { // moved, with the passkey
		t.Errorf("%+v, %v", login, err)
	}
	_, err = w.SignedOn(t.Context(), account("bob", "team"), "")
	w.WantCode(err, broker.CodeConflict) // the former account is out
}

// Somebody of the same company, in no group that is let in, leaves no trace but the refusal.
func TestSignOnWithoutAGroupMakesNoHuman(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, err := w.SignedOn(t.Context(), account("dora"), "")
	w.WantCode(err, broker.CodeForbidden)
	if _, err := w.Human(t.Context(), "dora"); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a human was made: %v", err)
	}
}

// A group that the files do not let single sign-on bring any more counts for nothing from the reload on.
func TestGroupUnmappedByAReload(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	for what, signOn := range map[string]*broker.SignOn{"off": nil, "no group": {Issuer: "https://login.example"}, "another issuer": {Issuer: "https://other.example", Groups: []string{"team"}}} {
		next := w.Configuration()
		next.SignOn = signOn
		if err := w.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, next, nil); err != nil {
			t.Fatal(err)
		}
		if w.Broker.Configuration().MayReview("dora", "staging") {
			t.Errorf("%s: dora still reviews", what)
		}
	}
}

func TestAnotherSubjectClaimsTheSameName(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	other := account("dora", "team")
	other.Subject = "another"
	_, err := w.SignedOn(t.Context(), other, "")
	w.WantCode(err, broker.CodeConflict)
	elsewhere := account("dora", "team")
	elsewhere.Issuer = "https://evil.example"
	_, err = w.SignedOn(t.Context(), elsewhere, "")
	w.WantCode(err, broker.CodeConflict)
}

// A group is taken away at the provider: at the next sign-on an approval given before no longer counts.
func TestRemovedGroupVoidsTheApproval(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("dora", broker.ActApprove, request.ID)
	_, err := w.SignedOn(t.Context(), account("dora"), "")
	w.WantCode(err, broker.CodeForbidden)
	_, err = w.Collect(t.Context(), w.Agent, request.ID)
	w.WantCode(err, broker.CodeDenied)
	if w.Broker.Configuration().MayReview("dora", "staging") {
		t.Error("dora still reviews")
	}
}

// An old sign-on signs nothing, though the passkey is good; what was signed in time is collected.
func TestGroupsOfAnOldSignOnSignNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	w.Clock.Advance(broker.SignedOnFor - time.Minute)
	before := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("dora", broker.ActApprove, before.ID)
	w.Clock.Advance(2 * time.Minute)
	w.MustCollect(before)
	after := w.MustAsk("staging", "db:public.customers:delete")
	w.WantCode(w.TrySign("dora", broker.Intent{Act: broker.ActApprove, Subject: after.ID, Digest: after.Digest()}), broker.CodeForbidden)
	w.Clock.Advance(2 * time.Hour)
	if w.Broker.Configuration().MayReview("dora", "staging") {
		t.Error("dora reviews fourteen hours after the sign-on")
	}
	mustSignOn(w, "dora", "team")
	again := w.MustAsk("staging", "db:public.*:delete")
	w.SignAs("dora", broker.ActApprove, again.ID)
}

// A clock that is set back makes no sign-on of the future valid for longer.
func TestSignOnOfTheFuture(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	w.Clock.Advance(-time.Hour)
	if w.Broker.Configuration().MayReview("dora", "staging") {
		t.Error("a sign-on that has not happened yet counts")
	}
}

// Nobody who may be waited for is forgotten because last night's sign-on is over.
func TestReviewersWhoMustSignOnAgainAreAsked(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Groups["team"] = []string{"alice", "bob"} })
	_, err := w.Ask("production", "db:public.orders:delete")
	w.WantCode(err, broker.CodeDenied) // two are wanted, and alice owns the agent
	mustSignOn(w, "dora", "team")
	w.Clock.Advance(20 * time.Hour)
	if w.Broker.Configuration().MayReview("dora", "production") {
		t.Error("dora still reviews")
	}
	w.MustAsk("production", "db:public.orders:delete")
}

// A stolen session of somebody who has a passkey makes another one: it waits for a signature.
func TestEnrolmentWithAStolenSession(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "thief-key"}); err != nil {
		t.Fatal(err)
	}
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.WantCode(w.TrySign("dora", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}), broker.CodeForbidden)
	newcomer(w, "erin", "team")
	_, err := w.AskAdmission(t.Context(), "erin", broker.Passkey{ID: "another"})
	w.WantCode(err, broker.CodeConflict)
	_, err = w.AskAdmission(t.Context(), "bob", broker.Passkey{ID: "another"}) // never signed on
	w.WantCode(err, broker.CodeForbidden)
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "thief2-key"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Passkey(t.Context(), "thief2-key"); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("the offered passkey is in force: %v", err)
	}
	w.WantCode(w.TrySign("carol", broker.Intent{Act: broker.ActAddPasskey, Subject: "thief2-key", Digest: broker.Passkey{ID: "thief2-key", Human: "bob"}.Digest()}), broker.CodeConflict)
}

// Operators sign over one key. Another one in its place is another question.
func TestAdmissionIsOverExactlyThatKey(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key"}); err != nil {
		t.Fatal(err)
	}
	shown := w.SubjectDigest(broker.ActAdmitHuman, "dora")
	w.Clock.Advance(time.Minute)
	if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "thief-key"}); err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.TrySign("bob", broker.Intent{Act: broker.ActAdmitHuman, Subject: "dora", Digest: shown}), broker.CodeConflict)
}

func TestFurtherPasskeyCountsAfterItsWait(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.PasskeyWait = 24 * time.Hour })
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob2-key", Name: "phone"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("bob", broker.ActAddPasskey, "bob2-key")
	request := w.MustAsk("staging", "db:public.orders:delete")
	sign := func(request broker.Request) error {
		ceremony, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob2-key", ceremony))
		return err
	}
	w.WantCode(sign(request), broker.CodeForbidden)
	w.Clock.Advance(25 * time.Hour)
	if err := sign(w.MustAsk("staging", "db:public.orders:delete")); err != nil {
		t.Fatal(err)
	}
}

func TestPasskeyRemovesItself(t *testing.T) {
	w := brokertest.NewWorld(t)
	only, err := w.Passkey(t.Context(), "bob-key")
	if err != nil {
		t.Fatal(err)
	}
	w.WantCode(w.TrySign("bob", broker.Intent{Act: broker.ActRemovePasskey, Subject: "bob-key", Digest: only.Digest()}), broker.CodeConflict)
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob2-key"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("bob", broker.ActAddPasskey, "bob2-key")
	w.WantCode(w.TrySign("bob", broker.Intent{Act: broker.ActRemovePasskey, Subject: "bob-key", Digest: only.Digest()}), broker.CodeForbidden)
	w.SignAs("bob", broker.ActRemovePasskey, "bob2-key")
	if keys, err := w.Passkeys(t.Context(), "bob"); err != nil || len(keys) != 1 || keys[0].ID != "bob-key" {
		t.Fatalf("%v, %v", keys, err)
	}
}

// Lost keys: other operators sign, the old keys go, and the new one waits like any further one.
func TestLostPasskeyIsReplacedBySignatureOfOthers(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.PasskeyWait = time.Hour })
	socket := broker.Caller{Kind: broker.CallerSocket}
	invite, code, err := w.InviteHuman(t.Context(), socket, "bob")
	if err != nil || !invite.Replaces || invite.State != broker.InviteInert {
		t.Fatalf("%+v, %v", invite, err)
	}
	_, err = w.Redeem(t.Context(), "bob", code)
	w.WantCode(err, broker.CodeForbidden)
	w.WantCode(w.TrySign("bob", broker.Intent{Act: broker.ActAdmitHuman, Subject: "bob", Digest: invite.Digest()}), broker.CodeForbidden)
	w.SignAs("carol", broker.ActAdmitHuman, "bob")
	w.SignAs("alice", broker.ActAdmitHuman, "bob")
	if err := w.AddPasskey(t.Context(), "bob", code, broker.Passkey{ID: "new-key"}); err != nil {
		t.Fatal(err)
	}
	keys, err := w.Passkeys(t.Context(), "bob")
	if err != nil || len(keys) != 1 || keys[0].ID != "new-key" || !keys[0].UsableFrom.After(w.Clock.Now()) {
		t.Fatalf("%+v, %v", keys, err)
	}
	if n := w.Events(broker.EventPasskeyRemoved); n != 1 {
		t.Errorf("%d removals recorded", n)
	}
}

func TestIdenticalRequestsFold(t *testing.T) {
	w := brokertest.NewWorld(t)
	first := w.MustAsk("staging", "db:public.orders:delete")
	for range 3 {
		if again := w.MustAsk("staging", "db:public.orders:delete"); again.ID != first.ID {
			t.Fatalf("asked again as %s", again.ID)
		}
	}
	if other := w.MustAsk("staging", "db:public.customers:delete"); other.ID == first.ID {
		t.Fatal("another ask was folded")
	}
	now, err := w.Request(t.Context(), w.Agent, first.ID)
	if err != nil || now.Repeats != 3 || now.Digest() != first.Digest() {
		t.Fatalf("repeats %d, %v", now.Repeats, err)
	}
	inbox, err := w.Inbox(t.Context(), "bob")
	if err != nil || len(inbox.Requests) != 2 || inbox.Waiting != 2 {
		t.Fatalf("%d of %d, %v", len(inbox.Requests), inbox.Waiting, err)
	}
}

// A new key with which a folded ask came finds the same request, also once it is decided.
func TestFoldedAskIsRemembered(t *testing.T) {
	w := brokertest.NewWorld(t)
	first := w.MustAsk("staging", "db:public.orders:delete")
	ask := broker.Ask{Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:delete")}, Idempotency: "k", Reason: "again"}
	for _, decide := range []bool{true, false} {
		got, err := w.Submit(t.Context(), ask)
		if err != nil || got.ID != first.ID {
			t.Fatalf("%s, %v", got.ID, err)
		}
		if decide {
			w.SignAs("bob", broker.ActApprove, first.ID)
		}
	}
	ask.TTL = time.Minute
	_, err := w.Submit(t.Context(), ask)
	w.WantCode(err, broker.CodeConflict)
}

func TestConcurrentIdenticalRequestsFold(t *testing.T) {
	w := brokertest.NewWorld(t)
	ids := make(chan string)
	for range 8 {
		go func() {
			request, err := w.Ask("staging", "db:public.orders:delete")
			if err != nil {
				t.Error(err)
			}
			ids <- request.ID
		}()
	}
	first := <-ids
	for range 7 {
		if id := <-ids; id != first {
			t.Errorf("%s and %s", first, id)
		}
	}
}

func TestDeniedAskComesAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	deny := func(table string) {
		t.Helper()
		request := w.MustAsk("staging", "db:public."+table+":delete")
		if err := w.Reject(t.Context(), "bob", request.ID, request.Digest(), "no"); err != nil {
			t.Fatal(err)
		}
	}
	deny("orders")
	_, err := w.Ask("staging", "db:public.orders:delete")
	w.WantCode(err, broker.CodeDenied)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read")) // what needs no human goes on
	deny("customers")
	deny("*")
	_, err = w.Ask("staging", "db:public.orders:read,delete")
	w.WantCode(err, broker.CodeSlowDown)
	if e, _ := errors.AsType[*broker.Error](err); e == nil || e.After != 10*time.Minute {
		t.Errorf("told to come back: %+v; want in 10 minutes, as the message says", e)
	}
	w.Clock.Advance(11 * time.Minute)
	w.MustAsk("staging", "db:public.orders:read,delete")
	w.Clock.Advance(time.Hour)
	w.MustAsk("staging", "db:public.orders:delete")
}

func TestDenyAndFreeze(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.WantCode(w.RejectAndFreeze(t.Context(), "mallory", request.ID, request.Digest(), ""), broker.CodeNotFound)
	w.WantCode(w.RejectAndFreeze(t.Context(), "bob", request.ID, "other", ""), broker.CodeConflict)
	if w.Events(broker.EventFrozen) != 0 {
		t.Fatal("frozen by somebody who may not")
	}
	if err := w.RejectAndFreeze(t.Context(), "bob", request.ID, request.Digest(), "stop it"); err != nil {
		t.Fatal(err)
	}
	if live := w.Staging.Live(); len(live) != 0 {
		t.Errorf("live: %v", live)
	}
	_, err := w.Ask("staging", "db:public.orders:read")
	w.WantCode(err, broker.CodeFrozen)
	w.Clock.Advance(61 * time.Minute)
	w.MustAsk("staging", "db:public.orders:read")
}

// The name of a protected environment must be typed where an approval lets delete, and be what was signed.
func TestDeleteInProtectedWithoutTypingItsName(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete")
	intent := broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}
	for _, typed := range [][]string{{}, {"staging"}, {"Production"}, {" production"}} {
		intent.Typed = typed
		w.WantCode(w.TrySign("bob", intent), broker.CodeInvalid)
	}
	intent.Typed = []string{"production"}
	if err := w.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	w.MustAsk("production", "db:public.orders:write") // needs a human, and nothing is typed
}

func TestInboxIsSortedByWhatCanBeLost(t *testing.T) {
	w := brokertest.NewWorld(t)
	var want []string
	for _, ask := range [][2]string{{"staging", "db:public.orders:delete"}, {"production", "db:public.orders:write"}, {"production", "db:public.orders:delete"}} {
		want = append(want, w.MustAsk(ask[0], ask[1]).ID)
	}
	want = []string{want[2], want[0], want[1]}
	inbox, err := w.Inbox(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, request := range inbox.Requests {
		got = append(got, request.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestPhraseStaysWhenNarrowed(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.*:delete")
	narrowed := request
	narrowed.GrantedTTL = time.Minute
	if request.Phrase() != narrowed.Phrase() || request.Digest() == narrowed.Digest() {
		t.Error("the phrase changed, or the digest did not")
	}
	if other := w.MustAsk("staging", "db:public.orders:delete"); other.Phrase() == request.Phrase() {
		t.Error("two requests have one phrase")
	}
}

func TestHistory(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.MustCollect(w.MustAsk("staging", "db:public.orders:read"))
	no := w.MustAsk("staging", "db:public.customers:delete")
	if err := w.Reject(t.Context(), "bob", no.ID, no.Digest(), "no"); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(time.Second)
	request := w.MustAsk("staging", "db:public.orders:delete")
	h, err := w.History(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, request)
	if err != nil || h.Agent != (broker.Tally{Asked: 2, Allowed: 1, Denied: 1}) || len(h.Last) != 1 || h.Last[0].ID != no.ID {
		t.Fatalf("%+v, %v", h, err)
	}
	h, err = w.History(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "nobody"}, request)
	if err != nil || h.Agent.Asked != 0 {
		t.Fatalf("shown to a stranger: %+v, %v", h, err)
	}
}

// What a human cannot be shown in full is not asked: a name of a megabyte at the provider.
func TestMegabyteOfTextIsNotAsked(t *testing.T) {
	w := brokertest.NewWorld(t)
	w.Staging.Tables = append(w.Staging.Tables, "public."+strings.Repeat("x", 1<<20))
	_, err := w.Ask("staging", "db:public.*:delete")
	w.WantCode(err, broker.CodeDenied)
}

// A preview is words: nothing is kept that could be signed, and no name need be typed yet.
func TestPreviewWritesNothing(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("production", "db:public.*:delete")
	before := len(w.Store.Log())
	statement, items, err := w.Preview(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest(), Narrow: &broker.Narrowing{TTL: time.Minute}})
	if err != nil || statement.TTL != 60 || len(items) != 1 {
		t.Fatalf("%+v, %v", statement, err)
	}
	if err := w.Store.View(t.Context(), func(r broker.Reader) error {
		return r.Scan("ceremony", "", func([]byte) error { t.Error("a ceremony was kept"); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if len(w.Store.Log()) != before {
		t.Error("an event was written")
	}
	_, _, err = w.Preview(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: "other"})
	w.WantCode(err, broker.CodeConflict)
}

// Somebody who has seen the credential id of another's passkey offers one by the same id: it would take its place.
func TestPasskeyByTheIDOfAnothers(t *testing.T) {
	for name, first := range map[string]func(*brokertest.World) error{
		"in force": func(w *brokertest.World) error { newcomer(w, "dora", "team"); return nil },
		"waits for itself": func(w *brokertest.World) error {
			return w.OfferPasskey(w.Context(), "carol", broker.Passkey{ID: "dora-key"})
		},
		"waits for a nod": func(w *brokertest.World) error {
			mustSignOn(w, "dora", "team")
			_, err := w.AskAdmission(w.Context(), "dora", broker.Passkey{ID: "dora-key"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := brokertest.NewWorld(t)
			if err := first(w); err != nil {
				t.Fatal(err)
			}
			w.WantCode(w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "dora-key"}), broker.CodeConflict)
			mustSignOn(w, "erin", "team")
			_, err := w.AskAdmission(t.Context(), "erin", broker.Passkey{ID: "dora-key"})
			w.WantCode(err, broker.CodeConflict)
		})
	}
}
