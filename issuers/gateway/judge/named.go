package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxID is how long an id may be, in bytes.
const maxID = 1024

// named lists what the arguments name. If they name nothing although the row touches something, it is the
// whole of each kind: nothing is judged smaller than it is.
func (row *Row) named(arguments map[string]any) ([]Named, error) {
	var all []Named
	for _, touch := range row.Touches {
		if touch.Kind == "" {
			return nil, nil
		}
		found, err := touch.named(arguments)
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); len(all) > maxNamed {
			return nil, fmt.Errorf("it names more than %d resources: send several calls", maxNamed)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	for _, touch := range row.Touches {
		whole := Named{Kind: touch.Kind, At: touch.at()}
		if !slices.ContainsFunc(all, func(n Named) bool { return n.Kind == whole.Kind }) {
			all = append(all, whole)
		}
	}
	return all, nil
}

func (t Touch) at() string {
	var parts []string
	for _, path := range t.Paths {
		parts = append(parts, path.String())
	}
	return strings.Join(parts, "/")
}

func (t Touch) named(arguments map[string]any) ([]Named, error) {
	if len(t.Paths) == 0 {
		return []Named{{Kind: t.Kind}}, nil
	}
	all := []string{""}
	for at, path := range t.Paths {
		parts, _, err := ids(arguments, path)
		if err != nil {
			return nil, err
		}
		if all, err = joined(all, parts, at, len(t.Paths)); err != nil {
			return nil, fmt.Errorf("argument %s: %w", path, err)
		}
	}
	places, err := t.places(arguments)
	if err != nil {
		return nil, err
	}
	var found []Named
	for _, id := range all {
		for _, place := range places {
			found = append(found, Named{Kind: t.Kind, ID: id, In: place, New: t.New, At: t.at()})
		}
	}
	return found, nil
}

// joined puts every one of parts behind every one of all. Only the last part may have a slash in it: the id
// could be read in two ways otherwise.
func joined(all, parts []string, at, of int) ([]string, error) {
	if len(all)*len(parts) > maxNamed {
		return nil, fmt.Errorf("it names more than %d resources: send several calls", maxNamed)
	}
	longer := make([]string, 0, len(all)*len(parts))
	for _, id := range all {
		for _, part := range parts {
			if at < of-1 && strings.Contains(part, "/") {
				return nil, fmt.Errorf("%s has a slash in it", shown(part))
			}
			if at > 0 {
				part = id + "/" + part
			}
			longer = append(longer, part)
		}
	}
	return longer, nil
}

// places gives the environments that the call names for this touch. Where one is left out somewhere, that
// resource is meant wherever it lives.
func (t Touch) places(arguments map[string]any) ([]string, error) {
	if t.In == nil {
		return []string{""}, nil
	}
	places, missing, err := ids(arguments, t.In)
	if err != nil {
		return nil, err
	}
	if missing || len(places) == 0 {
		places = append(places, "")
	}
	return places, nil
}

// ids collects the ids at a path, each once. An absent argument and a null name nothing.
func ids(arguments map[string]any, path Path) (found []string, missing bool, err error) {
	var wrong error
	var note func(v any)
	note = func(v any) {
		if len(found) > maxNamed {
			return
		}
		switch v := v.(type) {
		case nil:
			missing = true
			return
		case []any:
			for _, element := range v {
				note(element)
			}
			return
		}
		id, err := idOf(v)
		if err != nil {
			wrong = err
		}
		if !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	lacks, err := find(arguments, path, note)
	if err == nil {
		err = wrong
	}
	if err != nil {
		return nil, false, fmt.Errorf("argument %s: %w", path, err)
	}
	return found, missing || lacks, nil
}

// idOf reads an id: a string, or a number as it is usually written.
func idOf(v any) (string, error) {
	var id string
	switch v := v.(type) {
	case string:
		id = v
	case json.Number:
		id = string(v)
		if strings.Trim(id, "0123456789") != "" || len(id) > 1 && id[0] == '0' {
			return "", fmt.Errorf("%s is no id: expected a whole number", shown(id))
		}
	default:
		return "", fmt.Errorf("expected an id, found %s", kindOf(v))
	}
	switch {
	case id == "":
		return "", fmt.Errorf("the id is empty")
	case len(id) > maxID:
		return "", fmt.Errorf("the id is longer than %d bytes", maxID)
	case strings.ContainsFunc(id, func(c rune) bool { return !unicode.IsGraphic(c) || c == unicode.ReplacementChar }):
		return "", fmt.Errorf("the id %s has a character in it that cannot be seen", shown(id))
	case strings.TrimSpace(id) != id:
		return "", fmt.Errorf("the id %s begins or ends with a blank", shown(id))
	}
	return id, nil
}
