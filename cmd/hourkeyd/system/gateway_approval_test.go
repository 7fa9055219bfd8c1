package system

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

var askedPattern = regexp.MustCompile(`A human was asked: (\S+/requests/(\S+)) \(request (\S+?)\)`)

// asked gives the request for which an answer says that a human was asked, in the words that agents read.
func (g *gatehouse) asked(what, out string) (request string) {
	g.Helper()
	match := askedPattern.FindStringSubmatch(out)
	if match == nil || match[2] != match[3] || match[1] != g.origin+"/requests/"+match[2] {
		g.Fatalf("%s: nobody was asked: %s", what, out)
	}
	return match[2]
}

// waits is `hourkey wait`, in the background.
func (g *gatehouse) waits(request string) (ended chan struct{}, command *exec.Cmd) {
	g.Helper()
	command = g.agentCommand("wait", request)
	must(g, command.Start())
	ended = make(chan struct{})
	go func() { defer close(ended); _ = command.Wait() }()
	g.Cleanup(func() { _ = command.Process.Kill(); <-ended })
	return ended, command
}

// TestApprovedDeleteGoesThroughOnce: the way of a delete that nobody gave, from the refusal to the second try.
func TestApprovedDeleteGoesThroughOnce(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	before := g.rail.Snapshot()
	kill := c.curl(g.rail.deletes(g.rail.RenderCache))

	request := g.asked("the first try", c.run(kill))
	if again := g.asked("a try while a human thinks", c.run(kill)); again != request {
		t.Errorf("another request, %s: somebody is asked twice for the same thing", again)
	}
	page, _, err := g.alice.Read(t.Context(), "/requests/"+request)
	must(t, err)
	for _, want := range []string{"volumeDelete", g.rail.RenderCache, "render-cache", "staging", "delete"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	ended, wait := g.waits(request)
	select {
	case <-ended:
		t.Error("hourkey wait ends before a human decided")
	case <-time.After(300 * time.Millisecond):
	}
	g.approve(request)
	within(t, "hourkey wait", ended)
	if code := wait.ProcessState.ExitCode(); code != 0 {
		t.Errorf("hourkey wait: exit code %d", code)
	}
	if !g.rail.has(g.rail.RenderCache) || g.rail.times("mutation") > 0 {
		t.Error("Railway was told before the agent made its call")
	}

	if out := c.run(kill); !strings.Contains(out, `"volumeDelete":true`) || g.rail.has(g.rail.RenderCache) {
		t.Errorf("the approved call: %s; the volume is there: %t", out, g.rail.has(g.rail.RenderCache))
	}
	if out := c.run(kill); strings.Contains(out, "true") || g.rail.times("volumeDelete") != 1 {
		t.Errorf("a second time: %s; Railway heard it %d times", out, g.rail.times("volumeDelete"))
	}
	for _, effect := range railway.Compare(before, g.rail.Snapshot()) {
		for _, environment := range effect.Environments {
			if environment != g.rail.Staging {
				t.Errorf("it did more: %+v", effect)
			}
		}
	}
	g.logged(request)
}

// logged wants the use of an approval in the log, between its request and the answer, once.
func (g *gatehouse) logged(request string) {
	g.Helper()
	eventually(g, func() error { // the answer is written a moment later
		var order []string
		for _, event := range g.events() {
			if event.Subject == request {
				order = append(order, string(event.Type))
			}
			for _, kind := range []broker.EventType{broker.EventCallPassed, broker.EventCallAnswered} {
				for _, call := range calls([]broker.Event{event}, kind, "") {
					if call.Approval == request {
						order = append(order, strings.TrimSpace(string(kind)+" "+call.Outcome))
					}
				}
			}
		}
		got := strings.Join(order, ", ")
		if want := "hourkey.request.submitted, hourkey.request.approved, hourkey.call.passed, hourkey.call.answered 200"; got != want {
			return fmt.Errorf("the log has %s; want %s", got, want)
		}
		return nil
	})
}

// TestApprovalUsedForMore: what was approved is one call, through this lease or the next one of the task. The same call
// again, with another argument, or after somebody said no, is another question, or none.
func TestApprovalUsedForMore(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	remove := func(name string) string { return c.curl(g.rail.unsets(g.rail.Staging, name)) }
	sessions := g.asked("the first variable", c.run(remove("SESSION_KEY")))
	stripe := g.asked("the second variable", c.run(remove("STRIPE_KEY")))
	if sessions == stripe {
		t.Fatal("two questions are one request")
	}
	value := g.rail.value(g.rail.Staging, "STRIPE_KEY")
	g.approve(sessions)
	if out := c.run(remove("STRIPE_KEY")); g.asked("the one that was not approved", out) != stripe || g.rail.value(g.rail.Staging, "STRIPE_KEY") != value {
		t.Errorf("the approval of one let the other through: %s", out)
	}
	both := strings.TrimSuffix(g.rail.unsets(g.rail.Staging, "SESSION_KEY"), "}") + ` other: ` + strings.TrimPrefix(g.rail.unsets(g.rail.Staging, "STRIPE_KEY"), "mutation { ")
	if out := c.run(c.curl(both)); g.asked("both in one call", out) == sessions || g.rail.value(g.rail.Staging, "SESSION_KEY") == "" {
		t.Errorf("the approval of one let both through: %s", out)
	}
	if out := c.run(remove("SESSION_KEY")); !strings.Contains(out, `"variableDelete":true`) {
		t.Errorf("the approved call: %s", out)
	}
	c.run(c.curl(g.rail.sets(g.rail.Staging, "SESSION_KEY", "a new one")))
	if again := g.asked("the same once more", c.run(remove("SESSION_KEY"))); again == sessions || g.rail.value(g.rail.Staging, "SESSION_KEY") != "a new one" {
		t.Error("an approval was used twice")
	}

	must(t, g.alice.Deny(t.Context(), stripe, "not today"))
	if out := c.run(remove("STRIPE_KEY")); !strings.Contains(out, "a reviewer denied this: not today") || askedPattern.MatchString(out) {
		t.Errorf("after a no: %s", out)
	}
	unused := g.asked("one that waits for the next lease", c.run(remove("DATABASE_URL")))
	g.approve(unused)
	_, _ = c.end()
	c = g.exec()
	if out := c.run(remove("DATABASE_URL")); !strings.Contains(out, `"variableDelete":true`) {
		t.Errorf("the approved call, by the next lease: %s", out)
	}
	if out := c.run(remove("DATABASE_URL")); g.asked("once more, by the next lease", out) == unused {
		t.Error("an approval was used by two leases")
	}
}

// TestApprovedCallReachesMoreThanItDid: between the approval and the call, the volume comes to live in
// production as well. What was signed is not what would be done.
func TestApprovedCallReachesMoreThanItDid(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	kill := c.curl(g.rail.deletes(g.rail.RenderCache))
	request := g.asked("the first try", c.run(kill))
	g.approve(request)
	g.rail.Add("VolumeInstance", railway.Fields{
		"volumeId": g.rail.RenderCache, "environmentId": g.rail.Production, "mountPath": "/cache", "state": "READY", "currentSizeMB": 1.0, "sizeMB": 5000,
	})
	if out := c.run(kill); !strings.Contains(out, "lives in production") || !g.rail.has(g.rail.RenderCache) {
		t.Errorf("a volume that moved: %s", out)
	}
	if g.rail.times("volumeDelete") > 0 {
		t.Error("Railway was told")
	}
}
