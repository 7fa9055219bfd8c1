package kubernetes_test

import (
	"context"
	"errors"
	"testing"

	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// What failed is told, not the cancellation of what was still asked; and a server that hangs in one answer holds nothing up.
func TestFirstFailureIsToldAndCancelsTheRest(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	hangs := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	err := kubernetes.Together(t.Context(), hangs, func(context.Context) error { return broken }, hangs)
	if !errors.Is(err, broken) {
		t.Errorf("%v; want what failed first", err)
	}
}

func TestAllIsDoneWhenNothingFails(t *testing.T) {
	t.Parallel()
	done := make([]bool, 20)
	var asks []func(context.Context) error
	for at := range done {
		asks = append(asks, func(ctx context.Context) error {
			done[at] = ctx.Err() == nil
			return nil
		})
	}
	if err := kubernetes.Together(t.Context(), asks...); err != nil {
		t.Fatal(err)
	}
	for at, is := range done {
		if !is {
			t.Errorf("%d was not done", at)
		}
	}
}
