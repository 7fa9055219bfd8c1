package actions

import (
	_ "embed" // the reviews
	"fmt"
	"strings"
	"sync"

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

// byAction holds the reviews by their actions. One that cannot be read refuses everything: a test reads the file as well.
var byAction = sync.OnceValues(func() (map[string]review, error) {
	list, err := readReviews(reviews)
	all := make(map[string]review, len(list))
	for _, r := range list {
		all[r.action] = r
	}
	return all, err
})

// reviewed looks an action up among the reviews.
func reviewed(action string) (review, bool) {
	all, err := byAction()
	if err != nil {
		return review{action: action, why: err.Error()}, true
	}
	r, found := all[action]
	return r, found
}
