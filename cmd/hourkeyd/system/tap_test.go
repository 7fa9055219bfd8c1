package system

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// tap stands between an installation and a provider. It hears every call with its answer, and can have calls go wrong as they
// do at a provider that is down, slow, or ends in the middle of an answer.
type tap struct {
	URL string

	to     *http.Client
	origin string // the provider's
	mu     sync.Mutex
	heard  []call
	faults []*fault
}

// call is one that was made, with the provider's whole answer.
type call struct {
	method, path, body string // path with its query
	token              string // X-Vault-Token
	status             int
	answer             string
}

// fault has calls go wrong while it is there.
type fault struct {
	on  func(call) bool
	how trouble
}

// trouble is how a call goes wrong.
type trouble string

const (
	isDown  trouble = "down"          // the connection is reset
	isIll   trouble = "ill"           // it says 503
	isMute  trouble = "silent"        // it does what it is asked, and never says so
	isTorn  trouble = "half-spoken"   // it does what it is asked, and half of the answer comes
	isBlank trouble = "absent-minded" // it says 200, and an answer that holds nothing
)

func everyCall(call) bool { return true }

// newTap listens on loopback until the test ends. certificate may be nil: then it speaks plain HTTP, as the provider does.
func newTap(tb testing.TB, origin string, to *http.Client, certificate *tls.Certificate) *tap {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	t := &tap{URL: "http://" + listener.Addr().String(), origin: origin, to: to}
	if certificate != nil {
		t.URL = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	server := &http.Server{Handler: t, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)} // who was killed shook no hands
	go func() { _ = server.Serve(listener) }()
	tb.Cleanup(func() { _ = server.Close() })
	return t
}

// plainTap is newTap to a provider that speaks plain HTTP.
func plainTap(tb testing.TB, origin string) *tap {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return newTap(tb, origin, &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil)
}

// ServeHTTP is http.Handler's.
func (t *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	one := call{method: r.Method, path: r.URL.RequestURI(), body: string(body), token: r.Header.Get("X-Vault-Token")}
	switch how := t.goesWrong(one); how {
	case "":
		t.pass(w, r, one)
	case isDown:
		hangUp(w)
	case isIll:
		http.Error(w, "{}", http.StatusServiceUnavailable)
	case isBlank:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	case isMute, isTorn:
		answer, err := t.forward(context.WithoutCancel(r.Context()), r, one)
		if err == nil && how == isTorn {
			tear(w, answer)
			return
		}
		<-r.Context().Done() // who asked gave up
		hangUp(w)
	}
}

// forward makes the call at the provider, and remembers it.
func (t *tap) forward(ctx context.Context, r *http.Request, one call) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, t.origin+one.path, bytes.NewReader([]byte(one.body)))
	if err != nil {
		return nil, err
	}
	request.Header, request.Host = r.Header.Clone(), r.Host // S3 signs the host
	answer, err := t.to.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	one.status, one.answer = answer.StatusCode, string(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = append(t.heard, one)
	answer.Body = io.NopCloser(bytes.NewReader(text))
	return answer, nil
}

func (t *tap) pass(w http.ResponseWriter, r *http.Request, one call) {
	answer, err := t.forward(r.Context(), r, one)
	if err != nil {
		hangUp(w)
		return
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func (t *tap) goesWrong(one call) trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.faults {
		if f.on(one) {
			return f.how
		}
	}
	return ""
}

// breaks has calls go wrong until mend is called.
func (t *tap) breaks(how trouble, on func(call) bool) (mend func()) {
	f := &fault{on, how}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, f)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.faults = slices.DeleteFunc(t.faults, func(other *fault) bool { return other == f })
	}
}

// calls gives those that were done at the provider and are of a kind, in their order.
func (t *tap) calls(of func(call) bool) (all []call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.heard {
		if of(one) {
			all = append(all, one)
		}
	}
	return all
}

func hangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if plain, is := conn.(*net.TCPConn); is {
			_ = plain.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// tear sends half of an answer.
func tear(w http.ResponseWriter, answer *http.Response) {
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(buffered, "HTTP/1.1 %d OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", answer.StatusCode, answer.Header.Get("Content-Type"), max(len(text), 1), text[:len(text)/2])
	_ = buffered.Flush()
	_ = conn.Close()
}
