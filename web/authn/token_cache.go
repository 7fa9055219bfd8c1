package authn

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// verifiedTokens remembers tokens whose signature was verified, by their hash, until they expire. It
// holds at most two generations of most entries each: when the young one is full it becomes the old
// one, whose entries move back when they are used. A forgotten token is merely verified again.
type verifiedTokens struct {
	mu         sync.Mutex
	most       int
	young, old map[[sha256.Size]byte]verifiedToken // hash of the token → whose it is
}

type verifiedToken struct {
	caller  broker.Caller
	expires time.Time
}

func (v *verifiedTokens) find(hash [sha256.Size]byte, now time.Time) (broker.Caller, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	token, found := v.young[hash]
	if !found {
		if token, found = v.old[hash]; !found {
			return broker.Caller{}, false
		}
		delete(v.old, hash)
		v.add(hash, token)
	}
	if !now.Before(token.expires) {
		delete(v.young, hash)
		return broker.Caller{}, false
	}
	return token.caller, true
}

func (v *verifiedTokens) keep(hash [sha256.Size]byte, token verifiedToken) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(hash, token)
}

func (v *verifiedTokens) add(hash [sha256.Size]byte, token verifiedToken) {
	if v.young == nil || len(v.young) >= v.most {
		v.young, v.old = make(map[[sha256.Size]byte]verifiedToken), v.young
	}
	v.young[hash] = token
}
