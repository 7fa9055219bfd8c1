package readme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// browser is one page of a Chromium, as wide as a phone, in which an authenticator is plugged.
type browser struct {
	*testing.T
	ctx context.Context

	// What the human did.
	taps   int // buttons and links
	typed  int // fields filled in
	opened int // addresses

	most  int // taps that are allowed; 0: any number
	shots int
}

type step = chromedp.Action[chromedp.Void]

// newBrowser starts one, or skips the test where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{T: t, ctx: ctx}
	if err := chromedp.Do(ctx, authenticator(), countsClicks(), chromedp.EmulateViewport(360, 740)); err != nil { // the first call starts the browser, and must have no timeout of its own
		t.Fatal(err)
	}
	return b
}

// chromium finds the program.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	absent(t, "no Chromium here: install it (Debian: apt-get install chromium) to do what README.md tells in a browser")
	return ""
}

// absent skips the test for want of a program; nothing may be wanting with HOURKEY_TEST_ALL=1.
func absent(t *testing.T, message string) {
	t.Helper()
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// authenticator is one inside the browser that verifies its user, as a phone's does.
func authenticator() step {
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

// countsClicks lets the browser itself count the clicks of a human, over all pages of one site.
func countsClicks() step {
	const script = `addEventListener("click", (e) => {
		if (e.isTrusted) sessionStorage.setItem("clicks", 1 + Number(sessionStorage.getItem("clicks")));
	}, true)`
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return err
	})
}

// clicks is the browser's own count.
func (b *browser) clicks() int {
	b.Helper()
	count, err := strconv.Atoi(b.ask(`sessionStorage.getItem("clicks") || "0"`))
	if err != nil {
		b.Error(err)
	}
	return count
}

// do runs steps, and shows the page when one fails.
func (b *browser) do(what string, steps ...step) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatalf("%s: %v\nthe page is:\n%s", what, err, b.ask(`location.href + "\n" + document.body.innerText`))
	}
}

// ask evaluates an expression in the page.
func (b *browser) ask(expression string) string {
	b.Helper()
	answer, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.Error(err)
	}
	return answer
}

// opens types an address that the terminal printed.
func (b *browser) opens(address string) {
	b.Helper()
	b.opened++
	b.do("opening "+address, chromedp.Navigate(address), until("the page is there", `document.readyState === "complete"`))
}

// sees waits until the page has the text, and takes a picture.
func (b *browser) sees(text string) {
	b.Helper()
	b.do("looking for "+text, until(fmt.Sprintf("the page shows %q", text), fmt.Sprintf(`!!document.body && document.body.innerText.includes(%q)`, text)))
	b.shoot()
}

// taps a button, in the part of the page that css names.
func (b *browser) tap(css string) {
	b.Helper()
	if b.taps++; b.most > 0 && b.taps > b.most {
		b.Fatalf("tap %d, on %s: expected at most %d", b.taps, css, b.most)
	}
	b.do("tapping "+css, chromedp.WaitVisible(chromedp.CSS(css)), chromedp.Click(chromedp.CSS(css)))
}

// follows a link on the page, and waits for the page that it leads to.
func (b *browser) follows(path string) {
	b.Helper()
	b.tap(fmt.Sprintf(`a[href=%q]`, path))
	b.do("going to "+path, until("we are at "+path, fmt.Sprintf(`location.pathname === %q && document.readyState === "complete"`, path)))
}

// fills in a field.
func (b *browser) fills(name, text string) {
	b.Helper()
	b.typed++
	b.do("filling in "+name, chromedp.SendKeys(chromedp.CSS(fmt.Sprintf(`input[name=%s]`, name)), text))
}

// signs goes through the ceremony of the page that is open: read the statement, then the passkey.
func (b *browser) signs(says string) {
	b.Helper()
	b.tap(`form.sign > button`)
	b.do("reading the statement", chromedp.WaitVisible(chromedp.CSS(`[data-confirm]`)))
	b.shoot()
	b.tap(`[data-confirm]`)
	b.sees(says)
}

// enrols makes a passkey, and comes to the inbox.
func (b *browser) enrols(address, name, code string) {
	b.Helper()
	b.makesPasskey(address, name, code)
	b.sees("aiting for you")
}

// makesPasskey goes by what the terminal told: an address, a name and a one-time code.
func (b *browser) makesPasskey(address, name, code string) {
	b.Helper()
	b.opens(address)
	b.sees("Make your passkey")
	b.fills("name", name)
	b.fills("code", code)
	b.tap(`button.big`)
	b.sees("Welcome, " + name)
	b.tap(`form[data-ceremony=register] button`)
}

// until waits for an expression to be true. (chromedp.Poll would need the eval that the pages forbid.)
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

// shoot takes a picture of the page, where somebody wants to look at them.
func (b *browser) shoot() {
	b.Helper()
	folder := os.Getenv("HOURKEY_SHOTS")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	b.shots++
	if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%02d.png", b.Name(), b.shots)), picture, 0o600); err != nil {
		b.Fatal(err)
	}
}
