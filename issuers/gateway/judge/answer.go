package judge

import (
	"errors"
	"fmt"
)

// Sight is what of an answer the lease may see.
type Sight struct {
	Environment string // the provider's id of the lease's environment
	Project     string // the provider's id of the lease's project
	// Keeps tells whether a resource in a list is one of the lease's environment.
	Keeps   func(kind, id string) bool
	Secrets bool // the lease has admin on what was touched: values are shown
}

// Answer says what is done with the provider's answer before the caller sees it. The zero value lets
// nothing through.
type Answer struct {
	plain   bool
	graphql *rewriter
	rest    *Row
}

// maxAnswerDepth is how deep an answer may be nested.
const maxAnswerDepth = 200

// hiddenValue is what stands in place of a secret.
const hiddenValue = "hidden by Hourkey"

// Plain tells whether the answer passes as it is, and so may be streamed.
func (a Answer) Plain() bool { return a.plain }

// Rewrite gives what the caller sees of a body that the provider sent with a status of success (a REST
// provider's errors hold none of its lists; a GraphQL answer is always rewritten). Where it cannot tell what
// is in the body it is an error, and nothing may be passed on.
func (a Answer) Rewrite(body []byte, sight Sight) ([]byte, error) {
	if a.plain {
		return body, nil
	}
	if a.graphql == nil && a.rest == nil {
		return nil, errors.New("an answer to a call that was not judged")
	}
	if a.rest != nil && len(body) == 0 {
		return body, nil
	}
	if a.rest != nil && !a.rest.mayChange(body) {
		return body, nil
	}
	value, err := readJSON(body, maxAnswerDepth)
	if err != nil {
		return nil, fmt.Errorf("the provider's answer is not JSON that can be read in one way only: %w", err)
	}
	if a.graphql != nil {
		return a.graphql.rewrite(value, sight)
	}
	return rewriteREST(a.rest, value, sight)
}

// masked hides a value: strings and numbers, at any depth; names stay.
func masked(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case []any:
		list := make([]any, len(v))
		for at, element := range v {
			list[at] = masked(element)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, value := range v {
			object[key] = masked(value)
		}
		return object
	}
	return hiddenValue
}
