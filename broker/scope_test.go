package broker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
)

func TestParseScope(t *testing.T) {
	for text, ok := range map[string]bool{
		"orders-db:public.orders:read,write": true,
		"s3:bucket:with:colons/*:read":       true, // split at the first and the last colon
		"db:*:read":                          true,
		"db::read":                           false,
		"db:a*b:read":                        false,
		"db:a**:read":                        false,
		"db:orders:":                         false,
		"db:orders:read,read":                false,
		"db:orders:READ":                     false,
		"db:orders:own":                      false,
		"db:orders":                          false,
		"DB:orders:read":                     false,
		":orders:read":                       false,
		"db:or\u202eders:read":               false, // would read backwards on a reviewer's page
		"db:or\u200bders:read":               false, // zero width
		"db:or\nders:read":                   false,
		"db:\xff:read":                       false,
	} {
		scope, err := broker.ParseScope(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok %t", text, err, ok)
		}
		if err == nil && scope.String() != text {
			t.Errorf("%q reads back as %q", text, scope)
		}
	}
}

func TestPrefixDoesNotCoverWhatOnlyLooksLikeIt(t *testing.T) {
	for _, c := range []struct {
		outer, inner broker.Resource
		want         bool
	}{
		{"public.*", "public.orders", true},
		{"public.*", "public.*", true},
		{"public.*", "public.or*", true},
		{"public.*", "publicorders", false},
		{"public.*", "public", false},
		{"public.*", "*", false},
		{"public.orders", "public.orders*", false},
		{"public.orders*", "public.orders", true},
		{"*", "anything", true},
	} {
		if got := c.outer.Covers(c.inner); got != c.want {
			t.Errorf("%s covers %s: %t", c.outer, c.inner, got)
		}
	}
}

func anyScope(t *rapid.T, label string) broker.Scope {
	return broker.Scope{
		Target:   rapid.SampledFrom([]string{"db", "web"}).Draw(t, label+" target"),
		Resource: broker.Resource(rapid.StringMatching(`[ab]{1,3}\*?`).Draw(t, label+" resource")),
		Actions:  broker.Actions(rapid.IntRange(1, 15).Draw(t, label+" actions")),
	}
}

func TestCoversIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyScope(t, "a"), anyScope(t, "b"), anyScope(t, "c")
		if !a.Covers(a) {
			t.Fatalf("%s does not cover itself", a)
		}
		if a.Covers(b) && b.Covers(c) && !a.Covers(c) {
			t.Fatalf("%s ⊇ %s ⊇ %s, and yet not", a, b, c)
		}
		if a.Covers(b) && b.Covers(a) && a != b {
			t.Fatalf("%s and %s cover each other", a, b)
		}
	})
}

func TestNormalizeChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var scopes []broker.Scope
		for range rapid.IntRange(1, 6).Draw(t, "n") {
			scopes = append(scopes, anyScope(t, "s"))
		}
		normal := broker.Normalize(scopes)
		if !broker.Covers(normal, scopes) || !broker.Covers(scopes, normal) {
			t.Fatalf("%v became %v", scopes, normal)
		}
		if again := broker.Normalize(normal); cmp.Diff(normal, again) != "" {
			t.Fatalf("not stable: %v, %v", normal, again)
		}
	})
}

func TestAttenuationIsASubset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyScope(t, "s")
		less := s
		less.Actions &= broker.Actions(rapid.IntRange(0, 15).Draw(t, "kept"))
		if s.Resource.IsPrefix() {
			less.Resource = broker.Resource(s.Resource.Stem() + rapid.StringMatching(`[ab]{1,2}\*?`).Draw(t, "more"))
		}
		if less.Actions != 0 && !broker.Covers([]broker.Scope{s}, []broker.Scope{less}) {
			t.Fatalf("%s is not within %s", less, s)
		}
	})
}

func TestWorseFailsClosed(t *testing.T) {
	if got := broker.Worse(broker.Allow, "maybe"); got != broker.Deny {
		t.Errorf("an unknown outcome counts as %s", got)
	}
	if got := broker.Worse(broker.Allow, broker.Escalate); got != broker.Escalate {
		t.Errorf("got %s", got)
	}
}

func FuzzParseScope(f *testing.F) {
	for _, seed := range []string{"db:public.orders:read,write", "a:b:c:read", "db:*:admin", "::", "db:\x00:read", "db:a*:read,write,delete,admin", "db:\u202e:read"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		scope, err := broker.ParseScope(text)
		if err != nil {
			if broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := broker.ParseScope(scope.String())
		if err != nil || again != scope {
			t.Fatalf("%q read back as %v, %v", text, again, err)
		}
		if !scope.Covers(again) {
			t.Fatalf("%q does not cover itself", text)
		}
	})
}
