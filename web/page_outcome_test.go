package web

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// reads gives what the content of a page says to a human, and its markup.
func (w *team) reads(p *softkey.Person, path string) (text, page string) {
	w.Helper()
	page, _, err := p.Read(w.Context(), path)
	w.must(err)
	_, main, _ := strings.Cut(page, "<main")
	return strings.Join(strings.Fields(html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<main"+main, " "))), " "), page
}

func (w *team) wantsText(text string, words ...string) {
	w.Helper()
	for _, one := range words {
		if !strings.Contains(text, one) {
			w.Errorf("the page does not say %q:\n%s", one, text)
		}
	}
}

// reloads takes another configuration, the same but for its hash.
func (w *team) reloads(hash string) {
	w.Helper()
	next := *w.config
	next.Hash = hash
	w.must(w.broker.Reload(w.Context(), broker.Caller{Kind: broker.CallerSocket}, &next, nil))
}

// The attack: what nobody can sign any more looks like something that others decide, and keeps waiting.
func TestAReloadSaysWhyNothingCanBeApprovedAndLetsDeny(t *testing.T) {
	w := settled(t)
	staging := w.config.Environments["staging"]
	staging.Approval = map[broker.Actions]int{broker.Delete: 2, broker.Admin: 2}
	w.config.Environments["staging"] = staging
	first, second := w.askIn("staging"), w.waits("another-agent")
	w.must(w.alice.Sign(t.Context(), w.prepare(w.alice, first.ID))) // one of two
	w.reloads("config-2")
	for name, who := range map[string]*softkey.Person{"who signed": w.alice, "who did not": w.bob} {
		text, page := w.reads(who, "/requests/"+first.ID)
		w.wantsText(text, "Cannot be approved", "The configuration changed since this was asked: nobody can approve it any more.", "You can deny it.")
		if strings.Contains(page, `data-ceremony="sign"`) || strings.Contains(text, "waits for other") || !strings.Contains(page, `/deny"`) {
			t.Errorf("%s is offered to approve, or not to deny, or told that others will:\n%s", name, text)
		}
	}
	w.must(w.bob.Deny(t.Context(), first.ID, "ask again"))
	if got := w.state(first.ID); got != broker.RequestDenied {
		t.Errorf("the request is %s", got)
	}

	w.broker.Sweep(t.Context())
	text, page := w.reads(w.bob, "/requests/"+second.ID)
	w.wantsText(text, "Ended by the broker", "The broker ended this", "The configuration changed: ask again.")
	if strings.Contains(page, `/deny"`) || strings.Contains(text, "reviewer's words") {
		t.Errorf("what is over reads:\n%s", text)
	}
}

// Under a clock that is behind the log nothing is signed; that is no reason to keep from anybody why, nor to keep anybody
// from denying.
func TestAClockThatIsBehindSaysWhyNothingCanBeApprovedAndLetsDeny(t *testing.T) {
	w := settled(t)
	w.clock.Advance(2 * time.Minute)
	request := w.ask("")
	w.clock.Advance(-time.Minute)
	text, page := w.reads(w.alice, "/requests/"+request.ID)
	w.wantsText(text, "The broker's clock is behind its last event", "Ask the operator to set the clock.", "You can deny it.")
	if strings.Contains(page, `data-ceremony="sign"`) {
		t.Errorf("the page offers to approve:\n%s", text)
	}
	w.must(w.alice.Deny(t.Context(), request.ID, "not now"))
}

// An auditor reads the page: nobody is blamed for what somebody else did, or let lie.
func TestAPageSaysWhoEndedARequest(t *testing.T) {
	w := settled(t)
	approved := w.ask("")
	w.sign(w.alice, broker.ActApprove, "/requests/"+approved.ID, approved.ID)
	w.clock.Advance(broker.CollectFor + time.Second)
	w.broker.Sweep(t.Context())
	text, _ := w.reads(w.alice, "/requests/"+approved.ID)
	w.wantsText(text, "Approved, but not collected in time", "alice approved this 10 minutes ago", "; it was not collected in time.")

	caller := broker.Caller{Kind: broker.CallerAgent, Name: "claude", Key: "thumb-of-claude"}
	withdrawn := w.ask("")
	w.must(w.broker.Cancel(t.Context(), caller, withdrawn.ID))
	text, _ = w.reads(w.bob, "/requests/"+withdrawn.ID)
	w.wantsText(text, "Withdrawn by the agent", "The agent withdrew this just now")

	removed := w.ask("")
	w.must(w.broker.RemoveAgent(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "alice"}, "claude"))
	text, _ = w.reads(w.bob, "/requests/"+removed.ID)
	w.wantsText(text, "Ended by alice", "alice ended this just now")
	text, _, _ = strings.Cut(text, "Before this") // what went before has an end of its own
	if strings.Contains(text, "ithdrew") || strings.Contains(text, "ithdrawn") {
		t.Errorf("the agent is said to have withdrawn it:\n%s", text)
	}
}
