package ui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Subject is the view of PageSubject: something that is signed and is no request.
type Subject struct {
	State, StateText string
	Sentence         []Word
	Facts            []NamedFact
	Care             string // what to look at before signing
	Alarm            bool   // Care is a warning, and comes first: something is not as it was, or is to be found out
	Phrase           string // words to compare, of a passkey that somebody made
	Signs            bool   // it waits for this human
	NotYours         string // why it does not; empty where there is nothing to sign
	Sign             Sign
	Agent            *AgentMore // of an agent's page
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
		Facts:    []NamedFact{{"Added", clock(a.Created), false}},
		Signs:    signs, NotYours: "Nothing here waits for you.",
		Sign: Sign{Act: broker.ActActivateAgent, Subject: a.Name, Digest: a.Digest(), Button: "Activate this agent…"},
	}
	if a.Thumbprint != "" {
		view.Facts = append(view.Facts, NamedFact{"Key (SHA-256 thumbprint)", a.Thumbprint, true})
		view.Care = "Compare the key with the one that “hourkey enroll” printed on the agent's machine. If it differs, do not sign: somebody else used the code."
	}
	switch {
	case a.State == broker.AgentActive:
		view.Sentence[1] = plain(" works on behalf of ")
		view.Facts = append(view.Facts, NamedFact{"Active since", clock(a.Activated), false})
		view.Care, view.NotYours = "", ""
	case a.State == broker.AgentRemoved:
		view.Sentence[1], view.Care, view.NotYours = plain(" worked on behalf of "), "", ""
	case a.State == broker.AgentInvited:
		view.Sentence[1] = plain(" may enrol a key, to work on behalf of ")
	case a.State == broker.AgentInert && !signs:
		view.Care, view.NotYours = "", "Its owner, "+a.Owner+", activates it."
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
		Facts:    []NamedFact{{"It says now", p.Seen.Shown + " (" + p.Seen.ID + ")", true}, {"Read from the target", clock(p.Learned), false}},
		Care:     "Sign only if this really is " + p.Environment + ". Until then nothing is issued there; from then on, nothing is issued if it ever says that it is something else.",
		Signs:    signs, NotYours: "An operator confirms it.",
		Sign: Sign{Act: broker.ActConfirmTarget, Subject: p.Environment + "/" + p.Target, Digest: p.Digest(), Button: fmt.Sprintf("Confirm: this is %s…", p.Environment)},
	}
	switch {
	case p.IsConfirmed():
		view.State, view.StateText, view.Care, view.NotYours = "confirmed", "Confirmed", "", "Nothing is left to sign here."
		view.Facts = append(view.Facts, NamedFact{"Confirmed", clock(p.Confirmed) + " by " + p.ConfirmedBy, false})
	case !p.Confirmed.IsZero():
		view.State, view.StateText = "changed", "Changed since it was confirmed"
		view.Facts = slices.Insert(view.Facts, 1, NamedFact{"It was confirmed as", p.Identity.Shown + " (" + p.Identity.ID + ")", true})
		view.Alarm, view.Care = true, "This is not what was confirmed before. Find out why before you sign."
	}
	return view
}

// InviteOf makes the view of a newcomer, or of somebody who lost the passkeys.
func InviteOf(i broker.Invite, signs bool) Subject {
	view := Subject{
		State: string(i.State), StateText: inviteState(i.State), Phrase: i.Phrase(),
		Sentence: []Word{strong(actor(i.By)), plain(" invites "), strong(i.Human), plain(" to make a passkey.")},
		Facts: []NamedFact{
			{"Groups", listed(i.Groups), false}, {"Signatures", fmt.Sprintf("%d of %d: %s", len(i.Signed), i.Needs, listed(i.Signed)), false},
			{"Invited", clock(i.Created), false}, {"The code works until", clock(i.Expires), false},
		},
		Care: "Sign only if you know that " + i.Human + " is to join, and these words stood with the code that " + actor(i.By) + " got: ask. " +
			"Once admitted, " + i.Human + " can approve what these groups may approve.",
		Signs: signs, NotYours: "Nothing here waits for you.",
		Sign: Sign{Act: broker.ActAdmitHuman, Subject: i.Human, Digest: i.Digest(), Button: "Admit…"},
	}
	switch {
	case i.Passkey != nil:
		view.Sentence = []Word{strong(i.Human), plain(", who signed on as "), strong(i.Account), plain(", made a passkey here.")}
		view.Facts[2].Name, view.Facts[3].Name = "Made", "It waits until"
		view.Facts = append([]NamedFact{{"Passkey", i.Passkey.ID, true}}, view.Facts...)
		view.Alarm = true
		view.Care = "Call " + i.Human + " and have them read the words to you. If the words differ, or " + i.Human + " made no passkey, do not sign. " +
			"Once admitted, " + i.Human + " can approve what the groups below may approve."
	case i.Replaces:
		view.Sentence[1], view.Sentence[3] = plain(" says that "), plain(" lost all passkeys. A new one replaces them.")
		view.Sign.Button = "Replace " + i.Human + "'s passkeys…"
		view.Alarm = true
		view.Care = "Sign only if you know from " + i.Human + " in person that this is so, and these words stood with the code that " + actor(i.By) + " got: " +
			"whoever has the code can approve in their name."
	}
	if i.Instead != "" {
		view.Facts = append(view.Facts, NamedFact{"In place of an invite that waited", strings.TrimPrefix(i.Instead, string(broker.CallerHuman)+":"), false})
	}
	if !signs || i.State != broker.InviteInert {
		view.Alarm, view.Care = false, ""
	}
	if i.State != broker.InviteInert {
		view.Phrase, view.NotYours = "", ""
	}
	if i.State == broker.InviteUsable {
		view.NotYours = i.Human + " now types name and code in at /invite."
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
		Sign: Sign{Act: broker.ActLiftFreeze, Subject: f.ID(), Digest: f.Digest(), Button: "Lift the freeze…"},
	}
	until := "an operator lifts it"
	if !f.Until.IsZero() {
		until = clock(f.Until)
	}
	view.Facts = append(view.Facts, NamedFact{"Until", until, false})
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
	case by == string(broker.CallerSocket), by == "shell":
		return "somebody in the broker's own shell"
	case by == "single-sign-on":
		return "an account of the single sign-on"
	case by == "restore":
		return "restoring a backup"
	case by == "broker":
		return "the broker"
	}
	return by
}

func listed(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
