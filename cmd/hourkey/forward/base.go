package forward

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// Bounds of the tunnels of one target in base-URL mode.
const (
	maxTunnels     = 64
	idleTunnels    = 16
	idleTunnelTime = 20 * time.Second // shorter than any server's, so that none is closed as we use it
	maxAnswerHead  = 256 << 10        // bytes of the header of an answer
	continueTime   = time.Second      // for an answer to Expect: 100-continue
)

// base is base-URL mode for one target: http://127.0.0.1:PORT/PASSWORD/N stands for its main host.
type base struct {
	tunnels *http.Transport // pools tunnels
	proxy   *httputil.ReverseProxy
}

func (f *Forwarder) newBase(n int) *base {
	host := f.config.Targets[n].Gateway.Hosts[0]
	prefix := f.prefix(n)
	tunnels := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			tunnel, err := f.open(ctx, n, host, true)
			if err != nil {
				return nil, &openingError{err}
			}
			return tunnelConn{tunnel}, nil
		},
		DisableCompression: true, // the child gets what it asked for
		MaxConnsPerHost:    maxTunnels, MaxIdleConnsPerHost: idleTunnels, IdleConnTimeout: idleTunnelTime,
		MaxResponseHeaderBytes: maxAnswerHead, ExpectContinueTimeout: continueTime,
	}
	return &base{tunnels: tunnels, proxy: &httputil.ReverseProxy{
		Transport:     tunnels,
		FlushInterval: -1, // streams both ways
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", host, host
			p.Out.URL.Path = below(prefix, p.In.URL.Path)
			p.Out.URL.RawPath = below(prefix, p.In.URL.EscapedPath()) // as it came: the broker reads it, not we
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			f.dropPassword(p.Out.Header)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if _, opening := errors.AsType[*openingError](err); !opening {
				err = fmt.Errorf("the tunnel broke before the answer came, so whether the call was done is not known: %w", err)
			}
			status, line := f.failed(n, err)
			refuse(w, status, line)
		},
	}}
}

// openingError is why there is no tunnel: nothing of the call has left.
type openingError struct{ error }

func (e *openingError) Unwrap() error { return e.error }

// prefix is the path of target n's base URL.
func (f *Forwarder) prefix(n int) string { return "/" + f.password.Reveal() + "/" + strconv.Itoa(n) }

// below is what of the path comes after the prefix.
func below(prefix, path string) string {
	if rest := strings.TrimPrefix(path, prefix); rest != "" {
		return rest
	}
	return "/"
}

// serveBase serves /PASSWORD/N/…. What follows is not looked at: it goes to target N's tunnel alone,
// and the broker refuses paths that could be read in two ways.
func (f *Forwarder) serveBase(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	password, rest, _ := strings.Cut(path, "/")
	if !f.isPassword(password) {
		refuse(w, http.StatusForbidden, "the password of this run is wrong or missing: use the base URL as it is in the command's environment")
		return
	}
	number, _, _ := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	if err != nil || strconv.Itoa(n) != number || n < 0 || n >= len(f.bases) {
		refuse(w, http.StatusNotFound, "no target has this base URL: use it as it is in the command's environment")
		return
	}
	if r.Header.Get("Upgrade") != "" {
		refuse(w, http.StatusForbidden, "websockets and other upgrades are not forwarded: no call in them could be judged")
		return
	}
	// Otherwise net/http would read the whole body before it lets the head of an early answer go.
	_ = http.NewResponseController(w).EnableFullDuplex()
	f.bases[n].proxy.ServeHTTP(w, r)
}

// dropPassword removes the headers in which a tool sends the password on, in the place of a token.
func (f *Forwarder) dropPassword(header http.Header) {
	for name, values := range header {
		for _, value := range values {
			if strings.Contains(value, f.password.Reveal()) || strings.Contains(decodeBasic(value), f.password.Reveal()) {
				header.Del(name)
				break
			}
		}
	}
}

// decodeBasic gives user and password of Basic credentials (RFC 7617), empty if it is none.
func decodeBasic(value string) string {
	_, encoded, _ := strings.Cut(value, " ")
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(text)
}

// tunnelConn lets an HTTP client use a tunnel as a connection. The client sets no deadlines.
type tunnelConn struct{ api.Stream }

func (tunnelConn) LocalAddr() net.Addr              { return tunnelAddr{} }
func (tunnelConn) RemoteAddr() net.Addr             { return tunnelAddr{} }
func (tunnelConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (tunnelConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (tunnelConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// tunnelAddr is where a tunnel begins and ends, as far as one can tell from outside.
type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "tunnel" }
func (tunnelAddr) String() string  { return "tunnel" }
