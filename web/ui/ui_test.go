package ui

import (
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden pages anew")

func render(t *testing.T, f Fixture) string {
	t.Helper()
	pages, err := New()
	if err != nil {
		t.Fatal(err)
	}
	page, err := pages.Render(f.Page, f.Frame)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestGoldenPages(t *testing.T) {
	for _, f := range Fixtures() {
		t.Run(f.File, func(t *testing.T) {
			path, got := filepath.Join("testdata", f.File+".html"), render(t, f)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; write it with `go test ./web/ui -update` and read it", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the page differs from %s; if it should, `go test ./web/ui -update`:\n%s", path, diff)
			}
		})
	}
}

// The content security policy refuses inline code, so a page that has any is broken; and a page that
// needs none cannot be made to run any.
func TestNoPageHasInlineScriptOrStyle(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?: [^>]*)?>[^<]`)
	foreign := regexp.MustCompile(`(?i)(?:src|href|action)="(?:https?:)?//`)
	for _, f := range Fixtures() {
		page := render(t, f)
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s has inline code: %q", f.File, found)
		}
		if found := foreign.FindString(page); found != "" {
			t.Errorf("%s loads or leads elsewhere: %q", f.File, found)
		}
	}
}

func TestHostileWordsOfAnAgentAreShownAndNotObeyed(t *testing.T) {
	for _, f := range Fixtures() {
		if f.File != "request-hostile" {
			continue
		}
		page := render(t, f)
		for _, hidden := range []string{"\u202e", "\u202c", "\u200b", "\x00", "<script>alert(", "\xff"} {
			if strings.Contains(page, hidden) {
				t.Errorf("%q reached the page", hidden)
			}
		}
		for _, shown := range []string{"⟨U+202E⟩", "⟨U+200B⟩", "⟨U+0000⟩", "⟨0xFF⟩", "⟨U+0301⟩", "<script>alert(1)</script> harmless", "а U+0430"} {
			if !strings.Contains(html.UnescapeString(page), shown) {
				t.Errorf("%q is not on the page", shown)
			}
		}
	}
}

// What an agent says comes last: a reader has seen the facts before (invariant 11).
func TestTheAgentsWordsComeAfterEveryFact(t *testing.T) {
	page := render(t, Fixture{Page: PageRequest, Frame: requestFixtures(fixtureTime())[0].Frame})
	last := -1
	for _, mark := range []string{
		"asks to", "the same four words", "What can be destroyed", "1,204,311 rows", "Exactly what would be issued", "Why a human is asked", "Who must sign",
		"Walls", "Holes that the configuration accepts", "Its end:", "Before this", "own words", "Unverified", "failed import", "Decide", "Approve", "Stop this agent",
	} {
		at := strings.Index(page, mark)
		if at <= last {
			t.Fatalf("%q stands at %d, after %d", mark, at, last)
		}
		last = at
	}
}

// Red belongs to destroying words, and they are marked by more than a colour.
func TestOnlyDestructiveWordsAreMarkedAsDanger(t *testing.T) {
	marked := regexp.MustCompile(`class="danger">([^<]*)<`)
	for _, f := range Fixtures() {
		for _, match := range marked.FindAllStringSubmatch(render(t, f), -1) {
			if match[1] != "delete" && match[1] != "admin" {
				t.Errorf("%s marks %q", f.File, match[1])
			}
		}
	}
}

func TestTheNativePolicyIsNeverCut(t *testing.T) {
	f := requestFixtures(fixtureTime())[0]
	view, ok := f.Frame.View.(Request)
	if !ok {
		t.Fatal("no request view")
	}
	long := strings.Repeat("GRANT SELECT ON TABLE t TO r; ", 4000) + "THE END"
	view.Items[0].Native = append(view.Items[0].Native, long)
	f.Frame.View = view
	if page := render(t, f); !strings.Contains(page, long) {
		t.Error("a long policy was cut")
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string][]Piece{
		"plain text, größe, 日本\n2": {{Text: "plain text, größe, 日本\n2"}},
		"a\u202eb":                 {{"a", false}, {"⟨U+202E⟩", true}, {"b", false}},
		"\u2066\ufeff":             {{"⟨U+2066⟩", true}, {"⟨U+FEFF⟩", true}},
		"a\rb\tc":                  {{"a", false}, {"⟨U+000D⟩", true}, {"b\tc", false}},
		"x\u00a0y":                 {{"x", false}, {"⟨U+00A0⟩", true}, {"y", false}},
		"\u3164\U000e0041\ufe0f":   {{"⟨U+3164⟩", true}, {"⟨U+E0041⟩", true}, {"⟨U+FE0F⟩", true}},
		"\xc3(":                    {{"⟨0xC3⟩", true}, {"(", false}},
		"\ufffd":                   {{"\ufffd", false}},
		"":                         nil,
	} {
		if diff := cmp.Diff(want, Visible(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func FuzzVisibleHidesNothing(f *testing.F) {
	f.Add("a\u202e\x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, piece := range Visible(text) {
			for _, c := range piece.Text {
				if hidden(c) {
					t.Fatalf("%q shows %U", text, c)
				}
			}
		}
	})
}

func TestAssetsAreOnlyThose(t *testing.T) {
	for _, name := range []string{"hourkey.css", "hourkey.js", "mark.svg"} {
		if _, _, found := Asset(name); !found {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"", "..", "../ui.go", "../template/layout.html", "none.css", "/hourkey.css", "sub/hourkey.css"} {
		if _, _, found := Asset(name); found {
			t.Errorf("%q was given", name)
		}
	}
}

// WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to its ground, in both schemes.
func TestColoursHaveEnoughContrast(t *testing.T) {
	css, _, _ := Asset("hourkey.css")
	light, dark, found := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !found {
		t.Fatal("there is no dark scheme")
	}
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]string{} // name → #rrggbb
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6})`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range [][2]string{
			{"ink", "ground"}, {"ink", "panel"}, {"soft", "ground"}, {"soft", "panel"}, {"accent", "ground"}, {"accent", "panel"},
			{"on-accent", "accent"}, {"danger", "ground"}, {"danger", "panel"}, {"notice", "notice-ground"},
		} {
			if got := contrast(t, colours[pair[0]], colours[pair[1]]); got < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f", scheme, pair[0], pair[1], got)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// luminance is WCAG's relative luminance of #rrggbb.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var r, g, b uint8
	if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &r, &g, &b); err != nil {
		t.Fatalf("colour %q: %v", colour, err)
	}
	linear := func(c uint8) float64 {
		v := float64(c) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}
