package bench

import (
	"bytes"
	"context"
	"sync"

	"github.com/hourkey/hourkey/store"
)

// recorder is an engine that can tell what each transaction wrote, so that the floor writes the same.
type recorder struct {
	store.Engine

	mu    sync.Mutex
	on    bool
	wrote [][]write // by transaction
}

// write is one key that was put, or deleted when size is negative.
type write struct {
	key  []byte
	size int // of the value
}

// Update implements store.Engine.
func (r *recorder) Update(ctx context.Context, change func(store.Change) error) error {
	r.mu.Lock()
	on := r.on
	r.mu.Unlock()
	if !on {
		return r.Engine.Update(ctx, change)
	}
	seen := &seenChange{}
	err := r.Engine.Update(ctx, func(c store.Change) error {
		seen.Change = c
		return change(seen)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrote = append(r.wrote, seen.wrote)
	return err
}

// record gives what was written while do ran.
func (r *recorder) record(do func()) [][]write {
	r.mu.Lock()
	r.on, r.wrote = true, nil
	r.mu.Unlock()
	do()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
	return r.wrote
}

type seenChange struct {
	store.Change
	wrote []write
}

func (c *seenChange) Put(key, value []byte) error {
	c.wrote = append(c.wrote, write{bytes.Clone(key), len(value)})
	return c.Change.Put(key, value)
}

func (c *seenChange) Delete(key []byte) error {
	c.wrote = append(c.wrote, write{bytes.Clone(key), -1})
	return c.Change.Delete(key)
}
