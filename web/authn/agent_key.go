package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// AgentKey is an agent's public key: Ed25519 (RFC 8037) or P-256 (RFC 7518 section 6.2).
type AgentKey struct {
	Public     crypto.PublicKey // ed25519.PublicKey or *ecdsa.PublicKey
	Algorithm  string           // the one alg that it verifies: "EdDSA" or "ES256"
	JWK        json.RawMessage  // the required members alone, in the order of RFC 7638
	Thumbprint string           // RFC 7638, SHA-256, base64url
}

// jwk is what an agent may send of RFC 7517. D is there only so that it can be refused by name.
type jwk struct {
	Type      string   `json:"kty"`
	Curve     string   `json:"crv"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
	D         string   `json:"d"`
	Use       string   `json:"use"`
	Algorithm string   `json:"alg"`
	ID        string   `json:"kid"`
	Ops       []string `json:"key_ops"`
}

// ParseAgentKey reads a public JWK. What is not exactly a public Ed25519 or P-256 key is CodeInvalid.
func ParseAgentKey(raw []byte) (AgentKey, error) {
	var given jwk
	if err := api.Strict(raw, &given); err != nil {
		return AgentKey{}, badKey("cannot be read as a JWK").Because(err)
	}
	if given.D != "" {
		return AgentKey{}, badKey("holds a private part").WithNext("send the public members alone, and make a new key: this one has left its place")
	}
	key, err := given.public()
	if err != nil {
		return AgentKey{}, err
	}
	if given.Algorithm != "" && given.Algorithm != key.Algorithm || given.Use != "" && given.Use != "sig" {
		return AgentKey{}, badKey("is meant for something else than signing with %s", key.Algorithm)
	}
	sum := sha256.Sum256(key.JWK)
	key.Thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
	return key, nil
}

func (k jwk) public() (AgentKey, error) {
	x, err := coordinate(k.X)
	if err != nil {
		return AgentKey{}, err
	}
	switch {
	case k.Type == "OKP" && k.Curve == "Ed25519" && k.Y == "":
		canonical, err := json.Marshal(struct {
			Curve string `json:"crv"`
			Type  string `json:"kty"`
			X     string `json:"x"`
		}{k.Curve, k.Type, k.X})
		return AgentKey{Public: ed25519.PublicKey(x), Algorithm: "EdDSA", JWK: canonical}, err
	case k.Type == "EC" && k.Curve == "P-256":
		return k.p256(x)
	}
	return AgentKey{}, badKey("is of an unknown kind: expected OKP with Ed25519, or EC with P-256")
}

func (k jwk) p256(x []byte) (AgentKey, error) {
	y, err := coordinate(k.Y)
	if err != nil {
		return AgentKey{}, err
	}
	point := append(append([]byte{4}, x...), y...)                          // SEC 1 section 2.3.3, uncompressed
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point) // refuses a point off the curve
	if err != nil {
		return AgentKey{}, badKey("is no point of P-256")
	}
	canonical, err := json.Marshal(struct {
		Curve string `json:"crv"`
		Type  string `json:"kty"`
		X     string `json:"x"`
		Y     string `json:"y"`
	}{k.Curve, k.Type, k.X, k.Y})
	return AgentKey{Public: public, Algorithm: "ES256", JWK: canonical}, err
}

// coordinate is 32 bytes of base64url in its one strict form, so that a key has one thumbprint.
func coordinate(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 32 || base64.RawURLEncoding.EncodeToString(raw) != text {
		return nil, badKey("has a coordinate that is not 32 bytes of base64url without padding")
	}
	return raw, nil
}

func badKey(format string, args ...any) *broker.Error {
	e := broker.Errorf(broker.CodeInvalid, format, args...).WithField("jwk")
	e.Message = "the key " + e.Message
	return e
}
