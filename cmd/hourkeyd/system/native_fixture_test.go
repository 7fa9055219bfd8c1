package system

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
)

// outpost is an installation whose two environments are at a provider that holds the walls itself. The agent is the real
// hourkey, with a user's home of its own.
type outpost struct {
	*gatehouse      // for its agent; there is neither a gateway nor a wire
	tap        *tap // between the broker and the provider
}

// outpostFiles is what an outpost is configured with.
type outpostFiles struct {
	tap     *tap
	server  string            // added to hourkey.yaml
	targets map[string]string // environment → its targets, indented by two
	tasks   string
	secrets map[string]string // file below secrets/ → secret
	plain   map[string]string // file below secrets/ → what is there and no secret
}

const outpostEnvironment = `protected: %t
approval: {delete: 1, admin: 1, reviewers: [reviewers], owner_may_approve: %t}
targets:
%s`

// prepareOutpost writes the files; nothing runs yet.
func prepareOutpost(tb testing.TB, files outpostFiles) *outpost {
	tb.Helper()
	dir, err := os.MkdirTemp("", "hk") // short: the path of a socket has 108 bytes
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	i := &installation{TB: tb, dir: dir, binary: shared.hourkeyd(tb, ""), vault: newVault(), environ: []string{"PATH=/usr/bin:/bin", "HOME=" + dir}}
	o := &outpost{&gatehouse{installation: i, home: filepath.Join(dir, "home"), hourkey: shared.program(tb, "../../hourkey")}, files.tap}
	o.must("init", "--human", "alice", o.dir)
	port := freePort(tb)
	o.origin = fmt.Sprintf("http://localhost:%d", port)
	o.edit("hourkey.yaml", "127.0.0.1:8750", fmt.Sprintf("127.0.0.1:%d", port))
	if files.server != "" {
		o.edit("hourkey.yaml", "keys: keys/kek ", "# ")
		o.edit("hourkey.yaml", "\ngroups:", "\n"+files.server+"groups:")
	}
	must(tb, os.MkdirAll(o.path("secrets"), 0o700))
	for name, secret := range files.secrets {
		o.vault.keep("admin password", secret)
		o.put("secrets/"+name, secret+"\n")
	}
	for name, text := range files.plain {
		o.put("secrets/"+name, text+"\n")
	}
	for environment, targets := range files.targets {
		routine := environment == "staging"
		o.put("environments/"+environment+".yaml", fmt.Sprintf(outpostEnvironment, !routine, routine, targets))
	}
	o.put("policies/tasks/orders.yaml", files.tasks)
	must(tb, os.MkdirAll(filepath.Join(o.home, "tmp"), 0o700))
	return o
}

// open starts the broker, brings in alice, who confirms what the targets are, and enrols the agent by hourkey.
func (o *outpost) open(targets ...string) {
	o.Helper()
	code := o.trust(targets...)
	enrol := o.agentCommand("enroll", o.origin, "--agent", agentName)
	enrol.Stdin = strings.NewReader(code + "\n")
	if out, err := enrol.CombinedOutput(); err != nil {
		o.Fatalf("hourkey enroll: %v\n%s", err, out)
	}
	o.activate()
}

// openBare is open with an agent that speaks the API by itself.
func (o *outpost) openBare(targets ...string) {
	o.Helper()
	o.agent = enrol(o.installation, agentName, o.trust(targets...))
	o.agent.task = gatewayTask
	o.activate()
}

// trust starts the broker, has alice confirm what the targets are, and gives the code by which the agent enrols.
func (o *outpost) trust(targets ...string) (code string) {
	o.Helper()
	o.serve()
	o.alice = o.person("alice")
	for _, target := range targets {
		eventually(o, func() error { // the broker asks the targets who they are in its own time
			_, err := o.alice.Approve(o.Context(), broker.ActConfirmTarget, "/targets/"+target, target)
			return err
		})
	}
	var added admin.AgentAdded
	must(o, o.ask(http.MethodPost, "/agents", admin.AgentToAdd{Name: agentName, Owner: "alice"}, &added))
	o.vault.keep("enrolment code", added.Code)
	return added.Code
}

func (o *outpost) activate() {
	o.Helper()
	_, err := o.alice.Approve(o.Context(), broker.ActActivateAgent, "/agents/"+agentName, agentName)
	must(o, err)
}

// as runs hourkey as the agent's user does, to its end.
func (o *outpost) as(args ...string) (out string, code int) {
	o.Helper()
	return o.ran(o.agentCommand(args...))
}

func (o *outpost) ran(c *exec.Cmd) (out string, code int) {
	o.Helper()
	text := &lockedText{}
	c.Stdout, c.Stderr = text, text
	must(o, c.Start())
	late := time.AfterFunc(3*time.Minute, func() { _ = c.Process.Kill() }) // it waits for a human, whom nobody expects
	defer late.Stop()
	err := c.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		o.Fatalf("%v: %v\n%s", c.Args, err, text)
	}
	return text.String(), c.ProcessState.ExitCode()
}

// step is a command under hourkey exec in staging, and how it must come out.
type step struct {
	name    string
	flags   string // of exec, after --environment staging
	command []string
	refused bool
	says    string
}

// try runs the steps in order.
func (o *outpost) try(steps ...step) {
	o.Helper()
	for _, s := range steps {
		args := append([]string{"exec", "--environment", "staging"}, strings.Fields(s.flags)...)
		if strings.HasPrefix(s.flags, "--request ") {
			args = append([]string{"exec"}, strings.Fields(s.flags)...)
		}
		out, code := o.as(append(append(args, "--"), s.command...)...)
		if (code != 0) != s.refused || code == 125 || !strings.Contains(out, s.says) {
			o.Errorf("%s: exit code %d, want %q in\n%s", s.name, code, s.says, out)
		}
	}
}

// approved asks for scopes that wait for a human, sees that nothing is given before, and has alice approve them.
func (o *outpost) approved(scopes ...string) (flags string) {
	o.Helper()
	args := []string{"request", "--environment", "staging", "--reason", "the nightly run left them behind"}
	for _, scope := range scopes {
		args = append(args, "--scope", scope)
	}
	out, code := o.as(args...)
	id, _, _ := strings.Cut(out, "\n")
	if code != 4 || id == "" {
		o.Fatalf("request %v: exit code %d, want 4 and an id\n%s", scopes, code, out)
	}
	if out, code := o.as("credential", "env", "--request", id); code != 4 {
		o.Errorf("collecting before a human looked: exit code %d\n%s", code, out)
	}
	o.approve(id)
	return "--request " + id
}

// checks runs check --live, which must come to this code and say this.
func (o *outpost) checks(what string, code int, says ...string) {
	o.Helper()
	out, got := o.run("check", "--live")
	for _, want := range says {
		if !strings.Contains(out, want) {
			o.Errorf("check --live, %s: no %q in\n%s", what, want, out)
		}
	}
	if got != code {
		o.Errorf("check --live, %s: exit code %d, want %d\n%s", what, got, code, out)
	}
}
