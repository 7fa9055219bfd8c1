package web

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/web/ui"
)

// axe gives the script of axe-core, which ./test.sh fetches once in the version that tools/axe pins.
func axe(t *testing.T) string {
	t.Helper()
	pinned, err := os.ReadFile("../tools/axe/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(string(pinned), " ")
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	script, err := os.ReadFile(filepath.Join(cache, "hourkey", "axe-core-"+version, "axe.min.js"))
	if err != nil {
		message := "no axe-core " + version + " here: ./test.sh fetches it"
		if os.Getenv("HOURKEY_TEST_ALL") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return string(script)
}

// whatAxeFinds runs every rule of axe-core and gives a line for each violation.
const whatAxeFinds = `axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.flatMap((v) =>
	v.nodes.map((n) => v.id + ": " + n.html.slice(0, 120) + " " + n.failureSummary.split("\n").slice(1, 2).join(""))).join("\n"))`

// TestInChromiumEveryPageIsAccessible: no violation in any state of any page, in both colour schemes, on a phone and
// a desk. The script comes in through the debugger, past the page's own policy.
func TestInChromiumEveryPageIsAccessible(t *testing.T) {
	script := axe(t)
	b, server := chromium(t), gallery(t)
	views := []view{{360, "light"}}
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		views = append(views, view{360, "dark"}, view{1280, "light"}, view{1280, "dark"})
	}
	for _, f := range ui.Fixtures() {
		b.do(f.File, goTo(server.URL+"/"+f.File), visible(`main`), run(script))
		for _, v := range views {
			b.do(f.File, prefers(v.scheme), chromedp.EmulateViewport(v.width, 800))
			b.accessible(fmt.Sprintf("%s at %d pixels, %s", f.File, v.width, v.scheme))
		}
	}
}

// view is how wide a browser is, and which colours it prefers.
type view struct {
	width  int64
	scheme string
}

func run(script string) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](script+"\n;true")(ctx, t)
		return err
	})
}

func (b *tab) accessible(what string) {
	b.Helper()
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](whatAxeFinds, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
	if found != "" {
		b.Errorf("%s:\n%s", what, found)
	}
}
