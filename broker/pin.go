package broker

import (
	"context"
	"fmt"
	"sync"
)

// pinned refuses a target whose identity no operator has confirmed, that changed, or that a second
// environment claims as well (invariant 12).
func (b *Broker) pinned(ctx context.Context, cfg *Configuration, ref TargetRef, target Target, identity string) error {
	pin, others, err := b.pins(ctx, ref)
	if err != nil {
		return err
	}
	_, asked := b.asked.Load(ref)
	if !asked || pin == nil || pin.Seen.ID != identity { // what was confirmed before a start or reload may lead elsewhere now
		if err := b.learn(ctx, ref, target); err != nil {
			return err
		}
		if pin, others, err = b.pins(ctx, ref); err != nil || pin == nil {
			return Errorf(CodeUnconfirmed, "%s is not known yet", ref).WithNext("try again").Because(err)
		}
	}
	switch {
	case pin.Identity.ID != identity || pin.Seen.ID != identity:
		return Errorf(CodeUnconfirmed, "%s is not what was confirmed: the provider says %s", ref, identity).
			WithNext("an operator must look at it, and confirm it on %s/targets/%s if it is right", b.origin, ref)
	case !pin.IsConfirmed():
		return Errorf(CodeUnconfirmed, "no operator has confirmed yet that %s is %s", ref, pin.Seen.Shown).
			WithNext("an operator confirms it on %s/targets/%s", b.origin, ref)
	}
	return twice(cfg, others, ref, pin.Seen)
}

// twice refuses an identity that a target of another environment has as well.
func twice(cfg *Configuration, pins []Pin, ref TargetRef, identity Identity) error {
	for _, other := range pins {
		_, configured := cfg.Targets[TargetRef{other.Environment, other.Target}]
		if configured && other.Environment != ref.Environment && (other.Identity.meets(identity) || other.Seen.meets(identity)) {
			return Errorf(CodeWall, "%s and %s/%s are the same thing at the provider: an environment is an isolation boundary", ref, other.Environment, other.Target).
				WithNext("give each environment its own")
		}
	}
	return nil
}

// pins gives the pin of one target, nil if there is none, and all pins.
func (b *Broker) pins(ctx context.Context, ref TargetRef) (own *Pin, all []Pin, err error) {
	all, err = b.Pins(ctx)
	for i := range all {
		if all[i].Environment == ref.Environment && all[i].Target == ref.Target {
			own = &all[i]
		}
	}
	return own, all, err
}

// Pins lists the targets' identities, learned and confirmed. Every request asks for them twice, so they
// are read once and kept until one changes. The list must not be changed by whom it is given to.
func (b *Broker) Pins(ctx context.Context) ([]Pin, error) {
	pins, age := b.known.find()
	if pins != nil {
		return pins, nil
	}
	err := b.store.View(ctx, func(r Reader) (err error) {
		pins, err = list[Pin](r, "pin", "")
		return err
	})
	if err == nil {
		b.known.keep(pins, age)
	}
	return pins, err
}

// pinCache holds the pins as they are stored, nil when they must be read.
type pinCache struct {
	mu   sync.Mutex
	pins []Pin
	age  int // how often they may have changed: a list that was read before is not kept after
}

func (c *pinCache) find() ([]Pin, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pins, c.age
}

func (c *pinCache) keep(pins []Pin, age int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.age == age {
		c.pins = pins
	}
}

// forget is called after every transaction that may save a pin, whatever became of it.
func (c *pinCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins, c.age = nil, c.age+1
}

// Learn asks every target who it is and records what is new or changed. Unreachable targets are
// returned; the sweeper asks them again, and so does the first request.
func (b *Broker) Learn(ctx context.Context) (unreachable map[TargetRef]error, err error) {
	unreachable = map[TargetRef]error{}
	for ref, target := range b.Configuration().Targets {
		if err := b.learn(ctx, ref, target); err != nil {
			unreachable[ref] = err
		}
	}
	return unreachable, ctx.Err()
}

func (b *Broker) learn(ctx context.Context, ref TargetRef, target Target) error {
	identity, err := identify(ctx, target)
	if err != nil {
		return providerError("asking who it is", ref, err)
	}
	if identity.ID == "" {
		return Errorf(CodeInternal, "%s gave no identity", ref)
	}
	known, _, err := b.pins(ctx, ref)
	if err == nil && (known == nil || known.Seen != identity) {
		err = b.relearn(ctx, ref, target, identity)
	}
	if err == nil {
		b.asked.Store(ref, struct{}{})
	}
	return err
}

// relearn records an identity that is new or changed.
func (b *Broker) relearn(ctx context.Context, ref TargetRef, target Target, identity Identity) error {
	defer b.known.forget()
	return b.update(ctx, func(tx Tx) error {
		pin := Pin{Environment: ref.Environment, Target: ref.Target}
		found, err := load(tx, &pin)
		if err != nil {
			return err
		}
		kind := EventTargetChanged
		if !found {
			kind, pin.Identity, pin.Learned = EventTargetLearned, identity, b.now()
		}
		pin.Seen = identity
		if c := target.Issuer.Capabilities(); c.Local && !c.Gateway { // made of our own keys: nobody else could tell
			pin.Identity, pin.ConfirmedBy, pin.Confirmed = identity, "broker", b.now()
		}
		if err := tx.Save(&pin); err != nil {
			return fmt.Errorf("saving pin: %w", err)
		}
		return b.append(tx, kind, "broker", ref.String(), pin)
	})
}
