package readme

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// drill is somebody who has nothing but the terminal that the drill prints to, and a browser.
type drill struct {
	*shell

	page *browser
	asks string // the request's page
}

// mostTaps is how often a human may have to tap from an invitation to the first approval.
const mostTaps = 4

// startDrill runs the README's command up to the point where it waits, and makes a passkey. From there on the
// human has only what the terminal told, and taps at most mostTaps times.
func startDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{page: newBrowser(t), shell: newShell(t)}
	all := commands(section(t, "See it"))
	if !slices.Contains(all, "go run ./cmd/hourkeyd demo") {
		t.Fatalf("README.md does not tell how to see the drill: %q", all)
	}
	d.begins("go run ./cmd/hourkeyd demo")
	told, _ := d.awaits(regexp.MustCompile(`Waiting for you[^\n]*\n`))
	t.Log(told)
	d.asks = find(t, told, `read +(http://localhost:\d+/requests/\S+)`)
	d.page.most = mostTaps
	d.page.makesPasskey(find(t, told, `open +(http://localhost:\d+/invite)`), find(t, told, `type +name (\S+)`), find(t, told, `code `+oneTime))
	d.page.sees(find(t, told, `phrase must be +([a-z]+(?:-[a-z]+){3})\s`))
	if at := d.page.ask(`location.href`); at != d.asks {
		t.Errorf("after the passkey the browser is at %s, not where the one request waits: %s", at, d.asks)
	}
	d.page.sees("render-cache")
	if page := d.page.ask(`document.body.innerText`); !strings.Contains(page, "volumeDelete(") || strings.Contains(page, "also lives in") {
		t.Errorf("the page does not show the call, or says of what only staging has that it is elsewhere:\n%s", page)
	}
	return d
}

// finishes waits for the end of the story.
func (d *drill) finishes(wants ...string) {
	d.Helper()
	output, status := d.ends()
	if status != 0 {
		d.Errorf("the drill ended with status %d", status)
	}
	story := strings.Join(strings.Fields(output), " ") // where it is wrapped is of no matter
	for _, want := range append(wants, "Every wall held") {
		if !strings.Contains(story, want) {
			d.Errorf("the story does not say %q", want)
		}
	}
	d.Logf("the human tapped %d times; besides, typed %d fields, and opened %d addresses", d.page.taps, d.page.typed, d.page.opened)
}

func TestDemoWaitsForAHumanWhoApproves(t *testing.T) {
	d := startDrill(t)
	d.page.signs("Approved")
	if clicks := d.page.clicks(); clicks > mostTaps || clicks != d.page.taps || d.page.opened != 1 {
		d.Errorf("the first approval took %d clicks by the browser's count, %d by ours, expected at most %d; %d addresses were opened, expected 1", clicks, d.page.taps, mostTaps, d.page.opened)
	}
	d.finishes("approved by a passkey", "The cache is gone, as you wished")
}

func TestDemoTakesNoForAnAnswer(t *testing.T) {
	d := startDrill(t)
	d.page.fills("words", "not on a Friday")
	d.page.tap(`section.decide form[method=post] button`)
	d.page.sees("Denied")
	d.finishes("denied it; the agent is told: “not on a Friday”", "render-cache is untouched")
}

// TestDemoEndsWithoutATrace: whoever has seen enough presses ^C; the folder holds keys.
func TestDemoEndsWithoutATrace(t *testing.T) {
	for name, end := range map[string]func(s *shell){
		"interrupted":     func(s *shell) { s.types("\x03"); s.ends() },
		"terminal closed": func(s *shell) { _ = s.terminal.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			s.begins("go run ./cmd/hourkeyd demo")
			told, _ := s.awaits(regexp.MustCompile(`Waiting for you[^\n]*\n`))
			folder := find(t, told, `lies in (/\S+) `)
			end(s)
			for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(100 * time.Millisecond) {
				if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
					return
				}
			}
			t.Errorf("%s is still there", folder)
			_ = os.RemoveAll(folder)
		})
	}
}

// TestDemoAlone is the README's other command: it needs nobody.
func TestDemoAlone(t *testing.T) {
	s := newShell(t)
	if output := s.run("go run ./cmd/hourkeyd demo --auto"); !strings.Contains(output, "Every wall held") {
		t.Error("the drill does not say that every wall held")
	}
}
