package ui

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// What an alarm is about is read before anything that could be signed.
func TestAnAlarmComesBeforeTheFactsAndTheButton(t *testing.T) {
	for file, first := range map[string]string{
		"human-lost-keys": "in person", "human-signed-on": "Call frank and have them read the words", "target-changed": "not what was confirmed before",
	} {
		page := render(t, fixture(t, file))
		alarm, facts, button := strings.Index(page, first), strings.Index(page, "<dl>"), strings.Index(page, `class="sign"`)
		if alarm < 0 || alarm > facts || facts > button {
			t.Errorf("%s: the alarm is at %d, the facts at %d, the button at %d", file, alarm, facts, button)
		}
	}
}

// Whatever is frozen says so before anything else.
func TestAFrozenAgentIsFirstSaidToBeFrozen(t *testing.T) {
	for _, file := range []string{"agent-history", "agent-history-of-mine"} {
		_, main, _ := strings.Cut(render(t, fixture(t, file)), `<main id="main" tabindex="-1">`)
		if got := strings.TrimSpace(text(main)); !strings.HasPrefix(got, "Frozen until") {
			t.Errorf("%s begins with %.40q", file, got)
		}
	}
}

func TestWhoHasNothingToSignIsNotToldHow(t *testing.T) {
	now := fixtureTime()
	agent := fixtureAgent(now)
	if view := AgentOf(agent, false); view.Care != "" || view.NotYours != "Its owner, alice, activates it." {
		t.Errorf("of another's agent: %q, %q", view.Care, view.NotYours)
	}
	for state, want := range map[broker.AgentState]string{broker.AgentActive: "", broker.AgentRemoved: "", broker.AgentInvited: "Nothing here waits for you."} {
		agent.State = state
		if got := AgentOf(agent, false).NotYours; got != want {
			t.Errorf("an agent that is %s: %q", state, got)
		}
	}
	invite := fixtureInvite(now)
	invite.Passkey = &broker.Passkey{ID: "ZnJhbms"}
	for state, want := range map[broker.InviteState]string{broker.InviteUsable: "dave now types name and code in at /invite.", broker.InviteUsed: "", broker.InviteInert: "Nothing here waits for you."} {
		invite.State = state
		if view := InviteOf(invite, false); view.NotYours != want || view.Alarm || view.Care != "" || (view.Phrase != "") != (state == broker.InviteInert) {
			t.Errorf("an invite that is %s: %+v", state, view)
		}
	}
}
