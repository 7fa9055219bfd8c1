package system

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// client is a program as people write them: nothing in it is Hourkey's.
type client struct {
	name    string
	command func(g *gatehouse) string // that takes URL and FILE
	url     string                    // as the shell reads it
}

const baseURL = `"$RAILWAY_API_URL"`

func curl(*gatehouse) string {
	return `sh -c 'exec curl -sS -m 60 -H "Content-Type: application/json" --data-binary @$2 -w " %{http_code}" $1' curl`
}

func testdata(name string) func(*gatehouse) string {
	return func(g *gatehouse) string {
		path, err := filepath.Abs("testdata/gateway/client" + name)
		must(g, err)
		return path
	}
}

func python(g *gatehouse) string    { return "python3 " + testdata(".py")(g) }
func node(g *gatehouse) string      { return "node " + testdata(".mjs")(g) }
func nodeHTTPS(g *gatehouse) string { return node(g) + " https" }
func goProgram(g *gatehouse) string { return shared.program(g, "./testdata/gateway/client") }

// clients are the programs that run unchanged, each in both modes: as it would reach Railway anyway, and with
// the base URL that it finds in a variable.
func clients() []client {
	return []client{
		{"curl, forward", curl, forwardURL}, {"curl, base URL", curl, baseURL},
		{"Python, forward", python, forwardURL}, {"Python, base URL", python, baseURL},
		{"Node, forward, fetch", node, forwardURL}, {"Node, base URL, fetch", node, baseURL}, {"Node, forward, node:https", nodeHTTPS, forwardURL},
		{"Go, forward", goProgram, forwardURL}, {"Go, base URL", goProgram, baseURL},
	}
}

// TestUnchangedPrograms: each reads the project and sees staging alone, sets a variable, sees names and masked
// values, and cannot delete: not staging's cache, not the volume that lives in production as well.
func TestUnchangedPrograms(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	before := g.rail.Snapshot()
	for at, program := range clients() {
		say := func(document string) string {
			return c.run(program.command(g) + " " + program.url + " " + c.body(document))
		}
		out := say(g.rail.asksProject())
		for _, want := range []string{g.rail.Staging, `"web"`, `"render-cache"`, " 200"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the project lacks %s: %s", program.name, want, out)
			}
		}
		if strings.Contains(out, g.rail.Production) || strings.Contains(out, `"production"`) {
			t.Errorf("%s sees production: %s", program.name, out)
		}

		name, value := fmt.Sprintf("FEATURE_%d", at), fmt.Sprintf("set-by-client-number-%d", at)
		if out := say(g.rail.sets(g.rail.Staging, name, value)); !strings.Contains(out, "true") || g.rail.value(g.rail.Staging, name) != value {
			t.Errorf("%s: setting a variable: %s", program.name, out)
		}
		out = say(g.rail.asksVariables(g.rail.Staging))
		if !strings.Contains(out, name) || !strings.Contains(out, "STRIPE_KEY") || len(g.rail.Revealed(out)) > 0 || strings.Contains(out, value) {
			t.Errorf("%s: the variables, names shown and values masked: %s", program.name, out)
		}
		if out := say(g.rail.asksVariables(g.rail.Production)); strings.Contains(out, "STRIPE_KEY") || !strings.Contains(out, "this lease works in staging alone") {
			t.Errorf("%s reads production's variables: %s", program.name, out)
		}
		g.readable(program.name, say(g.rail.deletes(g.rail.ShopData)), "lives in production", "this lease works in staging alone")
		g.readable(program.name, say(g.rail.deletes(g.rail.RenderCache)), "this call would delete", "render-cache", "A human was asked: "+g.origin+"/requests/")
	}
	for _, effect := range railway.Compare(before, g.rail.Snapshot()) {
		if strings.Contains(fmt.Sprintf("%+v", effect), g.rail.Production) {
			t.Errorf("production was touched: %+v", effect)
		}
	}
	if !g.rail.has(g.rail.ShopData) || !g.rail.has(g.rail.RenderCache) {
		t.Error("a volume is gone")
	}
	if code, err := c.end(); err != nil || code != 0 {
		t.Errorf("hourkey exec ended with %d, %v:\n%s", code, err, c.said)
	}
}

var firstMessage = regexp.MustCompile(`"message":"([^"\\]*)"`)

// readable wants a refusal that a person reads: one line, in the provider's own shape, with these words.
func (g *gatehouse) readable(who, out string, words ...string) {
	g.Helper()
	match := firstMessage.FindStringSubmatch(out)
	if match == nil || !strings.Contains(out, `{"data":null,"errors":[`) || !strings.Contains(out, " 403") {
		g.Errorf("%s: no refusal in GraphQL's shape: %s", who, out)
		return
	}
	for _, word := range words {
		if !strings.Contains(match[1], word) {
			g.Errorf("%s: the refusal says nothing of %q: %s", who, word, match[1])
		}
	}
}

// TestChildLooksForTheToken searches everything that a child of hourkey exec can read for the real token, for
// the lease's, and for the proofs.
func TestChildLooksForTheToken(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	c.run(c.curl(g.rail.asksProject()))
	c.run(c.curl("nonsense"))
	out := c.run(`env; cat /proc/self/environ /proc/self/cmdline /proc/$PPID/environ /proc/$PPID/cmdline; ls -laR "$TMPDIR"; find "$TMPDIR" "$HOME" -type f -print -exec cat {} +;
		curl -sS -v -m 60 ` + forwardURL + `; curl -sS -m 60 "$RAILWAY_API_URL?x"; ss -tnp 2>/dev/null; hourkey() { ` + g.hourkey + ` "$@"; }; hourkey leases; hourkey credential env --environment staging`)
	g.hides("what the child can read", out, c.said.String())
	if len(g.leaseTokens()) == 0 || !strings.Contains(out, "HTTPS_PROXY=") || !strings.Contains(out, "BEGIN CERTIFICATE") {
		t.Errorf("the test looked in the wrong places: %d tokens were issued\n%.2000s", len(g.leaseTokens()), out)
	}
	entries, err := os.ReadDir(filepath.Join(g.home, "tmp"))
	must(t, err)
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v, %v", entry.Name(), info.Mode(), err)
		}
	}
	_, _ = c.end()
	if entries, err = os.ReadDir(filepath.Join(g.home, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("after exec, %d files are left: %v, %v", len(entries), entries, err)
	}
}

// hides fails when a text holds the real token, a lease's token or a proof, in whatever form.
func (g *gatehouse) hides(what string, texts ...string) {
	g.Helper()
	secrets := map[string]string{"the real token": g.rail.AccountToken}
	for _, token := range g.leaseTokens() {
		secrets["a lease's token "+token[:8]] = token
	}
	for n, proof := range g.wire.tokens(`(?i)DPoP: ey[A-Za-z0-9_.-]+`) {
		secrets[fmt.Sprintf("proof %d", n)] = proof[len("DPoP: "):]
	}
	for _, text := range texts {
		for name, secret := range secrets {
			if found := search([]byte(text), []byte(secret)); len(found) > 0 {
				g.Errorf("%s holds %s (%v)", what, name, found)
			}
		}
		if strings.Contains(text, "hkt_") {
			g.Errorf("%s holds something that begins as a lease's token does", what)
		}
	}
}

// TestCallBringsItsOwnCredential: a real token lay about all the same, production's. The child puts it wherever
// one could go; Railway never sees it, nor what the child has in the place of a token.
func TestCallBringsItsOwnCredential(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	token := g.rail.ProductionToken
	headers := ""
	for _, name := range []string{"Authorization: Bearer", "Project-Access-Token:", "Team-Access-Token:", "Proxy-Authorization: Bearer", "Cookie: token=", "X-Api-Key:", "Referer: https://x/?"} {
		headers += " -H '" + name + " " + token + "'"
	}
	for _, url := range []string{forwardURL, baseURL} {
		out := c.run(strings.Replace(c.curl(g.rail.asksProject()), forwardURL, headers+" "+url, 1))
		if !strings.Contains(out, g.rail.Staging) || strings.Contains(out, g.rail.Production) {
			t.Errorf("%s: whose answer is this? %s", url, out)
		}
		c.run(strings.Replace(c.curl(g.rail.sets(g.rail.Staging, "A", "b")), forwardURL, headers+` -u "me:$RAILWAY_API_TOKEN" `+url, 1))
	}
	g.rail.mu.Lock()
	defer g.rail.mu.Unlock()
	for _, call := range g.rail.heard {
		if !strings.Contains(call.header, `"Bearer `+g.rail.AccountToken+`"`) || strings.Contains(call.header, `"Project-Access-Token"`) || strings.Contains(call.header, `"Cookie"`) {
			t.Errorf("Railway was asked as somebody else: %s", call.header)
		}
		if text := call.header + call.body; strings.Contains(text, token) || strings.Contains(text, "hkt_") || strings.Contains(text, "hkp_") {
			t.Errorf("Railway got a token that is none of the broker's: %s", text)
		}
	}
}
