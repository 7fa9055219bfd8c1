package vault

import (
	"slices"
	"strings"
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

// words splits a statement as PostgreSQL does, as far as creation statements need it. ok is false for what is
// not understood: comments, dollar quotes, escapes, and a semicolon within quotes, at which Vault itself would split.
func words(statement string) (list []word, ok bool) {
	for rest := strings.TrimSpace(statement); rest != ""; rest = strings.TrimLeft(rest, " \t\r\n") {
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
	if doubled || text == "" || strings.ContainsAny(text, ";\\*") || !utf8.ValidString(text) {
		return word{}, 0
	}
	return word{kind: kind, text: text}, size
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

// statements splits as Vault's PostgreSQL plugin does: at every semicolon.
func statements(texts []string) []string {
	var list []string
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ";") {
			if one = strings.Join(strings.Fields(one), " "); one != "" {
				list = append(list, one)
			}
		}
	}
	return list
}
