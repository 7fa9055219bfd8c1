package web

import (
	"testing"

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
