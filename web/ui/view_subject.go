package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Subject is the view of PageSubject: something that is signed and is no request.
type Subject struct {
	State, StateText string
	Sentence         []Word
	Facts            []NamedFact
	Care             string // what to look at before signing
	Alarm            bool   // Care is a warning: something is not as it was
	Signs            bool   // it waits for this human
	NotYours         string
	Sign             Sign
}

// Word is a part of a sentence. What others wrote is Strong, and only that is.
type Word struct {
	Text   string
	Strong bool
}

// NamedFact is one line about a subject. Exact text is shown in a fixed-width font.
type NamedFact struct {
	Name, Text string
	Exact      bool
}

func plain(text string) Word  { return Word{Text: text} }
func strong(text string) Word { return Word{Text: text, Strong: true} }

// AgentOf makes the view of an agent. signs: it waits for this human.
func AgentOf(a broker.Agent, signs bool) Subject {
	view := Subject{
		State: string(a.State), StateText: agentState(a.State),
		Sentence: []Word{strong(a.Name), plain(" wants to work on behalf of "), strong(a.Owner), plain(".")},
		Facts:    []NamedFact{{"Owner", a.Owner, false}, {"Added", clock(a.Created), false}},
		Signs:    signs, NotYours: "Nothing here waits for you.",
		Sign: Sign{broker.ActActivateAgent, a.Name, a.Digest(), "Activate this agent…"},
	}
	if a.Thumbprint != "" {
		view.Facts = append(view.Facts, NamedFact{"Key (SHA-256 thumbprint)", a.Thumbprint, true})
		view.Care = "Compare the key with the one that “hourkey enroll” printed on the agent's machine. If it differs, do not sign: somebody else used the code."
	}
	switch {
	case a.State == broker.AgentActive:
		view.Sentence[1] = plain(" works on behalf of ")
		view.Facts = append(view.Facts, NamedFact{"Active since", clock(a.Activated), false})
		view.Care = ""
	case a.State == broker.AgentInert && !signs:
		view.NotYours = "Its owner, " + a.Owner + ", activates it."
	}
	return view
}

func agentState(state broker.AgentState) string {
	switch state {
	case broker.AgentInvited:
		return "Has a code, no key yet"
	case broker.AgentInert:
		return "Has a key, waits for its owner"
	case broker.AgentActive:
		return "Active"
	case broker.AgentRemoved:
		return "Removed"
	}
	return "Unknown state"
}

// TargetOf makes the view of a target's identity.
func TargetOf(p broker.Pin, protected, signs bool) Subject {
	environment := p.Environment
	if protected {
		environment += " (protected)"
	}
	view := Subject{
		State: "unconfirmed", StateText: "Not confirmed",
		Sentence: []Word{strong(p.Target), plain(" in "), strong(environment), plain(" says that it is "), strong(p.Seen.Shown), plain(".")},
		Facts:    []NamedFact{{"Identity now", p.Seen.ID, true}, {"Learned", clock(p.Learned), false}},
		Care:     "Sign only if this really is " + p.Environment + ". Until then nothing is issued there; from then on, nothing is issued if it ever says that it is something else.",
		Signs:    signs, NotYours: "An operator confirms it.",
		Sign: Sign{broker.ActConfirmTarget, p.Environment + "/" + p.Target, p.Digest(), fmt.Sprintf("Confirm: this is %s…", p.Environment)},
	}
	switch {
	case p.IsConfirmed():
		view.State, view.StateText, view.Care, view.NotYours = "confirmed", "Confirmed", "", "Nothing is left to sign here."
		view.Facts = append(view.Facts, NamedFact{"Confirmed", clock(p.Confirmed) + " by " + p.ConfirmedBy, false})
	case !p.Confirmed.IsZero():
		view.StateText = "Changed since it was confirmed"
		view.Facts = append(view.Facts, NamedFact{"Identity that was confirmed", p.Identity.ID + " (" + p.Identity.Shown + ")", true})
		view.Alarm, view.Care = true, "This is not what was confirmed before. Find out why before you sign."
	}
	return view
}

// InviteOf makes the view of a newcomer.
func InviteOf(i broker.Invite, signs bool) Subject {
	view := Subject{
		State: string(i.State), StateText: inviteState(i.State),
		Sentence: []Word{strong(actor(i.By)), plain(" invites "), strong(i.Human), plain(" to make a passkey.")},
		Facts: []NamedFact{
			{"Groups", listed(i.Groups), false}, {"Signatures", fmt.Sprintf("%d of %d: %s", len(i.Signed), i.Needs, listed(i.Signed)), false},
			{"Invited", clock(i.Created), false}, {"The code ends", clock(i.Expires), false},
		},
		Care:  "Once admitted, this person can approve what the groups above may approve.",
		Signs: signs, NotYours: "Nothing here waits for you.",
		Sign: Sign{broker.ActAdmitHuman, i.Human, i.Digest(), "Admit…"},
	}
	if i.State != broker.InviteInert {
		view.Care = ""
	}
	return view
}

func inviteState(state broker.InviteState) string {
	switch state {
	case broker.InviteInert:
		return "Waits for operators"
	case broker.InviteUsable:
		return "Admitted: the code may be typed in"
	case broker.InviteUsed:
		return "Has made a passkey"
	}
	return "Unknown state"
}

// FreezeOf makes the view of a freeze.
func FreezeOf(f broker.Freeze, signs bool) Subject {
	what := []Word{strong("Everything")}
	if f.Of != broker.FreezeAll {
		what = []Word{plain("The " + string(f.Of) + " "), strong(f.Name)}
	}
	why := f.Reason
	if why == "" {
		why = "not said"
	}
	view := Subject{
		State: "frozen", StateText: "Frozen",
		Sentence: append(what, plain(" is frozen: nothing is issued.")),
		Facts:    []NamedFact{{"Frozen by", actor(f.By), false}, {"Since", clock(f.At), false}, {"Why", why, false}},
		Care:     "Lifting it lets keys be issued again. It brings none back.",
		Signs:    signs, NotYours: "An operator lifts it.",
		Sign: Sign{broker.ActLiftFreeze, f.ID(), f.Digest(), "Lift the freeze…"},
	}
	if !f.Until.IsZero() {
		view.Facts = append(view.Facts, NamedFact{"Until", clock(f.Until), false})
	}
	return view
}

// actor says in words who an event's actor is (broker.Caller.Actor).
func actor(by string) string {
	kind, name, named := strings.Cut(by, ":")
	switch {
	case named && kind == string(broker.CallerHuman):
		return name
	case named && kind == string(broker.CallerAgent):
		return "agent " + name
	case by == string(broker.CallerSocket):
		return "somebody in the broker's own shell"
	}
	return by
}

func listed(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// ResetNotice stands on every page for a week after a human's passkeys were reset from the shell.
func ResetNotice(human string, at, now time.Time) (Notice, bool) {
	const week = 7 * 24 * time.Hour
	if at.IsZero() || !now.Before(at.Add(week)) {
		return Notice{}, false
	}
	return Notice{
		Head: "Passkeys were reset.",
		Text: fmt.Sprintf("Those of %s, at %s, from the broker's own shell. If nobody told you why, ask before you sign anything.", human, clock(at)),
	}, true
}

// MistakesNotice stands on every page of an installation whose broker the agent's OS user could reach.
func MistakesNotice() Notice {
	return Notice{
		Head: "Protects from mistakes only.",
		Text: "Programs can run, or have run, under this broker's own OS user, and could go around it. “hourkeyd install” sets up a broker for which that is not so.",
	}
}
