package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
)

func both(a *broker.Ask) { a.Environments = []string{"production", "staging"} }

// edits changes the page under the human's hands, as an extension or a script that got in does.
func edits(script string) step {
	return chromedp.Evaluate[chromedp.Void](`void (() => {` + script + `})()`)
}

// shownAndSigned gives what the last look says, and what is granted after it was signed.
func (b *tab) shownAndSigned(w *team, request broker.Request) (says string, granted broker.Request) {
	b.Helper()
	says = b.ask(`document.querySelector("[data-says]").textContent`)
	b.do("signing", tap(`[data-confirm]`), shows("Approved, not collected yet"))
	return says, w.request(request.ID)
}

// TestInChromiumAPageThatWasTamperedWithWidensNothing: attributes, boxes and fields of the page say more than was asked, or
// other than what is shown.
func TestInChromiumAPageThatWasTamperedWithWidensNothing(t *testing.T) {
	b, _ := hunt(t).window(t)
	w := prey(b, (*team).production)
	other := w.waits("decoy")
	request := w.waits("tampered", both)
	typed := `document.querySelector("[data-typed]").value = "production";`
	for name, edit := range map[string][2]string{
		"another action":      {`document.querySelectorAll("[data-allow=delete]").forEach((e) => { e.dataset.allow = "delete,admin" }); document.querySelector("[data-allow=read]").click()`, "may narrow, never widen"},
		"another resource":    {`document.querySelectorAll("[data-scope]").forEach((e) => { e.dataset.scope = "db:public.users" }); document.querySelector("[data-allow=read]").click()`, "may narrow, never widen"},
		"everything":          {`document.querySelectorAll("[data-scope]").forEach((e) => { e.dataset.scope = "db:*" }); document.querySelector("[data-allow=read]").click()`, "may narrow, never widen"},
		"another environment": {`document.querySelectorAll("[data-item]").forEach((e) => { e.dataset.environment = "shared" }); document.querySelector("[data-allow=read]").click()`, "the request has no item"},
		"another target":      {`document.querySelectorAll("[data-item]").forEach((e) => { e.dataset.target = "vault" }); document.querySelector("[data-allow=read]").click()`, "the request has no item"},
		"an hour":             {`document.querySelector("[data-ttl]").add(new Option("long", "3600", true, true))`, "may only shorten"},
		"a day":               {`document.querySelector("[data-ttl]").add(new Option("long", "86400", true, true))`, "expected 1 to 3600"},
		"less than a second":  {`document.querySelector("[data-ttl]").add(new Option("short", "0.5", true, true))`, "the body is not the JSON that is expected"},
		"another request":     {fmt.Sprintf(`document.querySelector("form.sign").dataset.subject = %q`, other.ID), "this changed since it was shown"},
		"another act":         {`document.querySelector("form.sign").dataset.act = "lift-freeze"; document.querySelector("form.sign").dataset.subject = "all"; document.querySelectorAll("[data-typed], [data-item], [data-ttl]").forEach((e) => e.remove())`, "no freeze"},
		"another digest":      {`document.querySelector("form.sign").dataset.digest = ""`, "this changed since it was shown"},
		"no name typed":       {`document.querySelectorAll("[data-typed]").forEach((e) => e.remove())`, "which is protected"},
		"the other name":      {`document.querySelector("[data-typed]").value = "staging"`, "which is protected"},
		"the name in capital": {`document.querySelector("[data-typed]").value = "Production"`, "which is protected"},
		"a hidden character":  {`document.querySelector("[data-typed]").value = "production\u200b"`, "which is protected"},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := b.in(t), w.in(t)
			w.clock.Advance(1e9)
			before := typed
			if strings.Contains(edit[1], "protected") {
				before = ""
			}
			b.do("tampering", w.opens(request), edits(before+edit[0]), edits(`document.querySelector("form.sign").requestSubmit()`), shows(edit[1]))
			if open := b.ask(`document.querySelector("dialog[open]") ? "open" : ""`); open != "" {
				t.Error("it can be signed")
			}
			w.wantUndecided(t, request.ID)
			w.wantUndecided(t, other.ID)
		})
	}

	t.Run("the page shows two, and one is sent", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		// What the page shows unticked is all the same; the last look has the broker's own words.
		b.do("tampering", w.opens(request), edits(typed+`
			const item = document.querySelector("[data-item][data-environment=staging]");
			item.querySelectorAll("[data-allow=delete]").forEach((e) => { e.dataset.allow = "read" });`), edits(`document.querySelector("form.sign").requestSubmit()`), visible(`[data-confirm]`))
		says, granted := b.shownAndSigned(w, request)
		for _, item := range granted.Effective() {
			if told := strings.Contains(says, "delete public.orders of db in "+item.Environment); told != broker.AllActions(item.Description.Scopes).Has(broker.Delete) {
				t.Errorf("the last look said %q, and granted is %v in %s", says, item.Description.Scopes, item.Environment)
			}
		}
	})

	t.Run("the preview is of something else", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("previewed", both)
		// A preview signs nothing, and has nothing that could be signed.
		b.do("looking", w.opens(request))
		got := b.run(fmt.Sprintf(`const r = await fetch("/sign/prepare", {method: "POST", headers: {"Content-Type": "application/json"},
			body: JSON.stringify({act: "approve-request", subject: %q, digest: %q, preview: true})});
			return r.status + " " + Object.keys(await r.json()).sort().join(" ")`, request.ID, request.Digest()))
		if got != "200 says worst" {
			t.Errorf("a preview gives %s", got)
		}
		b.do("leaving production out", tap(`[data-environment=production] [data-whole]`), visible(`[data-remains]`),
			until("it is said", `!document.querySelector("[data-remains-says]").textContent.includes("production") && document.querySelector("[data-remains-says]").textContent.includes("staging")`))
		// Between the preview and the tap the box comes back, unseen: the last look says so.
		b.do("bringing it back", edits(typed+`document.querySelector("[data-environment=production] [data-whole]").checked = true`), edits(`document.querySelector("form.sign").requestSubmit()`), visible(`[data-confirm]`))
		says, granted := b.shownAndSigned(w, request)
		if !strings.Contains(says, "production") || len(granted.Effective()) != 2 {
			t.Errorf("the last look said %q, and granted are %d items", says, len(granted.Effective()))
		}
	})
}
