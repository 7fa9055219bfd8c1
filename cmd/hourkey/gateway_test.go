package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/web/api"
)

// behind is a credential behind the gateway.
func behind(target, host string, variables ...string) api.Credential {
	g := &api.Gateway{Token: api.NewSecret("hkt_x"), Hosts: []string{host}, Variables: map[string]string{}}
	for _, name := range variables {
		g.Variables[name] = "{placeholder}"
	}
	return api.Credential{Environment: "staging", Target: target, Gateway: g}
}

// plainly is a credential with a value.
func plainly(target string, variables ...string) api.Credential {
	c := api.Credential{Environment: "staging", Target: target, Values: map[string]api.Secret{}}
	for _, name := range variables {
		c.Values[name] = api.NewSecret("value")
	}
	return c
}

func TestMergeOfGatewayLeases(t *testing.T) {
	for name, step := range map[string]struct {
		all    []api.Credential
		values []string
		fails  string
	}{
		"gateway alone":                  {[]api.Credential{behind("a", "a.example", "A")}, nil, ""},
		"gateway without variables":      {[]api.Credential{behind("a", "a.example")}, nil, ""},
		"both kinds":                     {[]api.Credential{plainly("db", "PGUSER"), behind("a", "a.example", "A")}, []string{"PGUSER"}, ""},
		"two hosts":                      {[]api.Credential{behind("a", "a.example", "A"), behind("b", "b.example", "B")}, nil, ""},
		"one host":                       {[]api.Credential{behind("a", "a.example", "A"), behind("b", "a.example", "B")}, nil, "staging/a and staging/b both lead to a.example"},
		"one variable":                   {[]api.Credential{behind("a", "a.example", "A"), behind("b", "b.example", "A")}, nil, "staging/a and staging/b both set A"},
		"one variable of different kind": {[]api.Credential{plainly("db", "A"), behind("b", "b.example", "A")}, nil, "staging/db and staging/b both set A"},
		"a name with shell in it":        {[]api.Credential{behind("a", "a.example", "A;id")}, nil, "no name for one"},
		"nothing":                        {[]api.Credential{plainly("db")}, nil, "without values"},
	} {
		values, err := merge(step.all)
		if step.fails != "" {
			if err == nil || !strings.Contains(err.Error(), step.fails) {
				t.Errorf("%s: %v, want %q", name, err, step.fails)
			}
			continue
		}
		var got []string
		for variable := range values {
			got = append(got, variable)
		}
		if err != nil || !slices.Equal(got, step.values) {
			t.Errorf("%s: %v %v, want %v", name, got, err, step.values)
		}
	}
}

// The attack: a gateway's answer that would send the command's other https calls elsewhere.
func TestCredentialThatSetsTheProxyIsRefused(t *testing.T) {
	fake := newFakeBroker()
	defer fake.Close()
	a := &app{now: time.Now, stderr: io.Discard, environ: os.Environ()}
	credential := api.Credential{Environment: "staging", Target: "railway"}
	lease := fake.gateway.Issue(nil)
	credential.Gateway = &lease
	values := map[string]api.Secret{"HTTPS_PROXY": api.NewSecret("http://elsewhere.example")}
	if _, err := a.forward(&api.Client{}, fake.URL, []api.Credential{credential}, values); err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY") {
		t.Error(err)
	}
}

func TestForwarderEndsWithTheChildOnASignal(t *testing.T) {
	fake, environ := enrolled(t)
	folder := t.TempDir()
	environ = append(environ, "TMPDIR="+folder, "HOURKEY_ENVIRONMENT=gateway")
	command, said := running(t, environ, "exec", "--", "sh", "-c", "echo proxy $HTTPS_PROXY; echo ready; exec sleep 60")
	said.await(t, "ready")
	_, proxy, _ := strings.Cut(said.String(), "@")
	address, _, _ := strings.Cut(proxy, "\n")
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	send(t, command, unix.SIGTERM)
	if code := ends(t, command); code != 128+15 {
		t.Errorf("exit code %d, %s", code, said)
	}
	if _, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		t.Error("it still listens")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	wantLive(t, fake, 0, 1)
}

// A broker with a private authority, and HTTP/2 for everything else: tunnels believe the same authority.
func TestGatewayOfABrokerWithAPrivateAuthority(t *testing.T) {
	fake := newFakeBroker()
	handler := fake.Config.Handler
	fake.Server.Close()
	fake.Server = httptest.NewUnstartedServer(handler)
	fake.EnableHTTP2 = true
	fake.Config.ErrorLog = log.New(io.Discard, "", 0)
	fake.StartTLS()
	defer fake.Close()
	fake.gateway.Origin = fake.URL
	home := t.TempDir()
	authority := filepath.Join(home, "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "BE=hourkey", "XDG_CONFIG_HOME="+home, "HOURKEY_CA="+authority, "HOURKEY_TASK=fix", "HOURKEY_ENVIRONMENT=gateway")
	enroll := hourkey(environ, "enroll", fake.URL, "--agent", "claude-code")
	enroll.Stdin = strings.NewReader(fake.code)
	if text, err := enroll.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := hourkey(environ, "exec", "--", "env", "BE=fetch", self, "https://api.provider.example/v1/things")
	said, err := command.CombinedOutput()
	if err != nil || string(said) != "GET /v1/things api.provider.example\n" {
		t.Errorf("%v\n%s", err, said)
	}
	// A hourkey inside the command has its own way to the broker, past the forwarder.
	inner := hourkey(environ, "exec", "--", "env", "BE=hourkey", self, "leases")
	said, err = inner.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "live") {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestHostOf(t *testing.T) {
	for origin, want := range map[string]string{"https://hourkey.example:8443": "hourkey.example", "http://[::1]:7000": "::1", "http://127.0.0.1:1": "127.0.0.1", "::": ""} {
		if got := hostOf(origin); got != want {
			t.Errorf("%s: %q", origin, got)
		}
	}
}
