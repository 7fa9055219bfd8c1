package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// writeCanonical writes a decoded JSON tree as RFC 8785 wants it: members sorted by the UTF-16 code
// units of their names (section 3.2.3), strings with the fewest escapes (3.2.2.2), integers as they are.
func writeCanonical(out *bytes.Buffer, tree any) {
	switch v := tree.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		})
		out.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				out.WriteByte(',')
			}
			writeString(out, name)
			out.WriteByte(':')
			writeCanonical(out, v[name])
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, element := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			writeCanonical(out, element)
		}
		out.WriteByte(']')
	case string:
		writeString(out, v)
	case json.Number:
		if bytes.ContainsAny([]byte(v), ".eE") {
			panic("broker: a statement holds a number that is not an integer: " + v.String())
		}
		out.WriteString(v.String())
	case bool:
		fmt.Fprint(out, v)
	case nil:
		out.WriteString("null")
	}
}

// writeString escapes what RFC 8785 section 3.2.2.2 names and nothing else.
func writeString(out *bytes.Buffer, text string) {
	out.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteRune(c)
		case c < 0x20:
			writeControl(out, c)
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
}

func writeControl(out *bytes.Buffer, c rune) {
	const short = "\b\t\n\f\r"
	if at := strings.IndexRune(short, c); at >= 0 {
		out.WriteByte('\\')
		out.WriteByte("btnfr"[at])
		return
	}
	fmt.Fprintf(out, `\u%04x`, c)
}
