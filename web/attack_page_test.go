package web

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// The attack: a stranger asks whether the broker is ready and hangs up at once, again and again, so that
// the load balancer is told that it is not.
func TestAStrangerWhoHangsUpDoesNotMakeTheBrokerUnready(t *testing.T) {
	x := newSite(t)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	x.do("GET", api.PathReady, "", func(r *http.Request) { *r = *r.WithContext(gone) })
	x.do("GET", api.PathReady, "").want(http.StatusOK)
}

// The attack: an agent on the reviewer's own machine, which has the same address, floods the pages that
// need no session, so that the human can neither deny nor sign.
func TestAFloodOfStrangersDoesNotKeepAHumanFromDenying(t *testing.T) {
	w := settled(t)
	request := w.ask("please")
	flood := w.person()
	for range 150 {
		_ = flood.Post(t.Context(), "/sign-in/prepare", struct{}{}, nil)
	}
	w.must(w.alice.Deny(t.Context(), request.ID, "no"))
	if got := w.state(request.ID); got != broker.RequestDenied {
		t.Errorf("the request is %s", got)
	}
}

// The attack: another site makes the reviewer's browser send forms without a session; they are refused,
// and must not use up what the reviewer's own address may send.
func TestAFloodFromAnotherSiteIsNotCountedAgainstTheHuman(t *testing.T) {
	w := newTeam(t)
	code := w.invite("alice")
	evil := w.person()
	evil.Edit = func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }
	for range 150 {
		_, _ = evil.Submit(t.Context(), "/invite", url.Values{"name": {"alice"}, "code": {"x"}})
	}
	w.must(w.person().Enrol(t.Context(), "alice", code))
}

// The attack: two invites are made from the shell before anybody has a passkey, and the second is
// redeemed when there is an operator who should have signed it.
func TestASecondFirstInviteWaitsForTheOperator(t *testing.T) {
	w := newTeam(t)
	alice, bob := w.invite("alice"), w.invite("bob")
	w.must(w.person().Enrol(t.Context(), "alice", alice))
	if err := w.person().Enrol(t.Context(), "bob", bob); err == nil {
		t.Error("bob has a passkey that no operator admitted")
	}
}

// The attack: whoever has alice's device admits somebody with it; alice notices, and her passkeys are
// reset before the code is typed in.
func TestAResetVoidsTheInvitesThatTheLostPasskeySigned(t *testing.T) {
	w := settled(t)
	code := w.invite("carol")
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/carol", "carol")
	w.sign(w.bob, broker.ActAdmitHuman, "/humans/carol", "carol")
	if _, _, err := w.broker.ResetHuman(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := w.person().Enrol(t.Context(), "carol", code); err == nil {
		t.Error("carol has a passkey")
	}
}
