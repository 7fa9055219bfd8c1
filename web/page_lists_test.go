package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn"
)

// as is what a signed-in human's browser sends.
type as func(*http.Request)

// get opens a page.
func (x *site) get(who as, path string) *answer {
	x.Helper()
	return x.do("GET", path, "", who)
}

// post sends a form of one of our own pages.
func (x *site) post(who as, path string, form url.Values) *answer {
	x.Helper()
	return x.do("POST", path, form.Encode(), func(r *http.Request) {
		who(r)
		r.Header.Set("Origin", brokertest.Origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.ContentLength = int64(len(form.Encode()))
	})
}

// as signs a human in.
func (x *site) as(human string) as {
	x.Helper()
	return x.signIn(human)
}

// wants fails the test where the page lacks one of the texts.
func (a *answer) wants(texts ...string) *answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.Body.String(), text) {
			a.t.Errorf("%s lacks %q:\n%s", a.asked, text, a.Body)
		}
	}
	return a
}

// without fails the test where the page has one of the texts.
func (a *answer) without(texts ...string) *answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.Body.String(), text) {
			a.t.Errorf("%s has %q:\n%s", a.asked, text, a.Body)
		}
	}
	return a
}

func (x *site) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// live asks for a key in an environment, has it approved where that is wanted, and collects it.
func (x *site) live(environment string) (broker.Request, broker.Lease) {
	x.Helper()
	request := x.MustAsk(environment, "db:public.orders:read")
	x.MustCollect(request)
	leases, err := x.Leases(x.Context(), x.Agent, false)
	x.must(err)
	for _, lease := range leases {
		if lease.Request == request.ID {
			return request, lease
		}
	}
	x.Fatal("no lease")
	return request, broker.Lease{}
}

func TestAReviewerOfStagingSeesNothingOfProduction(t *testing.T) {
	x := newSite(t)
	erin := x.as("erin")
	staging, production := x.MustAsk("staging", "db:public.orders:delete"), x.MustAsk("production", "db:public.orders:delete")
	inStaging, stagingLease := x.live("staging")
	inProduction, productionLease := x.live("production")
	for _, path := range []string{"/requests", "/requests?environment=production", "/requests?agent=claude", "/requests?state=pending&environment=production", "/", "/leases"} {
		x.get(erin, path).want(http.StatusOK).without(production.ID, inProduction.ID, productionLease.ID)
	}
	x.get(erin, "/requests").wants(staging.ID, inStaging.ID)
	x.get(erin, "/leases").wants(inStaging.ID)
	x.get(erin, "/environments").want(http.StatusOK).wants("staging").without("production")
	for _, path := range []string{"/requests/" + production.ID, "/targets/production/db", "/agents/claude"} {
		x.get(erin, path).want(http.StatusNotFound).without("public.orders", "memory:production")
	}
	x.get(erin, "/agents").want(http.StatusOK).without("claude")
	x.get(erin, "/leases/"+stagingLease.ID+"/end").want(http.StatusForbidden)
	alice := x.as("alice")
	x.get(alice, "/requests").wants(staging.ID, production.ID)
	x.get(alice, "/leases").wants(inProduction.ID, stagingLease.ID)
	x.get(alice, "/environments").wants("staging", "production")
}

func TestAnOwnerWithoutARoleSeesTheOwnAgentsAlone(t *testing.T) {
	x := newSite(t)
	x.save(&broker.Agent{Name: "gus-bot", Owner: "gus", State: broker.AgentActive, Thumbprint: "gus-thumb"})
	gus := x.as("gus")
	request := x.MustAsk("staging", "db:public.orders:delete")
	own, err := x.Submit(t.Context(), broker.Ask{Agent: "gus-bot", AgentKey: "gus-thumb", Task: "fix", Environments: []string{"staging"}})
	x.must(err)
	_, err = x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude"})
	x.must(err)
	x.get(gus, "/requests").want(http.StatusOK).wants(own.ID).without(request.ID, "claude")
	x.get(gus, "/v1/requests").want(http.StatusOK).wants(own.ID).without(request.ID, "claude")
	x.get(gus, "/v1/requests/"+own.ID).want(http.StatusOK)
	x.get(gus, "/v1/requests/"+request.ID).want(http.StatusNotFound)
	x.get(gus, "/agents").want(http.StatusOK).wants("gus-bot").without("claude", "Add an agent")
	x.get(gus, "/agents/gus-bot").want(http.StatusOK).wants(own.ID).without("Freeze for an hour", "sure=remove")
	x.get(gus, "/agents/claude").want(http.StatusNotFound)
	for _, freeze := range []broker.Freeze{{Of: broker.FreezeAgent, Name: "gus-bot"}, {Of: broker.FreezeTask, Name: "fix"}} {
		_, err = x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, freeze)
		x.must(err)
	}
	x.get(gus, "/agents/gus-bot").want(http.StatusOK).wants("Frozen until an operator lifts it. <a href=\"/freezes/agent:gus-bot\"")
	x.get(gus, "/freezes/agent:gus-bot").want(http.StatusOK)
	x.get(gus, "/tasks").want(http.StatusOK).wants("Frozen until an operator lifts it.").without(`href="/freezes/task:fix"`)
	x.get(gus, "/freezes/task:fix").want(http.StatusNotFound)
	x.get(x.as("alice"), "/tasks").want(http.StatusOK).wants(`href="/freezes/task:fix"`)
	x.save(&broker.Lease{ID: "gus-lease", Agent: "gus-bot", Owner: "gus", Environment: "staging", Target: "db", State: broker.LeaseLive, EndsEarly: true, Expires: x.Clock.Now().Add(time.Minute)})
	x.get(gus, "/leases").want(http.StatusOK).wants("/leases/gus-lease/end")
	x.get(gus, "/leases/gus-lease/end").want(http.StatusOK).wants("End it now")
	x.get(gus, "/tasks").want(http.StatusOK).wants("gus-bot").without("claude")
	for _, path := range []string{"/environments", "/audit", "/people", "/people/alice/invite", "/freezes/agent:claude"} {
		if got := x.get(gus, path).Code; got != http.StatusForbidden && got != http.StatusNotFound {
			t.Errorf("%s answers %d", path, got)
		}
	}
	x.get(gus, "/").without(`href="/environments"`, `href="/audit"`, `href="/people"`).wants(`href="/requests"`, `href="/me"`)
}

func TestWhoIsNoOperatorAddsFreezesRemovesEndsAndInvitesNothing(t *testing.T) {
	x := newSite(t)
	_, lease := x.live("staging")
	for _, human := range []string{"erin", "dora", "gus"} { // a reviewer, an auditor, nobody
		who := x.as(human)
		events := len(x.Store.Log())
		x.post(who, "/agents", url.Values{"name": {"mine"}, "owner": {human}}).want(http.StatusForbidden)
		x.post(who, "/agents/claude", url.Values{"do": {"freeze"}, "for": {"hour"}}).want(http.StatusForbidden)
		x.post(who, "/agents/claude", url.Values{"do": {"remove"}}).want(http.StatusForbidden)
		x.post(who, "/leases/"+lease.ID+"/end", nil).want(http.StatusForbidden)
		x.post(who, "/people", url.Values{"name": {"mallory"}}).want(http.StatusForbidden)
		x.get(who, "/people").want(http.StatusForbidden)
		x.get(who, "/leases").without("/end")
		if got := len(x.Store.Log()); got != events {
			t.Errorf("%s made %d events", human, got-events)
		}
	}
	agent, err := x.Broker.Agent(t.Context(), "claude")
	x.must(err)
	if agent.State != broker.AgentActive || len(x.Staging.Live()) != 1 {
		t.Errorf("the agent is %s, %d keys live", agent.State, len(x.Staging.Live()))
	}
}

// A form of another site, and a link, change nothing: the gate of human.go stands before these pages too.
func TestListsChangeNothingForAnotherSiteOrByALink(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	_, lease := x.live("staging")
	events := len(x.Store.Log())
	for _, path := range []string{"/agents", "/agents/claude", "/leases/" + lease.ID + "/end", "/people", "/audit/export", "/me/sessions/end-others", "/me/passkeys/rename", "/me/sessions/end"} {
		for name, change := range map[string]func(*http.Request){
			"another origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.test") },
			"cross-site":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			"no Sec-Fetch-Site": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		} {
			form := url.Values{"do": {"remove"}, "name": {"mallory"}, "owner": {"alice"}}
			got := x.do("POST", path, form.Encode(), func(r *http.Request) {
				alice(r)
				r.Header.Set("Origin", brokertest.Origin)
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}, change)
			if got.Code != http.StatusForbidden {
				t.Errorf("%s from %s answers %d", path, name, got.Code)
			}
		}
	}
	for _, path := range []string{"/agents/claude?sure=remove", "/leases/" + lease.ID + "/end", "/people/mallory/invite", "/me", "/audit"} {
		x.get(alice, path)
	}
	if got := len(x.Store.Log()); got != events {
		t.Errorf("%d events", got-events)
	}
}

func TestAnOperatorEndsALeaseInTwoSteps(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	_, lease := x.live("staging")
	x.get(alice, "/leases").want(http.StatusOK).wants("/leases/"+lease.ID+"/end", "30 minutes left", "data-until")
	x.get(alice, "/leases/"+lease.ID+"/end").want(http.StatusOK).wants("End this lease?", lease.ID)
	if len(x.Staging.Live()) != 1 {
		t.Fatal("looking ended it")
	}
	if to := x.post(alice, "/leases/"+lease.ID+"/end", nil).want(http.StatusSeeOther).Header().Get("Location"); to != "/leases" {
		t.Errorf("it leads to %s", to)
	}
	if len(x.Staging.Live()) != 0 {
		t.Error("the key lives")
	}
	x.get(alice, "/leases").wants("Ended lately", "ended by alice")
	x.get(alice, "/leases/"+lease.ID+"/end").want(http.StatusNotFound).wants("has ended already")
	x.get(alice, "/leases/none/end").want(http.StatusNotFound)
}

func TestAProviderThatDoesNotConfirmTheEndIsToldOf(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	_, lease := x.live("staging")
	x.Staging.OnRevoke = func(string) error { return broker.Errorf(broker.CodeUnavailable, "no route to <b>host</b>") }
	x.post(alice, "/leases/"+lease.ID+"/end", nil).want(http.StatusServiceUnavailable).wants("did not confirm the end")
	x.get(alice, "/leases").wants("no route to &lt;b&gt;host&lt;/b&gt;", "Ending")
}

func TestAnAgentIsAddedFrozenAndRemovedOnItsPages(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	x.get(alice, "/agents").want(http.StatusOK).wants("claude", "Add an agent", "never asked")
	x.post(alice, "/agents", url.Values{"name": {"Bad <b>"}, "owner": {"bob"}}).want(http.StatusBadRequest).wants("Bad &lt;b&gt;", `value="bob"`)
	x.post(alice, "/agents", url.Values{"name": {"claude"}, "owner": {"bob"}}).want(http.StatusConflict).wants("belongs to alice")
	page := x.post(alice, "/agents", url.Values{"name": {"ci/nightly"}, "owner": {"bob"}}).want(http.StatusOK)
	if !strings.Contains(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page.Body.String(), ""), "hourkey enroll "+brokertest.Origin+" --agent ci/nightly") {
		t.Errorf("the command is not there as it is typed:\n%s", page.Body)
	}
	code := regexp.MustCompile(`[0-9a-z]{5}(-[0-9a-z]{5}){3}`).FindString(page.Body.String())
	if code == "" || page.Header().Get("Cache-Control") != "no-store" || page.Header().Get("Location") != "" {
		t.Fatalf("the code %q came with %v", code, page.Header())
	}
	x.get(alice, "/agents").wants("ci/nightly").without(code)
	x.get(alice, "/agents/ci/nightly").want(http.StatusOK).without(code)
	_, err := x.EnrolAgent(t.Context(), "ci/nightly", broker.NewSecret(code), []byte(`{}`), "thumb-2")
	x.must(err)
	if strings.Contains(x.log.String(), code) {
		t.Error("the code is in the log")
	}

	_, lease := x.live("staging")
	x.get(alice, "/agents/claude").wants(lease.Request, "Freeze for an hour", "asked")
	x.post(alice, "/agents/claude", url.Values{"do": {"freeze"}, "for": {"hour"}, "reason": {"strange <i>words</i>"}}).want(http.StatusSeeOther)
	x.get(alice, "/agents/claude").wants("Frozen until 24 Apr 2026 13:00 UTC", "/freezes/agent:claude")
	x.get(alice, "/agents").wants("Frozen until 24 Apr 2026 13:00 UTC")
	if len(x.Staging.Live()) != 0 {
		t.Error("the freeze ended nothing")
	}
	x.post(alice, "/agents/claude", url.Values{"do": {"freeze"}, "for": {"lifted"}}).want(http.StatusSeeOther)
	x.get(alice, "/agents/claude").wants("Frozen until an operator lifts it")
	x.get(alice, "/agents/claude?sure=remove").want(http.StatusOK).wants("Remove this agent?")
	x.post(alice, "/agents/claude", url.Values{"do": {"remove"}}).want(http.StatusSeeOther)
	x.get(alice, "/agents/claude").wants("Removed").without("Freeze for an hour")
	for _, form := range []url.Values{{"do": {"burn"}}, {"do": {"freeze"}, "for": {"ever"}}, {"do": {"freeze"}, "for": {"hour"}, "reason": {strings.Repeat("x", 2001)}}, {"do": {"freeze", "remove"}}, {"more": {"1"}}} {
		x.post(alice, "/agents/claude", form).want(http.StatusBadRequest)
	}
}

func TestEveryRequestIsOnExactlyOnePage(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	now := x.Clock.Now()
	for i := range 123 { // several of the same moment, too
		x.save(&broker.Request{
			ID: fmt.Sprintf("r%03d", i), Agent: []string{"claude", "ci/nightly"}[i%2], Owner: "alice", Environments: []string{"staging"},
			State: []broker.RequestState{broker.RequestDenied, broker.RequestCollected}[i%3/2], Created: now.Add(-time.Duration(i/4) * time.Minute),
		})
	}
	for query, want := range map[string]int{"": 123, "?agent=ci/nightly": 61, "?state=denied": 82, "?state=denied&agent=claude": 41, "?environment=production": 0} {
		seen := map[string]int{} // request → pages
		pages := 0
		for path := "/requests" + query; path != ""; pages++ {
			page := x.get(alice, path).want(http.StatusOK).Body.String()
			for _, found := range regexp.MustCompile(`href="/requests/(r\d+)"`).FindAllStringSubmatch(page, -1) {
				seen[found[1]]++
			}
			path = ""
			if next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page); next != nil {
				path, _, _ = strings.Cut(strings.ReplaceAll(next[1], "&amp;", "&"), "#") // a browser keeps the fragment to itself
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%q: %s is on %d pages", query, id, n)
			}
		}
		if len(seen) != want || pages != max(1, (want+49)/50) {
			t.Errorf("%q: %d requests on %d pages, want %d", query, len(seen), pages, want)
		}
	}
	for _, query := range []string{"?state=done", "?agent=Not%20one", "?environment=%3Cb%3E", "?before=x", "?before=-1-x", "?before=12", "?what=1", "?state=denied&state=denied"} {
		x.get(alice, "/requests"+query).want(http.StatusBadRequest)
	}
}

// Whoever may see little must not make the broker read everything for one page.
func TestALookForWhatIsNotThereIsBounded(t *testing.T) {
	x := newSite(t)
	now := x.Clock.Now()
	x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error {
		for i := range requestsLooked + 10 {
			if err := tx.Save(&broker.Request{ID: fmt.Sprintf("p%05d", i), Owner: "alice", Environments: []string{"production"}, Created: now.Add(-time.Duration(i) * time.Second)}); err != nil {
				return err
			}
		}
		return tx.Save(&broker.Request{ID: "mine", Owner: "alice", Environments: []string{"staging"}, Created: now.Add(-24 * time.Hour)})
	}))
	erin := x.as("erin")
	page := x.get(erin, "/requests").want(http.StatusOK).wants("Look further back", "Looked through 2,000 requests").without("/requests/mine", "/requests/p").Body.String()
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page)
	x.get(erin, next[1]).want(http.StatusOK).wants("/requests/mine").without("/requests/p", "Look further")
}

func TestASessionThatWasEndedElsewhereIsOutAtOnce(t *testing.T) {
	x := newSite(t)
	phone, laptop := x.as("alice"), x.as("alice")
	x.get(laptop, "/me").want(http.StatusOK).wants("this one", "End all others")
	x.post(phone, "/me/sessions/end-others", nil).want(http.StatusSeeOther)
	x.get(laptop, "/me").want(http.StatusUnauthorized)
	x.get(laptop, "/live?from=0").want(http.StatusUnauthorized)
	x.post(laptop, "/me/sessions/end-others", nil).want(http.StatusUnauthorized)
	x.get(phone, "/me").want(http.StatusOK).without("End all others")

	x.Clock.Advance(time.Second)
	tablet := x.as("alice")
	sessions, err := x.server.sessions.List(t.Context(), "alice")
	x.must(err)
	x.get(phone, "/me").wants(sessions[0].ID)
	x.post(phone, "/me/sessions/end", url.Values{"id": {sessions[0].ID}}).want(http.StatusSeeOther)
	x.get(tablet, "/me").want(http.StatusUnauthorized)
	x.post(phone, "/me/sessions/end", url.Values{"id": {sessions[1].ID}}).want(http.StatusSeeOther) // its own
	x.get(phone, "/me").want(http.StatusUnauthorized)
}

func TestAnotherHumansSessionCannotBeEnded(t *testing.T) {
	x := newSite(t)
	alice, bob := x.as("alice"), x.as("bob")
	sessions, err := x.server.sessions.List(t.Context(), "bob")
	x.must(err)
	for _, id := range []string{sessions[0].ID, sessions[0].Hash, "", "none"} {
		x.post(alice, "/me/sessions/end", url.Values{"id": {id}}).want(http.StatusNotFound)
	}
	x.post(alice, "/me/sessions/end-others", nil).want(http.StatusSeeOther)
	x.get(bob, "/me").want(http.StatusOK).wants("bob-key"[:3])
	x.get(alice, "/me").want(http.StatusOK).without(sessions[0].ID)
}

func TestAnotherHumansPasskeyIsNotRenamed(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	x.save(&broker.Passkey{ID: "bob-key", Human: "bob", Name: "bob's"})
	x.post(alice, "/me/passkeys/rename", url.Values{"id": {"bob-key"}, "name": {"mine now"}}).want(http.StatusNotFound)
	passkey, err := x.Passkey(t.Context(), "bob-key")
	x.must(err)
	if passkey.Name != "bob's" {
		t.Errorf("it is called %q", passkey.Name)
	}
	x.post(alice, "/me/passkeys/rename", url.Values{"id": {"alice-key"}, "name": {"phone \u202etxt"}}).want(http.StatusBadRequest)
	x.post(alice, "/me/passkeys/rename", url.Values{"id": {"alice-key"}, "name": {"phone"}}).want(http.StatusSeeOther)
	x.get(alice, "/me").wants("phone")
}

func TestPeopleAreInvitedOnTheirPageAndTheCodeIsShownOnce(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	x.get(alice, "/people").want(http.StatusOK).wants("alice", "bob", "erin", "dora", "Invite somebody")
	x.post(alice, "/people", url.Values{"name": {"No Name"}}).want(http.StatusBadRequest).wants(`value="No Name"`)
	x.get(alice, "/people/dave/invite").want(http.StatusOK).wants("Invite dave?")
	x.get(alice, "/people/bob/invite").want(http.StatusOK).wants("Did bob lose the passkeys?")
	x.get(alice, "/people/No%20Name/invite").want(http.StatusNotFound)
	page := x.post(alice, "/people", url.Values{"name": {"dave"}}).want(http.StatusOK).wants(brokertest.Origin + "/invite")
	code := regexp.MustCompile(`[0-9a-z]{5}(-[0-9a-z]{5}){3}`).FindString(page.Body.String())
	if code == "" || page.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("the code %q came with %v", code, page.Header())
	}
	x.get(alice, "/people").wants("dave", "Waits for", "/humans/dave").without(code)
	if strings.Contains(x.log.String(), code) {
		t.Error("the code is in the log")
	}
}

func TestEveryPageTellsOfNewPasskeysFreezesAndAStoreThatTakesNoWrites(t *testing.T) {
	x := newSite(t)
	bob := x.as("bob")
	x.get(bob, "/").without("New passkeys", "Frozen:", "takes no writes")
	x.save(&broker.Passkey{ID: "alice-2", Human: "alice", Further: true, Created: x.Clock.Now(), UsableFrom: x.Clock.Now().Add(24 * time.Hour)})
	_, err := x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeTask, Name: "fix"})
	x.must(err)
	for _, path := range []string{"/", "/requests", "/leases", "/agents", "/environments", "/tasks", "/me", "/people", "/requests/none"} {
		x.get(bob, path).wants("New passkeys:", "alice (just now, approves from 25 Apr 2026 12:00 UTC)", "Frozen:", "task fix")
	}
	x.do("GET", "/sign-in", "").without("New passkeys", "alice", "Frozen")
	x.as("gus")
	x.get(x.as("gus"), "/me").without("task fix") // nobody here: what others' work is frozen is not theirs
	x.Clock.Advance(2 * time.Minute)
	x.Store.Fail(http.ErrBodyNotAllowed)
	x.get(bob, "/").want(http.StatusOK) // the attempt to keep that the session was used
	x.get(bob, "/leases").want(http.StatusOK).wants("The store takes no writes.")
	x.Store.Fail(nil)
	x.Clock.Advance(2 * time.Minute)
	x.get(bob, "/")
	x.get(bob, "/").without("takes no writes")
	x.Clock.Advance(8 * 24 * time.Hour)
	x.get(x.as("bob"), "/").without("New passkeys")
}

func TestTheFirstPasskeyOfANewcomerIsNotAnnounced(t *testing.T) {
	x := newSite(t)
	bob := x.as("bob")
	now := x.Clock.Now()
	x.save(&broker.Human{Name: "nora", Created: now})
	x.save(&broker.Passkey{ID: "nora-key", Human: "nora", Created: now.Add(30 * time.Minute)})
	x.save(&broker.Human{Name: "olga", Created: now.Add(-400 * time.Hour)})
	x.save(&broker.Passkey{ID: "olga-key", Human: "olga", Further: true, Created: now}) // replaced lost ones
	x.save(&broker.WaitingPasskey{Passkey: broker.Passkey{ID: "pia-key", Human: "pia", Created: now}, Expires: now.Add(time.Hour)})
	x.get(bob, "/").without("nora").wants("olga (just now)", "pia (just now, not signed yet)")
}

func TestTheCurrentPageIsMarked(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	for path, marked := range map[string]string{"/": "/", "/requests": "/requests", "/requests/none": "/requests", "/agents/claude": "/agents", "/me": "/me", "/people": "/people"} {
		page := x.get(alice, path).Body.String()
		if n := strings.Count(page, `aria-current="page"`); n != 1 || !strings.Contains(page, `<a href="`+marked+`" aria-current="page">`) {
			t.Errorf("%s marks %d links, want %s", path, n, marked)
		}
	}
	x.do("GET", "/sign-in", "").without(`aria-label="Pages"`)
}

func TestTasksAndEnvironmentsShowWhatIsInForce(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	x.get(alice, "/environments").want(http.StatusOK).wants("staging.yaml:1", "Confirmed by bob", "memory", "An agent&#39;s owner never approves", "2 humans")
	x.get(alice, "/tasks").want(http.StatusOK).wants("fix", "claude", "for at most 30 minutes", "public.*")
	x.get(x.as("erin"), "/tasks").want(http.StatusOK).wants("fix")
}

// nobodys are tasks that no agent may ask for.
type nobodys struct{ *brokertest.Policy }

func (nobodys) Tasks(string) []broker.Task { return nil }

// A typing error in agents: takes a task away from everybody. Who reads policy sees that, and nobody else sees the task.
func TestATaskThatNobodyMayAskForIsShownAsSuch(t *testing.T) {
	x := newSite(t)
	x.Config.Configuration.Policy = nobodys{x.Policy}
	x.serve()
	for _, human := range []string{"alice", "dora", "erin"} { // an operator, an auditor, a reviewer
		x.get(x.as(human), "/tasks").want(http.StatusOK).wants("fix", "No agent may ask for this")
	}
	x.get(x.as("gus"), "/tasks").want(http.StatusOK).wants("No agent of yours may ask for anything.").without("fix")
	tasks := x.Policy.AllTasks()
	tasks[0].Environments = []string{"production"} // which erin does not review
	x.Config.Configuration.Policy = elsewhere{nobodys{x.Policy}, tasks}
	x.serve()
	x.get(x.as("alice"), "/tasks").want(http.StatusOK).wants("fix")
	x.get(x.as("erin"), "/tasks").want(http.StatusOK).wants("No task is configured for the environments that you review.").without("public.*")
}

type elsewhere struct {
	nobodys
	tasks []broker.Task
}

func (e elsewhere) AllTasks() []broker.Task { return e.tasks }

func TestASessionBySingleSignOnIsListedAsSuch(t *testing.T) {
	x := newSite(t)
	x.Config.Configuration.SignOn = &broker.SignOn{Issuer: "https://login.test", Groups: []string{"team"}}
	login, err := x.SignedOn(t.Context(), broker.Account{Issuer: "https://login.test", Subject: "1", Email: "hal@example.com", Name: "hal", Groups: []string{"team"}}, "")
	x.must(err)
	cookie, err := x.server.sessions.Begin(t.Context(), authn.Session{Human: login.Human, Via: authn.ViaSignOn, Issuer: login.Issuer, Subject: login.Subject, UserAgent: "Mozilla/5.0 (Android 15) Firefox/140.0"})
	x.must(err)
	hal := func(r *http.Request) { r.AddCookie(cookie) }
	x.get(hal, "/me").want(http.StatusOK).wants("single sign-on", "hal@example.com", "https://login.test", "by your single sign-on", "Firefox on Android", "You have none")
}

// An address that was mistyped, or an old link: a human reads a page, a program what the API says.
func TestABrowserAtAPathOfNobodyReadsAPage(t *testing.T) {
	x := newSite(t)
	x.get(x.as("alice"), "/nothing/here").want(http.StatusNotFound).wants(`"code":"not_found"`)
	browser := func(r *http.Request) { r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8") }
	x.do("GET", "/nothing/here", "", browser).want(http.StatusNotFound).wants("There is nothing at this path", "<!doctype html>")
}
