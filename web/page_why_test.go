package web

import (
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// An operator who cannot sign what operators sign reads why, and not that somebody else does.
func TestAnOperatorWhoCannotSignReadsWhy(t *testing.T) {
	w := settled(t)
	w.production()
	w.config.Targets[broker.TargetRef{Environment: "production", Target: "db"}] = broker.Target{
		Binding: "production/db", Issuer: &brokertest.Issuer{ID: "postgres:7441/orders", Can: broker.Capabilities{Kind: "memory"}, Tables: []string{"public.orders"}},
	}
	w.learn()
	if text, _ := w.reads(w.alice, "/targets/production/db"); strings.Contains(text, "An operator confirms it.") || !strings.Contains(text, "the same thing at the provider") {
		t.Errorf("of two targets that are one, the page says:\n%s", text)
	}
	w.clock.Advance(2 * time.Minute)
	w.invite("dora")
	w.clock.Advance(-time.Minute) // behind what was recorded
	if text, _ := w.reads(w.alice, "/humans/dora"); strings.Contains(text, "Nothing here waits for you") || !strings.Contains(text, "clock") {
		t.Errorf("with a clock that is behind, the page says:\n%s", text)
	}
}

// The attack on patience: a link on every page that leads to "Nothing waits for you".
func TestOnlyOperatorsAreSentToTheInboxForFreezes(t *testing.T) {
	w := settled(t)
	w.config.Groups["ops"] = []string{"alice"}
	w.config.Roles[broker.RoleOperator] = []string{"ops"}
	for _, f := range []broker.Freeze{{Of: broker.FreezeTask, Name: "fix"}, {Of: broker.FreezeEnvironment, Name: "staging"}} {
		_, err := w.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, f)
		w.must(err)
	}
	for name, want := range map[string]bool{"alice": true, "bob": false} {
		human := w.alice
		if name == "bob" {
			human = w.bob
		}
		_, page := w.reads(human, "/leases")
		_, aside, _ := strings.Cut(page, "<aside")
		aside, _, _ = strings.Cut(aside, "</aside>")
		if !strings.Contains(aside, "task fix") || strings.Contains(aside, `<a href="/">Look</a>`) != want {
			t.Errorf("%s is told:\n%s", name, aside)
		}
	}
}

func TestWhatPolicyAllowedIsNotSaidToBeAskedOfAHuman(t *testing.T) {
	w := settled(t)
	if text, _ := w.reads(w.bob, "/requests/"+w.collected().Request); !strings.Contains(text, "Why it was allowed") || strings.Contains(text, "Why a human") {
		t.Errorf("the page says:\n%s", text)
	}
}
