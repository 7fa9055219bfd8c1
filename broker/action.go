package broker

import (
	"slices"
	"strings"
)

// Actions is a set of the four actions, kept as bits. The zero value is the empty set.
// Its text form lists the names in the fixed order below, joined by commas: "read,write".
type Actions uint8

// The actions (docs/glossary.md). Read and Write come from a task; Delete and Admin never without a
// human (invariant 3).
const (
	Read   Actions = 1 << iota // reads, names and values that are no secrets
	Write                      // creates, or sets one named value by the ordinary edit
	Delete                     // destroys, empties, or weakens recoverability
	Admin                      // gives power: tokens, members, roles, secret values
)

var actionNames = []string{"read", "write", "delete", "admin"}

// ParseActions reads "read,write". Order does not matter, a repetition is an error.
func ParseActions(text string) (Actions, error) {
	var set Actions
	for name := range strings.SplitSeq(text, ",") {
		at := slices.Index(actionNames, name)
		if at < 0 {
			return 0, Errorf(CodeInvalid, "unknown action %q: expected read, write, delete or admin", clip(name)).WithField("actions")
		}
		one := Actions(1) << at
		if set&one != 0 {
			return 0, Errorf(CodeInvalid, "action %q is named twice", name).WithField("actions")
		}
		set |= one
	}
	return set, nil
}

// String gives the names, joined by commas.
func (a Actions) String() string { return strings.Join(a.Names(), ",") }

// Names gives the names in their fixed order.
func (a Actions) Names() []string {
	var names []string
	for at, name := range actionNames {
		if a&(1<<at) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Each gives the actions one by one, as sets of one.
func (a Actions) Each() []Actions {
	var each []Actions
	for at := range actionNames {
		if one := Actions(1) << at; a&one != 0 {
			each = append(each, one)
		}
	}
	return each
}

// IsSubsetOf tells whether every action of a is in b.
func (a Actions) IsSubsetOf(b Actions) bool { return a&^b == 0 }

// Has tells whether a holds every action of b, and b is not empty.
func (a Actions) Has(b Actions) bool { return b != 0 && b.IsSubsetOf(a) }

// NeedsHuman tells whether a holds an action that no file can give alone (invariant 3).
func (a Actions) NeedsHuman() bool { return a&(Delete|Admin) != 0 }

// MarshalText gives String.
func (a Actions) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText gives; the empty text is the empty set.
func (a *Actions) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = 0
		return nil
	}
	set, err := ParseActions(string(text))
	if err != nil {
		return err
	}
	*a = set
	return nil
}
