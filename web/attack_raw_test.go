package web

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and gives the first line that comes back, empty when the connection is cut.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// Requests that browsers do not write, but that proxies and attackers do. None is answered for another
// host, none panics, and none reaches a page with its method overridden.
func TestOddRequestsAreRefused(t *testing.T) {
	x := newSite(t)
	listener, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	here := listener.Addr().String()
	x.server.hosts[here] = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.server.Serve(ctx, listener, x.server) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	host := "Host: " + here + "\r\n"
	for name, c := range map[string]struct{ text, want string }{
		"another host in an absolute target": {"GET http://evil.example/healthz HTTP/1.1\r\n" + host + "\r\n", "421"},
		"our host in an absolute target":     {"GET http://" + here + "/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", "200"},
		"no host":                            {"GET /healthz HTTP/1.0\r\n\r\n", "421"},
		"an empty host":                      {"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", "421"},
		"two hosts":                          {"GET /healthz HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", "400"},
		"a host with a dot":                  {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1.:80\r\n\r\n", "421"},
		"CONNECT":                            {"CONNECT " + here + " HTTP/1.1\r\n" + host + "\r\n", "404"},
		"OPTIONS of everything":              {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "404"},
		"HEAD of a page":                     {"HEAD / HTTP/1.1\r\n" + host + "\r\n", "405"},
		"TRACE":                              {"TRACE / HTTP/1.1\r\n" + host + "\r\n", "405"},
		"a method that overrides":            {"GET /sign HTTP/1.1\r\n" + host + "X-HTTP-Method-Override: POST\r\n\r\n", "405"},
		"two slashes":                        {"GET //sign-in HTTP/1.1\r\n" + host + "\r\n", "404"},
		"a path that climbs":                 {"GET /assets/..%2f..%2fserver.go HTTP/1.1\r\n" + host + "\r\n", "404"},
		"two lengths":                        {"POST /sign HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400"},
		"a body that says it twice":          {"GET /healthz HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "400"},
		"an odd coding":                      {"POST /sign HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", "501"},
		"forwarded host":                     {"GET /sign-in HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: " + here + "\r\nForwarded: host=" + here + "\r\n\r\n", "421"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(t, here, c.text); !strings.Contains(got, " "+c.want) {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
	if strings.Contains(x.log.String(), `"msg":"panic"`) {
		t.Error("something panicked")
	}
}
