package system

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
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
		eventually(g, 20*time.Second, func() error { // the broker asks the targets who they are in its own time
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

// rail is Railway: it can be listened to, and held up.
type rail struct {
	*railway.Server
	railway.World
	http *httptest.Server

	mu    sync.Mutex
	heard []heardCall
	holds []*hold
}

type heardCall struct{ header, body string }

// hold holds up the next call whose body has a text.
type hold struct {
	text    string
	drip    bool          // it is answered, without end
	arrived chan struct{} // closed when the call is there
	let     chan struct{} // closed by the test: go on
	gone    chan struct{} // closed when the caller went away
}

func newRail(tb testing.TB) *rail {
	r := &rail{Server: railway.New(railway.Config{Now: time.Now})}
	r.World = r.Seed()
	r.http = httptest.NewServer(r)
	tb.Cleanup(func() { r.http.CloseClientConnections(); r.http.Close() })
	return r
}

// ServeHTTP is http.Handler's.
func (r *rail) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	request.Body = io.NopCloser(bytes.NewReader(body))
	header, _ := json.Marshal(request.Header)
	r.mu.Lock()
	r.heard = append(r.heard, heardCall{string(header), string(body)})
	at := slices.IndexFunc(r.holds, func(h *hold) bool { return strings.Contains(string(body), h.text) })
	var held *hold
	if at >= 0 {
		held = r.holds[at]
		r.holds = slices.Delete(r.holds, at, at+1)
	}
	r.mu.Unlock()
	if held != nil && !held.wait(w, request) {
		return
	}
	r.Server.ServeHTTP(w, request)
}

// wait tells whether the call is to be done.
func (h *hold) wait(w http.ResponseWriter, request *http.Request) bool {
	close(h.arrived)
	if h.drip {
		w.Header().Set("Content-Type", "application/json")
		for request.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		close(h.gone)
		return false
	}
	select {
	case <-h.let:
		return true
	case <-request.Context().Done():
		close(h.gone)
		return false
	}
}

func (r *rail) hold(text string, drip bool) *hold {
	h := &hold{text: text, drip: drip, arrived: make(chan struct{}), let: make(chan struct{}), gone: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds = append(r.holds, h)
	return h
}

// times counts the calls that had a text.
func (r *rail) times(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range r.heard {
		if strings.Contains(call.body, text) {
			n++
		}
	}
	return n
}

// has tells whether a volume is there.
func (r *rail) has(volume string) bool { return slices.Contains(r.IDs("Volume"), volume) }

// value is a variable's as Railway has it.
func (r *rail) value(environment, name string) string {
	for _, record := range r.Snapshot().Records {
		if record.Kind == "Variable" && record.Name == name && slices.Contains(record.Environments, environment) {
			return strings.Trim(record.Fields["value"], `"`)
		}
	}
	return ""
}

// wire passes on what agents and people say to the broker, and remembers it.
type wire struct {
	port int
	mu   sync.Mutex
	text bytes.Buffer
}

func newWire(tb testing.TB, to string) *wire {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { _ = listener.Close() })
	w := &wire{port: listener.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go w.carry(from.(*net.TCPConn), to)
		}
	}()
	return w
}

func (w *wire) carry(from *net.TCPConn, to string) {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		_ = from.SetLinger(0) // nobody is there
		_ = from.Close()
		return
	}
	broker := conn.(*net.TCPConn)
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(broker, io.TeeReader(from, w)); _ = broker.CloseWrite() })
	both.Go(func() { _, _ = io.Copy(from, io.TeeReader(broker, w)); _ = from.CloseWrite() })
	both.Wait()
	_, _ = from.Close(), broker.Close()
}

// Write is io.Writer's.
func (w *wire) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(text)
}

// tokens gives what matched, each once, in the order in which it came.
func (w *wire) tokens(pattern string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, match := range regexp.MustCompile(pattern).FindAllString(w.text.String(), -1) {
		if !slices.Contains(all, match) {
			all = append(all, match)
		}
	}
	return all
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
	return c.result(c.start(command), 30*time.Second)
}

// start is run without waiting.
func (c *child) start(command string) (began time.Time) {
	c.Helper()
	if _, err := fmt.Fprintf(c.in, "{ %s\n} </dev/null 2>&1; status=$?; echo; echo \"%s$status\"\n", command, endOfCommand); err != nil {
		c.Fatalf("telling the shell: %v\n%s", err, c.said)
	}
	return time.Now()
}

func (c *child) result(_ time.Time, within time.Duration) (out string, status int) {
	c.Helper()
	late := time.After(within)
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

// serial numbers the files that bodies lie in.
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
	return "curl -sS -m 25 -H 'Content-Type: application/json' --data-binary @" + c.body(document) + " -w ' %{http_code}' " + forwardURL
}

// The documents of these tests.

func (r *rail) asksProject() string {
	return fmt.Sprintf(`{ project(id: %q) { name
		environments { edges { node { id name } } }
		services { edges { node { name serviceInstances { edges { node { environmentId } } } } } }
		volumes { edges { node { name volumeInstances { edges { node { environmentId state } } } } } } } }`, r.Shop)
}

func (r *rail) asksVariables(environment string) string {
	return fmt.Sprintf(`{ variables(projectId: %q, environmentId: %q, serviceId: %q) }`, r.Shop, environment, r.Web)
}

func (r *rail) sets(environment, name, value string) string {
	return fmt.Sprintf(`mutation { variableUpsert(input: {projectId: %q, environmentId: %q, serviceId: %q, name: %q, value: %q}) }`, r.Shop, environment, r.Web, name, value)
}

func (r *rail) unsets(environment, name string) string {
	return fmt.Sprintf(`mutation { variableDelete(input: {projectId: %q, environmentId: %q, serviceId: %q, name: %q}) }`, r.Shop, environment, r.Web, name)
}

func (r *rail) deletes(volume string) string {
	return fmt.Sprintf(`mutation { volumeDelete(volumeId: %q) }`, volume)
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

// within fails when a channel is not closed in time.
func within(tb testing.TB, limit time.Duration, what string, done <-chan struct{}) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		tb.Fatalf("%s: not within %s", what, limit)
	}
}
