package ui

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// Who may see little is told that older requests were not looked at, and where they are.
func TestInboxSaysThatOlderRequestsWereNotLookedAt(t *testing.T) {
	for _, recent := range [][]broker.Request{nil, fixtureRecent(fixtureTime())} {
		view := InboxOf(broker.Inbox{}, recent, fixtureConfiguration(), fixtureTime())
		page := render(t, Fixture{Page: PageInbox, Frame: Frame{Human: "dora", View: view}})
		if strings.Contains(page, "older ones") {
			t.Error("it says so where nothing was left out")
		}
		view.RecentCut = true
		page = render(t, Fixture{Page: PageInbox, Frame: Frame{Human: "dora", View: view}})
		if !strings.Contains(page, "There may be older ones.") || !strings.Contains(page, `href="/requests"`) || !strings.Contains(page, "Decided before") {
			t.Errorf("with %d requests it does not say so", len(recent))
		}
	}
}
