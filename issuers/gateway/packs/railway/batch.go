package railway

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// perRequest is how many look-ups go in one request. It is one of the hour's requests, however many they are.
const perRequest = 50

// batch is many look-ups of one kind. Ids are passed as variables: nothing of them gets into a document.
type batch struct {
	fields    []string
	variables []map[string]any
}

// add adds a root field; each %s stands for an id.
func (b *batch) add(field string, ids ...string) {
	names := make([]any, len(ids))
	variables := map[string]any{}
	for at, id := range ids {
		name := fmt.Sprintf("v%d_%d", len(b.fields), at)
		names[at] = "$" + name
		variables[name] = id
	}
	b.fields = append(b.fields, fmt.Sprintf("q%d: ", len(b.fields))+fmt.Sprintf(field, names...))
	b.variables = append(b.variables, variables)
}

// document writes the look-ups from first to before end.
func (b *batch) document(first, end int) (string, map[string]any) {
	variables := map[string]any{}
	var declared []string
	for _, each := range b.variables[first:end] {
		for name, id := range each {
			variables[name] = id
			declared = append(declared, "$"+name+": String!")
		}
	}
	return "query HourkeyLookUps(" + strings.Join(declared, ", ") + ") { " + strings.Join(b.fields[first:end], " ") + " }", variables
}

// askEach gives the answer to each look-up, in their order, or ends with an error.
func askEach[T any](ctx context.Context, c *client, b batch) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for first := 0; first < len(b.fields); first += perRequest {
			end := min(first+perRequest, len(b.fields))
			document, variables := b.document(first, end)
			var answers map[string]json.RawMessage
			if err := c.ask(ctx, document, variables, &answers); err != nil {
				yield(none, err)
				return
			}
			for at := first; at < end; at++ {
				var value T
				if err := json.Unmarshal(answers["q"+strconv.Itoa(at)], &value); err != nil {
					yield(none, unavailable("Railway's answer is not as its schema says").Because(err))
					return
				}
				if !yield(value, nil) {
					return
				}
			}
		}
	}
}
