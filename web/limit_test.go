package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address + ":999" }
}

// TestFloodOfAssertions: proofs that do not hold write nothing, and keep neither the agent behind the same address out
// nor another one.
func TestFloodOfAssertions(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst, c.Limits.StrangerRate = 10, 1 })
	stranger := x.newAgent("claude-2", broker.AgentActive)
	stranger.name = "claude" // another's key
	before := x.Store.Updates()
	for range 5 {
		x.postForm(tokenForm("x")).wantTokenError(http.StatusUnauthorized, "invalid_client")
		x.postForm(tokenForm(stranger.assertion())).wantTokenError(http.StatusUnauthorized, "invalid_client")
	}
	for range 50 {
		x.postForm(tokenForm(stranger.assertion())).wantTokenError(http.StatusTooManyRequests, "slow_down")
	}
	if x.Store.Updates() != before {
		t.Error("the flood wrote to the store")
	}
	x.postForm(tokenForm(x.agent.assertion())).want(http.StatusOK)
	good := tokenForm(x.agent.assertion()).Encode()
	x.do("POST", api.PathToken, good, header("Content-Type", "application/x-www-form-urlencoded"), from("198.51.100.7")).want(http.StatusOK)
}

// TestFloodOfForgedTokens: those that do not hold are counted, and one that holds is taken all the same.
func TestFloodOfForgedTokens(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst = 10 })
	token := x.agent.token()
	for range 10 {
		x.do("GET", api.PathTasks, "", bearer("forged")).wantProblem(broker.CodeUnauthenticated)
	}
	for range 100 {
		x.do("GET", api.PathTasks, "", bearer("forged")).wantProblem(broker.CodeSlowDown)
	}
	x.do("GET", api.PathTasks, "", bearer(token)).want(http.StatusOK)
}

// TestFloodByAnAgent: over the limit nothing is written, and the other agents notice nothing.
func TestFloodByAnAgent(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.CallerBurst, c.Limits.CallerRate = 5, 1 })
	token, other := x.agent.token(), x.newAgent("other", broker.AgentActive).token()
	for range 5 {
		x.do("POST", api.PathRequests, `{}`, bearer(token)).wantProblem(broker.CodeInvalid)
	}
	before := x.Store.Updates()
	for range 50 {
		x.do("POST", api.PathRequests, wish, bearer(token)).wantProblem(broker.CodeSlowDown)
	}
	if x.Store.Updates() != before {
		t.Error("the flood wrote to the store")
	}
	x.do("POST", api.PathRequests, wish, bearer(other)).want(http.StatusCreated)
	x.Clock.Advance(time.Second)
	x.do("POST", api.PathRequests, wish, bearer(token)).want(http.StatusCreated)
}

// TestLimiterMemoryIsBounded: a million addresses leave two generations, and one that keeps coming
// keeps its bucket through them all.
func TestLimiterMemoryIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(rate.Every(time.Hour), 1, 100, func() time.Time { return now })
	if _, err := l.take("steady"); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		_, _ = l.take(fmt.Sprint(i))
		if _, err := l.take("steady"); err == nil {
			t.Fatalf("the bucket was forgotten after %d others", i)
		}
	}
	if n := len(l.young) + len(l.old); n > 200 {
		t.Errorf("%d buckets are kept", n)
	}
}

// TestOneCustomerOfIPv6IsOneAddress: a /64 has more addresses than any table.
func TestOneCustomerOfIPv6IsOneAddress(t *testing.T) {
	key := func(text string) string { return addressKey(netip.MustParseAddr(text)) }
	if key("2001:db8::1") != key("2001:db8::ffff:1") || key("2001:db8::1") == key("2001:db8:0:1::1") || key("::ffff:192.0.2.1") != key("192.0.2.1") || key("192.0.2.1") == key("192.0.2.2") {
		t.Error("addresses are counted wrongly")
	}
	if addressKey(netip.Addr{}) == "" {
		t.Error("no address has no key")
	}
}
