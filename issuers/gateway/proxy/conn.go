package proxy

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
)

// conn is a tunnel as the HTTP server sees it: a connection, read through a guard, that ends with the lease.
type conn struct {
	net.Conn // what HTTP is spoken over: the connection itself, or the TLS in it
	raw      net.Conn
	tunnel   *tunnel
	guard    guard
	life     context.Context //nolint:containedctx // it is the connection's life, not a call's: done when the lease ends
	end      context.CancelFunc
	once     sync.Once
	release  func()
}

// newConn cuts raw when the lease ends, whatever is under way in it. release is called once, at the end.
func newConn(t *tunnel, raw net.Conn, release func()) *conn {
	life, end := context.WithCancel(t.Ends)
	c := &conn{Conn: raw, raw: raw, tunnel: t, life: life, end: end, release: release}
	context.AfterFunc(life, c.cut)
	return c
}

// enter says over what HTTP is spoken, before the server has the connection.
func (c *conn) enter(inner net.Conn, reader *bufio.Reader) {
	c.Conn = inner
	c.guard.in = reader
}

func (c *conn) cut() {
	c.once.Do(func() {
		c.end()
		_ = c.raw.Close() // nobody is left to tell
		c.release()
	})
}

// Read gives the server what the guard lets pass.
func (c *conn) Read(into []byte) (int, error) { return c.guard.Read(into) }

// Close says good-bye by TLS first.
func (c *conn) Close() error {
	var err error
	if c.Conn != c.raw {
		err = c.Conn.Close()
	}
	c.cut()
	return err
}

// CloseWrite lets the server wait until a refusal has arrived, before it closes on bytes that it never read.
func (c *conn) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// withTunnel makes contexts of calls end with the lease and know their connection.
func withTunnel(_ context.Context, c net.Conn) context.Context {
	ours := c.(*conn) // the queue has no other
	return context.WithValue(ours.life, connKey{}, ours)
}

func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }

// counted follows the goroutines of the server, each of which begins and ends with a connection. One that
// came in while the server was being closed is closed here.
func (p *Proxy) counted(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		p.serving.Add(1)
		if p.calls.stopped() {
			_ = c.Close() // the server finds it closed
		}
	case http.StateClosed:
		p.serving.Done()
	default:
	}
}
