//go:build linux

package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

const procTCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000    33        0 2 1 0 20 4 30 10 -1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1
   3: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 4 1
   4: 00000000000000000000000001000000:C352 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 5 1
   5: zz:C353 0100007F:1F90 01
`

func TestFindSocket(t *testing.T) {
	at := netip.MustParseAddrPort
	for name, c := range map[string]struct {
		local, remote string
		uid           int
		found         bool
	}{
		"the peer's end, not ours": {"127.0.0.1:50000", "127.0.0.1:8080", 1000, true},
		"our end":                  {"127.0.0.1:8080", "127.0.0.1:50000", 33, true},
		"IPv4 in an IPv6 socket":   {"127.0.0.1:50001", "127.0.0.1:8080", 1001, true},
		"IPv6":                     {"[::1]:50002", "[::1]:8080", 1002, true},
		"nobody":                   {"127.0.0.1:50009", "127.0.0.1:8080", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			uid, found := findSocket(strings.NewReader(procTCP), at(c.local), at(c.remote))
			if uid != c.uid || found != c.found {
				t.Errorf("got %d %v", uid, found)
			}
		})
	}
}

// TestAgentUnderTheBrokersOwnUser: seen at its first token over a real loopback connection, recorded
// once, for good.
func TestAgentUnderTheBrokersOwnUser(t *testing.T) {
	x := newSite(t)
	server := httptest.NewServer(x.server)
	defer server.Close()
	x.server.hosts[strings.TrimPrefix(server.URL, "http://")] = true
	for range 3 {
		response, err := server.Client().PostForm(server.URL+api.PathToken, tokenForm(x.agent.assertion()))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("got %s", response.Status)
		}
	}
	if n := x.Events(broker.EventSameUser); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if x.Installation().SameUser.IsZero() {
		t.Error("the installation does not remember it")
	}
}

// TestAgentUnderAnotherUser, or from another machine, or of a user that nobody can tell, is no reason.
func TestAgentUnderAnotherUser(t *testing.T) {
	request := func(peer string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		r.RemoteAddr = peer
		local := netAddr("127.0.0.1:8080")
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	for name, c := range map[string]struct {
		peer  string
		uid   int
		found bool
		want  int
	}{
		"own":             {"127.0.0.1:5", os.Getuid(), true, 1},
		"another":         {"127.0.0.1:5", os.Getuid() + 1, true, 0},
		"unknown":         {"127.0.0.1:5", os.Getuid(), false, 0},
		"another machine": {"192.0.2.1:5", os.Getuid(), true, 0},
		"no address":      {"@", os.Getuid(), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			seen := 0
			o := &ownUser{uid: os.Getuid(), known: func() bool { return seen > 0 }, saw: func(context.Context) { seen++ }, uidOf: func(netip.AddrPort, netip.AddrPort) (int, bool) { return c.uid, c.found }}
			o.look(request(c.peer))
			o.look(request(c.peer))
			if seen != c.want {
				t.Errorf("seen %d times, want %d", seen, c.want)
			}
		})
	}
}
