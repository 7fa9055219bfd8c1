package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// position is where a text stands.
type position struct {
	file string
	line int // from 1
}

// String gives file:line, as every reason shows it.
func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// problems collects what is wrong with a Source, so that one load tells everything.
type problems struct{ list []problem }

type problem struct {
	at   position
	text string
}

// mostProblems bounds what one load reports: a file that is not a task file at all has thousands.
const mostProblems = 100

func (p *problems) add(file string, line int, format string, args ...any) {
	p.list = append(p.list, problem{position{file, line}, fmt.Sprintf(format, args...)})
}

// err gives all problems as one error, sorted by file and line; nil if there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line))
	})
	var lines []string
	var reasons []broker.Reason
	for _, one := range p.list[:min(len(p.list), mostProblems)] {
		lines = append(lines, one.at.String()+": "+one.text)
		reasons = append(reasons, broker.Reason{Where: one.at.String(), Rule: "load", Outcome: broker.Deny, Text: one.text})
	}
	if more := len(p.list) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	err := broker.Errorf(broker.CodeInvalid, "%s", strings.Join(lines, "\n")).WithNext("correct these lines; nothing of the set is in force")
	err.Reasons = reasons
	return err
}

// meant suggests the known name nearest to a mistyped one: `; did you mean "agents"?`, or else lists
// what is known, or nothing.
func meant(word string, known []string) string {
	known = slices.Sorted(slices.Values(known))
	best, least := "", max(2, len(word)/3)+1
	if len(word) <= 64 {
		for _, candidate := range known {
			if d := distance(word, candidate); d < least {
				best, least = candidate, d
			}
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) > 0 && len(known) <= 12:
		return "; known are " + strings.Join(known, ", ")
	default:
		return ""
	}
}

// distance is Levenshtein's: how many single-byte edits lie between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip shortens foreign text before it goes into a message.
func clip(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
