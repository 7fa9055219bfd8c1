package proxy

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
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

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
