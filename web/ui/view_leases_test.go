package ui

import (
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// While a key may still work nothing says that it has ended, or that its time is over as if that were the end of it.
func TestALeaseThatMayStillWorkIsNotSaidToHaveEnded(t *testing.T) {
	for cause, want := range map[broker.Cause][2]string{ // while it is open, and once it has ended
		broker.CauseExpired:  {"its time is over", "its time was over"},
		broker.CauseReleased: {"the agent gives it back", "given back by the agent"},
		broker.CauseRevoked:  {"bob asked for its end", "ended by bob"},
		broker.CauseFrozen:   {"frozen by bob", "by a freeze of bob"},
		broker.CauseReplaced: {"the agent collected anew", "collected again by the agent"},
		broker.CauseFailed:   {"issuing failed", "issuing failed"},
		"":                   {"", ""},
	} {
		l := fixtureLease(fixtureTime())
		l.Cause, l.By = cause, "human:bob"
		for _, l.State = range []broker.LeaseState{broker.LeaseIssuing, broker.LeaseLive, broker.LeaseEnding, broker.LeaseStuck} {
			if got := leaseCause(l); got != want[0] {
				t.Errorf("%s, %s: %q, want %q", l.State, cause, got, want[0])
			}
		}
		l.State = broker.LeaseEnded
		if got := leaseCause(l); got != want[1] {
			t.Errorf("ended, %s: %q, want %q", cause, got, want[1])
		}
	}
}

func TestNoTimeIsLeftOfALeaseWhoseTimeIsOver(t *testing.T) {
	now := fixtureTime()
	for before, want := range map[time.Duration]string{time.Minute: "1 minute left", 0: "", -time.Minute: ""} {
		l := fixtureLease(now)
		l.State, l.Expires = broker.LeaseStuck, now.Add(before)
		if got := leaseRow(l, true, listConfiguration(), now); got.Until.Text != want || got.End == "" {
			t.Errorf("%s before its end: %q, it is ended at %q", before, got.Until.Text, got.End)
		}
	}
}

// The attack: a key that could not be ended hides behind pages of others.
func TestStuckLeasesAreCountedOverAllPages(t *testing.T) {
	now := fixtureTime()
	open := make([]broker.Lease, 120)
	for i := range open {
		open[i] = fixtureLease(now)
	}
	for stuck, want := range []string{"", "1 lease could not be ended and may still work.", "2 leases could not be ended and may still work."} {
		for i := range stuck {
			open[len(open)-1-i].State = broker.LeaseStuck
		}
		view := LeasesOf(open, nil, "", func(broker.Lease) bool { return true }, listConfiguration(), now)
		if view.Stuck != want || len(view.Open) == len(open) {
			t.Errorf("of %d it says %q", stuck, view.Stuck)
		}
	}
}

func TestALeaseNamesItsTargetOnce(t *testing.T) {
	l := fixtureLease(fixtureTime())
	l.Scopes = append(l.Scopes, broker.Scope{Target: "railway", Resource: "service/shop", Actions: broker.Read})
	row := leaseRow(l, false, listConfiguration(), fixtureTime())
	if row.Granted[0].Target != "" || row.Granted[1].Target != "railway" {
		t.Errorf("it names %q and %q", row.Granted[0].Target, row.Granted[1].Target)
	}
	if strings.Contains(text(render(t, fixture(t, "leases-of-mine"))), "at orders-db") {
		t.Error("the page names it twice")
	}
}
