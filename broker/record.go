package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// update is store.Update that remembers whether the store takes writes.
func (b *Broker) update(ctx context.Context, change func(Tx) error) error {
	var refused error
	err := b.store.Update(ctx, func(tx Tx) error {
		if refused = change(tx); refused == nil {
			b.age.Add(1) // before any later transaction looks
		}
		return refused
	})
	b.age.Add(1) // and after it is stored: who read in between has read what was
	return b.wrote(ctx, err, refused)
}

// appendOnly is update for what only appends: nothing that anybody decides by changes.
func (b *Broker) appendOnly(ctx context.Context, change func(Tx) error) error {
	var refused error
	err := b.store.Update(ctx, func(tx Tx) error {
		refused = change(tx)
		return refused
	})
	return b.wrote(ctx, err, refused)
}

func (b *Broker) wrote(ctx context.Context, err, refused error) error {
	switch {
	case err == nil:
		b.broken.Store(false)
		b.appended.notify()
	case refused == nil && ctx.Err() == nil:
		b.broken.Store(true)
		b.log.ErrorContext(ctx, "the store refused a write: nothing is issued until it takes one", "error", err)
		return Errorf(CodeUnavailable, "the broker cannot write its store").WithNext("try again; if it lasts, ask the operator to look at `hourkeyd status`").Because(err)
	}
	return err
}

// append writes an event of this moment.
func (b *Broker) append(tx Tx, kind EventType, actor, subject string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding event %s: %w", kind, err)
	}
	return b.appendRaw(tx, kind, actor, subject, raw)
}

// appendRaw is append of data that is JSON already: transactions run one at a time, and encoding need not.
func (b *Broker) appendRaw(tx Tx, kind EventType, actor, subject string, raw json.RawMessage) error {
	now := b.now()
	if err := tx.Append(Event{Type: kind, Time: now, Actor: actor, Subject: subject, Data: raw}); err != nil {
		return fmt.Errorf("appending event %s: %w", kind, err)
	}
	b.sawEvent(now)
	return nil
}

func (b *Broker) sawEvent(at time.Time) {
	for {
		last := b.lastEvent.Load()
		if at.UnixNano() <= last || b.lastEvent.CompareAndSwap(last, at.UnixNano()) {
			return
		}
	}
}

// maxBehind is how far the clock may be behind the last event.
const maxBehind = 5 * time.Second

// clockBehind refuses to issue by a clock that was set back: keys would outlive their hour.
func (b *Broker) clockBehind() error {
	if last := time.Unix(0, b.lastEvent.Load()).UTC(); b.now().Before(last.Add(-maxBehind)) {
		return Errorf(CodeUnavailable, "the broker's clock is behind its last event of %s: nothing is issued", last.Format(time.RFC3339)).
			WithNext("ask the operator to set the clock")
	}
	return nil
}

// list decodes every record of a kind, or of one of its indexes.
func list[T any](r Reader, kind, index string) ([]T, error) {
	var all []T
	err := r.Scan(kind, index, func(raw []byte) error {
		var one T
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("reading %s: %w", kind, err)
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// count counts the records of an index, at most limit of them.
func count(r Reader, kind, index string, limit int) (int, error) {
	n := 0
	err := r.Scan(kind, index, func([]byte) error {
		if n++; n >= limit {
			return ErrStop
		}
		return nil
	})
	return n, err
}

// load fills record; found is false when there is none.
func load(r Reader, record Record) (found bool, err error) {
	err = r.Load(record)
	if CodeOf(err) == CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// base32 of Crockford in lower case: sorts as its bytes do, and is allowed in every provider's names.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID is 26 characters of [0-9a-z]: 48 bits of milliseconds, so that ids sort by time, and 80 random
// bits, so that nobody guesses them.
func (b *Broker) newID() (string, error) {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(b.now().UnixMilli())<<16)
	if _, err := io.ReadFull(b.random, raw[6:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	return crockford.EncodeToString(raw[:]), nil
}

// newCode is a one-time code to type: 20 characters in groups of 5, 100 bits.
func (b *Broker) newCode() (code Secret, hash string, err error) {
	var raw [13]byte
	if _, err := io.ReadFull(b.random, raw[:]); err != nil {
		return Secret{}, "", fmt.Errorf("reading random bytes: %w", err)
	}
	text := crockford.EncodeToString(raw[:])[:20]
	code = NewSecret(strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:]}, "-"))
	return code, hashCode(code), nil
}

// hashCode forgives case, spaces and dashes of a typed code. 100 random bits need no slow hash.
func hashCode(code Secret) string {
	typed := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(code.Reveal()))
	sum := sha256.Sum256([]byte("hourkey/code/1\x00" + typed))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func sameCode(hash string, code Secret) bool {
	return hash != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(hashCode(code))) == 1
}
