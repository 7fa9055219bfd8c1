package system

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// key is the agent's, as enrolment left it.
func (g *gatehouse) key() ed25519.PrivateKey {
	g.Helper()
	files, err := filepath.Glob(filepath.Join(g.home, ".config/hourkey/*/agent.json"))
	must(g, err)
	text, err := os.ReadFile(files[0])
	must(g, err)
	var identity struct{ Seed []byte }
	must(g, json.Unmarshal(text, &identity))
	return ed25519.NewKeyFromSeed(identity.Seed)
}

// present opens a tunnel with a token and a key, past hourkey.
func (g *gatehouse) present(token string, key ed25519.PrivateKey, host string) error {
	g.Helper()
	client, err := api.NewClient(api.ClientConfig{Origin: g.origin, Agent: agentName, Key: key, Now: time.Now})
	must(g, err)
	stream, err := client.OpenTunnel(g.Context(), api.Tunnel{Token: api.NewSecret(token), Host: host, Plain: true})
	if err == nil {
		_ = stream.Close()
	}
	return err
}

func (g *gatehouse) refusedTunnel(what string, err error, code string) {
	g.Helper()
	if problem, ok := api.AsProblem(err); !ok || problem.Code != code {
		g.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// file waits for a file in the agent's home that has a text.
func (g *gatehouse) file(name string, texts ...string) string {
	g.Helper()
	var got string
	eventually(g, func() error {
		text, err := os.ReadFile(filepath.Join(g.home, name))
		got = string(text)
		if err == nil && !slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(got, t) }) {
			err = fmt.Errorf("%s has %q", name, got)
		}
		return err
	})
	return got
}

// TestTunnelOutlivesExec: a process that the command left behind holds a tunnel open; the token that was on
// the wire is presented by whoever has it, from elsewhere and for another host.
func TestTunnelOutlivesExec(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	c.run("setsid " + python(g) + " hold " + forwardURL + " >held 2>&1 & disown")
	g.file("held", "open")
	proxy := strings.TrimSpace(c.run(`printf %s "$HTTPS_PROXY"`))

	token, key := g.leaseTokens()[0], g.key()
	must(t, g.present(token, key, "backboard.railway.com"))
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	g.refusedTunnel("with another key", g.present(token, stranger, "backboard.railway.com"), api.CodeUnauthenticated)
	g.refusedTunnel("for another host", g.present(token, key, "bank.example"), api.CodeDenied)
	g.refusedTunnel("with a bit changed", g.present(token[:len(token)-1]+string(token[len(token)-1]^1), key, "backboard.railway.com"), api.CodeUnauthenticated)

	code, err := c.end()
	ended := time.Now()
	if code != 0 || err != nil {
		t.Errorf("exec: %d, %v\n%s", code, err, c.said)
	}
	g.file("held", "cut", "said b''")
	g.refusedTunnel("after the end", g.present(token, key, "backboard.railway.com"), api.CodeExpired)
	at, err := url.Parse(proxy)
	must(t, err)
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", "http://"+at.Host+"/").CombinedOutput(); err == nil && strings.Contains(string(out), "407") {
		t.Error("the forwarder listens after the end") // whoever else got its port since does not answer like that
	}
	if open := g.leases(false); len(open) > 0 {
		t.Errorf("%s after exec, leases are open: %+v", time.Since(ended), open)
	}
}

// background starts a command whose output and end are seen in files.
func (c *child) background(name, command string) {
	c.Helper()
	c.run(fmt.Sprintf("( %s >%s.out 2>&1; echo \"status $?\" >>%s.out; ) </dev/null & disown", command, name, name))
}

// TestFreezeCutsWhatIsUnderWay: a write that Railway has not answered yet, an answer that does not end, an
// upload that is still coming in: all are cut at once, and the next call is refused.
func TestFreezeCutsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for how, stop := range map[string]func(g *gatehouse) error{
		"freeze": func(g *gatehouse) error { return g.freeze(broker.FreezeEnvironment, "staging") },
		"revoke": func(g *gatehouse) error { return g.revoke(g.leases(false)[0].ID) },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			g := installGateway(t)
			g.cut(stop)
		})
	}
}

// soon is how long what is done at once may take on a machine that does much else. By themselves the callers would wait for a minute.
const soon = 20 * time.Second

func (g *gatehouse) cut(stop func(*gatehouse) error) {
	g.Helper()
	c := g.exec()
	write, answer := g.rail.hold("HELD_WRITE", false), g.rail.hold("HELD_ANSWER", true)
	c.background("write", c.curl(g.rail.sets(g.rail.Staging, "HELD_WRITE", "x")))
	within(g, "the write arrives", write.arrived)
	c.background("answer", c.curl(fmt.Sprintf("{ HELD_ANSWER: serviceInstance(environmentId: %q, serviceId: %q) { id } }", g.rail.Staging, g.rail.Web)))
	within(g, "the long answer begins", answer.arrived)
	c.background("upload", python(g)+" upload "+forwardURL)
	g.file("upload.out", "on its way")
	for _, name := range []string{"write", "answer", "upload"} {
		if text, _ := os.ReadFile(filepath.Join(g.home, name+".out")); strings.Contains(string(text), "status") {
			g.Fatalf("%s has ended before: %s", name, text)
		}
	}

	began := time.Now()
	must(g, stop(g))
	for _, name := range []string{"write", "answer", "upload"} {
		if out := g.file(name+".out", "status"); strings.Contains(out, "status 0") && !strings.Contains(out, `"errors":[`) {
			g.Errorf("%s: it seems to have worked: %s", name, out)
		}
	}
	within(g, "Railway sees that nobody waits for the write", write.gone)
	within(g, "Railway sees that nobody waits for the answer", answer.gone)
	took := time.Since(began)
	if g.Logf("all were cut after %s", took); took > soon {
		g.Errorf("all were cut after %s", took)
	}
	if out, status := c.try(c.curl(g.rail.asksProject())); status == 0 || strings.Contains(out, "shop") {
		g.Errorf("the next call: %d, %s", status, out)
	}
	eventually(g, func() error {
		events := g.events()
		passed := calls(events, broker.EventCallPassed, "HELD_WRITE")
		answered := answersTo(events, passed)
		if len(passed) != 1 || len(answered) != 1 || !strings.Contains(answered[0].Outcome, "outcome unknown") {
			return fmt.Errorf("the log says of the write: passed %+v, answered %+v", passed, answered)
		}
		return nil
	})
	if code, err := c.end(); err != nil || code != 0 { // the shell's own
		g.Errorf("exec: %d, %v", code, err)
	}
}

// TestKillNineDuringACall: the log has the write that was on its way, an approval that was used is used up,
// and the lease goes on where it was.
func TestKillNineDuringACall(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	kill := c.curl(g.rail.deletes(g.rail.RenderCache))
	request := g.asked("a delete", c.run(kill))
	g.approve(request)
	write, remove := g.rail.hold("HELD_WRITE", false), g.rail.hold("volumeDelete", false)
	c.background("write", c.curl(g.rail.sets(g.rail.Staging, "HELD_WRITE", "x")))
	within(t, "the write arrives", write.arrived)
	c.background("delete", kill)
	within(t, "the delete arrives", remove.arrived)
	lease := g.leases(false)[0]

	g.broker.kill()
	began := time.Now()
	for _, name := range []string{"write", "delete"} {
		if out := g.file(name+".out", "status"); strings.Contains(out, "status 0") && !strings.Contains(out, `"errors":[`) {
			t.Errorf("%s: it seems to have worked: %s", name, out)
		}
	}
	t.Logf("the callers knew after %s", time.Since(began))
	g.down(c)

	g.serve()
	if out := c.run(c.curl(g.rail.asksProject())); !strings.Contains(out, `"shop"`) {
		t.Errorf("the first call after the restart, with the same lease: %s", out)
	}
	if open := g.leases(false); len(open) != 1 || open[0].ID != lease.ID || open[0].State != broker.LeaseLive || !open[0].Expires.Equal(lease.Expires) {
		t.Errorf("the lease after the restart: %+v; before: %+v", open, lease)
	}
	if again := g.asked("the delete, once more", c.run(kill)); again == request || !g.rail.has(g.rail.RenderCache) {
		t.Error("an approval that was used before the crash was used once more")
	}
	if code, err := c.end(); code != 0 || err != nil {
		t.Errorf("exec: %d, %v\n%s", code, err, c.said)
	}
	g.orderOfTheLog(lease.ID, request)
}

// orderOfTheLog wants what happened to a lease in the order in which it happened.
func (g *gatehouse) orderOfTheLog(lease, request string) {
	g.Helper()
	var order []string
	for _, event := range g.events() {
		var call broker.CallEvent
		_ = json.Unmarshal(event.Data, &call)
		switch {
		case event.Type == broker.EventStarted:
			order = append(order, "started")
		case event.Type == broker.EventCallPassed && strings.Contains(call.Operation, "HELD_WRITE"):
			order = append(order, "write")
		case event.Type == broker.EventCallPassed && call.Approval == request:
			order = append(order, "delete")
		case event.Subject == lease && (event.Type == broker.EventLeaseIssued || event.Type == broker.EventLeaseEnded):
			order = append(order, strings.TrimPrefix(string(event.Type), "hourkey.lease."))
		case event.Type == broker.EventCallAnswered:
			order = append(order, "answered")
		}
	}
	if got, want := strings.Join(order, " "), "started issued write delete started ended"; got != want {
		g.Errorf("the log has %s; want %s", got, want)
	}
}

// down: while there is no broker, every client gets an error, and soon.
func (g *gatehouse) down(c *child) {
	g.Helper()
	for _, program := range clients() {
		began := time.Now()
		out, _ := c.try(program.command(g) + " " + program.url + " " + c.body(g.rail.asksProject()))
		if strings.Contains(out, "shop") || strings.TrimSpace(out) == "" {
			g.Errorf("%s, without a broker: %s", program.name, out)
		}
		if took := time.Since(began); took > soon {
			g.Errorf("%s, without a broker, ends after %s", program.name, took)
		}
	}
}

// TestBrokerIsGoneAtTheEnd: exec says that it could not release, and ends.
func TestBrokerIsGoneAtTheEnd(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	c.run("true")
	g.broker.kill()
	began := time.Now()
	code, err := c.end()
	if took := time.Since(began); took > 2*patience || code != 0 || err != nil {
		t.Errorf("exec ends after %s with %d, %v", took, code, err)
	}
	t.Logf("exec ended after %s: %s", time.Since(began), c.said)
	if !strings.Contains(c.said.String(), "could not be released, it ends by itself at") {
		t.Errorf("it does not say so: %s", c.said)
	}
	token, key := g.leaseTokens()[0], g.key()
	if err := g.present(token, key, "backboard.railway.com"); err == nil || errors.Is(err, t.Context().Err()) {
		t.Errorf("without a broker, a tunnel opens: %v", err)
	}
}

// TestCallInTheFirstSecondAfterAStart: proofs from before the start are refused, and those after it are not.
func TestCallInTheFirstSecondAfterAStart(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	ask := c.curl(g.rail.asksProject())
	for n := range 3 {
		g.broker.kill()
		g.serve()
		if out := c.run(ask); !strings.Contains(out, `"shop"`) {
			t.Fatalf("restart %d: %s\n%s", n, out, c.said)
		}
	}
}
