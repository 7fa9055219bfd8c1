package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// PathTunnel opens a tunnel through the gateway: GET ?to=HOST[&plain=1], HTTP/1.1, with
//
//	Connection: Upgrade
//	Upgrade: hourkey-tunnel
//	Authorization: DPoP hkt_…
//	DPoP: a proof (RFC 9449 section 4.2)
//
// The answer is 101, and from then on bytes both ways, or a Problem. What is inside is the caller's own
// TLS to HOST or, with plain=1, HTTP/1.1 as it is.
//
// The proof is a compact JWS of typ TypProof by the agent's key, alg EdDSA, with the public key in jwk,
// a fresh jti, htm "GET", htu the broker's origin followed by PathTunnel, iat, and ath: base64url without
// padding of SHA-256 over the token. Each tunnel has its own.
const (
	PathTunnel    = "/gateway/connect"
	UpgradeTunnel = "hourkey-tunnel"
	HeaderProof   = "DPoP"
	TypProof      = "dpop+jwt"
)

const (
	skewTold      = 15 * time.Second // the clocks must be so far apart for a refusal to be blamed on that
	maxTunnelHead = 64 << 10         // bytes of the header of an answer
)

// Tunnel says where a tunnel leads.
type Tunnel struct {
	Token Secret // of the Gateway
	Host  string // one of its Hosts
	Plain bool   // HTTP/1.1 inside, where the caller's TLS would be
}

// Stream is an open tunnel. After CloseWrite the other direction goes on.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// OpenTunnel opens a tunnel with a fresh proof. It tries once: whoever wants a connection asks again. A
// refusal is a *Problem; one with CodeExpired says that the lease has ended. Ctx is for the opening alone.
func (c *Client) OpenTunnel(ctx context.Context, to Tunnel) (Stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errNoAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.origin+PathTunnel, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	query := url.Values{"to": {to.Host}}
	if to.Plain {
		query.Set("plain", "1")
	}
	request.URL.RawQuery = query.Encode()
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", UpgradeTunnel)
	request.Header.Set("Authorization", "DPoP "+to.Token.Reveal())
	request.Header.Set(HeaderProof, c.signProof(to.Token))
	request.Header.Set("User-Agent", c.userAgent)
	request.Header.Set("Accept", "application/problem+json")
	response, err := c.tunnels.Do(request)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	return c.switched(ctx, response)
}

// switched gives the stream of a 101, or the problem of anything else.
func (c *Client) switched(ctx context.Context, response *http.Response) (Stream, error) {
	stream, both := response.Body.(Stream)
	if response.StatusCode == http.StatusSwitchingProtocols && strings.EqualFold(response.Header.Get("Upgrade"), UpgradeTunnel) && both {
		return stream, nil
	}
	defer response.Body.Close()
	if response.StatusCode < 400 {
		return nil, fmt.Errorf("%s answers %d where a tunnel was to open: is it a Hourkey broker with a gateway, and does what stands in front of it pass on Upgrade?", c.origin, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	problem := decodeProblem(response.StatusCode, response.Header.Get("Content-Type"), text)
	if skew := c.skew(response); skew != "" && problem.Code == CodeUnauthenticated {
		problem.Next = skew
	}
	return nil, refusal(response, problem)
}

// skew says how far this clock is from that of the answer's Date (RFC 9110 section 6.6.1), if it is far:
// a proof that is not fresh is refused, and nothing in it tells why.
func (c *Client) skew(response *http.Response) string {
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return ""
	}
	ahead := c.now().Sub(date).Round(time.Second)
	switch {
	case ahead > skewTold:
		return fmt.Sprintf("this machine's clock is %v ahead of the broker's: set it, and try again", ahead)
	case ahead < -skewTold:
		return fmt.Sprintf("this machine's clock is %v behind the broker's: set it, and try again", -ahead)
	}
	return ""
}

// proofHeader is the protected header of a proof.
type proofHeader struct {
	Type      string          `json:"typ"`
	Algorithm string          `json:"alg"`
	Key       json.RawMessage `json:"jwk"`
}

// proofClaims are RFC 9449 section 4.2.
type proofClaims struct {
	ID        string  `json:"jti"`
	Method    string  `json:"htm"`
	URL       string  `json:"htu"`
	Issued    float64 `json:"iat"` // to the millisecond: a broker refuses what is from before its start
	TokenHash string  `json:"ath"`
}

// signProof makes a fresh proof that the agent's key is held together with the token.
func (c *Client) signProof(token Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return c.seal(
		proofHeader{Type: TypProof, Algorithm: "EdDSA", Key: PublicJWK(c.publicKey())},
		proofClaims{ID: rand.Text(), Method: http.MethodGet, URL: c.origin + PathTunnel, Issued: float64(c.now().UnixMilli()) / 1000, TokenHash: encode(sum[:])},
	)
}

// newTunnelTransport speaks HTTP/1.1 alone, since HTTP/2 has no Upgrade, on a fresh connection for each
// tunnel: net/http repeats by itself what broke on an old one, and the proof with it.
func newTunnelTransport(origin string, roots *x509.CertPool) *http.Transport {
	transport := newTransport(origin, roots)
	transport.ForceAttemptHTTP2, transport.DisableKeepAlives = false, true
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.MaxResponseHeaderBytes = maxTunnelHead
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1) // one broker, many tunnels
	return transport
}
