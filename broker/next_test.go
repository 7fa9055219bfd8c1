package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// wantNext fails the test unless err is a refusal that says what to do next.
func wantNext(w *brokertest.World, what string, err error) {
	w.Helper()
	if refusal, ours := errors.AsType[*broker.Error](err); !ours || refusal.Next == "" {
		w.Errorf("%s: %v, and no next step", what, err)
	}
}

// Whoever may not sign something is told what would help, whatever it is.
func TestRefusalToSignSaysWhatToDoNext(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Groups["watchers"] = []string{"dan"}
		c.Configuration.Roles[broker.RoleAuditor] = []string{"watchers"}
	})
	owned := w.MustAsk("production", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, owned.ID)
	decided := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, decided.ID)
	if _, _, err := w.InviteHuman(t.Context(), socket, "dave"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		human   string
		act     broker.Act
		subject string
	}{
		{"alice", broker.ActApprove, owned.ID},
		{"bob", broker.ActApprove, owned.ID},
		{"dan", broker.ActApprove, owned.ID},
		{"carol", broker.ActApprove, decided.ID},
		{"bob", broker.ActActivateAgent, "claude"},
		{"alice", broker.ActActivateAgent, "claude"},
		{"dan", broker.ActAdmitHuman, "dave"},
		{"dave", broker.ActAdmitHuman, "dave"},
		{"bob", broker.ActAdmitHuman, "erin"},
		{"dan", broker.ActConfirmTarget, "staging/db"},
		{"bob", broker.ActConfirmTarget, "staging/db"},
		{"bob", broker.ActConfirmTarget, "staging/none"},
		{"bob", broker.ActLiftFreeze, "all"},
		{"bob", broker.ActAddPasskey, "none"},
		{"bob", broker.ActRemovePasskey, "bob-key"},
		{"bob", broker.ActRemovePasskey, "carol-key"},
	} {
		wantNext(w, c.human+" signs "+string(c.act)+" of "+c.subject, w.MaySign(t.Context(), c.human, c.act, c.subject))
	}
	w.Clock.Advance(broker.PendingFor + time.Second)
	wantNext(w, "too late", w.MaySign(t.Context(), "carol", broker.ActApprove, owned.ID))
}

// A signature that does not count is followed by what would.
func TestRefusalOfASignatureSaysWhatToDoNext(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) { c.Configuration.Limits.PasskeyWait = 24 * time.Hour })
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "new-key"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("bob", broker.ActAddPasskey, "new-key")
	request := w.MustAsk("staging", "db:public.orders:delete")
	for what, c := range map[string]struct {
		by, key string
		spoil   func(*broker.Assertion)
	}{
		"too new":               {"bob", "new-key", nil},
		"another's passkey":     {"bob", "carol-key", nil},
		"another's statement":   {"carol", "carol-key", nil},
		"the signature is none": {"bob", "bob-key", func(a *broker.Assertion) { a.Signature = nil }},
	} {
		ceremony, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()})
		if err != nil {
			t.Fatal(err)
		}
		assertion := brokertest.Assert(t, c.key, ceremony)
		if c.spoil != nil {
			c.spoil(&assertion)
		}
		_, err = w.Sign(t.Context(), c.by, ceremony.Nonce, assertion)
		w.WantCode(err, broker.CodeForbidden)
		wantNext(w, what, err)
	}
}

// Who is waited for overnight must be told to sign on again, for as long as that would bring the groups back.
func TestWhoIsWaitedForMustSignOnAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	newcomer(w, "dora", "team")
	for _, c := range []struct {
		after time.Duration
		must  bool
	}{{0, false}, {11 * time.Hour, false}, {time.Hour, true}, {2 * time.Hour, true}, {29 * 24 * time.Hour, true}, {24 * time.Hour, false}} {
		w.Clock.Advance(c.after)
		if got := w.MustSignOn("dora"); got != c.must {
			t.Errorf("%s later: must sign on: %t", c.after, got)
		}
		if w.MustSignOn("bob") {
			t.Error("bob, who never signed on, must")
		}
	}
	mustSignOn(w, "dora", "team")
	if w.MustSignOn("dora") {
		t.Error("dora just did")
	}
	w.Clock.Advance(broker.SignedOnFor)
	request := w.MustAsk("staging", "db:public.orders:delete")
	err := w.MaySign(t.Context(), "dora", broker.ActApprove, request.ID)
	refusal, _ := errors.AsType[*broker.Error](err)
	if refusal == nil || !strings.Contains(refusal.Next, "sign on again") {
		t.Errorf("dora is told %v", err)
	}
}
