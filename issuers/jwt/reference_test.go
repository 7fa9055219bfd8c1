package jwt_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/examples/resource-server/service"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/jwt"
)

const variable = "HOURKEY_TOKEN_ORDERS_API"

// status is the service's answer when it was not the one that was hoped for.
type status int

func (s status) Error() string { return fmt.Sprintf("the service answered %d", int(s)) }

func refusedByService(err error) bool {
	s, ok := err.(status) //nolint:errorlint // use returns it unwrapped
	return ok && (s == http.StatusUnauthorized || s == http.StatusForbidden)
}

// serve starts the reference service of one environment, trusting the issuer's URL and key set.
func serve(t *testing.T, trusted *jwt.TokenIssuer, audience string, now func() time.Time) *httptest.Server {
	t.Helper()
	verifier, err := service.NewVerifier(trusted.URL(), audience, trusted.JWKS(), now)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.New(verifier))
	t.Cleanup(server.Close)
	return server
}

func use(ctx context.Context, server *httptest.Server, token broker.Secret, method, path string) error {
	request, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader("value"))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	response, err := server.Client().Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return status(response.StatusCode)
	}
	return nil
}

func TestConformance(t *testing.T) {
	live := func(environment string) jwt.Config {
		c := config(environment)
		c.Now = time.Now
		return c
	}
	issuer, production := open(t, live("staging")), open(t, live("production"))
	staging := serve(t, issuer.TokenIssuer(), audience, time.Now)
	elsewhere := serve(t, production.TokenIssuer(), audience, time.Now)
	payments := serve(t, issuer.TokenIssuer(), "https://payments.example", time.Now)
	private, err := key("staging")
	if err != nil {
		t.Fatal(err)
	}
	methods := map[broker.Actions]string{broker.Read: "GET", broker.Write: "PUT", broker.Delete: "DELETE"}
	at := func(server *httptest.Server, method, path string) func(context.Context, broker.Credential) error {
		return func(ctx context.Context, c broker.Credential) error {
			return use(ctx, server, c.Values[variable], method, path)
		}
	}
	issuertest.Run(t, issuertest.Harness{
		Issuer:    issuer,
		Reopen:    func(t *testing.T) issuertest.Issuer { return open(t, live("staging")) },
		ReadWrite: wish(t, 0, "orders/*:read,write"),
		Delete:    wish(t, 0, "orders/*:read,write,delete"),
		Unknown:   wish(t, 0, "payments/*:read"),
		Short:     3 * time.Second,
		Use: func(ctx context.Context, c broker.Credential, action broker.Actions) error {
			path := "/orders/42"
			if action == broker.Read {
				path = "/orders/" // a list is there whether or not others delete at the same time
			}
			return use(ctx, staging, c.Values[variable], methods[action], path)
		},
		Elsewhere: at(elsewhere, "GET", "/orders/"),
		Outside: map[string]func(context.Context, broker.Credential) error{
			"another resource":                    at(staging, "GET", "/payments/1"),
			"another service of this environment": at(payments, "GET", "/orders/"),
			"delete of what it may write":         at(staging, "DELETE", "/orders/42"),
			"delete in the other environment":     at(elsewhere, "DELETE", "/orders/42"),
			"its scope changed, the signature kept": func(ctx context.Context, c broker.Credential) error {
				return use(ctx, staging, edited(c.Values[variable], ":write", ":delete"), "DELETE", "/orders/42")
			},
			"its issuer changed to the other environment's": func(ctx context.Context, c broker.Credential) error {
				return use(ctx, elsewhere, edited(c.Values[variable], "/t/staging", "/t/production"), "GET", "/orders/")
			},
		},
		Refused:     refusedByService,
		SecretNames: []string{variable},
		Secrets:     []string{string(private.Seed()), base64.RawURLEncoding.EncodeToString(private)},
	})
}

// edited changes a text in a token's claims and keeps the rest.
func edited(token broker.Secret, from, to string) broker.Secret {
	three := strings.Split(token.Reveal(), ".")
	raw, err := base64.RawURLEncoding.DecodeString(three[1])
	if err != nil || !strings.Contains(string(raw), from) {
		panic("the claims do not hold " + from)
	}
	three[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(raw), from, to)))
	return broker.NewSecret(strings.Join(three, "."))
}

// The same audience in two environments, and one key for both by mistake of whoever keeps the keys: the
// issuer's URL still stands between them.
func TestOneKeyForTwoEnvironmentsStillDoesNotCross(t *testing.T) {
	one := config("staging")
	two := config("production")
	staging, _ := key("staging")
	two.Signer = func(string) (ed25519.PrivateKey, error) { return staging, nil }
	production := serve(t, open(t, two).TokenIssuer(), audience, noon)
	issuer := open(t, one)
	credential, _ := lease(t, issuer, "orders/*:read")
	if err := use(t.Context(), production, credential.Values[variable], "GET", "/orders/"); !refusedByService(err) {
		t.Errorf("a staging token at production: %v, want it refused", err)
	}
}

// A service's clock decides: to the second, whatever the fraction in which the lease ended.
func TestATokenIsDeadInTheSecondOfItsExpiry(t *testing.T) {
	issuer := open(t, config("staging"))
	credential, _ := lease(t, issuer, "orders/*:read")
	for _, c := range []struct {
		now  time.Time
		dead bool
	}{
		{noon(), false},
		{credential.Expires.Add(-time.Millisecond), false},
		{credential.Expires, true},
		{noon().Add(5 * time.Minute), true},
		{noon().Add(time.Hour), true},
	} {
		server := serve(t, issuer.TokenIssuer(), audience, func() time.Time { return c.now })
		err := use(t.Context(), server, credential.Values[variable], "GET", "/orders/")
		if dead := refusedByService(err); dead != c.dead {
			t.Errorf("at %s: %v, want dead %t", c.now, err, c.dead)
		}
	}
}

// Declared, so that no page promises more: without a broker to ask, a revoked token works until its end.
func TestARevokedTokenWorksUntilItsExpiryAsDeclared(t *testing.T) {
	issuer := open(t, config("staging"))
	server := serve(t, issuer.TokenIssuer(), audience, noon)
	credential, handle := lease(t, issuer, "orders/*:read")
	if err := issuer.Revoke(t.Context(), leased, handle); err != nil {
		t.Fatal(err)
	}
	worked := use(t.Context(), server, credential.Values[variable], "GET", "/orders/") == nil
	if c := issuer.Capabilities(); worked == c.EndsEarly || !c.Local {
		t.Errorf("worked after revoke: %t; declared: %+v", worked, c)
	}
}
