package ui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hourkey/hourkey/broker"
)

// ProblemOf makes the view of a refusal. again is the page of what was refused, empty when there is none left to look at.
func ProblemOf(title string, told *broker.Error, again string) Problem {
	problem := Problem{Title: title, Message: said(told.Message), Next: said(told.Next), Back: "/", BackText: "To the inbox"}
	if again != "" {
		problem.Back, problem.BackText = again, "Look at it again"
	}
	if problem.Next == problem.BackText+"." {
		problem.Next = "" // the button says so
	}
	return problem
}

// InWords is a refusal as a form shows it, with what to do next.
func InWords(told *broker.Error) string {
	return strings.TrimSpace(said(told.Message) + " " + said(told.Next))
}

// said makes a sentence of the broker's words, which begin small and have no full stop.
func said(words string) string {
	first, size := utf8.DecodeRuneInString(words)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(words[size:], ".") + "."
}
