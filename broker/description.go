package broker

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Wall says what stops a forbidden action at a target.
type Wall string

// The walls, surest first.
const (
	WallNative  Wall = "native"  // the provider itself refuses
	WallGateway Wall = "gateway" // our gateway judges every call
	WallWeak    Wall = "weak"    // a known way around exists
	WallNone    Wall = "none"
)

// WallFact is one wall of a description: what it stops, and how.
type WallFact struct {
	Stops string  `json:"stops"` // "another environment", "DELETE and TRUNCATE", "use after the end"
	Wall  Wall    `json:"wall"`
	How   string  `json:"how"`
	Gives []Scope `json:"gives,omitempty"` // what a lease can do in spite of it, beyond its scopes: a write that is known to delete
}

// Identity is who a target is at its provider, as the provider tells it. ID is what is pinned;
// Shown is for the operator who confirms it.
type Identity struct {
	ID    string `json:"id"`    // "postgres:7441…/orders"
	Shown string `json:"shown"` // "database orders on 10.0.0.5:5432, system 7441…"
	// Parts are what a target is made of when it is made of several things, separated by blanks: none of them
	// may be in another environment as well. Each is written as a Place there would be; one that ends in a star stands
	// for all that begin so.
	Parts string `json:"parts,omitempty"`
}

// meets tells whether two identities are, or have in them, the same thing.
func (i Identity) meets(o Identity) bool {
	mine := append(strings.Fields(i.Parts), i.ID)
	return slices.ContainsFunc(append(strings.Fields(o.Parts), o.ID), func(theirs string) bool {
		return theirs != "" && slices.ContainsFunc(mine, func(one string) bool {
			return one != "" && (Resource(one).Covers(Resource(theirs)) || Resource(theirs).Covers(Resource(one)))
		})
	})
}

// Description says what exactly would be issued. All of it is digested but Facts, which may change
// from minute to minute and are shown with their time.
type Description struct {
	Identity   string        `json:"identity"`
	Scopes     []Scope       `json:"scopes"`     // concrete where the target can enumerate; never smaller than asked
	Reaches    []string      `json:"reaches"`    // every environment in which something is reached
	Elsewhere  []string      `json:"elsewhere"`  // one sentence for each resource that lives in another environment too
	Native     []string      `json:"native"`     // the native policy, line by line, as it will be applied
	Walls      []WallFact    `json:"walls"`      //
	Exceptions []Exception   `json:"exceptions"` // named holes of the configuration
	TTL        time.Duration `json:"ttl"`
	Ends       string        `json:"ends"` // how surely it ends
	Facts      []Fact        `json:"-"`
}

// Exception is a hole that the configuration accepts by name (`accept:`).
type Exception struct {
	Object string `json:"object"`
	Why    string `json:"why"`
}

// Fact is a size or a count, for the reviewer's eyes.
type Fact struct {
	About string    `json:"about"`
	Text  string    `json:"text"`
	At    time.Time `json:"at"`
}

// Means is what a lease could do: its scopes, and what its weak or missing walls give in spite of them. How many
// humans approve, and what they sign, goes by it; what is granted stays Scopes.
func (d Description) Means() []Scope {
	gives := d.gives()
	if len(gives) == 0 {
		return d.Scopes
	}
	return Normalize(slices.Concat(d.Scopes, gives))
}

// because says which walls give actions that the scopes do not have, as the end of a sentence; empty if none.
func (d Description) because(actions Actions) string {
	var walls []string
	for _, wall := range d.Walls {
		if beyond := AllActions(wall.Gives) &^ AllActions(d.Scopes); beyond&actions != 0 {
			walls = append(walls, wall.Stops+": "+wall.How)
		}
	}
	if len(walls) == 0 {
		return ""
	}
	return ", which nothing else stops (" + strings.Join(walls, "; ") + ")"
}

func (d Description) gives() (gives []Scope) {
	for _, wall := range d.Walls {
		gives = append(gives, wall.Gives...)
	}
	return gives
}

// Digest identifies the description.
func (d Description) Digest() string { return digest("hourkey/description/1", d) }

// same tells whether the digests are equal. Equal fields have equal digests, and comparing them is the
// quick way to the usual answer.
func (d Description) same(other Description) bool {
	d.Facts, other.Facts = nil, nil
	return reflect.DeepEqual(d, other) || d.Digest() == other.Digest()
}
