package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// outcomes of what a page of another origin tries, one per line; whatever is not "refused" or "blind" is a hole.
const triesOfAnotherOrigin = `
	const broker = %q, id = %q, digest = %q;
	const path = "/requests/" + id;
	const out = {};
	const attempt = async (name, f) => { try { out[name] = String(await f()) } catch (e) { out[name] = "refused" } };
	const answer = async (r) => r.type === "opaque" ? "blind" : r.status + " " + (await r.text()).slice(0, 60);
	const form = new URLSearchParams({digest});
	await attempt("read with cookies", async () => answer(await fetch(broker + path, {credentials: "include"})));
	await attempt("read blindly", async () => answer(await fetch(broker + path, {credentials: "include", mode: "no-cors"})));
	await attempt("deny with cookies", async () => answer(await fetch(broker + path + "/deny", {method: "POST", credentials: "include", body: form})));
	await attempt("deny blindly", async () => answer(await fetch(broker + path + "/deny", {method: "POST", credentials: "include", mode: "no-cors", body: form})));
	await attempt("prepare as JSON", async () => answer(await fetch(broker + "/sign/prepare", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"})));
	await attempt("prepare as text", async () => answer(await fetch(broker + "/sign/prepare", {method: "POST", credentials: "include", mode: "no-cors", headers: {"Content-Type": "text/plain"},
		body: JSON.stringify({act: "approve-request", subject: id, digest})})));
	await attempt("freeze", async () => answer(await fetch(broker + "/v1/freeze", {method: "POST", credentials: "include", mode: "no-cors", body: '{"of":"all"}'})));
	await attempt("beacon", async () => navigator.sendBeacon(broker + "/sign-out", "") ? "blind" : "refused");
	const element = (name, attributes) => new Promise((done) => {
		const e = Object.assign(document.createElement(name), attributes);
		e.onload = () => done("loaded"); e.onerror = () => done("refused");
		document.body.append(e);
		setTimeout(() => done("blind"), 2000);
	});
	await attempt("as script", () => element("script", {src: broker + path}));
	await attempt("our script", () => element("script", {src: broker + "/assets/hourkey.js"}));
	await attempt("as style", () => element("link", {rel: "stylesheet", href: broker + "/assets/hourkey.css"}));
	await attempt("as image", () => element("img", {src: broker + "/assets/mark.svg"}));
	await attempt("stream", () => new Promise((done) => {
		const s = new EventSource(broker + "/live?from=0", {withCredentials: true});
		s.onopen = () => done("opened"); s.onerror = () => { s.close(); done("refused") };
	}));
	await attempt("frame", async () => {
		const f = Object.assign(document.createElement("iframe"), {src: broker + path});
		await new Promise((done) => { f.onload = done; document.body.append(f) });
		try { return f.contentDocument.body.innerText.length > 0 ? "framed: " + f.contentDocument.body.innerText : "refused" } catch (e) { return "refused" }
	});
	return Object.entries(out).map(([name, what]) => name + ": " + what).join("\n")`

// TestInChromiumAnotherOriginDoesWhatItCan: a page of another site, and one of another port of localhost, which to the
// browser is the broker's own site: our cookie goes along.
func TestInChromiumAnotherOriginDoesWhatItCan(t *testing.T) {
	root := hunt(t)
	b, _ := root.window(t)
	w := prey(b)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			b, w := b.in(t), w.in(t)
			request := w.waits("site-" + strings.ReplaceAll(host, ".", "-"))
			evil := otherSite(t, host, `<p>evil</p>`)
			b.do("going there", goTo(evil), shows("evil"))
			before := len(w.store.Log())
			got := b.run(fmt.Sprintf(triesOfAnotherOrigin, w.origin, request.ID, request.Digest()))
			for line := range strings.SplitSeq(got, "\n") {
				if !strings.HasSuffix(line, ": refused") && !strings.HasSuffix(line, ": blind") {
					t.Errorf("another origin: %s", line)
				}
			}
			if strings.Count(got, "\n") != 13 {
				t.Errorf("not all was tried:\n%s", got)
			}
			if after := len(w.store.Log()); after != before {
				t.Errorf("%d events came of it", after-before)
			}
			w.wantUndecided(t, request.ID)
		})
		t.Run(host+" by forms", func(t *testing.T) {
			b, w := b.in(t), w.in(t)
			request := w.waits("forms-" + strings.ReplaceAll(host, ".", "-"))
			before := len(w.store.Log())
			for name, form := range map[string]string{
				"urlencoded": `<form method="post" action="%[1]s/requests/%[2]s/deny"><input name="digest" value="%[3]s"><button>win</button></form>`,
				"JSON in plain text": `<form method="post" enctype="text/plain" action="%[1]s/sign/prepare">
					<input name='{"act":"approve-request","subject":"%[2]s","digest":"%[3]s","x":"' value='"}'><button>win</button></form>`,
				"multipart":     `<form method="post" enctype="multipart/form-data" action="%[1]s/requests/%[2]s/deny"><input name="digest" value="%[3]s"><button>win</button></form>`,
				"without name":  `<meta name="referrer" content="no-referrer"><form method="post" action="%[1]s/requests/%[2]s/deny"><input name="digest" value="%[3]s"><button>win</button></form>`,
				"from a frame":  `<iframe sandbox="allow-forms allow-scripts allow-top-navigation" srcdoc='<form target="_top" method="post" action="%[1]s/requests/%[2]s/deny"><input name="digest" value="%[3]s"></form><script>setTimeout(() => document.forms[0].submit(), 300)</script>'></iframe><button>wait</button>`,
				"signing out":   `<form method="post" action="%[1]s/sign-out"><button>win</button></form>`,
				"a sign-on":     `<form method="post" action="%[1]s/sign-in/sso"><input name="next" value="//evil.example"><button>win</button></form>`,
				"ending others": `<form method="post" action="%[1]s/me/sessions/end-others"><button>win</button></form>`,
			} {
				evil := otherSite(t, host, "<p>evil</p>"+fmt.Sprintf(form, w.origin, request.ID, request.Digest()))
				b.do(name, goTo(evil), shows("evil"), tap(`button`), shows("this does not come from a page of"))
			}
			if after := len(w.store.Log()); after != before {
				t.Errorf("%d events came of it", after-before)
			}
			w.wantUndecided(t, request.ID)
			b.do("being still signed in", goTo(w.origin+"/me"), shows("Sign out"))
		})
	}
	t.Run("with window.opener", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("opener")
		for _, host := range []string{"127.0.0.1", "localhost"} {
			evil := otherSite(t, host, fmt.Sprintf(`<p>evil</p><button>open</button><script>
				document.querySelector("button").onclick = () => { window.w = window.open(%q, "broker"); };
				addEventListener("message", (e) => { window.heard = e.data });</script>`, w.origin+"/requests/"+request.ID))
			b.do("opening a window", goTo(evil), shows("evil"), tap(`button`), until("the window is cut off", `w.closed`))
			got := b.run(`const out = [];
				for (const f of [() => w.location.href, () => w.document.title, () => w.length, () => w.opener]) { try { out.push(f()) } catch (e) { out.push("refused") } }
				try { w.location = "about:blank"; w.postMessage("hello", "*") } catch (e) {}
				return out.join(" ") + " " + window.heard`)
			if strings.Contains(got, w.origin) || strings.Contains(got, "Hourkey") || !strings.HasSuffix(got, "undefined") {
				t.Errorf("%s: the opener knows %s", host, got)
			}
		}
		w.wantUndecided(t, request.ID)
	})
	t.Run("with a link, and a link into a window that it named", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("linked")
		evil := otherSite(t, "127.0.0.1", fmt.Sprintf(`<p>evil</p><a href=%q>look</a><base target="_self">`, w.origin+"/requests/"+request.ID))
		b.do("following it", goTo(evil), tap(`a`), shows("You came here from another site"))
		if text := b.ask(`document.documentElement.outerHTML`); strings.Contains(text, "public.orders") || strings.Contains(text, "linked asks") {
			t.Errorf("the page shows it to a link of another site:\n%s", text)
		}
		b.do("going on", tap(`a.button`), shows("Exactly what would be issued"))
		if name := b.ask(`window.opener === null ? "cut" : "linked"`); name != "cut" {
			t.Error("our page has an opener")
		}
		w.wantUndecided(t, request.ID)
	})
	t.Run("by a name that was bound anew", func(t *testing.T) {
		b, w := b.in(t), w.in(t)
		request := w.waits("rebound")
		u, err := url.Parse(w.origin)
		w.must(err)
		rebound := "http://evil.example:" + u.Port()
		_, err = chromedp.Call(b.ctx, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}) // the attacker's own page came without a policy
		w.must(err)
		b.do("reading", goTo(rebound+"/requests/"+request.ID), shows("this broker does not answer for the host that was asked"))
		got := b.run(fmt.Sprintf(`const out = [];
			for (const path of ["/", "/requests/%[1]s", "/sign-in", "/assets/hourkey.js", "/metrics", "/v1/requests", "/health", "/ready", "/live?from=0", "/none"]) out.push((await fetch(path, {credentials: "include"})).status);
			for (const path of ["/requests/%[1]s/deny", "/sign/prepare", "/sign-in/prepare", "/oauth/token", "/v1/requests"]) out.push((await fetch(path, {method: "POST", body: "digest=%[2]s", headers: {"Content-Type": "application/x-www-form-urlencoded"}})).status);
			return [...new Set(out)].join(" ")`, request.ID, request.Digest()))
		if got != "421 400" { // the token endpoint has no other status (RFC 6749, section 5.2)
			t.Errorf("a name that was bound anew gets %s", got)
		}
		w.wantUndecided(t, request.ID)
	})
}

// TestAProgramWithTheCookieThatDoesNotSendWhatBrowsersSend: the same cookie, and one header less or other than a
// browser's own page sends.
func TestAProgramWithTheCookieThatDoesNotSendWhatBrowsersSend(t *testing.T) {
	w := settled(t)
	robber := &thief{team: w, cookie: w.cookieOf(w.alice)}
	request := w.ask("")
	status, body := robber.json("/sign/prepare", fmt.Sprintf(`{"act":"approve-request","subject":%q,"digest":%q}`, request.ID, request.Digest()))
	w.want(t, http.StatusOK, "as a browser sends it", status, body)
	before := len(w.store.Log())
	for name, edit := range map[string]func(*http.Request){
		"without Sec-Fetch-Site":      func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		"Sec-Fetch-Site twice":        func(r *http.Request) { r.Header["Sec-Fetch-Site"] = []string{"cross-site", "same-origin"} },
		"Sec-Fetch-Site same-site":    func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"Sec-Fetch-Site none":         func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") },
		"Sec-Fetch-Site in capitals":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "SAME-ORIGIN") },
		"Origin twice":                func(r *http.Request) { r.Header["Origin"] = []string{"http://evil.example", w.origin} },
		"Origin with a slash":         func(r *http.Request) { r.Header.Set("Origin", w.origin+"/") },
		"Origin with a name before":   func(r *http.Request) { r.Header.Set("Origin", strings.Replace(w.origin, "://", "://a@", 1)) },
		"Origin and more":             func(r *http.Request) { r.Header.Set("Origin", w.origin+" http://evil.example") },
		"Origin by https":             func(r *http.Request) { r.Header.Set("Origin", strings.Replace(w.origin, "http", "https", 1)) },
		"with the address as Origin":  func(r *http.Request) { r.Header.Set("Origin", strings.Replace(w.origin, "localhost", "127.0.0.1", 1)) },
		"with a token beside it":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
		"by another method in a head": func(r *http.Request) { r.Method = http.MethodGet; r.Header.Set("X-HTTP-Method-Override", "POST") },
	} {
		robber.edit = edit
		for _, path := range []string{"/sign/prepare", "/requests/" + request.ID + "/deny"} {
			status, body := robber.json(path, fmt.Sprintf(`{"act":"approve-request","subject":%q,"digest":%q}`, request.ID, request.Digest()))
			if status < 400 {
				t.Errorf("%s to %s: %d %s", name, path, status, body)
			}
			status, body = robber.form(path, "digest="+request.Digest())
			if status < 400 {
				t.Errorf("a form %s to %s: %d %s", name, path, status, body)
			}
		}
		if status, body := robber.json(api.PathFreeze, freezesATask); status < 400 {
			t.Errorf("%s to %s: %d %s", name, api.PathFreeze, status, body)
		}
		w.clock.Advance(1e9)
	}
	if after := len(w.store.Log()); after != before {
		t.Errorf("%d events came of it", after-before)
	}
	w.wantUndecided(t, request.ID)
	robber.edit = nil
	status, body = robber.json(api.PathFreeze, freezesATask)
	w.want(t, http.StatusOK, "a freeze as a browser sends it", status, body)
}

const freezesATask = `{"of":"task","name":"fix","reason":"drill"}`

// cookieOf is what a person's program sends as its cookie.
func (w *team) cookieOf(p *softkey.Person) string {
	w.Helper()
	var sent *http.Request
	p.Edit = func(r *http.Request) { sent = r }
	defer func() { p.Edit = nil }()
	_, _, err := p.Read(w.Context(), "/")
	w.must(err)
	cookie := sent.Header.Get("Cookie") // the jar put it there afterwards
	if cookie == "" {
		w.Fatal("the jar is empty")
	}
	return cookie
}
