package actions

import (
	_ "embed" // the reviews
	"fmt"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

//go:embed reviewed.txt
var reviews string

// review is what somebody decided about one action, against the rule or where it is silent.
type review struct {
	action string
	class  broker.Actions // 0: refused
	why    string
}

// readReviews reads reviewed.txt.
func readReviews(text string) ([]review, error) {
	var list []review
	var current review
	for n, line := range strings.Split(text, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "\t"):
			for action := range strings.FieldsSeq(line) {
				list = append(list, review{action, current.class, current.why})
			}
			continue
		}
		class, why, found := strings.Cut(line, ": ")
		if !found || why == "" {
			return nil, fmt.Errorf("reviewed.txt, line %d: expected CLASS: REASON", n+1)
		}
		current = review{why: why}
		if class == refusedName {
			continue
		}
		var err error
		if current.class, err = broker.ParseActions(class); err != nil {
			return nil, fmt.Errorf("reviewed.txt, line %d: %w", n+1, err)
		}
	}
	return list, nil
}

// reviewed looks an action up among the reviews.
func reviewed(action string) (review, bool) {
	list, err := readReviews(reviews)
	if err != nil {
		return review{action: action, why: err.Error()}, true // refused: a test reads the file as well
	}
	for _, r := range list {
		if r.action == action {
			return r, true
		}
	}
	return review{}, false
}
