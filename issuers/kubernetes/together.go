package kubernetes

import (
	"context"
	"sync"
)

// together does everything at the same time and waits for all of it. The first failure cancels the rest, and is what it gives.
func together(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var once sync.Once
	var first error
	for _, do := range all {
		running.Go(func() {
			if err := do(ctx); err != nil {
				once.Do(func() {
					first = err
					cancel()
				})
			}
		})
	}
	running.Wait()
	return first
}
