package actions

import (
	"slices"
	"strings"
	"unicode"
)

// words splits an action's name where a reader does: GetHLSStreamingSessionURL is get, hls, streaming, session, url.
func words(name string) []string {
	var list []string
	start := 0
	for at := 1; at <= len(name); at++ {
		if at == len(name) || begins(name, at) {
			list = append(list, strings.ToLower(name[start:at]))
			start = at
		}
	}
	return list
}

// begins tells whether a word begins at a byte: a capital after a small letter or digit, or the last capital of several
// before a small letter. The s of IDs and ACLs is no word.
func begins(name string, at int) bool {
	here, before := rune(name[at]), rune(name[at-1])
	switch {
	case !unicode.IsUpper(here):
		return false
	case !unicode.IsUpper(before):
		return true
	}
	return at+1 < len(name) && unicode.IsLower(rune(name[at+1])) && name[at+1:] != "s"
}

func firstWord(name string) string { return words(name)[0] }

// wordSet is a set of words, written as a text.
type wordSet []string

func setOf(text ...string) wordSet {
	list := strings.Fields(strings.Join(text, " "))
	slices.Sort(list)
	return list
}

func (s wordSet) has(word string) bool {
	_, found := slices.BinarySearch(s, word)
	return found
}

// first gives the first of words that is in the set, empty if none is.
func (s wordSet) first(words []string) string {
	for _, word := range words {
		if s.has(word) || s.has(strings.TrimSuffix(word, "s")) {
			return word
		}
	}
	return ""
}
