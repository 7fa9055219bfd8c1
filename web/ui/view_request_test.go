package ui

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

// reviewed is the page of a request as a reviewer sees it who may approve it.
func reviewed(t *testing.T, r broker.Request, change ...func(*Context)) string {
	t.Helper()
	c := Context{Human: "alice", Decides: true}
	for _, each := range change {
		each(&c)
	}
	return html.UnescapeString(render(t, requestPage("", r, c)))
}

// text is what a page says, without its markup.
func text(page string) string {
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")), " ")
}

func fixture(t *testing.T, file string) Fixture {
	t.Helper()
	for _, f := range Fixtures() {
		if f.File == file {
			return f
		}
	}
	t.Fatalf("there is no fixture %s", file)
	return Fixture{}
}

func TestTheSentenceSaysWhatHappensWhere(t *testing.T) {
	page := text(render(t, fixture(t, "request-items")))
	want := "claude-code asks to read and delete public.orders , public.order_items , public.order_notes and 1 more in staging ; to read public.imports in production , for 45 minutes, for task fix-orders-data , on behalf of carol ."
	if !strings.Contains(page, want) {
		t.Errorf("the sentence is not %q in:\n%s", want, page)
	}
}

// The attack: an operation so long that what matters stands where a browser, or a human, gives up.
func TestWhatCannotBeShownWholeCannotBeApproved(t *testing.T) {
	now := fixtureTime()
	nameless := fixtureOperation(now)
	nameless.Operation.Text = ""
	empty := fixtureRequest(now)
	empty.Items[0].Description.Scopes = nil
	longName := fixtureRequest(now)
	longName.Items[0].Description.Scopes[0].Resource = broker.Resource(strings.Repeat("x", 1<<20))
	called := fixtureOperation(now)
	for id := range called.Operation.Names {
		called.Operation.Names[id] = broker.Resource(strings.Repeat("y", 1<<20))
	}
	for name, r := range map[string]broker.Request{
		"1 MB of an operation": fixtureLong(now, 1<<20), "1 MB in a name": longName, "1 MB in what people call it": called,
		"no text of the operation": nameless, "nothing that would be issued": empty,
	} {
		page := reviewed(t, r)
		if strings.Contains(page, `data-ceremony="sign"`) {
			t.Errorf("%s: the page offers to approve", name)
		}
		if !strings.Contains(page, "cannot be shown whole") || !strings.Contains(page, `action="/requests/`+r.ID+`/deny"`) {
			t.Errorf("%s: the page does not say why, or does not offer to deny", name)
		}
		if len(page) > 64<<10 {
			t.Errorf("%s: the page has %d bytes", name, len(page))
		}
	}
}

func TestALongOperationIsShownToItsEnd(t *testing.T) {
	r := fixtureLong(fixtureTime(), 64<<10)
	page := reviewed(t, r)
	for _, line := range r.Items[0].Description.Native {
		if !strings.Contains(page, strings.TrimSpace(line)) {
			t.Fatalf("%q is not on the page", line)
		}
	}
	if !regexp.MustCompile(`\d\d,\d{3} characters in \d+ lines`).MatchString(page) || !strings.Contains(page, "Approve") {
		t.Error("the page does not say how long it is, or offers no approval")
	}
}

// The attack: a name whose odd character stands where a list has cut it off.
func TestAnOddCharacterIsNamedWhereverTheNameIsCut(t *testing.T) {
	r := fixtureRequest(fixtureTime())
	r.Items[0].Description.Scopes[0].Resource = broker.Resource(strings.Repeat("orders-", 40) + "\u0440roduction")
	in := InboxOf(broker.Inbox{Requests: []broker.Request{r}, Waiting: 1}, nil, fixtureConfiguration(), fixtureTime())
	for name, page := range map[string]string{
		"the request": reviewed(t, r), "the inbox": render(t, Fixture{Page: PageInbox, Frame: Frame{Human: "alice", View: in}}),
	} {
		if !strings.Contains(html.UnescapeString(page), "not plain ASCII: р U+0440") {
			t.Errorf("%s does not name it", name)
		}
		if !strings.Contains(page, "290 characters") {
			t.Errorf("%s does not say that the name is cut", name)
		}
	}
}

// The attack: a harmless fact whose subject only resembles the thing, to be read as if it were about it.
func TestAFactStandsBelowExactlyItsThing(t *testing.T) {
	r := fixtureRequest(fixtureTime())
	r.Items[0].Facts = []broker.Fact{{About: "public.orders", Text: "412 MB"}, {About: "public.order", Text: "0 rows"}, {About: "public.orders ", Text: "empty"}}
	view := RequestOf(r, Context{Configuration: fixtureConfiguration(), Now: fixtureTime()})
	if got := view.Items[0].Scopes[0].Scopes[0].Facts; len(got) != 1 || got[0].Text != "412 MB" {
		t.Errorf("below the thing stands %v", got)
	}
	if got := view.Items[0].Facts; len(got) != 2 {
		t.Errorf("apart stands %v", got)
	}
}

func TestTheButtonNamesTheWorst(t *testing.T) {
	for actions, want := range map[broker.Actions]broker.Actions{
		broker.Read:                                 broker.Read,
		broker.Read | broker.Write:                  broker.Write,
		broker.Read | broker.Write | broker.Delete:  broker.Delete,
		broker.Delete | broker.Admin | broker.Write: broker.Delete | broker.Admin,
	} {
		if got := Worst(actions); got != want {
			t.Errorf("of %s it names %s", actions, got)
		}
	}
	if page := text(render(t, fixture(t, "request-pending"))); !strings.Contains(page, "Approve delete …") {
		t.Errorf("the button is not there:\n%s", page)
	}
}

func TestDenyStandsBeforeApprove(t *testing.T) {
	for _, f := range Fixtures() {
		page := render(t, f)
		approve := strings.Index(page, `data-act="approve-request"`)
		if deny := strings.Index(page, `/deny"`); approve >= 0 && (deny < 0 || deny > approve) {
			t.Errorf("%s offers to approve before it offers to deny", f.File)
		}
	}
}

func TestNarrowingOffersOnlyWhatIsLess(t *testing.T) {
	configuration, now := fixtureConfiguration(), fixtureTime()
	one := fixtureRequest(now)
	one.Items[0].Description.Scopes[0].Actions = broker.Delete
	one.TTL = time.Minute
	if n := narrowOf(one, configuration); n.Items != nil || n.TTLs != nil {
		t.Errorf("of one action for a minute it offers %+v", n)
	}
	n := narrowOf(fixtureItems(now), configuration)
	if !n.Several || len(n.Items) != 2 || len(n.Items[0].All) != 2 || n.Items[1].All != nil {
		t.Errorf("of two items it offers %+v", n)
	}
	if diff := cmp.Diff([]TTL{{1800, "30 minutes"}, {900, "15 minutes"}, {600, "10 minutes"}, {300, "5 minutes"}, {120, "2 minutes"}, {60, "1 minute"}}, n.TTLs); diff != "" {
		t.Error(diff)
	}
	if page := reviewed(t, fixtureOperation(now)); strings.Contains(page, "data-narrow") {
		t.Error("one operation can be narrowed")
	}
}

func TestWhereItMayDeleteTheNameOfAProtectedEnvironmentIsAskedFor(t *testing.T) {
	for file, want := range map[string]int{"request-pending": 0, "request-write": 0, "request-typed": 1, "request-operation": 1, "request-hostile": 2} {
		page := render(t, fixture(t, file))
		if got := strings.Count(page, "data-typed-in="); got != want {
			t.Errorf("%s asks for %d names, want %d", file, got, want)
		}
	}
}

// The attack on four eyes: the owner's signature, or a stranger's, is shown as one that counts.
func TestOnlySignaturesThatCountAreCounted(t *testing.T) {
	now := fixtureTime()
	need := broker.Need{Environment: "production", Humans: 2}
	for name, line := range map[string]struct {
		reviewers []string
		want      string
	}{
		"nobody":             {nil, "0 of 2 approvals, 2 missing"},
		"a reviewer":         {[]string{"bob"}, "1 of 2 approvals, 1 missing"},
		"the owner":          {[]string{"carol"}, "0 of 2 approvals, 2 missing"},
		"no reviewer":        {[]string{"mallory"}, "0 of 2 approvals, 2 missing"},
		"two reviewers":      {[]string{"alice", "bob"}, "2 of 2 approvals"},
		"reviewer and owner": {[]string{"bob", "carol"}, "1 of 2 approvals, 1 missing"},
	} {
		c := Context{Configuration: fixtureConfiguration(), Now: now}
		for _, reviewer := range line.reviewers {
			c.Approvals = append(c.Approvals, broker.Approval{Reviewer: reviewer, At: now})
		}
		if got := needOf(need, fixtureProduction(now), c); got.Text != line.want {
			t.Errorf("%s: %q, want %q", name, got.Text, line.want)
		}
	}
}

func TestHowARequestEndedIsSaidInOneSentence(t *testing.T) {
	now := fixtureTime()
	at := func(state broker.RequestState, before time.Duration) broker.Request {
		return broker.Request{State: state, Decided: now.Add(-before)}
	}
	two := []broker.Approval{{Reviewer: "alice"}, {Reviewer: "bob"}}
	for want, got := range map[string]string{
		"bob denied this 20 seconds ago":                     Decided(at(broker.RequestDenied, 20*time.Second), "bob", nil, now),
		"This was denied 5 minutes ago":                      Decided(at(broker.RequestDenied, 5*time.Minute), "", nil, now),
		"alice and bob approved this just now":               Decided(at(broker.RequestApproved, 0), "", two, now),
		"Policy alone allowed this 3 hours ago":              Decided(at(broker.RequestCollected, 3*time.Hour), "", nil, now),
		"This expired 2 hours ago":                           Decided(at(broker.RequestExpired, 2*time.Hour+time.Minute), "", nil, now),
		"The agent withdrew this 90 seconds ago":             Decided(at(broker.RequestCancelled, 90*time.Second), "", nil, now),
		"This waits for a human":                             Decided(broker.Request{State: broker.RequestPending}, "", nil, now),
		"bob denied this":                                    Decided(broker.Request{State: broker.RequestDenied}, "bob", nil, now),
		"bob denied this 18 Nov 2026 02:40 UTC":              Decided(at(broker.RequestDenied, 72*time.Hour), "bob", nil, now),
		"This agent: nothing was asked in the last 30 days.": tally("This agent", broker.Tally{}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatWasTakenOutIsListed(t *testing.T) {
	page := text(render(t, fixture(t, "request-narrowed")))
	for _, want := range []string{"Less than was asked", "claude-code may read public.orders in staging , for 5 minutes", "What reviewers took out delete public.orders", "It was asked for 10 minutes"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestAnOwnersApprovalIsLabelled(t *testing.T) {
	if page := text(render(t, fixture(t, "request-one-human"))); !strings.Contains(page, "carol, who owns this agent, may approve it alone") {
		t.Errorf("the label is missing:\n%s", page)
	}
	if page := text(render(t, fixture(t, "request-pending"))); strings.Contains(page, "may approve it alone") {
		t.Error("the label stands where the owner does not count")
	}
}

func TestAnInboxSaysHowManyMoreWait(t *testing.T) {
	page := text(render(t, fixture(t, "inbox-many")))
	if want := "10,000 wait. Here are the 50 that can lose the most; 9,950 more wait behind them."; !strings.Contains(page, want) {
		t.Errorf("the inbox lacks %q", want)
	}
	page = html.UnescapeString(text(render(t, fixture(t, "inbox"))))
	for _, want := range []string{"52 minutes left", "asked 5 times", "in production and staging", "not plain ASCII: а U+0430"} {
		if !strings.Contains(page, want) {
			t.Errorf("the inbox lacks %q:\n%s", want, page)
		}
	}
	if !regexp.MustCompile(`class="protected"><bdi dir="auto">production<`).MatchString(render(t, fixture(t, "inbox"))) {
		t.Error("a protected environment is not marked")
	}
}

func TestNumbersAndTimesInWords(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 65536: "65,536", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
	now := fixtureTime()
	for before, want := range map[time.Duration]string{
		-time.Minute: "just now", 20 * time.Second: "20 seconds ago", 119 * time.Minute: "119 minutes ago", 5 * time.Hour: "5 hours ago", 48 * time.Hour: "19 Nov 2026 02:40 UTC",
	} {
		if got := ago(now.Add(-before), now); got != want {
			t.Errorf("%s before now is %q", before, got)
		}
	}
}

// A page of fifty requests whose names are as long as providers let them be stays small enough for a phone.
func TestAnInboxOfLongNamesStaysSmall(t *testing.T) {
	in := fixtureFlood(fixtureTime())
	for i := range in.Requests {
		for j := range 5 {
			in.Requests[i].Items[0].Description.Scopes = append(in.Requests[i].Items[0].Description.Scopes, broker.Scope{
				Target: "orders-db", Resource: broker.Resource(fmt.Sprintf("%04d%s", j, strings.Repeat("\u0430", 10_000))), Actions: broker.Delete,
			})
		}
	}
	page := render(t, Fixture{Page: PageInbox, Frame: Frame{Human: "alice", View: InboxOf(in, nil, fixtureConfiguration(), fixtureTime())}})
	if len(page) > 256<<10 {
		t.Errorf("the inbox has %d bytes", len(page))
	}
}
