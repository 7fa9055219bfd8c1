package broker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// The example of RFC 8785 section 3.2.3, without its numbers: members sorted by UTF-16 code units.
func TestCanonicalSortsByUTF16(t *testing.T) {
	in := map[string]string{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", "\U0001f600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}
	want := `{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","` + "\u00f6" + `":"Latin Small Letter O With Diaeresis","` + "\u20ac" + `":"Euro Sign","` + "\U0001f600" + `":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`
	if got := string(canonical(in)); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCanonicalEscapesNoMoreThanItMust(t *testing.T) {
	if got, want := string(canonical("<&>\u2028\u2029\"\\\x01\t")), "\"<&>\u2028\u2029\\\"\\\\\\u0001\\t\""; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDigestsOfDifferentKindsNeverMeet(t *testing.T) {
	if digest("a", "x") == digest("b", "x") {
		t.Error("the domain does not separate")
	}
}

func TestChallengeBindsNonceAndStatement(t *testing.T) {
	s := Statement{Act: ActApprove, Subject: "1"}
	other := s
	other.Subject = "2"
	nonce := bytes.Repeat([]byte{1}, nonceSize)
	if bytes.Equal(s.Challenge(nonce), other.Challenge(nonce)) {
		t.Error("two statements have one challenge")
	}
	if bytes.Equal(s.Challenge(nonce)[nonceSize:], s.Challenge(bytes.Repeat([]byte{2}, nonceSize))[nonceSize:]) {
		t.Error("the hash does not cover the nonce")
	}
}

// FuzzCanonical: two statements have the same canonical form only when they are equal, and the form is
// JSON that means the same.
func FuzzCanonical(f *testing.F) {
	f.Add("subject", "says", "db:public.orders:delete", int64(600))
	f.Add(`","says":"`, `\u0022`, "\u2028</script>", int64(-1))
	f.Add("a\x00b", "\xff", "\u202e", int64(0))
	f.Fuzz(func(t *testing.T, subject, says, scope string, ttl int64) {
		s := Statement{Act: ActApprove, Subject: strings.ToValidUTF8(subject, "?"), Says: strings.ToValidUTF8(says, "?"), TTL: ttl,
			Items: []StatementItem{{Scopes: []string{strings.ToValidUTF8(scope, "?")}}}}
		form := s.Canonical()
		var back Statement
		if err := json.Unmarshal(form, &back); err != nil {
			t.Fatalf("%q: %v", form, err)
		}
		if !bytes.Equal(form, back.Canonical()) || back.Subject != s.Subject || back.Says != s.Says || back.TTL != s.TTL || back.Items[0].Scopes[0] != s.Items[0].Scopes[0] {
			t.Fatalf("%+v came back as %+v", s, back)
		}
		moved := s
		moved.Subject, moved.Says = s.Subject+"x", s.Says
		if bytes.Equal(form, moved.Canonical()) {
			t.Fatal("two statements, one form")
		}
	})
}
