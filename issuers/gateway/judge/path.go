package judge

import (
	"fmt"
	"slices"
	"strings"
)

// Path is where an argument stands: its segments. "*", "**" and, as the last one, "keys()" are special.
type Path []string

const (
	anyKey   = "*"      // every key of an object
	anyDepth = "**"     // any number of levels, none as well
	keysOf   = "keys()" // the keys of the object, not what they hold
)

// maxPath is how many segments a path of a pack may have.
const maxPath = 16

// String writes the path as packs do.
func (p Path) String() string {
	if n := len(p); n > 0 && p[n-1] == keysOf {
		return "keys(" + p[:n-1].String() + ")"
	}
	return strings.Join(p, ".")
}

// parsePath reads "input.volumeId" or "keys(input.variables)".
func parsePath(word string) (Path, error) {
	inner, keys := strings.CutPrefix(word, "keys(")
	if keys {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, ")"); !closed {
			return nil, fmt.Errorf("path %q: keys( is not closed", word)
		}
	}
	path := Path(strings.Split(inner, "."))
	for at, segment := range path {
		switch {
		case segment == "" || strings.ContainsAny(segment, "(){}[]/\"'`,;"):
			return nil, fmt.Errorf("path %q: segment %q is no name, * or **", word, segment)
		case at == 0 && strings.HasPrefix(segment, anyKey):
			return nil, fmt.Errorf("path %q: it must begin with a name", word)
		}
	}
	if keys {
		path = append(path, keysOf)
	}
	if deep := slices.Index(path, anyDepth); deep >= 0 && slices.Contains(path[deep+1:], anyDepth) {
		return nil, fmt.Errorf("path %q: ** may stand once", word)
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("path %q: more than %d segments", word, maxPath)
	}
	return path, nil
}

// find calls each for every value at path below v, keys in their order. missing tells that the path ends
// early at least once: an argument that is absent, a null or an empty list on the way.
//
// Where the path goes on but the value is a string, a number or a truth, it is an error: an opaque scalar may
// be taken as JSON in a string by the server, and then the row would not have seen what is in it.
func find(v any, path Path, each func(any)) (missing bool, err error) {
	if len(path) == 0 {
		each(v)
		return false, nil
	}
	switch v := v.(type) {
	case nil:
		return path[0] != anyDepth, nil
	case []any:
		missing = len(v) == 0
		for _, element := range v {
			m, err := find(element, path, each)
			if err != nil {
				return false, err
			}
			missing = missing || m
		}
		return missing, nil
	case map[string]any:
		return findIn(v, path, each)
	}
	return false, fmt.Errorf("wanted an object that holds %s, found %s", path, kindOf(v))
}

func findIn(object map[string]any, path Path, each func(any)) (missing bool, err error) {
	switch path[0] {
	case keysOf:
		for _, key := range sortedKeys(object) {
			each(key)
		}
		return len(object) == 0, nil
	case anyKey:
		missing = len(object) == 0
		for _, key := range sortedKeys(object) {
			m, err := find(object[key], path[1:], each)
			if err != nil {
				return false, err
			}
			missing = missing || m
		}
		return missing, nil
	case anyDepth:
		return findDeep(object, path, each)
	}
	value, given, err := lookUp(object, path[0])
	if !given || err != nil {
		return true, err
	}
	return find(value, path[1:], each)
}

// lookUp finds a key. One that is the same but for its case is an error: there are servers that read it as
// the key itself.
func lookUp(object map[string]any, key string) (value any, given bool, err error) {
	for other, v := range object {
		if other == key {
			value, given = v, true
		} else if strings.EqualFold(other, key) {
			return nil, false, fmt.Errorf("%s is written %s here", key, shown(other))
		}
	}
	return value, given, nil
}

// findDeep looks for what follows ** here and at every level below. Not finding it at one of them is not
// missing it, and scalars further down are not in its way.
func findDeep(object map[string]any, path Path, each func(any)) (missing bool, err error) {
	found := false
	note := func(v any) { found = true; each(v) }
	if len(path) == 1 {
		note(object)
	} else if _, err := findIn(object, path[1:], note); err != nil {
		return false, err
	}
	for _, key := range sortedKeys(object) {
		for _, below := range objectsOf(object[key]) {
			if _, err := findDeep(below, path, note); err != nil {
				return false, err
			}
		}
	}
	return !found, nil
}

// objectsOf gives the objects that v is, or that are in v and in the lists in it.
func objectsOf(v any) []map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var objects []map[string]any
		for _, element := range v {
			objects = append(objects, objectsOf(element)...)
		}
		return objects
	}
	return nil
}

func sortedKeys(object map[string]any) []string {
	if len(object) == 0 {
		return nil
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
