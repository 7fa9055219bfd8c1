package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/web/api"
)

const (
	longestPlace  = 260 // bytes of a host and port: 253, a colon, 5 digits
	longestReason = 200 // bytes in a status line
)

// connect is forward mode: the child's own TLS goes through a tunnel to a host that a target lists.
func (f *Forwarder) connect(w http.ResponseWriter, r *http.Request) {
	if !f.isChild(r) {
		askPassword(w)
		return
	}
	host, is443 := strings.CutSuffix(strings.ToLower(r.RequestURI), ":443")
	n, listed := f.hosts[host]
	if !listed || !is443 {
		place := r.RequestURI[:min(len(r.RequestURI), longestPlace)]
		line := fmt.Sprintf("%q is no place that this run's leases lead to: those are %s, port 443", place, f.reached())
		f.tell(keyHost+place, "refused: "+line)
		refuseConnect(w, http.StatusForbidden, line)
		return
	}
	tunnel, err := f.open(r.Context(), n, host, false)
	if err != nil {
		status, line := f.failed(n, err)
		refuseConnect(w, status, line)
		return
	}
	child, early, err := hijack(w)
	if err != nil {
		_ = tunnel.Close()
		return
	}
	if _, err := io.WriteString(child, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_, _ = tunnel.Close(), child.Close()
		return
	}
	f.pump(child, early, tunnel)
}

// halfConn is one end that can stop sending and go on receiving.
type halfConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// hijack takes the connection over, with what the child has sent already.
func hijack(w http.ResponseWriter) (child halfConn, early []byte, err error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking the connection over: %w", err)
	}
	child, ok := conn.(halfConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("the connection cannot be closed by halves"), conn.Close())
	}
	early, err = buffered.Peek(buffered.Reader.Buffered())
	return child, bytes.Clone(early), err
}

// refuseConnect answers CONNECT with the reason in the status line too: that is all that most clients
// show of a proxy's refusal.
func refuseConnect(w http.ResponseWriter, status int, line string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	text := body(line) + "\n"
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, reason(line), len(text), text)
}

// reason makes a line fit for the status line (RFC 9112 section 4): visible ASCII, and short.
func reason(line string) string {
	line = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, body(line))
	return line[:min(len(line), longestReason)]
}

// pump carries bytes both ways until both have ended, one has failed, or the forwarder ends.
func (f *Forwarder) pump(child halfConn, early []byte, tunnel api.Stream) {
	hangUp := func() { _, _ = child.Close(), tunnel.Close() }
	defer hangUp()
	defer context.AfterFunc(f.life, hangUp)()
	var both sync.WaitGroup
	both.Go(func() { carry(tunnel, io.MultiReader(bytes.NewReader(early), child), hangUp) })
	both.Go(func() { carry(child, tunnel, hangUp) })
	both.Wait()
}

// carry copies until the source ends, and passes on that it did.
func carry(to halfConn, from io.Reader, hangUp func()) {
	if _, err := io.Copy(to, from); err != nil {
		hangUp()
		return
	}
	if err := to.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
		hangUp()
	}
}
