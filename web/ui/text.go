package ui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Piece is a run of text as it can be shown: as it is, or as the name of a character that would not
// be seen or would move others (the attack: words that read differently than they are).
type Piece struct {
	Text    string
	Escaped bool
}

// maxMarks is how many combining marks may follow one another; more of them bury their neighbours.
const maxMarks = 3

// Visible splits a text that somebody else wrote into pieces, so that nothing in it is hidden:
// control, format (bidirectional, zero-width, tags), private, unassigned and odd-space characters, and
// bytes that are not UTF-8, become ⟨U+202E⟩ or ⟨0xFF⟩. Line ends and tabs stay.
func Visible(text string) []Piece {
	var pieces []Piece
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			pieces = append(pieces, Piece{Text: plain.String()})
			plain.Reset()
		}
	}
	marks := 0
	for i, c := range text {
		marks = countMarks(c, marks)
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			flush()
			pieces = append(pieces, Piece{Text: fmt.Sprintf("⟨0x%02X⟩", text[i]), Escaped: true})
		case hidden(c) || marks > maxMarks:
			flush()
			pieces = append(pieces, Piece{Text: fmt.Sprintf("⟨U+%04X⟩", c), Escaped: true})
		default:
			plain.WriteRune(c)
		}
	}
	flush()
	return pieces
}

// Plain is Visible as one text, for where there is no markup.
func Plain(text string) string {
	var plain strings.Builder
	for _, piece := range Visible(text) {
		plain.WriteString(piece.Text)
	}
	return plain.String()
}

func countMarks(c rune, before int) int {
	if unicode.Is(unicode.M, c) {
		return before + 1
	}
	return 0
}

// hidden tells whether a reader could not see that the character is there. unicode.IsPrint knows
// letters, marks, numbers, punctuation, symbols and the ASCII space; some of these have no ink.
func hidden(c rune) bool {
	switch {
	case c == '\n', c == '\t':
		return false
	case !unicode.IsPrint(c), unicode.Is(unicode.Variation_Selector, c):
		return true
	}
	switch c {
	case 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0: // joiner, fillers, blank Braille
		return true
	}
	return false
}

// NotASCII names the characters of an identifier that look like others but are not plain ASCII:
// "о U+043E". Empty for the usual name.
func NotASCII(text string) string {
	const most = 8
	var odd []string
	for _, c := range text {
		if c <= unicode.MaxASCII {
			continue
		}
		if len(odd) == most {
			return strings.Join(odd, ", ") + " and more"
		}
		odd = append(odd, fmt.Sprintf("%s U+%04X", shownRune(c), c))
	}
	return strings.Join(odd, ", ")
}

func shownRune(c rune) string {
	if hidden(c) || unicode.Is(unicode.M, c) {
		return "?"
	}
	return string(c)
}
