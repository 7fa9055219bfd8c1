package daemon

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/vault/transit"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

const (
	vaultPassword = "planted-password-of-the-test"
	dsnAtVault    = "vault:kv/data/hourkey/staging#dsn"
)

// vaultSite is a Vault that has what a broker wants of it, made as docs/issuers/vault.md says, and a folder that names it.
type vaultSite struct {
	*vaulttest.Server
	dir string
}

func newVaultSite(t *testing.T) *vaultSite {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := &vaultSite{Server: vaulttest.Start(t), dir: folder(t)}
	s.Write(t, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	s.keep(t, "postgres://broker:"+vaultPassword+"@127.0.0.1:1/db")
	s.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	s.Write(t, "transit/keys/hourkey", map[string]any{"type": "aes256-gcm96"})
	s.policy(t, transit.Settings{Key: "hourkey"}.Policy()+"path \"kv/data/hourkey/*\" { capabilities = [\"read\"] }\n")
	s.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	s.Write(t, "auth/approle/role/hourkey", map[string]any{"token_policies": "hourkey", "token_ttl": "1h"})
	role := s.Read(t, "auth/approle/role/hourkey/role-id")["data"].(map[string]any)["role_id"].(string)
	secret := s.Write(t, "auth/approle/role/hourkey/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	put(t, s.dir, "secrets/vault-secret-id", secret+"\n")
	put(t, s.dir, "hourkey.yaml", serverFile+"keys: vault:transit/keys/hourkey\nvault:\n  address: "+s.Address+
		"\n  login: {approle: {role_id: "+role+", secret_id: file:secrets/vault-secret-id}}\n")
	put(t, s.dir, "environments/staging.yaml", strings.Replace(databaseFile, "env:DSN", dsnAtVault, 1))
	put(t, s.dir, "policies/tasks/fix.yaml", "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"db:public.*:read\"]\n")
	return s
}

func (s *vaultSite) keep(t *testing.T, dsn string) {
	t.Helper()
	s.Write(t, "kv/data/hourkey/staging", map[string]any{"data": map[string]any{"dsn": dsn}})
}

func (s *vaultSite) policy(t *testing.T, text string) {
	t.Helper()
	s.Write(t, "sys/policies/acl/hourkey", map[string]any{"policy": text})
}

// file changes hourkey.yaml, and gives it back at the end.
func (s *vaultSite) file(t *testing.T, from, to string) (back func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "hourkey.yaml"))
	must(t, err)
	if !strings.Contains(string(text), from) {
		t.Fatalf("hourkey.yaml holds no %q", from)
	}
	put(t, s.dir, "hourkey.yaml", strings.Replace(string(text), from, to, 1))
	return func() { put(t, s.dir, "hourkey.yaml", string(text)) }
}

func (s *vaultSite) set(t *testing.T) *config.Set {
	t.Helper()
	set, err := config.Load(filepath.Join(s.dir, "hourkey.yaml"), config.NewGuard())
	must(t, err)
	return set
}

// notOpened wants a start that fails, telling why and no secret.
func (s *vaultSite) notOpened(t *testing.T, what, want string) {
	t.Helper()
	d, err := Open(t.Context(), options(s.dir))
	if err == nil {
		must(t, d.close())
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), vaultPassword) {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

// The key that opens the store never leaves Vault; the secrets of targets come from there as well.
func TestKeyAndSecretsAtVault(t *testing.T) {
	s := newVaultSite(t)
	d, stop := open(t, s.dir)
	key, err := d.stack.LogKey(t.Context())
	must(t, err)
	if _, err := os.Stat(filepath.Join(s.dir, "keys", "kek")); err == nil {
		t.Error("there is a key in a file as well")
	}
	ref := broker.TargetRef{Environment: "staging", Target: "db"}
	first := d.current.Targets[ref]

	// A secret that was exchanged at Vault is taken by a reload.
	s.keep(t, "postgres://broker:another-"+vaultPassword+"@127.0.0.1:1/db")
	done, err := d.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket})
	if err != nil || len(done.Restart) > 0 || d.current.Targets[ref] == first {
		t.Errorf("reloaded: %+v, %v; the old secret stays in use: %t", done, err, d.current.Targets[ref] == first)
	}
	if _, err := first.Issuer.Identify(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("the issuer that has the old secret: %v; want it closed", err)
	}
	back := s.file(t, "  login:", "  namespace: team\n  login:")
	if done, err := d.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}); err != nil || len(done.Restart) != 1 || done.Restart[0] != "vault" {
		t.Errorf("another Vault: %+v, %v; only a new start can take it", done, err)
	}
	back()
	backup := filepath.Join(s.dir, "backup.db")
	file, err := os.Create(backup)
	must(t, err)
	must(t, d.stack.Backup(t.Context(), file))
	must(t, file.Close())
	stop()

	// The same key opens the store again, after it was rotated, and a backup.
	s.Write(t, "transit/keys/hourkey/rotate", map[string]any{})
	_, err = offline(s.dir).Restore(t.Context(), backup)
	must(t, err)
	again, stop := open(t, s.dir)
	if now, err := again.stack.LogKey(t.Context()); err != nil || now != key {
		t.Errorf("the log's key is %s, was %s, %v", now, key, err)
	}

	// Without Vault nothing opens, and what runs goes on.
	references, err := OpenReferences(again.server, config.Secrets{Guard: config.NewGuard()}, options(s.dir).Now)
	must(t, err)
	defer references.Close()
	if found, err := references.Check(t.Context(), s.set(t)); err != nil || len(found) > 0 {
		t.Errorf("the documented policy: %+v, %v", found, err)
	}
	s.Stop()
	if _, err := references.Check(t.Context(), s.set(t)); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("the key of a Vault that is gone: %v", err)
	}
	if _, err := again.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}); err == nil {
		t.Error("a configuration was taken whose secrets nobody could read")
	}
	if _, err := again.stack.LogKey(t.Context()); err != nil {
		t.Errorf("what runs does not go on: %v", err)
	}
	stop()
	s.notOpened(t, "Vault is down", "Vault cannot be reached")
}

// The attacks: a store whose key is exchanged, a key that can be taken out or deleted, a login that may do everything, and one
// that is kept where it leads.
func TestUnfitVaultIsRefused(t *testing.T) {
	s := newVaultSite(t)
	_, stop := open(t, s.dir)
	stop()
	back := s.file(t, "keys: vault:transit/keys/hourkey", "keys: keys/kek")
	s.notOpened(t, "the key of another place", "does not exist")
	back()
	s.Write(t, "transit/keys/other", map[string]any{"type": "aes256-gcm96"})
	s.policy(t, transit.Settings{Key: "hourkey"}.Policy()+transit.Settings{Key: "other"}.Policy()+"path \"kv/data/hourkey/*\" { capabilities = [\"read\"] }\n")
	back = s.file(t, "transit/keys/hourkey", "transit/keys/other")
	s.notOpened(t, "another key", "was sealed with the key-encryption key")
	back()
	s.Write(t, "transit/keys/hourkey/config", map[string]any{"deletion_allowed": true})
	s.notOpened(t, "a key that can be deleted", "can be deleted")
	s.Write(t, "transit/keys/hourkey/config", map[string]any{"deletion_allowed": false})
	s.policy(t, "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"sudo\"] }\n")
	s.notOpened(t, "a login that may do everything", "with it everything could be done")
	s.policy(t, transit.Settings{Key: "hourkey"}.Policy())
	s.notOpened(t, "a login that may not read the secret", dsnAtVault+" cannot be read")
	back = s.file(t, "file:secrets/vault-secret-id", "vault:kv/data/hourkey/login#secret_id")
	s.notOpened(t, "the way in is kept inside", "hourkey.yaml:8: ")
	back()
	back = s.file(t, "file:secrets/vault-secret-id", vaultPassword)
	s.notOpened(t, "the way in, written down", "must be a reference")
	back()
	put(t, s.dir, "environments/staging.yaml", strings.Replace(databaseFile, "env:DSN", "vault:"+vaultPassword, 1))
	s.notOpened(t, "a secret where its reference belongs", "holds something else")
}
