package doctor

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is kept, so that a hostile tree cannot make the report, or the work, endless.
const (
	maxFindings = 1000
	maxPerFile  = 10
	maxRemarks  = 20 // of notes, and of warnings
	maxShown    = 300
	maxSecrets  = 10_000 // remembered: more are there only to make us slow
)

// examination is one look at a machine.
type examination struct {
	Machine

	findings []found
	notes    []phrase
	warnings []phrase
	secrets  []string            // everything found, for keeping it out of the report
	seen     map[sighting]bool   // the same secret at the same place
	counts   map[fileID]int      // findings per file
	read     map[fileID]struct{} // files that were read
	cut      map[fileID]bool     // files with more findings than are kept
}

// sighting is one secret at one place.
type sighting struct {
	file     fileID
	line     int
	variable string // of the environment
	secret   string
}

// place is where a credential lies: in a file, or in the environment.
type place struct {
	file     *file
	line     int
	variable string
}

// found is a finding before it is put into words.
type found struct {
	kind    kind
	place   place
	reaches phrase // if more is known than of the kind in general
}

// phrase is a sentence of ours with words of others in it. Only theirs are cleaned, and only at the end,
// when every secret is known.
type phrase struct {
	format string // %s for each word
	words  []string
}

func said(format string, words ...string) phrase { return phrase{format, words} }

func newExamination(m Machine) *examination {
	return &examination{
		Machine: m, seen: map[sighting]bool{}, counts: map[fileID]int{}, read: map[fileID]struct{}{}, cut: map[fileID]bool{},
	}
}

// getenv gives a variable of the examined environment.
func (x *examination) getenv(name string) string {
	for _, entry := range slices.Backward(x.Environ) {
		if value, is := strings.CutPrefix(entry, name+"="); is {
			return value
		}
	}
	return ""
}

// add keeps a finding. Secret is what must not be shown, if it is known; it is not part of the finding.
func (x *examination) add(secret string, f found) {
	x.keepOut(secret)
	s := sighting{line: f.place.line, secret: secret}
	if f.place.file == nil {
		s.variable = f.place.variable
	} else {
		s.file = f.place.file.id
	}
	if x.seen[s] || x.full() {
		return
	}
	x.seen[s] = true
	if f.place.file != nil {
		if x.counts[s.file]++; x.counts[s.file] > maxPerFile {
			x.cutShort(f.place.file)
			return
		}
	}
	x.findings = append(x.findings, f)
}

// keepOut remembers a secret so that no word of the report contains it. A shorter one may as well be a name
// that is shown for its own sake; blotting that out would be what betrays it.
func (x *examination) keepOut(secret string) {
	if len(secret) >= 8 && len(x.secrets) < maxSecrets && !slices.Contains(x.secrets, secret) {
		x.secrets = append(x.secrets, secret)
	}
}

// full tells that no more findings are kept.
func (x *examination) full() bool { return len(x.findings) >= maxFindings }

// enough tells that a file has as many findings as are kept.
func (x *examination) enough(f *file) bool { return x.full() || x.counts[f.id] > maxPerFile }

func (x *examination) cutShort(f *file) {
	if !x.cut[f.id] {
		x.cut[f.id] = true
		x.warn("%s: has more findings than the %s that are listed", f.shown, strconv.Itoa(maxPerFile))
	}
}

func (x *examination) note(format string, words ...string) {
	x.remark(&x.notes, said(format, words...))
}

func (x *examination) warn(format string, words ...string) {
	x.remark(&x.warnings, said(format, words...))
}

// remark keeps what is said once only: a file may say the same on every line.
func (x *examination) remark(list *[]phrase, p phrase) {
	if len(*list) < maxFindings && !slices.ContainsFunc(*list, func(q phrase) bool { return q.format == p.format && slices.Equal(q.words, p.words) }) {
		*list = append(*list, p)
	}
}

// unreadable warns of a file that is not what its name says. No parser's error is shown: it may quote.
func (x *examination) unreadable(f *file, as string) {
	x.warn("%s: could not be read as "+as, f.shown)
}

// report puts everything into words.
func (x *examination) report() Report {
	r := Report{Home: x.clean(x.Home), Tree: x.clean(x.shown(x.Tree)), Files: len(x.read), Findings: []Finding{}}
	if x.full() {
		x.warn("more than %s findings: the others are not listed", strconv.Itoa(maxFindings))
	}
	for _, f := range x.findings {
		r.Findings = append(r.Findings, x.finding(f))
	}
	worstFirst(r.Findings)
	r.Notes = x.remarks(x.notes)
	r.Warnings = x.remarks(x.warnings)
	return r
}

func (x *examination) finding(f found) Finding {
	out := Finding{
		Kind: f.kind.name, Provider: f.kind.provider, Title: f.kind.title, Extent: f.kind.extent, Reaches: f.kind.reaches,
		Line: f.place.line, Variable: x.clean(f.place.variable), Move: f.kind.move,
	}
	if f.reaches.format != "" {
		out.Reaches = x.render(f.reaches)
	}
	if file := f.place.file; file != nil {
		changed := file.info.ModTime().UTC().Truncate(time.Second)
		out.File, out.Since, out.Exposed = x.clean(file.shown), &changed, exposure(file.info.Mode())
	}
	return out
}

// remarks renders notes or warnings; beyond the bound it only counts them.
func (x *examination) remarks(phrases []phrase) []string {
	out := []string{}
	for i, p := range phrases {
		if i == maxRemarks {
			out = append(out, fmt.Sprintf("and %d more like these", len(phrases)-i))
			break
		}
		out = append(out, x.render(p))
	}
	return out
}

func (x *examination) render(p phrase) string {
	words := make([]any, len(p.words))
	for i, word := range p.words {
		words[i] = x.clean(word)
	}
	return fmt.Sprintf(p.format, words...)
}

// clean makes a word of others fit to be shown. Secrets are taken out: those found, and whatever looks
// like one (the attack, or the mishap: a file or profile that bears a token as its name). What a
// terminal would act on is shown as a Go string (the attack: an escape sequence in a file's name that
// rewrites the line above, a right-to-left mark that turns a path around).
func (x *examination) clean(word string) string {
	const gone = "[REDACTED]"
	for _, secret := range x.secrets {
		word = strings.ReplaceAll(word, secret, gone)
	}
	for _, t := range append(tokensIn([]byte(word)), jwtsIn([]byte(word))...) {
		word = strings.ReplaceAll(word, t.text, gone)
	}
	if len(word) > maxShown {
		word = strings.ToValidUTF8(word[:maxShown], "") + "…"
	}
	if quoted := strconv.Quote(word); quoted != `"`+strings.ReplaceAll(strings.ReplaceAll(word, `\`, `\\`), `"`, `\"`)+`"` {
		return quoted
	}
	return word
}

// shown shortens a path below the home.
func (x *examination) shown(path string) string {
	if rest, err := filepath.Rel(x.Home, path); err == nil && filepath.IsLocal(rest) {
		return filepath.Join("~", rest)
	}
	return path
}

// several lists words, the first few of them.
func several(words []string) string {
	const most = 4
	if len(words) > most {
		return strings.Join(words[:most], ", ") + " and " + strconv.Itoa(len(words)-most) + " more"
	}
	return strings.Join(words, ", ")
}
