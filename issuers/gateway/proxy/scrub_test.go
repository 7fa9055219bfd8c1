package proxy

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScrub(t *testing.T) {
	s := newScrubber([]string{"secret-token-1", "short", "secret-token-2"})
	for text, want := range map[string]string{
		"":                                 "",
		"nothing":                          "nothing",
		"secret-token-1":                   "REDACTED",
		"asecret-token-1b":                 "aREDACTEDb",
		"secret-token-1secret-token-2":     "REDACTEDREDACTED",
		"secret-token-":                    "secret-token-",
		"secret-secret-token-1":            "secret-REDACTED",
		"short":                            "short", // too short to be looked for
		"7365637265742d746f6b656e2d31":     "REDACTED",
		"x 7365637265742D746F6B656E2D31 y": "x REDACTED y",
	} {
		if got := string(s.all([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := string(newScrubber(nil).all([]byte("x"))); got != "x" {
		t.Errorf("without a secret: %q", got)
	}
}

func TestSecretsOfACredential(t *testing.T) {
	header := http.Header{}
	header.Set("Authorization", "Bearer real-token")
	header.Set("Project-Access-Token", "project-token")
	header.Set("X-Empty", "")
	if diff := cmp.Diff([]string{"project-token", "real-token"}, secretsIn(header)); diff != "" {
		t.Error(diff)
	}
	header = http.Header{}
	request := http.Request{Header: header}
	request.SetBasicAuth("user", "the-password")
	if diff := cmp.Diff([]string{"dXNlcjp0aGUtcGFzc3dvcmQ=", "the-password"}, secretsIn(header)); diff != "" {
		t.Error(diff)
	}
}

// However a text comes in parts, what leaves is what would leave of the whole, and no more is held back than
// may be the beginning of the secret.
func FuzzScrubInParts(f *testing.F) {
	for _, text := range []string{"", "a", realToken, realToken[:9] + realToken + realToken[:9], strings.Repeat(realToken[:1], 50), "x" + realToken + "y"} {
		f.Add([]byte(text), uint8(1))
		f.Add([]byte(text), uint8(5))
	}
	s := newScrubber([]string{realToken, "secret-secret-token", "aaaaaaaaaaaaaaaa"})
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		whole := string(s.all(bytes.Clone(text)))
		parts := scrubbing{scrubber: s}
		var got []byte
		for rest := text; ; {
			n := min(len(rest), max(1, int(step)))
			part := bytes.Clone(rest[:n])
			rest = rest[n:]
			got = append(got, parts.next(part, len(rest) == 0)...)
			if len(parts.held) >= s.longest {
				t.Fatalf("%d bytes held back", len(parts.held))
			}
			if len(rest) == 0 {
				break
			}
		}
		if bytes.Contains(got, []byte(realToken)) {
			t.Errorf("%q has the token", got)
		}
		if !strings.Contains(whole, "aaaaaaaa") && string(got) != whole { // what overlaps itself may be cut elsewhere
			t.Errorf("in parts %q, whole %q", got, whole)
		}
	})
}
