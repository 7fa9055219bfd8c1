package web

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// tunnelOf is a gateway that takes whoever brings the right token, as the proxy does.
func tunnelOf(token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "DPoP "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
}

// All agents of a machine, and of a network behind one address, share one bucket with whoever else is there: a
// program without any credential keeps them all from opening tunnels. Bearers that are known have buckets of their own.
func TestStrangersFloodLeavesTunnelsToAgents(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Tunnel = tunnelOf("hkt_good") })
	token := x.agent.token()
	if code := x.do("GET", api.PathTunnel, "", header("Authorization", "DPoP hkt_good")).Code; code != http.StatusSwitchingProtocols {
		t.Fatalf("the agent's first tunnel: %d", code)
	}
	for range 300 {
		x.do("GET", api.PathTunnel, "", header("Authorization", "DPoP rubbish"))
	}
	x.do("GET", api.PathTasks, "", bearer(token)).want(http.StatusOK) // the API goes on
	if code := x.do("GET", api.PathTunnel, "", header("Authorization", "DPoP hkt_good")).Code; code == http.StatusTooManyRequests {
		t.Error("the agent's tunnel is refused because of a stranger at its address")
	}
}

// Strangers' addresses are kept in the table of known callers: enough of them push an agent that is over its limit out
// of it, and its bucket is full again.
func TestStrangersTunnelsDoNotMakeTheBrokerForgetAnAgentsRate(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Tunnel = tunnelOf("hkt_good")
		c.Limits.CallerBurst, c.Limits.CallerRate, c.Limits.Remembered = 5, 1, 64
	})
	token := x.agent.token()
	for range 5 {
		x.do("GET", api.PathTasks, "", bearer(token)).want(http.StatusOK)
	}
	x.do("GET", api.PathTasks, "", bearer(token)).wantProblem(broker.CodeSlowDown)
	for i := range 200 { // each from an address, or a /64, of its own
		x.do("GET", api.PathTunnel, "", func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:999", i/250, i%250) })
	}
	if code := x.do("GET", api.PathTasks, "", bearer(token)).Code; code != http.StatusTooManyRequests {
		t.Errorf("the agent over its limit got %d after strangers knocked at the tunnel", code)
	}
}
