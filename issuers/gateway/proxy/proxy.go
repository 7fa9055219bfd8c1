package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
)

// Path is where tunnels are opened.
const Path = "/gateway/connect"

// Broker is what the proxy asks of *broker.Broker: who presents a token, whether a call may pass, and to
// record what became of it.
type Broker interface {
	Present(ctx context.Context, token broker.Secret, key string) (*broker.Presented, error)
	Use(ctx context.Context, p *broker.Presented, call broker.Call) (broker.Pass, error)
	Used(ctx context.Context, p *broker.Presented, pass broker.Pass, call broker.Call, outcome string)
	RefusedCall(ctx context.Context, p *broker.Presented, operation string, refusal error)
}

var _ Broker = (*broker.Broker)(nil)

// door is a target that is reached through the gateway: *gateway.Issuer.
type door interface {
	Pack() gateway.Pack
	Provider() gateway.Provider
}

var _ door = (*gateway.Issuer)(nil)

// Config is what a Proxy depends on. Broker, Authority, Origin and Now are required.
type Config struct {
	Broker    Broker
	Authority *gateway.Authority
	Origin    string            // of the broker, as agents reach it: "https://hourkey.example"
	Transport http.RoundTripper // to the providers; default NewTransport()
	Now       func() time.Time
	Log       *slog.Logger
	Count     func(provider, class, outcome string) // called once for each call that ended; default nothing
}

// Proxy serves Path and the tunnels that are opened there. It is safe for concurrent use. Run must be
// running for tunnels to be served.
type Proxy struct {
	broker    Broker
	authority *gateway.Authority
	origin    string
	transport http.RoundTripper
	now       func() time.Time
	log       *slog.Logger
	count     func(provider, class, outcome string)

	started time.Time
	proofs  *replays
	slots   *slots
	bodies  *budget
	calls   *callsUnderWay
	tunnels *queue
	server  *http.Server
	serving sync.WaitGroup // connections that the server serves
}

// The bounds of a tunnel and of the HTTP in it.
const (
	openWithin   = 10 * time.Second // from the 101 to the end of the TLS handshake
	headWithin   = 10 * time.Second
	idleFor      = 2 * time.Minute
	drainFor     = 10 * time.Second // calls under way may end, when the proxy stops
	mostHead     = 32 << 10         // bytes of a request line and its header
	mostTunnels  = 4096
	mostPerLease = 256
	mostPerAgent = 1024
)

// New makes a proxy. Nothing runs before Run.
func New(config Config) (*Proxy, error) {
	if config.Broker == nil || config.Authority == nil || config.Now == nil {
		return nil, errors.New("proxy: Config wants Broker, Authority, Origin and Now")
	}
	if at, err := url.Parse(config.Origin); err != nil || at.Host == "" || config.Origin != at.Scheme+"://"+at.Host {
		return nil, errors.New("proxy: Config wants an Origin like https://hourkey.example")
	}
	p := &Proxy{
		broker: config.Broker, authority: config.Authority, origin: config.Origin, transport: config.Transport, now: config.Now, log: config.Log, count: config.Count,
		started: config.Now(), proofs: newReplays(), slots: newSlots(), bodies: &budget{left: mostBuffered}, calls: newCallsUnderWay(), tunnels: newQueue(),
	}
	if p.transport == nil {
		p.transport = NewTransport()
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.count == nil {
		p.count = func(string, string, string) {}
	}
	p.server = p.newServer()
	return p, nil
}

// newServer speaks HTTP/1.1 in every tunnel.
func (p *Proxy) newServer() *http.Server {
	only := new(http.Protocols)
	only.SetHTTP1(true)
	return &http.Server{
		Handler: http.HandlerFunc(p.serveCall), Protocols: only, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headWithin, IdleTimeout: idleFor, MaxHeaderBytes: mostHead,
		ConnContext: withTunnel, ConnState: p.counted,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

// Run serves tunnels until ctx ends. Then none is opened any more, calls under way get ten seconds, and
// what is left is cut. It returns when nothing of the proxy runs any more.
func (p *Proxy) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(p.tunnels) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain := time.NewTimer(drainFor)
	defer drain.Stop()
	select {
	case <-p.calls.stop():
	case <-drain.C:
	}
	err := p.server.Close()
	if why := <-served; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, why)
	}
	p.serving.Wait()
	if idle, can := p.transport.(interface{ CloseIdleConnections() }); can {
		idle.CloseIdleConnections()
	}
	return err
}

// ServeHTTP opens a tunnel.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, err := p.open(r)
	if err != nil {
		p.refuseTunnel(w, r, err)
		return
	}
	if err := p.enter(w, t); err != nil {
		p.log.InfoContext(r.Context(), "a tunnel was not entered", "lease", t.Lease.ID, "host", t.host, "error", err)
	}
}
