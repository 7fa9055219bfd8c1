package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// Others name what stands at a provider, and a terminal obeys what is written to it: names are shown, and cannot look like lines of ours.
func TestNamesOfOthersDoNothingInATerminal(t *testing.T) {
	t.Parallel()
	const odd = "x\x1b[2J\u009b2J\u202e\a\r\xff\nREFUSED no\ngood: files and targets"
	target := checkedTarget{
		Target: "staging/it", Kind: "kubernetes", Where: "staging.yaml:3", Identity: odd, Problem: odd, Mend: odd, MendBy: "somebody does:",
		Findings: []broker.Finding{{Object: odd, Problem: odd, Mend: odd}, {Refuses: true, Object: odd, Problem: odd, Mend: odd + strings.Repeat("\n"+odd, mostBeside)}},
	}
	var out bytes.Buffer
	writeChecked(&out, checked{Vault: &target, Targets: []checkedTarget{target}, Refuses: true}, true)
	if got := out.String(); strings.ContainsAny(got, "\x1b\u009b\u202e\a\r\ufffd") {
		t.Errorf("written to the terminal: %q", got)
	}
	above, _, _ := strings.Cut(out.String(), "\n[1] ") // below that stands what is pasted
	if strings.Count(above, "\n  REFUSED") != 4 || strings.Contains(above, "\ngood") || strings.Contains(above, "\nREFUSED") {
		t.Errorf("a name looks like lines of ours:\n%s", above)
	}
	if !strings.Contains(out.String(), `x\x1b[2J\u009b2J\u202e\a\r\xff`) {
		t.Errorf("it is not shown: %q", out.String())
	}
	if got := printable("über ␛ 漢字\tx\n"); got != "über ␛ 漢字\tx\n" {
		t.Errorf("what prints is shown as %q", got)
	}
}
