package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
)

// tunnel is bound to one lease, and so to one target, and to one of its hosts.
type tunnel struct {
	*broker.Presented
	pack     gateway.Pack
	provider gateway.Provider
	host     string // for which it stands, without port
	plain    bool   // base-URL mode: HTTP/1.1 at once, with any Host
	scrub    lastScrubber
}

const upgradeTo = "hourkey-tunnel"

// open says whether a request may have a tunnel, and takes a slot for it. Its proof is used up as soon as it is known whose it is.
func (p *Proxy) open(r *http.Request) (*tunnel, error) {
	host, plain, err := readAsk(r)
	if err != nil {
		return nil, err
	}
	if p.calls.stopped() {
		return nil, broker.Errorf(broker.CodeUnavailable, "the broker is stopping").WithNext("try again")
	}
	token, err := readToken(r.Header)
	if err != nil {
		return nil, err
	}
	given, err := p.readProof(r.Header, token)
	if err != nil {
		return nil, err
	}
	presented, err := p.broker.Present(r.Context(), token, given.thumbprint)
	if err != nil {
		return nil, err
	}
	if err := p.useProof(r.Context(), given); err != nil {
		return nil, err
	}
	t, err := newTunnel(presented, host, plain)
	if err != nil {
		return nil, err
	}
	return t, p.slots.take(t.Lease.ID, t.Lease.Agent)
}

// useProof takes a proof once. One from a clock that is ahead of ours is taken when its time has come, so
// that no proof that was used is younger than the next start of the broker.
func (p *Proxy) useProof(ctx context.Context, given proof) error {
	if ahead := given.issued.Sub(p.proofs.latest(p.now())); ahead > 0 {
		wait := time.NewTimer(ahead)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		return p.proofs.use(given, given.issued)
	}
	return p.proofs.use(given, p.now())
}

// readAsk reads what a tunnel is wanted to, by the tunnel protocol.
func readAsk(r *http.Request) (host string, plain bool, err error) {
	switch {
	case r.Method != http.MethodGet || r.URL.Path != Path:
		return "", false, broker.Errorf(broker.CodeInvalid, "a tunnel is opened with GET %s", Path)
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return "", false, broker.Errorf(broker.CodeInvalid, "a tunnel is opened over HTTP/1.1")
	case !hasToken(r.Header, "Connection", "upgrade") || !slices.Equal(r.Header.Values("Upgrade"), []string{upgradeTo}):
		return "", false, broker.Errorf(broker.CodeInvalid, "a tunnel wants `Connection: Upgrade` and `Upgrade: %s`", upgradeTo)
	case r.ContentLength != 0:
		return "", false, broker.Errorf(broker.CodeInvalid, "a tunnel is opened without a body")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["to"]) != 1 || len(query["plain"]) > 1 || len(query) != 1+len(query["plain"]) {
		return "", false, broker.Errorf(broker.CodeInvalid, "a tunnel wants ?to=HOST, and &plain=1 for plain HTTP in it, and nothing else").WithField("to")
	}
	if len(query["plain"]) == 1 && query.Get("plain") != "1" {
		return "", false, broker.Errorf(broker.CodeInvalid, "plain is 1 or left out").WithField("plain")
	}
	return strings.ToLower(query.Get("to")), len(query["plain"]) == 1, nil
}

// newTunnel refuses every host but the target's own, on their one port.
func newTunnel(presented *broker.Presented, to string, plain bool) (*tunnel, error) {
	behind, is := presented.Target.Issuer.(door)
	if !is {
		return nil, broker.Errorf(broker.CodeDenied, "the target %s/%s is not reached through the gateway", presented.Lease.Environment, presented.Lease.Target)
	}
	host, hosts := strings.TrimSuffix(to, ":443"), behind.Pack().Hosts()
	if !slices.Contains(hosts, host) {
		return nil, broker.Errorf(broker.CodeDenied, "%q is not a host of %s/%s: this lease leads to %s, port 443", clip(to), presented.Lease.Environment, presented.Lease.Target, strings.Join(hosts, ", ")).
			WithField("to").WithNext("call that host, or ask for a lease of the target that has yours")
	}
	return &tunnel{Presented: presented, pack: behind.Pack(), provider: behind.Provider(), host: host, plain: plain}, nil
}

// enter turns the connection into the tunnel and gives it to the server. The slot that open took is given
// back when the tunnel ends.
func (p *Proxy) enter(w http.ResponseWriter, t *tunnel) error {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.slots.give(t.Lease.ID, t.Lease.Agent)
		return fmt.Errorf("taking the connection over: %w", err)
	}
	c := newConn(t, raw, func() { p.slots.give(t.Lease.ID, t.Lease.Agent) })
	if err := p.handshake(c, buffered.Reader); err != nil {
		return errors.Join(err, c.Close())
	}
	if !p.tunnels.put(c) {
		return c.Close()
	}
	return nil
}

// handshake answers 101 and, in forward mode, is the host of which the tunnel says that it leads there.
func (p *Proxy) handshake(c *conn, buffered *bufio.Reader) error {
	late := time.AfterFunc(openWithin, c.cut)
	defer late.Stop()
	if _, err := c.raw.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + upgradeTo + "\r\n\r\n")); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	if c.tunnel.plain {
		c.enter(c.raw, buffered)
		return nil
	}
	settings, err := p.settings(c.tunnel)
	if err != nil {
		return err
	}
	inner := tls.Server(&bufferedConn{c.raw, buffered}, settings)
	if err := inner.HandshakeContext(c.tunnel.Ends); err != nil {
		return fmt.Errorf("TLS in the tunnel: %w", err)
	}
	c.enter(inner, bufio.NewReader(inner))
	return nil
}

// settings are those of the TLS server in a tunnel. It is one host, whoever else is asked for.
func (p *Proxy) settings(t *tunnel) (*tls.Config, error) {
	leaf, err := p.authority.Leaf(t.Lease.ID, t.host, t.pack.Hosts(), t.Lease.Created, t.Lease.Expires)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !strings.EqualFold(hello.ServerName, t.host) {
				return nil, fmt.Errorf("the tunnel leads to %s, and %q is asked for", t.host, clip(hello.ServerName))
			}
			return nil, nil
		},
	}, nil
}

// bufferedConn reads first what the HTTP server had read already.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(into []byte) (int, error) { return c.reader.Read(into) }

// queue gives tunnels to the HTTP server, as its listener.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

// put tells whether the server took it.
func (q *queue) put(c *conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
	case <-c.tunnel.Ends.Done():
	}
	return false
}

// Accept is net.Listener's.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr is net.Listener's.
func (q *queue) Addr() net.Addr { return tunnelAddr{} }

type tunnelAddr struct{}

func (tunnelAddr) Network() string { return upgradeTo }
func (tunnelAddr) String() string  { return Path }

// hasToken tells whether a header that is a list has the token, whatever its case (RFC 9110 section 5.6.1).
func hasToken(header http.Header, name, token string) bool {
	for _, value := range header.Values(name) {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// clip shortens what a caller sent before it goes into a message.
func clip(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
