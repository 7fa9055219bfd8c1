package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/hourkey/hourkey/broker"
)

// FreshFor is how long a human has just proved who it is: time to make a first passkey.
const FreshFor = 10 * time.Minute

const (
	maxIDToken  = 64 << 10    // bytes
	maxSubject  = 255         // bytes: OpenID Connect core, section 2
	issuerClock = time.Minute // how far the token issuer's clock may be from ours
	claimEmail  = "email"     // the name claim unless another is configured
)

// signAlgorithms may sign an ID token: asymmetric ones alone. The attacks: alg none, and HS256 with the
// public key as the secret.
func signAlgorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// idClaims are those of a verified ID token, by their exact names: Go's decoder would take "Email" for
// "email".
type idClaims struct {
	subject string
	all     map[string]json.RawMessage
}

// text gives a claim that is a text, empty if it is none.
func (c idClaims) text(name string) (text string) {
	if json.Unmarshal(c.all[name], &text) != nil {
		return ""
	}
	return text
}

func (c idClaims) has(name string) bool { return len(c.all[name]) > 0 && string(c.all[name]) != "null" }

// inTurn is redeem, by few at once and the others in the order of coming. The attack: strangers begin sign-ons and bring
// codes that they made up, so that we call the token issuer as often as they like; counted against their address, they
// would keep out the human behind the same.
func (t *tokenIssuer) inTurn(ctx context.Context, known *discovered, f flow, code string) (idClaims, error) {
	select {
	case t.redeeming <- struct{}{}:
		defer func() { <-t.redeeming }()
		return t.redeem(ctx, known, f, code)
	case <-ctx.Done():
		return idClaims{}, unreachable("too many sign on now").Because(ctx.Err())
	}
}

// redeem exchanges the code for an ID token and verifies it (OpenID Connect core, sections 3.1.3.5 and
// 3.1.3.7). The access token that comes with it is compared and forgotten.
func (t *tokenIssuer) redeem(ctx context.Context, known *discovered, f flow, code string) (idClaims, error) {
	ctx = oidc.ClientContext(ctx, t.http)
	answer, err := known.client.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return idClaims{}, t.notRedeemed(err)
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok || raw == "" || len(raw) > maxIDToken {
		return idClaims{}, refusedToken("there is none in the answer")
	}
	token, err := t.verify(ctx, known, raw)
	if err != nil {
		return idClaims{}, err
	}
	claims := idClaims{subject: token.Subject}
	if err := token.Claims(&claims.all); err != nil {
		return idClaims{}, refusedToken("it cannot be read").Because(t.brief(err))
	}
	return claims, t.compare(f, token, claims, answer.AccessToken)
}

// notRedeemed tells an answer that says no from none. Of the answer only the code of RFC 6749 section 5.2 is
// kept: the rest could repeat our secret.
func (t *tokenIssuer) notRedeemed(err error) error {
	no, answered := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !answered:
		return unreachable("it did not take the code").Because(t.brief(err))
	case no.Response != nil && no.Response.StatusCode >= http.StatusInternalServerError:
		return unreachable("it failed when it got the code").Because(fmt.Errorf("status %d", no.Response.StatusCode))
	}
	return broker.Errorf(broker.CodeForbidden, "the single sign-on did not take its own code").
		WithNext("sign in again; if it lasts, ask an operator to compare client_id, client_secret and the redirect address with the client at the token issuer").
		Because(t.brief(errors.New("token endpoint: " + no.ErrorCode)))
}

// verify checks signature, issuer, audience and times.
func (t *tokenIssuer) verify(ctx context.Context, known *discovered, raw string) (*oidc.IDToken, error) {
	keys := &watchedKeys{keys: known.keys}
	token, err := oidc.NewVerifier(t.settings.Issuer, keys, &oidc.Config{
		ClientID: t.settings.ClientID, SupportedSigningAlgs: signAlgorithms(), Now: t.now,
	}).Verify(ctx, raw)
	switch {
	case keys.missing:
		return nil, unreachable("its keys could not be read").Because(t.brief(err))
	case err != nil:
		return nil, refusedToken("it is not one for this broker, made now, by the token issuer").Because(t.brief(err))
	}
	return token, nil
}

// watchedKeys notices that keys could not be fetched, which is no fault of the token.
type watchedKeys struct {
	keys    oidc.KeySet
	missing bool
}

// VerifySignature implements oidc.KeySet.
func (w *watchedKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := w.keys.VerifySignature(ctx, jwt)
	w.missing = err != nil && strings.HasPrefix(err.Error(), "fetching keys")
	return payload, err
}

// compare holds the token against what was asked: what the library leaves to its caller.
func (t *tokenIssuer) compare(f flow, token *oidc.IDToken, claims idClaims, access string) error {
	switch {
	case !sameText(token.Nonce, f.Nonce):
		return refusedToken("it answers another sign-on")
	case token.Subject == "" || len(token.Subject) > maxSubject:
		return refusedToken("it does not say who you are")
	case claims.has("azp") && claims.text("azp") != t.settings.ClientID, len(token.Audience) > 1 && !claims.has("azp"):
		return refusedToken("it was given to somebody else") // section 3.1.3.7, steps 4 and 5
	case token.IssuedAt.After(t.now().Add(issuerClock)):
		return refusedToken("it is of the future: the clocks differ")
	case token.AccessTokenHash != "" && token.VerifyAccessToken(access) != nil:
		return refusedToken("it does not belong to the access token beside it")
	}
	return nil
}

// provedAt is when the human proved to the token issuer who it is, which must have been since this sign-on
// began (OpenID Connect core, section 3.1.2.1, max_age). The attack: whoever holds the browser's cookies
// signs on without being asked anything.
func (t *tokenIssuer) provedAt(claims idClaims, began time.Time) (time.Time, error) {
	if !claims.has("auth_time") && t.settings.NoAuthTime {
		return began, nil
	}
	var seconds int64
	if err := json.Unmarshal(claims.all["auth_time"], &seconds); err != nil {
		return time.Time{}, refusedToken("it does not say when you last proved who you are (auth_time)").
			WithNext("ask an operator: the token issuer must tell auth_time, or hourkey.yaml says `sso: {auth_time: false}`")
	}
	proved := time.Unix(seconds, 0).UTC()
	if proved.Before(began.Add(-issuerClock)) || proved.After(t.now().Add(issuerClock)) {
		return time.Time{}, refusedToken("you proved who you are at another time than now").WithNext("sign out at the single sign-on, then try again")
	}
	return proved, nil
}

func refusedToken(why string) *broker.Error {
	return broker.Errorf(broker.CodeForbidden, "the single sign-on's ID token was refused: %s", why).
		WithNext("sign in again; if it lasts, ask an operator to look at the broker's log")
}
