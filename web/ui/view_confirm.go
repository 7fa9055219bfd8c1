package ui

import (
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Confirm is the view of PageConfirm: the question before something that is not taken back. Its form goes
// to Action with Fields.
type Confirm struct {
	Question string
	Sentence []Word
	Facts    []NamedFact
	Care     string

	Action         string
	Fields         []Field
	Button         string
	Danger         bool // the button destroys
	Back, BackText string
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// Code is the view of PageCode. The code stands on this one answer and nowhere else.
type Code struct {
	Title          string
	Sentence       []Word
	Code           broker.Secret
	Ends           Moment
	Steps          []Step
	Back, BackText string
}

// Step is what somebody must do next. Exact is to be typed as it stands.
type Step struct{ Text, Exact string }

// Words gives Exact in words between which a line may break: a dash at the end of a line would not tell whether it
// belongs to the command.
func (s Step) Words() []string { return strings.Fields(s.Exact) }

// Shown gives the code to the template.
func (c Code) Shown() string { return c.Code.Reveal() }

// AgentCode tells the code of an agent that was added.
func AgentCode(name, owner string, code broker.Secret, origin string, ends time.Time) Code {
	return Code{
		Title: "One-time code", Code: code, Ends: onClock(ends), Back: "/agents", BackText: "To the agents",
		Sentence: []Word{plain("A code for "), strong(name), plain(", which works on behalf of "), strong(owner), plain(". With it the agent enrols its key:")},
		Steps: []Step{
			{"Run this on the agent's machine, and type in the code when it asks:", "hourkey enroll " + origin + " --agent " + name},
			{"Then " + owner + " finds the agent's key in the inbox, compares it, and signs it. Until then the agent may ask for nothing.", ""},
		},
	}
}

// InviteCode tells the code of a human who was invited.
func InviteCode(invite broker.Invite, code broker.Secret, origin string) Code {
	view := Code{
		Title: "One-time code", Code: code, Ends: onClock(invite.Expires), Back: "/people", BackText: "Back to People",
		Sentence: []Word{strong(invite.Human), plain(" was invited. With this code a passkey is made:")},
	}
	if invite.Replaces {
		view.Sentence[1] = plain(" was invited again. With this code a new passkey is made, and the lost ones go:")
	}
	if invite.State == broker.InviteInert {
		view.Steps = append(view.Steps, Step{"First " + count(invite.Needs, "operator") + " must sign the invite, here in the inbox. You may be one of them, " + invite.Human + " may not. Who signs finds these words there, and asks you for them:", invite.Phrase()})
	}
	view.Steps = append(view.Steps, Step{"Then " + invite.Human + " types name and code in at:", origin + "/invite"})
	return view
}
