package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// leasesOfTwoOwners are one of claude, who works for alice, and one of gus-bot, who works for gus, who has no role.
func leasesOfTwoOwners(x *site) (ofAlice, ofGus string) {
	x.Helper()
	_, lease := x.live("staging")
	x.save(&broker.Agent{Name: "gus-bot", Owner: "gus", State: broker.AgentActive, Thumbprint: "gus-thumb"})
	x.save(&broker.Lease{
		ID: "gus-lease", Name: "hk-gus", Token: "its hash: nothing is to be ended elsewhere", Agent: "gus-bot", AgentKey: "gus-thumb", Owner: "gus", Environment: "staging", Target: "db", Binding: "staging/db/1",
		State: broker.LeaseLive, EndsEarly: true, Created: x.Clock.Now(), Expires: x.Clock.Now().Add(time.Minute),
	})
	return lease.ID, "gus-lease"
}

func revokePath(id string) string { return strings.Replace(api.PathLeaseRevoke, "{id}", id, 1) }

// The attack: somebody without a role, the owner of another agent, a reviewer, an auditor, or the agent itself ends
// what works for others; each learns no more than from a lease that is not there.
func TestLeaseIsEndedOverTheAPIByAStrangerOrAnothersOwner(t *testing.T) {
	x := newSite(t)
	ofAlice, ofGus := leasesOfTwoOwners(x)
	events := len(x.Store.Log())
	var told []string
	for name, who := range map[string]func(*http.Request){
		"nobody signed in": func(*http.Request) {}, "an agent": bearer(x.agent.token()), "an owner of another agent": x.signIn("gus"),
		"a reviewer": x.signIn("erin"), "an auditor": x.signIn("dora"), "a human without role or agent": x.signIn("frank"),
	} {
		t.Run(name, func(t *testing.T) {
			code := broker.CodeForbidden
			if name == "nobody signed in" {
				code = broker.CodeUnauthenticated
			}
			for _, id := range []string{ofAlice, "none"} {
				problem := x.do("POST", revokePath(id), "", who).wantProblem(code)
				told = append(told, strings.ReplaceAll(problem.Detail, id, "ID"))
			}
			if n := len(told); told[n-1] != told[n-2] {
				t.Errorf("of one that is there: %q; of one that is not: %q", told[n-2], told[n-1])
			}
		})
	}
	if len(x.Store.Log()) != events || len(x.Staging.Live()) != 1 {
		t.Error("something was ended, or recorded")
	}
	x.do("POST", revokePath(ofGus), "", x.signIn("erin")).wantProblem(broker.CodeForbidden)
}

// Whoever ends a lease on the page ends it over the API, and nobody else does: the rule is the broker's.
func TestLeaseIsEndedOverTheAPIByWhomeverThePageLetsEndIt(t *testing.T) {
	for human, want := range map[string][2]int{ // of alice's agent, of gus's agent
		"alice": {http.StatusNoContent, http.StatusNoContent}, // an operator
		"gus":   {http.StatusForbidden, http.StatusNoContent},
		"erin":  {http.StatusForbidden, http.StatusForbidden},
	} {
		t.Run(human, func(t *testing.T) {
			x := newSite(t)
			ofAlice, ofGus := leasesOfTwoOwners(x)
			who := x.as(human)
			for i, id := range []string{ofAlice, ofGus} {
				page := x.get(who, "/leases")
				if offered := strings.Contains(page.Body.String(), "/leases/"+id+"/end"); offered != (want[i] == http.StatusNoContent) {
					t.Errorf("the page offers to end %s: %t", id, offered)
				}
				x.do("POST", revokePath(id), "", who).want(want[i])
			}
		})
	}
}

// A browser sends the cookie by itself: an owner's, from another site, ends nothing.
func TestLeaseIsEndedOverTheAPIFromAnotherSite(t *testing.T) {
	x := newSite(t)
	_, ofGus := leasesOfTwoOwners(x)
	gus := x.signIn("gus")
	x.do("POST", revokePath(ofGus), "", gus, header("Origin", "https://evil.example")).wantProblem(broker.CodeForbidden)
	x.do("POST", revokePath(ofGus), "", gus, header("Sec-Fetch-Site", "cross-site")).wantProblem(broker.CodeForbidden)
	if lease := x.leases(gus); len(lease) != 1 || lease[0].ID != ofGus || lease[0].State != string(broker.LeaseLive) {
		t.Errorf("gus has %+v", lease)
	}
}

// Who may end leases over the API lists them there: the own agents' alone.
func TestOwnerListsTheOwnAgentsLeasesAloneOverTheAPI(t *testing.T) {
	x := newSite(t)
	ofAlice, ofGus := leasesOfTwoOwners(x)
	if list := x.leases(x.signIn("gus")); len(list) != 1 || list[0].ID != ofGus {
		t.Errorf("gus reads %+v", list)
	}
	if list := x.leases(x.signIn("frank")); len(list) != 0 {
		t.Errorf("a stranger reads %+v", list)
	}
	if list := x.leases(x.agentCaller()); len(list) != 1 || list[0].ID != ofAlice {
		t.Errorf("claude reads %+v", list)
	}
}

func (x *site) agentCaller() func(*http.Request) { return bearer(x.agent.token()) }

func (x *site) leases(who func(*http.Request)) []api.Lease {
	x.Helper()
	var list api.LeaseList
	x.do("GET", api.PathLeases, "", who).want(http.StatusOK).decode(&list)
	return list.Leases
}
