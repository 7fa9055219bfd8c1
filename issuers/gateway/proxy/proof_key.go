package proxy

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// proofKey is the public key in a proof: Ed25519 (RFC 8037) or P-256 (RFC 7518 section 6.2).
type proofKey struct {
	algorithm  string // the one alg that it verifies
	thumbprint string
	verify     func(signed, signature []byte) bool
}

// proofJWK is what a key may have. D is there only so that it can be refused by name.
type proofJWK struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
	D     string `json:"d"`

	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
}

const coordinateSize = 32 // bytes, of both curves

func readKey(raw json.RawMessage) (proofKey, error) {
	var given proofJWK
	if len(raw) == 0 || strictly(raw, &given) != nil {
		return proofKey{}, unproven("the jwk of the DPoP proof is not a public key")
	}
	if given.D != "" {
		return proofKey{}, unproven("the jwk of the DPoP proof holds a private part").WithNext("make a new key: this one has left its place")
	}
	x, err := coordinate(given.X)
	if err != nil {
		return proofKey{}, err
	}
	switch {
	case given.Type == "OKP" && given.Curve == "Ed25519" && given.Y == "":
		key := proofKey{algorithm: "EdDSA", thumbprint: thumbprint(`{"crv":"Ed25519","kty":"OKP","x":%q}`, given.X)}
		key.verify = func(signed, signature []byte) bool { return ed25519.Verify(x, signed, signature) }
		return key, nil
	case given.Type == "EC" && given.Curve == "P-256":
		return given.p256(x)
	}
	return proofKey{}, unproven("the jwk of the DPoP proof is of an unknown kind: expected OKP with Ed25519, or EC with P-256")
}

func (k proofJWK) p256(x []byte) (proofKey, error) {
	y, err := coordinate(k.Y)
	if err != nil {
		return proofKey{}, err
	}
	point := append(append([]byte{4}, x...), y...) // SEC 1 section 2.3.3, uncompressed
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return proofKey{}, unproven("the jwk of the DPoP proof is no point of P-256")
	}
	key := proofKey{algorithm: "ES256", thumbprint: thumbprint(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, k.X, k.Y)}
	key.verify = func(signed, signature []byte) bool {
		if len(signature) != 2*coordinateSize { // RFC 7518 section 3.4
			return false
		}
		sum := sha256.Sum256(signed)
		r, s := new(big.Int).SetBytes(signature[:coordinateSize]), new(big.Int).SetBytes(signature[coordinateSize:])
		return ecdsa.Verify(public, sum[:], r, s)
	}
	return key, nil
}

// coordinate is 32 bytes of base64url in its one strict form, so that a key has one thumbprint.
func coordinate(text string) ([]byte, error) {
	raw, err := decode(text)
	if err != nil || len(raw) != coordinateSize || base64.RawURLEncoding.EncodeToString(raw) != text {
		return nil, unproven("the jwk of the DPoP proof has a coordinate that is not 32 bytes of base64url without padding")
	}
	return raw, nil
}

// thumbprint is RFC 7638: canonical has the required members in their order, with %q for base64url text,
// which has nothing to quote.
func thumbprint(canonical string, coordinates ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, canonical, coordinates...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
