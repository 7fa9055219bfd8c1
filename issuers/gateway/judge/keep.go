package judge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// rewriteREST masks what is secret in an answer and takes out of its lists what is not the lease's.
func rewriteREST(row *Row, answer any, sight Sight) ([]byte, error) {
	for _, keep := range row.Keep {
		var err error
		if answer, err = keep.filter(answer, keep.List, sight); err != nil {
			return nil, fmt.Errorf("%s: %w", row.Operation, err)
		}
	}
	if !sight.Secrets {
		for _, path := range row.Secrets {
			answer = maskedAt(answer, path)
		}
	}
	return appendJSON(nil, answer), nil
}

// mayChange tells whether there can be anything in a body to mask or to take out: most answers hold no name of
// a secret, and are not read for that. A name that is escaped counts as one.
func (row *Row) mayChange(body []byte) bool {
	if len(row.Keep) > 0 || bytes.Contains(body, []byte(`\u`)) {
		return true
	}
	return slices.ContainsFunc(row.Secrets, func(path Path) bool {
		name := path[0] // what is under it may be built otherwise than the pack says, and is masked all the same
		if name == anyDepth {
			name = path[len(path)-1]
		}
		return name == anyKey || name == anyDepth || bytes.Contains(body, []byte(`"`+name+`"`))
	})
}

// errShape is told when an answer is not built as the pack says: what is in it is not known then.
var errShape = errors.New("the provider's answer has no list where the pack expects one")

// filter gives v with the list at path filtered.
func (k Keep) filter(v any, path Path, sight Sight) (any, error) {
	list, isList := v.([]any)
	if len(path) == 0 {
		if !isList {
			return nil, errShape
		}
		return slices.DeleteFunc(slices.Clone(list), func(element any) bool { return !k.sees(element, sight) }), nil
	}
	if isList {
		for at := range list {
			var err error
			if list[at], err = k.filter(list[at], path, sight); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errShape
	}
	keys := []string{path[0]}
	if path[0] == anyKey {
		keys = sortedKeys(object)
	}
	for _, key := range keys {
		if _, given := object[key]; !given {
			return nil, errShape
		}
		var err error
		if object[key], err = k.filter(object[key], path[1:], sight); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// sees: the element names a resource, and only resources that are the lease's.
func (k Keep) sees(element any, sight Sight) bool {
	if sight.Keeps == nil {
		return false
	}
	found, all := false, true
	missing, err := find(element, k.Key, func(v any) {
		found = true
		switch id := v.(type) {
		case string:
			all = all && sight.Keeps(k.Kind, id)
		case json.Number:
			all = all && sight.Keeps(k.Kind, string(id))
		default:
			all = false
		}
	})
	return found && all && !missing && err == nil
}

// maskedAt masks what is at a path. The tree is the answer's own and is changed in place. What is not built
// as the path says is masked as it is; only where the path passes by any name is it left.
func maskedAt(v any, path Path) any {
	if len(path) == 0 || len(path) == 1 && path[0] == anyDepth {
		return masked(v)
	}
	switch v := v.(type) {
	case []any:
		for at := range v {
			v[at] = maskedAt(v[at], path)
		}
		return v
	case map[string]any:
		maskIn(v, path)
		return v
	}
	if path[0] == anyKey || path[0] == anyDepth {
		return v
	}
	return masked(v)
}

func maskIn(object map[string]any, path Path) {
	if path[0] == anyDepth {
		for key, value := range object {
			object[key] = maskedAt(value, path)
		}
		path = path[1:]
	}
	for key, value := range object {
		_, nested := value.(map[string]any)
		_, list := value.([]any)
		if key == path[0] || path[0] == anyKey && (len(path) == 1 || nested || list) {
			object[key] = maskedAt(value, path[1:])
		}
	}
}
