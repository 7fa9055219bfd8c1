package notify

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// linkish is where programs begin to see an address: a dot between letters, or two slashes.
var linkish = regexp.MustCompile(`\S[.․。．｡][\pL\pN]|//`)

// Whatever somebody calls a thing, what stands in a message is short, on one line, all to be seen, and no link.
func FuzzHarmless(f *testing.F) {
	for _, text := range []string{
		"public.orders", "https://evil.example/x", "a\r\nBcc: b@c.d", "\u202etxet", "////", "...", ".a", "a.", "", "\xff\xfe", strings.Repeat("é.", 300), "<!channel>", "a。b．c｡d․e",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := harmless(text, maxName)
		switch {
		case len(got) > maxName:
			t.Errorf("%d bytes", len(got))
		case !utf8.ValidString(got):
			t.Errorf("%q is not UTF-8", got)
		case strings.ContainsFunc(got, func(c rune) bool { return !unicode.IsPrint(c) }):
			t.Errorf("%q holds what is not seen", got)
		case linkish.MatchString(got):
			t.Errorf("%q is taken for a link", got)
		}
	})
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{30 * time.Minute: "30 minutes", time.Minute: "1 minute", 90 * time.Second: "1 minute 30 seconds", 45 * time.Second: "45 seconds"} {
		if got := lasting(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestList(t *testing.T) {
	for want, names := range map[string][]string{
		"": nil, "a": {"a"}, "a and b": {"a", "b"}, "a, b and c": {"a", "b", "c"}, "a, b, c and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := list(names, 3); got != want {
			t.Errorf("%v: %s, want %s", names, got, want)
		}
	}
}
