// Package keys keeps the installation's own keys, one per purpose, sealed in the store, and seals what
// records must carry (invariant 7).
//
// It owns: how keys are made, sealed and found, and the key-encryption key (KEK) in its file.
//
// It does not know: what a key signs, or what is in a sealed value.
//
// It trusts: the KEK's file to be read by nobody else, and crypto/rand. It does not trust the store: a
// key that was moved to another purpose, or changed, does not open.
package keys

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/hourkey/hourkey/broker"
)

// Key is one key of the ring as the store keeps it.
type Key struct {
	Purpose string    `json:"purpose"`
	Alg     string    `json:"alg"`    // "Ed25519" (RFC 8032 seed, 32 bytes) or "XChaCha20-Poly1305" (32 bytes)
	KEK     string    `json:"kek"`    // id of the KEK that sealed it
	Sealed  []byte    `json:"sealed"` // for the place "ALG/PURPOSE"
	Created time.Time `json:"created"`
}

// Meta places keys by purpose.
func (k *Key) Meta() broker.Meta { return broker.Meta{Kind: "key", Key: k.Purpose, Format: 1} }

// place is what the sealed key is bound to.
func (k *Key) place() string { return k.Alg + "/" + k.Purpose }

const (
	algSign = "Ed25519"
	algSeal = "XChaCha20-Poly1305"
	// sealing is the purpose of the key that seals values. Signer does not give it.
	sealing = "sealing"
)

// Ring gives the keys and implements broker.Sealer. Its methods are safe for concurrent use.
type Ring struct {
	store  broker.Store
	kek    KEK
	now    func() time.Time
	sealer cipher.AEAD

	mu      sync.Mutex
	signers map[string]ed25519.PrivateKey // purpose → key, once it was asked for
}

var _ broker.Sealer = (*Ring)(nil)

// Open opens the ring in the store, with the KEK that it was first opened with: another one is CodeConflict.
func Open(ctx context.Context, store broker.Store, kek KEK, now func() time.Time) (*Ring, error) {
	r := &Ring{store: store, kek: kek, now: now, signers: map[string]ed25519.PrivateKey{}}
	raw, err := r.key(ctx, sealing, algSeal)
	if err != nil {
		return nil, err
	}
	if r.sealer, err = chacha20poly1305.NewX(raw); err != nil {
		return nil, fmt.Errorf("opening the sealing key: %w", err)
	}
	return r, nil
}

// Signer gives the Ed25519 key of a purpose ("access-token", "checkpoint", "target-token/staging"). It
// is made when it is first asked for, and durable before it is given.
func (r *Ring) Signer(ctx context.Context, purpose string) (ed25519.PrivateKey, error) {
	if purpose == "" || purpose == sealing {
		return nil, broker.Errorf(broker.CodeInternal, "%q is no purpose of a signing key", purpose)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, known := r.signers[purpose]; known {
		return key, nil
	}
	seed, err := r.key(ctx, purpose, algSign)
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	r.signers[purpose] = key
	return key, nil
}

// Seal implements broker.Sealer. It calls nobody, so that it may be used within a transaction.
func (r *Ring) Seal(plain []byte, context string) ([]byte, error) {
	return seal(r.sealer, plain, sealDomain+context)
}

// Open implements broker.Sealer.
func (r *Ring) Open(sealed []byte, context string) ([]byte, error) {
	plain, err := open(r.sealer, sealed, sealDomain+context)
	if err != nil {
		return nil, broker.Errorf(broker.CodeInternal, "a sealed value of the store does not open").Because(err)
	}
	return plain, nil
}

// key gives the 32 secret bytes of a purpose; it makes them if there are none.
func (r *Ring) key(ctx context.Context, purpose, alg string) ([]byte, error) {
	kept := Key{Purpose: purpose}
	err := r.store.View(ctx, func(reader broker.Reader) error { return reader.Load(&kept) })
	if broker.CodeOf(err) == broker.CodeNotFound {
		kept, err = r.make(ctx, purpose, alg)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the key %s: %w", purpose, err)
	}
	return r.unwrap(ctx, kept, purpose, alg)
}

// make seals a new key before the transaction, because a KEK may call out. If another was quicker, its key
// is the one.
func (r *Ring) make(ctx context.Context, purpose, alg string) (Key, error) {
	raw := make([]byte, chacha20poly1305.KeySize) // also the size of an Ed25519 seed
	if _, err := rand.Read(raw); err != nil {
		return Key{}, fmt.Errorf("making a key: %w", err)
	}
	fresh := Key{Purpose: purpose, Alg: alg, KEK: r.kek.ID(), Created: r.now().UTC()}
	var err error
	if fresh.Sealed, err = r.kek.Wrap(ctx, raw, fresh.place()); err != nil {
		return Key{}, fmt.Errorf("sealing a key: %w", err)
	}
	kept := fresh
	err = r.store.Update(ctx, func(tx broker.Tx) error {
		there := Key{Purpose: purpose}
		err := tx.Load(&there)
		if broker.CodeOf(err) == broker.CodeNotFound {
			return tx.Save(&fresh)
		}
		kept = there
		return err
	})
	return kept, err
}

// unwrap opens a kept key for what it is asked for, not for what the record says it is.
func (r *Ring) unwrap(ctx context.Context, kept Key, purpose, alg string) ([]byte, error) {
	if kept.KEK != r.kek.ID() {
		return nil, broker.Errorf(broker.CodeConflict, "the store was sealed with the key-encryption key %s, but the one given is %s", kept.KEK, r.kek.ID()).
			WithNext("give the key-encryption key that the store was made with; without it its keys cannot be opened")
	}
	asked := Key{Purpose: purpose, Alg: alg}
	raw, err := r.kek.Unwrap(ctx, kept.Sealed, asked.place())
	if broker.CodeOf(err) == broker.CodeUnavailable { // a key service that does not answer says nothing about the store
		return nil, err
	}
	if err == nil && len(raw) == chacha20poly1305.KeySize {
		return raw, nil
	}
	next := "restore a backup"
	if told, ok := errors.AsType[*broker.Error](err); ok && told.Next != "" {
		next = told.Next // the key's own words: it may be another than it was
	}
	return nil, broker.Errorf(broker.CodeConflict, "the key %s does not open with the key-encryption key %s: one of them was changed", purpose, r.kek.ID()).Because(err).WithNext("%s", next)
}
