package proxy

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mainHost  = "api.example.test"
	otherHost = "alias.example.test"
	// realToken has characters that JSON, URLs and base64 write in other ways.
	realToken = `real/tok+en=with"odd&ends<0123456789>`
)

const packText = `
GET /things
    read    lists
    touch   none

GET /things/{id}
    read    one
    touch   thing id

PUT /things/{id}
    write   changes one
    touch   thing id

PATCH /things/{id}
    write   changes one
    touch   thing id

DELETE /things/{id}
    delete  destroys one
    touch   thing id

GET /things/{id}/values
    read    the values of one
    touch   thing id
    secret  values.*

GET /keys/{id}
    admin   makes a key each time that it is asked
    touch   thing id

POST /things/{id}/upload
    write   takes any bytes
    touch   thing id
    raw

POST /things/{id}/bury
    delete  whatever is sent
    touch   thing id
    raw

POST /nothing
    write   names nothing
    touch   none

GET /never
    refused it is never let through
`

// pack is a small provider's.
type pack struct{ rest *judge.REST }

func newPack(t testing.TB) *pack {
	t.Helper()
	rows, err := judge.ParsePack("small", "small.pack", []byte(packText))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := judge.NewREST(rows)
	if err != nil {
		t.Fatal(err)
	}
	return &pack{rest}
}

func (*pack) Name() string                                        { return "small" }
func (*pack) Hosts() []string                                     { return []string{mainHost, otherHost} }
func (p *pack) Judge(call judge.Call, lenient bool) judge.Verdict { return p.rest.Judge(call, lenient) }
func (*pack) Rows() *judge.Pack                                   { return &judge.Pack{} }
func (*pack) Variables(string, string) map[string]string          { return nil }

func (*pack) Refuse(_ judge.Call, status int, problem gateway.Problem) (contentType string, body []byte) {
	body, _ = json.Marshal(map[string]any{"message": problem.Message, "code": problem.Code, "status": status, "url": problem.URL, "request": problem.Request})
	return "application/json", body
}

// provider resolves everything to staging, but what is called "gone", "prod…" or "public".
type provider struct {
	base     string
	token    string
	identity string // of its environments, before the name; default "small:"

	mu    sync.Mutex
	asked []string // "thing/1 fresh"
}

func (*provider) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{ID: "small:staging", Shown: "staging"}, nil
}

func (p *provider) Resolve(_ context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := make([]gateway.Found, 0, len(named))
	for _, name := range named {
		p.asked = append(p.asked, fmt.Sprintf("%s/%s %v", name.Kind, name.ID, fresh))
		identity := cmp.Or(p.identity, "small:")
		place := broker.Place{Identity: identity + "staging", Shown: "staging"}
		switch {
		case name.ID == "gone":
			return nil, broker.Errorf(broker.CodeDenied, "%s: there is no such thing", name.At)
		case name.ID == "leaky":
			return nil, broker.Errorf(broker.CodeUnavailable, "the look-up with %s failed", p.token)
		case name.ID == "short":
			return nil, nil
		case strings.HasPrefix(name.ID, "prod"):
			place = broker.Place{Identity: identity + "production", Shown: "production"}
		case name.ID == "public":
			found = append(found, gateway.Found{})
			continue
		}
		found = append(found, gateway.Found{Names: []broker.Resource{broker.Resource(name.Kind + "/" + name.ID)}, Places: []broker.Place{place}, Says: "a thing"})
	}
	return found, nil
}

func (*provider) Inventory(context.Context) ([]broker.Fact, error) { return nil, nil }
func (*provider) Sight() judge.Sight                               { return judge.Sight{Environment: "staging"} }
func (p *provider) Base() string                                   { return p.base }
func (p *provider) Attach(header http.Header)                      { header.Set("Authorization", "Bearer "+p.token) }

// issuer is a target behind the gateway.
type issuer struct {
	broker.Issuer
	broker.Declarer
	pack     gateway.Pack
	provider gateway.Provider
}

func (i *issuer) Pack() gateway.Pack         { return i.pack }
func (i *issuer) Provider() gateway.Provider { return i.provider }

// keeper is a broker that knows one lease, lets reads and writes of staging pass, and remembers.
type keeper struct {
	mu        sync.Mutex
	presented *broker.Presented
	token     string
	end       context.CancelFunc
	decide    func(broker.Call) (broker.Pass, error)
	calls     []broker.Call
	outcomes  []string
	refused   []string
}

func (k *keeper) Present(_ context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case token.Reveal() != k.token:
		return nil, broker.Errorf(broker.CodeUnauthenticated, "this token is of no lease")
	case key != k.presented.Lease.AgentKey:
		return nil, broker.Errorf(broker.CodeUnauthenticated, "this token was issued to another key")
	case k.presented.Ends.Err() != nil:
		return nil, broker.Errorf(broker.CodeExpired, "this lease has ended").WithNext("make a new request")
	}
	return k.presented, nil
}

func (k *keeper) Use(_ context.Context, _ *broker.Presented, call broker.Call) (broker.Pass, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, call)
	if k.decide != nil {
		return k.decide(call)
	}
	for _, touched := range call.Touches {
		if touched.Places[0].Identity != "small:staging" {
			return broker.Pass{}, broker.Errorf(broker.CodeDenied, "%s lives in %s", touched.Names[0], touched.Places[0].Shown)
		}
	}
	return broker.Pass{}, nil
}

func (k *keeper) Used(_ context.Context, _ *broker.Presented, _ broker.Pass, call broker.Call, outcome string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outcomes = append(k.outcomes, firstWord(call.Operation)+" "+outcome)
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

func (k *keeper) RefusedCall(_ context.Context, _ *broker.Presented, operation string, refusal error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = append(k.refused, operation+": "+refusal.Error())
}

func (k *keeper) seen() (calls int, outcomes, refused []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.calls), slices.Clone(k.outcomes), slices.Clone(k.refused)
}

// key is an agent's.
type key struct {
	algorithm  string
	jwk        map[string]string
	thumbprint string
	sign       func(signed string) []byte
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return b64(sum[:])
}

func newKey(t testing.TB) *key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key{
		algorithm: "EdDSA", jwk: map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)},
		thumbprint: sha(fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, b64(public))),
		sign:       func(signed string) []byte { return ed25519.Sign(private, []byte(signed)) },
	}
}

func newECKey(t testing.TB) *key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := b64(point[1:33]), b64(point[33:])
	return &key{
		algorithm: "ES256", jwk: map[string]string{"kty": "EC", "crv": "P-256", "x": x, "y": y},
		thumbprint: sha(fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y)),
		sign: func(signed string) []byte {
			sum := sha256.Sum256([]byte(signed))
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			if err != nil {
				t.Error(err)
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		},
	}
}

// prove makes a proof; change may alter header and claims before they are signed.
func (k *key) prove(origin, token string, at time.Time, change ...func(header, claims map[string]any)) string {
	header := map[string]any{"typ": "dpop+jwt", "alg": k.algorithm, "jwk": k.jwk}
	claims := map[string]any{
		"jti": rand.Text(), "htm": "GET", "htu": origin + Path, "iat": float64(at.UnixMicro()) / 1e6, "ath": sha(token),
	}
	for _, c := range change {
		c(header, claims)
	}
	h, _ := json.Marshal(header)
	p, _ := json.Marshal(claims)
	signed := b64(h) + "." + b64(p)
	return signed + "." + b64(k.sign(signed))
}

// rig is a proxy with a provider's server behind it and an agent before it.
type rig struct {
	testing.TB
	proxy     *Proxy
	broker    *keeper
	provider  *provider
	authority *gateway.Authority
	key       *key
	origin    string
	backend   *backend
	log       *lockedBuffer
	now       func() time.Time
}

const leaseToken = "hkt_lease1_ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// backend is the provider's server; its handler can be changed.
type backend struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.HandlerFunc
	got     []*http.Request
	bodies  []string
}

func newBackend(t testing.TB) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Server.Close)
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	handler := b.handler
	b.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.got, b.bodies = append(b.got, r), append(b.bodies, string(body))
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"path":%q,"body":%q}`, r.RequestURI, body)
}

func (b *backend) answers(handler http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = handler
}

func (b *backend) seen() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// lockedBuffer keeps what was logged.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(raw []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(raw)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{TB: t, key: newKey(t), backend: newBackend(t), log: &lockedBuffer{}, now: time.Now}
	r.provider = &provider{base: r.backend.URL, token: realToken}
	var err error
	if r.authority, err = gateway.NewAuthority([]byte(strings.Repeat("s", 32)), "inst7"); err != nil {
		t.Fatal(err)
	}
	ends, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	r.broker = &keeper{token: leaseToken, end: end, presented: &broker.Presented{
		Lease: broker.Lease{
			ID: "lease1", AgentKey: r.key.thumbprint, Agent: "claude", Environment: "staging", Target: "small", State: broker.LeaseLive,
			Created: time.Now().Add(-time.Minute), Expires: time.Now().Add(30 * time.Minute),
		},
		Target: broker.Target{Binding: "b1", Issuer: &issuer{pack: newPack(t), provider: r.provider}},
		Ends:   ends,
	}}
	outer := httptest.NewUnstartedServer(nil)
	r.origin = "http://" + outer.Listener.Addr().String()
	config := Config{
		Broker: r.broker, Authority: r.authority, Origin: r.origin, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&config)
	}
	if r.proxy, err = New(config); err != nil {
		t.Fatal(err)
	}
	outer.Config.Handler = r.proxy
	outer.Start()
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.proxy.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		outer.Close()
	})
	return r
}

// ask is a request for a tunnel.
type ask struct {
	query   string
	token   string
	proof   string
	method  string
	path    string
	headers map[string]string // "" takes one away
}

func (r *rig) ask(to string, plain bool) ask {
	query := "to=" + url.QueryEscape(to)
	if plain {
		query += "&plain=1"
	}
	return ask{query: query, token: r.broker.token, proof: r.key.prove(r.origin, r.broker.token, r.now())}
}

// open sends an ask and gives the connection after a 101, or the answer.
func (r *rig) open(a ask) (net.Conn, *bufio.Reader, *http.Response) {
	r.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.origin, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	headers := map[string]string{
		"Host": strings.TrimPrefix(r.origin, "http://"), "Connection": "Upgrade", "Upgrade": "hourkey-tunnel", "Authorization": "DPoP " + a.token, "DPoP": a.proof,
	}
	maps.Copy(headers, a.headers)
	method, path := a.method, a.path
	if method == "" {
		method = "GET"
	}
	if path == "" {
		path = Path
	}
	text := method + " " + path + "?" + a.query + " HTTP/1.1\r\n"
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if headers[name] != "" {
			text += name + ": " + headers[name] + "\r\n"
		}
	}
	if _, err := io.WriteString(c, text+"\r\n"); err != nil {
		r.Fatal(err)
	}
	reader := bufio.NewReader(c)
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err != nil {
		r.Fatal(err)
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return &readerConn{c, reader}, reader, response
	}
	raw, _ := io.ReadAll(response.Body)
	response.Body = io.NopCloser(strings.NewReader(string(raw)))
	c.Close()
	return nil, nil, response
}

type readerConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *readerConn) Read(into []byte) (int, error) { return c.reader.Read(into) }

// plain opens a tunnel in base-URL mode.
func (r *rig) plain() net.Conn {
	r.Helper()
	c, _, response := r.open(r.ask(mainHost, true))
	if c == nil {
		raw, _ := io.ReadAll(response.Body)
		r.Fatalf("no tunnel: %d %s", response.StatusCode, raw)
	}
	r.Cleanup(func() { c.Close() })
	return c
}

// ca is what the agent's side trusts.
func (r *rig) ca() *x509.CertPool {
	r.Helper()
	lease := r.broker.presented.Lease
	text, err := r.authority.Certificate(lease.ID, []string{mainHost, otherHost}, lease.Created, lease.Expires)
	if err != nil {
		r.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(text))
	return pool
}

// client is an HTTP client through tunnels: http://anything in base-URL mode, https://api.example.test in
// forward mode.
func (r *rig) client() *http.Client {
	r.Helper()
	dial := func(plain bool) (net.Conn, error) {
		c, _, response := r.open(r.ask(mainHost, plain))
		if c == nil {
			return nil, fmt.Errorf("no tunnel: %d", response.StatusCode)
		}
		return c, nil
	}
	roots := r.ca()
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(true) },
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := dial(false)
			if err != nil {
				return nil, err
			}
			host, _, _ := net.SplitHostPort(addr)
			inner := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"http/1.1"}})
			return inner, inner.HandshakeContext(ctx)
		},
		MaxIdleConnsPerHost: 64, DisableCompression: true,
	}
	r.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a request in base-URL mode and reads the whole answer.
func (r *rig) do(client *http.Client, method, path, body string, header ...string) (status int, text string) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), method, "http://base.local"+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for at := 0; at+1 < len(header); at += 2 {
		request.Header.Set(header[at], header[at+1])
	}
	response, err := client.Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, "broken off: " + err.Error()
	}
	return response.StatusCode, string(raw)
}

func wait(t testing.TB, what string, until func() bool) {
	t.Helper()
	for range 500 {
		if until() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain: %s", what)
}
