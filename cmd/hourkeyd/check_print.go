package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostBeside is how many lines of what mends something are printed beside it. What is longer stands at the end, as it is to be
// pasted: indented, YAML would not be read any more.
const mostBeside = 6

// printer writes what check found.
type printer struct {
	w     io.Writer
	below []string       // long texts, each once, with what to do with it
	at    map[string]int // long text → its number
}

func (p *printer) line(format string, args ...any) {
	_, _ = io.WriteString(p.w, printable(fmt.Sprintf(format, args...))+"\n")
}

// printable shows what a terminal would obey, or not show, as Go writes it: others named some of what is found at a provider.
func printable(text string) string {
	var shown strings.Builder
	for at, c := range text {
		_, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case c == '\n' || c == '\t' || unicode.IsPrint(c) && (c != utf8.RuneError || size > 1):
			shown.WriteRune(c)
		default:
			quoted := strconv.QuoteToASCII(text[at : at+size])
			shown.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return shown.String()
}

func writeChecked(w io.Writer, c checked, live bool) {
	p := &printer{w: w, at: map[string]int{}}
	p.line("files       %d environment(s), %d task file(s), %d guardrail file(s): configuration %s", len(c.Environments), len(c.Tasks), len(c.Guardrails), c.Config)
	for _, warning := range c.Warnings {
		p.line("warning     %s", beside(warning))
	}
	if c.Vault != nil {
		p.target("vault", *c.Vault)
	}
	for _, t := range c.Targets {
		p.target("target", t)
	}
	for at, text := range p.below {
		p.line("\n[%d] %s\n", at+1, text)
	}
	switch {
	case c.Refuses && c.Vault != nil && c.Vault.refuses():
		p.line("not good: the broker does not start before its own Vault is mended; the targets were not asked")
	case c.Refuses:
		p.line("not good: nothing is issued where it says REFUSED")
	case live:
		p.line("good: files and targets")
	default:
		p.line("good: files (targets are asked with --live)")
	}
}

// beside indents all lines but the first, so that no text looks like lines of check's own.
func beside(text string) string { return strings.ReplaceAll(text, "\n", "\n            ") }

func (p *printer) target(what string, t checkedTarget) {
	p.line("%-11s %s (%s, %s)", what, t.Target, t.Kind, filepath.ToSlash(t.Where))
	if t.Identity != "" {
		p.line("  is        %s", beside(t.Identity))
	}
	if t.Problem != "" {
		p.line("  REFUSED   %s", beside(t.Problem))
	}
	for _, f := range t.Findings {
		p.line("  %-9s %s: %s", map[bool]string{true: "REFUSED", false: "warning"}[f.Refuses], beside(f.Object), beside(f.Problem))
		p.mend(t.Target, "", f.Mend)
	}
	p.mend(t.Target, t.MendBy, t.Mend)
}

// mend writes what mends something, and, where it is said, who does what with it.
func (p *printer) mend(target, by, text string) {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return
	}
	if strings.Count(text, "\n") < mostBeside {
		if by != "" {
			by += "\n"
		}
		p.line("    mend:   %s", beside(by+text))
		return
	}
	if first, then, simpler := strings.Cut(by, "\n"); simpler {
		p.line("    first:  %s", first)
		by = then
	}
	if p.at[text] == 0 {
		p.below = append(p.below, strings.TrimSpace(target+": "+by)+"\n"+text)
		p.at[text] = len(p.below)
	}
	p.line("    mend:   [%d] below", p.at[text])
}
