package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/demo/provider"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func auto(t *testing.T, p parts) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), Options{Out: &out, Now: time.Now, Auto: true}, p)
	return out.String(), err
}

func TestDrill(t *testing.T) {
	t.Parallel()
	out, err := auto(t, intact())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Gone in one call: 8000 rows in production and staging, and the 3 backups", "(shop-data, attached to postgres) also lives in production", "Every wall held"} {
		if !strings.Contains(out, want) {
			t.Errorf("the story does not say %q:\n%s", want, out)
		}
	}
}

// Each wall is taken away; the step that is named after it must notice.
func TestDrillNoticesAMissingWall(t *testing.T) {
	t.Parallel()
	for step, broken := range map[string]parts{
		"environment": {issuer: func(q quay) quay { return onlyHere{q} }},
		"class":       {issuer: func(q quay) quay { return &resigned{quay: q, change: everyAction} }},
		"approval":    {verifier: func(broker.Verifier) broker.Verifier { return believer{} }},
		"lifetime":    {issuer: func(q quay) quay { return &resigned{quay: q, change: anHourMore} }},
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := intact()
			if broken.issuer != nil {
				p.issuer = broken.issuer
			}
			if broken.verifier != nil {
				p.verifier = broken.verifier
			}
			out, err := auto(t, p)
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Step != step {
				t.Fatalf("got %v, want a failure of step %s\n%s", err, step, out)
			}
		})
	}
}

// TestProviderBelievesAnyValidToken: the walls are Hourkey's; the provider destroys everything for
// whoever goes around the broker with a token that it accepts.
func TestProviderBelievesAnyValidToken(t *testing.T) {
	w, err := open(t.Context(), time.Now, intact())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	status, body, err := w.call(t.Context(), "DELETE", "/volumes/"+sharedVolume, w.stray)
	if err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if _, there, err := w.volume(sharedVolume); there || err != nil {
		t.Fatalf("the volume is still there (%v)", err)
	}
}

// onlyHere lies about where a volume lives.
type onlyHere struct{ quay }

func (o onlyHere) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	d, err := o.quay.Describe(ctx, wish)
	d.Reaches = []string{"staging"}
	return d, err
}

// believer takes every assertion for good.
type believer struct{}

func (believer) Verify(p broker.Passkey, _ []byte, _ broker.Assertion) (uint32, error) {
	return p.Counter + 1, nil
}

// resigned signs other claims than were ordered.
type resigned struct {
	quay
	change func(jwt.MapClaims)
}

func everyAction(claims jwt.MapClaims) {
	claims["scope"] = "volume/*:read,write,delete service/*:read,write"
}
func anHourMore(claims jwt.MapClaims) { claims["exp"] = time.Now().Add(time.Hour).Unix() }

func (r *resigned) Issue(_ context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	i := r.quay.(*issuer)
	claims := jwt.MapClaims{
		"iss": i.name, "aud": provider.Audience, "sub": order.Agent, "exp": order.Expires.Unix(), "scope": nativeScope(order.Description.Scopes),
	}
	r.change(claims)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["typ"] = "at+jwt"
	signed, err := token.SignedString(i.key)
	return broker.Credential{Values: map[string]broker.Secret{"QUAY_TOKEN": broker.NewSecret(signed)}, Expires: order.Expires}, nil, err
}
