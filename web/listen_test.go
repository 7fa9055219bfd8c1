package web

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

func netAddr(text string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

// TestPlainListenBeyondLoopback: without TLS and without a named proxy, only this machine.
func TestPlainListenBeyondLoopback(t *testing.T) {
	for _, address := range []string{":8750", "0.0.0.0:8750", "[::]:8750", "192.0.2.1:8750", "hourkey.example:8750", "[fe80::1]:8750", "127.0.0.1", "", "localhost.evil.example:1", "127.0.0.1.evil.example:1"} {
		if err := (ListenConfig{Address: address}).Check(); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%q: got %v", address, err)
		}
		if listener, err := Listen(t.Context(), ListenConfig{Address: address}); err == nil {
			_ = listener.Close()
			t.Errorf("%q: listens", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "127.8.9.1:0"} {
		listener, err := Listen(t.Context(), ListenConfig{Address: address})
		if err != nil {
			t.Errorf("%q: %v", address, err)
			continue
		}
		_ = listener.Close()
	}
	for name, c := range map[string]ListenConfig{
		"TLS":   {Address: "0.0.0.0:0", TLS: &tls.Config{}},
		"proxy": {Address: "0.0.0.0:0", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	} {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOriginRefused: an origin that passkeys, cookies or the Host check could not be tied to.
func TestOriginRefused(t *testing.T) {
	for _, origin := range []string{"", "hourkey.test", "https://", "https://hourkey.test/", "https://hourkey.test/x", "https://u:p@hourkey.test", "http://hourkey.test", "ftp://hourkey.test", "https://hourkey.test?x", "https://hourkey.test#x", "https://%zz"} {
		if _, err := parseOrigin(origin); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%q: got %v", origin, err)
		}
	}
}

// TestShutdownEndsLongPolls: whoever waits for a human is answered at once, and nothing stays behind.
func TestShutdownEndsLongPolls(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	request := x.submit(token, `{"task":"fix","environments":["staging"],"scopes":["db:public.orders:delete"]}`)
	listener, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	x.server.hosts[listener.Addr().String()] = true
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- x.server.Serve(ctx, listener, x.server) }()

	answered := make(chan string)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String()+"/v1/requests/"+request.ID+"?wait=60s", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(r)
		if err != nil {
			answered <- err.Error()
			return
		}
		raw, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		answered <- string(raw)
	}()
	for !x.server.waits.any() {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	stop()
	if text := <-answered; !strings.Contains(text, `"state":"pending"`) {
		t.Errorf("the one who waited got %s", text)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

func (w *waits) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held) > 0
}

// TestSlowHeaders: who never ends its headers is cut off.
func TestSlowHeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	x := newSite(t)
	listener, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- x.server.Serve(ctx, listener, x.server) }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET "+api.PathHealth+" HTTP/1.1\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
	_ = conn.Close()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestOddRequestLines come over the wire as no ordinary client sends them.
func TestOddRequestLines(t *testing.T) {
	x := newSite(t)
	listener, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	x.server.hosts[listener.Addr().String()] = true
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- x.server.Serve(ctx, listener, x.server) }()
	for _, line := range []string{
		"OPTIONS *", "GET *", "CONNECT evil.example:443", "GET http://evil.example/v1/tasks", "GET //v1/tasks", "GET /v1/../v1/tasks", "GET /v1/tasks/", "GET /%00", "TRACE /healthz", "get /healthz", "PRI *",
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: "+listener.Addr().String()+"\r\nConnection: close\r\n\r\n")
		raw, _ := io.ReadAll(conn)
		_ = conn.Close()
		if text := string(raw); !strings.HasPrefix(text, "HTTP/1.1 4") || strings.Contains(text, "internal") {
			t.Errorf("%s: got %s", line, text)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if strings.Contains(x.log.String(), `"msg":"panic"`) {
		t.Error("one of them made it panic")
	}
}

// TestListenWithTLS refuses what is older than TLS 1.2 and speaks HTTP/2.
func TestListenWithTLS(t *testing.T) {
	x := newSite(t)
	borrowed := httptest.NewUnstartedServer(nil) // for its certificate
	borrowed.StartTLS()
	defer borrowed.Close()
	listener, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0", TLS: &tls.Config{Certificates: borrowed.TLS.Certificates}})
	if err != nil {
		t.Fatal(err)
	}
	x.server.hosts[listener.Addr().String()] = true
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- x.server.Serve(ctx, listener, x.server) }()
	transport, _ := borrowed.Client().Transport.(*http.Transport)
	transport = transport.Clone()
	transport.ForceAttemptHTTP2 = true
	response, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String() + api.PathHealth)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Errorf("got %s over %s", response.Status, response.Proto)
	}
	transport.CloseIdleConnections()
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", listener.Addr().String(), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
