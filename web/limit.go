package web

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/hourkey/hourkey/broker"
)

// Limits bound what callers can make the broker do. A field that is zero has its default.
type Limits struct {
	StrangerRate  rate.Limit // per second, address and purpose: what costs something, is a guess, or is a proof that did not hold; default 20
	StrangerBurst int        // default 100
	CallerRate    rate.Limit // per second and agent, or session of a human; default 50
	CallerBurst   int        // default 200
	Remembered    int        // addresses, and callers, whose rate is remembered; default 8192
	Body          int64      // bytes; default 64 KiB
}

func (l Limits) orDefault() Limits {
	if l.StrangerRate == 0 {
		l.StrangerRate = 20
	}
	if l.StrangerBurst == 0 {
		l.StrangerBurst = 100
	}
	if l.CallerRate == 0 {
		l.CallerRate = 50
	}
	if l.CallerBurst == 0 {
		l.CallerBurst = 200
	}
	if l.Remembered == 0 {
		l.Remembered = 8192
	}
	if l.Body == 0 {
		l.Body = 64 << 10
	}
	return l
}

// limiter keeps a token bucket per key, for at most two generations of most keys: when the young one is
// full it becomes the old one. A key that is used is never forgotten before most others came.
type limiter struct {
	every rate.Limit
	burst int
	most  int
	now   func() time.Time

	mu         sync.Mutex
	young, old map[string]*rate.Limiter // key → its bucket
}

func newLimiter(every rate.Limit, burst, most int, now func() time.Time) *limiter {
	return &limiter{every: every, burst: burst, most: most, now: now}
}

// take takes one from the key's bucket. A refusal says after how many seconds one will be there; it
// takes nothing, so that waiting helps.
func (l *limiter) take(key string) (wait int, err error) {
	if l.every == rate.Inf {
		return 0, nil
	}
	bucket, now := l.bucket(key), l.now()
	if bucket.AllowN(now, 1) {
		return 0, nil
	}
	missing := 1 - bucket.TokensAt(now)
	wait = max(1, int(math.Ceil(missing/float64(l.every))))
	return wait, broker.Errorf(broker.CodeSlowDown, "too many calls").WithNext("wait %d s", wait)
}

func (l *limiter) bucket(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bucket := l.young[key]; bucket != nil {
		return bucket
	}
	bucket := l.old[key]
	if bucket == nil {
		bucket = rate.NewLimiter(l.every, l.burst)
	}
	if l.young == nil || len(l.young) >= l.most {
		l.young, l.old = make(map[string]*rate.Limiter), l.young
	}
	l.young[key] = bucket
	return bucket
}

// addressKey is what an address is counted as: one IPv6 customer has a whole /64 (RFC 6177).
func addressKey(address netip.Addr) string {
	if address.Is6() && !address.Is4In6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.Unmap().String()
}
