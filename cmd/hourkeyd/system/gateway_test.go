package system

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
)

// gatehouse is an installation whose targets are behind the gateway: staging and production of a shop at a
// Railway that loses data. The agent is the real hourkey, with a user's home of its own; between it and the
// broker is a wire that is listened to.
type gatehouse struct {
	*installation
	rail    *rail
	wire    *wire
	home    string
	hourkey string
}

const gatewayTask = "fix-staging"

const gatewayTaskFile = gatewayTask + `:
  summary: Routine work on the shop
  agents: [claude-code]
  environments: [staging, production]
  gives:
    - railway:project/*:read
    - railway:environment/*:read
    - railway:service/*:read,write
    - railway:volume/*:read
  with_approval:
    - railway:volume/*:delete
    - railway:service/*:delete
  ttl: 30m
`

const gatewayEnvironmentFile = `protected: %t
approval: {delete: 1, admin: 1, reviewers: [reviewers], owner_may_approve: %t}
targets:
  railway:
    railway: {token: file:secrets/railway-token, project: shop, environment: %s, url: %q}
`

// installGateway is install with the gateway's targets, and an agent that was enrolled by hourkey itself.
func installGateway(tb testing.TB) *gatehouse {
	tb.Helper()
	needs(tb, "bash", "curl", "node", "openssl", "python3", "setpriv")
	dir, err := os.MkdirTemp("", "hk") // short: the path of a socket has 108 bytes
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	i := &installation{TB: tb, dir: dir, binary: shared.hourkeyd(tb, ""), vault: newVault(), environ: []string{"PATH=/usr/bin:/bin", "HOME=" + dir}}
	g := &gatehouse{installation: i, rail: newRail(tb), home: filepath.Join(dir, "home"), hourkey: shared.program(tb, "../../hourkey")}
	g.configure()
	i.serve()
	g.people()
	return g
}

// needs skips the test for want of a program where the agent's user finds programs.
func needs(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		if _, err := os.Stat("/usr/bin/" + name); err == nil {
			continue
		}
		hint := "no /usr/bin/" + name + " (Debian: apt-get install bash curl nodejs openssl python3 util-linux)"
		if os.Getenv("HOURKEY_TEST_ALL") == "1" {
			tb.Fatal(hint)
		}
		tb.Skip(hint)
	}
}

func (g *gatehouse) configure() {
	g.Helper()
	g.must("init", "--human", "alice", g.dir)
	listen := freePort(g)
	g.wire = newWire(g, fmt.Sprintf("127.0.0.1:%d", listen))
	g.origin = fmt.Sprintf("http://localhost:%d", g.wire.port)
	g.edit("hourkey.yaml", "listen: 127.0.0.1:8750", fmt.Sprintf("listen: 127.0.0.1:%d\norigin: %s", listen, g.origin))
	must(g, os.MkdirAll(g.path("secrets"), 0o700))
	g.put("secrets/railway-token", g.rail.AccountToken)
	g.put("environments/staging.yaml", fmt.Sprintf(gatewayEnvironmentFile, false, true, "staging", g.rail.http.URL))
	g.put("environments/production.yaml", fmt.Sprintf(gatewayEnvironmentFile, true, false, "production", g.rail.http.URL))
	g.put("policies/tasks/orders.yaml", gatewayTaskFile)
	must(g, os.MkdirAll(filepath.Join(g.home, "tmp"), 0o700))
}

// people is the installation's, but for whose targets and agent they are.
func (g *gatehouse) people() {
	g.Helper()
	g.alice = g.person("alice")
	for _, target := range []string{"staging/railway", "production/railway"} {
		eventually(g, func() error { // the broker asks the targets who they are in its own time
			_, err := g.alice.Approve(g.Context(), broker.ActConfirmTarget, "/targets/"+target, target)
			return err
		})
	}
	var added admin.AgentAdded
	must(g, g.ask(http.MethodPost, "/agents", admin.AgentToAdd{Name: agentName, Owner: "alice"}, &added))
	g.vault.keep("enrolment code", added.Code)
	enrol := g.agentCommand("enroll", g.origin, "--agent", agentName)
	enrol.Stdin = strings.NewReader(added.Code + "\n")
	if out, err := enrol.CombinedOutput(); err != nil {
		g.Fatalf("hourkey enroll: %v\n%s", err, out)
	}
	_, err := g.alice.Approve(g.Context(), broker.ActActivateAgent, "/agents/"+agentName, agentName)
	must(g, err)
}

// agentCommand is hourkey as the agent's user runs it.
func (g *gatehouse) agentCommand(args ...string) *exec.Cmd {
	c := exec.Command(g.hourkey, args...)
	c.Dir, c.Env = g.home, []string{"PATH=/usr/bin:/bin", "HOME=" + g.home, "TMPDIR=" + filepath.Join(g.home, "tmp"), "HOURKEY_TASK=" + gatewayTask}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that died
	return c
}

// program gives a binary of ours, built once.
func (m *machine) program(tb testing.TB, source string) string {
	tb.Helper()
	m.hourkeyd(tb, "") // makes the folder
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.binaries[source] != "" {
		return m.binaries[source]
	}
	path := filepath.Join(m.dir, filepath.Base(source))
	if out, err := exec.Command("go", "build", "-o", path, source).CombinedOutput(); err != nil {
		tb.Fatalf("building %s: %v\n%s", source, err, out)
	}
	m.binaries[source] = path
	return path
}

// leaseTokens are those that left the broker.
func (g *gatehouse) leaseTokens() []string { return g.wire.tokens(`hkt_[A-Za-z0-9_]{20,}`) }

// child is a shell under hourkey exec, which does what the test says.
type child struct {
	*gatehouse
	command *exec.Cmd
	in      io.WriteCloser
	lines   chan string
	said    *lockedText // stderr of hourkey exec
	ended   chan struct{}
}

type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// exec starts a shell in staging.
func (g *gatehouse) exec(args ...string) *child {
	g.Helper()
	if len(args) == 0 {
		args = []string{"--environment", "staging"}
	}
	c := &child{gatehouse: g, lines: make(chan string, 1024), said: &lockedText{}, ended: make(chan struct{})}
	c.command = g.agentCommand(append(append([]string{"exec"}, args...), "--", "/bin/bash")...)
	c.command.Stderr = c.said
	var err error
	c.in, err = c.command.StdinPipe()
	must(g, err)
	out, err := c.command.StdoutPipe()
	must(g, err)
	must(g, c.command.Start())
	go func() {
		defer close(c.lines)
		for reader := bufio.NewReader(out); ; {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- line
		}
	}()
	g.Cleanup(func() { _ = c.command.Process.Kill(); _, _ = c.end() })
	return c
}

const endOfCommand = "== the command ended with "

// run has the shell run a command, and gives what it printed on either channel.
func (c *child) run(command string) string {
	c.Helper()
	out, _ := c.try(command)
	return out
}

func (c *child) try(command string) (out string, status int) {
	c.Helper()
	c.start(command)
	return c.result()
}

// start is run without waiting.
func (c *child) start(command string) {
	c.Helper()
	if _, err := fmt.Fprintf(c.in, "{ %s\n} </dev/null 2>&1; status=$?; echo; echo \"%s$status\"\n", command, endOfCommand); err != nil {
		c.Fatalf("telling the shell: %v\n%s", err, c.said)
	}
}

func (c *child) result() (out string, status int) {
	c.Helper()
	late := time.After(2 * patience) // its own clients give up before
	for {
		select {
		case line, open := <-c.lines:
			if !open {
				c.Fatalf("hourkey exec ended:\n%s\n%s", out, c.said)
			}
			if text, ends := strings.CutPrefix(line, endOfCommand); ends {
				_, err := fmt.Sscan(text, &status)
				must(c, err)
				return out, status
			}
			out += line
		case <-late:
			c.Fatalf("the command hangs; so far:\n%s\n%s", out, c.said)
		}
	}
}

// end has the shell exit, and gives exec's exit code.
func (c *child) end() (code int, err error) {
	_ = c.in.Close()
	select {
	case <-c.ended:
	default:
		for range c.lines { // until nobody writes there any more
		}
		err = c.command.Wait()
		close(c.ended)
	}
	if _, is := errors.AsType[*exec.ExitError](err); is {
		err = nil
	}
	return c.command.ProcessState.ExitCode(), err
}

// body writes a request that asks for a document into a file.
func (c *child) body(document string) (file string) {
	c.Helper()
	text, err := json.Marshal(map[string]string{"query": document})
	must(c, err)
	f, err := os.CreateTemp(c.home, "body-*.json")
	must(c, err)
	defer f.Close()
	_, err = f.Write(text)
	must(c, err)
	return f.Name()
}

const forwardURL = "https://backboard.railway.com/graphql/v2"

// curl is the command that asks Railway by its own name.
func (c *child) curl(document string) string {
	c.Helper()
	return "curl -sS -m 60 -H 'Content-Type: application/json' --data-binary @" + c.body(document) + " -w ' %{http_code}' " + forwardURL
}

// events gives the log, in order, after it was verified.
func (g *gatehouse) events() (all []broker.Event) {
	g.Helper()
	name := "log-" + fmt.Sprint(time.Now().UnixNano()) + ".jsonl"
	g.must("audit", "export", g.path(name))
	g.must("audit", "verify", g.path(name))
	text, err := os.ReadFile(g.path(name))
	must(g, err)
	for line := range bytes.Lines(text) {
		var entry struct{ Event broker.Event }
		if json.Unmarshal(line, &entry) == nil && entry.Event.Type != "" {
			all = append(all, entry.Event)
		}
	}
	return all
}

// calls gives the gateway's events of one kind whose operation has a text.
func calls(events []broker.Event, kind broker.EventType, text string) (all []broker.CallEvent) {
	for _, event := range events {
		var data broker.CallEvent
		if event.Type == kind && json.Unmarshal(event.Data, &data) == nil && strings.Contains(data.Operation, text) {
			all = append(all, data)
		}
	}
	return all
}

// answersTo gives the events that say how calls came out.
func answersTo(events []broker.Event, passed []broker.CallEvent) []broker.CallEvent {
	return slices.DeleteFunc(calls(events, broker.EventCallAnswered, ""), func(answer broker.CallEvent) bool {
		return !slices.ContainsFunc(passed, func(call broker.CallEvent) bool { return call.Call == answer.Call })
	})
}

// within fails when a channel is not closed in time.
func within(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		tb.Fatalf("%s: not within %s", what, patience)
	}
}
