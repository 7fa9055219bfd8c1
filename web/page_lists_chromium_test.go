package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// arrives is a team with alice in a Chromium, signed in, and the target confirmed.
func arrives(t *testing.T) (*tab, *team) {
	t.Helper()
	b, w := chromium(t), newTeam(t)
	code := w.invite("alice")
	w.learn()
	w.active("claude", "carol")
	b.do("enrolling", enrols(w, "alice", code), link("/targets/staging/db"), signs(), shows("Nothing waits for you"))
	return b, w
}

// collected asks for a key that the task gives, and collects it.
func (w *team) collected() broker.Lease {
	w.Helper()
	agent := broker.Caller{Kind: broker.CallerAgent, Name: "claude", Key: "thumb-of-claude"}
	request, err := w.broker.Submit(w.Context(), broker.Ask{
		Agent: agent.Name, AgentKey: agent.Key, Task: "fix", Environments: []string{"staging"}, Scopes: scopes(w, "db:public.orders:read"),
	})
	w.must(err)
	_, err = w.broker.Collect(w.Context(), agent, request.ID)
	w.must(err)
	leases, err := w.broker.Leases(w.Context(), agent, false)
	w.must(err)
	return leases[0]
}

func TestInChromiumALeaseIsEndedWithoutScript(t *testing.T) {
	b, w := arrives(t)
	w.issuer.Can.EndsEarly = true
	lease := w.collected()
	b.do("going there", scriptsOff(), goTo(w.origin+"/"), link("/leases"), shows("minutes left"))
	b.do("ending it", link("/leases/"+lease.ID+"/end"), shows("End this lease?"), tap(`main button.big`), shows("ended by alice"))
	if len(w.issuer.Live()) != 0 {
		t.Error("the key lives")
	}
	b.do("freezing the agent", link("/agents"), link("/agents/claude"), fill(`input[name=reason]`, "drill"), tap(`button[value=hour]`), shows("Frozen until"))
	b.do("adding an agent", link("/agents"), fill(`input[name=name]`, "ci/nightly"), fill(`input[name=owner]`, "alice"), tap(`main button`), shows("This page shows it only once."))
	if at := b.ask(`location.href`); at != w.origin+"/agents#add" {
		t.Errorf("the code is at %s", at)
	}
	copied := b.ask(`(() => { getSelection().selectAllChildren(document.querySelector(".exact")); return getSelection().toString() })()`)
	if want := "hourkey enroll " + w.origin + " --agent ci/nightly"; copied != want {
		t.Errorf("what is copied is %q, want %q", copied, want)
	}
	b.do("looking for requests", link("/requests"), tap(`details.filter summary`), fill(`input[name=agent]`, "nobody"), tap(`.filter button`), shows("No request like that."))
}

func TestInChromiumTheWayFromPageToPageIsForThumbs(t *testing.T) {
	b, server := chromium(t), gallery(t)
	b.do("looking", chromedp.EmulateViewport(360, 740), goTo(server.URL+"/requests-further"), visible(`main`))
	if small := b.ask(`[...document.querySelectorAll(".nav a, select, .pager a")].filter((e) => e.getBoundingClientRect().height < 44 || e.getBoundingClientRect().width < 44)
		.map((e) => e.outerHTML).join("\n")`); small != "" {
		t.Errorf("too small: %s", small)
	}
	if high := b.ask(`document.querySelector(".nav").getBoundingClientRect().height > 100 ? "it is too high" : ""`); high != "" {
		t.Error(high)
	}
}

func TestInChromiumTheInboxKeepsItselfFresh(t *testing.T) {
	b, w := arrives(t)
	b.do("waiting", goTo(w.origin+"/"), shows("Nothing waits for you"))
	request := w.ask("")
	b.do("seeing it come", shows("claude asks to"))
	w.must(w.broker.Reject(t.Context(), "bob", request.ID, request.Digest(), ""))
	b.do("seeing it go", shows("Nothing waits for you"))
}

// What is under a finger does not move: a request's page says that it is old, and offers nothing more to sign.
func TestInChromiumARequestThatIsDecidedElsewhereIsNotOffered(t *testing.T) {
	b, w := arrives(t)
	request := w.ask("")
	other, err := w.broker.Submit(t.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb-of-claude", Task: "fix", Environments: []string{"staging"}, Scopes: scopes(w, "db:public.orders:delete"),
	})
	w.must(err)
	b.do("reading", goTo(w.origin+"/requests/"+request.ID), visible(`form.sign > button`))
	before := b.ask(`document.querySelector("main").innerText`)
	w.must(w.broker.Reject(t.Context(), "bob", other.ID, other.Digest(), ""))
	b.do("hearing of another", chromedp.Sleep(time.Second))
	if bar := b.ask(`document.querySelector("[data-changed]").innerText`); bar != "" {
		t.Errorf("another request makes this page old: %s", bar)
	}
	w.must(w.broker.Reject(t.Context(), "bob", request.ID, request.Digest(), "no"))
	b.do("hearing of it", shows("This changed."))
	if shown := b.ask(`document.querySelector("form.sign").offsetParent ? "it is shown" : ""`); shown != "" {
		t.Error("it can still be signed")
	}
	if after := b.ask(`document.querySelector("main").innerText`); !strings.HasPrefix(before, strings.TrimSpace(after)[:40]) {
		t.Errorf("the page moved:\n%s", after)
	}
	b.do("looking again", tap(`[data-changed] a`), shows("Denied"))
}

func TestInChromiumNothingIsReplacedWhileSomebodyTypes(t *testing.T) {
	b, w := arrives(t)
	b.do("typing", goTo(w.origin+"/agents"), fill(`input[name=name]`, "ci/ni"))
	_, err := w.broker.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "other", "alice")
	w.must(err)
	b.do("hearing", shows("There is something new."))
	if typed := b.ask(`document.querySelector("input[name=name]").value`); typed != "ci/ni" {
		t.Errorf("the field has %q", typed)
	}
	b.do("looking", tap(`[data-changed] a`), shows("other for alice"))
}

func TestInChromiumAPageOfAnEndedSessionIsGone(t *testing.T) {
	b, w := arrives(t)
	request := w.ask("")
	b.do("reading", goTo(w.origin+"/requests/"+request.ID), shows("public.orders"))
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Scan("session", "", func(raw []byte) error { return tx.Delete(sessionOf(raw)) })
	}))
	w.ask("wakes the stream")
	b.do("being signed out", shows("Reviewing and approving needs your passkey"))
	if text := b.ask(`document.body.innerText`); strings.Contains(text, "public.orders") {
		t.Errorf("the page still shows: %s", text)
	}
}

func TestInChromiumTimesCountDown(t *testing.T) {
	b, w := arrives(t)
	w.collected()
	w.clock.Advance(9*time.Minute + 10*time.Second) // of ten
	b.do("looking", goTo(w.origin+"/leases"), shows("seconds left"))
	first := b.ask(`document.querySelector("time[data-until]").innerText`)
	b.do("waiting", until("it counts", fmt.Sprintf(`document.querySelector("time[data-until]").innerText !== %q`, first)))
}

func TestInChromiumYourPageRenamesAPasskey(t *testing.T) {
	b, w := arrives(t)
	b.do("renaming", link("/me"), tap(`.entries summary`), fill(`.entries input[name=name]`, "my phone"), tap(`.entries details button`), shows("my phone"))
	passkeys, err := w.broker.Passkeys(t.Context(), "alice")
	w.must(err)
	if passkeys[0].Name != "my phone" {
		t.Errorf("it is called %q", passkeys[0].Name)
	}
	if query := b.ask(`location.search`); query != "" {
		t.Errorf("the address has %s", url.PathEscape(query))
	}
}

func sessionOf(raw []byte) *authn.Session {
	session := &authn.Session{}
	if json.Unmarshal(raw, session) != nil {
		return &authn.Session{}
	}
	return session
}
