package system

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/store/bolt"
)

// TestStolenFilesHoldNoSecretOfTheGateway has calls pass, be refused, be misread, be asked for and be approved,
// each with a secret in it; then it takes what a thief or a backup could take, and searches for those, for
// Railway's own, and for every token that was on the wire.
func TestStolenFilesHoldNoSecretOfTheGateway(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	said := &heard{}
	c := g.exec()
	g.sayEverything(c, said)
	g.approveOne(c, said)
	g.scrape(said)
	for n := range 10 { // so that there is enough to search
		g.asked("a variable", c.run(c.curl(g.rail.unsets(g.rail.Staging, fmt.Sprintf("SOME_%d", n)))))
	}
	for _, command := range []string{"leases", "requests", "tasks"} {
		out, err := g.agentCommand(command).CombinedOutput()
		if err != nil {
			t.Errorf("hourkey %s: %v, %s", command, err, out)
		}
		said.Write(out)
	}
	_, _ = c.end()
	said.WriteString(c.said.String())

	g.must("backup", g.path("backup.db"))
	g.must("audit", "export", g.path("log.jsonl"))
	g.put("heard", said.String())
	g.stop()
	g.ownKeys()
	g.keepAll()
	t.Logf("%d secrets: %v", len(g.vault.seen), g.vault.kinds())
	kinds := g.vault.kinds()
	for _, kind := range []string{"value in a literal", "value in what was approved", "lease token", "proof", "access token on the wire", "Railway's", "the real token"} {
		if kinds[kind] == 0 {
			t.Errorf("no secret of the kind %q: the test does not test", kind)
		}
	}
	g.searchFiles()
	if log, err := os.ReadFile(g.path("log.jsonl")); err != nil || !strings.Contains(string(log), "variableUpsert") {
		g.Errorf("the log holds no call: %v", err)
	}
	engine, err := bolt.Open(g.path("data/hourkey.db"), bolt.Options{})
	must(t, err)
	defer engine.Close()
	g.readAll(engine)
}

// secret is a value that is searched for later.
func (g *gatehouse) secret(in string) string {
	value := "value-" + rand.Text()
	g.vault.keep("value in "+in, value)
	return value
}

// sayEverything makes calls in many ways, good and bad, with a secret in each.
func (g *gatehouse) sayEverything(c *child, said *heard) {
	g.Helper()
	r := g.rail
	sets := func(value string) string {
		return strings.Replace(r.sets(r.Staging, "NEW", "HERE"), `"HERE"`, value, 1)
	}
	for what, document := range map[string]func(secret string) string{
		"a literal":           func(s string) string { return sets(`"` + s + `"`) },
		"a block string":      func(s string) string { return sets(`"""` + s + `"""`) },
		"escapes":             func(s string) string { return sets(`"\u0076` + s[1:] + `"`) },
		"in production":       func(s string) string { return r.sets(r.Production, "NEW", s) },
		"an enum":             func(s string) string { return sets(strings.ReplaceAll(s, "-", "_")) },
		"a number":            func(s string) string { return sets("12" + s) },
		"an open string":      func(s string) string { return sets(`"` + s) },
		"an object":           func(s string) string { return sets(`{a: "` + s + `"}`) },
		"a list":              func(s string) string { return sets(`["` + s + `", "` + s + `"]`) },
		"an unknown field":    func(s string) string { return strings.Replace(sets(`"x"`), "value:", `secretly: "`+s+`", value:`, 1) },
		"an unknown argument": func(s string) string { return `mutation { variableUpsert(with: "` + s + `") }` },
		"a name":              func(s string) string { return `mutation M($` + strings.ReplaceAll(s, "-", "_") + `: String) { x }` },
		"a comment":           func(s string) string { return "# " + s + "\n" + sets(`"x"`) },
		"a default": func(s string) string {
			return `mutation($v: String! = "` + s + `") ` + strings.TrimPrefix(sets("$v"), "mutation")
		},
		"many at once": func(s string) string { return g.setsMany(s, false) },
		"nonsense":     func(s string) string { return s },
		"twice, one of them read": func(s string) string {
			return strings.TrimSuffix(sets(`"`+s+`"`), "}") + " again: volumeDelete(volumeId: 1) }"
		},
	} {
		secret := g.secret(what)
		out := c.run(c.curl(document(secret)))
		if what == "a literal" && !strings.Contains(out, "true") || strings.TrimSpace(out) == "" {
			g.Errorf("%s: %s", what, out)
		}
		g.hides(what, out)
	}
	for _, text := range []string{
		`{"query":"mutation($i: VariableUpsertInput!) { variableUpsert(input: $i) }","variables":{"i":%s}}`,
		`{"query":"mutation($i: VariableUpsertInput!) { variableUpsert(input: $i) }","variables":{"i":%s,"i":{}}}`,
		`{"query":"mutation($i: Int!) { variableUpsert(input: $i) }","variables":{"i":%s}}`,
		`{"query":"mutation { x }","unknown":%s}`, `[%s]`, `{"query":%s}`, `%s}`,
	} {
		input, err := json.Marshal(map[string]any{"projectId": r.Shop, "environmentId": r.Staging, "serviceId": r.Web, "name": "NEW", "value": g.secret(text)})
		must(g, err)
		file := c.body("")
		must(g, os.WriteFile(file, fmt.Appendf(nil, text, input), 0o600))
		out := c.run("curl -sS -m 60 -H 'Content-Type: application/json' -H 'X-Secret: " + g.secret("a header") + "' -u me:" + g.secret("a password") +
			" -b session=" + g.secret("a cookie") + " --data-binary @" + file + " " + forwardURL)
		g.hides("a body", out)
	}
	for query, path := range map[string][]string{ // where the secret is in the last variable
		`mutation($e: String!, $v: EnvironmentConfig!) { environmentStageChanges(environmentId: $e, input: $v) { id } }`:                                                 {"services", r.Web, "variables", "STAGED", "value"},
		`mutation($e: String!, $v: EnvironmentConfig!) { environmentPatchCommit(environmentId: $e, patch: $v) }`:                                                         {"services", r.Web, "variables", "COMMITTED", "value"},
		`mutation($p: String!, $e: String!, $v: EnvironmentVariables) { serviceCreate(input: {projectId: $p, environmentId: $e, variables: $v}) { id } }`:                {"A"},
		`mutation($e: String!, $s: String!, $v: RegistryCredentialsInput) { serviceInstanceUpdate(environmentId: $e, serviceId: $s, input: {registryCredentials: $v}) }`: {"password"},
	} {
		input := any(g.secret(query))
		for _, name := range slices.Backward(path) {
			input = map[string]any{name: input}
		}
		if path[0] == "password" {
			input.(map[string]any)["username"] = "deployer"
		}
		text, err := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"p": r.Shop, "e": r.Staging, "s": r.Web, "v": input}})
		must(g, err)
		file := c.body("")
		must(g, os.WriteFile(file, text, 0o600))
		g.hides(query, c.run("curl -sS -m 60 -H 'Content-Type: application/json' --data-binary @"+file+" "+forwardURL))
	}
	g.hides("a query string", c.run(c.curl(sets(`"x"`))+"'?token="+g.secret("a query string")+"'"))
	out := c.run(c.curl("{ projectTokens(projectId: \"" + r.Shop + "\") { edges { node { displayToken } } } }"))
	out += c.run(c.curl(r.asksVariables(r.Staging)))
	if found := r.Revealed(out); len(found) > 0 {
		g.Errorf("%d secrets of Railway's are in an answer: %s", len(found), out)
	}
}

// setsMany is variableCollectionUpsert; with replace it is a delete.
func (g *gatehouse) setsMany(secret string, replace bool) string {
	return fmt.Sprintf(`mutation { variableCollectionUpsert(input: {projectId: %q, environmentId: %q, serviceId: %q, replace: %t, variables: {A: %q, B: {value: %q}}}) }`,
		g.rail.Shop, g.rail.Staging, g.rail.Web, replace, secret, secret+"-b")
}

// approveOne has a human approve a call that holds a secret, which the page does not show.
func (g *gatehouse) approveOne(c *child, said *heard) {
	g.Helper()
	one, another := g.setsMany(g.secret("what was approved"), true), g.setsMany(g.secret("what was not approved"), true)
	request := g.asked("variables replaced", c.run(c.curl(one)))
	page, _, err := g.alice.Read(g.Context(), "/requests/"+request)
	must(g, err)
	said.WriteString(page)
	if !strings.Contains(page, "variableCollectionUpsert") {
		g.Errorf("the page does not show the call")
	}
	g.approve(request)
	if again := g.asked("with another value", c.run(c.curl(another))); again == request {
		g.Error("another value is the same question")
	}
	if out := c.run(c.curl(one)); !strings.Contains(out, "true") {
		g.Errorf("the approved call: %s", out)
	}
}

// keepAll adds to the vault what was on the wire and what Railway has.
func (g *gatehouse) keepAll() {
	g.Helper()
	g.vault.keep("the real token", g.rail.AccountToken)
	for _, secret := range g.rail.Secrets() {
		if secret != g.rail.AccountToken && !strings.HasPrefix(secret, "value-") {
			g.vault.keep("Railway's", secret)
		}
	}
	for _, token := range g.leaseTokens() {
		g.vault.keep("lease token", token)
	}
	for _, proof := range g.wire.tokens(`(?i)DPoP: ey[A-Za-z0-9_.-]+`) {
		g.vault.keep("proof", proof[len("DPoP: "):])
	}
	for _, bearer := range g.wire.tokens(`Bearer ey[A-Za-z0-9_.-]+`) {
		g.vault.keep("access token on the wire", bearer[len("Bearer "):])
	}
	server, err := config.LoadServer(g.path("hourkey.yaml"), config.NewGuard())
	must(g, err)
	stack, err := daemon.OpenStack(g.Context(), server, config.Secrets{Guard: config.NewGuard()}, time.Now)
	must(g, err)
	defer stack.Close()
	key, err := stack.Keys.Signer(g.Context(), "gateway-ca")
	must(g, err)
	g.vault.keep("the seed of the authorities", string(key.Seed()))
	g.vault.keep("the agent's key", string(g.key().Seed()))
}

// searchFiles reads all that the broker wrote, but for what it is given as a secret.
func (g *gatehouse) searchFiles() {
	g.Helper()
	searched := 0
	must(g, filepath.WalkDir(g.dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (path == g.home || path == g.path("secrets")) {
			return filepath.SkipDir
		}
		if err != nil || !entry.Type().IsRegular() || path == g.path("keys/kek") {
			return err
		}
		text, err := os.ReadFile(path)
		searched += len(text)
		text = bytes.ReplaceAll(text, make([]byte, 64), []byte{0}) // most of a store's file
		for secret, what := range g.vault.seen {
			if found := search(text, []byte(secret)); len(found) > 0 {
				g.Errorf("%s holds a secret (%s, %v)", path, what, found)
			}
		}
		return err
	}))
	g.Logf("%d bytes searched", searched)
	for _, name := range []string{"data/hourkey.db", "backup.db", "log.jsonl", "service.log", "heard"} {
		if text, err := os.ReadFile(g.path(name)); err != nil || len(text) == 0 {
			g.Errorf("%s was not searched: %v", name, err)
		}
	}
}
