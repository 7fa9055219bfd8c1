package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// open learns, or makes, what this store belongs to, and records the start. A store that was opened
// before opens even when it takes no writes now: what is alive must still be ended (invariant 6).
func (b *Broker) open(ctx context.Context) error {
	err := b.begin(ctx)
	if err == nil || CodeOf(err) != CodeUnavailable {
		return err
	}
	return b.store.View(ctx, func(r Reader) error {
		var installation Installation
		if r.Load(&installation) != nil {
			return err // a new store
		}
		b.installation.Store(&installation)
		b.log.ErrorContext(ctx, "the store takes no writes: nothing is issued, leases are ended", "error", err)
		return b.lastEventOf(r)
	})
}

func (b *Broker) begin(ctx context.Context) error {
	return b.update(ctx, func(tx Tx) error {
		var installation Installation
		found, err := load(tx, &installation)
		if err != nil {
			return fmt.Errorf("reading the installation: %w", err)
		}
		if !found {
			if installation.ID, err = newInstallation(b.random); err != nil {
				return err
			}
			if err := tx.Save(&installation); err != nil {
				return err
			}
		}
		b.installation.Store(&installation)
		if err := b.lastEventOf(tx); err != nil {
			return err
		}
		if err := b.reindex(tx); err != nil {
			return err
		}
		if b.clockBehind() != nil {
			return nil // an event now would lie about its time; Status tells it
		}
		return b.append(tx, EventStarted, "broker", installation.ID, map[string]string{"config": b.Configuration().Hash})
	})
}

// reindex saves what waits once more: an older broker knew fewer indexes.
func (b *Broker) reindex(tx Tx) error {
	pending, err := list[Request](tx, "request", "pending")
	if err != nil {
		return err
	}
	for _, request := range pending {
		request.Loss = b.files.Load().loss(request)
		if err := tx.Save(&request); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) lastEventOf(r Reader) error {
	height, err := r.Height()
	if err != nil || height == 0 {
		return err
	}
	return r.Events(height-1, func(_ uint64, event Event) error {
		b.sawEvent(event.Time)
		return nil
	})
}

// newInstallation is 8 characters of [0-9a-z].
func newInstallation(random io.Reader) (string, error) {
	raw := make([]byte, 5)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	return crockford.EncodeToString(raw), nil
}

// Reload puts a checked configuration in force. wider lists in words what got wider, for the event.
// Requests that were decided under another configuration cannot be collected any more: the sweeper ends them.
func (b *Broker) Reload(ctx context.Context, caller Caller, next *Configuration, wider []string) error {
	if caller.Kind != CallerSocket {
		return Errorf(CodeForbidden, "only the broker's own user may reload")
	}
	was := b.files.Load()
	err := b.update(ctx, func(tx Tx) error {
		return b.append(tx, EventReloaded, caller.Actor(), next.Hash, map[string]any{"was": was.Hash, "config": next.Hash, "wider": wider})
	})
	if err != nil {
		return err
	}
	for ref, target := range was.Targets {
		if next.Targets[ref].Binding != target.Binding { // else the new one ends what the old one issued
			b.former.Store(target.Binding, former{target, ref})
		}
	}
	b.files.Store(next)
	b.former.Range(func(binding, kept any) bool {
		was := kept.(former)                              // nothing else is kept there
		if next.Targets[was.ref].Binding == was.Binding { // it is back: its new secret ends what the old one issued
			b.former.Delete(binding)
			b.closeFormer(ctx, was.Target)
		}
		return true
	})
	b.asked.Clear()
	return nil
}

// former is a target of a configuration that was replaced, and what it was called there: under another name it goes on.
type former struct {
	Target
	ref TargetRef
}

func (b *Broker) closeFormer(ctx context.Context, target Target) {
	if closer, can := target.Issuer.(io.Closer); can {
		if err := closer.Close(); err != nil {
			b.log.WarnContext(ctx, "a former target could not be closed", "error", err)
		}
	}
}

// ReloadRefused records that a bad set was not taken.
func (b *Broker) ReloadRefused(ctx context.Context, caller Caller, problem string) {
	err := b.update(ctx, func(tx Tx) error {
		return b.append(tx, EventReloadRefused, caller.Actor(), b.Configuration().Hash, map[string]string{"problem": problem})
	})
	if err != nil {
		b.log.ErrorContext(ctx, "a refused reload could not be recorded", "error", err)
	}
}

// dropFormer closes targets of replaced configurations once no open lease was issued by them.
func (b *Broker) dropFormer(ctx context.Context) {
	used := map[string]bool{} // binding → in use
	for _, target := range b.Configuration().Targets {
		used[target.Binding] = true
	}
	err := b.store.View(ctx, func(r Reader) error {
		open, err := list[Lease](r, "lease", "open")
		for _, lease := range open {
			used[lease.Binding] = true
		}
		return err
	})
	if err != nil {
		return
	}
	b.former.Range(func(binding, kept any) bool {
		was, ok := kept.(former)
		if text, isText := binding.(string); !ok || !isText || used[text] {
			return true
		}
		b.former.Delete(binding)
		b.closeFormer(ctx, was.Target)
		return true
	})
}

// SawOwnUser records, for good, that a local peer had the broker's own uid: such an installation
// protects from mistakes only (invariant 5).
func (b *Broker) SawOwnUser(ctx context.Context) {
	if !b.Installation().SameUser.IsZero() {
		return
	}
	var installation Installation
	err := b.update(ctx, func(tx Tx) error {
		if err := tx.Load(&installation); err != nil || !installation.SameUser.IsZero() {
			return err
		}
		installation.SameUser = b.now()
		if err := tx.Save(&installation); err != nil {
			return err
		}
		return b.append(tx, EventSameUser, "broker", installation.ID, nil)
	})
	if err != nil {
		b.log.ErrorContext(ctx, "that a local peer has the broker's uid could not be recorded", "error", err)
		return
	}
	b.installation.Store(&installation)
}

// ResetHuman removes a human's passkeys, voids what is open and freezes everything; the new invite is
// usable at once. Only for a stopped broker: cmd/hourkeyd opens one that serves nobody.
func (b *Broker) ResetHuman(ctx context.Context, name string) (invite Invite, code Secret, err error) {
	code, hash, err := b.newCode()
	if err != nil {
		return Invite{}, Secret{}, err
	}
	err = b.update(ctx, func(tx Tx) error {
		human := Human{Name: name}
		if found, err := load(tx, &human); err != nil || !found {
			return errors.Join(err, Errorf(CodeNotFound, "no human %q", clip(name)))
		}
		passkeys, err := list[Passkey](tx, "passkey", "human/"+name)
		if err != nil {
			return err
		}
		for _, passkey := range passkeys {
			if err := tx.Delete(&passkey); err != nil {
				return err
			}
		}
		if err := errors.Join(tx.Delete(&Login{Human: name}), forgetOffered(tx, name), b.void(tx)); err != nil {
			return err
		}
		var installation Installation
		if err := tx.Load(&installation); err != nil {
			return err
		}
		human.Reset, installation.Reset = b.now(), b.now()
		invite = Invite{Human: name, CodeHash: hash, State: InviteUsable, Groups: b.Configuration().GroupsOf(name), By: "shell", Created: b.now(), Expires: b.now().Add(CodeFor)}
		freeze := Freeze{Of: FreezeAll, By: "shell", Reason: "the passkeys of " + name + " were reset", At: b.now()}
		if err := errors.Join(tx.Save(&human), tx.Save(&installation), tx.Save(&invite), tx.Save(&freeze)); err != nil {
			return err
		}
		b.installation.Store(&installation)
		return errors.Join(
			b.append(tx, EventHumanReset, "shell", name, map[string]int{"passkeys": len(passkeys)}),
			b.append(tx, EventFrozen, freeze.By, freeze.ID(), freeze),
		)
	})
	return invite, code, err
}

// void closes every request that could still be collected and removes statements that wait for a
// signature, and invites.
func (b *Broker) void(tx Tx) error {
	requests, err := list[Request](tx, "request", "deadline")
	if err != nil {
		return err
	}
	for _, request := range requests {
		if err := b.close(tx, request, RequestCancelled, EventRequestCancelled, "shell", ""); err != nil {
			return err
		}
	}
	ceremonies, err := list[Ceremony](tx, "ceremony", "")
	if err != nil {
		return err
	}
	for _, ceremony := range ceremonies {
		if err := tx.Delete(&ceremony); err != nil {
			return err
		}
	}
	invites, err := list[Invite](tx, "invite", "")
	if err != nil {
		return err
	}
	for _, invite := range invites { // perhaps signed with the passkey that is reset, or used since the backup
		if err := tx.Delete(&invite); err != nil {
			return err
		}
	}
	return nil
}

// Restored makes a store that was copied back safe to open: everything is frozen, requests are void,
// a new installation id begins (the former stays listed, and the sweeper ends what lives under it), and
// a new epoch names the checkpoint of the old log. Open leases are ended by the first sweep.
// Only for a stopped broker. checkpoint is signed over the log as it stands; also are installation ids
// that the store may not know of: those between the backup and now.
func (b *Broker) Restored(ctx context.Context, checkpoint string, also ...string) error {
	return b.update(ctx, func(tx Tx) error {
		var installation Installation
		if err := tx.Load(&installation); err != nil {
			return err
		}
		next, err := newInstallation(b.random)
		if err != nil {
			return err
		}
		for _, id := range append([]string{installation.ID}, also...) {
			if !slices.Contains(installation.Former, id) {
				installation.Former = append(installation.Former, id)
			}
		}
		installation.ID = next
		installation.Epoch, installation.Began = installation.Epoch+1, checkpoint
		// First of all events: the checkpoint is over exactly those before it.
		if err := b.append(tx, EventRestored, "shell", next, Restored{Checkpoint: checkpoint, Installation: installation.ID, Former: installation.Former}); err != nil {
			return err
		}
		if err := b.void(tx); err != nil {
			return err
		}
		if err := b.expireOpenLeases(tx); err != nil {
			return err
		}
		freeze := Freeze{Of: FreezeAll, By: "restore", Reason: "restored from a backup: passkeys, agents and people that were removed since are back; remove them before you lift this", At: b.now()}
		if err := errors.Join(tx.Save(&installation), tx.Save(&freeze)); err != nil {
			return err
		}
		b.installation.Store(&installation)
		return b.append(tx, EventFrozen, freeze.By, freeze.ID(), freeze)
	})
}

func (b *Broker) expireOpenLeases(tx Tx) error {
	open, err := list[Lease](tx, "lease", "open")
	if err != nil {
		return err
	}
	for _, lease := range open {
		lease.State, lease.Cause, lease.By, lease.Ordered = LeaseEnding, CauseFrozen, "restore", b.now()
		lease.Retry = time.Time{} // at once
		if !lease.EndsEarly {
			lease.Retry = lease.Expires
		}
		if err := tx.Save(&lease); err != nil {
			return err
		}
		if err := b.append(tx, EventLeaseEnding, "restore", lease.ID, leaseEvent(lease)); err != nil {
			return err
		}
	}
	return nil
}
