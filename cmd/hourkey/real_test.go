package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web"
)

// realBroker is the broker's own HTTP side over a real domain, with an issuer that lives in memory.
type realBroker struct {
	*brokertest.World
	url     string
	environ []string
}

func newRealBroker(t *testing.T) *realBroker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	r := &realBroker{url: "http://localhost:" + port}
	r.World = brokertest.NewWorld(t, func(c *broker.Config) { c.Origin = r.url })
	r.Clock.Advance(time.Since(r.Clock.Now())) // the program signs with the time of day
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server, err := web.New(web.Config{Broker: r.Broker, Store: r.Store, Origin: r.url, AccessKey: key, Now: r.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	site := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}}
	site.Start()
	t.Cleanup(site.Close)
	home := t.TempDir()
	r.environ = append(os.Environ(), "BE=hourkey", "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "c"), "HOURKEY_TASK=fix", "HOURKEY_ENVIRONMENT=staging")
	return r
}

// enrol adds an agent, enrols it with the real program, and has its owner sign its key.
func (r *realBroker) enrol() {
	r.Helper()
	code, err := r.AddAgent(r.Context(), broker.Caller{Kind: broker.CallerSocket}, "cli", "alice")
	if err != nil {
		r.Fatal(err)
	}
	enroll := hourkey(r.environ, "enroll", r.url, "--agent", "cli")
	enroll.Stdin = strings.NewReader(code.Reveal() + "\n")
	if text, err := enroll.CombinedOutput(); err != nil {
		r.Fatalf("%v\n%s", err, text)
	}
	if text, code := r.hourkey("tasks"); code != exitDenied || !strings.Contains(text, "hint: ask alice to compare the key") {
		r.Errorf("an agent that nobody signed: exit code %d, %s", code, text)
	}
	r.SignAs("alice", broker.ActActivateAgent, "cli")
}

// hourkey runs the real program to its end.
func (r *realBroker) hourkey(args ...string) (string, int) {
	r.Helper()
	command := hourkey(r.environ, args...)
	text, _ := command.CombinedOutput()
	return string(text), command.ProcessState.ExitCode()
}

func TestAgainstTheRealBroker(t *testing.T) {
	r := newRealBroker(t)
	r.enrol()
	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"tasks"}, 0, "db:public.*:read,write"},
		{[]string{"exec", "--", "sh", "-c", "echo got $TOKEN"}, 0, "got secret-of-hk-"},
		{[]string{"exec", "--", "false"}, 1, "hint: this lease covers db:public.customers:read,write db:public.orders:read,write in staging"},
		{[]string{"credential", "env"}, 0, "export TOKEN='secret-of-hk-"},
		{[]string{"leases"}, 0, "live"},
		{[]string{"request", "--scope", "db:public.orders:admin"}, 3, "rule: fix.yaml:1: fix:"},
		{[]string{"request", "--scope", "db"}, 1, "expected target:resource:actions"},
		{[]string{"request", "--task", "other"}, 3, "no task other"},
		{[]string{"request", "--scope", "db:public.orders:delete"}, 4, "Approve at: " + r.url + "/"},
		{[]string{"wait", "nonesuch"}, 1, "error:"},
		{[]string{"requests"}, 0, "pending"},
	} {
		if text, code := r.hourkey(step.args...); code != step.code || !strings.Contains(text, step.says) {
			t.Errorf("hourkey %s: exit code %d, want %d and %q in:\n%s", strings.Join(step.args, " "), code, step.code, step.says, text)
		}
	}
	if live := r.Staging.Live(); len(live) != 1 {
		t.Errorf("alive at the provider: %v; want the one of credential env", live)
	}
}

func TestRealApprovalEndsTheWaiting(t *testing.T) {
	r := newRealBroker(t)
	r.enrol()
	command, said := running(t, r.environ, "exec", "--scope", "db:public.orders:delete", "--", "sh", "-c", "echo got $TOKEN")
	said.await(t, "Approve at:")
	_, after, _ := strings.Cut(said.String(), "hourkey: request ")
	id, _, _ := strings.Cut(after, " ")
	r.SignAs("bob", broker.ActApprove, id)
	if code := ends(t, command); code != 0 || !strings.Contains(said.String(), "got secret-of-hk-") {
		t.Errorf("exit code %d, output %s", code, said)
	}
	if live := r.Staging.Live(); len(live) != 0 {
		t.Errorf("alive at the provider: %v", live)
	}
}

// The phrase in the terminal is the page's; what a reviewer takes away is said, and the next asking is another request.
func TestRealReviewerNarrows(t *testing.T) {
	r := newRealBroker(t)
	r.enrol()
	ask := []string{"request", "--scope", "db:public.orders:read,delete", "--ttl", "10m"}
	text, code := r.hourkey(ask...)
	id, _, _ := strings.Cut(text, "\n")
	request, err := r.Request(r.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	if err != nil || code != exitPending || !strings.Contains(text, "hourkey: phrase: "+request.Phrase()+" (") {
		t.Fatalf("%v, exit code %d, no %s in\n%s", err, code, request.Phrase(), text)
	}
	if text, _ := r.hourkey(ask...); !strings.HasPrefix(text, id) || !strings.Contains(text, "the same was asked 2 times") {
		t.Errorf("asked again:\n%s", text)
	}
	narrowing := &broker.Narrowing{TTL: 5 * time.Minute, Items: []broker.NarrowedItem{{Environment: "staging", Target: "db", Scopes: []broker.Scope{r.Scope("db:public.orders:read")}}}}
	intent := broker.Intent{Act: broker.ActApprove, Subject: id, Digest: r.SubjectDigest(broker.ActApprove, id), Narrow: narrowing}
	if err := r.TrySign("bob", intent); err != nil {
		t.Fatal(err)
	}
	text, code = r.hourkey("wait", id)
	for _, want := range []string{"is approved, but for less than was asked", "taken away: db:public.orders:delete in staging", "shortened: db in staging, from 10m", "left: db:public.orders:read in staging for 5m"} {
		if code != exitDone || !strings.Contains(text, want) {
			t.Errorf("exit code %d, no %q in:\n%s", code, want, text)
		}
	}
}

// The attack on another run: ^C withdraws only what nobody else asked for.
func TestInterruptDoesNotWithdrawWhatAnotherRunWaitsFor(t *testing.T) {
	r := newRealBroker(t)
	r.enrol()
	ask := []string{"exec", "--scope", "db:public.orders:delete", "--", "true"}
	first, said := running(t, r.environ, ask...)
	said.await(t, "phrase:")
	second, also := running(t, r.environ, ask...)
	also.await(t, "asked 2 times")
	send(t, second, unix.SIGINT)
	if code := ends(t, second); code != 130 || strings.Contains(also.String(), "withdrawn") {
		t.Errorf("exit code %d, %s", code, also)
	}
	_, after, _ := strings.Cut(said.String(), "hourkey: request ")
	id, _, _ := strings.Cut(after, " ")
	r.SignAs("bob", broker.ActApprove, id)
	if code := ends(t, first); code != 0 {
		t.Errorf("exit code %d, %s", code, said)
	}
}

func TestInterruptedWaitingWithdrawsAtTheRealBroker(t *testing.T) {
	r := newRealBroker(t)
	r.enrol()
	command, said := running(t, r.environ, "exec", "--scope", "db:public.orders:delete", "--", "true")
	said.await(t, "Approve at:")
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, command); code != 130 || !strings.Contains(said.String(), "withdrawn") {
		t.Errorf("exit code %d, output %s", code, said)
	}
	if text, code := r.hourkey("requests"); code != 0 || !strings.Contains(text, "cancelled") {
		t.Errorf("exit code %d, %s", code, text)
	}
}

// A broker with a private authority: named once at enrolment, remembered, and nobody else believed.
func TestPrivateAuthority(t *testing.T) {
	fake := newFakeBroker()
	handler := fake.Config.Handler
	fake.Close()
	fake.Server = httptest.NewUnstartedServer(handler)
	fake.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are meant to fail
	fake.StartTLS()
	defer fake.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "BE=hourkey", "XDG_CONFIG_HOME="+t.TempDir())
	try := func(extra string, args ...string) (string, int) {
		command := hourkey(append(environ, extra), args...)
		command.Stdin = strings.NewReader(fake.code)
		said, _ := command.CombinedOutput()
		return string(said), command.ProcessState.ExitCode()
	}
	for _, step := range []struct {
		extra string
		args  []string
		code  int
		says  string
	}{
		{"A=", []string{"enroll", fake.URL, "--agent", "a"}, 1, "certificate"},
		{"HOURKEY_CA=/nonesuch", []string{"enroll", fake.URL, "--agent", "a"}, 1, "HOURKEY_CA"},
		{"HOURKEY_CA=/etc/hostname", []string{"enroll", fake.URL, "--agent", "a"}, 1, "holds no certificate"},
		{"HOURKEY_CA=" + authority, []string{"enroll", fake.URL, "--agent", "a"}, 0, "is enrolled with https://"},
		{"A=", []string{"tasks"}, 0, "fix:"},
	} {
		if said, code := try(step.extra, step.args...); code != step.code || !strings.Contains(said, step.says) {
			t.Errorf("%s hourkey %s: exit code %d, want %d and %q in:\n%s", step.extra, strings.Join(step.args, " "), code, step.code, step.says, said)
		}
	}
}

// BenchmarkExec is what exec adds to a command: token, request, collect and release, beside the start.
func BenchmarkExec(b *testing.B) {
	fake, environ := enrolled(b)
	defer fake.Close()
	self := filepath.Join(b.TempDir(), "hourkey")
	if text, err := exec.Command("go", "build", "-o", self, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	for b.Loop() {
		command := exec.Command(self, "exec", "--", "true")
		command.Env = environ
		if err := command.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
