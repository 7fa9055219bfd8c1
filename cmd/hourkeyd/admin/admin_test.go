package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Broker that writes down what was asked of it.
type recorder struct {
	calls []string
	err   error
}

func (r *recorder) did(what ...string) { r.calls = append(r.calls, strings.Join(what, " ")) }

func (r *recorder) Status(context.Context) (broker.Status, error) {
	r.did("status")
	return broker.Status{Config: "hash"}, r.err
}

func (r *recorder) Leases(_ context.Context, c broker.Caller, all bool) ([]broker.Lease, error) {
	r.did("leases", string(c.Kind), map[bool]string{true: "all", false: "open"}[all])
	return []broker.Lease{{ID: "l1"}}, r.err
}

func (r *recorder) Revoke(_ context.Context, c broker.Caller, lease string) error {
	r.did("revoke", string(c.Kind), lease)
	return r.err
}

func (r *recorder) Freeze(_ context.Context, c broker.Caller, f broker.Freeze) (int, error) {
	r.did("freeze", string(c.Kind), f.ID(), f.Reason)
	return 3, r.err
}

func (r *recorder) Freezes(context.Context) ([]broker.Freeze, error) {
	r.did("freezes")
	return nil, r.err
}

func (r *recorder) AddAgent(_ context.Context, c broker.Caller, name, owner string) (broker.Secret, error) {
	r.did("add-agent", string(c.Kind), name, owner)
	return broker.NewSecret("the-code"), r.err
}

func (r *recorder) RemoveAgent(_ context.Context, c broker.Caller, name string) error {
	r.did("remove-agent", string(c.Kind), name)
	return r.err
}

func (r *recorder) Agents(context.Context) ([]broker.Agent, error) {
	r.did("agents")
	return []broker.Agent{{Name: "a", CodeHash: "planted"}}, r.err
}

func (r *recorder) InviteHuman(_ context.Context, c broker.Caller, name string) (broker.Invite, broker.Secret, error) {
	r.did("invite", string(c.Kind), name)
	return broker.Invite{Human: name, CodeHash: "planted"}, broker.NewSecret("the-code"), r.err
}

func (r *recorder) Humans(context.Context) ([]broker.Human, error) {
	r.did("humans")
	return nil, r.err
}

func (r *recorder) Pins(context.Context) ([]broker.Pin, error) {
	r.did("pins")
	return nil, r.err
}

// socket starts the server on a socket of its own.
func socket(t *testing.T, config Config) (*Client, string) {
	t.Helper()
	data, err := os.MkdirTemp("", "hk") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	config.LogKey = func(context.Context) (string, error) { return "key", nil }
	config.Checkpoint = func(context.Context) ([]byte, error) { return []byte("signed"), nil }
	config.Enrolled = func(context.Context) ([]string, error) { return []string{"alice"}, nil }
	config.Log = slog.New(slog.DiscardHandler)
	listener, err := Listen(data, config.Log)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(config)
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	client, err := Dial(data)
	if err != nil {
		t.Fatal(err)
	}
	return client, data
}

func TestSocketDoesWhatItsTableSays(t *testing.T) {
	r := &recorder{}
	client, _ := socket(t, Config{Broker: r, Reload: func(_ context.Context, c broker.Caller) (Reloaded, error) {
		r.did("reload", string(c.Kind))
		return Reloaded{Config: "new"}, nil
	}})
	for _, call := range []struct {
		method, path string
		in           any
	}{
		{"GET", "/status", nil}, {"GET", "/leases", nil}, {"GET", "/leases?all=true", nil}, {"DELETE", "/leases/l1", nil},
		{"GET", "/freezes", nil}, {"POST", "/freezes", ToFreeze{Of: broker.FreezeAgent, Name: "ci/deploy", Reason: "odd"}},
		{"GET", "/agents", nil}, {"POST", "/agents", AgentToAdd{"ci/deploy", "alice"}}, {"DELETE", "/agents/ci%2Fdeploy", nil},
		{"GET", "/pins", nil}, {"GET", "/checkpoint", nil}, {"GET", "/humans", nil}, {"POST", "/humans", HumanToInvite{"alice"}}, {"POST", "/reload", nil},
	} {
		var out any
		if err := client.Call(t.Context(), call.method, call.path, call.in, &out); err != nil {
			t.Errorf("%s %s: %v", call.method, call.path, err)
		}
	}
	want := []string{
		"status", "leases socket open", "leases socket all", "revoke socket l1", "freezes", "freeze socket agent:ci/deploy odd",
		"agents", "add-agent socket ci/deploy alice", "remove-agent socket ci/deploy", "pins", "humans", "invite socket alice", "reload socket",
	}
	if diff := cmp.Diff(want, r.calls); diff != "" {
		t.Error(diff)
	}
}

// The wall is the interface: what the socket cannot reach of the broker, no route can do.
func TestAdminSocketCannotApproveLiftOrIssue(t *testing.T) {
	var methods []string
	powers := reflect.TypeFor[Broker]()
	for i := range powers.NumMethod() {
		methods = append(methods, powers.Method(i).Name)
	}
	want := []string{"AddAgent", "Agents", "Freeze", "Freezes", "Humans", "InviteHuman", "Leases", "Pins", "RemoveAgent", "Revoke", "Status"}
	if diff := cmp.Diff(want, methods); diff != "" {
		t.Fatalf("the socket reaches more or less of the broker than it may:\n%s", diff)
	}

	var patterns []string
	for _, route := range routes(Config{Broker: &recorder{}}) {
		patterns = append(patterns, route.pattern)
	}
	slices.Sort(patterns)
	wantPatterns := []string{
		"DELETE /agents/{name}", "DELETE /leases/{id}", "GET /agents", "GET /backup", "GET /checkpoint", "GET /export", "GET /freezes", "GET /humans",
		"GET /leases", "GET /pins", "GET /status", "POST /agents", "POST /freezes", "POST /humans", "POST /reload",
	}
	if diff := cmp.Diff(wantPatterns, patterns); diff != "" {
		t.Fatalf("the table of the socket changed:\n%s", diff)
	}

	r := &recorder{}
	client, _ := socket(t, Config{Broker: r})
	for _, path := range []string{
		"/v1/requests", "/v1/requests/r1/credentials", "/v1/approvals", "/requests", "/requests/r1/approve", "/approvals", "/approve",
		"/sign", "/prepare", "/credentials", "/collect", "/oauth/token", "/agents/a/activate", "/humans/alice/passkeys", "/humans/alice/reset",
		"/pins/staging/db", "/freezes/all", "/freezes/agent:a", "/lift", "/enrol", "/../freezes/all", "//freezes/all",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			var out any
			if err := client.Call(t.Context(), method, path, map[string]string{"id": "r1"}, &out); err == nil {
				t.Errorf("%s %s: was answered", method, path)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		var out any
		if err := client.Call(t.Context(), method, "/pins", map[string]string{}, &out); err == nil {
			t.Errorf("%s /pins: was answered", method)
		}
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		var out any
		if err := client.Call(t.Context(), method, "/freezes", ToFreeze{Of: broker.FreezeAll}, &out); err == nil {
			t.Errorf("%s /freezes: was answered", method)
		}
	}
	if len(r.calls) != 0 {
		t.Errorf("the broker was reached: %v", r.calls)
	}
}

func TestCodeHashesStayInside(t *testing.T) {
	client, _ := socket(t, Config{Broker: &recorder{}})
	for _, call := range []struct{ method, path string }{{"GET", "/agents"}, {"POST", "/humans"}} {
		var out any
		if err := client.Call(t.Context(), call.method, call.path, HumanToInvite{"alice"}, &out); err != nil {
			t.Fatal(err)
		}
		if text := cmp.Diff(nil, out); strings.Contains(text, "planted") {
			t.Errorf("%s %s shows the hash of a code: %s", call.method, call.path, text)
		}
	}
}

func TestErrorsKeepTheirCodeAndLoseTheirCause(t *testing.T) {
	r := &recorder{err: broker.Errorf(broker.CodeFrozen, "frozen").WithNext("lift it").Because(errors.New("planted"))}
	client, _ := socket(t, Config{Broker: r})
	var out any
	err := client.Call(t.Context(), "GET", "/status", nil, &out)
	want := &broker.Error{Code: broker.CodeFrozen, Message: "frozen", Next: "lift it"}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Error(diff)
	}
	r.err = errors.New("planted")
	if err := client.Call(t.Context(), "GET", "/status", nil, &out); broker.CodeOf(err) != broker.CodeInternal || strings.Contains(err.Error(), "planted") {
		t.Errorf("got %v", err)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	r := &recorder{}
	client, _ := socket(t, Config{Broker: r})
	for name, body := range map[string]any{
		"an unknown field": map[string]string{"of": "all", "untill": "never"},
		"no object":        "all",
		"too long":         ToFreeze{Of: broker.FreezeAll, Reason: strings.Repeat("x", maxBody)},
	} {
		var out any
		if err := client.Call(t.Context(), "POST", "/freezes", body, &out); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(r.calls) != 0 {
		t.Errorf("the broker was reached: %v", r.calls)
	}
}

// A backup that broke off must not be taken for a backup.
func TestBrokenStreamIsNotWhole(t *testing.T) {
	part := func(_ context.Context, to io.Writer) error {
		_, err := io.WriteString(to, "half")
		return errors.Join(err, broker.Errorf(broker.CodeUnavailable, "disk on fire"))
	}
	whole := func(_ context.Context, to io.Writer) error {
		_, err := io.WriteString(to, "whole")
		return err
	}
	cut := func(context.Context, io.Writer) error { panic(http.ErrAbortHandler) }
	for name, test := range map[string]struct {
		send func(context.Context, io.Writer) error
		ok   bool
	}{"part": {part, false}, "whole": {whole, true}, "cut": {cut, false}} {
		client, _ := socket(t, Config{Broker: &recorder{}, Backup: test.send})
		var out bytes.Buffer
		if err := client.Stream(t.Context(), "/backup", &out); (err == nil) != test.ok {
			t.Errorf("%s: got %v and %q", name, err, out.String())
		}
	}
}

func TestStrangerAtTheSocketIsRefused(t *testing.T) {
	data := t.TempDir()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(data, "s"))
	if err != nil {
		t.Fatal(err)
	}
	// The peer is this process; a listener whose owner is somebody else must turn it away.
	listener := &peers{Listener: inner, allowed: func(uid uint32) bool { return uid != uint32(os.Geteuid()) }, log: slog.New(slog.DiscardHandler)}
	done := make(chan error)
	go func() {
		_, err := listener.Accept()
		done <- err
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", filepath.Join(data, "s"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of a stranger stayed open")
	}
	_ = conn.Close()
	_ = listener.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gave %v: a stranger was handed on", err)
	}
}

func TestSocketIsClosedToOthers(t *testing.T) {
	_, data := socket(t, Config{Broker: &recorder{}})
	info, err := os.Stat(filepath.Join(data, SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestNoBrokerIsSaidWithTheNextStep(t *testing.T) {
	client, err := Dial(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var out any
	err = client.Call(t.Context(), "GET", "/status", nil, &out)
	if e, ok := errors.AsType[*broker.Error](err); !ok || !errors.Is(err, ErrNotRunning) || !strings.Contains(e.Next, "hourkeyd serve") {
		t.Errorf("got %v", err)
	}
}

func TestSocketPathThatIsTooLongIsExplained(t *testing.T) {
	_, err := SocketPath("/" + strings.Repeat("long/", 40))
	if broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}
