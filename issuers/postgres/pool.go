package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	poolSize   = 8
	endingSize = 4
	keptAfter  = 10 * time.Minute // a connection is kept for a lease's end this long after it should have ended
	idleFor    = time.Minute      // an idle connection is closed after this
	freshFor   = time.Second      // one that was used less than this ago is taken without asking whether it still works
	closeWait  = 2 * time.Second  // for a polite goodbye to the server
	dialWithin = 10 * time.Second
)

var errClosed = errors.New("the issuer is closed")

// pool keeps at most size connections. It has no goroutine of its own: a timer closes each idle connection,
// so a pool that is forgotten (a target whose file is gone) leaves nothing open for longer than a minute.
type pool struct {
	config *pgx.ConnConfig
	now    func() time.Time
	slots  chan struct{} // one for each connection that is in use

	mu     sync.Mutex
	idle   []*idleConn // the last one was used last
	closed bool
	keep   time.Time // until then the last idle connection stays: leases can take every other one of the server
}

// turn is held by the one who changes privileges. Two leases that are granted the same table at once would meet "tuple
// concurrently updated", which is tried again, but not for ever. It is no lock of PostgreSQL: every role of a
// database can take any advisory lock, and a lease would hold up all others' ends by it.
type turn chan struct{}

// take waits for the turn and gives what hands it on.
func (t turn) take(ctx context.Context) (func(), error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type idleConn struct {
	*pgx.Conn
	since time.Time
	timer *time.Timer
}

func newPool(config *pgx.ConnConfig, size int, now func() time.Time) *pool {
	return &pool{config: config, now: now, slots: make(chan struct{}, size)}
}

// acquire waits for a connection. The caller must release it, whatever happened to it.
func (p *pool) acquire(ctx context.Context) (*pgx.Conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := p.take(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return conn, nil
}

func (p *pool) take(ctx context.Context) (*pgx.Conn, error) {
	for {
		conn, open := p.pop()
		if !open {
			return nil, errClosed
		}
		if conn == nil {
			return dial(ctx, p.config)
		}
		if p.now().Sub(conn.since) < freshFor || conn.Ping(ctx) == nil {
			return conn.Conn, nil
		}
		shut(conn.Conn)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// pop gives the idle connection that was used last, nil if there is none, and whether the pool is open.
func (p *pool) pop() (*idleConn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 && !p.closed {
		last := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if last.timer.Stop() && !last.IsClosed() {
			return last, true
		}
	}
	return nil, !p.closed
}

// release gives a connection back. One that broke, or is inside a transaction, is closed instead.
func (p *pool) release(conn *pgx.Conn) {
	defer func() { <-p.slots }()
	if conn.IsClosed() || conn.PgConn().TxStatus() != 'I' {
		shut(conn)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go shut(conn) // ends within closeWait
		return
	}
	kept := &idleConn{Conn: conn, since: p.now()}
	kept.timer = time.AfterFunc(idleFor, func() { p.drop(kept) })
	p.idle = append(p.idle, kept)
}

// keepOne keeps one connection open until the given time, by the broker's clock; it makes one where there is none. That
// it fails is for the end to meet: a lease is not refused for it.
func (p *pool) keepOne(ctx context.Context, until time.Time) {
	p.mu.Lock()
	if until.After(p.keep) {
		p.keep = until
	}
	empty := len(p.idle) == 0 && len(p.slots) == 0
	p.mu.Unlock()
	if !empty {
		return
	}
	if conn, err := p.acquire(ctx); err == nil {
		p.release(conn)
	}
}

func (p *pool) drop(old *idleConn) {
	p.mu.Lock()
	if len(p.idle) == 1 && p.idle[0] == old && p.now().Before(p.keep) {
		old.timer.Reset(idleFor)
		p.mu.Unlock()
		return
	}
	for at, conn := range p.idle {
		if conn == old {
			p.idle = append(p.idle[:at], p.idle[at+1:]...)
			break
		}
	}
	p.mu.Unlock()
	shut(old.Conn)
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, conn := range idle {
		if conn.timer.Stop() {
			shut(conn.Conn)
		}
	}
}

func dial(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	return pgx.ConnectConfig(ctx, config.Copy())
}

func shut(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = conn.Close(ctx) // there is nobody to tell: the socket is closed either way
}
