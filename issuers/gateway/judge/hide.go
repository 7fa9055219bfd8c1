package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// hide gives the arguments with the values at the paths out of sight, names and nulls in place: whether
// something is emptied must be seen. exact is a digest of what was hidden and of where it stood; it is empty,
// and shown is v itself, when nothing was. v is not changed.
func hide(v map[string]any, paths []Path) (shown map[string]any, exact string) {
	if len(paths) == 0 {
		return v, ""
	}
	h := hider{digest: sha256.New()}
	out, _ := h.value(v, paths).(map[string]any)
	if !h.any {
		return v, ""
	}
	return out, hex.EncodeToString(h.digest.Sum(nil))
}

// hider copies a tree and remembers what it left out.
type hider struct {
	digest hash.Hash
	any    bool
}

func (h *hider) value(v any, paths []Path) any {
	if len(paths) == 0 {
		return v
	}
	for _, path := range paths {
		if len(path) == 0 || len(path) == 1 && path[0] == anyDepth {
			return h.all(v)
		}
	}
	return h.each(v, func(key string, value any) any { return h.value(value, advance(paths, key)) }, func(element any) any { return h.value(element, paths) })
}

// all puts every value below out of sight.
func (h *hider) all(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case []any, map[string]any:
		return h.each(v, func(_ string, value any) any { return h.all(value) }, h.all)
	case string:
		if v == "" {
			return v
		}
	}
	h.any = true
	h.digest.Write(append(appendJSON(nil, v), 0))
	return hiddenValue
}

// each copies an object, in the order of its keys, or a list.
func (h *hider) each(v any, field func(key string, value any) any, element func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		shown := make(map[string]any, len(v))
		for _, key := range sortedKeys(v) {
			h.digest.Write([]byte(key + "\x00"))
			shown[key] = field(key, v[key])
		}
		return shown
	case []any:
		shown := make([]any, len(v))
		for at := range v {
			shown[at] = element(v[at])
		}
		return shown
	}
	return h.all(v) // the path goes on: it may be JSON in a string
}
