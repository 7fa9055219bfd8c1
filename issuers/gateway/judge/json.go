package judge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// readJSON reads one JSON value (RFC 8259) and nothing after it into nil, bool, json.Number, string, []any
// and map[string]any. Numbers keep their text. What two readers could read differently is an error: a key
// that stands twice in an object, bytes that are no UTF-8, half a surrogate pair, and nesting deeper than
// depth. encoding/json takes all of these silently.
func readJSON(text []byte, depth int) (any, error) {
	if at := invalidUTF8(text); at >= 0 {
		return nil, fmt.Errorf("byte %d is not UTF-8", at)
	}
	r := jsonReader{text: text, depth: depth}
	value, err := r.value()
	if err != nil {
		return nil, err
	}
	if r.space(); r.at < len(text) {
		return nil, r.expected("the end")
	}
	return value, nil
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
	return -1
}

type jsonReader struct {
	text  []byte
	at    int
	depth int // levels that may still be entered
}

func (r *jsonReader) expected(what string) error {
	if r.at >= len(r.text) {
		return fmt.Errorf("it ends where %s was expected", what)
	}
	return fmt.Errorf("byte %d: expected %s", r.at, what)
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// skip takes one byte if it is the next after white space.
func (r *jsonReader) skip(b byte) bool {
	r.space()
	if r.at < len(r.text) && r.text[r.at] == b {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) value() (any, error) {
	r.space()
	if r.at >= len(r.text) {
		return nil, r.expected("a value")
	}
	switch r.text[r.at] {
	case '{':
		return r.nested(r.object)
	case '[':
		return r.nested(r.list)
	case '"':
		return r.string()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	}
	return r.number()
}

func (r *jsonReader) nested(read func() (any, error)) (any, error) {
	if r.depth == 0 {
		return nil, fmt.Errorf("byte %d: nested too deep", r.at)
	}
	r.depth--
	defer func() { r.depth++ }()
	r.at++
	return read()
}

func (r *jsonReader) object() (any, error) {
	object := map[string]any{}
	if r.skip('}') {
		return object, nil
	}
	for {
		r.space()
		key, err := r.string()
		if err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("the key %s stands twice in one object", shown(key))
		}
		if !r.skip(':') {
			return nil, r.expected(`":"`)
		}
		if object[key], err = r.value(); err != nil {
			return nil, err
		}
		if r.skip('}') {
			return object, nil
		}
		if !r.skip(',') {
			return nil, r.expected(`"," or "}"`)
		}
	}
}

func (r *jsonReader) list() (any, error) {
	list := []any{}
	if r.skip(']') {
		return list, nil
	}
	for {
		element, err := r.value()
		if err != nil {
			return nil, err
		}
		list = append(list, element)
		if r.skip(']') {
			return list, nil
		}
		if !r.skip(',') {
			return nil, r.expected(`"," or "]"`)
		}
	}
}

func (r *jsonReader) word(word string) error {
	if len(r.text)-r.at < len(word) || string(r.text[r.at:r.at+len(word)]) != word {
		return r.expected("a value")
	}
	r.at += len(word)
	return nil
}

func (r *jsonReader) digits() bool {
	start := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

// accept takes the next byte if it is one of these.
func (r *jsonReader) accept(one, other byte) bool {
	if r.at < len(r.text) && (r.text[r.at] == one || r.text[r.at] == other) {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) number() (any, error) {
	start := r.at
	r.accept('-', '-')
	if !r.accept('0', '0') && !r.digits() {
		return nil, r.expected("a value")
	}
	if r.accept('.', '.') && !r.digits() {
		return nil, r.expected("a digit")
	}
	if r.accept('e', 'E') {
		r.accept('+', '-')
		if !r.digits() {
			return nil, r.expected("a digit")
		}
	}
	return json.Number(r.text[start:r.at]), nil
}

func (r *jsonReader) string() (string, error) {
	if r.at >= len(r.text) || r.text[r.at] != '"' {
		return "", r.expected("a string")
	}
	r.at++
	start := r.at
	for ; r.at < len(r.text); r.at++ {
		switch b := r.text[r.at]; {
		case b == '"':
			r.at++
			return string(r.text[start : r.at-1]), nil
		case b == '\\':
			return r.escaped(append(make([]byte, 0, 2*(r.at-start)+16), r.text[start:r.at]...))
		case b < 0x20:
			return "", r.expected("no control character in a string")
		}
	}
	return "", r.expected("the end of a string")
}

// escaped reads on in a string that has an escape in it.
func (r *jsonReader) escaped(value []byte) (string, error) {
	for r.at < len(r.text) {
		b := r.text[r.at]
		switch {
		case b == '"':
			r.at++
			return string(value), nil
		case b < 0x20:
			return "", r.expected("no control character in a string")
		case b != '\\':
			value = append(value, b)
			r.at++
		default:
			c, err := r.escape()
			if err != nil {
				return "", err
			}
			value = utf8.AppendRune(value, c)
		}
	}
	return "", r.expected("the end of a string")
}

func (r *jsonReader) escape() (rune, error) {
	r.at++ // the backslash
	if r.at >= len(r.text) {
		return 0, r.expected("an escape")
	}
	b := r.text[r.at]
	r.at++
	switch b {
	case '"', '\\', '/':
		return rune(b), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return r.unicode()
	}
	r.at--
	return 0, r.expected("an escape")
}

func (r *jsonReader) unicode() (rune, error) {
	first, err := r.hex()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	if r.accept('\\', '\\') && r.accept('u', 'u') {
		second, err := r.hex()
		if c := utf16.DecodeRune(first, second); err == nil && c != unicode.ReplacementChar {
			return c, nil
		}
	}
	return 0, r.expected("the other half of a surrogate pair")
}

func (r *jsonReader) hex() (rune, error) {
	if len(r.text)-r.at < 4 {
		return 0, r.expected("four hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(r.text[r.at:r.at+4]), 16, 16)
	if err != nil {
		return 0, r.expected("four hexadecimal digits")
	}
	r.at += 4
	return rune(n), nil
}

// appendJSON writes a value as JSON in one way only: keys sorted, no white space, numbers as they were.
func appendJSON(to []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case json.Number:
		return append(to, v...)
	case string:
		return appendString(to, v)
	case []any:
		to = append(to, '[')
		for at, element := range v {
			if at > 0 {
				to = append(to, ',')
			}
			to = appendJSON(to, element)
		}
		return append(to, ']')
	case map[string]any:
		to = append(to, '{')
		for at, key := range sortedKeys(v) {
			if at > 0 {
				to = append(to, ',')
			}
			to = append(appendString(to, key), ':')
			to = appendJSON(to, v[key])
		}
		return append(to, '}')
	}
	panic(fmt.Sprintf("no JSON: %T", v)) // must: trees are made here alone
}

// appendString escapes what cannot be seen as well, direction marks and joiners among it: what a reviewer
// reads is what there is.
func appendString(to []byte, s string) []byte {
	to = append(to, '"')
	start := 0 // of what was not written yet
	for at := 0; at < len(s); {
		b := s[at]
		if 0x20 <= b && b < 0x7f && b != '"' && b != '\\' {
			at++
			continue
		}
		c, size := utf8.DecodeRuneInString(s[at:])
		if c > 0x7f && unicode.IsGraphic(c) && size > 1 {
			at += size
			continue
		}
		to = appendEscape(append(to, s[start:at]...), c)
		at += size
		start = at
	}
	return append(append(to, s[start:]...), '"')
}

func appendEscape(to []byte, c rune) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(to, '\\', byte(c))
	case c == '\n':
		return append(to, `\n`...)
	case c == '\t':
		return append(to, `\t`...)
	case c > 0xffff:
		high, low := utf16.EncodeRune(c)
		return fmt.Appendf(to, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(to, `\u%04x`, c)
}

// kindOf names what a value is, for messages.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case enumName:
		return "a bare word"
	case []any:
		return "a list"
	}
	return "an object"
}

// shown quotes a word of the caller's for a message, never at length.
func shown(word string) string {
	const long = 80
	if len(word) > long {
		word = word[:long] + "…"
	}
	return strconv.QuoteToASCII(word)
}
