package web

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// A disk that was full for a moment must not make the broker forget that an agent has its own uid.
func TestAgentUnderTheBrokersOwnUserIsRecordedOnceTheStoreCanBeWritten(t *testing.T) {
	x := newSite(t)
	x.server.own.uidOf = func(netip.AddrPort, netip.AddrPort) (int, bool) { return x.server.own.uid, true }
	server := httptest.NewServer(x.server)
	defer server.Close()
	x.server.hosts[server.Listener.Addr().String()] = true
	ask := func() {
		t.Helper()
		response, err := server.Client().PostForm(server.URL+"/oauth/token", tokenForm(x.agent.assertion()))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	x.Store.Fail(errors.New("disk full"))
	ask()
	x.Store.Fail(nil)
	ask()
	if x.Installation().SameUser.IsZero() {
		t.Error("the broker promises what it cannot keep")
	}
}
