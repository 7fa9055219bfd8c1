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
	c := Context{Human: "alice", Decides: true, Rejects: true}
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
	want := "claude-code asks to read and delete public.orders , public.order_items , public.order_notes and 1 more in staging ; to read public.imports in production , for 45 minutes , for task fix-orders-data , on behalf of carol ."
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
	if !regexp.MustCompile(`\d\d,\d{3} characters in [\d,]+ lines`).MatchString(page) || !strings.Contains(page, "Approve") {
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
		return broker.Request{State: state, Decided: now.Add(-before), Was: broker.RequestPending}
	}
	by := func(actor string, r broker.Request) broker.Request {
		r.ClosedBy = actor
		return r
	}
	passed := func(r broker.Request) broker.Request {
		r.Was = broker.RequestApproved
		return r
	}
	once := func(r broker.Request) broker.Request {
		r.Operation = &broker.Operation{}
		return r
	}
	outdated := by("broker", at(broker.RequestExpired, time.Minute))
	outdated.Verdict = "the configuration changed: ask again"
	bob := []broker.Approval{{Reviewer: "bob"}}
	two := []broker.Approval{{Reviewer: "alice"}, {Reviewer: "bob"}}
	for want, got := range map[string]string{
		"bob denied this 20 seconds ago (21 Nov 2026 02:39 UTC)":         Decided(at(broker.RequestDenied, 20*time.Second), "bob", nil, now),
		"This was denied 5 minutes ago (21 Nov 2026 02:35 UTC)":          Decided(at(broker.RequestDenied, 5*time.Minute), "", nil, now),
		"alice and bob approved this just now (21 Nov 2026 02:40 UTC)":   Decided(at(broker.RequestApproved, 0), "", two, now),
		"Policy alone allowed this 3 hours ago (20 Nov 2026 23:40 UTC)":  Decided(at(broker.RequestCollected, 3*time.Hour), "", nil, now),
		"This expired 2 hours ago (21 Nov 2026 00:39 UTC)":               Decided(at(broker.RequestExpired, 2*time.Hour+time.Minute), "", nil, now),
		"The agent withdrew this 90 seconds ago (21 Nov 2026 02:38 UTC)": Decided(by("agent:claude", at(broker.RequestCancelled, 90*time.Second)), "", nil, now),
		"This waits for a human":                                         Decided(broker.Request{State: broker.RequestPending}, "", nil, now),
		"bob denied this":                                                Decided(broker.Request{State: broker.RequestDenied}, "bob", nil, now),
		"bob denied this 18 Nov 2026 02:40 UTC":                          Decided(at(broker.RequestDenied, 72*time.Hour), "bob", nil, now),
		// Whoever ended it is named: not the agent for what an operator did, nor the humans for what the agent let lie.
		"carol ended this just now (21 Nov 2026 02:40 UTC)":                                                       Decided(by("human:carol", at(broker.RequestCancelled, 0)), "", nil, now),
		"Somebody in the broker's own shell ended this just now (21 Nov 2026 02:40 UTC)":                          Decided(by("shell", at(broker.RequestCancelled, 0)), "", nil, now),
		"The broker ended this 1 minute ago (21 Nov 2026 02:39 UTC)":                                              Decided(outdated, "", nil, now),
		"bob approved this 11 minutes ago (21 Nov 2026 02:29 UTC); it was not collected in time":                  Decided(passed(by("broker", at(broker.RequestExpired, 11*time.Minute))), "", bob, now),
		"bob approved this 12 minutes ago (21 Nov 2026 02:28 UTC); it was not used in time":                       Decided(once(passed(by("broker", at(broker.RequestExpired, 12*time.Minute)))), "", bob, now),
		"Policy alone allowed this 11 minutes ago (21 Nov 2026 02:29 UTC); it was not collected in time":          Decided(passed(by("broker", at(broker.RequestExpired, 11*time.Minute))), "", nil, now),
		"bob approved this 11 minutes ago (21 Nov 2026 02:29 UTC); carol ended it":                                Decided(passed(by("human:carol", at(broker.RequestCancelled, 11*time.Minute))), "", bob, now),
		"bob approved this 11 minutes ago (21 Nov 2026 02:29 UTC); the agent withdrew it":                         Decided(passed(by("agent:claude", at(broker.RequestCancelled, 11*time.Minute))), "", bob, now),
		"bob approved this 1 minute ago (21 Nov 2026 02:39 UTC); the broker ended it":                             Decided(passed(outdated), "", bob, now),
		"This agent: nothing was asked in the last 30 days.":                                                      tally("This agent", broker.Tally{}),
		"This agent: asked 5 times in the last 30 days, 5 refused by policy.":                                     tally("This agent", broker.Tally{Refused: 5}),
		"This task: asked 7 times in the last 30 days, 4 refused by policy, 1 denied, 2 allowed by policy alone.": tally("This task", broker.Tally{Asked: 3, Denied: 1, Allowed: 2, Refused: 4}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatWasTakenOutIsListed(t *testing.T) {
	page := text(render(t, fixture(t, "request-narrowed")))
	for _, want := range []string{"Less than was asked", "claude-code may read public.orders in staging , for 5 minutes ,", "What reviewers took out delete public.orders", "It was asked for 10 minutes"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestAnOwnersApprovalIsLabelled(t *testing.T) {
	need := func(environment string, humans int) broker.Need {
		return broker.Need{Environment: environment, Humans: humans}
	}
	for name, test := range map[string]struct {
		human string
		needs []broker.Need
		want  string
	}{
		"to the owner": {"carol", []broker.Need{need("preview", 1)}, "In preview, you may approve it, though you own this agent. Nobody else needs to look."},
		"to others":    {"alice", []broker.Need{need("preview", 1)}, "In preview, carol, who owns this agent, may approve it. Nobody else needs to look."},
		"one of two":   {"alice", []broker.Need{need("preview", 2)}, "In preview, carol, who owns this agent, may approve it. Others must sign too."},
		"half of it":   {"alice", []broker.Need{need("preview", 1), need("production", 1)}, "In preview, carol, who owns this agent, may approve it. Others must sign too."},
		"nowhere":      {"carol", []broker.Need{need("staging", 1)}, ""},
	} {
		r := fixtureRequest(fixtureTime())
		r.Needs = test.needs
		if got := oneHuman(r, test.human, fixtureConfiguration()); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if page := text(render(t, fixture(t, "request-pending"))); strings.Contains(page, "may approve it") {
		t.Error("the label stands where the owner does not count")
	}
}

func TestAnInboxSaysHowManyMoreWait(t *testing.T) {
	page := text(render(t, fixture(t, "inbox-many")))
	if want := "10,000 wait. These 50 could destroy the most."; !strings.Contains(page, want) {
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

// The attack: a signature is thought to be the last, or not to matter, and so is given lightly.
func TestTheButtonSaysWhatFollowsASignature(t *testing.T) {
	now := fixtureTime()
	both := fixtureOperation(now) // two humans in production, one in staging
	for name, test := range map[string]struct {
		request broker.Request
		signed  []broker.Approval
		want    string
	}{
		"one of one":        {fixtureRequest(now), nil, "Then the agent can collect it."},
		"the first of two":  {fixtureProduction(now), nil, "Then 1 more human must sign before the agent can collect it."},
		"the second of two": {fixtureProduction(now), []broker.Approval{signedFixture("bob", 0)}, "Then the agent can collect it."},
		"the first of both": {both, nil, "Then 1 more human must sign before the agent can make this one call."},
	} {
		c := Context{Human: "alice", Decides: true, Approvals: test.signed, Configuration: fixtureConfiguration(), Now: now}
		if got := then(test.request, c); !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The attack: a page of yesterday is read as one of now.
func TestASettledPageSaysWhatBecameOfIt(t *testing.T) {
	for file, want := range map[string][]string{
		"request-pending":   {"Why a human is asked", "Exactly what would be issued", "Asked 8 minutes ago (21 Nov 2026 02:32 UTC)"},
		"request-collected": {"Why a human was asked", "Exactly what was issued", "To end them sooner:"},
		"request-used":      {"Exactly what was called"},
		"request-expired":   {"Exactly what would have been issued", "Expired", "Nobody decided before 21 Nov 2026"},
		"request-cancelled": {"Exactly what would have been issued", "Withdrawn by the agent", "The agent withdrew this 20 seconds ago (21 Nov 2026 02:39 UTC)."},
		"request-ended":     {"Exactly what would have been issued", "Ended by carol", "carol ended this 20 seconds ago (21 Nov 2026 02:39 UTC)."},
		"request-outdated":  {"Ended by the broker", "The broker ended this 20 seconds ago (21 Nov 2026 02:39 UTC).", "The configuration changed: ask again."},
		"request-not-collected": {
			"Approved, but not collected in time", "bob approved this 11 minutes ago (21 Nov 2026 02:29 UTC); it was not collected in time.",
		},
	} {
		page := text(render(t, fixture(t, file)))
		for _, one := range want {
			if !strings.Contains(page, one) {
				t.Errorf("%s lacks %q", file, one)
			}
		}
		if file != "request-expired" && strings.Contains(page, "Nobody decided") || file != "request-cancelled" && strings.Contains(page, "withdrew") ||
			strings.Contains(page, "The reviewer's words") {
			t.Errorf("%s says what did not happen:\n%s", file, page)
		}
	}
}

// What nobody can sign says so, in place of that others will, and can still be denied.
func TestWhoeverCannotApproveReadsWhy(t *testing.T) {
	for file, want := range map[string]string{
		"request-stale":        "The configuration changed since this was asked: nobody can approve it any more. It ends by itself, and the agent may ask again. You can deny it.",
		"request-no-passkey":   "You have no passkey here. Make one: You, then Make a passkey. You can deny it.",
		"request-new-passkey":  "Your passkey is too new: it may sign from 22 Nov 2026 01:40 UTC on. Wait until then, or leave it to others. You can deny it.",
		"request-owner":        "You own claude-code: the environment does not let an agent's owner approve. Ask another reviewer. You can deny it.",
		"request-signed-by-me": "You signed this. It waits for others. Until then you can deny it.",
	} {
		page := html.UnescapeString(render(t, fixture(t, file)))
		if !strings.Contains(text(page), want) || strings.Contains(page, `data-ceremony="sign"`) || !strings.Contains(page, `/deny"`) {
			t.Errorf("%s does not say %q, offers to approve, or not to deny:\n%s", file, want, text(page))
		}
	}
	page := html.UnescapeString(render(t, fixture(t, "request-not-yours")))
	if !strings.Contains(page, "You are in no reviewer group") || strings.Contains(page, `/deny"`) {
		t.Errorf("a stranger reads:\n%s", text(page))
	}
}

// The attack: the sentence says delete, what would be issued does not, and the reviewer takes the sentence for a slip.
func TestWhatAWallGivesIsSaidAtTheThing(t *testing.T) {
	page := text(render(t, fixture(t, "request-weak-wall")))
	want := "delete counts too: nothing stops losing what a write replaces in s3/acme-staging-reports (the bucket is not versioned)"
	if at := strings.Index(page, want); at < 0 || at > strings.Index(page, "Exactly what would be issued") {
		t.Errorf("the page does not say %q before what would be issued:\n%s", want, page)
	}
}
