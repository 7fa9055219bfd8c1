package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// tab is one page of a Chromium in which a phone's authenticator is plugged.
type tab struct {
	*testing.T
	ctx context.Context
}

type step = chromedp.Action[chromedp.Void]

// chromium starts one, or skips the test where there is none.
func chromium(t *testing.T) *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		message := "no Chromium here: install it (Debian: apt-get install chromium) to run the pages in a browser"
		if os.Getenv("HOURKEY_TEST_ALL") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t, ctx}
	if err := chromedp.Do(ctx, phone()); err != nil { // the first call starts the browser, and must have no timeout of its own
		t.Fatal(err)
	}
	return b
}

// phone is an authenticator inside the browser that verifies its user, as a phone's does.
func phone() step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
		return err
	})
}

// do runs steps, and shows the page when one fails.
func (b *tab) do(what string, steps ...step) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
		b.Fatalf("%s: %v\nthe page is:\n%s", what, err, text)
	}
}

// ask evaluates an expression in the page.
func (b *tab) ask(expression string) string {
	b.Helper()
	answer, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// shows waits until the page has the text.
func shows(text string) step {
	return until(fmt.Sprintf("the page shows %q", text), fmt.Sprintf(`!!document.body && document.body.innerText.includes(%q)`, text))
}

// until waits for an expression to be true. (chromedp.Poll would need the eval that our policy forbids.)
func until(what, expression string) step {
	look := chromedp.Evaluate[bool](expression)
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for {
			if found, err := look(ctx, t); err == nil && found { // an error: the page is being replaced
				return nil
			}
			select {
			case <-ctx.Done():
				return errors.Join(ctx.Err(), errors.New("waited in vain until "+what))
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

// link follows a link, and waits for the page that it leads to.
func link(path string) step {
	return chromedp.Steps(tap(fmt.Sprintf(`a[href=%q]`, path)),
		until("we are at "+path, fmt.Sprintf(`location.pathname === %q && document.readyState === "complete"`, path)))
}

// tap waits for the page's script: a form that is sent before it runs goes the browser's own way.
func tap(css string) step {
	return chromedp.Steps(until("the page is there", `document.readyState === "complete"`), chromedp.Click(chromedp.CSS(css)))
}

func visible(css string) step    { return chromedp.WaitVisible(chromedp.CSS(css)) }
func fill(css, text string) step { return chromedp.SendKeys(chromedp.CSS(css), text) }
func goTo(address string) step   { return chromedp.Navigate(address) }

// signs taps through the ceremony of the page that is open.
func signs() step {
	return chromedp.Steps(tap(`form.sign > button`), visible(`[data-confirm]`), tap(`[data-confirm]`))
}

// enrols goes from the invite's form to the inbox.
func enrols(w *team, name, code string) step {
	return chromedp.Steps(goTo(w.origin+"/"), shows("Sign in"), link("/invite"), fill(`input[name=name]`, name), fill(`input[name=code]`, code),
		tap(`button.big`), shows("Welcome, "+name), tap(`form[data-ceremony=register] button`), shows("aiting for you"))
}

func TestInChromiumFromInviteToApprovedRequest(t *testing.T) {
	b, w := chromium(t), newTeam(t)
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	agentCode, err := w.broker.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "ci/nightly", "alice")
	w.must(err)
	_, err = w.broker.EnrolAgent(t.Context(), "ci/nightly", agentCode, []byte(`{}`), "thumbprint-to-compare")
	w.must(err)

	b.do("enrolling", enrols(w, "alice", code))
	b.do("confirming the target", link("/targets/staging/db"), shows("says that it is"), signs(), shows("Agents to activate"))
	b.do("activating the agent", link("/agents/ci/nightly"), shows("thumbprint-to-compare"), signs(), shows("Nothing waits for you"))
	request := w.ask("second copies\u202e of everything")
	b.do("reading the request", chromedp.Reload(), link("/requests/"+request.ID), shows("⟨U+202E⟩"), tap(`form.sign > button`), visible(`[data-confirm]`))
	if statement := b.ask(`document.querySelector("[data-canonical]").textContent`); !strings.Contains(statement, request.Digest()) {
		t.Errorf("the statement on the page is not of this request: %s", statement)
	}
	b.shoot("statement")
	b.do("approving", tap(`[data-confirm]`), shows("Approved, not collected yet"))
	if got := w.state(request.ID); got != broker.RequestApproved {
		t.Fatalf("the request is %s", got)
	}
	b.do("signing out and in", tap(`header button`), shows("Reviewing and approving needs your passkey"),
		tap(`form[data-ceremony=sign-in] button`), shows("Nothing waits for you"))
}

func TestInChromiumAChangedRequestIsNotSigned(t *testing.T) {
	b, w := chromium(t), newTeam(t)
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	b.do("enrolling", enrols(w, "alice", code), link("/targets/staging/db"), signs(), shows("Nothing waits for you"))
	request := w.ask("")
	b.do("reading the request", goTo(w.origin+"/requests/"+request.ID), shows("Exactly what would be issued"))
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
		request.Items[0].Description.Native = append(request.Items[0].Description.Native, "GRANT EVERYTHING")
		return tx.Save(&request)
	}))
	b.do("approving what changed", tap(`form.sign > button`), shows("this changed since it was shown"))
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Fatalf("the request is %s", got)
	}
}

// The form goes out as a browser sends it: with an Origin that can be compared, and Sec-Fetch-Site.
func TestInChromiumDenyingNeedsNoScript(t *testing.T) {
	b, w := chromium(t), newTeam(t)
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	b.do("enrolling", enrols(w, "alice", code), link("/targets/staging/db"), signs(), shows("Nothing waits for you"))
	request := w.ask("")
	b.do("denying without script", scriptsOff(), goTo(w.origin+"/requests/"+request.ID), shows("A passkey needs JavaScript"), tap(`.deny-now button`), shows("Denied"))
	if got := w.state(request.ID); got != broker.RequestDenied {
		t.Fatalf("the request is %s", got)
	}
}

func scriptsOff() step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// What a page of another site tries with the human's own browser, while the human is signed in.
func TestInChromiumAnotherSiteNeitherDeniesNorFramesNorReads(t *testing.T) {
	b, w := chromium(t), newTeam(t)
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	b.do("enrolling", enrols(w, "alice", code), link("/targets/staging/db"), signs(), shows("Nothing waits for you"))
	request := w.ask("")
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(rw, `<p>evil</p><a href="%[1]s/requests/%[2]s">look</a><iframe src="%[1]s/requests/%[2]s"></iframe>
			<form method="post" action="%[1]s/requests/%[2]s/deny"><input name="digest" value="%[3]s"><button>win</button></form>`, w.origin, request.ID, request.Digest())
	}))
	defer evil.Close() // on 127.0.0.1: to the browser another site than localhost
	b.do("visiting the other site", goTo(evil.URL), shows("evil"))
	if framed := b.ask(`(() => { try { return document.querySelector("iframe").contentDocument ? "same origin" : "" } catch (e) { return "" } })()`); framed != "" {
		t.Errorf("the frame can be read: %s", framed)
	}
	b.do("its form", tap(`form button`), shows("this does not come from a page of"))
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Fatalf("the request is %s", got)
	}
	b.do("its link", goTo(evil.URL), tap(`a`), shows("You came here from another site"), tap(`a.button`), shows("Exactly what would be issued"))
}

func TestInChromiumABrowserWithoutPasskeysSaysSo(t *testing.T) {
	b, w := chromium(t), newTeam(t)
	b.do("looking", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `delete window.PublicKeyCredential`})
		return err
	}), goTo(w.origin+"/sign-in"), shows("This browser has no passkeys"))
}

// gallery serves every state of every page under its real headers.
func gallery(t *testing.T) *httptest.Server {
	t.Helper()
	templates, err := ui.New()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/assets/{name}", func(w http.ResponseWriter, r *http.Request) {
		content, mediaType, _ := ui.Asset(r.PathValue("name"))
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(content)
	})
	for _, f := range ui.Fixtures() {
		mux.HandleFunc("/"+f.File, func(w http.ResponseWriter, _ *http.Request) {
			raw, err := templates.Render(f.Page, f.Frame)
			if err != nil {
				t.Error(err)
			}
			pageHeaders(w.Header())
			_, _ = w.Write(raw)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// Expressions that name what is too wide for a phone, and what is too low for a thumb.
const (
	tooWide = `document.documentElement.scrollWidth > 360 ? [...document.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > 360)
		.map((e) => e.outerHTML.slice(0, 80)).join("\n") : ""`
	tooLow = `[...document.querySelectorAll("button, a.button, a.brand, .cards a, input, summary")]
		.filter((e) => e.offsetParent && e.type !== "hidden" && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML.slice(0, 80)).join("\n")`
)

// With HOURKEY_SHOTS=DIR it also leaves a picture of every page, light and dark, on a phone and a desk.
func TestInChromiumEveryPageFitsAPhone(t *testing.T) {
	b, server := chromium(t), gallery(t)
	ctx, cancel := context.WithCancel(b.ctx)
	console := chromedp.Console(ctx)
	for _, f := range ui.Fixtures() {
		b.do(f.File, chromedp.EmulateViewport(360, 740), goTo(server.URL+"/"+f.File), visible(`main`))
		if wide := b.ask(tooWide); wide != "" {
			t.Errorf("%s is wider than a phone: %s", f.File, wide)
		}
		if low := b.ask(tooLow); low != "" {
			t.Errorf("%s has targets that are lower than 44 pixels: %s", f.File, low)
		}
		b.shoot(f.File)
	}
	b.do("the end", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`console.log("the end"), true`)(ctx, t)
		return err
	}))
	for message, err := range console {
		if err != nil || strings.Contains(message.String(), "the end") {
			break
		}
		if !strings.Contains(message.String(), "Unrecognized feature") { // browsers differ in what Permissions-Policy they know
			t.Errorf("the browser complains: %s", message) // a script that failed, or the policy refused something
		}
	}
	cancel()
}

func (b *tab) shoot(name string) {
	b.Helper()
	folder := os.Getenv("HOURKEY_SHOTS")
	if folder == "" {
		return
	}
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.do("a picture of "+name, chromedp.EmulateViewport(width, 740), prefers(scheme))
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func prefers(scheme string) step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}
