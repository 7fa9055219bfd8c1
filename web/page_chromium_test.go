package web

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
)

// reviewing is a Chromium in which alice is signed in, and a request that waits for her.
func reviewing(t *testing.T, change ...func(*team)) (*tab, *team, broker.Request) {
	t.Helper()
	w := newTeam(t)
	b := chromium(t) // it is closed first: an open page follows the broker's changes
	for _, c := range change {
		c(w)
	}
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	b.do("enrolling", enrols(w, "alice", code))
	for ref := range w.config.Targets {
		b.do("confirming "+ref.String(), goTo(w.origin+"/targets/"+ref.String()), shows("says that it is"), signs(), until("we are at the inbox", `location.pathname === "/"`))
	}
	return b, w, w.ask("")
}

func TestInChromiumAReviewerLeavesOutADeleteAndTheBrokerSaysWhatRemains(t *testing.T) {
	b, w, request := reviewing(t)
	b.do("leaving it out", goTo(w.origin+"/requests/"+request.ID), tap(`.narrow summary`), tap(`[data-allow=delete]`),
		visible(`[data-remains]`), shows("asks to read public.orders"), tap(`form.sign > button`), visible(`[data-confirm]`))
	if says := b.ask(`document.querySelector("[data-says]").textContent`); strings.Contains(says, "delete") || !strings.Contains(says, "read public.orders") {
		t.Errorf("the statement says: %s", says)
	}
	b.shoot("statement-narrowed")
	b.do("signing", tap(`[data-confirm]`), shows("Approved, not collected yet"), shows("What reviewers took out"))
	got, err := w.broker.Request(t.Context(), broker.Caller{Kind: broker.CallerSocket}, request.ID)
	w.must(err)
	if got.Actions() != broker.Read {
		t.Errorf("what is granted is %s", got.Actions())
	}
}

func TestInChromiumAShorterLifeIsSigned(t *testing.T) {
	b, w, request := reviewing(t)
	b.do("choosing a minute", goTo(w.origin+"/requests/"+request.ID), tap(`.narrow summary`),
		chromedp.SetValue(chromedp.CSS(`[data-ttl]`), "60"), signs(), shows("Approved, not collected yet"), shows("for 1 minute"))
	got, err := w.broker.Request(t.Context(), broker.Caller{Kind: broker.CallerSocket}, request.ID)
	w.must(err)
	if got.State != broker.RequestApproved || got.EffectiveTTL().Minutes() != 1 {
		t.Errorf("the request is %s, for %s", got.State, got.EffectiveTTL())
	}
}

// The second tap signs; the first, and going back, leave everything as it was.
func TestInChromiumTheLastLookCanBeLeft(t *testing.T) {
	b, w, request := reviewing(t)
	b.do("looking and going back", goTo(w.origin+"/requests/"+request.ID), tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-back]`),
		until("the statement is gone", `!document.querySelector("[data-statement]").open`))
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Errorf("the request is %s", got)
	}
}

// alone keeps the pages that are opened next from following the broker's changes.
func alone() step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `delete window.EventSource`})
		return err
	})
}

// The attack on attention: a second tab, or another human, decides while the statement is on the screen.
func TestInChromiumWhoDecidesSecondIsToldWhoWasFirst(t *testing.T) {
	b, w, request := reviewing(t)
	b.do("looking", alone(), goTo(w.origin+"/requests/"+request.ID), tap(`form.sign > button`), visible(`[data-confirm]`))
	w.must(w.broker.Reject(t.Context(), "bob", request.ID, request.Digest(), "no"))
	b.do("signing too late", tap(`[data-confirm]`), shows("bob denied this"), shows("Load the page again"))
	b.shoot("decided-elsewhere")
	b.do("loading again", tap(`form.sign [data-problem] a`), shows("The reviewer's words"))
}

func TestInChromiumDenyAndFreezeIsTwoTapsAwayFromTheRest(t *testing.T) {
	b, w, request := reviewing(t)
	b.do("looking", goTo(w.origin+"/requests/"+request.ID), shows("Stop this agent"))
	if shown := b.ask(`document.querySelector("[name=freeze]").closest("form").checkVisibility() ? "shown" : "folded"`); shown != "folded" {
		t.Errorf("the button is %s", shown)
	}
	b.do("freezing", tap(`.apart summary`), tap(`.apart button`), shows("claude is frozen until"), shows("alice denied this"))
}

// The attack on attention: production is approved by a thumb that was faster than the eye.
func TestInChromiumTheNameOfAProtectedEnvironmentIsTyped(t *testing.T) {
	b, w, _ := reviewing(t, (*team).production)
	request := w.askIn("production", "staging")
	b.do("approving at once", chromedp.EmulateViewport(360, 740), goTo(w.origin+"/requests/"+request.ID), tap(`form.sign > button`), shows("type the name of the environment: production"))
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Fatalf("the request is %s", got)
	}
	b.shoot("typed-missing")
	b.do("leaving out the delete there", tap(`[data-environment=production] [data-allow=delete]`),
		until("no name is asked for", `document.querySelector("[data-typed-in]").hidden`), visible(`[data-remains]`), shows("read public.orders of db in production"))
	b.shoot("items-narrowed")
	b.do("leaving out the target", tap(`[data-environment=production] [data-whole]`), until("production is gone from the sentence",
		`(() => { const says = document.querySelector("[data-remains-says]").textContent; return says.includes("staging") && !says.includes("production") })()`))
	b.do("taking all back", tap(`[data-environment=production] [data-whole]`), tap(`[data-environment=production] [data-allow=delete]`),
		until("the name is asked for", `!document.querySelector("[data-typed-in]").hidden`), until("nothing is left out", `document.querySelector("[data-remains]").hidden`))
	b.do("typing it", fill(`[data-typed]`, "production"), signs(), shows("Approved, not collected yet"))
}

// What only a script opens is as accessible, and as narrow, as the page itself.
func TestInChromiumTheLastLookIsAccessibleAndFitsAPhone(t *testing.T) {
	script := axe(t)
	b, w, request := reviewing(t)
	for _, scheme := range []string{"light", "dark"} {
		b.do("opening everything", prefers(scheme), chromedp.EmulateViewport(360, 740), goTo(w.origin+"/requests/"+request.ID), run(script),
			tap(`.narrow summary`), tap(`.apart summary`), tap(`[data-allow=read]`), visible(`[data-remains]`), shows("asks to delete public.orders"))
		b.accessible("the page with all open, " + scheme)
		b.shoot("all-open")
		b.do("the last look", chromedp.EmulateViewport(360, 740), prefers(scheme), tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-statement] summary`))
		b.accessible("the last look, " + scheme)
		if wide, low := b.ask(tooWide), b.ask(tooLow); wide+low != "" {
			t.Errorf("too wide: %s; too low: %s", wide, low)
		}
		if shown := b.ask(`document.activeElement.closest("[data-statement]") ? "" : document.activeElement.outerHTML.slice(0, 80)`); shown != "" {
			t.Errorf("the last look has no focus; it is at %s", shown)
		}
	}
}
