package web

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
)

// TestServiceAsksWhetherATokenStillHolds: a token that was taken back is inactive at once, and so is one
// that our key did not sign, or signed for another environment.
func TestServiceAsksWhetherATokenStillHolds(t *testing.T) {
	private, _ := newKey(t)
	keySet := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`,
		base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey)))
	x := newSite(t, func(c *Config) {
		c.TargetKeys = func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(keySet), nil }
	})
	x.MustCollect(x.MustAsk("staging", "db:public.orders:read"))
	name := x.Staging.Live()[0]
	token := func(change func(*jwt.Token, jwt.MapClaims)) string {
		claims := jwt.MapClaims{"iss": x.config.Origin + "/t/staging", "jti": name, "exp": x.Clock.Now().Add(5 * time.Minute).Unix()}
		one := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		one.Header["typ"], one.Header["kid"] = "at+jwt", "k"
		if change != nil {
			change(one, claims)
		}
		signed, err := one.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	ask := func(environment, text string) (active bool) {
		var answer struct{ Active bool }
		x.do("POST", "/t/"+environment+"/introspect", url.Values{"token": {text}}.Encode(), func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}).want(http.StatusOK).decode(&answer)
		return answer.Active
	}
	if !ask("staging", token(nil)) {
		t.Fatal("a live lease's token is inactive")
	}
	for attack, text := range map[string]string{
		"nothing":         "",
		"another typ":     token(func(o *jwt.Token, _ jwt.MapClaims) { o.Header["typ"] = "JWT" }),
		"another key id":  token(func(o *jwt.Token, _ jwt.MapClaims) { o.Header["kid"] = "other" }),
		"another issuer":  token(func(_ *jwt.Token, c jwt.MapClaims) { c["iss"] = x.config.Origin + "/t/production" }),
		"expired":         token(func(_ *jwt.Token, c jwt.MapClaims) { c["exp"] = x.Clock.Now().Add(-time.Second).Unix() }),
		"without expiry":  token(func(_ *jwt.Token, c jwt.MapClaims) { delete(c, "exp") }),
		"another's lease": token(func(_ *jwt.Token, c jwt.MapClaims) { c["jti"] = "hk-otherone-0123456789abcdefghjkmnpqrs" }),
		"a lease never there": token(func(_ *jwt.Token, c jwt.MapClaims) {
			c["jti"] = "hk-" + x.Installation().ID + "-0123456789abcdefghjkmnpqrs"
		}),
		"signature cut": token(nil)[:len(token(nil))-4],
	} {
		if ask("staging", text) {
			t.Errorf("%s: active", attack)
		}
	}
	if ask("production", token(nil)) {
		t.Error("active in another environment")
	}
	leases, err := x.Leases(t.Context(), x.Agent, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Revoke(t.Context(), broker.Caller{Kind: broker.CallerSocket}, leases[0].ID); err != nil {
		t.Fatal(err)
	}
	if ask("staging", token(nil)) {
		t.Error("active after a revoke")
	}
	x.do("POST", "/t/staging/introspect", "token=a&token=b", func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}).wantProblem(broker.CodeInvalid)
}
