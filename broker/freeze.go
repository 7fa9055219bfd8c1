package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// frozen refuses when a freeze names the agent, the task, one of the environments, or everything.
func (b *Broker) frozen(r Reader, agent, task string, environments []string) error {
	candidates := []Freeze{{Of: FreezeAll}, {Of: FreezeAgent, Name: agent}, {Of: FreezeTask, Name: task}}
	for _, environment := range environments {
		candidates = append(candidates, Freeze{Of: FreezeEnvironment, Name: environment})
	}
	for _, freeze := range candidates {
		if _, held := b.held.Load(freeze.ID()); held {
			return frozenError(freeze)
		}
		found, err := load(r, &freeze)
		if err != nil {
			return err
		}
		if found && freeze.inForce(b.now()) {
			return frozenError(freeze)
		}
	}
	return nil
}

func frozenError(f Freeze) error {
	e := Errorf(CodeFrozen, "%s is frozen: nothing is issued", f.ID()).WithNext("ask an operator to lift it on the approval page")
	if f.Reason != "" {
		e.Message += " (" + f.Reason + ")"
	}
	return e
}

func (f Freeze) inForce(now time.Time) bool { return f.Until.IsZero() || now.Before(f.Until) }

// lasting is f, lasting as long as was at least: only an operator's passkey makes a freeze end sooner.
func (f Freeze) lasting(was Freeze, now time.Time) Freeze {
	if was.inForce(now) && !f.Until.IsZero() && (was.Until.IsZero() || was.Until.After(f.Until)) {
		f.Until = was.Until
	}
	return f
}

func (f Freeze) validate() error {
	ok := false
	switch f.Of {
	case FreezeAll:
		ok = f.Name == ""
	case FreezeAgent:
		ok = IsAgentName(f.Name)
	case FreezeTask, FreezeEnvironment:
		ok = IsName(f.Name)
	}
	if !ok {
		return Errorf(CodeInvalid, "freeze %q %q: expected agent, task or environment with a name, or all without one", clip(string(f.Of)), clip(f.Name)).WithField("of")
	}
	return nil
}

// names tells whether the freeze names this lease.
func (f Freeze) names(l Lease) bool {
	switch f.Of {
	case FreezeAll:
		return true
	case FreezeAgent:
		return f.Name == l.Agent
	case FreezeTask:
		return f.Name == l.Task
	case FreezeEnvironment:
		return f.Name == l.Environment || slices.Contains(l.Reaches, f.Name)
	}
	return true // unknown: as if all (fails closed)
}

// Freeze stops issuing for what it names and ends its leases. It is in force from the first line on,
// whether or not the store can be written (invariant 6). ended counts the leases that are ended.
func (b *Broker) Freeze(ctx context.Context, caller Caller, freeze Freeze) (ended int, err error) {
	if err := b.mustOperate(caller); err != nil {
		return 0, err
	}
	if err := freeze.validate(); err != nil {
		return 0, err
	}
	freeze.By, freeze.At = caller.Actor(), b.now()
	if !freeze.inForce(freeze.At) {
		return 0, Errorf(CodeInvalid, "until %s is past", freeze.Until.Format(time.RFC3339)).WithField("until")
	}
	return b.freeze(ctx, freeze)
}

func (b *Broker) freeze(ctx context.Context, freeze Freeze) (ended int, err error) {
	freeze, recorded := b.hold(ctx, freeze)
	ended, err = b.endFrozen(ctx, freeze)
	return ended, errors.Join(err, recorded)
}

// hold puts a freeze in force, cuts the calls that it names and writes it down; recorded tells whether it could. It
// waits for no provider.
func (b *Broker) hold(ctx context.Context, freeze Freeze) (held Freeze, recorded error) {
	if held, ok := b.held.Load(freeze.ID()); ok {
		freeze = freeze.lasting(held.(Freeze), b.now()) //nolint:forcetypeassert // nothing else is held
	}
	b.held.Store(freeze.ID(), freeze)
	b.age.Add(1)                   // nobody who was admitted before is so by memory alone
	b.lives.cutWhere(freeze.names) // no call goes on until the disk has answered
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	return freeze, b.recordFreeze(ctx, freeze)
}

// endFrozen ends the leases that a freeze names, whoever may have hung up. ended counts those that are.
func (b *Broker) endFrozen(ctx context.Context, freeze Freeze) (ended int, err error) {
	var open []Lease
	err = b.store.View(context.WithoutCancel(ctx), func(r Reader) (err error) {
		open, err = list[Lease](r, "lease", "open")
		return err
	})
	open = slices.DeleteFunc(open, func(l Lease) bool { return !freeze.names(l) })
	failed := b.endAll(ctx, open, CauseFrozen, freeze.By)
	return len(open) - failed, err
}

// recordFreeze writes the freeze; one that is not written stays held and is tried again by the sweeper.
func (b *Broker) recordFreeze(ctx context.Context, freeze Freeze) error {
	err := b.update(ctx, func(tx Tx) error {
		was := Freeze{Of: freeze.Of, Name: freeze.Name}
		found, err := load(tx, &was)
		if err != nil {
			return err
		}
		if found {
			freeze = freeze.lasting(was, b.now())
		}
		if err := tx.Save(&freeze); err != nil {
			return err
		}
		return b.append(tx, EventFrozen, freeze.By, freeze.ID(), freeze)
	})
	if err != nil {
		return Errorf(CodeUnavailable, "%s is frozen, but that could not be recorded yet: it holds while this broker runs", freeze.ID()).Because(err)
	}
	b.held.Delete(freeze.ID())
	return nil
}

// endAll ends leases side by side and counts those that could not be ended yet.
func (b *Broker) endAll(ctx context.Context, leases []Lease, cause Cause, by string) (failed int) {
	const atOnce = 16
	var (
		mu    sync.Mutex
		wait  sync.WaitGroup
		slots = map[string]chan struct{}{} // binding → room: a provider that hangs holds up its own leases alone
	)
	for _, lease := range leases {
		slot, known := slots[lease.Binding]
		if !known {
			slot = make(chan struct{}, atOnce)
			slots[lease.Binding] = slot
		}
		wait.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			if err := b.end(ctx, lease.ID, cause, by); err != nil {
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return failed
}

// Freezes lists the freezes in force, those that could not be recorded yet included.
func (b *Broker) Freezes(ctx context.Context) ([]Freeze, error) {
	var stored []Freeze
	err := b.store.View(ctx, func(r Reader) (err error) {
		stored, err = list[Freeze](r, "freeze", "")
		return err
	})
	freezes := slices.DeleteFunc(stored, func(f Freeze) bool { return !f.inForce(b.now()) })
	b.held.Range(func(id, held any) bool {
		freeze := held.(Freeze) //nolint:forcetypeassert // nothing else is held
		if at := slices.IndexFunc(freezes, func(f Freeze) bool { return f.ID() == id }); at >= 0 {
			freezes[at] = freeze.lasting(freezes[at], b.now()) // as it will be recorded
		} else {
			freezes = append(freezes, freeze)
		}
		return true
	})
	return freezes, err
}
