package forward_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// beChild is the Go program of TestProgramsRunUnchanged: it knows an https URL and nothing of us.
func beChild() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(os.Stdout, answer.Body)
	_ = answer.Body.Close()
}

// Programs that know nothing of Hourkey: none of them is told of a proxy or an authority but by its
// environment.
const (
	pythonProgram = `
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())`
	nodeFetch = `
const answer = await fetch(process.argv[1], {method: 'POST', body: 'x'.repeat(300000)});
console.log((await answer.text()).slice(0, 200));`
	nodeHTTPS = `
const https = require('node:https');
https.get(process.argv[1], (answer) => answer.pipe(process.stdout));`
	nodeAgain = `
import { get, Agent } from 'node:https';
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
for (let n = 0; n < 3; n++) {
  await new Promise((done) => get(process.argv[1], { agent }, (answer) => { answer.pipe(process.stdout, { end: false }); answer.on('end', done); }));
}`
	nodeLarge = `
const answer = await fetch(process.argv[1] + '/large');
console.log('GET /v1/things', (await answer.arrayBuffer()).byteLength === 5000000 ? '` + mainHost + `' : 'short');`
)

// program finds one, or says which package brings it.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("HOURKEY_TEST_ALL") == "1" {
		t.Fatalf("no %s: install %s", name, debian)
	}
	if err != nil {
		t.Skipf("no %s: install %s", name, debian)
	}
	return path
}

// childEnviron is a child's environment, without what this machine says of proxies and authorities.
func (w *world) childEnviron() []string {
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.TempDir(), "BE=child"}
	for _, name := range slices.Sorted(maps.Keys(w.environ)) {
		environ = append(environ, name+"="+w.environ[name])
	}
	return environ
}

// saying notes what a program says, and when it did last.
type saying struct {
	text strings.Builder
	last time.Time
}

func (s *saying) Write(p []byte) (int, error) {
	s.last = time.Now()
	return s.text.Write(p)
}

func providerOfPrograms(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/large") {
		_, _ = io.CopyN(w, zeros{}, 5_000_000)
		return
	}
	echo(w, r)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestProgramsRunUnchangedInForwardMode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]struct {
		debian string
		args   []string
	}{
		"curl":         {"curl", []string{"curl", "--silent", "--show-error", "URL"}},
		"curl, posted": {"curl", []string{"curl", "--silent", "--show-error", "--data", "a=b", "URL"}},
		"Python":       {"python3", []string{"python3", "-c", pythonProgram, "URL"}},
		"Node fetch":   {"nodejs", []string{"node", "--input-type=module", "-e", nodeFetch, "URL"}},
		"Node https":   {"nodejs", []string{"node", "-e", nodeHTTPS, "URL"}},
		"Node agent":   {"nodejs", []string{"node", "--input-type=module", "-e", nodeAgain, "URL"}},
		"Node, large":  {"nodejs", []string{"node", "--input-type=module", "-e", nodeLarge, "URL"}},
		"Go":           {"golang", []string{self, "URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, providerOfPrograms, nil)
			args := slices.Clone(step.args)
			args[len(args)-1] = "https://" + mainHost + "/v1/things"
			run := func() (stayed time.Duration) {
				command := exec.Command(program(t, args[0], step.debian), args[1:]...)
				command.Env = w.childEnviron()
				said := &saying{}
				command.Stdout, command.Stderr = said, said
				err := command.Run()
				if text := said.text.String(); err != nil || !strings.Contains(text, " /v1/things ") || !strings.Contains(text, mainHost) {
					t.Errorf("%v\n%s", err, text)
				}
				return time.Since(said.last)
			}
			stayed := run()
			if opened := w.gateway.Opened(); len(opened) != 1 || opened[0] != mainHost {
				t.Errorf("tunnels %q", opened)
			}
			for try := 0; stayed > 3*time.Second && try < 3; try++ { // the machine may have stood still; an idle connection would do it each time
				stayed = run()
			}
			if stayed > 3*time.Second {
				t.Errorf("it ended %v after its last word: an idle connection kept it alive", stayed)
			}
		})
	}
}

// What each program shows of a refusal: an agent has to understand it.
func TestProgramsShowWhyAHostIsRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]struct {
		debian string
		args   []string
		says   string
	}{
		"curl":   {"curl", []string{"curl", "--silent", "--show-error", "URL"}, "403"},
		"Python": {"python3", []string{"python3", "-c", pythonProgram, "URL"}, "is no place that this run's leases lead to"},
		"Go":     {"golang", []string{self, "URL"}, "is no place that this run's leases lead to"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, echo, nil)
			args := slices.Clone(step.args)
			args[len(args)-1] = "https://registry.example/"
			command := exec.Command(program(t, args[0], step.debian), args[1:]...)
			command.Env = w.childEnviron()
			text, err := command.CombinedOutput()
			if err == nil || !strings.Contains(string(text), step.says) {
				t.Errorf("%v\n%s", err, text)
			}
			if said := w.said.list(); len(said) != 1 || !strings.HasPrefix(said[0], `refused: "registry.example:443" is no place`) {
				t.Errorf("said %q", said)
			}
		})
	}
}

// The lease has ended when a Node.js program calls.
func TestNodeShowsWhyATunnelIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	w.gateway.Refuse(w.lease, "expired_token")
	command := exec.Command(program(t, "node", "nodejs"), "-e", nodeHTTPS, "https://"+mainHost+"/")
	command.Env = w.childEnviron()
	text, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "403") {
		t.Errorf("%v\n%s", err, text)
	}
	if said := w.said.list(); len(said) != 1 || !strings.HasPrefix(said[0], "the lease for staging/provider has ended") {
		t.Errorf("said %q", said)
	}
}

// A child that trusts us for one host must not be fooled about another (our authority is limited).
func TestAuthorityIsNotTakenForAnotherHost(t *testing.T) {
	w := newWorld(t, echo, nil)
	command := exec.Command(program(t, "curl", "curl"), "--silent", "--show-error", "--connect-to", "other.example:443:"+mainHost+":443", "https://other.example/")
	command.Env = w.childEnviron()
	if text, err := command.CombinedOutput(); err == nil || !strings.Contains(string(text), "SSL") {
		t.Errorf("%v\n%s", err, text)
	}
}
