package proxy

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// replays remembers the proofs that were used, for as long as one could be used again: in two generations,
// of which the older is forgotten when the younger is older than any proof may be. Nothing is written:
// proofs from before the start are refused, so a restart forgets nothing.
type replays struct {
	mu      sync.Mutex
	younger map[[sha256.Size]byte]struct{}
	older   map[[sha256.Size]byte]struct{}
	turned  time.Time // when younger began
	newest  time.Time // the latest time seen: a clock that was set back makes no old proof new
}

// mostProofs of one generation are remembered; more are refused. Only who holds a live lease is remembered.
const mostProofs = 1 << 16

func newReplays() *replays {
	return &replays{younger: map[[sha256.Size]byte]struct{}{}, older: map[[sha256.Size]byte]struct{}{}}
}

// latest is now, or what was now already.
func (r *replays) latest(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.After(r.newest) {
		r.newest = now
	}
	return r.newest
}

// use takes a proof once. now must not be before the proof was issued: then it could outlive its memory.
func (r *replays) use(given proof, now time.Time) error {
	now = r.latest(now)
	id := sha256.Sum256([]byte(given.thumbprint + "\x00" + given.id))
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turned) > proofLife+time.Second {
		r.older, r.younger, r.turned = r.younger, map[[sha256.Size]byte]struct{}{}, now
	}
	_, young := r.younger[id]
	_, old := r.older[id]
	switch {
	case young || old:
		return unproven("this DPoP proof was used before").WithNext("make a new one, with a new jti, for each tunnel")
	case len(r.younger) >= mostProofs:
		return broker.Errorf(broker.CodeUnavailable, "too many tunnels are being opened").WithNext("try again in a minute")
	}
	r.younger[id] = struct{}{}
	return nil
}
