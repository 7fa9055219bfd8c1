package daemon

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/vault"
)

// tokens is a way to Vault that keeps every token and secret id that went by.
type tokens struct {
	http.Handler

	mu   sync.Mutex
	seen map[string]bool
}

func (k *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if token := r.Header.Get("X-Vault-Token"); token != "" {
		k.mu.Lock()
		k.seen[token] = true
		k.mu.Unlock()
	}
	k.Handler.ServeHTTP(w, r)
}

// The broker's own token at Vault is in memory alone: neither in a file below its folder, nor in its log, whatever fails.
func TestTokenOfTheBrokerIsWrittenNowhere(t *testing.T) {
	s := newVaultSite(t)
	at, err := url.Parse(s.Address)
	must(t, err)
	forward := httputil.NewSingleHostReverseProxy(at)
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	way := &tokens{Handler: forward, seen: map[string]bool{}}
	front := httptest.NewServer(way)
	t.Cleanup(front.Close)
	s.file(t, s.Address, front.URL)

	var log bytes.Buffer
	o := options(s.dir)
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := Open(t.Context(), o)
	must(t, err)
	s.policy(t, "path \"x\" { capabilities = [\"read\"] }")
	_, refused := d.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket})
	s.Stop()
	_, unreachable := d.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket})
	for name, err := range map[string]error{"refused": refused, "unreachable": unreachable} {
		if err == nil {
			t.Errorf("%s: the reload was taken", name)
		} else {
			log.WriteString(err.Error())
		}
	}
	must(t, d.close())
	if len(way.seen) == 0 {
		t.Fatal("no token went by")
	}
	for token := range way.seen {
		if strings.Contains(log.String(), token) {
			t.Errorf("a token is in the log:\n%s", log.String())
		}
		must(t, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte(token)) {
				t.Errorf("a token is in %s", path)
			}
			return err
		}))
	}
}

// Vault is away: what was approved is collected and ended, the store is read, written, signed and copied; only new secrets wait.
func TestBrokerGoesOnWithoutVault(t *testing.T) {
	s := newVaultSite(t)
	put(t, s.dir, "environments/staging.yaml", strings.Replace(stagingFile, "targets:\n", "targets:\n  db:\n    postgres: {dsn: \""+dsnAtVault+"\", owner: o}\n", 1))
	put(t, s.dir, "policies/tasks/fix.yaml", tasksFile)
	d, _ := open(t, s.dir)
	enrol(t, d)
	before, after := ask(t, d), ask(t, d)
	_, err := d.broker.Collect(t.Context(), robot, before.ID)
	must(t, err)
	sealed, err := d.stack.Keys.Seal([]byte("a handle"), "lease/1")
	must(t, err)
	s.Stop()

	if opened, err := d.stack.Keys.Open(sealed, "lease/1"); err != nil || string(opened) != "a handle" {
		t.Errorf("a sealed handle: %q, %v", opened, err)
	}
	_, err = d.broker.Collect(t.Context(), robot, after.ID)
	must(t, err)
	leases, err := d.broker.Leases(t.Context(), broker.Caller{Kind: broker.CallerSocket}, false)
	must(t, err)
	for _, lease := range leases {
		must(t, d.broker.Release(t.Context(), robot, lease.ID))
	}
	if len(leases) != 2 {
		t.Errorf("%d leases", len(leases))
	}
	_, err = d.stack.Checkpoint(t.Context())
	must(t, err)
	var backup, export bytes.Buffer
	must(t, d.stack.Backup(t.Context(), &backup))
	must(t, d.stack.Export(t.Context(), &export))
	_, err = d.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket})
	if told, ok := errors.AsType[*broker.Error](err); !ok || !strings.Contains(told.Message, "Vault cannot be reached") || told.Next == "" {
		t.Errorf("a reload says %v; want it to say why, and what to do", err)
	}
}

const handedOut = `protected: false
targets:
  app:
    vault:
      address: ADDRESS
      login: {approle: {role_id: r, secret_id: env:SID}}
      engine: ENGINE
      mount: kv
      folders: [app]
      token_role: t
      offers: [{policies: [p]}]
  db:
    postgres: {dsn: "vault:PATH#dsn", owner: o}
`

// The broker's own secret lies where agents read and write by ordinary leases: they would have the broker's login, or lead it elsewhere.
func TestReferenceToWhatATargetHandsOut(t *testing.T) {
	for _, one := range []struct {
		name, engine, address, path string
		refused                     bool
	}{
		{"in the folder", "kv", "https://vault.example:8200", "kv/data/app/db", true},
		{"the folder itself", "kv", "https://vault.example:8200", "kv/data/app", true},
		{"of version 1", "kv1", "https://vault.example:8200", "kv/app/deep/db", true},
		{"the host in capitals", "kv", "https://Vault.Example:8200", "kv/data/app/db", true},
		{"another folder", "kv", "https://vault.example:8200", "kv/data/apple/db", true}, // by dots in a path a lease could overwrite it
		{"another mount", "kv", "https://vault.example:8200", "kv2/data/app/db", false},
		{"another Vault", "kv", "https://other.example:8200", "kv/data/app/db", false},
	} {
		dir := folder(t)
		put(t, dir, "hourkey.yaml", serverFile+"vault: {address: \"https://vault.example:8200\", login: {approle: {role_id: r, secret_id: env:SID}}}\n")
		put(t, dir, "environments/staging.yaml", strings.NewReplacer("ADDRESS", one.address, "ENGINE", one.engine, "PATH", one.path).Replace(handedOut))
		put(t, dir, "policies/tasks/fix.yaml", "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"db:public.*:read\"]\n")
		set, err := config.Load(filepath.Join(dir, "hourkey.yaml"), config.NewGuard())
		must(t, err)
		secrets := config.Secrets{Guard: config.NewGuard(), Lookup: func(string) (string, bool) { return "a-secret", true }, Vault: func(string) (broker.Secret, error) {
			return broker.NewSecret("postgres://a:b@127.0.0.1:1/db"), nil
		}}
		built, err := Build{Secrets: secrets, Signer: Throwaway, Now: options(dir).Now}.Configuration(t.Context(), set, nil)
		if err == nil {
			must(t, built.Close())
		}
		if (broker.CodeOf(err) == broker.CodeInvalid) != one.refused || one.refused && !strings.Contains(err.Error(), "environments/staging.yaml:12: vault:"+one.path+" lies in an engine that the target staging/app hands out") {
			t.Errorf("%s: %v", one.name, err)
		}
	}
	if handsOut(vault.Settings{Mount: "k"}, "kv/data/app/db") {
		t.Error("an engine hands out what lies in another, whose name begins so")
	}
}

// closed counts its closings.
type closed struct {
	broker.Issuer
	broker.Declarer
	times int
}

func (c *closed) Close() error { c.times++; return nil }

// An issuer in whose place another came, of the same binding, is nobody's any more; that of another binding is the broker's, which
// ends leases by it; one that stays in use stays open.
func TestReplacedIssuerIsClosed(t *testing.T) {
	ref := func(name string) broker.TargetRef { return broker.TargetRef{Environment: "staging", Target: name} }
	exchanged, rebound, kept, gone := &closed{}, &closed{}, &closed{}, &closed{}
	was := &Built{Configuration: &broker.Configuration{Targets: map[broker.TargetRef]broker.Target{
		ref("exchanged"): {Binding: "a", Issuer: exchanged}, ref("rebound"): {Binding: "b", Issuer: rebound}, ref("kept"): {Binding: "c", Issuer: kept}, ref("gone"): {Binding: "d", Issuer: gone},
	}}}
	next := &Built{Configuration: &broker.Configuration{Targets: map[broker.TargetRef]broker.Target{
		ref("exchanged"): {Binding: "a", Issuer: &closed{}}, ref("rebound"): {Binding: "b2", Issuer: &closed{}}, ref("kept"): {Binding: "c", Issuer: kept},
	}}}
	must(t, was.closeReplaced(next))
	if exchanged.times != 1 || rebound.times+kept.times+gone.times != 0 {
		t.Errorf("closed: exchanged %d, rebound %d, kept %d, gone %d", exchanged.times, rebound.times, kept.times, gone.times)
	}
}
