package daemon

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
)

// past is what the anchor file tells about the store that was opened.
type past struct {
	behind  error           // why the store cannot be trusted to be the last one; nil: it can
	freezes []broker.Freeze // that were in force and may be missing in the store
}

// past reads the anchor and compares. It never refuses: a broker that did not start could not end what
// is alive (invariant 6). A store that is behind opens frozen instead.
func (s *Stack) past(ctx context.Context) (past, error) {
	now, err := s.Log.Anchor(ctx, nil)
	if err != nil {
		return past{}, err
	}
	anchor, err := auditlog.ReadAnchor(s.anchor)
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound && now.Height == 0:
		return past{}, nil // a new store
	case broker.CodeOf(err) == broker.CodeNotFound:
		return past{behind: broker.Errorf(broker.CodeConflict, "the anchor file %s is gone: whether the store is an older copy cannot be told", s.anchor)}, nil
	case err != nil:
		return past{behind: err}, nil
	}
	p := past{behind: s.Log.Reaches(ctx, anchor)}
	// At one height with the anchor, what it has more was frozen while the store took no writes.
	if p.behind != nil || anchor.Height == now.Height {
		p.freezes = anchor.Freezes
	}
	return p, nil
}

// freezeBy puts in force what the past wants, before anything is served.
func (p past) freezeBy(ctx context.Context, b *broker.Broker, now time.Time) error {
	freezes := p.freezes
	if p.behind != nil {
		reason := "the store is behind its anchor: it may be an older copy" // agents read it: what is behind, and where, is in the banner
		freezes = append(slices.Clone(freezes), broker.Freeze{Of: broker.FreezeAll, Reason: reason})
	}
	inForce, err := b.Freezes(ctx)
	if err != nil {
		return err
	}
	for _, freeze := range freezes {
		known := slices.ContainsFunc(inForce, func(f broker.Freeze) bool { return f.ID() == freeze.ID() && lastsAsLong(f, freeze) })
		if known || !freeze.Until.IsZero() && now.After(freeze.Until) {
			continue
		}
		if _, err := b.Freeze(ctx, broker.Caller{Kind: broker.CallerSocket}, freeze); err != nil && broker.CodeOf(err) != broker.CodeUnavailable {
			return err // unavailable: it holds all the same, and is recorded later
		}
	}
	return nil
}

// lastsAsLong tells whether f ends no sooner than other. The attack: an older copy of the store that was
// itself frozen, for a while, and would thaw by itself.
func lastsAsLong(f, other broker.Freeze) bool {
	return f.Until.IsZero() || !other.Until.IsZero() && !f.Until.Before(other.Until)
}

const anchorEvery = time.Second

// anchorer keeps the anchor file up to the log.
type anchorer struct {
	stack  *Stack
	broker *broker.Broker
	log    *slog.Logger
	last   auditlog.Anchor
	broken bool
}

// keep writes the anchor whenever something happened, at most once a second, and once more at the end.
func (a *anchorer) keep(ctx context.Context) func() {
	return func() {
		tick := time.NewTicker(anchorEvery)
		defer tick.Stop()
		for {
			a.write(context.WithoutCancel(ctx))
			select {
			case <-ctx.Done():
				a.write(context.WithoutCancel(ctx))
				return
			case <-tick.C:
			}
		}
	}
}

func (a *anchorer) write(ctx context.Context) {
	freezes, err := a.broker.Freezes(ctx)
	if err != nil {
		a.complain(ctx, err)
		return
	}
	next, err := a.stack.Log.Anchor(ctx, freezes)
	next.Installations = installations(a.broker.Installation())
	if err == nil && next.Height == a.last.Height && next.Epoch == a.last.Epoch && slices.Equal(next.Freezes, a.last.Freezes) {
		return
	}
	if err == nil {
		err = auditlog.WriteAnchor(a.stack.anchor, next)
	}
	if err != nil {
		a.complain(ctx, err)
		return
	}
	a.last, a.broken = next, false
}

// complain says once that the anchor cannot be written.
func (a *anchorer) complain(ctx context.Context, err error) {
	if !a.broken {
		a.log.ErrorContext(ctx, "the anchor cannot be written: an older copy of the store would not be noticed", "error", err)
	}
	a.broken = true
}

// installations are all ids that a broker answers for.
func installations(i broker.Installation) []string { return append(slices.Clone(i.Former), i.ID) }
