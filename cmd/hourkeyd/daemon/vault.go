package daemon

import (
	"bytes"
	"context"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers"
	"github.com/hourkey/hourkey/issuers/vault/session"
	"github.com/hourkey/hourkey/issuers/vault/transit"
	"github.com/hourkey/hourkey/store/keys"
)

// vaultWithin bounds the reading of one secret at Vault, a login included.
const vaultWithin = 30 * time.Second

// References resolves what a configuration refers to. Where hourkey.yaml names a Vault, it has the broker's one login there.
type References struct {
	config.Secrets

	session *session.Session // nil: hourkey.yaml names none
	transit config.Transit
}

// OpenReferences reads `vault:` of hourkey.yaml, if it is there. It calls nobody. What the login at Vault proves itself with
// cannot be kept there.
func OpenReferences(server config.Server, secrets config.Secrets, now func() time.Time) (*References, error) {
	secrets.Dir = server.Dir
	r := &References{Secrets: secrets, transit: server.Transit}
	if server.Vault == nil {
		return r, nil
	}
	opened, err := issuers.VaultSession(issuers.Config{
		Resolve: secrets.Resolve, // which knows no Vault yet
		File:    filepath.Base(server.File), Now: now,
	}, server.Vault)
	if err != nil {
		return nil, err
	}
	r.session = opened
	r.Vault = r.ask
	return r, nil
}

// ask has no context of its caller's: who resolves a reference may be a timer.
func (r *References) ask(reference string) (broker.Secret, error) {
	ctx, cancel := context.WithTimeout(context.Background(), vaultWithin)
	defer cancel()
	return r.session.Secret(ctx, reference)
}

// kek gives the key-encryption key: that of the file, or Vault's.
func (r *References) kek(ctx context.Context, file string) (keys.KEK, error) {
	if r.transit == (config.Transit{}) {
		return keys.FileKEK(file)
	}
	ctx, cancel := context.WithTimeout(ctx, vaultWithin)
	defer cancel()
	return transit.Open(ctx, r.session, transit.Settings{Mount: r.transit.Mount, Key: r.transit.Key})
}

// Close ends the login at Vault.
func (r *References) Close() error {
	if r.session == nil {
		return nil
	}
	return r.session.Close()
}

// sameVault tells whether two say the same of Vault, wherever it stands in the file.
func sameVault(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	was, err1 := yaml.Marshal(a)
	is, err2 := yaml.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(was, is)
}
