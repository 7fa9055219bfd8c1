package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// twoSign gives the environment "shared", where two humans sign a delete, a target.
func (w *team) twoSign() {
	w.config.Targets[broker.TargetRef{Environment: "shared", Target: "db"}] = broker.Target{
		Binding: "shared/db", Issuer: &brokertest.Issuer{ID: "postgres:8/orders", Can: broker.Capabilities{Kind: "memory"}, Tables: []string{"public.orders"}},
	}
}

func inShared(a *broker.Ask) { a.Environments = []string{"shared"} }

// looks goes up to the last look at a request of the shared environment.
func (w *team) looks(request broker.Request) step {
	return chromedp.Steps(w.opens(request), fill(`[data-typed]`, "shared"), tap(`form.sign > button`), visible(`[data-confirm]`))
}

// saidNo fails the test unless a page with words says that it is too late, and leads back.
func (b *tab) saidNo(words ...string) {
	b.Helper()
	text := b.ask(`document.body.innerText`)
	for _, part := range words {
		if !strings.Contains(text, part) {
			b.Errorf("the page lacks %q:\n%s", part, text)
		}
	}
}

// TestInChromiumASecondTabDecidesFirst: two pages of one browser show the same request.
func TestInChromiumASecondTabDecidesFirst(t *testing.T) {
	b, phone := hunt(t).window(t)
	w := prey(b, (*team).twoSign)
	second := b.second()
	heard := b.eavesdrop()

	t.Run("by denying, and the first is deaf", func(t *testing.T) {
		b, w, second := b.in(t), w.in(t), second.in(t)
		request := w.waits("deny-first")
		b.blocks(w.origin + "/live*") // a bad network: nothing tells the first page
		b.do("the last look", w.opens(request), tap(`form.sign > button`), visible(`[data-confirm]`))
		before := w.events(broker.EventReviewRefused)
		second.do("denying", w.opens(request), tap(`.deny-now button`), shows("alice denied this"))
		b.do("the second tap", tap(`[data-confirm]`), shows("alice denied this"), shows("Load the page again"))
		b.saidNo("nothing of yours was counted")
		w.wantRefused(t, before, 1)
		if state, signed := w.state(request.ID), w.approvals(request.ID); state != broker.RequestDenied || signed != 0 {
			t.Errorf("the request is %s, with %d approvals", state, signed)
		}
		if !strings.Contains(heard.last(t, "/sign"), request.ID) {
			t.Error("the first page sent nothing: the test proves nothing")
		}
	})

	t.Run("by approving, and the first denies", func(t *testing.T) {
		b, w, second := b.in(t), w.in(t), second.in(t)
		request := w.waits("approve-first")
		second.do("looking", w.opens(request))
		b.do("approving", w.opens(request), signs(), shows("Approved, not collected yet"))
		second.do("denying too late", chromedp.Evaluate[chromedp.Void](`document.querySelector(".deny-now button").click()`), shows("Something changed meanwhile"))
		second.saidNo("Nothing of yours was counted", "Look at it again")
		if got := w.state(request.ID); got != broker.RequestApproved {
			t.Errorf("the request is %s", got)
		}
	})

	t.Run("and the first hears of it and offers nothing", func(t *testing.T) {
		b, w, second := b.in(t), w.in(t), second.in(t)
		request := w.waits("heard")
		second.do("the last look", w.opens(request), chromedp.Evaluate[chromedp.Void](`document.querySelector("form.sign").requestSubmit()`), visible(`[data-confirm]`))
		b.do("denying", w.opens(request), tap(`.deny-now button`), shows("alice denied this"))
		second.do("hearing", shows("This changed."), until("the last look is gone", `!document.querySelector("dialog[open]") && !document.querySelector("form.sign").checkVisibility()`))
	})

	t.Run("and both sign where two humans must", func(t *testing.T) {
		b, w, second := b.in(t), w.in(t), second.in(t)
		request := w.waits("counted-twice", inShared)
		credential := b.credential(phone)
		copied := second.plug(webauthn.VirtualAuthenticatorOptions{HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true})
		w.must(plant(second, copied, map[string]any{
			"credentialId": credential.CredentialID, "isResidentCredential": true, "rpId": "localhost", "userHandle": credential.UserHandle,
			"privateKey": credential.PrivateKey, "signCount": credential.SignCount,
		}))
		b.do("the last look in one", w.looks(request))
		second.do("the last look in the other", w.looks(request))
		second.do("signing in the other", tap(`[data-confirm]`), shows("You signed this"))
		b.do("signing in the one", tap(`[data-confirm]`), shows("you approved this already"))
		if state, signed := w.state(request.ID), w.approvals(request.ID); state != broker.RequestPending || signed != 1 {
			t.Errorf("one human counts as two: the request is %s, with %d approvals", state, signed)
		}
	})
}

// TestInChromiumTheRequestChangesBetweenLookAndSignature: another reviewer narrows it, or the files are loaded anew.
func TestInChromiumTheRequestChangesBetweenLookAndSignature(t *testing.T) {
	b, _ := hunt(t).window(t)
	w := prey(b, (*team).twoSign)
	b.blocks(w.origin + "/live*")
	narrow := func(w *team, request broker.Request) {
		w.Helper()
		_, prepared, err := w.prepares(w.bob, approval(request, intent{"narrow": intent{"items": []intent{{"environment": "shared", "target": "db", "scopes": []string{"db:public.orders:read"}}}}}))
		w.must(err)
		w.must(w.bob.Sign(w.Context(), prepared))
	}
	wantOne := func(w *team, request broker.Request) {
		w.Helper()
		if got := w.request(request.ID); got.State != broker.RequestPending || w.approvals(request.ID) != 1 || got.Actions() != broker.Read {
			w.Errorf("the request is %s for %s, with %d approvals", got.State, got.Actions(), w.approvals(request.ID))
		}
	}

	t.Run("narrowed before the first tap", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("narrowed-1", inShared)
		b.do("looking", w.opens(request), fill(`[data-typed]`, "shared"))
		narrow(w, request)
		b.do("the first tap", tap(`form.sign > button`), shows("this changed since it was shown"), shows("Load the page again"))
		wantOne(w, request)
		b.do("loading again", tap(`form.sign [data-problem] a`), shows("would be allowed to read public.orders"))
		b.do("approving what is left", signs(), shows("Approved, not collected yet"))
		if got := w.request(request.ID).Actions(); got != broker.Read {
			t.Errorf("granted is %s", got)
		}
	})

	t.Run("narrowed before the second tap", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("narrowed-2", inShared)
		b.do("the last look", w.looks(request))
		narrow(w, request)
		before := w.events(broker.EventReviewRefused)
		b.do("the second tap", tap(`[data-confirm]`), shows("this changed since it was shown"), shows("Load the page again"))
		w.wantRefused(t, before, 1)
		wantOne(w, request)
	})

	t.Run("narrowed before the denial", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("narrowed-3", inShared)
		b.do("looking", w.opens(request))
		narrow(w, request)
		b.do("denying what was seen", tap(`.deny-now button`), shows("This changed since it was shown"), shows("Look at it again"))
		wantOne(w, request)
	})

	t.Run("the files are loaded anew", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		early, late := w.waits("reloaded-1"), w.waits("reloaded-2")
		next := *w.config
		next.Hash = "config-2"
		b.do("the last look", w.opens(late), tap(`form.sign > button`), visible(`[data-confirm]`))
		w.must(w.broker.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, &next, nil))
		b.do("the second tap", tap(`[data-confirm]`), shows("the configuration changed"), shows("Load the page again"))
		b.do("looking afterwards", w.opens(early))
		if offered := b.ask(`document.querySelector("form.sign") ? "it is" : ""`); offered != "" {
			t.Error("what was asked under other files is offered to sign")
		}
		thief := &thief{team: w, cookie: b.jar(w.origin)}
		status, body := thief.json("/sign/prepare", `{"act":"approve-request","subject":"`+early.ID+`","digest":"`+early.Digest()+`"}`)
		w.want(t, http.StatusConflict, "preparing it", status, body)
		w.wantUndecided(t, early.ID)
		w.wantUndecided(t, late.ID)
	})
}
