package web

import (
	"context"
	"sync/atomic"

	"github.com/hourkey/hourkey/broker"
)

// watchedStore remembers whether the store took the last write of this package: sessions are written often.
type watchedStore struct {
	broker.Store
	refuses atomic.Bool
}

func watch(store broker.Store) *watchedStore { return &watchedStore{Store: store} }

// Update is the store's.
func (w *watchedStore) Update(ctx context.Context, change func(broker.Tx) error) error {
	var own error
	err := w.Store.Update(ctx, func(tx broker.Tx) error {
		own = change(tx)
		return own
	})
	switch {
	case err == nil:
		w.refuses.Store(false)
	case own == nil && ctx.Err() == nil: // else it was the change that refused, or the caller who left
		w.refuses.Store(true)
	}
	return err
}

// refused tells that the store took the last write not.
func (w *watchedStore) refused() bool { return w.refuses.Load() }
