package authn

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TargetToken checks a token that an environment's token issuer signed for a service (RFC 9068), by that
// issuer's key set (RFC 7517, 8037), and gives its name, which is its lease's. The audience is the
// service's to check.
func TargetToken(text string, keySet []byte, issuer string, now time.Time) (name string, ok bool) {
	if len(text) > maxSigned {
		return "", false
	}
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	_, err := parser.ParseWithClaims(text, &claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "at+jwt" {
			return nil, errors.New("no access token")
		}
		return targetKey(keySet, t.Header["kid"])
	})
	return claims.ID, err == nil && claims.ID != ""
}

func targetKey(keySet []byte, kid any) (ed25519.PublicKey, error) {
	var set struct {
		Keys []struct {
			Kty, Crv, Kid, X string
		} `json:"keys"`
	}
	if err := json.Unmarshal(keySet, &set); err != nil {
		return nil, err
	}
	for _, key := range set.Keys {
		raw, err := base64.RawURLEncoding.DecodeString(key.X)
		if err == nil && key.Kid == kid && key.Kty == "OKP" && key.Crv == "Ed25519" && len(raw) == ed25519.PublicKeySize {
			return raw, nil
		}
	}
	return nil, errors.New("no such key")
}
