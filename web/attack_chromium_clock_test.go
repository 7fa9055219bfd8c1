package web

import (
	"net/http"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn"
)

// signsWith tries to approve with that passkey of a human.
func (x *site) signsWith(human, passkey string, request broker.Request) error {
	x.Helper()
	ceremony, err := x.Prepare(x.Context(), human, broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()})
	if err != nil {
		return err
	}
	_, err = x.Sign(x.Context(), human, ceremony.Nonce, brokertest.Assert(x, passkey, ceremony))
	return err
}

// restarts is a new broker and a new server on the same store.
func (x *site) restarts() {
	x.Helper()
	x.serve()
}

// TestAFurtherPasskeyDoesNotWaitLessForARestartOrAClock: it signs when its time has come, and not because the broker was
// started anew, the files were loaded anew with a shorter time, or the clock was set back.
func TestAFurtherPasskeyDoesNotWaitLessForARestartOrAClock(t *testing.T) {
	x := newSite(t)
	x.Config.Configuration.Limits.PasskeyWait = 24 * time.Hour
	x.restarts()
	if err := x.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob-new"}); err != nil {
		t.Fatal(err)
	}
	x.SignAs("bob", broker.ActAddPasskey, "bob-new")
	fresh := func() broker.Request { return x.MustAsk("staging", "db:public.orders:delete") }
	refused := func(when string) {
		t.Helper()
		if err := x.signsWith("bob", "bob-new", fresh()); broker.CodeOf(err) != broker.CodeForbidden {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("at once")
	x.restarts()
	refused("after a restart")
	shorter := *x.Config.Configuration
	shorter.Limits.PasskeyWait, shorter.Hash = 0, "config-2"
	if err := x.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, &shorter, nil); err != nil {
		t.Fatal(err)
	}
	refused("after the files say that nobody waits")
	x.Clock.Advance(23*time.Hour + 59*time.Minute)
	refused("a minute before its time")
	for _, act := range []broker.Act{broker.ActAddPasskey, broker.ActRemovePasskey} { // nor does it make, or take, others
		if act == broker.ActAddPasskey {
			if err := x.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob-newer"}); err != nil {
				t.Fatal(err)
			}
		}
		subject := map[broker.Act]string{broker.ActAddPasskey: "bob-newer", broker.ActRemovePasskey: "bob-key"}[act]
		ceremony, err := x.Prepare(t.Context(), "bob", broker.Intent{Act: act, Subject: subject, Digest: x.SubjectDigest(act, subject)})
		x.must(err)
		_, err = x.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob-new", ceremony))
		x.WantCode(err, broker.CodeForbidden)
	}
	x.Clock.Advance(2 * time.Minute)
	if err := x.signsWith("bob", "bob-new", fresh()); err != nil {
		t.Errorf("in its time: %v", err)
	}
}

// signedOn is a site where dora reviews by her single sign-on alone.
func signedOn(t *testing.T) *site {
	t.Helper()
	x := newSite(t)
	x.Config.Configuration.SignOn = &broker.SignOn{Issuer: "https://login.example", Groups: []string{"team"}}
	x.restarts()
	_, err := x.SignedOn(t.Context(), broker.Account{Issuer: "https://login.example", Subject: "d", Email: "dee@example.com", Name: "dee", Groups: []string{"team"}}, "")
	x.must(err)
	x.save(&broker.Passkey{ID: "dee-key", Human: "dee"})
	return x
}

// TestASignOnOfTwelveHoursIsNotMadeYoungerByARestartOrAClock: groups that a sign-on brought sign for twelve hours.
func TestASignOnOfTwelveHoursIsNotMadeYoungerByARestartOrAClock(t *testing.T) {
	x := signedOn(t)
	if err := x.signsWith("dee", "dee-key", x.MustAsk("staging", "db:public.orders:delete")); err != nil {
		t.Fatalf("a fresh sign-on: %v", err)
	}
	x.Clock.Advance(broker.SignedOnFor)
	request := x.MustAsk("staging", "db:public.customers:delete")
	if err := x.signsWith("dee", "dee-key", request); broker.CodeOf(err) != broker.CodeForbidden {
		t.Errorf("after twelve hours: %v", err)
	}
	x.restarts()
	if err := x.signsWith("dee", "dee-key", request); broker.CodeOf(err) != broker.CodeForbidden {
		t.Errorf("after a restart: %v", err)
	}
	x.Clock.Advance(-time.Hour) // whoever can, sets the clock of the machine back
	if err := x.signsWith("dee", "dee-key", request); err == nil {
		t.Error("with the clock set back an hour, behind the last event, she signs again")
	}
}

// TestNothingIsSignedByAClockBehindTheLog: what is refused for its time is not signed by setting the clock back.
func TestNothingIsSignedByAClockBehindTheLog(t *testing.T) {
	x := newSite(t)
	request := x.MustAsk("staging", "db:public.orders:delete")
	x.Clock.Advance(broker.PendingFor + time.Minute)
	if err := x.signsWith("bob", "bob-key", request); broker.CodeOf(err) != broker.CodeConflict {
		t.Fatalf("what has expired: %v", err)
	}
	x.MustAsk("staging", "db:public.customers:delete") // somebody else goes on: an event of now
	x.Clock.Advance(-10 * time.Minute)
	if err := x.signsWith("bob", "bob-key", request); err == nil {
		t.Error("what has expired is approved, by a clock that is ten minutes behind the log")
	}
}

// TestASessionIsNotMadeYoungerByARestartOrAClock: twelve hours whatever happens, and half an hour without use.
func TestASessionIsNotMadeYoungerByARestartOrAClock(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	status := func() int { return x.get(alice, "/me").Code }
	if got := status(); got != http.StatusOK {
		t.Fatalf("a fresh one: %d", got)
	}
	idle := x.as("bob")
	x.Clock.Advance(authn.SessionIdle - time.Second)
	x.restarts()
	if got := x.get(idle, "/me").Code; got != http.StatusOK {
		t.Errorf("a second before: %d", got)
	}
	x.Clock.Advance(authn.SessionIdle)
	x.restarts()
	if got := x.get(idle, "/me").Code; got != http.StatusUnauthorized {
		t.Errorf("idle, after a restart: %d", got)
	}

	alice = x.as("alice")
	for range 35 { // in use all the time
		x.Clock.Advance(20 * time.Minute)
		if got := status(); got != http.StatusOK {
			t.Fatalf("in use: %d", got)
		}
	}
	x.restarts()
	x.Clock.Advance(20 * time.Minute)
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("after twelve hours: %d", got)
	}
	x.Clock.Advance(-4 * time.Hour) // before it was last used
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("by a clock that was set back, a session that was over is good for %d", got)
	}
}

// TestAnEnrolmentDoesNotWaitForAClock: a sign-on that proves who somebody is, and a passkey's options, hold for minutes, by a clock
// that goes on.
func TestAnEnrolmentDoesNotWaitForAClock(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	options, err := w.prepareMaking(dora)
	w.must(err)
	w.clock.Advance(authn.FreshFor)
	_, err = w.prepareMaking(dora)
	w.refusedWith(http.StatusForbidden, err)
	err = dora.Post(t.Context(), "/me/passkeys", w.attest(dora, options, ""), nil)
	if err == nil {
		t.Error("what was begun in time is finished too late")
	}
	if _, err := w.broker.Human(t.Context(), "dora"); err != nil {
		t.Fatal(err)
	}
	if n := w.events(broker.EventPasskeyOffered); n != 0 {
		t.Errorf("%d passkeys were offered", n)
	}
}
