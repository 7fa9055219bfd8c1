package forward_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
	"github.com/hourkey/hourkey/web/api"
)

func TestChildReachesItsHostsThroughTheTunnel(t *testing.T) {
	w := newWorld(t, echo, nil)
	for _, host := range []string{mainHost, otherHost} {
		status, text := w.get(w.child(), "https://"+host+"/v1/things?a=b", "Authorization: Bearer placeholder", "X-Mine: 1")
		for _, want := range []string{"GET /v1/things?a=b " + host + "\n", "Authorization: Bearer placeholder\n", "X-Mine: 1\n"} {
			if status != 200 || !strings.Contains(text, want) {
				t.Errorf("%d, no %q in %s", status, want, text)
			}
		}
	}
	if diff := cmp.Diff([]string{mainHost, otherHost}, w.gateway.Opened()); diff != "" {
		t.Error(diff)
	}
	if said := w.said.list(); len(said) > 0 {
		t.Error(said)
	}
}

func TestLeaseTokenIsNotInTheChildsReach(t *testing.T) {
	w := newWorld(t, echo, nil)
	_, text := w.get(w.child(), "https://"+mainHost+"/")
	_, more := w.get(w.base(), w.environ["PROVIDER_URL"])
	text += more
	for name, value := range w.environ {
		text += name + "=" + value + "\n"
		if content, err := os.ReadFile(value); err == nil {
			text += string(content)
		}
	}
	if strings.Contains(text, w.lease.Token.Reveal()) || strings.Contains(text, "PRIVATE KEY") {
		t.Error("the child sees what it must not: " + text)
	}
	if got := fmt.Sprint(w.Environ()); strings.Contains(got, w.password()) {
		t.Error("the password is printed: " + got)
	}
	if len(w.password()) < 32 || w.password() != w.environ["PROVIDER_TOKEN"] {
		t.Errorf("password %q, placeholder %q", w.password(), w.environ["PROVIDER_TOKEN"])
	}
}

func TestPasswordIsOfOneRunAlone(t *testing.T) {
	first, second := newWorld(t, echo, nil), newWorld(t, echo, nil)
	if first.password() == second.password() {
		t.Fatal("two runs share a password")
	}
	if answer, _ := second.raw("CONNECT " + mainHost + ":443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", first.password()) + "\r\n"); answer.StatusCode != http.StatusProxyAuthRequired {
		t.Error(answer.Status)
	}
}

func TestStrangerWithoutThePasswordIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	good := w.password()
	for name, header := range map[string]string{
		"none":            "",
		"empty":           basic("hourkey", ""),
		"wrong":           basic("hourkey", "hkp_"+strings.Repeat("A", 52)),
		"prefix":          basic("hourkey", good[:len(good)-1]),
		"longer":          basic("hourkey", good+"A"),
		"lower case":      basic("hourkey", strings.ToLower(good)),
		"another user":    basic("root", good),
		"no user":         basic("", good),
		"bearer":          "Proxy-Authorization: Bearer " + good + "\r\n",
		"not base64":      "Proxy-Authorization: Basic " + good + "\r\n",
		"for the server":  strings.Replace(basic("hourkey", good), "Proxy-", "", 1),
		"the second line": basic("hourkey", "wrong") + basic("hourkey", good),
	} {
		for _, line := range []string{"CONNECT " + mainHost + ":443 HTTP/1.1\r\nHost: " + mainHost + ":443\r\n", "GET http://" + mainHost + "/ HTTP/1.1\r\nHost: " + mainHost + "\r\n"} {
			answer, text := w.raw(line + header + "\r\n")
			if answer.StatusCode != http.StatusProxyAuthRequired || answer.Header.Get("Proxy-Authenticate") != `Basic realm="hourkey"` || !strings.HasPrefix(text, "hourkey: the password") {
				t.Errorf("%s: %s %s", name, answer.Status, text)
			}
		}
	}
	if opened := w.gateway.Opened(); len(opened) > 0 {
		t.Errorf("tunnels were opened: %v", opened)
	}
}

func TestHostThatNoTargetListsIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	for _, place := range []string{
		"registry.example:443", mainHost + ":80", mainHost + ":8443", mainHost, mainHost + ".:443", "www." + mainHost + ":443", "provider.example:443",
		"127.0.0.1:443", "[::1]:443", "169.254.169.254:443", "user@" + mainHost + ":443", mainHost + ":443:443", mainHost + ":0443", "/", ":443", "/:443",
	} {
		answer, text := w.raw("CONNECT " + place + " HTTP/1.1\r\nHost: " + mainHost + ":443\r\n" + basic("hourkey", w.password()) + "\r\n")
		if answer.StatusCode == http.StatusBadRequest { // net/http does not read it at all
			continue
		}
		if answer.StatusCode != http.StatusForbidden || !strings.HasPrefix(text, "hourkey: ") || strings.Count(text, "\n") != 1 || !strings.Contains(text, mainHost+" (staging/provider)") {
			t.Errorf("%s: %s %q", place, answer.Status, text)
		}
		if !strings.Contains(answer.Status, "hourkey: ") || !strings.Contains(answer.Status, "is no place") {
			t.Errorf("%s: the status line %q does not say why", place, answer.Status)
		}
	}
	if opened := w.gateway.Opened(); len(opened) > 0 {
		t.Errorf("tunnels were opened: %v", opened)
	}
	if said := w.said.list(); len(said) < 10 || !strings.Contains(said[0], `refused: "registry.example:443" is no place`) {
		t.Errorf("said %q", said)
	}
}

func TestChildThatTriesForEverDoesNotFillTheTerminal(t *testing.T) {
	w := newWorld(t, echo, nil)
	for n := range 100 {
		for range 2 {
			w.raw(fmt.Sprintf("CONNECT h%d.example:443 HTTP/1.1\r\nHost: x\r\n%s\r\n", n, basic("hourkey", w.password())))
		}
	}
	if said := w.said.list(); len(said) != 32 {
		t.Errorf("%d lines", len(said))
	}
}

func TestEndlessHostNameIsShortened(t *testing.T) {
	w := newWorld(t, echo, nil)
	answer, text := w.raw("CONNECT " + strings.Repeat("x", 50_000) + ":443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
	if said := w.said.list(); answer.StatusCode != http.StatusForbidden || len(text) > 600 || len(said) != 1 || len(said[0]) > 600 {
		t.Errorf("%s, %d bytes, said %d lines", answer.Status, len(text), len(said))
	}
}

func TestEscapeSequenceInAHostNameStaysOutOfTheStatusLine(t *testing.T) {
	w := newWorld(t, echo, nil)
	answer, _ := w.raw("CONNECT a\x1b[1mb\u202e.example:443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
	if answer.StatusCode < 400 || strings.ContainsAny(answer.Status, "\x1b\u202e") {
		t.Errorf("%q", answer.Status)
	}
}

func TestHostNameInCapitalsIsTheSameHost(t *testing.T) {
	w := newWorld(t, echo, nil)
	answer, _ := w.raw("CONNECT API.Provider.Example:443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
	if diff := cmp.Diff([]string{mainHost}, w.gateway.Opened()); diff != "" {
		t.Error(diff)
	}
}

func TestPlainHTTPThroughTheProxyIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	for _, target := range []string{"http://" + mainHost + "/", "http://" + w.proxy().Host + "/" + w.password() + "/0/", "https://" + mainHost + "/", "ftp://x/", "*"} {
		answer, text := w.raw("GET " + target + " HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\n" + basic("hourkey", w.password()) + "\r\n")
		if answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusBadRequest || strings.Contains(text, "GET /") {
			t.Errorf("%s: %s %q", target, answer.Status, text)
		}
	}
	_, text := w.raw("GET http://" + mainHost + "/ HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
	if want := "hourkey: plain http is not forwarded: use https, which leads to " + mainHost + " (staging/provider), " + otherHost + " (staging/provider)\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if opened := w.gateway.Opened(); len(opened) > 0 {
		t.Errorf("tunnels were opened: %v", opened)
	}
}

func TestRebindingPageInABrowserReachesNothing(t *testing.T) {
	w := newWorld(t, echo, nil)
	_, port, _ := net.SplitHostPort(w.proxy().Host)
	for _, host := range []string{"evil.example", "evil.example:" + port, "localhost:" + port, "127.0.0.1", "127.0.0.1:1", "[::1]:" + port, mainHost, "127.0.0.1:" + port + ".evil.example"} {
		answer, text := w.raw("GET /" + w.password() + "/0/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusBadRequest || strings.Contains(text, "GET /") {
			t.Errorf("%s: %s %q", host, answer.Status, text)
		}
	}
	for _, line := range []string{"Host: " + w.proxy().Host + "\r\nHost: evil.example\r\n", ""} {
		if answer, _ := w.raw("GET /" + w.password() + "/0/ HTTP/1.1\r\n" + line + "\r\n"); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", line, answer.Status)
		}
	}
	if answer, _ := w.raw("GET /" + w.password() + "/0/ HTTP/1.0\r\n\r\n"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("no Host at all: %s", answer.Status)
	}
	if opened := w.gateway.Opened(); len(opened) > 0 {
		t.Errorf("tunnels were opened: %v", opened)
	}
}

func TestEndlessHeaderIsCutOff(t *testing.T) {
	w := newWorld(t, echo, nil)
	answer, _ := w.raw("GET /" + w.password() + "/0/ HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n")
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(answer.Status)
	}
}

// What a lease that has ended, or a broker that is away, looks like from the child.
func TestRefusedTunnelSaysWhyOnceToTheHumanAndEachTimeToTheChild(t *testing.T) {
	w := newWorld(t, echo, nil)
	for _, step := range []struct {
		code   string
		status int
		says   string
	}{
		{api.CodeExpired, 403, "the lease for staging/provider has ended; more time is a new request"},
		{api.CodeFrozen, 403, "staging/provider: the lease is refused; make a new request"},
	} {
		w.gateway.Refuse(w.lease, step.code)
		for range 3 {
			answer, text := w.raw("CONNECT " + mainHost + ":443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
			if answer.StatusCode != step.status || text != "hourkey: "+step.says+"\n" || !strings.HasSuffix(answer.Status, "hourkey: "+step.says) {
				t.Errorf("%s: %s %q", step.code, answer.Status, text)
			}
			if status, text := w.get(w.base(), w.environ["PROVIDER_URL"]); status != step.status || text != "hourkey: "+step.says+"\n" {
				t.Errorf("%s: %d %q", step.code, status, text)
			}
		}
		if said := w.said.list(); len(said) == 0 || said[len(said)-1] != step.says {
			t.Errorf("%s: said %q", step.code, said)
		}
	}
	if said := w.said.list(); len(said) != 2 {
		t.Errorf("said %q", said)
	}
}

func TestBrokerThatIsGoneIsSaid(t *testing.T) {
	w := newWorld(t, echo, nil)
	w.broker.Close()
	answer, text := w.raw("CONNECT " + mainHost + ":443 HTTP/1.1\r\nHost: x\r\n" + basic("hourkey", w.password()) + "\r\n")
	if answer.StatusCode != http.StatusBadGateway || !strings.Contains(text, "cannot reach the broker at "+w.broker.URL) {
		t.Errorf("%s %q", answer.Status, text)
	}
	if status, text := w.get(w.base(), w.environ["PROVIDER_URL"]); status != http.StatusBadGateway || !strings.Contains(text, "cannot reach the broker") {
		t.Errorf("%d %q", status, text)
	}
}

func TestForwarderEndsWithEverythingItOpened(t *testing.T) {
	started := make(chan struct{}, 2)
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	}, nil)
	ended := make(chan error, 2)
	for client, url := range map[*http.Client]string{w.child(): "https://" + mainHost + "/", w.base(): w.environ["PROVIDER_URL"]} {
		answer, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			ended <- err
		}()
	}
	idle, err := net.Dial("tcp", w.proxy().Host)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	<-started
	<-started
	w.close()
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("an answer that was cut off looks whole")
		}
	}
	if _, err := net.Dial("tcp", w.proxy().Host); err == nil {
		t.Error("it still listens")
	}
	_ = idle.SetReadDeadline(time.Now().Add(patience))
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an idle connection stays open: %v", err)
	}
	eventually(t, "every tunnel is closed", func() bool { return w.gateway.Open() == 0 })
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	w.close() // again is fine
	if said := w.said.list(); len(said) > 0 {
		t.Errorf("said %q", said)
	}
}

// pair is a tunnel whose other end the test holds.
type pair struct{ *net.TCPConn }

func pipes(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), other.Close() })
	return conn.(*net.TCPConn), other.(*net.TCPConn)
}

// tunnelled starts a forwarder whose one tunnel ends at the test, and opens it with early bytes behind
// the CONNECT.
func tunnelled(t *testing.T, early string) (child *bufio.ReadWriter, conn, far *net.TCPConn, f *forward.Forwarder) {
	t.Helper()
	w := newWorld(t, echo, nil) // for its lease
	near, far := pipes(t)
	f, err := forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/provider", Gateway: w.lease}}, Getenv: func(string) string { return "" }, Say: func(string) {},
		Open: func(context.Context, api.Tunnel) (api.Stream, error) { return pair{near}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	address, password := strings.CutPrefix(f.Environ()["HTTPS_PROXY"].Reveal(), "http://hourkey:")
	if !password {
		t.Fatal(address)
	}
	secret, host, _ := strings.Cut(address, "@")
	dialled, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialled.Close() })
	conn = dialled.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: x\r\n%s\r\n%s", mainHost, basic("hourkey", secret), early)
	child = bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	if line, err := child.ReadString('\n'); err != nil || line != "HTTP/1.1 200 Connection established\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := child.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return child, conn, far, f
}

func TestHalfClosedConnectionGoesOnInTheOtherDirection(t *testing.T) {
	child, conn, far, _ := tunnelled(t, "early ")
	fmt.Fprint(conn, "question")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(far); err != nil || string(text) != "early question" { // ends: the half was passed on
		t.Fatalf("%q %v", text, err)
	}
	long := strings.Repeat("answer ", 100_000)
	go func() {
		fmt.Fprint(far, long)
		_ = far.CloseWrite()
	}()
	if text, err := io.ReadAll(child); err != nil || string(text) != long {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestBrokenTunnelEndsTheChildsConnection(t *testing.T) {
	child, conn, far, _ := tunnelled(t, "")
	fmt.Fprint(conn, "x")
	_ = far.SetLinger(0) // a reset
	_ = far.Close()
	if _, err := io.ReadAll(child); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the child waits for ever")
	}
}

func TestChildThatGoesAwayEndsTheTunnel(t *testing.T) {
	_, conn, far, _ := tunnelled(t, "")
	_ = conn.SetLinger(0)
	_ = conn.Close()
	_ = far.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(far); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the tunnel stays")
	}
}

func TestOpenTunnelEndsWithTheForwarder(t *testing.T) {
	child, _, far, f := tunnelled(t, "")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	_ = far.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(far); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the tunnel stays")
	}
	if _, err := io.ReadAll(child); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the child's connection stays")
	}
}

func TestTwoTargetsWithOneHostAreRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	_, err := forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/a", Gateway: w.gateway.Issue(nil)}, {Name: "staging/b", Gateway: w.gateway.Issue(nil)}},
		Open:    w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
	})
	if err == nil || err.Error() != "staging/a and staging/b both lead to "+mainHost {
		t.Error(err)
	}
}

func TestMeaninglessTargetIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	for name, spoil := range map[string]func(*api.Gateway){
		"no token":             func(g *api.Gateway) { g.Token = api.Secret{} },
		"no host":              func(g *api.Gateway) { g.Hosts = nil },
		"a host with a port":   func(g *api.Gateway) { g.Hosts = []string{"a.example:443"} },
		"a host with a line":   func(g *api.Gateway) { g.Hosts = []string{"a.example\r\nX: y"} },
		"a wildcard":           func(g *api.Gateway) { g.Hosts = []string{"*.example.com"} },
		"a top-level domain":   func(g *api.Gateway) { g.Hosts = []string{"com"} },
		"a host in capitals":   func(g *api.Gateway) { g.Hosts = []string{"A.example"} },
		"an empty label":       func(g *api.Gateway) { g.Hosts = []string{"a..example"} },
		"the same host twice":  func(g *api.Gateway) { g.Hosts = []string{mainHost, mainHost} },
		"one of our variables": func(g *api.Gateway) { g.Variables = map[string]string{"HTTPS_PROXY": "http://elsewhere"} },
	} {
		lease := w.gateway.Issue(nil)
		spoil(&lease)
		f, err := forward.Start(forward.Config{
			Now:     time.Now,
			Targets: []forward.Target{{Name: "staging/a", Gateway: lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
		})
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = f.Close()
		}
	}
	if left := w.left(); len(left) != 1 { // the world's own
		t.Errorf("left behind: %v", left)
	}
}
