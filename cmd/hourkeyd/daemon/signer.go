package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const signEvery = time.Minute

// signer signs the log each minute in which something happened, and at the end. The checkpoints go to
// the service's log as well, out of reach of whoever could change the store.
type signer struct {
	stack  *Stack
	log    *slog.Logger
	height uint64 // that was signed last
}

func (s *signer) keep(ctx context.Context) func() {
	return func() {
		tick := time.NewTicker(signEvery)
		defer tick.Stop()
		for {
			s.sign(context.WithoutCancel(ctx))
			select {
			case <-ctx.Done():
				s.sign(context.WithoutCancel(ctx))
				return
			case <-tick.C:
			}
		}
	}
}

func (s *signer) sign(ctx context.Context) {
	var height uint64
	err := s.stack.Store.View(ctx, func(r broker.Reader) (err error) {
		height, err = r.Height()
		return err
	})
	if err == nil && height == s.height {
		return
	}
	signed := []byte(nil)
	if err == nil {
		signed, err = s.stack.Checkpoint(ctx)
	}
	switch {
	case broker.CodeOf(err) == broker.CodeConflict:
		s.log.ErrorContext(ctx, "ALARM: the event log does not continue what was signed: somebody changed the store", "error", err)
	case err != nil:
		s.log.ErrorContext(ctx, "the event log could not be signed", "error", err)
	default:
		s.height = height
		s.log.InfoContext(ctx, "checkpoint", "events", height, "signed", string(signed))
	}
}
