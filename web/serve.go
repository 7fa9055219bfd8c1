package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// ServeHTTP is around everything: headers, bounds, the log, and the end of a panic.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	answer := &answerWriter{ResponseWriter: w}
	c := &call{writer: answer, id: s.ids.next(), route: "none", oauth: r.Method == http.MethodPost && r.URL.Path == api.PathToken}
	c.request = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	maps.Copy(w.Header(), s.headers)
	defer func() {
		s.recovered(c, answer, recover())
		s.logCall(c, answer, began)
	}()
	c.request.Body = http.MaxBytesReader(w, r.Body, s.limits.Body)
	if err := s.admit(c); err != nil {
		s.fail(c, err)
		return
	}
	if r.URL.Path == api.PathTunnel && s.tunnel != nil {
		s.openTunnel(c, answer)
		return
	}
	s.routes.ServeHTTP(answer, c.request)
}

// openTunnel hands the call to the gateway, which takes the connection over. A stranger may not try
// tokens without end.
func (s *Server) openTunnel(c *call, answer *answerWriter) {
	c.route = "GET " + api.PathTunnel
	token := sha256.Sum256([]byte(c.request.Header.Get("Authorization")))
	key := "address " + addressKey(c.address)
	if s.opened.has(token) { // strangers at its address are no reason to keep an agent out
		key = "token " + string(token[:])
	}
	if err := s.limited(c, s.tunnels, key); err != nil {
		s.fail(c, err)
		return
	}
	s.tunnel.ServeHTTP(answer, c.request)
	if answer.status == 0 || answer.status == http.StatusSwitchingProtocols { // taken over
		s.opened.add(token)
	}
}

// remembered keeps the last few thousand digests, for at most two generations. The zero value is ready.
type remembered struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]bool
}

func (r *remembered) has(digest [sha256.Size]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.young[digest] || r.old[digest]
}

func (r *remembered) add(digest [sha256.Size]byte) {
	const most = 4096
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= most {
		r.young, r.old = map[[sha256.Size]byte]bool{}, r.young
	}
	r.young[digest] = true
}

// admit refuses what needs no look at the path.
func (s *Server) admit(c *call) error {
	if c.request.ContentLength > s.limits.Body {
		return broker.Errorf(codeTooLarge, "the body has more than %d bytes", s.limits.Body)
	}
	client, peer := s.clientAddress(c.request)
	c.address = client
	switch {
	case c.request.TLS == nil && !peer.IsLoopback() && !s.isProxy(peer):
		// Else anyone on the way reads the tokens: a listener that is meant for a proxy is no exception.
		return broker.Errorf(broker.CodeForbidden, "plain HTTP is for loopback and for trusted proxies alone").WithNext("use https")
	case !s.hosts[c.request.Host]:
		// The attack is DNS rebinding: a page whose name resolves to us, and that reads our answers.
		return broker.Errorf(codeHost, "this broker does not answer for the host that was asked").WithField("Host").WithNext("use %s", s.origin)
	}
	return nil
}

// hardened are the headers of every answer. A page replaces Content-Security-Policy by its own. There
// is no CORS: no other origin may read anything.
func hardened(secure bool) http.Header {
	header := http.Header{
		"X-Content-Type-Options":       {"nosniff"},
		"X-Frame-Options":              {"DENY"},
		"Referrer-Policy":              {"no-referrer"},
		"Cache-Control":                {"no-store"},
		"Content-Security-Policy":      {"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Permissions-Policy":           {"camera=(), geolocation=(), microphone=()"},
	}
	if secure {
		header["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
	return header
}

// recovered ends a panic: the caller learns nothing, the log gets the place. The value itself is logged
// only when the runtime made it; any other may hold what must not be logged (invariant 10).
func (s *Server) recovered(c *call, answer *answerWriter, value any) {
	if value == nil {
		return
	}
	if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(value)
	}
	what := fmt.Sprintf("%T", value)
	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	}
	s.log.LogAttrs(c.ctx(), slog.LevelError, "panic", slog.String("call", c.id), slog.String("route", c.route), slog.String("what", what), slog.String("stack", string(debug.Stack())))
	if answer.status == 0 {
		c.writer = answer
		s.fail(c, broker.Errorf(broker.CodeInternal, "panic"))
	}
}

// logCall writes the access log: the route and never the path's or the query's own words.
func (s *Server) logCall(c *call, answer *answerWriter, began time.Time) {
	if !s.log.Enabled(c.ctx(), slog.LevelInfo) {
		return
	}
	caller := ""
	if c.caller.Kind != "" {
		caller = c.caller.Actor()
	}
	level := slog.LevelInfo
	if strings.Contains(c.route, "/assets/") || strings.HasSuffix(c.route, " /live") { // says nothing
		level = slog.LevelDebug
	}
	s.log.LogAttrs(c.ctx(), level, "call", slog.String("call", c.id), slog.String("route", c.route), slog.Int("status", answer.status),
		slog.Duration("took", s.now().Sub(began)), slog.String("address", addressText(c.address)), slog.String("caller", caller))
}

func addressText(address netip.Addr) string {
	if !address.IsValid() {
		return ""
	}
	return address.String()
}

func (c *call) retryAfter(seconds int) {
	c.writer.Header().Set("Retry-After", strconv.Itoa(seconds))
}

// answerWriter remembers the status.
type answerWriter struct {
	http.ResponseWriter
	status int
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(raw []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(raw)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requestIDs names calls: a random run, and a number in it.
type requestIDs struct {
	run  string
	last atomic.Uint64
}

func newRequestIDs() *requestIDs { return &requestIDs{run: rand.Text()[:8]} }

func (i *requestIDs) next() string { return i.run + "-" + strconv.FormatUint(i.last.Add(1), 10) }
