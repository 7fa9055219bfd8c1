package service

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const maxToken = 8 << 10 // bytes; a token of ours with a few scopes has about 700

// Verifier checks access tokens (RFC 9068 section 4). Everything that a token could use to choose how it
// is checked is pinned here: algorithm, type, issuer, audience, keys.
type Verifier struct {
	parser *jwt.Parser
	keys   map[string]ed25519.PublicKey // kid → key

	// Ask, if set, is asked about each token that passed all checks: does it still hold (RFC 7662)? An
	// error refuses the token. Without it a token that was revoked works until its expiry.
	Ask func(ctx context.Context, compact string) (active bool, err error)
}

// NewVerifier makes a verifier of one token issuer's tokens for one audience. keySet is the issuer's
// JWKS (RFC 7517); now is the clock that expiry is tested with, without leeway.
func NewVerifier(issuer, audience string, keySet []byte, now func() time.Time) (*Verifier, error) {
	if issuer == "" || audience == "" || now == nil {
		return nil, errors.New("issuer, audience and clock are required: an empty one would not be checked")
	}
	keys, err := parseKeySet(keySet)
	if err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	return &Verifier{keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), // never what the token says
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(now),
		jwt.WithStrictDecoding(),
	)}, nil
}

// Token is what a token that passed every check says.
type Token struct {
	Agent  string // the claim sub
	Lease  string // the claim jti
	scopes []string
}

// Verify checks a compact token. Its errors do not repeat the token.
func (v *Verifier) Verify(compact string) (Token, error) {
	if len(compact) > maxToken {
		return Token{}, errors.New("the token is too long")
	}
	var claims struct {
		jwt.RegisteredClaims
		Scope string `json:"scope"`
	}
	if _, err := v.parser.ParseWithClaims(compact, &claims, v.key); err != nil {
		return Token{}, reason(err)
	}
	if claims.Subject == "" || claims.ID == "" {
		return Token{}, errors.New("the token has no sub or no jti")
	}
	return Token{claims.Subject, claims.ID, strings.Fields(claims.Scope)}, nil
}

// key finds the key that a header names among the issuer's, and refuses headers of other kinds of token
// and ones with extensions that we would not understand (RFC 7515 section 4.1.11). A key, or a place to
// fetch one from, that comes with the token (jwk, jku, x5c, x5u) is never looked at.
func (v *Verifier) key(token *jwt.Token) (any, error) {
	if token.Header["typ"] != "at+jwt" {
		return nil, errors.New("the token is not an access token: typ is not at+jwt")
	}
	if _, present := token.Header["crit"]; present {
		return nil, errors.New("the token wants an extension")
	}
	kid, _ := token.Header["kid"].(string)
	key, known := v.keys[kid]
	if !known {
		return nil, errors.New("the token is signed with a key that is not the issuer's")
	}
	return key, nil
}

// reason puts a parse error in our own words, so that no part of a token reaches a log or an answer.
func reason(err error) error {
	for _, known := range []struct {
		is   error
		text string
	}{
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature or algorithm is not valid"},
		{jwt.ErrTokenUnverifiable, "the token's type, extensions or key are not accepted"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a required claim"},
	} {
		if errors.Is(err, known.is) {
			return errors.New(known.text)
		}
	}
	return errors.New("the token cannot be read")
}

// Allows tells whether one scope of the token gives the action on the resource. A scope is
// resource:action, split at its last colon. A resource that ends in "*" stands for every name that
// begins with what is before the star; asked for one itself, it must be covered whole.
func (t Token) Allows(action, resource string) bool {
	return slices.ContainsFunc(t.scopes, func(scope string) bool {
		at := strings.LastIndexByte(scope, ':')
		return at > 0 && scope[at+1:] == action && covers(scope[:at], resource)
	})
}

func covers(granted, asked string) bool {
	if stem, isPrefix := strings.CutSuffix(granted, "*"); isPrefix {
		return strings.HasPrefix(strings.TrimSuffix(asked, "*"), stem)
	}
	return granted == asked
}

// parseKeySet takes every member of a JWKS, and refuses the whole set over one that is not an Ed25519
// signing key with a name of its own: a set that looks different from what we expect is not ours.
func parseKeySet(raw []byte) (map[string]ed25519.PublicKey, error) {
	var set struct {
		Keys []struct{ Kty, Crv, X, Kid, Use, Alg string }
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("it is not JSON")
	}
	keys := map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		switch {
		case err != nil || k.Kty != "OKP" || k.Crv != "Ed25519" || k.Alg != "EdDSA" || k.Use != "sig" || len(x) != ed25519.PublicKeySize:
			return nil, errors.New("a key is not an Ed25519 key for signatures")
		case k.Kid == "" || keys[k.Kid] != nil:
			return nil, errors.New("a key has no kid, or one that another key has")
		}
		keys[k.Kid] = x
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}
