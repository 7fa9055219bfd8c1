package actions

import (
	_ "embed" // the table
	"iter"
	"strings"
	"sync"
)

//go:embed table.txt
var table string

// fact is what the reference says of one action.
type fact struct {
	service string // s3
	name    string // GetObject
	level   string // R read, L list, W write, T tagging, P permissions management
}

func (f fact) String() string { return f.service + ":" + f.name }

// index holds the table by its actions, in small letters: IAM reads both parts without regard to case. The facts have them
// as the reference does. It is made when the first action is asked for.
var index = sync.OnceValue(func() map[string]fact {
	all := make(map[string]fact, 1<<15)
	for f := range facts(table) {
		all[strings.ToLower(f.String())] = f
	}
	return all
})

// find looks an action up.
func find(service, name string) (fact, bool) {
	f, known := index()[strings.ToLower(service+":"+name)]
	return f, known
}

// facts reads a table, in its order.
func facts(table string) iter.Seq[fact] {
	return func(yield func(fact) bool) {
		service := ""
		for line := range strings.Lines(table) {
			line = strings.TrimSuffix(line, "\n")
			level, names, isRow := strings.Cut(line, " ")
			switch {
			case strings.HasPrefix(line, "#"):
				continue
			case !isRow:
				service = line
				continue
			}
			for name := range strings.SplitSeq(names, " ") {
				if !yield(fact{service, name, level}) {
					return
				}
			}
		}
	}
}

// All gives every action of the table as SERVICE:ACTION, sorted by service.
func All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for f := range facts(table) {
			if !yield(f.String()) {
				return
			}
		}
	}
}

// Source names the list that the table was made from, and its SHA-256 in hex.
func Source() (name, sha256 string) {
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		if value, ours := strings.CutPrefix(line, "# source: "); ours {
			name = value
		}
		if value, ours := strings.CutPrefix(line, "# sha256: "); ours {
			sha256 = value
		}
	}
	return name, sha256
}
