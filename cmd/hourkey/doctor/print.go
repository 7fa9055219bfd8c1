package doctor

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteText writes the report for people: the findings, the worst first; how to move them, once for all
// that move alike; what else there is to know; one line that sums up.
func (r Report) WriteText(out io.Writer) {
	for i, f := range r.Findings {
		f.writeText(out, i+1)
	}
	r.writeMoves(out)
	writeRemarks(out, "Not counted, since they end by themselves or lead to this machine:", r.Notes)
	writeRemarks(out, "Not looked at, or not in full:", r.Warnings)
	fmt.Fprintln(out, r.summary())
}

func (f Finding) writeText(out io.Writer, number int) {
	fmt.Fprintf(out, "%d. %s\n", number, f.Title)
	fmt.Fprintf(out, "   where    %s\n", f.Where())
	if f.Since != nil {
		state := "last changed " + f.Since.Format("2006-01-02")
		if f.Exposed != "" {
			state += "; " + f.Exposed
		}
		fmt.Fprintf(out, "   file     %s\n", state)
	}
	fmt.Fprintf(out, "   reaches  %s: %s\n\n", f.Extent, f.Reaches)
}

// Where names the place: `~/shop/.env:3 (RAILWAY_TOKEN)`, or `environment RAILWAY_TOKEN`.
func (f Finding) Where() string {
	if f.File == "" {
		return "environment " + f.Variable
	}
	where := f.File
	if f.Line > 0 {
		where += ":" + strconv.Itoa(f.Line)
	}
	if f.Variable != "" {
		where += " (" + f.Variable + ")"
	}
	return where
}

// writeMoves writes each move once, with the numbers of the findings that it is for.
func (r Report) writeMoves(out io.Writer) {
	var written []string
	for i, f := range r.Findings {
		move := f.Move.text()
		if slices.Contains(written, move) {
			continue
		}
		written = append(written, move)
		numbers := []string{}
		for j, other := range r.Findings[i:] {
			if other.Move.text() == move {
				numbers = append(numbers, strconv.Itoa(i+j+1))
			}
		}
		fmt.Fprintf(out, "To move %s behind Hourkey, or out of reach:\n%s\n", strings.Join(numbers, ", "), move)
	}
}

func (m Move) text() string {
	var text strings.Builder
	if m.Target != "" {
		fmt.Fprintf(&text, "   target   %s\n", m.Target)
	}
	for i, step := range m.Steps {
		fmt.Fprintf(&text, "   %d. %s\n", i+1, step)
	}
	return text.String()
}

func writeRemarks(out io.Writer, head string, remarks []string) {
	if len(remarks) == 0 {
		return
	}
	fmt.Fprintln(out, head)
	for _, remark := range remarks {
		fmt.Fprintf(out, "   %s\n", remark)
	}
	fmt.Fprintln(out)
}

// summary is one line: how many, of which extent, and where was looked.
func (r Report) summary() string {
	looked := fmt.Sprintf("in the environment, %s and %s (%s)", r.Home, r.Tree, count(r.Files, "file"))
	if len(r.Findings) == 0 {
		return "No standing credential found " + looked + ". docs/doctor.md says what cannot be seen."
	}
	var parts []string
	for _, extent := range Extents() {
		n := 0
		for _, f := range r.Findings {
			if f.Extent == extent {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", extent, n))
		}
	}
	return fmt.Sprintf("%s around the broker (%s), %s.", count(len(r.Findings), "standing credential"), strings.Join(parts, ", "), looked)
}

// count writes "1 file", "2 files".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
