package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

const drainFor = 10 * time.Second // what is under way may end, when the server stops

// ListenConfig says where to listen. Address is host:port; TLS nil means plain HTTP.
type ListenConfig struct {
	Address        string
	TLS            *tls.Config
	TrustedProxies []netip.Prefix
}

// Check refuses plain HTTP on anything but a loopback address, unless a trusted proxy is named: then
// only that proxy, and loopback, are answered.
func (c ListenConfig) Check() error {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return broker.Errorf(broker.CodeInvalid, "listen address %q: expected host:port", c.Address).WithField("listen").Because(err)
	}
	if c.TLS != nil || len(c.TrustedProxies) > 0 || isLoopbackHost(host) {
		return nil
	}
	return broker.Errorf(broker.CodeInvalid, "listen address %q is not on loopback, and without TLS anyone on the way could read keys", c.Address).WithField("listen").
		WithNext("listen on 127.0.0.1, or set a certificate, or name the proxy that adds TLS as trusted")
}

// Listen opens the port that Check agrees to.
func Listen(ctx context.Context, c ListenConfig) (net.Listener, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Address)
	if err != nil {
		return nil, broker.Errorf(broker.CodeUnavailable, "listening on %s failed", c.Address).WithField("listen").Because(err)
	}
	// A hosts file can give "localhost" any address: what counts is where the socket really is.
	if at, ok := listener.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() && c.TLS == nil && len(c.TrustedProxies) == 0 {
		return nil, errors.Join(broker.Errorf(broker.CodeInvalid, "listen address %q is not on loopback", c.Address).WithField("listen"), listener.Close())
	}
	if c.TLS == nil {
		return listener, nil
	}
	settings := c.TLS.Clone()
	settings.MinVersion = max(settings.MinVersion, tls.VersionTLS12)
	settings.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(listener, settings), nil
}

// Serve answers on the listener until ctx ends; then calls that wait for a human are answered at once,
// others get ten seconds to come to their end. handler is the
// Server itself, or what stands around it.
func (s *Server) Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      api.MaxWait + 20*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,

		DisableGeneralOptionsHandler: true, // its answer would go around ours
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	server.RegisterOnShutdown(s.endWaits)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if why := <-ended; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, why)
	}
	return err
}

// endWaits makes every long poll answer with what is known.
func (s *Server) endWaits() { s.stopOnce.Do(func() { close(s.stopping) }) }

func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
