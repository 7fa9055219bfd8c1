package authn

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// TokenLife is how long an access token lives.
const TokenLife = 10 * time.Minute

const (
	typAccessToken = "at+jwt" // RFC 9068 section 2.1
	maxToken       = 2048     // bytes
	tokensKept     = 4096     // verified tokens that are remembered, in each of two generations
)

// accessClaims are those of RFC 9068 section 2.2 and the key confirmation of RFC 7800.
type accessClaims struct {
	jwt.RegisteredClaims
	ClientID string       `json:"client_id"`
	Confirm  confirmation `json:"cnf"`
}

type confirmation struct {
	Thumbprint string `json:"jkt"` // of the key that the agent proved (RFC 9449 section 6.1)
}

// accessTokens issues and verifies our own access tokens. alg, typ, kid, iss and aud are pinned, so
// that no other token of ours, which all have another key, typ or aud, passes for one.
type accessTokens struct {
	origin, audience, keyID string
	key                     ed25519.PrivateKey
	now                     func() time.Time
	parser                  *jwt.Parser
	verified                *verifiedTokens
}

func newAccessTokens(origin string, key ed25519.PrivateKey, now func() time.Time) *accessTokens {
	public := key.Public().(ed25519.PublicKey) //nolint:forcetypeassert // an Ed25519 key has no other
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	t := &accessTokens{
		origin: origin, audience: origin + "/v1", key: key, now: now,
		keyID: base64.RawURLEncoding.EncodeToString(sum[:]), verified: &verifiedTokens{most: tokensKept},
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(origin), jwt.WithAudience(t.audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(now),
	)
	return t
}

func (t *accessTokens) issue(caller broker.Caller) (string, error) {
	now := t.now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: t.origin, Subject: caller.Name, Audience: jwt.ClaimStrings{t.audience}, ID: newTokenID(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(TokenLife)),
		},
		ClientID: caller.Name, Confirm: confirmation{caller.Key},
	})
	token.Header["typ"], token.Header["kid"] = typAccessToken, t.keyID
	signed, err := token.SignedString(t.key)
	if err != nil {
		return "", broker.Errorf(broker.CodeInternal, "signing an access token failed").Because(err)
	}
	return signed, nil
}

func (t *accessTokens) known(bearer string) (broker.Caller, bool) {
	if len(bearer) > maxToken {
		return broker.Caller{}, false
	}
	return t.verified.find(sha256.Sum256([]byte(bearer)), t.now())
}

func (t *accessTokens) verify(bearer string) (broker.Caller, error) {
	if len(bearer) > maxToken {
		return broker.Caller{}, badToken()
	}
	claims := &accessClaims{}
	token, err := t.parser.ParseWithClaims(bearer, claims, t.pin)
	if err != nil {
		return broker.Caller{}, badToken().Because(err)
	}
	if !token.Valid || claims.Subject == "" || claims.ClientID != claims.Subject || claims.Confirm.Thumbprint == "" ||
		claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > TokenLife {
		return broker.Caller{}, badToken()
	}
	caller := broker.Caller{Kind: broker.CallerAgent, Name: claims.Subject, Key: claims.Confirm.Thumbprint}
	t.verified.keep(sha256.Sum256([]byte(bearer)), verifiedToken{caller, claims.ExpiresAt.Time})
	return caller, nil
}

// pin gives the one key, for a header that is exactly ours. jwt has checked alg before it asks.
func (t *accessTokens) pin(token *jwt.Token) (any, error) {
	if len(token.Header) != 3 || token.Header["typ"] != typAccessToken || token.Header["kid"] != t.keyID {
		return nil, badToken()
	}
	return t.key.Public(), nil
}

func badToken() *broker.Error {
	return broker.Errorf(broker.CodeUnauthenticated, "the access token is not valid, or no longer").
		WithNext("get a new one at %s", api.PathToken)
}
