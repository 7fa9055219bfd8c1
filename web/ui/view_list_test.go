package ui

import (
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// What others wrote stands in lists too: names of resources and passkeys, identities, browsers, errors, events. A
// field that a human typed keeps what was typed.
func TestNoListHidesACharacter(t *testing.T) {
	typed := regexp.MustCompile(`value="[^"]*"`)
	for _, f := range listFixtures(fixtureTime()) {
		page := html.UnescapeString(typed.ReplaceAllString(render(t, f), ""))
		for _, c := range page {
			if hidden(c) {
				t.Errorf("%s shows %U", f.File, c)
			}
		}
		if strings.Contains(render(t, f), "<script>alert") || strings.Contains(render(t, f), "<i>10.9") {
			t.Errorf("%s obeys what others wrote", f.File)
		}
	}
}

// A one-time code is in one answer: no other page shows one, and no page has one in a link or a form.
func TestOnlyTheCodesOwnPageShowsACode(t *testing.T) {
	code := regexp.MustCompile(`\b[0-9a-z]{5}(-[0-9a-z]{5}){3}\b`)
	for _, f := range Fixtures() {
		page := render(t, f)
		if f.Page == PageCode {
			if n := len(code.FindAllString(page, -1)); n != 1 || regexp.MustCompile(`(?:href|action|value)="[^"]*`+code.FindString(page)).MatchString(page) {
				t.Errorf("%s shows the code %d times, or sends it on", f.File, n)
			}
			continue
		}
		if found := code.FindString(strings.ReplaceAll(page, "xxxxx-xxxxx-xxxxx-xxxxx", "")); found != "" {
			t.Errorf("%s shows %s", f.File, found)
		}
	}
}

func TestEveryPageOfAHumanLeadsToTheOthersAndMarksOne(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/requests": "/requests", "/requests/01jd7": "/requests", "/agents/ci/nightly": "/agents", "/leases/1/end": "/leases", "/me/passkeys/new": "/me",
		"/targets/staging/db": "", "/requestsx": "", "/people/bob/invite": "/people",
	} {
		marked := ""
		for _, link := range Navigation(path, Doors{Environments: true, Audit: true, People: true}) {
			if link.Current {
				marked += link.Path
			}
		}
		if marked != want {
			t.Errorf("%s marks %q, want %q", path, marked, want)
		}
	}
	if got := len(Navigation("/", Doors{})); got != 6 {
		t.Errorf("nobody in particular is led to %d pages", got)
	}
}

func TestWhatABrowserSaysOfItself(t *testing.T) {
	for agent, want := range map[string]string{
		"": "no name",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":              "Edge on Windows",
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15":                      "Safari on a Mac",
		"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.0.0 Mobile/15E148 Safari/604.1":          "Chrome on an iPad",
		"Mozilla/5.0 (X11; CrOS x86_64 16093.68.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                            "Chrome on ChromeOS",
		"curl/8.10.1":              "curl/8.10.1",
		strings.Repeat("x", 70):    strings.Repeat("x", 60) + "…",
		"Firefox/140 without more": "Firefox/140 without more",
	} {
		if got := browser(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestAnEventsDataIsReadAsItIs(t *testing.T) {
	raw, err := json.Marshal(map[string]string{"a": `<b> & "c" \u003c`})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readable(raw), "{\n  \"a\": \"<b> & \\\"c\\\" \\\\u003c\"\n}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := readable(json.RawMessage("no JSON")); got != "no JSON" {
		t.Errorf("got %q", got)
	}
	long := eventRow(Numbered{1, broker.Event{Type: broker.EventStarted, Data: json.RawMessage(`"` + strings.Repeat("é", shownData) + `"`)}})
	if len(long.Data) > shownData+8 || !strings.HasPrefix(long.Cut, "Cut: the data has 32,770 bytes") || strings.ContainsRune(long.Data, '\uFFFD') {
		t.Errorf("%d bytes are shown: %s", len(long.Data), long.Cut)
	}
}

func TestNewPasskeysAreAnnouncedInOneLine(t *testing.T) {
	now := fixtureTime()
	if _, stands := PasskeyNotice(nil, now); stands {
		t.Error("nothing is announced")
	}
	var many []FreshPasskey
	for range 8 {
		many = append(many, FreshPasskey{Human: "bob", At: now.Add(-time.Minute)})
	}
	notice, _ := PasskeyNotice(many, now)
	if strings.Count(notice.Text, "bob") != 5 || !strings.Contains(notice.Text, "and 3 more") {
		t.Errorf("it says %q", notice.Text)
	}
}

// An environment where nothing can be approved says so before somebody waits in vain.
func TestAnEnvironmentWithoutEnoughReviewersSaysSo(t *testing.T) {
	config := listConfiguration()
	config.Groups["owners"] = nil
	view := EnvironmentsOf([]string{"laptop"}, config, nil, nil).List[0]
	few := map[string]bool{}
	for _, need := range view.Needs {
		few[need.Action.Name] = need.Few
	}
	if few["read"] || few["write"] || !few["delete"] || !few["admin"] {
		t.Errorf("too few for: %v", few)
	}
}

// Whoever copies a command from the page copies the command, though no line breaks within one of its words.
func TestACommandsWordsAreTheCommand(t *testing.T) {
	for _, name := range []Fixture{fixture(t, "agent-added"), fixture(t, "person-invited")} {
		code, ok := name.Frame.View.(Code)
		if !ok {
			t.Fatal("no code")
		}
		for _, step := range code.Steps {
			if got := strings.Join(step.Words(), " "); got != step.Exact {
				t.Errorf("%q instead of %q", got, step.Exact)
			}
		}
	}
}

func TestWhoMayNotLookAtAFreezeIsNotLedThere(t *testing.T) {
	tasks := []broker.Task{{Name: "fix"}, {Name: "other"}}
	freezes := []broker.Freeze{{Of: broker.FreezeTask, Name: "fix"}}
	for opens, want := range map[bool]string{true: "/freezes/task:fix", false: ""} {
		view := TasksOf(tasks, nil, freezes, opens, listConfiguration())
		if got := view.List[0]; got.Frozen == "" || got.FreezePath != want || view.List[1].FreezePath != "" {
			t.Errorf("it leads to %q and %q", got.FreezePath, view.List[1].FreezePath)
		}
	}
}

func TestAnInboxOfFreezesAloneWaitsForNobody(t *testing.T) {
	page := text(render(t, fixture(t, "inbox-frozen")))
	if !strings.Contains(page, "Nothing waits for you") || !strings.Contains(page, "Frozen now") {
		t.Errorf("it says:\n%s", page)
	}
	one := broker.Inbox{Waiting: 3, Requests: []broker.Request{fixtureRequest(fixtureTime())}}
	if got := moreWait(one); got != "3 wait. This one could destroy the most." {
		t.Errorf("it says %q", got)
	}
}

func TestAnIssuersWordsBecomeASentence(t *testing.T) {
	for words, want := range map[string]string{"at once: it asks": "At once: it asks.", "No login.": "No login.", "éteint": "Éteint."} {
		if got := said(words); got != want {
			t.Errorf("%q becomes %q", words, got)
		}
	}
}
