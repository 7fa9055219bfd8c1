package bolt

import (
	"bytes"
	"errors"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// snapshot implements store.Snapshot on the bucket of one transaction.
type snapshot struct{ bucket *bbolt.Bucket }

// Get implements store.Snapshot.
func (s snapshot) Get(key []byte) ([]byte, error) { return s.bucket.Get(key), nil }

// Scan implements store.Snapshot.
func (s snapshot) Scan(from, to []byte, each func(key, value []byte) error) error {
	cursor := s.bucket.Cursor()
	for key, value := cursor.Seek(from); key != nil && before(key, to); key, value = cursor.Next() {
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

func before(key, to []byte) bool { return to == nil || bytes.Compare(key, to) < 0 }

// change implements store.Change: what one function has written, over what was there. The bucket
// itself is not touched until the function has succeeded.
type change struct {
	snapshot
	own    []entry // by key, each once
	closed bool
}

// entry is one written key; a nil value says that it was deleted.
type entry struct{ key, value []byte }

var _ store.Change = (*change)(nil)

var errOver = errors.New("bolt: a change was used after its function had returned")

func (c *change) find(key []byte) (at int, found bool) {
	return slices.BinarySearchFunc(c.own, key, func(e entry, key []byte) int { return bytes.Compare(e.key, key) })
}

// Get implements store.Snapshot.
func (c *change) Get(key []byte) ([]byte, error) {
	if c.closed {
		return nil, errOver
	}
	if at, found := c.find(key); found {
		return c.own[at].value, nil
	}
	return c.snapshot.Get(key)
}

// Scan implements store.Snapshot: the function's own entries merged into those of the bucket. The own
// ones are copied at the start, so that each may write.
func (c *change) Scan(from, to []byte, each func(key, value []byte) error) error {
	if c.closed {
		return errOver
	}
	own := c.between(from, to)
	cursor := c.bucket.Cursor()
	key, value := cursor.Seek(from)
	for {
		stored := key != nil && before(key, to)
		var err error
		switch {
		case !stored && len(own) == 0:
			return nil
		case stored && (len(own) == 0 || bytes.Compare(key, own[0].key) < 0):
			err = each(key, value)
			key, value = cursor.Next()
		default:
			if stored && bytes.Equal(key, own[0].key) {
				key, value = cursor.Next()
			}
			if own[0].value != nil {
				err = each(own[0].key, own[0].value)
			}
			own = own[1:]
		}
		if err != nil {
			return err
		}
	}
}

func (c *change) between(from, to []byte) []entry {
	first, _ := c.find(from)
	last := len(c.own)
	if to != nil {
		last, _ = c.find(to)
	}
	if first >= last {
		return nil
	}
	return slices.Clone(c.own[first:last])
}

// Put implements store.Change.
func (c *change) Put(key, value []byte) error {
	if value == nil {
		value = []byte{} // nil is for what was deleted
	}
	return c.set(key, value)
}

// Delete implements store.Change.
func (c *change) Delete(key []byte) error { return c.set(key, nil) }

func (c *change) set(key, value []byte) error {
	if c.closed {
		return errOver
	}
	if len(key) == 0 || len(key) > bbolt.MaxKeySize {
		return broker.Errorf(broker.CodeInvalid, "a key of %d bytes cannot be stored: expected 1 to %d", len(key), bbolt.MaxKeySize)
	}
	if len(value) > bbolt.MaxValueSize {
		return broker.Errorf(broker.CodeInvalid, "a value of %d bytes cannot be stored: expected at most %d", len(value), bbolt.MaxValueSize)
	}
	at, found := c.find(key)
	if found {
		c.own[at].value = value
		return nil
	}
	c.own = slices.Insert(c.own, at, entry{key, value})
	return nil
}

// apply writes everything into the bucket. An error leaves the whole transaction to be rolled back.
func (c *change) apply() error {
	for _, e := range c.own {
		var err error
		if e.value == nil {
			err = c.bucket.Delete(e.key)
		} else {
			err = c.bucket.Put(e.key, e.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
