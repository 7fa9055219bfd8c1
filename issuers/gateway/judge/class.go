package judge

import "github.com/hourkey/hourkey/broker"

// Class is what an operation is, at worst. The zero value is not a class and counts as Refused.
type Class string

// The classes, mildest first (docs/glossary.md).
const (
	Read    Class = "read"
	Write   Class = "write"
	Delete  Class = "delete"
	Admin   Class = "admin"
	Refused Class = "refused" // never passes, whatever was approved
)

// Classes lists them, mildest first.
func Classes() []Class { return []Class{Read, Write, Delete, Admin, Refused} }

// Worse gives the worse of two classes; what is not a class is Refused (fails closed).
func Worse(a, b Class) Class {
	if a.rank() >= b.rank() {
		return Classes()[a.rank()]
	}
	return Classes()[b.rank()]
}

func (c Class) rank() int {
	for at, known := range Classes() {
		if c == known {
			return at
		}
	}
	return len(Classes()) - 1
}

// Actions is the action that a class wants of a lease; none for Refused.
func (c Class) Actions() broker.Actions {
	switch c {
	case Read:
		return broker.Read
	case Write:
		return broker.Write
	case Delete:
		return broker.Delete
	case Admin:
		return broker.Admin
	case Refused:
	}
	return 0
}
