package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"github.com/hourkey/hourkey/broker/brokertest/freeport"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// installation is one broker with its folder, its two databases, its human and its agent.
type installation struct {
	testing.TB
	dir, binary, origin string
	environ             []string
	staging, production *database
	broker              *process
	alice               *softkey.Person
	agent               *agent
	vault               *vault
}

const (
	agentName = "claude-code"
	task      = "fix-orders-data"
	giving    = `gives: ["orders-db:public.orders:read,write"]`
	rw        = "orders-db:public.orders:read,write"
	rwd       = "orders-db:public.orders:read,write,delete"
)

const environmentFile = `protected: false
approval: {delete: 1, admin: 1, reviewers: [reviewers], owner_may_approve: true}
targets:
  orders-db:
    postgres: {dsn: env:%s_ADMIN_DSN, owner: %s}
`

const taskFile = `fix-orders-data:
  summary: Repair wrong rows of the orders service
  agents: [claude-code]
  environments: [staging, production]
  ` + giving + `
  with_approval: ["orders-db:public.orders:delete"]
  ttl: 30m
`

// install makes an installation the README's way and starts it: init, edit, serve, a passkey, targets
// confirmed, an agent enrolled and signed.
func install(tb testing.TB) *installation {
	tb.Helper()
	i := prepare(tb, shared.database(tb, "staging"), shared.database(tb, "production"))
	i.serve()
	i.people()
	return i
}

// prepare is install up to what starts.
func prepare(tb testing.TB, staging, production *database) *installation {
	tb.Helper()
	dir, err := os.MkdirTemp("", "hk") // short: the path of a socket has 108 bytes
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	i := &installation{TB: tb, dir: dir, staging: staging, production: production, binary: shared.hourkeyd(tb, ""), vault: newVault()}
	i.environ = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "STAGING_ADMIN_DSN=" + staging.dsn(), "PRODUCTION_ADMIN_DSN=" + production.dsn()}
	i.vault.keep("admin password", staging.password)
	i.vault.keep("admin password", production.password)
	i.must("init", "--human", "alice", dir)
	port := freePort(tb)
	i.origin = fmt.Sprintf("http://localhost:%d", port)
	i.edit("hourkey.yaml", "127.0.0.1:8750", fmt.Sprintf("127.0.0.1:%d", port))
	i.put("environments/staging.yaml", fmt.Sprintf(environmentFile, "STAGING", staging.owner))
	i.put("environments/production.yaml", fmt.Sprintf(environmentFile, "PRODUCTION", production.owner))
	i.put("policies/tasks/orders.yaml", taskFile)
	return i
}

func freePort(tb testing.TB) int {
	tb.Helper()
	port, err := freeport.Take()
	must(tb, err)
	return port
}

// people brings in alice, has her confirm what the targets are, and enrols the agent.
func (i *installation) people() {
	i.Helper()
	ctx := i.Context()
	i.alice = i.person("alice")
	for _, target := range []string{"staging/orders-db", "production/orders-db"} {
		eventually(i, func() error { // the broker asks the targets who they are in its own time
			_, err := i.alice.Approve(ctx, broker.ActConfirmTarget, "/targets/"+target, target)
			return err
		})
	}
	var added admin.AgentAdded
	must(i, i.ask(http.MethodPost, "/agents", admin.AgentToAdd{Name: agentName, Owner: "alice"}, &added))
	i.vault.keep("enrolment code", added.Code)
	i.agent = enrol(i, agentName, added.Code)
	_, err := i.alice.Approve(ctx, broker.ActActivateAgent, "/agents/"+agentName, agentName)
	must(i, err)
}

// person invites somebody, who makes a passkey.
func (i *installation) person(name string) *softkey.Person {
	i.Helper()
	var invited admin.Invited
	must(i, i.ask(http.MethodPost, "/humans", admin.HumanToInvite{Name: name}, &invited))
	i.vault.keep("invite code", invited.Code)
	person, err := softkey.NewPerson(i.origin, cookies{i.vault})
	must(i, err)
	must(i, person.Enrol(i.Context(), name, invited.Code))
	return person
}

// process is one run of the broker.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// launch starts the broker; nothing says yet that it will serve.
func (i *installation) launch(environ ...string) *process {
	i.Helper()
	log, err := os.OpenFile(i.path("service.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(i, err)
	defer log.Close()
	p := &process{command: i.command("serve"), ended: make(chan struct{})}
	p.command.Env = append(p.command.Env, environ...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that died
	must(i, p.command.Start())
	go func() { _ = p.command.Wait(); close(p.ended) }()
	i.Cleanup(p.kill)
	i.broker = p
	return p
}

// serve starts the broker and waits until it answers.
func (i *installation) serve(environ ...string) {
	i.Helper()
	if p := i.launch(environ...); !i.answers(p) {
		i.Fatalf("the broker ended:\n%s", i.log())
	}
}

// answers waits until the broker does, and tells whether it came to that.
func (i *installation) answers(p *process) bool {
	i.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if p.gone() {
			return false
		}
		if answer, err := http.Get(i.origin + api.PathHealth); err == nil {
			_ = answer.Body.Close()
			return true
		}
	}
	i.Fatalf("the broker does not answer:\n%s", i.log())
	return false
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// died tells whether the process ended within a time.
func (p *process) died(within time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// stop asks the broker to end, and waits for it.
func (i *installation) stop() {
	i.Helper()
	must(i, i.broker.command.Process.Signal(syscall.SIGTERM))
	if !i.broker.died(patience) {
		i.Fatalf("the broker does not stop:\n%s", i.log())
	}
}

func (i *installation) command(args ...string) *exec.Cmd {
	c := exec.Command(i.binary, args...)
	c.Dir, c.Env = i.dir, slices.Clone(i.environ)
	return c
}

// run runs hourkeyd to its end.
func (i *installation) run(args ...string) (out string, code int) {
	i.Helper()
	c := i.command(args...)
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	err := c.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		i.Fatalf("hourkeyd %v: %v", args, err)
	}
	return text.String(), c.ProcessState.ExitCode()
}

func (i *installation) must(args ...string) string {
	i.Helper()
	out, code := i.run(args...)
	if code != 0 {
		i.Fatalf("hourkeyd %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// ask makes a call to the admin socket.
func (i *installation) ask(method, path string, in, out any) error {
	client, err := admin.Dial(i.path("data"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return client.Call(ctx, method, path, in, out)
}

func (i *installation) status() (s admin.Status) {
	i.Helper()
	must(i, i.ask(http.MethodGet, "/status", nil, &s))
	return s
}

func (i *installation) leases(all bool) (leases []broker.Lease) {
	i.Helper()
	must(i, i.ask(http.MethodGet, fmt.Sprintf("/leases?all=%t", all), nil, &leases))
	return leases
}

func (i *installation) revoke(lease string) error {
	var done admin.Done
	return i.ask(http.MethodDelete, "/leases/"+lease, nil, &done)
}

func (i *installation) freeze(of broker.FreezeKind, name string) error {
	var done admin.Frozen
	return i.ask(http.MethodPost, "/freezes", admin.ToFreeze{Of: of, Name: name, Reason: "the test says so"}, &done)
}

// lift takes a freeze back, with alice's passkey: nobody else can. One that could not be written at first is
// there to be lifted when it is.
func (i *installation) lift(freeze string) {
	i.Helper()
	eventually(i, func() error {
		_, err := i.alice.Approve(i.Context(), broker.ActLiftFreeze, "/freezes/"+freeze, freeze)
		return err
	})
}

func (i *installation) approve(request string) {
	i.Helper()
	_, err := i.alice.Approve(i.Context(), broker.ActApprove, "/requests/"+request, request)
	must(i, err)
}

// prefix is what every role of this installation begins with.
func (i *installation) prefix() string { return "hk-" + i.status().Installation.ID + "-" }

// accounted compares PostgreSQL with the store: a role for each live lease, a live lease for each role,
// and nothing on its way.
func (i *installation) accounted(prefix string) error {
	var live []string
	for _, lease := range i.leases(false) {
		if lease.State != broker.LeaseLive {
			return fmt.Errorf("lease %s is %s", lease.ID, lease.State)
		}
		live = append(live, lease.Name)
	}
	slices.Sort(live)
	if roles := i.staging.roles(i, prefix); !slices.Equal(roles, live) {
		return fmt.Errorf("roles %v, live leases %v", roles, live)
	}
	return nil
}

func (i *installation) settled() {
	i.Helper()
	prefix := i.prefix()
	eventually(i, func() error { return i.accounted(prefix) })
}

// none is settled with nothing alive.
func (i *installation) none() {
	i.Helper()
	prefix := i.prefix()
	eventually(i, func() error {
		if roles := i.staging.roles(i, prefix); len(roles) > 0 {
			return fmt.Errorf("still there: %v", roles)
		}
		return i.accounted(prefix)
	})
}

func (i *installation) path(name string) string { return filepath.Join(i.dir, name) }

func (i *installation) log() string {
	text, _ := os.ReadFile(i.path("service.log"))
	return string(text)
}

func (i *installation) put(name, text string) {
	i.Helper()
	must(i, os.WriteFile(i.path(name), []byte(text), 0o600))
}

func (i *installation) edit(name, from, to string) {
	i.Helper()
	text, err := os.ReadFile(i.path(name))
	must(i, err)
	if !bytes.Contains(text, []byte(from)) {
		i.Fatalf("%s holds no %q", name, from)
	}
	must(i, os.WriteFile(i.path(name), bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600))
}

// vault remembers every secret that an installation gave out.
type vault struct {
	mu   sync.Mutex
	seen map[string]string // secret → what it is
}

func newVault() *vault { return &vault{seen: map[string]string{}} }

func (v *vault) keep(what, secret string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if secret == "" {
		return
	}
	v.seen[secret] = what
	if at := strings.LastIndexByte(secret, '.'); at > 0 && strings.HasPrefix(secret, "ey") {
		v.seen[secret[at+1:]] = what + "'s signature"
	}
	if strings.HasSuffix(what, "code") {
		v.seen[strings.ReplaceAll(secret, "-", "")] = what + " without dashes"
	}
}

// kinds counts them.
func (v *vault) kinds() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	kinds := map[string]int{}
	for _, what := range v.seen {
		kinds[what]++
	}
	return kinds
}

// cookies keeps the session cookies that the pages set.
type cookies struct{ vault *vault }

func (c cookies) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		for _, cookie := range answer.Cookies() {
			c.vault.keep("session cookie", cookie.Value)
		}
	}
	return answer, err
}
