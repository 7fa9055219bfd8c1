package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// hostileTexts is what others write: agents, providers, people at the single sign-on, browsers.
func hostileTexts() map[string]string {
	return map[string]string{
		"script": `"><script>alert(1)</script><img src=x onerror=alert(2)><svg/onload=alert(3)><iframe srcdoc="<script>parent.alert(4)</script>"></iframe>` +
			`<a href="javascript:alert(5)">x</a>' onfocus=alert(6) autofocus x='{{.}}${alert(7)}</title></textarea></style></script><base href=//evil.example/>`,
		"bidi":          "public.\u202esredro\u202c \u2066on\u2069 \u200f\u061cdelete\u2067",
		"zero width":    "public.or\u200bde\u200d\ufeffrs\u2060\u00ad\u180e\u034f\u3164\u2800\U000e0041\U000e0042",
		"right to left": "שלום.orders/12 (delete), production: \"read\"",
		"marks":         "ordé" + strings.Repeat("\u0301", 60) + "rs" + strings.Repeat("\u0e49", 60),
		"wide":          "﷽﷽ 𒐫𒐫 ⸻⸻ " + strings.Repeat("W", 400) + " " + strings.Repeat("𝕏", 90),
		"lines":         "nothing" + strings.Repeat("\n\t", 40) + "Decide\nApprove read…\n\u2028\u2029\u0085\x00\x1b[2Jend",
		"blanks":        "public.orders" + strings.Repeat(" ", 300) + "and everything else\u00a0\u3000\u2003end",
	}
}

// hooked makes a page tell when a script ran that is none of ours, or when the policy had to stop one.
const hooked = `window.hurt = [];
	for (const name of ["alert", "confirm", "prompt", "print", "eval", "open"]) window[name] = (...x) => { hurt.push(name + " " + x) };
	addEventListener("securitypolicyviolation", (e) => hurt.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample));
	addEventListener("error", (e) => hurt.push("error " + (e.message || e.target.outerHTML)), true)`

// wholePage names what is wrong with the page that is open: what ran, what is none of our elements, what cannot be
// seen, what is cut off, and what does not stand where it should.
const wholePage = `(() => {
	const wrong = [...(window.hurt || ["the page is not hooked"])];
	const ours = new Set("html head meta title link script body a header img form span button nav ul li div aside p strong main section h1 h2 h3 code br blockquote label input details summary fieldset legend select option bdi dialog pre noscript ol dl dt dd time table thead tbody tr th td textarea datalist".split(" "));
	for (const e of document.querySelectorAll("*")) {
		if (!ours.has(e.localName)) wrong.push("element " + e.outerHTML.slice(0, 80));
		for (const a of e.attributes) {
			if (a.name.startsWith("on") || a.name === "style" || a.name === "srcdoc") wrong.push("attribute " + a.name + " of " + e.localName);
			if (["href", "src", "action", "formaction"].includes(a.name) && !/^(\/|#|$)/.test(a.value)) wrong.push(a.name + "=" + a.value.slice(0, 80));
		}
	}
	if (document.querySelectorAll("script").length > 2) wrong.push("scripts: " + document.querySelectorAll("script").length);
	document.querySelectorAll("details").forEach((d) => { d.open = true });
	const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0]|[\u{e0000}-\u{e0fff}]/u;
	const found = document.documentElement.textContent.match(unseen) || document.title.match(unseen);
	if (found) wrong.push("unseen character U+" + found[0].codePointAt(0).toString(16) + " in ..." + document.documentElement.textContent.slice(Math.max(0, found.index - 40), found.index + 20));
	if (/\p{M}{5}/u.test(document.documentElement.textContent)) wrong.push("marks upon marks");
	for (const e of document.querySelectorAll("main, main *")) {
		const css = getComputedStyle(e);
		if (e.classList.contains("unseen") || !e.checkVisibility() || css.display === "inline" || css.display === "contents") continue;
		const cut = (css.overflowX !== "visible" && css.overflowX !== "auto" && css.overflowX !== "scroll" && e.scrollWidth > e.clientWidth + 1) || (css.overflowY === "hidden" && e.scrollHeight > e.clientHeight + 1);
		if (cut && !["INPUT", "SELECT", "BUTTON"].includes(e.tagName)) wrong.push("cut off: " + e.outerHTML.slice(0, 80));
		if (css.opacity !== "1" || css.visibility !== "visible" || parseFloat(css.fontSize) < 12) wrong.push("hardly seen: " + e.outerHTML.slice(0, 80));
	}
	if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the screen: " + [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((e) => e.outerHTML.slice(0, 100)).join(" | "));
	let bottom = -1;
	for (const e of document.querySelectorAll("main > *")) {
		const box = e.getBoundingClientRect();
		if (box.height === 0) continue;
		if (box.top < bottom - 1) wrong.push("stands over what is before it: " + e.outerHTML.slice(0, 80));
		bottom = Math.max(bottom, box.bottom);
	}
	for (const line of document.querySelectorAll("h1, li, p")) { // in each line, words of ours keep their places
		let last = null;
		for (const node of line.childNodes) {
			const range = document.createRange();
			range.selectNodeContents(node);
			const boxes = [...range.getClientRects()].filter((r) => r.width > 0);
			if (boxes.length === 0) continue;
			const first = boxes[0];
			if (last && Math.abs(first.bottom - last.bottom) < 2 && first.left < last.right - 1) wrong.push("out of order: " + line.textContent.slice(0, 80));
			last = boxes[boxes.length - 1];
		}
	}
	return wrong.join("\n");
})()`

// hurts hooks every page that the tab opens from now on.
func (b *tab) hooks() {
	b.Helper()
	_, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: hooked})
	if err != nil {
		b.Fatal(err)
	}
}

// whole opens a page on a phone, and wants nothing wrong with it and each of these texts seen on it.
func (b *tab) whole(what, address string, seen ...string) {
	b.Helper()
	b.do(what, goTo(address), visible("main h1"))
	if wrong := b.ask(wholePage); wrong != "" {
		b.Errorf("%s:\n%s", what, wrong)
	}
	text := b.ask(`document.querySelector("main").textContent`)
	for _, part := range seen {
		if !strings.Contains(text, part) {
			b.Errorf("%s does not show %q", what, part)
		}
	}
}

// hostile is a pending request into whose every text somebody wrote that.
func (w *team) hostile(agent, text string) broker.Request {
	w.Helper()
	request := w.waits(agent)
	request.Reason, request.Decision.Reasons[0].Text, request.Decision.Reasons[0].Where = text, text, text
	item := &request.Items[0]
	d := &item.Description
	for i := range d.Scopes {
		d.Scopes[i].Resource = broker.Resource(text)
	}
	item.Asked = d.Scopes
	item.Facts = []broker.Fact{{About: text, Text: text, At: w.clock.Now()}, {About: "all", Text: text, At: w.clock.Now()}}
	d.Native, d.Elsewhere, d.Ends, d.Identity = []string{text, "GRANT " + text}, []string{text}, text, text
	d.Walls = []broker.WallFact{{Stops: text, Wall: broker.WallNative, How: text}}
	d.Exceptions = []broker.Exception{{Object: text, Why: text}}
	w.keeps(&request)
	return request
}

func (w *team) keeps(record broker.Record) {
	w.Helper()
	w.must(w.store.Update(w.Context(), func(tx broker.Tx) error { return tx.Save(record) }))
}

// TestInChromiumHostileTextInEveryPlace: no script runs, nothing is hidden, out of its place, or cut off on a phone.
func TestInChromiumHostileTextInEveryPlace(t *testing.T) {
	b, _ := hunt(t).window(t)
	w := prey(b)
	w.config.Groups["auditors"] = []string{"alice"}
	w.config.Roles[broker.RoleAuditor] = []string{"auditors"}
	b.hooks()
	b.do("on a phone", chromedp.EmulateViewport(360, 740))
	t.Run("the looking glass itself", func(t *testing.T) { // else nothing would be found because nothing is looked for
		b := b.in(t)
		b.do("a page without care", goTo(otherSite(t, "localhost", `<main><h1>`+hostileTexts()["script"]+hostileTexts()["bidi"]+strings.Repeat("\u0301", 9)+`</h1>
			<p><a>one</a> <span dir="rtl">two <b>three</b></span></p><div>`+strings.Repeat("W", 200)+`</div></main>`)), visible("h1"))
		found := b.ask(wholePage)
		for _, want := range []string{"alert 1", "alert 2", "alert 3", "attribute onerror", "element <iframe", "unseen character U+202e", "marks upon marks", "wider than the screen", "javascript:alert(5)"} {
			if !strings.Contains(found, want) {
				t.Errorf("%q is not found:\n%s", want, found)
			}
		}
	})
	n, waiting := 0, map[string]broker.Request{}
	for name, text := range hostileTexts() {
		n++
		agent := fmt.Sprintf("hostile-%d", n)
		t.Run(name, func(t *testing.T) {
			b, w := b.in(t), w.in(t)
			request := w.hostile(agent, text)
			waiting[text] = request
			b.whole("a request", w.origin+"/requests/"+request.ID, "asks to", "The agent's own words")
			if sign := b.ask(`String(document.querySelectorAll("form.sign").length)`); sign != "1" {
				t.Errorf("%s forms to sign with", sign)
			}
			b.do("the last look", chromedp.Evaluate[chromedp.Void](`document.querySelector("form.sign").requestSubmit()`), visible(`[data-confirm]`))
			if wrong := b.ask(wholePage); wrong != "" {
				t.Errorf("the last look:\n%s", wrong)
			}
		})
	}
	t.Run("in lists, and once they are denied", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		b.whole("the inbox", w.origin+"/", "hostile-1", "hostile-8")
		for text, request := range waiting {
			w.must(w.broker.Reject(t.Context(), "bob", request.ID, w.request(request.ID).Digest(), text))
			b.whole("a denied one", w.origin+"/requests/"+request.ID, "The reviewer's words")
			_, err := w.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: request.Agent, Reason: text})
			w.must(err)
		}
		for _, freeze := range []string{"hostile-1", "hostile-5"} {
			b.whole("a freeze", w.origin+"/freezes/agent:"+freeze)
		}
		b.whole("the requests", w.origin+"/requests", "hostile-1", "hostile-8")
		b.whole("an agent", w.origin+"/agents/hostile-1", "hostile-1")
		b.whole("the log", w.origin+"/audit", "hostile-1")
	})

	t.Run("around people", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		for i, text := range []string{hostileTexts()["script"], hostileTexts()["bidi"] + hostileTexts()["zero width"], hostileTexts()["wide"]} {
			passkeys, err := w.broker.Passkeys(t.Context(), "alice")
			w.must(err)
			passkeys[0].Name = text
			w.keeps(&passkeys[0])
			w.keeps(&broker.WaitingPasskey{Passkey: broker.Passkey{ID: fmt.Sprintf("waiting-%d", i), Human: "alice", Name: text, Created: w.clock.Now()}, Expires: w.clock.Now().Add(3600e9)})
			w.keeps(&broker.Login{Human: "alice", Issuer: text, Subject: text, Email: text, Groups: []string{"team"}, At: w.clock.Now()})
			w.keeps(&authn.Session{Hash: fmt.Sprint(i), ID: fmt.Sprint(i), Human: "alice", Via: authn.ViaPasskey, Passkey: passkeys[0].ID, Created: w.clock.Now(), Seen: w.clock.Now(), Address: text, UserAgent: text})
			w.keeps(&broker.Invite{Human: "newcomer", State: broker.InviteInert, Needs: 1, Groups: []string{text}, Passkey: &passkeys[0], Account: text, By: text, Created: w.clock.Now(), Expires: w.clock.Now().Add(3600e9)})
			w.config.Groups[text] = []string{"alice"}
			b.whole("you", w.origin+"/me", "alice")
			b.whole("people", w.origin+"/people", "alice")
			b.whole("a newcomer", w.origin+"/humans/newcomer")
			b.whole("the inbox", w.origin+"/", "newcomer")
			delete(w.config.Groups, text)
		}
	})

	t.Run("a megabyte", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		big := strings.Repeat("delete everything \u202e", 1<<20/21)
		for name, change := range map[string]func(*broker.Request){
			"resource": func(r *broker.Request) { r.Items[0].Description.Scopes[0].Resource = broker.Resource(big) },
			"native":   func(r *broker.Request) { r.Items[0].Description.Native = []string{big} },
			"rule":     func(r *broker.Request) { r.Decision.Reasons[0].Text = big },
		} {
			n++
			request := w.waits(fmt.Sprintf("hostile-%d", n))
			change(&request)
			w.keeps(&request)
			b.do(name, goTo(w.origin+"/requests/"+request.ID), shows("cannot be shown whole"))
			if sign := b.ask(`String(document.querySelectorAll("form.sign").length) + (window.hurt || "")`); sign != "0" {
				t.Errorf("%s: %s forms to sign with", name, sign)
			}
			robber := &thief{team: w, cookie: b.jar(w.origin)}
			status, body := robber.json("/sign/prepare", fmt.Sprintf(`{"act":"approve-request","subject":%q,"digest":%q}`, request.ID, request.Digest()))
			w.want(t, http.StatusForbidden, name, status, body)
			b.do("denying it", tap(`.deny-now button`), shows("alice denied this"))
		}
	})
}

// TestAMegabyteFromAnAgentIsRefusedAtTheDoor: in words, in a scope, and in so many scopes.
func TestAMegabyteFromAnAgentIsRefusedAtTheDoor(t *testing.T) {
	x := newSite(t)
	token, before := x.agent.token(), len(x.Store.Log())
	for name, body := range map[string]string{
		"words":            `{"task":"fix","environments":["staging"],"reason":"` + strings.Repeat("x", 1<<20) + `"}`,
		"2001 bytes":       `{"task":"fix","environments":["staging"],"reason":"` + strings.Repeat("x", 2001) + `"}`,
		"a scope":          `{"task":"fix","environments":["staging"],"scopes":["db:` + strings.Repeat("x", 600) + `:delete"]}`,
		"scopes":           `{"task":"fix","environments":["staging"],"scopes":[` + strings.Repeat(`"db:public.orders:delete",`, 70) + `"db:public.orders:delete"]}`,
		"bidi in a scope":  `{"task":"fix","environments":["staging"],"scopes":["db:public.\u202eorders:delete"]}`,
		"zero in a scope":  `{"task":"fix","environments":["staging"],"scopes":["db:public.\u200borders:delete"]}`,
		"tag in a scope":   `{"task":"fix","environments":["staging"],"scopes":["db:public.\udb40\udc41orders:delete"]}`,
		"line in a scope":  `{"task":"fix","environments":["staging"],"scopes":["db:public.\norders:delete"]}`,
		"half a character": `{"task":"fix","environments":["staging"],"reason":"\ud800"}`,
	} {
		answer := x.do("POST", "/v1/requests", body, bearer(token))
		if name == "half a character" && answer.Code < 300 { // Go reads it as U+FFFD, which is seen
			continue
		}
		if answer.Code != http.StatusBadRequest && answer.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
	if after := len(x.Store.Log()); after > before+1 {
		t.Errorf("%d events came of it", after-before)
	}
}

// TestTwoRequestsDoNotReadTheSame: whoever may create a thing gives it a name that goes on like the rest of the sentence
// that a human signs.
func TestTwoRequestsDoNotReadTheSame(t *testing.T) {
	w := newTeam(t)
	of := func(texts ...string) broker.Request {
		return broker.Request{
			Agent: "claude", Task: "fix", Owner: "carol", TTL: 600e9,
			Items: []broker.Item{{Environment: "staging", Target: "db", Description: broker.Description{Scopes: scopes(w, texts...)}}},
		}
	}
	for name, pair := range map[string][2]broker.Request{
		"one thing like two":     {of("db:a of db in staging; read b:read"), of("db:a:read", "db:b:read")},
		"a life of its own":      {of("db:a of db in staging, for 1 minute, for task fix, on behalf of carol. Ask again:delete"), of("db:a:delete")},
		"a harmless second part": {of("db:a of db in staging; delete tmp:read"), of("db:a:read", "db:tmp:delete")},
	} {
		one, other := broker.Sentence(pair[0]), broker.Sentence(pair[1])
		if one == other || strings.HasPrefix(one, strings.SplitN(other, ", for", 2)[0]+", for") || strings.HasPrefix(one, strings.SplitN(other, " of db", 2)[0]+" of db") {
			t.Errorf("%s: the sentence does not say where the name ends:\n%s\n%s", name, one, other)
		}
	}
}
