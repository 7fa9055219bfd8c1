package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // a group that can write would be refused, and rightly
	goleak.VerifyTestMain(m)
}

const (
	serverFile  = "listen: 127.0.0.1:0\norigin: http://localhost:8750\ngroups: {humans: [alice, bob]}\nroles: {operator: [humans], reviewer: [humans]}\n"
	stagingFile = "protected: false\napproval: {reviewers: [humans]}\ntargets:\n  api:\n    jwt: {audience: \"https://api.example\", resources: [\"orders/*\"]}\n"
	tasksFile   = "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"api:orders/*:read,write\"]\n  with_approval: [\"api:orders/*:delete\"]\n"
)

// folder is a configuration in a folder of its own, whose path is short enough for a socket.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hk")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	put(t, dir, "hourkey.yaml", serverFile)
	put(t, dir, "environments/staging.yaml", stagingFile)
	put(t, dir, "policies/tasks/fix.yaml", tasksFile)
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func options(dir string) Options {
	return Options{
		Path: filepath.Join(dir, "hourkey.yaml"), Guard: config.NewGuard(), Lookup: os.LookupEnv, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Version: "test",
	}
}

// open opens a daemon; the returned function closes it.
func open(t *testing.T, dir string) (*Daemon, func()) {
	t.Helper()
	d, err := Open(t.Context(), options(dir))
	must(t, err)
	closed := false
	stop := func() {
		if !closed {
			closed = true
			must(t, d.close())
		}
	}
	t.Cleanup(stop)
	return d, stop
}

// serve runs a daemon until the returned function is called.
func serve(t *testing.T, dir string) (d *Daemon, client *admin.Client, stop func()) {
	t.Helper()
	d, err := Open(t.Context(), options(dir))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			must(t, <-ended)
		}
	}
	t.Cleanup(stop)
	client, err = admin.Dial(d.server.Data)
	must(t, err)
	return d, client, stop
}

var robot = broker.Caller{Kind: broker.CallerAgent, Name: "robot", Key: "thumbprint"}

// enrol puts an active agent into the store; how agents come there is not what these tests are about.
func enrol(t *testing.T, d *Daemon) {
	t.Helper()
	must(t, d.stack.Store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: robot.Name, Owner: "alice", State: broker.AgentActive, Key: json.RawMessage(`{}`), Thumbprint: robot.Key})
	}))
}

func ask(t *testing.T, d *Daemon, scopes ...string) broker.Request {
	t.Helper()
	a := broker.Ask{Agent: robot.Name, AgentKey: robot.Key, Task: "fix", Environments: []string{"staging"}}
	for _, text := range scopes {
		scope, err := broker.ParseScope(text)
		must(t, err)
		a.Scopes = append(a.Scopes, scope)
	}
	request, err := d.broker.Submit(t.Context(), a)
	must(t, err)
	return request
}

func frozen(t *testing.T, d *Daemon) []string {
	t.Helper()
	freezes, err := d.broker.Freezes(t.Context())
	must(t, err)
	var ids []string
	for _, f := range freezes {
		ids = append(ids, f.ID())
	}
	slices.Sort(ids)
	return ids
}

func TestServeAnswersAndStops(t *testing.T) {
	dir := folder(t)
	d, client, stop := serve(t, dir)
	var status admin.Status
	must(t, client.Call(t.Context(), http.MethodGet, "/status", nil, &status))
	if status.Version != "test" || status.LogKey == "" || !status.Writable {
		t.Errorf("got %+v", status)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.http.Addr().String()+"/healthz", nil)
	must(t, err)
	request.Host, request.Close = "localhost:8750", true
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("got %s", response.Status)
	}
	stop()
	if err := client.Call(t.Context(), http.MethodGet, "/status", nil, &status); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
}

// Invariant 5, on a real broker: through the socket an open request stays as open as it was, and a freeze
// in force.
func TestAdminSocketCannotApproveLiftOrIssue(t *testing.T) {
	d, client, _ := serve(t, folder(t))
	enrol(t, d)
	allowed, pending := ask(t, d), ask(t, d, "api:orders/1:delete")
	if allowed.State != broker.RequestApproved || pending.State != broker.RequestPending {
		t.Fatalf("got %s and %s", allowed.State, pending.State)
	}
	var frozen admin.Frozen
	must(t, client.Call(t.Context(), http.MethodPost, "/freezes", admin.ToFreeze{Of: broker.FreezeTask, Name: "other", Reason: "test"}, &frozen))
	for _, path := range []string{
		"/v1/requests", "/v1/requests/" + allowed.ID + "/credentials", "/v1/requests/" + pending.ID + "/approvals", "/v1/approvals", "/v1/freeze",
		"/requests/" + pending.ID, "/requests/" + pending.ID + "/approve", "/requests/" + allowed.ID + "/credentials", "/sign", "/sign/prepare",
		"/freezes/task:other", "/freezes/all", "/freezes?of=task&name=other", "/freezes", "/agents/robot/activate", "/pins/staging/api",
	} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			var out any
			_ = client.Call(t.Context(), method, path, map[string]any{"id": pending.ID, "verdict": "approve", "of": "task", "name": "other", "until": "2000-01-01T00:00:00Z"}, &out)
		}
	}
	for request, want := range map[string]broker.RequestState{allowed.ID: broker.RequestApproved, pending.ID: broker.RequestPending} {
		if now, err := d.broker.Request(t.Context(), robot, request); err != nil || now.State != want {
			t.Errorf("%s became %s, %v", want, now.State, err)
		}
	}
	leases, err := d.broker.Leases(t.Context(), broker.Caller{Kind: broker.CallerSocket}, true)
	must(t, err)
	approvals, err := d.broker.Approvals(t.Context(), robot, pending.ID)
	must(t, err)
	freezes, err := d.broker.Freezes(t.Context())
	must(t, err)
	if len(leases) != 0 || len(approvals) != 0 || len(freezes) != 1 {
		t.Errorf("%d leases, %d approvals, %d freezes", len(leases), len(approvals), len(freezes))
	}
}

func TestReloadWithABadSetKeepsTheOld(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	enrol(t, d)
	before := d.broker.Configuration()
	heights := events(t, d)
	for name, bad := range map[string]struct{ file, text string }{
		"a typo in a task":              {"policies/tasks/fix.yaml", "fix:\n  agnets: [robot]\n"},
		"a typo in an environment":      {"environments/staging.yaml", "protectd: false\n"},
		"a typo in a target":            {"environments/staging.yaml", strings.ReplaceAll(stagingFile, "audience", "audienc")},
		"an unknown kind":               {"environments/staging.yaml", strings.ReplaceAll(stagingFile, "jwt", "jvt")},
		"a secret that is not there":    {"environments/staging.yaml", "targets: {db: {postgres: {dsn: env:NOT_SET_ANYWHERE, owner: o}}}\n"},
		"delete without a human":        {"environments/staging.yaml", "protected: false\napproval: {delete: 0}\n"},
		"a permit":                      {"policies/more.cedar", `@id("x") permit (principal, action, resource);`},
		"a guardrail without an id":     {"policies/more.cedar", `forbid (principal, action, resource);`},
		"a group that is not there":     {"hourkey.yaml", "groups: {}\n" + strings.SplitAfterN(serverFile, "\n", 4)[0]},
		"a task that gives delete":      {"policies/tasks/fix.yaml", strings.ReplaceAll(tasksFile, "read,write", "read,delete")},
		"an environment beside its own": {"environments/production.yml", "protected: true\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, bad.file)
			old, err := os.ReadFile(path)
			put(t, dir, bad.file, bad.text)
			defer func() {
				if err != nil {
					must(t, os.Remove(path))
					return
				}
				must(t, os.WriteFile(path, old, 0o600))
			}()
			var done admin.Reloaded
			if err := client.Call(t.Context(), http.MethodPost, "/reload", nil, &done); broker.CodeOf(err) != broker.CodeInvalid {
				t.Errorf("got %v", err)
			}
			if d.broker.Configuration() != before {
				t.Error("another configuration is in force")
			}
			if ask(t, d).State != broker.RequestApproved {
				t.Error("the old configuration does not work any more")
			}
		})
	}
	refused := 0
	for _, kind := range events(t, d)[len(heights):] {
		if kind == broker.EventReloadRefused {
			refused++
		}
	}
	if refused != 11 {
		t.Errorf("%d refused reloads were recorded, want 11", refused)
	}
}

func events(t *testing.T, d *Daemon) (kinds []broker.EventType) {
	t.Helper()
	must(t, d.stack.Store.View(t.Context(), func(r broker.Reader) error {
		return r.Events(0, func(_ uint64, event broker.Event) error {
			kinds = append(kinds, event.Type)
			return nil
		})
	}))
	return kinds
}

// The attack on ourselves: a password in place of its reference would stand in the log for good.
func TestPastedSecretIsInNoErrorAndNoEvent(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	for _, pasted := range []string{"postgres://u:planted@h/d", "host:planted", "planted", "env:planted!", "file://u:planted@h"} {
		put(t, dir, "environments/staging.yaml", "targets: {db: {postgres: {dsn: \""+pasted+"\", owner: o}}}\n")
		var done admin.Reloaded
		if err := client.Call(t.Context(), http.MethodPost, "/reload", nil, &done); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got %v", pasted, err)
		}
	}
	must(t, d.stack.Store.View(t.Context(), func(r broker.Reader) error {
		return r.Events(0, func(number uint64, event broker.Event) error {
			if strings.Contains(string(event.Data), "planted") {
				t.Errorf("event %d: %s", number, event.Data)
			}
			return nil
		})
	}))
}

func TestWorldWritableFileAtReloadKeepsTheOld(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	before := d.broker.Configuration()
	must(t, os.Chmod(filepath.Join(dir, "policies/tasks/fix.yaml"), 0o666))
	var done admin.Reloaded
	err := client.Call(t.Context(), http.MethodPost, "/reload", nil, &done)
	if broker.CodeOf(err) != broker.CodeInvalid || d.broker.Configuration() != before {
		t.Errorf("got %v", err)
	}
}

func TestReloadTakesAGoodSetAndSaysWhatGotWider(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	put(t, dir, "environments/staging.yaml", stagingFile+"  more:\n    jwt: {audience: \"https://more.example\", resources: [\"*\"]}\n")
	put(t, dir, "hourkey.yaml", strings.ReplaceAll(serverFile, "bob", "bob, carol")+"data: elsewhere\n")
	kept := d.broker.Configuration().Targets[broker.TargetRef{Environment: "staging", Target: "api"}]
	var done admin.Reloaded
	must(t, client.Call(t.Context(), http.MethodPost, "/reload", nil, &done))
	now := d.broker.Configuration()
	if len(now.Targets) != 2 || now.Hash != done.Config {
		t.Errorf("in force: %d targets, %s", len(now.Targets), now.Hash)
	}
	if now.Targets[broker.TargetRef{Environment: "staging", Target: "api"}] != kept {
		t.Error("a target that did not change was opened anew")
	}
	want := admin.Reloaded{Config: now.Hash, Wider: []string{"group humans: carol may now do what it may"}, Restart: []string{"data"}, Warnings: []string{}}
	if diff := cmp.Diff(want, done); diff != "" {
		t.Error(diff)
	}
}

// The attack: what was allowed for staging is collected after staging's file points at production.
func TestEnvironmentEditedBetweenDecisionAndCollectIssuesNothing(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	enrol(t, d)
	request := ask(t, d)
	put(t, dir, "environments/staging.yaml", strings.ReplaceAll(stagingFile, "api.example", "production.example"))
	var done admin.Reloaded
	must(t, client.Call(t.Context(), http.MethodPost, "/reload", nil, &done))
	if credentials, err := d.broker.Collect(t.Context(), robot, request.ID); err == nil {
		t.Errorf("%d credentials were issued", len(credentials))
	}
	leases, err := d.broker.Leases(t.Context(), broker.Caller{Kind: broker.CallerSocket}, true)
	if err != nil || len(leases) != 0 {
		t.Errorf("%d leases, %v", len(leases), err)
	}
}

func TestHangupReloads(t *testing.T) {
	dir := folder(t)
	o := options(dir)
	reloads := make(chan os.Signal)
	o.Reloads = reloads
	d, err := Open(t.Context(), o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	before := d.broker.Configuration()
	put(t, dir, "policies/tasks/fix.yaml", tasksFile+"  ttl: 4m\n")
	reloads <- syscall.SIGHUP
	reloads <- syscall.SIGHUP // is taken when the first is done
	if d.broker.Configuration() == before {
		t.Error("nothing was reloaded")
	}
	cancel()
	must(t, <-ended)
}

// Root who is refused a service's folder must leave nothing in it: what root makes there, the service cannot use.
func TestRefusedFolderIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	put(t, dir, "hourkey.yaml", serverFile+"data: state/data\n")
	must(t, os.Mkdir(filepath.Join(dir, "state"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "state"), 0o777))
	if _, err := Open(t.Context(), options(dir)); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "state")); err != nil || len(entries) != 0 {
		t.Errorf("left there: %v, %v", entries, err)
	}
}

func TestNothingStaysOpenAfterAFailedStart(t *testing.T) {
	dir := folder(t)
	put(t, dir, "hourkey.yaml", strings.ReplaceAll(serverFile, "127.0.0.1:0", "127.0.0.1:1"))
	if os.Geteuid() != 0 { // port 1 is root's; root gets it
		if _, err := Open(t.Context(), options(dir)); err == nil {
			t.Fatal("port 1 was opened")
		}
	}
	put(t, dir, "hourkey.yaml", serverFile)
	put(t, dir, "environments/staging.yaml", "targets: {db: {postgres: {dsn: env:NOT_SET_ANYWHERE, owner: o}}}\n")
	if _, err := Open(t.Context(), options(dir)); broker.CodeOf(err) != broker.CodeInvalid {
		t.Fatalf("got %v", err)
	}
	put(t, dir, "environments/staging.yaml", stagingFile)
	_, stop := open(t, dir) // the lock of the store is free
	stop()
}

// Invariant 5: whoever is not set up by install is told so, from the first start on and for good.
func TestSameUserInstallationSaysSo(t *testing.T) {
	dir := folder(t)
	d, stop := open(t, dir)
	banner, err := d.Banner(t.Context())
	if err != nil || !banner.SameUser {
		t.Errorf("got %+v, %v", banner, err)
	}
	stop()
	o := options(dir)
	o.OwnUser = true
	d, err = Open(t.Context(), o)
	must(t, err)
	defer d.close() //nolint:errcheck // a test's
	if banner, err := d.Banner(t.Context()); err != nil || !banner.SameUser {
		t.Errorf("a later install washed it off: %+v, %v", banner, err)
	}
}

func TestOwnUserInstallationPromisesMore(t *testing.T) {
	o := options(folder(t))
	o.OwnUser = true
	d, err := Open(t.Context(), o)
	must(t, err)
	defer d.close() //nolint:errcheck // a test's
	if banner, err := d.Banner(t.Context()); err != nil || banner.SameUser {
		t.Errorf("got %+v, %v", banner, err)
	}
}
