package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
)

// What only a browser knows: that it sends the flow's cookie on the way back from another site and withholds the
// session's, that the page which goes on by itself brings it, and that the policy of our pages lets all that be.
func TestInChromiumASignOnAtDexComesBackSignedIn(t *testing.T) {
	b := chromium(t)
	w, _ := dexTeam(t, doraAtDex)
	b.do("the way to dex",
		chromedp.Navigate(w.origin+"/sign-in"),
		shows("Sign in"),
		chromedp.Evaluate[chromedp.Void](`(() => {
			const form = document.createElement("form");
			form.method = "post";
			form.action = "/sign-in/sso";
			form.innerHTML = '<input name="fresh" value="true"><input name="next" value="/me/passkeys/new">';
			document.body.append(form);
			form.submit();
		})()`),
		until("dex asks", `location.pathname.startsWith("/dex/") && !!document.querySelector("[name=password]")`),
	)
	w.catchUp()
	b.do("the way back",
		chromedp.Evaluate[chromedp.Void](`(() => {
			document.querySelector("[name=login]").value = "Dora@example.com";
			document.querySelector("[name=password]").value = "correct horse battery staple";
			document.querySelector("form").submit();
		})()`),
		until("the page that was asked for", `location.pathname === "/me/passkeys/new"`),
		shows("dora"),
		shows("Make your passkey"),
	)
	if w.events(broker.EventSignedOn) != 1 {
		t.Error("nobody signed on")
	}
}

// The attack is the night: a page lies open while its human's sign-on grows old. The way to sign on again comes by itself,
// fits a phone, and is an ordinary form.
func TestInChromiumTheWayToSignOnAgainComesByItselfAndNeedsNoScript(t *testing.T) {
	w, dora := away(t, broker.SignedOnFor-time.Minute)
	b := chromium(t) // it is closed first: an open page follows the broker's changes
	b.wears(w.origin, w.cookieOf(dora))
	b.do("the inbox", chromedp.EmulateViewport(360, 740), goTo(w.origin+"/"), shows("Nothing waits for you"))
	if b.ask(`document.querySelector("[data-notices]").textContent.trim()`) != "" {
		t.Fatal("there is a notice already")
	}
	w.clock.Advance(2 * time.Minute)
	w.ask("")
	b.do("a change", shows("Sign on again."), shows("public.orders"))
	if wide, low := b.ask(tooWide), b.ask(tooLow); wide != "" || low != "" {
		t.Errorf("too wide: %s\ntoo low: %s", wide, low)
	}
	b.shoot("sign-on-again")
	leaves := until("the single sign-on is asked", fmt.Sprintf(`location.href.startsWith(%q)`, w.liar.Issuer))
	b.do("leaving by what came", tap(`[data-notices] form button`), leaves)
	b.do("leaving without script", scriptsOff(), goTo(w.origin+"/requests/none"), shows("There is no such thing"), tap(`[data-notices] form button`), leaves)
}
