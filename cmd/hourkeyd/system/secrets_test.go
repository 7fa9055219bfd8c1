package system

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/keys"
	"github.com/hourkey/hourkey/web/api"
)

// forms are how a secret can lie in something: as it is, in hex, or within base64, where it shows in three
// ways, by where in a group of three bytes it begins. Padding only comes after it.
func forms(secret []byte) map[string][]byte {
	all := map[string][]byte{
		"raw": secret, "hex": []byte(hex.EncodeToString(secret)), "hex in capitals": []byte(strings.ToUpper(hex.EncodeToString(secret))),
	}
	for before := range 3 {
		text := append(make([]byte, before), secret...)
		from, to := []int{0, 2, 3}[before], len(text)*8/6 // what neighbours have no part in
		all[fmt.Sprintf("base64 after %d", before)] = []byte(base64.RawStdEncoding.EncodeToString(text)[from:to])
		all[fmt.Sprintf("base64url after %d", before)] = []byte(base64.RawURLEncoding.EncodeToString(text)[from:to])
	}
	return all
}

// search gives the forms in which a secret lies in a text.
func search(text, secret []byte) (found []string) {
	for form, needle := range forms(secret) {
		if bytes.Contains(text, needle) {
			found = append(found, form)
		}
	}
	return found
}

// TestSearchFindsWhatIsPlanted proves that the searcher of the next test works.
func TestSearchFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	secret := []byte{0xfb, 0xef, 0xbe, 0xff, 0xfe, 0xfd} // its base64 has + and /, its base64url - and _
	secret = append(secret, rand.Text()...)
	planted := map[string]string{
		"raw": string(secret), "hex": hex.EncodeToString(secret), "HEX": strings.ToUpper(hex.EncodeToString(secret)),
	}
	for before := range 3 {
		for after := range 3 {
			inner := append(append(bytes.Repeat([]byte("a"), before), secret...), bytes.Repeat([]byte("z"), after)...)
			for name, encoding := range map[string]*base64.Encoding{
				"std": base64.StdEncoding, "raw std": base64.RawStdEncoding, "url": base64.URLEncoding, "raw url": base64.RawURLEncoding,
			} {
				planted[fmt.Sprintf("%s, %d before, %d after", name, before, after)] = encoding.EncodeToString(inner)
			}
		}
	}
	noise := make([]byte, 1<<16)
	_, _ = rand.Read(noise)
	for form, text := range planted {
		if found := search(slices.Concat(noise, []byte(text), noise), secret); len(found) == 0 {
			t.Errorf("%s: not found", form)
		}
	}
	if found := search(noise, secret); len(found) > 0 {
		t.Errorf("found in noise: %v", found)
	}
}

// heard is every text that came back in a refusal, or that a command printed.
type heard struct{ bytes.Buffer }

func (h *heard) err(err error) {
	if problem, ok := api.AsProblem(err); ok {
		fmt.Fprintf(h, "%+v\n", *problem)
	}
	fmt.Fprintln(h, err)
}

// TestStolenFilesHoldNoSecret has the installation issue and receive secrets, and refuse in many ways; then
// it takes what a thief or a backup could take, and searches.
func TestStolenFilesHoldNoSecret(t *testing.T) {
	t.Parallel()
	i := install(t)
	said := &heard{}
	i.issueMany(said)
	i.fail(said)
	i.page(said)

	i.must("backup", i.path("backup.db"))
	i.must("audit", "export", i.path("log.jsonl"))
	said.WriteString(i.must("audit", "checkpoint"))
	i.scrape(said)
	i.put("heard", said.String())
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", i.broker.command.Process.Pid))
	must(t, err)
	i.put("cmdline", string(line))
	i.stop()
	i.ownKeys()

	t.Logf("%d secrets: %v", len(i.vault.seen), i.vault.kinds())
	if len(i.vault.seen) < 50 {
		t.Errorf("%d secrets: the test wants at least 50", len(i.vault.seen))
	}
	searched := 0
	must(t, filepath.WalkDir(i.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || path == i.path("keys/kek") {
			return err
		}
		text, err := os.ReadFile(path)
		searched += len(text)
		for secret, what := range i.vault.seen {
			if found := search(text, []byte(secret)); len(found) > 0 {
				t.Errorf("%s holds a secret (%s, %v)", path, what, found)
			}
		}
		return err
	}))
	t.Logf("%d bytes searched", searched)
	for _, name := range []string{"data/hourkey.db", "backup.db", "log.jsonl", "service.log", "heard", "keys/anchor"} {
		if info, err := os.Stat(i.path(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not searched: %v", name, err)
		}
	}
	i.openWithoutKey(i.path("data/hourkey.db"))
	i.openWithoutKey(i.path("backup.db"))
}

// issueMany collects forty keys, two of them after approval, and leaves some alive.
func (i *installation) issueMany(said *heard) {
	i.Helper()
	for n := range 40 {
		key := i.key(10 * time.Minute)
		i.vault.keep("connection URL", key.Values["DATABASE_URL"].Reveal())
		if n%2 == 0 {
			must(i, i.agent.release(i.Context(), key.Lease))
		}
		if n%8 == 0 {
			i.agent.forget()
			said.err(run(i.Context(), key, "SELECT 1")) // PostgreSQL's words to the agent
		}
	}
	for range 2 {
		request, err := i.agent.request(i.Context(), "staging", 0, rwd)
		must(i, err)
		i.approve(request.ID)
		_, err = i.agent.collect(i.Context(), request.ID)
		must(i, err)
	}
	must(i, i.alice.SignIn(i.Context()))
}

// fail has everything refused that is given a secret.
func (i *installation) fail(said *heard) {
	i.Helper()
	ctx := i.Context()
	for _, code := range []string{"aaaaa-bbbbb-ccccc-ddddd", "  ", rand.Text()} {
		i.vault.keep("a wrong code", code+"-wrong")
		_, err := i.alice.Submit(ctx, "/invite", url.Values{"name": {"bob"}, "code": {code + "-wrong"}})
		said.err(err)
	}
	token, err := i.agent.bearer()
	must(i, err)
	bent := token[:len(token)-8] + "AAAAAAAA"
	i.vault.keep("a bent token", bent)
	for _, header := range []string{"Bearer " + bent, "Basic " + token, token, "Bearer " + token + token} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, i.origin+api.PathTasks+"?access_token="+url.QueryEscape(bent), nil)
		must(i, err)
		r.Header.Set("Authorization", header)
		answer, err := http.DefaultClient.Do(r)
		must(i, err)
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		said.Write(text)
	}
	answer, err := http.PostForm(i.origin+api.PathToken, url.Values{
		"grant_type": {api.GrantClientCredentials}, "client_assertion_type": {api.AssertionTypeJWT}, "client_assertion": {bent},
	})
	must(i, err)
	text, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	said.Write(text)
	for _, scope := range []string{"orders-db:public.secrets:read", "orders-db:public.orders:admin", "orders-db:public." + token[:30] + ":read"} {
		_, err := i.agent.request(ctx, "staging", 0, scope)
		said.err(err)
	}
	i.wrongPassword(said)
}

// wrongPassword breaks the broker's own login: at the server, in a file that holds the secret itself, in
// what check prints, and in what the agent is told.
func (i *installation) wrongPassword(said *heard) {
	i.Helper()
	i.staging.Exec(i, "postgres", "ALTER ROLE "+i.staging.admin+" PASSWORD 'another'",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+i.staging.admin+"'")
	for range 3 {
		_, err := i.agent.get(i.Context(), "staging", 0)
		said.err(err)
	}
	out, _ := i.run("check", "--live")
	said.WriteString(out)
	was, err := os.ReadFile(i.path("environments/staging.yaml"))
	must(i, err)
	i.edit("environments/staging.yaml", "env:STAGING_ADMIN_DSN", i.staging.dsn())
	for _, command := range []string{"check", "reload"} {
		out, code := i.run(command)
		said.WriteString(out)
		if code == 0 {
			i.Errorf("%s took a secret that stands in the file", command)
		}
	}
	i.put("environments/staging.yaml", string(was))
	i.staging.Exec(i, "postgres", "ALTER ROLE "+i.staging.admin+" PASSWORD '"+i.staging.password+"'")
	i.must("reload")
}

// page reads what a human sees.
func (i *installation) page(said *heard) {
	i.Helper()
	request, err := i.agent.request(i.Context(), "staging", 0, rwd)
	must(i, err)
	for _, path := range []string{"/", "/requests/" + request.ID, "/agents/" + agentName, "/targets/staging/orders-db"} {
		page, _, err := i.alice.Read(i.Context(), path)
		must(i, err)
		said.WriteString(page)
	}
}

func (i *installation) scrape(said *heard) {
	i.Helper()
	answer, err := http.Get(i.origin + api.PathMetrics)
	must(i, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(i, err)
	if answer.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("hourkey_leases_issued_total")) {
		i.Errorf("/metrics: %s", answer.Status)
	}
	said.Write(text)
}

// ownKeys adds the broker's own keys to what is searched for: in the store they are sealed.
func (i *installation) ownKeys() {
	i.Helper()
	raw, err := os.ReadFile(i.path("keys/kek"))
	must(i, err)
	_, kek, _ := strings.Cut(strings.TrimSpace(string(raw)), ":")
	secret, err := base64.RawURLEncoding.DecodeString(kek)
	must(i, err)
	i.vault.keep("key-encryption key", string(secret))
	server, err := config.LoadServer(i.path("hourkey.yaml"), config.NewGuard())
	must(i, err)
	stack, err := daemon.OpenStack(i.Context(), server, config.Secrets{Guard: config.NewGuard()}, time.Now)
	must(i, err)
	defer stack.Close()
	for _, purpose := range []string{"access-token", "checkpoint"} {
		key, err := stack.Keys.Signer(i.Context(), purpose)
		must(i, err)
		i.vault.keep("the broker's key "+purpose, string(key.Seed()))
	}
}

// openWithoutKey opens a copied store by our own code, with a key-encryption key of the thief's.
func (i *installation) openWithoutKey(path string) {
	i.Helper()
	stolen := filepath.Join(i.TempDir(), "stolen.db")
	text, err := os.ReadFile(path)
	must(i, err)
	must(i, os.WriteFile(stolen, text, 0o600))
	engine, err := bolt.Open(stolen, bolt.Options{})
	must(i, err)
	defer engine.Close()
	kept, err := store.Open(engine, auditlog.New(engine, auditlog.Options{Now: time.Now}), store.Options{})
	must(i, err)
	i.readAll(engine)

	kek, err := keys.NewFileKEK(filepath.Join(i.TempDir(), "keys", "kek"))
	must(i, err)
	ring, err := keys.Open(i.Context(), kept, kek, time.Now)
	if err == nil {
		i.Error("the store opens with another key-encryption key")
		var key ed25519.PrivateKey
		if key, err = ring.Signer(i.Context(), "access-token"); err == nil {
			i.Errorf("and gives a key of %d bytes", len(key))
		}
	}
	var handles int
	must(i, kept.View(i.Context(), func(r broker.Reader) error {
		return r.Scan("lease", "open", func(raw []byte) error {
			if bytes.Contains(raw, []byte(`"handle":`)) {
				handles++
			}
			if bytes.Contains(raw, []byte(`"oid"`)) {
				i.Error("a handle is not sealed")
			}
			return nil
		})
	}))
	if handles == 0 {
		i.Error("no open lease with a handle: the test does not test")
	}
}

// readAll reads every pair of the store, as its own code gives it.
func (i *installation) readAll(engine store.Engine) {
	i.Helper()
	pairs := 0
	must(i, engine.View(context.Background(), func(snapshot store.Snapshot) error {
		return snapshot.Scan(nil, nil, func(key, value []byte) error {
			pairs++
			for secret, what := range i.vault.seen {
				if found := append(search(key, []byte(secret)), search(value, []byte(secret))...); len(found) > 0 {
					i.Errorf("the record %q holds a secret (%s, %v)", key[:min(len(key), 40)], what, found)
				}
			}
			return nil
		})
	}))
	if pairs < 100 {
		i.Errorf("%d pairs: the test does not test", pairs)
	}
}
