package web

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

var (
	hrefs    = regexp.MustCompile(`\shref="([^"]*)"`)
	previews = regexp.MustCompile(`(?i)(property|name)="(og:|twitter:|description|application-name)|rel="(alternate|prefetch|prerender|preload|preconnect|dns-prefetch|canonical)"|<script type="(application/ld\+json|speculationrules)"`)
)

// links gives the paths to which a page leads.
func links(page string) []string {
	var list []string
	for _, found := range hrefs.FindAllStringSubmatch(page, -1) {
		path, _, _ := strings.Cut(html.UnescapeString(found[1]), "#")
		if strings.HasPrefix(path, "/") {
			list = append(list, path)
		}
	}
	return list
}

// robot opens links as chat programs and mail gateways do.
func robot(w *team, cookie string) *thief {
	return &thief{team: w, cookie: cookie, edit: func(r *http.Request) {
		r.Header.Set("User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)")
		r.Header.Set("Sec-Fetch-Site", "none")
		r.Header.Set("Sec-Purpose", "prefetch;prerender")
		for _, name := range []string{"Origin", "Referer", "Sec-Fetch-User"} {
			r.Header.Del(name)
		}
	}}
}

// populated is a settled team with something on every page.
func populated(t *testing.T) (*team, broker.Request) {
	t.Helper()
	w := settled(t)
	w.config.Groups["auditors"] = []string{"alice"}
	w.config.Roles[broker.RoleAuditor] = []string{"auditors"}
	w.collected()
	denied := w.waits("denied-one")
	w.must(w.broker.Reject(t.Context(), "bob", denied.ID, denied.Digest(), "the words of bob"))
	_, _, err := w.broker.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "newcomer")
	w.must(err)
	for _, freeze := range []broker.Freeze{{Of: broker.FreezeTask, Name: "other", Reason: "drill"}, {Of: broker.FreezeAgent, Name: "claude", Reason: "drill"}} {
		_, err := w.broker.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, freeze)
		w.must(err)
	}
	return w, w.waits("waiting-one", func(a *broker.Ask) { a.Reason = "the words of the agent" })
}

// routesOf fills in every GET of both tables: what is there, and the same with names that nobody has.
func routesOf(w *team, request broker.Request) (there, nowhere []string) {
	lease := w.leaseID()
	fill := strings.NewReplacer(":id", "{id}", ":environment", "{environment}", ":target", "{target}", "/agents/*name", "/agents/{agent}", ":name", "{name}", "*id", "task:other", "{code}", "conflict")
	var paths []string
	for _, line := range pageTable() {
		if line.method == http.MethodGet && line.path != "/live" && line.path != "/assets/:name" {
			paths = append(paths, fill.Replace(line.path))
		}
	}
	for _, line := range table() {
		if line.method == http.MethodGet {
			paths = append(paths, fill.Replace(line.path))
		}
	}
	for _, path := range paths {
		id := request.ID
		if strings.Contains(path, "leases") {
			id = lease
		}
		there = append(there, strings.NewReplacer("{id}", id, "{environment}", "staging", "{target}", "db", "{agent}", "waiting-one", "{name}", "newcomer").Replace(path))
		nowhere = append(nowhere, strings.NewReplacer("{id}", strings.Repeat("0", 26), "{environment}", "elsewhere", "{target}", "dx", "{agent}", "nobody-here", "{name}", "nobodyx").Replace(strings.ReplaceAll(path, "task:other", "task:never")))
	}
	return there, nowhere
}

func (w *team) leaseID() string {
	w.Helper()
	leases, err := w.broker.Leases(w.Context(), broker.Caller{Kind: broker.CallerSocket}, true)
	w.must(err)
	return leases[0].ID
}

// TestALinkPreviewRobotOpensEveryLink: before sign-in nothing is told, not even what exists; with a session (the
// browser itself looks ahead) nothing changes. No page has anything for a preview.
func TestALinkPreviewRobotOpensEveryLink(t *testing.T) {
	w, request := populated(t)
	there, nowhere := routesOf(w, request)
	if len(there) < 30 {
		t.Fatalf("only %d routes", len(there))
	}
	secrets := []string{"claude", "waiting-one", "public.orders", "the words of", "newcomer", "alice", "bob", "carol", request.Digest(), w.leaseID(), request.Phrase(), "drill", w.broker.Installation().ID}
	open := map[string]bool{"/metrics": true} // loopback alone, and no page
	log, updates := len(w.store.Log()), w.store.Updates()

	t.Run("without a session", func(t *testing.T) {
		stranger := robot(w.in(t), "")
		for i, path := range there {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
				w.clock.Advance(1e8)
				status, body := stranger.send(method, path, "", "")
				elsewhere, other := stranger.send(method, nowhere[i], "", "")
				clean := func(text, path string) string {
					return callID.ReplaceAllString(strings.ReplaceAll(text, path, "PATH"), "CALL")
				}
				if public := strings.HasPrefix(path, "/t/"); !public && (status != elsewhere || clean(body, path) != clean(other, nowhere[i])) {
					t.Errorf("%s %s tells that it exists: %d %s\nand %d %s", method, path, status, body, elsewhere, other)
				}
				for _, secret := range secrets {
					if !open[path] && strings.Contains(strings.ReplaceAll(body, path, ""), secret) {
						t.Errorf("%s %s tells %q to strangers:\n%s", method, path, secret, body)
					}
				}
				if found := previews.FindString(body); found != "" {
					t.Errorf("%s has %q for previews", path, found)
				}
			}
		}
	})

	t.Run("with a session", func(t *testing.T) {
		browser := robot(w.in(t), w.cookieOf(w.alice))
		queue, seen := append([]string{"/"}, there...), map[string]int{}
		for len(queue) > 0 {
			path := queue[0]
			queue = queue[1:]
			if _, again := seen[path]; again {
				continue
			}
			w.clock.Advance(1e8)
			status, body := browser.send(http.MethodGet, path, "", "")
			seen[path] = status
			if status >= 500 || status == http.StatusTooManyRequests {
				t.Errorf("%s: %d %s", path, status, body)
			}
			if found := previews.FindString(body); found != "" {
				t.Errorf("%s has %q for previews", path, found)
			}
			queue = append(queue, links(body)...)
		}
		for _, want := range []string{"/requests/" + request.ID, "/leases/" + w.leaseID() + "/end", "/agents/claude?sure=remove", "/me/passkeys/new", "/audit", "/people/bob/invite", "/freezes/task:other"} {
			if seen[want] != http.StatusOK {
				t.Errorf("the robot did not come to %s: %d", want, seen[want])
			}
		}
		t.Logf("%d links were opened", len(seen))
	})

	if after := len(w.store.Log()); after != log {
		t.Errorf("%d events came of looking", after-log)
	}
	if after := w.store.Updates(); after != updates {
		t.Errorf("%d writes came of looking", after-updates)
	}
	w.wantUndecided(t, request.ID)
}

var callID = regexp.MustCompile(`urn:hourkey:call:[A-Z0-9]+-\d+`)

// TestALinkInAMessageCarriesNoAuthority: whoever has the address of a request has nothing; and a query, or a header, that
// looks like a decision is none.
func TestALinkInAMessageCarriesNoAuthority(t *testing.T) {
	w, request := populated(t)
	browser := robot(w, w.cookieOf(w.alice))
	before := len(w.store.Log())
	for _, query := range []string{
		"?digest=" + request.Digest(), "?act=approve-request", "?freeze=hour", "?_method=POST", "?words=x&digest=" + request.Digest(), "/deny", "/deny?digest=" + request.Digest(), "/approve",
	} {
		status, body := browser.send(http.MethodGet, "/requests/"+request.ID+query, "", "")
		if status != http.StatusOK && status != http.StatusNotFound && status != http.StatusBadRequest && status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %.200s", query, status, body)
		}
	}
	for _, path := range []string{"/agents/claude?do=remove", "/agents/claude?sure=remove", "/leases/" + w.leaseID() + "/end?sure=yes", "/sign-out", "/me/sessions/end-others", "/sign-in/sso/callback?state=x&code=y", "/sign-in/sso/callback"} {
		browser.send(http.MethodGet, path, "", "")
	}
	if after := len(w.store.Log()); after != before {
		t.Errorf("%d events came of links", after-before)
	}
	agent, err := w.broker.Agent(t.Context(), "claude")
	w.must(err)
	if agent.State != broker.AgentActive {
		t.Errorf("the agent is %s", agent.State)
	}
	w.wantUndecided(t, request.ID)
}
