package system

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/store/bolt"
)

// planted is where secrets stand in what went over the wire between broker and provider: what a pattern's group finds.
type planted struct {
	what    string
	pattern *regexp.Regexp
	encoded bool // in base64
}

func plantedByProviders() []planted {
	return []planted{
		{"AWS session's key", regexp.MustCompile(`<SecretAccessKey>([^<]+)<`), false},
		{"AWS session's token", regexp.MustCompile(`<SessionToken>([^<]+)<`), false},
		{"Kubernetes token", regexp.MustCompile(`"token":\s*"(ey[^"]+)"`), false},
		{"Vault token", regexp.MustCompile(`"client_token":\s*"([^"]+)"`), false},
		{"Vault login's password", regexp.MustCompile(`"password":\s*"([^"]{16,})"`), false},
		{"secret by a vault: reference", regexp.MustCompile(`"secret_id":\s*"([^"]+)"`), false},
		{"key that Transit wraps", regexp.MustCompile(`"plaintext":\s*"([^"]+)"`), true},
	}
}

// overhear puts into the vault every secret that went over the wire.
func (o *outpost) overhear() {
	o.Helper()
	for _, one := range o.tap.calls(everyCall) {
		o.vault.keep("Vault token", one.token)
		for _, p := range plantedByProviders() {
			for _, found := range p.pattern.FindAllStringSubmatch(one.body+"\n"+one.answer, -1) {
				secret := html.UnescapeString(found[1])
				if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && p.encoded {
					secret = string(raw)
				}
				if len(secret) > 10 { // a word that is sealed to see whether it opens is none
					o.vault.keep(p.what, secret)
				}
			}
		}
	}
}

// hides takes what a thief or a backup could take: the files, a backup, the log, the metrics, the pages, what commands and
// refusals say. None of it may hold a secret that the installation was given, gave out, or got from its provider. kinds are of
// secrets that must be among them. The broker is stopped.
func (o *outpost) hides(kinds ...string) {
	o.Helper()
	said := &heard{}
	for _, command := range []string{"leases", "requests", "tasks"} {
		out, _ := o.as(command)
		said.WriteString(out)
	}
	said.WriteString(o.shows("/"))
	for _, lease := range o.leases(true) {
		said.WriteString(o.shows("/requests/" + lease.Request))
		text, err := json.Marshal(lease)
		must(o, err)
		said.Write(text)
	}
	said.WriteString(o.shows("/leases"))
	o.scrape(said)
	out, _ := o.run("check", "--live")
	said.WriteString(out)
	o.must("backup", o.path("backup.db"))
	o.must("audit", "export", o.path("log.jsonl"))
	o.put("heard", said.String())
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", o.broker.command.Process.Pid))
	must(o, err)
	o.put("cmdline", string(line))
	o.stop()

	o.overhear()
	seen := o.vault.kinds()
	o.Logf("%d secrets: %v", len(o.vault.seen), seen)
	for _, kind := range kinds {
		if seen[kind] == 0 {
			o.Errorf("no secret of the kind %q: the test does not test", kind)
		}
	}
	o.searchFiles()
	engine, err := bolt.Open(o.path("data/hourkey.db"), bolt.Options{})
	must(o, err)
	defer engine.Close()
	o.readAll(engine)
}

// shows gives one page of alice's.
func (o *outpost) shows(path string) string {
	o.Helper()
	page, status, err := o.alice.Read(o.Context(), path)
	if err != nil {
		o.Errorf("%s: %v, %v", path, status, err)
	}
	return page
}

// scrapeText is the broker's metrics.
func (i *installation) scrapeText() string {
	i.Helper()
	said := &heard{}
	i.scrape(said)
	return said.String()
}

// eventsOf gives the exported log's lines of one type; it verifies it.
func (o *outpost) eventsOf(kind string) (lines []string) {
	o.Helper()
	for _, event := range o.events() {
		if string(event.Type) == kind {
			lines = append(lines, event.Subject+" "+string(event.Data))
		}
	}
	return lines
}

// isPost tells calls that change something.
func isPost(one call) bool { return one.method == http.MethodPost || one.method == http.MethodPut }

// has tells whether a call is to a path that has a text in it.
func has(text string) func(call) bool {
	return func(one call) bool { return strings.Contains(one.path, text) }
}
