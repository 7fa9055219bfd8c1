package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
)

// Offline is what commands need that work on a stopped broker's store.
type Offline struct {
	Path   string // of hourkey.yaml
	Guard  config.Guard
	Lookup func(name string) (string, bool) // of the environment: for the login at Vault, where that has the key
	Now    func() time.Time
}

func (o Offline) secrets() config.Secrets { return config.Secrets{Guard: o.Guard, Lookup: o.Lookup} }

// Restored says what a restore came to.
type Restored struct {
	Installation broker.Installation `json:"installation"`
	Events       uint64              `json:"events"`   // in the log that the new epoch continues
	Leases       int                 `json:"leases"`   // that were open in the backup and are being ended
	Replaced     string              `json:"replaced"` // where the former store is kept; empty if there was none
}

// Restore puts a backup in the place of the store. The broker that opens it next is frozen, has a new
// installation id, ends what the backup thought alive, and goes on in a new epoch of the log that names
// the checkpoint of the old one. The former store is kept beside it.
func (o Offline) Restore(ctx context.Context, from string) (r Restored, err error) {
	set, err := config.Load(o.Path, o.Guard)
	if err != nil {
		return r, err
	}
	if err := o.restorable(set.Server); err != nil {
		return r, err
	}
	// Passkeys are in it: who could write the backup could name the reviewers.
	if err := o.Guard.Check(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	place := filepath.Join(set.Server.Data, StoreName)
	unlock, err := lock(place)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	fresh := place + ".restoring"
	if err := copyFile(from, fresh); err != nil {
		return r, err
	}
	defer func() { _ = os.Remove(fresh) }() // renamed away unless something failed
	anchor, err := o.begin(ctx, set, fresh, &r)
	if err != nil {
		return r, err
	}
	if r.Replaced, err = swap(fresh, place, o.Now()); err != nil {
		return r, err
	}
	return r, auditlog.WriteAnchor(set.Server.Anchor, anchor)
}

// restorable wants the key that seals the backup to be there: making a new one would open nothing.
func (o Offline) restorable(server config.Server) error {
	if server.Keys == "" {
		return prepare(server, o.Guard)
	}
	if err := o.Guard.CheckSecret(server.Keys); errors.Is(err, fs.ErrNotExist) {
		return broker.Errorf(broker.CodeInvalid, "%s, the key that opens the backup, does not exist", server.Keys).
			WithField("keys").WithNext("put the key back from where you keep its copy; it is in no backup")
	} else if err != nil {
		return err
	}
	return prepare(server, o.Guard)
}

// begin makes the copy safe to open: the new epoch, freezes, voids and endings, in one transaction.
func (o Offline) begin(ctx context.Context, set *config.Set, path string, r *Restored) (anchor auditlog.Anchor, err error) {
	stack, err := openFile(ctx, path, set.Server, o.secrets(), o.Now)
	if err != nil {
		return anchor, err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	b, err := o.broker(ctx, set, stack)
	if err != nil {
		return anchor, err
	}
	signed, err := stack.Checkpoint(ctx)
	if err != nil {
		return anchor, err
	}
	open, err := b.Leases(ctx, broker.Caller{Kind: broker.CallerSocket}, false)
	if err != nil {
		return anchor, err
	}
	last, err := auditlog.ReadAnchor(set.Server.Anchor) // of the store that is replaced
	if err != nil && broker.CodeOf(err) != broker.CodeNotFound {
		return anchor, err
	}
	if err := b.Restored(ctx, string(signed), last.Installations...); err != nil {
		return anchor, err
	}
	freezes, err := b.Freezes(ctx)
	if err != nil {
		return anchor, err
	}
	anchor, err = stack.Log.Anchor(ctx, freezes)
	anchor.Installations = installations(b.Installation())
	r.Installation, r.Events, r.Leases = b.Installation(), anchor.Height, len(open)
	return anchor, err
}

// broker opens one that serves nobody and reaches no target.
func (o Offline) broker(ctx context.Context, set *config.Set, stack *Stack) (*broker.Broker, error) {
	policy, err := LoadPolicy(set)
	if err != nil {
		return nil, err
	}
	verifier, err := newVerifier(set.Server.Origin)
	if err != nil {
		return nil, err
	}
	return broker.New(ctx, broker.Config{
		Store: stack.Store, Sealer: stack.Keys, Verifier: verifier, Origin: set.Server.Origin, Now: o.Now,
		Configuration: &broker.Configuration{
			Hash: set.Hash, Environments: set.Environments, Groups: set.Server.Groups, Roles: set.Server.Roles, Policy: policy,
			Limits: set.Server.Limits,
		},
	})
}

// ResetHuman removes a human's passkeys, voids what waits for approval and freezes everything.
func (o Offline) ResetHuman(ctx context.Context, name string) (invite broker.Invite, code broker.Secret, err error) {
	set, err := config.Load(o.Path, o.Guard)
	if err != nil {
		return invite, code, err
	}
	stack, err := OpenStack(ctx, set.Server, o.secrets(), o.Now)
	if err != nil {
		return invite, code, err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	b, err := o.broker(ctx, set, stack)
	if err != nil {
		return invite, code, err
	}
	return b.ResetHuman(ctx, name)
}

// lock takes the store that is there, if there is one, so that no broker runs on it meanwhile.
func lock(path string) (unlock func() error, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	} else if err != nil {
		return nil, fmt.Errorf("looking for the store: %w", err)
	}
	engine, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return nil, err
	}
	return engine.Close, nil
}

// copyFile makes a durable copy for the owner alone; what an earlier attempt left behind is replaced.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return broker.Errorf(broker.CodeInvalid, "the backup %s cannot be read", from).Because(err)
	}
	defer in.Close() //nolint:errcheck // only read
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an earlier attempt: %w", err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copying the backup: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("copying the backup: %w", err)
	}
	return nil
}

// swap puts fresh in place at once; what was there keeps a second name.
func swap(fresh, place string, now time.Time) (kept string, err error) {
	if _, err := os.Lstat(place); err == nil {
		kept = place + ".replaced-" + now.UTC().Format("20060102T150405Z")
		if err := os.Link(place, kept); err != nil {
			return "", fmt.Errorf("keeping the former store: %w", err)
		}
	}
	if err := os.Rename(fresh, place); err != nil {
		return "", fmt.Errorf("putting the backup in place: %w", err)
	}
	return kept, syncFolder(filepath.Dir(place))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing the data folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
