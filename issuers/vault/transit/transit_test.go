package transit_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
	"github.com/hourkey/hourkey/issuers/vault/transit"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
	"github.com/hourkey/hourkey/store/keys"
)

var _ keys.KEK = (*transit.Key)(nil)

// login logs in to a Vault with transit, by an AppRole whose policy is the documentation's.
func login(t *testing.T, server *vaulttest.Server, settings transit.Settings) *session.Session {
	t.Helper()
	if _, _, err := vaulttest.Call(t.Context(), server.Address, server.Root, http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"}); err != nil { // it may be there
		t.Fatal(err)
	}
	server.Write(t, "sys/policies/acl/kek", map[string]any{"policy": settings.Policy()})
	server.Write(t, "auth/approle/role/r", map[string]any{"token_policies": "kek", "token_ttl": "1h"})
	id := server.Read(t, "auth/approle/role/r/role-id")["data"].(map[string]any)["role_id"].(string)
	secret := server.Write(t, "auth/approle/role/r/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	s, err := session.New(session.Config{
		Settings: session.Settings{Address: server.Address, Login: session.Login{AppRole: session.AppRole{RoleID: id, SecretID: "env:S"}}}, Now: time.Now,
		Resolve: func(string, string) (broker.Secret, error) { return broker.NewSecret(secret), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestKeyAtVault(t *testing.T) {
	server := vaulttest.Start(t)
	server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	server.Write(t, "transit/keys/hourkey", map[string]any{"type": "aes256-gcm96"})
	settings := transit.Settings{Key: "hourkey"}
	at := login(t, server, settings)
	key, err := transit.Open(t.Context(), at, settings)
	if err != nil {
		t.Fatal(err)
	}
	again, err := transit.Open(t.Context(), at, settings)
	if err != nil || again.ID() != key.ID() || key.ID() == "" {
		t.Errorf("opened twice: %q and %q, %v", key.ID(), again.ID(), err)
	}
	plain := []byte("thirty-two bytes of a key, 0123.")
	sealed, err := key.Wrap(t.Context(), plain, "Ed25519/checkpoint")
	if err != nil || bytes.Contains(sealed, plain) {
		t.Fatalf("Wrap: %v", err)
	}
	server.Write(t, "transit/keys/hourkey/rotate", map[string]any{})
	opened, err := again.Unwrap(t.Context(), sealed, "Ed25519/checkpoint")
	if err != nil || !bytes.Equal(opened, plain) {
		t.Errorf("Unwrap, after the key was rotated: %q, %v", opened, err)
	}
	for name, one := range map[string]struct {
		sealed []byte
		place  string
	}{
		"another place": {sealed, "Ed25519/access-token"}, "no place": {sealed, ""}, "cut": {sealed[:len(sealed)-4], "Ed25519/checkpoint"},
		"changed": {flipped(sealed), "Ed25519/checkpoint"}, "nothing": {nil, "Ed25519/checkpoint"}, "something else": {[]byte("vault:v1:AAAA"), "Ed25519/checkpoint"},
	} {
		opened, err := key.Unwrap(t.Context(), one.sealed, one.place)
		if err == nil || len(opened) > 0 || strings.Contains(fmt.Sprintf("%+v", err), base64.StdEncoding.EncodeToString(plain)) {
			t.Errorf("%s: %q, %v; want it not opened", name, opened, err)
		}
	}
}

// flipped changes one letter of what is sealed.
func flipped(sealed []byte) []byte {
	changed := bytes.Clone(sealed)
	at := len(changed) - 10
	if changed[at] == 'A' {
		changed[at] = 'B'
		return changed
	}
	changed[at] = 'A'
	return changed
}

func TestKeyThatCouldLeaveVaultIsRefused(t *testing.T) {
	server := vaulttest.Start(t)
	server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	at := login(t, server, transit.Settings{Key: "+"})
	for name, change := range map[string]map[string]any{
		"exportable": {"exportable": true}, "plain-backup": {"allow_plaintext_backup": true}, "derived": {"derived": true},
		"rsa": {"type": "rsa-2048"}, "ed25519": {"type": "ed25519"},
	} {
		server.Write(t, "transit/keys/"+name, change)
		if _, err := transit.Open(t.Context(), at, transit.Settings{Key: name}); broker.CodeOf(err) != broker.CodeWall || next(err) == "" {
			t.Errorf("%s: %v; want it refused, with how to make a better one", name, err)
		}
	}
	server.Write(t, "transit/keys/deletable", map[string]any{})
	server.Write(t, "transit/keys/deletable/config", map[string]any{"deletion_allowed": true})
	if _, err := transit.Open(t.Context(), at, transit.Settings{Key: "deletable"}); broker.CodeOf(err) != broker.CodeWall {
		t.Errorf("deletable: %v; want it refused", err)
	}
	if _, err := transit.Open(t.Context(), at, transit.Settings{Key: "nowhere"}); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a key that is not there: %v; want it not made", err)
	}
	for _, wrong := range []transit.Settings{{}, {Key: "../x"}, {Key: "a/b"}, {Mount: "../sys", Key: "a"}} {
		if _, err := transit.Open(t.Context(), at, wrong); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%+v: %v; want it refused", wrong, err)
		}
	}
}

func TestVaultIsGone(t *testing.T) {
	server := vaulttest.Start(t)
	server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	server.Write(t, "transit/keys/hourkey", map[string]any{})
	key, err := transit.Open(t.Context(), login(t, server, transit.Settings{Key: "hourkey"}), transit.Settings{Key: "hourkey"})
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := key.Wrap(t.Context(), []byte("a secret key"), "p"); broker.CodeOf(err) != broker.CodeUnavailable || strings.Contains(fmt.Sprintf("%+v", err), "a secret key") {
		t.Errorf("Wrap: %v; want it unavailable", err)
	}
	if _, err := key.Unwrap(t.Context(), []byte("vault:v1:AAAA"), "p"); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("Unwrap: %v; want it unavailable", err)
	}
}

// A key that was deleted and made anew, another Vault's of the same name, an old version that is put out of use: nothing opens, nothing
// turns into something else, and it is told apart from a Vault that did not answer.
func TestAnotherKeyOfTheSameName(t *testing.T) {
	server, other := vaulttest.Start(t), vaulttest.Start(t)
	settings := transit.Settings{Key: "hourkey"}
	opened := func(server *vaulttest.Server) *transit.Key {
		t.Helper()
		server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
		server.Write(t, "transit/keys/hourkey", map[string]any{})
		key, err := transit.Open(t.Context(), login(t, server, settings), settings)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, theirs := opened(server), opened(other)
	sealed, err := key.Wrap(t.Context(), []byte("plain"), "p")
	if err != nil {
		t.Fatal(err)
	}
	closed := func(what string, key *transit.Key, want broker.Code) {
		t.Helper()
		if plain, err := key.Unwrap(t.Context(), sealed, "p"); broker.CodeOf(err) != want || len(plain) > 0 || next(err) == "" {
			t.Errorf("%s: %q, %v; want %s, with what to do", what, plain, err, want)
		}
	}
	closed("another Vault's", theirs, broker.CodeConflict)
	server.Write(t, "transit/keys/hourkey/rotate", map[string]any{})
	server.Write(t, "transit/keys/hourkey/config", map[string]any{"min_decryption_version": 2})
	closed("an old version", key, broker.CodeConflict)
	server.Write(t, "transit/keys/hourkey/config", map[string]any{"min_decryption_version": 1, "deletion_allowed": true})
	if plain, err := key.Unwrap(t.Context(), sealed, "p"); err != nil || string(plain) != "plain" {
		t.Errorf("the old version, allowed again: %q, %v", plain, err)
	}
	server.Delete(t, "transit/keys/hourkey")
	closed("deleted", key, broker.CodeConflict)
	server.Write(t, "transit/keys/hourkey", map[string]any{})
	closed("made anew", key, broker.CodeConflict)
	server.Write(t, "sys/policies/acl/kek", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	closed("not allowed", key, broker.CodeUnavailable)
	server.Write(t, "sys/seal", map[string]any{})
	closed("sealed", key, broker.CodeUnavailable)
}

// A mount that was moved has the same key: the store stays open to it.
func TestKeyAtAMountThatWasMoved(t *testing.T) {
	server := vaulttest.Start(t)
	server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	server.Write(t, "transit/keys/hourkey", map[string]any{})
	was, is := transit.Settings{Key: "hourkey"}, transit.Settings{Mount: "moved", Key: "hourkey"}
	key, err := transit.Open(t.Context(), login(t, server, was), was)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Wrap(t.Context(), []byte("plain"), "p")
	if err != nil {
		t.Fatal(err)
	}
	server.Write(t, "sys/remount", map[string]any{"from": "transit", "to": "moved"})
	at := login(t, server, is)
	moved, err := transit.Open(t.Context(), at, is)
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // Vault moves it in the background
		moved, err = transit.Open(t.Context(), at, is)
	}
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := moved.Unwrap(t.Context(), sealed, "p"); err != nil || string(plain) != "plain" || moved.ID() != key.ID() {
		t.Errorf("%q, %v, id %s for %s", plain, err, moved.ID(), key.ID())
	}
}

func next(err error) string {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		return e.Next
	}
	return ""
}
