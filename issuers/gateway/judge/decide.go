package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNamed is how many resources one operation may name: each is looked up at the provider.
const maxNamed = 200

// decision is the class so far, and the line of the pack that made it so.
type decision struct {
	class Class
	why   string
	line  int
}

func (d *decision) raise(class Class, why string, line int) {
	if class.rank() > d.class.rank() {
		*d = decision{class, why, line}
	}
}

// decide says what an operation with these arguments is.
func (row *Row) decide(arguments map[string]any) (decision, error) {
	d := decision{row.Class, row.Why, row.Line}
	for _, condition := range row.When {
		met, err := condition.met(arguments)
		if err != nil {
			return d, err
		}
		if met {
			d.raise(condition.Class, condition.Why, condition.Line)
		}
	}
	if row.Only != nil && row.Only.met(arguments) {
		d.raise(row.Only.Class, row.Only.Why, row.Only.Line)
	}
	return d, nil
}

// met looks at the argument. Where a server could read a value in two ways, the condition is met.
func (c Condition) met(arguments map[string]any) (bool, error) {
	met, found := false, false
	missing, err := find(arguments, c.Path, func(v any) {
		found = true
		met = met || c.test(v)
	})
	if err != nil {
		return false, fmt.Errorf("argument %s: %w", c.Path, err)
	}
	switch c.Test {
	case Given:
		return found, nil
	case Absent:
		return missing || !found, nil
	case Null, Empty, Equal, Unlike, Below, Above:
	}
	return met, nil
}

// test looks at one value; a list is tested itself and element by element.
func (c Condition) test(v any) bool {
	if list, ok := v.([]any); ok && slices.ContainsFunc(list, c.test) {
		return true
	}
	switch c.Test {
	case Null:
		return v == nil
	case Empty:
		return isEmpty(v)
	case Equal:
		return couldEqual(v, c.value)
	case Unlike:
		return couldDiffer(v, c.value)
	case Below, Above:
		return c.couldExceed(v)
	case Given, Absent:
	}
	return false
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// couldEqual is generous: 0, 0.0, "0" and -0 are one, and so are words that differ in case or in blanks around them.
func couldEqual(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, couldEqual)
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			if other, has := b[key]; !has || !couldEqual(value, other) {
				return false
			}
		}
		return true
	}
	x, xOK := number(a)
	y, yOK := number(b)
	if xOK && yOK && x == y {
		return true
	}
	return strings.EqualFold(strings.TrimSpace(scalarText(a)), strings.TrimSpace(scalarText(b))) && (a == nil) == (b == nil)
}

// couldDiffer is generous too. A list is never what is no list: servers take [] and [false] for true, or for false.
func couldDiffer(a, b any) bool {
	return string(appendJSON(nil, a)) != string(appendJSON(nil, b))
}

// couldExceed compares with a number. What cannot be compared surely could be anything, a list as well. A null is
// not compared.
func (c Condition) couldExceed(v any) bool {
	if v == nil {
		return false
	}
	if _, text := v.(string); text { // a server may read it as that number, or as none
		return true
	}
	x, ok := number(v)
	if !ok || len(scalarText(v)) > 15 { // more digits than a float64 surely holds
		return true
	}
	limit, _ := number(c.value)
	return c.Test == Below && !(x >= limit) || c.Test == Above && !(x <= limit) // NaN exceeds both
}

// number reads numbers, and strings that look like one.
func number(v any) (float64, bool) {
	switch v.(type) {
	case json.Number, string:
		text := strings.TrimSpace(scalarText(v))
		if text == "" || strings.IndexByte("0123456789+-.", text[0]) < 0 {
			return 0, false
		}
		x, err := strconv.ParseFloat(text, 64)
		return x, err == nil
	}
	return 0, false
}

func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// met tells whether anything is given that the paths do not know.
func (o *Only) met(arguments map[string]any) bool {
	for at, first := range o.Paths {
		if slices.ContainsFunc(o.Paths[:at], func(earlier Path) bool { return earlier[0] == first[0] }) {
			continue
		}
		value, given := arguments[first[0]]
		if object, ok := value.(map[string]any); !given || ok && len(object) == 0 {
			continue
		}
		if unknown(value, advance(o.Paths, first[0])) {
			return true
		}
	}
	return false
}

// unknown tells whether v has anything in it that none of the paths leads to. A null, an empty list and an
// empty object on the way to what is known say something of their own: they are not known.
func unknown(v any, known []Path) bool {
	for _, path := range known {
		if len(path) == 0 || len(path) == 1 && path[0] == anyDepth {
			return false
		}
	}
	switch v := v.(type) {
	case []any:
		return len(v) == 0 || slices.ContainsFunc(v, func(element any) bool { return unknown(element, known) })
	case map[string]any:
		for key, value := range v {
			if unknown(value, advance(known, key)) {
				return true
			}
		}
		return len(v) == 0
	}
	return true
}

// advance gives what is left of the paths that go through key.
func advance(paths []Path, key string) []Path {
	left := make([]Path, 0, len(paths))
	for _, path := range paths {
		if len(path) == 0 {
			continue
		}
		if path[0] == anyDepth {
			left = append(left, path)
			path = path[1:]
		}
		if len(path) > 0 && (path[0] == key || path[0] == anyKey) {
			left = append(left, path[1:])
		}
	}
	return left
}
