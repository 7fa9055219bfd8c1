package actions

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
)

const refusedName = "refused"

// Verdict is what an action is taken for.
type Verdict struct {
	Action   string         // SERVICE:ACTION as the reference writes it; as asked where it is unknown
	Class    broker.Actions // one of the four; 0 when it is refused
	Why      string         // one sentence
	Reviewed bool           // somebody decided it; else the rule did
}

// ClassName gives read, write, delete, admin or refused.
func (v Verdict) ClassName() string {
	if v.Class == 0 {
		return refusedName
	}
	return v.Class.String()
}

// Classify says what SERVICE:ACTION is taken for, at worst: IAM does not see arguments, so an action that destroys with
// some arguments is delete with all. What the table does not know is refused, and so is a pattern with a star.
func Classify(action string) Verdict {
	service, name, found := strings.Cut(action, ":")
	switch {
	case strings.ContainsAny(action, "*?"):
		return Verdict{Action: action, Why: "a pattern stands for actions that nobody named, those of next year as well"}
	case !found || service == "" || name == "":
		return Verdict{Action: action, Why: "it is not written SERVICE:ACTION"}
	}
	f, known := find(service, name)
	if !known {
		return Verdict{Action: action, Why: "the reference has no such action"}
	}
	if r, found := reviewed(f.String()); found {
		return Verdict{Action: f.String(), Class: r.class, Why: r.why, Reviewed: true}
	}
	class, why := derive(f)
	return Verdict{Action: f.String(), Class: class, Why: why}
}
