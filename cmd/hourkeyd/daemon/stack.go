package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/keys"
	"github.com/hourkey/hourkey/web"
)

// StoreName is the store's file in the data folder.
const StoreName = "hourkey.db"

// Stack is an open store with its log and keys. While it is open, no other broker can open the same.
type Stack struct {
	Engine *bolt.Engine
	Log    *auditlog.Log
	Store  *store.Store
	Keys   *keys.Ring

	references *References
	anchor     string
	newest     atomic.Pointer[[]byte] // checkpoint that was signed
}

// OpenStack opens what lies in the data folder, and makes it if there is nothing yet. Of secrets, Guard and Lookup are used.
func OpenStack(ctx context.Context, server config.Server, secrets config.Secrets, now func() time.Time) (*Stack, error) {
	if err := prepare(server, secrets.Guard); err != nil {
		return nil, err
	}
	return openFile(ctx, filepath.Join(server.Data, StoreName), server, secrets, now)
}

// openFile opens a store that lies at path, with the keys of server.
func openFile(ctx context.Context, path string, server config.Server, secrets config.Secrets, now func() time.Time) (*Stack, error) {
	references, err := OpenReferences(server, secrets, now)
	if err != nil {
		return nil, err
	}
	engine, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return nil, errors.Join(err, references.Close())
	}
	s := &Stack{Engine: engine, Log: auditlog.New(engine, auditlog.Options{Now: now}), references: references, anchor: server.Anchor}
	if err := s.open(ctx, server.Keys, now); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) open(ctx context.Context, kekFile string, now func() time.Time) (err error) {
	if s.Store, err = store.Open(s.Engine, s.Log, store.Options{}); err != nil {
		return err
	}
	kek, err := s.references.kek(ctx, kekFile)
	if err != nil {
		return err
	}
	if s.Keys, err = keys.Open(ctx, s.Store, kek, now); err != nil {
		return err
	}
	_, err = s.Keys.Signer(ctx, checkpointKey) // now, while the key-encryption key can be asked: later the log is signed without it
	return err
}

// Close closes the store, and ends the login at Vault.
func (s *Stack) Close() error { return errors.Join(s.Engine.Close(), s.references.Close()) }

// prepare makes the folders and refuses those that others can look into.
func prepare(server config.Server, guard config.Guard) error {
	folders := []string{server.Data, filepath.Dir(server.Anchor)}
	if server.Keys != "" {
		folders = append(folders, filepath.Dir(server.Keys))
	}
	for _, folder := range folders {
		// Before anything is made: what root made in a service's folder, the service could not use.
		if err := guard.Check(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
		if err := guard.Check(folder); err != nil {
			return err
		}
	}
	if err := guard.Check(server.Anchor); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := guard.CheckSecret(server.Data); err != nil {
		return err
	}
	return prepareKEK(server, guard)
}

// prepareKEK makes the key of a store that is not there yet. It refuses a key that others can read, and
// a store whose key is gone: a new key would open nothing of it.
func prepareKEK(server config.Server, guard config.Guard) error {
	if server.Keys == "" {
		return nil // Vault has it, and makes none by itself
	}
	err := guard.CheckSecret(server.Keys)
	if err == nil {
		return keys.Apart(server.Keys, server.Data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch _, err := os.Stat(filepath.Join(server.Data, StoreName)); {
	case err == nil:
		return broker.Errorf(broker.CodeInvalid, "%s, the key that opens the store in %s, does not exist", server.Keys, server.Data).
			WithField("keys").WithNext("put the key back from where you keep its copy, or set keys: to where it is")
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for the store: %w", err)
	}
	if err := keys.Apart(server.Keys, server.Data); err != nil {
		return err
	}
	_, err = keys.NewFileKEK(server.Keys)
	return err
}

// checkpointKey is the key that signs the log.
const checkpointKey = "checkpoint"

// LogKey gives the public key that verifies checkpoints and exports.
func (s *Stack) LogKey(ctx context.Context) (string, error) {
	key, err := s.Keys.Signer(ctx, checkpointKey)
	if err != nil {
		return "", err
	}
	return s.Log.PublicKey(ctx, key)
}

// Checkpoint signs the log as it stands.
func (s *Stack) Checkpoint(ctx context.Context) ([]byte, error) {
	key, err := s.Keys.Signer(ctx, checkpointKey)
	if err != nil {
		return nil, err
	}
	signed, err := s.Log.Checkpoint(ctx, key)
	if err == nil {
		s.newest.Store(&signed)
	}
	return signed, err
}

// Integrity holds the log against the newest checkpoint that this run signed.
func (s *Stack) Integrity(ctx context.Context) (web.Integrity, error) {
	kept := s.newest.Load()
	if kept == nil {
		return web.Integrity{}, nil
	}
	key, err := s.LogKey(ctx)
	if err != nil {
		return web.Integrity{}, err
	}
	if err := s.Log.Extends(ctx, *kept, key); err != nil {
		return web.Integrity{}, err
	}
	c, err := auditlog.OpenCheckpoint(*kept, key)
	if err != nil {
		return web.Integrity{}, err
	}
	return web.Integrity{Checkpoint: *kept, Covers: uint64(c.Tree.N), At: c.Time}, nil //nolint:gosec // a height is not negative
}

// Export writes the log as JSON lines, signed.
func (s *Stack) Export(ctx context.Context, to io.Writer) error {
	key, err := s.Keys.Signer(ctx, checkpointKey)
	if err != nil {
		return err
	}
	return s.Log.Export(ctx, to, key)
}

// Backup writes a copy of the store while work goes on.
func (s *Stack) Backup(ctx context.Context, to io.Writer) error { return s.Store.Backup(ctx, to) }
