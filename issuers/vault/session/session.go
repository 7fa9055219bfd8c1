package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

const (
	callWithin  = 15 * time.Second // one call, with its answer; also a whole login
	renewWithin = 30 * time.Second // a renewal that a timer began, with the login that it may lead to
	mostOfBody  = 32 << 20         // bytes of an answer: the list of a large Vault's tokens is a few megabytes
	connections = 64               // that stay open between calls
	idleFor     = time.Minute
)

// Config is what a Session is opened with. All of it is required.
type Config struct {
	Settings Settings
	// Resolve gives the secret that a reference in a field stands for. It is asked again at every login, never by two
	// calls at once.
	Resolve func(field, reference string) (broker.Secret, error)
	Now     func() time.Time
}

// Session is a login at Vault. Its methods are safe for concurrent use.
type Session struct {
	config    Config
	transport *http.Transport
	client    *api.Client   // has no token of its own: each call brings one
	turn      chan struct{} // held by the one who logs in or renews
	refused   refusal       // the last login that Vault would not have
	failed    failure       // the last attempt that gave no token
	renewal   func()        // what the timer does
	stop      func()        // ends a renewal that is under way

	mu     sync.Mutex
	held   token
	timer  *time.Timer // renews before the token ends; nil before the first login
	closed bool
}

// New makes a session. It calls nobody: Vault is first asked by the first call. Errors are CodeInvalid and name
// the field.
func New(config Config) (*Session, error) {
	if config.Resolve == nil || config.Now == nil {
		return nil, broker.Errorf(broker.CodeInternal, "vault: Config wants Resolve and Now")
	}
	if err := config.Settings.Check(); err != nil {
		return nil, err
	}
	if _, err := config.Resolve("login", config.Settings.Login.secret()); err != nil {
		return nil, err // a secret that is not there is told now, not at the first request
	}
	trust, err := trusted(config)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: connections, IdleConnTimeout: idleFor, TLSHandshakeTimeout: callWithin,
	}
	client, err := newClient(config.Settings, transport)
	if err != nil {
		return nil, err
	}
	s := &Session{config: config, transport: transport, client: client, turn: make(chan struct{}, 1)}
	life, stop := context.WithCancel(context.Background())
	s.renewal, s.stop = func() { s.refresh(life) }, stop
	return s, nil
}

// Close stops the renewal and lets the token end by itself. Ends that are under way, or come later, log in again.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.stop()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.transport.CloseIdleConnections()
	return nil
}

// newClient makes a client that takes nothing from the process's environment.
func newClient(settings Settings, transport *http.Transport) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address: settings.Address, Timeout: callWithin, DisableRedirects: true,
		HttpClient: &http.Client{Transport: guarded{transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
	})
	if err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "vault: the connection cannot be made: a VAULT_ variable of the broker's environment cannot be read").Because(err)
	}
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	if settings.Namespace != "" {
		client.SetNamespace(settings.Namespace)
	}
	return client, nil
}

// trusted is the TLS configuration: the system's authorities, or the one that the settings name.
func trusted(config Config) (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if config.Settings.CA == "" {
		return trust, nil
	}
	text, err := config.Resolve("ca", config.Settings.CA)
	if err != nil {
		return nil, err
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM([]byte(text.Reveal())) {
		return nil, invalid("ca", "holds no certificate in PEM")
	}
	return trust, nil
}

// guarded bounds answers, and makes an error of a redirect: the library would take it for an empty success.
type guarded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := g.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		_ = response.Body.Close()
		return nil, fmt.Errorf("vault answered with a redirect (%d), which is not followed: give the address of the active node, or have standbys forward", response.StatusCode)
	}
	response.Body = body{io.LimitReader(response.Body, mostOfBody), response.Body}
	return response, nil
}

// body is an answer's. Close reads the few bytes that the library leaves of some, so that the connection can be used again.
type body struct {
	io.Reader
	io.Closer
}

// Close implements io.Closer.
func (b body) Close() error {
	_, _ = io.CopyN(io.Discard, b.Reader, 4<<10)
	return b.Closer.Close()
}

// Read reads a path, with the session's own token. What is not there is an error of status 404.
func (s *Session) Read(ctx context.Context, path string) (*api.Secret, error) {
	return s.own(ctx, func(logical *api.Logical) (*api.Secret, error) { return found(logical.ReadWithContext(ctx, path)) })
}

// Write sends data to a path, with the session's own token. An answer without a body is an empty secret.
func (s *Session) Write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return s.own(ctx, func(logical *api.Logical) (*api.Secret, error) {
		return filled(logical.WriteWithContext(ctx, path, data))
	})
}

// List gives the names below a path; none where there is nothing.
func (s *Session) List(ctx context.Context, path string) ([]string, error) {
	answer, err := s.own(ctx, func(logical *api.Logical) (*api.Secret, error) { return filled(logical.ListWithContext(ctx, path)) })
	if err != nil {
		return nil, err
	}
	return Texts(answer.Data["keys"]), nil
}

// Ask reads a path, or writes to it where data is not nil, with another token than the session's.
func (s *Session) Ask(ctx context.Context, token broker.Secret, path string, data map[string]any) (*api.Secret, error) {
	logical := s.as(token.Reveal())
	if data == nil {
		return found(logical.ReadWithContext(ctx, path))
	}
	return filled(logical.WriteWithContext(ctx, path, data))
}

// as gives the calls that bear a token.
func (s *Session) as(token string) *api.Logical {
	return s.client.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = token }).Logical()
}

// own calls with the session's token, once more after a new login where the token had ended meanwhile.
func (s *Session) own(ctx context.Context, call func(*api.Logical) (*api.Secret, error)) (*api.Secret, error) {
	for again := false; ; again = true {
		token, err := s.token(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := call(s.as(token.value))
		if StatusOf(err) != http.StatusForbidden || again || s.isKnown(ctx, token) {
			return answer, err
		}
		s.drop(token)
	}
}

// isKnown tells whether Vault still knows the token: then it was a permission that was missing. In doubt it does. It asks what
// admit saw that the token may ask.
func (s *Session) isKnown(ctx context.Context, token token) bool {
	_, err := s.capabilities(ctx, token.value, s.almighty())
	return StatusOf(err) != http.StatusForbidden
}

// found makes an error of what is not there.
func found(answer *api.Secret, err error) (*api.Secret, error) {
	if err == nil && answer == nil {
		return nil, &api.ResponseError{StatusCode: http.StatusNotFound, Errors: []string{"there is nothing at this path"}}
	}
	return answer, err
}

func filled(answer *api.Secret, err error) (*api.Secret, error) {
	if err == nil && answer == nil {
		return &api.Secret{}, nil
	}
	return answer, err
}

// Address is where Vault is, as configured.
func (s *Session) Address() string { return s.config.Settings.Address }

// Namespace is Vault Enterprise's, empty if there is none.
func (s *Session) Namespace() string { return s.config.Settings.Namespace }

// ClusterID asks who answers: the id that Vault gave itself when it was initialised.
func (s *Session) ClusterID(ctx context.Context) (string, error) {
	health, err := s.client.WithNamespace("").Sys().HealthWithContext(ctx) // Vault Enterprise has it outside of namespaces alone
	if err != nil {
		return "", err
	}
	if health.Sealed || !health.Initialized || health.ClusterID == "" {
		return "", &api.ResponseError{StatusCode: http.StatusServiceUnavailable, Errors: []string{"vault is sealed, or not initialised"}}
	}
	return health.ClusterID, nil
}
