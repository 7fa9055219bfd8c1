package web

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// Config is what a Server depends on. Broker, Store, Origin, AccessKey and Now are required.
type Config struct {
	Broker    *broker.Broker
	Store     broker.Store
	Origin    string             // "https://hourkey.example", without a path; its host is the one Host that is answered
	AccessKey ed25519.PrivateKey // signs access tokens, and nothing else
	Verifier  *authn.Verifier    // of passkeys; default: made from Origin
	Now       func() time.Time
	Log       *slog.Logger // default: nothing is logged

	// TargetKeys gives the JWK set (RFC 7517) of an environment's target-token issuer, CodeNotFound
	// where there is none. nil: there is none anywhere.
	TargetKeys func(ctx context.Context, environment string) (json.RawMessage, error)

	// Tunnel serves api.PathTunnel, the way to the gateway; it proves callers by itself (RFC 9449). nil:
	// there is no gateway.
	Tunnel http.Handler

	// SingleSignOn signs humans in by OpenID Connect, beside passkeys. nil: there is none.
	SingleSignOn *authn.SingleSignOn

	// Export writes the whole event log, signed, as JSON lines. nil: the pages offer no export.
	Export func(ctx context.Context, to io.Writer) error
	// Integrity tells how far the event log is known to be whole; CodeConflict: it is not. nil: the pages do not say.
	Integrity func(ctx context.Context) (Integrity, error)

	SessionIdle, SessionLife time.Duration // of humans; default and most: authn.SessionIdle, authn.SessionLife

	TrustedProxies []netip.Prefix       // whose X-Forwarded-For is believed
	MetricsFrom    []netip.Prefix       // who may read /metrics; default: loopback
	Metrics        *prometheus.Registry // default: a new one
	Limits         Limits
}

// Server answers HTTP. Its methods are safe for concurrent use.
type Server struct {
	broker   *broker.Broker
	store    broker.Store
	written  *watchedStore // the same
	agents   *authn.Agents
	sessions *authn.Sessions
	verifier *authn.Verifier
	signOn   *authn.SingleSignOn
	now      func() time.Time
	log      *slog.Logger

	origin      string          // scheme://host[:port]
	secure      bool            // the origin is https
	hosts       map[string]bool // Host header → answered
	proxies     []netip.Prefix
	metricsFrom []netip.Prefix
	headers     http.Header // on every answer
	targetKeys  func(ctx context.Context, environment string) (json.RawMessage, error)
	tunnel      http.Handler
	export      func(ctx context.Context, to io.Writer) error
	integrity   func(ctx context.Context) (Integrity, error)

	limits    Limits
	strangers *limiter // by address, for who is not known yet
	callers   *limiter // by known caller
	tunnels   *limiter // by token that opened one, else by address
	opened    remembered

	routes  http.Handler // the tables of access.go and human.go
	metrics http.Handler
	ready   *readiness
	ids     *requestIDs
	waits   *waits
	own     *ownUser

	makings *authn.Challenges[making] // of those who make a passkey while they are signed in

	stopping chan struct{} // closed when the server begins to stop, so that nothing waits on
	stopOnce sync.Once
}

// New makes the server. It serves nothing yet: it is an http.Handler, and Serve runs it on a listener.
func New(config Config) (*Server, error) {
	if config.Broker == nil || config.Store == nil || config.Now == nil || len(config.AccessKey) != ed25519.PrivateKeySize {
		return nil, errors.New("web: Config wants Broker, Store, AccessKey and Now")
	}
	origin, err := parseOrigin(config.Origin)
	if err != nil {
		return nil, err
	}
	written := watch(config.Store)
	s := &Server{
		broker: config.Broker, store: written, written: written, verifier: config.Verifier, now: config.Now, log: config.Log,
		origin: config.Origin, secure: origin.Scheme == "https", hosts: map[string]bool{origin.Host: true},
		proxies: config.TrustedProxies, metricsFrom: config.MetricsFrom, targetKeys: config.TargetKeys, tunnel: config.Tunnel, limits: config.Limits.orDefault(),
		export: config.Export, integrity: config.Integrity,
	}
	if err := s.build(config, origin); err != nil {
		return nil, err
	}
	return s, nil
}

// build makes the parts that New has the settings for.
func (s *Server) build(config Config, origin *url.URL) (err error) {
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if config.Metrics == nil {
		config.Metrics = prometheus.NewRegistry()
	}
	if s.metricsFrom == nil {
		s.metricsFrom = loopback()
	}
	if s.verifier == nil {
		if s.verifier, err = authn.NewVerifier(origin.Hostname(), []string{s.origin}); err != nil {
			return err
		}
	}
	s.agents, err = authn.NewAgents(authn.AgentsConfig{Broker: s.broker, Store: s.store, Origin: s.origin, Key: config.AccessKey, Now: s.now})
	if err != nil {
		return err
	}
	s.sessions = authn.NewSessions(authn.SessionsConfig{Store: s.store, Now: s.now, Secure: s.secure, Idle: config.SessionIdle, Life: config.SessionLife})
	s.signOn, s.makings = config.SingleSignOn, authn.NewChallenges[making](s.now)
	s.headers = hardened(s.secure)
	s.strangers = newLimiter(s.limits.StrangerRate, s.limits.StrangerBurst, s.limits.Remembered, s.now)
	s.callers = newLimiter(s.limits.CallerRate, s.limits.CallerBurst, s.limits.Remembered, s.now)
	s.tunnels = newLimiter(s.limits.CallerRate, s.limits.CallerBurst, s.limits.Remembered, s.now)
	s.own = &ownUser{
		uid: os.Getuid(), uidOf: peerUID, saw: s.broker.SawOwnUser,
		known: func() bool { return !s.broker.Installation().SameUser.IsZero() },
	}
	s.ready, s.waits = &readiness{}, &waits{}
	s.stopping, s.ids = make(chan struct{}), newRequestIDs()
	if s.metrics, err = s.newMetrics(config.Metrics); err != nil {
		return err
	}
	s.routes = s.router()
	return nil
}

// parseOrigin reads scheme://host[:port] as a browser writes it in the Origin header (RFC 6454).
func parseOrigin(text string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, broker.Errorf(broker.CodeInvalid, "the origin %q %s", text, why).WithField("origin").
			WithNext("write it like https://hourkey.example, or http://localhost:8750 on one machine")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return bad("is no URL with a host")
	case u.Scheme+"://"+u.Host != text:
		return bad("has more than scheme, host and port")
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		return bad("is plain http and not on loopback")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("is neither https nor http")
	}
	return u, nil
}
