package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// What the client signs begins a little in the past and ends a little before AssertionLife, so that a
// clock here that runs some seconds ahead of the broker's, or half a minute behind, does not matter.
const (
	signedEarlier = 10 * time.Second
	signedFor     = AssertionLife - time.Second
)

// PublicJWK writes an Ed25519 public key as RFC 8037 wants it. Its members are exactly the required
// ones, sorted: the text that RFC 7638 hashes.
func PublicJWK(key ed25519.PublicKey) json.RawMessage {
	return fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":%q}`, encode(key))
}

// Thumbprint identifies a public key (RFC 7638, SHA-256, base64url).
func Thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(PublicJWK(key))
	return encode(sum[:])
}

// joseHeader is the protected header of what the agent signs (RFC 7515 section 4).
type joseHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
}

// agentClaims are the claims of an assertion and of an enrolment proof.
type agentClaims struct {
	Issuer   string `json:"iss,omitempty"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti,omitempty"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	CodeHash string `json:"code_sha256,omitempty"` // ClaimCodeHash
}

// signAssertion makes a fresh client assertion (RFC 7523 section 3).
func (c *Client) signAssertion() string {
	return c.sign(TypAssertion, agentClaims{Issuer: c.agent, Audience: c.origin, ID: rand.Text()})
}

// signEnrollment proves that whoever knows the code holds the key. It carries only the code's hash.
func (c *Client) signEnrollment(code Secret) string {
	sum := sha256.Sum256([]byte(code.Reveal()))
	return c.sign(TypEnrollProof, agentClaims{Audience: c.origin + PathAgentsEnroll, CodeHash: encode(sum[:])})
}

// sign makes a compact JWS with alg EdDSA (RFC 8037 section 3.1).
func (c *Client) sign(typ string, claims agentClaims) string {
	issued := c.now().Add(-signedEarlier)
	claims.Subject, claims.Issued, claims.Expires = c.agent, issued.Unix(), issued.Add(signedFor).Unix()
	return c.seal(joseHeader{Algorithm: "EdDSA", Type: typ}, claims)
}

// seal signs claims under a header that names EdDSA.
func (c *Client) seal(header, claims any) string {
	input := encode(mustJSON(header)) + "." + encode(mustJSON(claims))
	return input + "." + encode(ed25519.Sign(c.key, []byte(input)))
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// mustJSON encodes one of the structs above, which always can be.
func mustJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic("api: encoding a header of our own: " + err.Error())
	}
	return text
}
