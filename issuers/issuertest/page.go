package issuertest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// HoldPage holds a part of the documentation to what a test found, or with update writes it there. The part stands between two comments,
// each of its lines as far to the right as the first of them:
//
//	<!-- mark -->
//	…
//	<!-- /mark -->
func HoldPage(tb testing.TB, update bool, page, mark, want string) {
	tb.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		tb.Fatal(err)
	}
	begin, end := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
	before, rest, begins := strings.Cut(string(raw), begin)
	was, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		tb.Fatalf("%s has no place for %s", page, mark)
	}
	want = indented(want, before[strings.LastIndex(before, "\n")+1:])
	if update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o600); err != nil {
			tb.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(was, want); diff != "" {
		tb.Errorf("%s says otherwise (go test -run %s -update writes it):\n%s", page, tb.Name(), diff)
	}
}

// indented moves lines, and the comment after them, to the right.
func indented(text, indent string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			line = indent + line
		}
		lines.WriteString(line)
	}
	return lines.String() + indent
}
