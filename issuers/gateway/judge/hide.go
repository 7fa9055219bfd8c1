package judge

import (
	"crypto/sha256"
	"fmt"
)

// hide gives the arguments with the values at the paths out of sight, names and nulls in place: whether
// something is emptied must be seen. Without such values it is v itself. v is not changed.
func hide(v any, paths []Path) (shown any, hidden bool) {
	for _, path := range paths {
		if len(path) == 0 || len(path) == 1 && path[0] == anyDepth {
			return hideAll(v)
		}
	}
	if len(paths) == 0 {
		return v, false
	}
	switch v := v.(type) {
	case []any:
		return hideEach(v, func(element any) (any, bool) { return hide(element, paths) })
	case map[string]any:
		return hideIn(v, func(key string, value any) (any, bool) { return hide(value, advance(paths, key)) })
	}
	return hideAll(v) // the path goes on, so it may be JSON in a string
}

// hideAll puts every value below out of sight.
func hideAll(v any) (shown any, hidden bool) {
	switch v := v.(type) {
	case nil, bool:
		return v, false
	case []any:
		return hideEach(v, hideAll)
	case map[string]any:
		return hideIn(v, func(_ string, value any) (any, bool) { return hideAll(value) })
	case string:
		if v == "" {
			return v, false
		}
	}
	return hiddenValue, true
}

func hideEach(list []any, one func(any) (any, bool)) (any, bool) {
	shown, hidden := make([]any, len(list)), false
	for at, element := range list {
		value, is := one(element)
		shown[at], hidden = value, hidden || is
	}
	return shown, hidden
}

func hideIn(object map[string]any, one func(string, any) (any, bool)) (any, bool) {
	shown, hidden := make(map[string]any, len(object)), false
	for key, before := range object {
		value, is := one(key, before)
		shown[key], hidden = value, hidden || is
	}
	return shown, hidden
}

// exact identifies an operation with what its text hides. An approval is for that, too.
func exact(text string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte("hourkey/exact/1\x00"+text)))
}
