package doctor

import (
	"bytes"
	"path/filepath"
	"strings"
)

// maxLine is how long a line may be for looking at names in it: longer ones are made by programs.
const maxLine = 8 << 10

// hints are what a text must hold, in small letters, to be worth reading line by line.
var hints = []string{"railway", "github", "gh_", "ghtoken", "supabase", "secret_access_key", "secretaccesskey", "password", "pwd", "token", "apikey", "api_key", "://"}

// examineText looks for credentials anywhere in a text, whatever it is: by their form, by the name of
// what they are assigned to, in URLs, and behind `Bearer` where the text is about Railway, whose tokens
// look like any other UUID (the incident: a token in an unrelated file).
func (x *examination) examineText(f *file) {
	line := countLines(f.data)
	for _, t := range tokensIn(f.data) {
		if x.enough(f) {
			return
		}
		x.addToken(t, f.at(line.at(t.offset)))
	}
	line = countLines(f.data)
	for _, t := range jwtsIn(f.data) {
		if x.enough(f) {
			return
		}
		x.addServiceRole(t.text, f.at(line.at(t.offset)))
	}
	x.examineNamedFile(f)
	x.awsPairs(f)
	x.serviceAccount(f)
	small := bytes.ToLower(f.data)
	if !containsAny(small, hints) {
		return
	}
	aboutRailway := bytes.Contains(small, []byte("railway"))
	for i, line := range lines(f.data) {
		if x.enough(f) {
			return
		}
		if len(line) <= maxLine {
			x.examineLine(line, f.at(i+1), aboutRailway)
		}
	}
}

func containsAny(text []byte, parts []string) bool {
	for _, part := range parts {
		if bytes.Contains(text, []byte(part)) {
			return true
		}
	}
	return false
}

func (x *examination) examineLine(line string, at place, aboutRailway bool) {
	for _, a := range addressesIn(line) {
		if !a.isLocal() { // in running text these are examples and tests
			x.addAddress(a, at)
		}
	}
	for _, e := range assignmentsIn(line) {
		if r := ruleFor(e.name); r != nil && r.accepts(e.value, true) {
			at.variable = e.name
			x.add(e.value, found{kind: r.kind, place: at})
		}
	}
	if !aboutRailway {
		return
	}
	at.variable = ""
	if value := after(line, "bearer "); isUUID(value) {
		x.add(value, found{kind: railwayAccountToken, place: at})
	}
}

// after gives the word that follows a mark, which is in small letters.
func after(line, mark string) string {
	at := strings.Index(strings.ToLower(line), mark)
	if at < 0 || len(strings.ToLower(line)) != len(line) {
		return ""
	}
	rest := strings.TrimLeft(line[at+len(mark):], " \t")
	return rest[:span([]byte(rest), letters+"-_.")]
}

// assignment is a name and what stands behind it.
type assignment struct{ name, value string }

// assignmentsIn finds `name = value`, `"name": "value"`, `-e NAME=value`, `["NAME"] = 'value'` and the like
// in a line of any language.
func assignmentsIn(line string) []assignment {
	var found []assignment
	const window = 500 // bytes to each side
	for i := range len(line) {
		if !isSign(line[i]) || i+1 < len(line) && isSign(line[i+1]) {
			continue // of `:=` and `==` the last counts
		}
		left := strings.TrimRight(line[max(0, i-window):i], ":= \t\"'`\\])")
		start := len(left)
		for start > 0 && strings.IndexByte(letters+"_-", left[start-1]) >= 0 {
			start--
		}
		right := strings.TrimLeft(line[i+1:min(len(line), i+1+window)], "> \t\"'`\\")
		value := right[:cutAt(right, " \t\"'`\\,;<>&|")]
		if start < len(left) && value != "" {
			found = append(found, assignment{left[start:], value})
		}
	}
	return found
}

func isSign(c byte) bool { return c == '=' || c == ':' }

// examineNamedFile looks at a file that is nothing but a token, and whose name says of what: the file
// secrets/railway-token.
func (x *examination) examineNamedFile(f *file) {
	value := strings.TrimSpace(string(f.data[:min(len(f.data), 4096)]))
	if len(f.data) > 4096 || strings.ContainsAny(value, " \n\t") {
		return
	}
	name := strings.TrimPrefix(filepath.Base(f.path), ".")
	if r := ruleFor(strings.TrimSuffix(name, filepath.Ext(name))); r != nil && r.accepts(value, true) {
		x.add(value, found{kind: r.kind, place: f.at(1)})
	}
}
