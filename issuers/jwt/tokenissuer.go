package jwt

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
)

// TokenIssuer is the party that the tokens of one environment name in iss. Environments share neither
// its URL nor its key: that is the wall between them.
type TokenIssuer struct {
	url string
	key ed25519.PrivateKey
	kid string
}

// NewTokenIssuer makes the token issuer of an environment. base is the broker's own URL, https unless
// it names a loopback host; key signs for this environment and no other.
func NewTokenIssuer(base, environment string, key ed25519.PrivateKey) (*TokenIssuer, error) {
	if !broker.IsName(environment) {
		return nil, broker.Errorf(broker.CodeInvalid, "jwt: %q is not an environment's name", environment)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, broker.Errorf(broker.CodeInternal, "jwt: the signing key of environment %s is not an Ed25519 key", environment)
	}
	if err := checkBase(base); err != nil {
		return nil, err
	}
	t := &TokenIssuer{url: base + "/t/" + environment, key: key}
	t.kid = thumbprint(t.public())
	return t, nil
}

// URL is the claim iss: <base>/t/<environment>.
func (t *TokenIssuer) URL() string { return t.url }

// KeyID is the header kid: the RFC 7638 thumbprint of the public key.
func (t *TokenIssuer) KeyID() string { return t.kid }

// JWKS is the key set that services check signatures with (RFC 7517, RFC 8037). It holds no secret.
func (t *TokenIssuer) JWKS() []byte {
	return fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q,"kid":%q,"use":"sig","alg":"EdDSA"}]}`,
		base64.RawURLEncoding.EncodeToString(t.public()), t.kid)
}

// sign makes the compact form of a token with the header that RFC 9068 section 2.1 asks for.
func (t *TokenIssuer) sign(claims jwt.Claims) (broker.Secret, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["typ"] = "at+jwt"
	token.Header["kid"] = t.kid
	signed, err := token.SignedString(t.key)
	if err != nil {
		return broker.Secret{}, broker.Errorf(broker.CodeInternal, "signing a token failed").Because(err)
	}
	return broker.NewSecret(signed), nil
}

func (t *TokenIssuer) public() ed25519.PublicKey { return ed25519.PublicKey(t.key[ed25519.SeedSize:]) }

// thumbprint is RFC 7638's, with the members that RFC 8037 section 2 requires, in their order.
func thumbprint(key ed25519.PublicKey) string {
	jwk, _ := json.Marshal(struct { // strings alone: it cannot fail
		Curve string `json:"crv"`
		Type  string `json:"kty"`
		X     string `json:"x"`
	}{"Ed25519", "OKP", base64.RawURLEncoding.EncodeToString(key)})
	sum := sha256.Sum256(jwk)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkBase refuses a URL that a service could not compare byte by byte or reach safely.
func checkBase(base string) error {
	bad := func(problem string) error {
		return broker.Errorf(broker.CodeInvalid, "jwt: the broker's URL %s: expected https://HOST, without a slash at its end", problem).WithField("issuer")
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return bad("is no plain URL") // not repeated: it might hold a password
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(base, "#") || strings.HasSuffix(base, "/"):
		return bad("has a query, a fragment or a slash at its end")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return bad("is neither https nor http on loopback")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
