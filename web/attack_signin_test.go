package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// fromOwn is what a browser says that sends something from one of our pages.
func fromOwn(r *http.Request) {
	r.Header.Set("Origin", brokertest.Origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/json")
}

// The attack: a process on the human's machine, which knows nothing, sends answers that do not hold; the human and the
// agent behind the same address are refused unheard.
func TestFailedProofsDoNotKeepAHumanOrAnAgentAtTheSameAddressOut(t *testing.T) {
	w := settled(t)
	flood := w.person()
	var last int
	for range 150 {
		last = statusOf(flood.Post(t.Context(), "/sign-in", map[string]any{"credential_id": "x", "client_data_json": "e30"}, nil))
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the flood was not slowed: %d", last)
	}
	for range 150 {
		_, _ = flood.Submit(t.Context(), "/invite", url.Values{"name": {"bob"}, "code": {"x"}})
		_ = flood.Post(t.Context(), "/invite/passkey", struct{}{}, nil)
	}
	for range 150 {
		if err := flood.Post(t.Context(), "/sign-in/prepare", struct{}{}, nil); err != nil {
			t.Fatalf("beginning to sign in is refused: %v", err)
		}
	}
	again := w.person()
	again.Key = w.alice.Key
	if err := again.SignIn(t.Context()); err != nil {
		t.Errorf("the human's sign-in: %v", err)
	}

	x := newSite(t)
	for range 150 {
		x.do("POST", "/sign-in", `{"credential_id":"x"}`, fromOwn)
		x.postForm(tokenForm("x.y.z"))
	}
	x.postForm(tokenForm(x.agent.assertion())).want(http.StatusOK)
}

// The attack: the same against who signs on elsewhere: made up answers of the token issuer, and sign-ons that are begun.
func TestFailedSignOnsDoNotKeepAHumanAtTheSameAddressOut(t *testing.T) {
	w := newSignOnTeam(t)
	flood, dora := w.browser(), w.browser()
	for range 150 {
		w.depart(flood, nil)
		_, _ = w.back(flood, w.origin+authn.PathSignOnCallback+"?state=x&code=y")
	}
	_, err := w.arrive(dora, nil, w.dora())
	w.must(err)
}

// The attack: an answer that signed somebody in is sent once more, while its challenge has time left.
func TestASignInIsNotReplayed(t *testing.T) {
	w := settled(t)
	var sent map[string]any
	w.alice.Edit = func(r *http.Request) {
		if r.URL.Path != "/sign-in" {
			return
		}
		body, err := r.GetBody()
		w.must(err)
		w.must(json.NewDecoder(body).Decode(&sent))
	}
	w.must(w.alice.SignIn(t.Context()))
	thief := w.person()
	w.refusedWith(http.StatusGone, thief.Post(t.Context(), "/sign-in", sent, nil))
	_, _, err := thief.Read(t.Context(), "/")
	w.refusedWith(http.StatusUnauthorized, err)
}

// The attack: whoever has stolen a session spends what its human may do, so that the human, in a browser of their own,
// can neither deny nor end that session.
func TestAStolenSessionLeavesItsHumanRoomToDeny(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.CallerBurst, c.Limits.CallerRate = 20, 1 })
	request := x.MustAsk("staging", "db:public.orders:delete")
	stolen, own := x.as("alice"), x.as("alice")
	for range 30 {
		x.get(stolen, "/me")
	}
	for _, path := range []string{"/me", "/v1/requests", "/live"} { // by whichever way
		x.get(stolen, path).want(http.StatusTooManyRequests)
	}
	x.post(own, "/requests/"+request.ID+"/deny", url.Values{"digest": {request.Digest()}}).want(http.StatusSeeOther)
	x.get(own, "/v1/requests").want(http.StatusOK)
	x.post(own, "/me/sessions/end-others", nil).want(http.StatusSeeOther)
	x.get(stolen, "/me").want(http.StatusUnauthorized)
}

// The attack: pages left open in a stolen session take all the streams that its human may have.
func TestAStolenSessionLeavesItsHumanItsLivePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		stolen, own := x.as("alice"), x.as("alice")
		var open []*following
		for range streamsOfOne {
			open = append(open, x.follow(stolen, x.height()))
		}
		x.get(stolen, "/live").want(http.StatusTooManyRequests)
		for _, stream := range append(open, x.follow(own, x.height())) {
			if stream.ended() || stream.status != http.StatusOK {
				t.Errorf("a stream answered %d", stream.status)
			}
			stream.leave()
			<-stream.done
		}
	})
}

// The attack: whoever has stolen a session has statements made without end. Each is as large as its request, and waits
// for five minutes. The human, with several tabs, signs what they saw last; others notice nothing.
func TestStatementsWithoutEndDoNotFillTheStore(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.prepare(w.bob, request.ID)
	var shown []softkey.Prepared
	for range 3 * broker.StatementsOfOne {
		w.clock.Advance(time.Second)
		shown = append(shown, w.prepare(w.alice, request.ID))
	}
	waiting := map[string]int{}
	w.must(w.store.View(t.Context(), func(r broker.Reader) error {
		return r.Scan("ceremony", "", func(raw []byte) error {
			var c broker.Ceremony
			err := json.Unmarshal(raw, &c)
			waiting[c.Statement.Reviewer]++
			return err
		})
	}))
	if diff := cmp.Diff(map[string]int{"alice": broker.StatementsOfOne, "bob": 1}, waiting); diff != "" {
		t.Error(diff)
	}
	newest := len(shown) - broker.StatementsOfOne
	w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), shown[newest-1]))
	w.must(w.alice.Sign(t.Context(), shown[newest])) // the oldest of eight tabs
}

// statusOf is the status with which somebody was refused, 0 for what was taken.
func statusOf(err error) int {
	if refusal, ok := errors.AsType[*softkey.Refusal](err); ok {
		return refusal.Status
	}
	return 0
}

// The attack: somebody whom the token issuer knows, in a group of ours or in none, signs on in a loop. Each time is a
// line of the log for good.
func TestSignOnsDoNotFillTheLog(t *testing.T) {
	for name, groups := range map[string][]string{"in a group": nil, "in none": {"cooks"}} {
		w := newSignOnTeam(t)
		browser, before := w.browser(), len(w.store.Log())
		for range 200 {
			claims := w.dora()
			if groups != nil {
				claims["groups"] = groups
			}
			_, _ = w.arrive(browser, nil, claims)
		}
		if lines := len(w.store.Log()) - before; lines > 2*entryBurst {
			t.Errorf("%s: 200 sign-ons are %d lines", name, lines)
		}
	}
}

// The attack: who has a passkey signs in in a loop, each time with two durable commits.
func TestSignInsThatHoldAreBounded(t *testing.T) {
	w := settled(t)
	thief := w.person()
	thief.Key = w.alice.Key
	for range 3 * entryBurst {
		if err := thief.SignIn(t.Context()); err != nil {
			return
		}
	}
	t.Error("none was refused")
}

// The attack: one human signs in again and again, and holds all live pages with sessions that ended a moment ago.
func TestOneHumanDoesNotHoldAllLivePages(t *testing.T) {
	p := &pages{streams: seats{each: streamsOfOne, all: streamsOfAll}, watchers: seats{each: streamsOfHuman, all: streamsOfAll}}
	held := 0
	for session := range 100 {
		for range streamsOfOne {
			if p.streams.enter(string(rune('a'+session))) && p.watchers.enter("carol") {
				held++
			}
		}
	}
	if held != streamsOfHuman || !p.watchers.enter("bob") {
		t.Errorf("carol holds %d", held)
	}
}
