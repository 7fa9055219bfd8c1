package vault

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// word is one piece of a statement: a keyword or plain name (upper case in key), a quoted name, a text, or one sign.
type word struct {
	kind wordKind
	text string // as it counts: a plain name in lower case, a quoted one without its quotes
	key  string // upper case, for keywords; empty for what is quoted
}

type wordKind int

const (
	plainWord wordKind = iota
	quotedName
	quotedText
	sign
)

// is tells whether the word is one of the keywords or signs.
func (w word) is(keys ...string) bool {
	return (w.kind == plainWord || w.kind == sign) && slices.Contains(keys, w.key)
}

// lease is what Vault puts in place of the user's name.
func (w word) isLease() bool { return w.text == "{{name}}" || w.text == "{{username}}" }

// blanks are what PostgreSQL takes for blanks. Unicode has more of them, and there they are part of a name.
const blanks = " \t\r\n"

// words splits a statement as PostgreSQL does, as far as creation statements need it. ok is false for what is not
// understood: comments, dollar quotes, escapes, a semicolon within quotes, at which Vault itself would split, letters beyond
// ASCII outside of quotes, which each server makes small in its own way, and a statement without a blank: Vault
// takes such a text for base64, if it can be that, and runs what is in it.
func words(statement string) (list []word, ok bool) {
	if !strings.Contains(statement, " ") {
		return nil, false
	}
	for rest := strings.Trim(statement, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		one, size := nextWord(rest)
		if size == 0 {
			return nil, false
		}
		list, rest = append(list, one), rest[size:]
	}
	return list, true
}

func nextWord(rest string) (one word, size int) {
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "{{"):
		end := strings.Index(rest, "}}")
		if end < 0 {
			return one, 0
		}
		return word{quotedName, rest[:end+2], ""}, end + 2
	case c == '"':
		return quoted(rest, '"', quotedName)
	case c == '\'':
		return quoted(rest, '\'', quotedText)
	case isNameByte(c):
		end := 1
		for end < len(rest) && isNameByte(rest[end]) {
			end++
		}
		if end < len(rest) && rest[end] == '\'' { // E'…', U&'…', B'…'
			return one, 0
		}
		return word{plainWord, strings.ToLower(rest[:end]), strings.ToUpper(rest[:end])}, end
	case strings.IndexByte("(),.*=", c) >= 0:
		return word{sign, rest[:1], rest[:1]}, 1
	}
	return one, 0
}

func quoted(rest string, quote byte, kind wordKind) (word, int) {
	end := strings.IndexByte(rest[1:], quote)
	if end < 0 {
		return word{}, 0
	}
	size, text := end+2, rest[1:end+1]
	doubled := size < len(rest) && rest[size] == quote
	if doubled || text == "" || strings.ContainsAny(text, ";\\*") || !isPlain(text) {
		return word{}, 0
	}
	return word{kind: kind, text: text}, size
}

// isPlain refuses what a reviewer could take for something else: characters that cannot be seen, blanks that a line would not
// keep apart, and a template that is only a part of a name.
func isPlain(text string) bool {
	seen := !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
	alone := strings.HasPrefix(text, "{{") && strings.Index(text, "}}") == len(text)-2
	return utf8.ValidString(text) && seen && !strings.Contains(text, "  ") && strings.TrimSpace(text) == text && (alone || !strings.Contains(text, "{{"))
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// statements splits as Vault's PostgreSQL plugin does: at every semicolon.
func statements(texts []string) []string {
	var list []string
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ";") {
			if one = strings.Trim(one, blanks); one != "" {
				list = append(list, one)
			}
		}
	}
	return list
}

// oneLine writes a statement for a reviewer. In one that was understood it loses nothing (isPlain).
func oneLine(statement string) string { return strings.Join(strings.Fields(statement), " ") }
