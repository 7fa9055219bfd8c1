// Package forwardtest has a small broker's side of the tunnel, for tests of the agent's side: it checks
// tokens and proofs as RFC 9449 section 4.3 wants it, has an authority of its own that is limited to its
// hosts, and answers what comes through with a handler of the test's.
//
// It judges nothing and knows no provider.
package forwardtest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/web/api"
)

// Gateway answers GET api.PathTunnel.
type Gateway struct {
	Origin   string       // of the broker it is a part of: what a proof must name
	Provider http.Handler // answers what comes through the tunnels

	hosts []string
	ca    string // PEM
	tls   *tls.Config
	inner map[bool]*arrivals // plain? → where its server takes connections from

	mu     sync.Mutex
	leases map[string]string // token → problem code, "" while it is live
	used   map[string]bool   // jti
	opened []string          // "HOST plain=1" of each tunnel
	conns  map[net.Conn]bool
}

// New makes a gateway for hosts, with an authority for them alone.
func New(provider http.Handler, hosts ...string) *Gateway {
	g := &Gateway{Provider: provider, hosts: hosts, leases: map[string]string{}, used: map[string]bool{}, conns: map[net.Conn]bool{}, inner: map[bool]*arrivals{}}
	g.ca, g.tls = authority(hosts)
	for _, plain := range []bool{false, true} {
		inner := newArrivals()
		g.inner[plain] = inner
		server := &http.Server{
			Handler:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.Provider.ServeHTTP(w, r) }),
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), ReadHeaderTimeout: time.Minute,
		}
		go func() { _ = server.Serve(inner) }()
	}
	return g
}

// Close ends every tunnel.
func (g *Gateway) Close() {
	for _, one := range g.inner {
		_ = one.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		_ = conn.Close()
	}
}

// Issue makes a lease for the gateway's hosts.
func (g *Gateway) Issue(variables map[string]string) api.Gateway {
	token := "hkt_" + rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases[token] = ""
	return api.Gateway{Token: api.NewSecret(token), Hosts: g.hosts, CA: g.ca, Variables: variables}
}

// Refuse answers further tunnels of a lease with this code.
func (g *Gateway) Refuse(lease api.Gateway, code string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases[lease.Token.Reveal()] = code
}

// Opened lists the tunnels so far, as "HOST" or "HOST plain".
func (g *Gateway) Opened() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.opened)
}

// Open counts the tunnels that are open now.
func (g *Gateway) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// ServeHTTP opens a tunnel, or answers with a problem.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, plain := r.URL.Query().Get("to"), r.URL.Query().Get("plain") == "1"
	if problem := g.admit(r, host); problem != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(problem.Status)
		_ = json.NewEncoder(w).Encode(problem)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	g.mu.Lock()
	g.conns[conn] = true
	g.opened = append(g.opened, host+map[bool]string{true: " plain"}[plain])
	g.mu.Unlock()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+api.UpgradeTunnel+"\r\n\r\n")
	tunnel := net.Conn(&tunnel{Conn: conn, buffered: buffered.Reader, closed: func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, conn)
	}})
	if !plain {
		tunnel = tls.Server(tunnel, g.tls)
	}
	g.inner[plain].put(tunnel)
}

// admit is the broker's part: token, proof, host.
func (g *Gateway) admit(r *http.Request, host string) *api.Problem {
	token, isDPoP := cutScheme(r.Header.Get("Authorization"))
	g.mu.Lock()
	defer g.mu.Unlock()
	code, known := g.leases[token]
	switch {
	case r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != api.UpgradeTunnel || r.ProtoMajor != 1:
		return &api.Problem{Status: http.StatusUpgradeRequired, Code: api.CodeInvalid, Detail: "this is for tunnels"}
	case !isDPoP || !known:
		return &api.Problem{Status: http.StatusUnauthorized, Code: api.CodeUnauthenticated, Detail: "no such lease"}
	case code != "":
		return &api.Problem{Status: http.StatusForbidden, Code: code, Detail: "the lease is refused", Next: "make a new request"}
	case !slices.Contains(g.hosts, host):
		return &api.Problem{Status: http.StatusForbidden, Code: api.CodeForbidden, Detail: "the lease does not lead to " + host}
	}
	if err := g.checkProof(r.Header.Get(api.HeaderProof), token); err != nil {
		return &api.Problem{Status: http.StatusUnauthorized, Code: api.CodeUnauthenticated, Detail: "the proof is refused: " + err.Error()}
	}
	return nil
}

func cutScheme(header string) (token string, isDPoP bool) {
	const scheme = "DPoP "
	if len(header) < len(scheme) || header[:len(scheme)] != scheme {
		return "", false
	}
	return header[len(scheme):], true
}

// proofClaims are RFC 9449 section 4.2.
type proofClaims struct {
	jwt.RegisteredClaims
	Method    string `json:"htm"`
	URL       string `json:"htu"`
	TokenHash string `json:"ath"`
}

// checkProof is RFC 9449 section 4.3 with a minute's patience. Whose key it is, is not looked at.
func (g *Gateway) checkProof(proof, token string) error {
	var claims proofClaims
	parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithStrictDecoding()).ParseWithClaims(proof, &claims, proofKey)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	if claims.IssuedAt == nil {
		return errors.New("iat")
	}
	age := time.Since(claims.IssuedAt.Time)
	switch {
	case parsed.Header["typ"] != api.TypProof:
		return errors.New("typ")
	case claims.Method != http.MethodGet || claims.URL != g.Origin+api.PathTunnel:
		return errors.New("htm or htu")
	case claims.TokenHash != base64.RawURLEncoding.EncodeToString(sum[:]):
		return errors.New("ath")
	case age > time.Minute || age < -time.Minute:
		return errors.New("iat")
	case len(claims.ID) < 16 || g.used[claims.ID]:
		return errors.New("jti")
	}
	g.used[claims.ID] = true
	return nil
}

// proofKey takes the key that the proof itself names.
func proofKey(token *jwt.Token) (any, error) {
	key, _ := token.Header["jwk"].(map[string]any)
	x, _ := key["x"].(string)
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil || len(raw) != ed25519.PublicKeySize || key["kty"] != "OKP" || key["crv"] != "Ed25519" || len(key) != 3 {
		return nil, errors.New("jwk")
	}
	return ed25519.PublicKey(raw), nil
}

// authority makes one for hosts alone, and a server's configuration with leaves of it.
func authority(hosts []string) (string, *tls.Config) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway under test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: hosts,
		ExcludedIPRanges: []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}},
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	root := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))))
	leafKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	leaf := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: hosts,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, leafKey.Public(), key))
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: leafKey}}}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})), config
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// tunnel is a hijacked connection, with what the server had read of it already.
type tunnel struct {
	net.Conn
	buffered *bufio.Reader
	closed   func()
}

func (t *tunnel) Read(p []byte) (int, error) { return t.buffered.Read(p) }

func (t *tunnel) Close() error {
	t.closed()
	return t.Conn.Close()
}

// arrivals is a listener whose connections are put into it.
type arrivals struct {
	conns  chan net.Conn
	life   context.Context
	cancel context.CancelFunc
}

func newArrivals() *arrivals {
	a := &arrivals{conns: make(chan net.Conn)}
	a.life, a.cancel = context.WithCancel(context.Background())
	return a
}

func (a *arrivals) put(conn net.Conn) {
	select {
	case a.conns <- conn:
	case <-a.life.Done():
		_ = conn.Close()
	}
}

func (a *arrivals) Accept() (net.Conn, error) {
	select {
	case conn := <-a.conns:
		return conn, nil
	case <-a.life.Done():
		return nil, net.ErrClosed
	}
}

func (a *arrivals) Close() error {
	a.cancel()
	return nil
}

func (a *arrivals) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
