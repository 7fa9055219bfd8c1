package jwt_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/jwt"
)

const (
	base     = "https://hourkey.example"
	audience = "https://orders.example"
	leased   = "hk-i1-l1" // the name of every lease
)

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 700_000_000, time.UTC) }

// key gives every environment a key of its own, as keys.Ring does.
func key(environment string) (ed25519.PrivateKey, error) {
	seed := sha256.Sum256([]byte("target-token/" + environment))
	return ed25519.NewKeyFromSeed(seed[:]), nil
}

func config(environment string) jwt.Config {
	return jwt.Config{
		Ref:      broker.TargetRef{Environment: environment, Target: "orders-api"},
		Settings: jwt.Settings{Audience: audience, Resources: []string{"orders/*", "health"}},
		BaseURL:  base, Signer: key, Now: noon,
	}
}

func open(tb testing.TB, config jwt.Config) *jwt.Issuer {
	tb.Helper()
	issuer, err := jwt.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	return issuer
}

func wish(tb testing.TB, ttl time.Duration, texts ...string) broker.Wish {
	tb.Helper()
	return issuertest.Wish(tb, "orders-api", ttl, texts...)
}

func order(d broker.Description) broker.Order {
	return broker.Order{
		Name: leased, Lease: "l1", Description: d, TTL: d.TTL, Expires: noon().Add(d.TTL),
		Agent: "ci/deploy", Owner: "alice", Task: "fix-orders",
	}
}

// lease issues what the scopes say.
func lease(t *testing.T, issuer *jwt.Issuer, texts ...string) (broker.Credential, broker.Handle) {
	t.Helper()
	return issuertest.Lease(t, issuer, order(issuertest.Describe(t, issuer, wish(t, 0, texts...))))
}

// part decodes the header (0) or the claims (1) of a compact token.
func part(t *testing.T, token broker.Secret, at int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Reveal(), ".")[at])
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestATokenSaysExactlyThis(t *testing.T) {
	issuer := open(t, config("staging"))
	credential, handle := lease(t, issuer, "orders/*:write,read", "health:read")
	token := credential.Values["HOURKEY_TOKEN_ORDERS_API"]
	if diff := cmp.Diff(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.TokenIssuer().KeyID()}, part(t, token, 0)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	detail := func(identifier string, actions ...any) map[string]any {
		return map[string]any{"type": "hourkey", "actions": actions, "identifier": identifier}
	}
	want := map[string]any{
		"iss": base + "/t/staging", "aud": []any{audience}, "sub": "ci/deploy", "client_id": "ci/deploy", "jti": leased,
		"iat": float64(noon().Unix()), "exp": float64(noon().Unix() + 300), "owner": "alice", "task": "fix-orders",
		"scope":                 "health:read orders/*:read orders/*:write",
		"authorization_details": []any{detail("health", "read"), detail("orders/*", "read", "write")},
	}
	if diff := cmp.Diff(want, part(t, token, 1)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if len(handle) != 0 || len(credential.Values) != 1 || !credential.Expires.Equal(noon().Truncate(time.Second).Add(5*time.Minute)) {
		t.Errorf("handle %q, %d values, expires %s", handle, len(credential.Values), credential.Expires)
	}
}

func TestADescriptionIsHonest(t *testing.T) {
	issuer := open(t, config("staging"))
	d := issuertest.Describe(t, issuer, wish(t, 30*time.Minute, "orders/*:read"))
	if d.TTL != 5*time.Minute {
		t.Errorf("TTL %s; want that of the target, 5m", d.TTL)
	}
	walls := map[string]broker.Wall{}
	for _, w := range d.Walls {
		walls[w.Stops] = w.Wall
	}
	want := map[string]broker.Wall{
		"another environment": broker.WallNative, "another service": broker.WallNative, "use after the end": broker.WallNative,
		"actions and resources outside the scope": broker.WallWeak, "use after a revoke, before the end": broker.WallWeak,
	}
	if diff := cmp.Diff(want, walls); diff != "" {
		t.Errorf("walls (-want +got):\n%s", diff)
	}
	if !strings.Contains(d.Ends, "5 minutes") || !strings.Contains(d.Ends, "only at services that ask") {
		t.Errorf("Ends says %q", d.Ends)
	}
	other := issuertest.Describe(t, open(t, config("production")), wish(t, 30*time.Minute, "orders/*:read"))
	if d.Identity == other.Identity || d.Digest() == other.Digest() {
		t.Error("two environments have one identity or one digest")
	}
}

func TestAnAskOutsideTheFileIsRefused(t *testing.T) {
	issuer := open(t, config("staging"))
	for name, c := range map[string]struct {
		scope broker.Scope
		code  broker.Code
	}{
		"a resource that is not listed":      {broker.Scope{Target: "orders-api", Resource: "payments/1", Actions: broker.Read}, broker.CodeDenied},
		"everything":                         {broker.Scope{Target: "orders-api", Resource: "*", Actions: broker.Read}, broker.CodeDenied},
		"a wider prefix":                     {broker.Scope{Target: "orders-api", Resource: "order*", Actions: broker.Read}, broker.CodeDenied},
		"a listed name as a prefix":          {broker.Scope{Target: "orders-api", Resource: "health*", Actions: broker.Read}, broker.CodeDenied},
		"another target":                     {broker.Scope{Target: "payments-api", Resource: "orders/1", Actions: broker.Read}, broker.CodeInvalid},
		"no action":                          {broker.Scope{Target: "orders-api", Resource: "orders/1"}, broker.CodeInvalid},
		"a space, to smuggle a second scope": {broker.Scope{Target: "orders-api", Resource: "orders/1:read orders/*", Actions: broker.Delete}, broker.CodeInvalid},
		"a quote":                            {broker.Scope{Target: "orders-api", Resource: `orders/"`, Actions: broker.Read}, broker.CodeInvalid},
		"a letter that looks like another":   {broker.Scope{Target: "orders-api", Resource: "orders/\u0430", Actions: broker.Read}, broker.CodeInvalid},
		"a resource that is empty":           {broker.Scope{Target: "orders-api", Resource: "", Actions: broker.Read}, broker.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := issuer.Describe(t.Context(), broker.Wish{Scopes: []broker.Scope{c.scope}})
			if broker.CodeOf(err) != c.code {
				t.Errorf("Describe: %v (%s), want %s", err, broker.CodeOf(err), c.code)
			}
			forged := order(broker.Description{Scopes: []broker.Scope{c.scope}, TTL: time.Minute})
			if _, _, err := issuer.Issue(t.Context(), forged); err == nil {
				t.Error("Issue, with a description that was never given: no error")
			}
		})
	}
	if _, err := issuer.Describe(t.Context(), broker.Wish{}); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("no scope at all: %v", err)
	}
}

func TestNoTokenOutlivesItsDescription(t *testing.T) {
	hour := config("staging")
	hour.Settings.TTL = time.Hour
	issuer := open(t, hour)
	d := issuertest.Describe(t, issuer, wish(t, 10*time.Minute, "orders/*:read"))
	for name, change := range map[string]func(*broker.Order){
		"a second later than described":    func(o *broker.Order) { o.Expires = o.Expires.Add(time.Second) },
		"more than an hour":                func(o *broker.Order) { o.Description.TTL = 2 * time.Hour; o.Expires = noon().Add(61 * time.Minute) },
		"already over":                     func(o *broker.Order) { o.Expires = noon() },
		"a TTL that its expiry belies":     func(o *broker.Order) { o.TTL = time.Hour },
		"no TTL":                           func(o *broker.Order) { o.TTL = 0 },
		"a lease's name that is no lease":  func(o *broker.Order) { o.Name = "root" },
		"a name with an upper-case letter": func(o *broker.Order) { o.Name = "hk-I1-l1" },
		"no agent":                         func(o *broker.Order) { o.Agent = "" },
	} {
		t.Run(name, func(t *testing.T) {
			o := order(d)
			change(&o)
			if credential, _, err := issuer.Issue(t.Context(), o); err == nil || len(credential.Values) != 0 {
				t.Errorf("issued until %s, error %v", credential.Expires, err)
			}
		})
	}
	credential, _ := issuertest.Lease(t, issuer, order(d))
	if credential.Expires.After(order(d).Expires) {
		t.Errorf("expires %s, after the lease's %s", credential.Expires, order(d).Expires)
	}
}

func TestATTLOutsideItsBoundsIsRefused(t *testing.T) {
	issuer := open(t, config("staging"))
	for _, ttl := range []time.Duration{-time.Minute, time.Second, time.Hour + time.Second} {
		_, err := issuer.Describe(t.Context(), wish(t, ttl, "orders/1:read"))
		if broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("TTL %s: %v", ttl, err)
		}
	}
}

func TestAMistakeInTheFileIsALoadError(t *testing.T) {
	for field, changes := range map[string][]func(*jwt.Config){
		"audience": {
			func(c *jwt.Config) { c.Settings.Audience = "" },
			func(c *jwt.Config) { c.Settings.Audience = "two words" },
			func(c *jwt.Config) { c.Settings.Audience = strings.Repeat("x", 257) },
		},
		"ttl": {
			func(c *jwt.Config) { c.Settings.TTL = 300 }, // nanoseconds: a number without its unit
			func(c *jwt.Config) { c.Settings.TTL = -time.Minute },
			func(c *jwt.Config) { c.Settings.TTL = 61 * time.Minute },
		},
		"resources": {
			func(c *jwt.Config) { c.Settings.Resources = nil },
			func(c *jwt.Config) { c.Settings.Resources = []string{"orders/*", ""} },
			func(c *jwt.Config) { c.Settings.Resources = []string{"*/secret"} },
			func(c *jwt.Config) { c.Settings.Resources = []string{"orders and more"} },
		},
		"variable": {
			func(c *jwt.Config) { c.Settings.Variable = "orders-token" },
			func(c *jwt.Config) { c.Settings.Variable = "A=B" },
		},
		"issuer": {
			func(c *jwt.Config) { c.BaseURL = "" },
			func(c *jwt.Config) { c.BaseURL = "http://hourkey.example" },
			func(c *jwt.Config) { c.BaseURL = "http://127.0.0.1.example" },
			func(c *jwt.Config) { c.BaseURL = "https://hourkey.example/" },
			func(c *jwt.Config) { c.BaseURL = "https://hourkey.example?x=1" },
			func(c *jwt.Config) { c.BaseURL = "https://hourkey.example#" },
			func(c *jwt.Config) { c.BaseURL = "https://user:hunter2@hourkey.example" },
		},
		"": {
			func(c *jwt.Config) { c.Ref.Environment = "../production" },
			func(c *jwt.Config) { c.Ref.Target = "Orders" },
			func(c *jwt.Config) { c.Now = nil },
			func(c *jwt.Config) { c.Signer = nil },
			func(c *jwt.Config) { c.Signer = func(string) (ed25519.PrivateKey, error) { return nil, nil } },
			func(c *jwt.Config) {
				c.Signer = func(string) (ed25519.PrivateKey, error) { return nil, errors.New("no key") }
			},
		},
	} {
		for at, change := range changes {
			c := config("staging")
			change(&c)
			_, err := jwt.New(c)
			refusal, ok := errors.AsType[*broker.Error](err)
			if !ok || refusal.Field != field {
				t.Errorf("%q, case %d: %v; want a refusal of that field", field, at, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q, case %d: the error repeats a password", field, at)
			}
		}
	}
}

func TestTheVariableIsTheFilesOrTheTargets(t *testing.T) {
	c := config("staging")
	c.Ref.Target = "orders.api-2"
	c.Settings.Variable = ""
	for variable, set := range map[string]string{"HOURKEY_TOKEN_ORDERS_API_2": "", "ORDERS_TOKEN": "ORDERS_TOKEN"} {
		c.Settings.Variable = set
		issuer := open(t, c)
		health := issuertest.Wish(t, "orders.api-2", 0, "health:read")
		credential, _ := issuertest.Lease(t, issuer, order(issuertest.Describe(t, issuer, health)))
		if credential.Values[variable].IsZero() {
			t.Errorf("no %s in %v", variable, credential.Values)
		}
	}
}

func TestTheKeySetHoldsThePublicKeyAlone(t *testing.T) {
	issuer := open(t, config("staging"))
	private, err := key("staging")
	if err != nil {
		t.Fatal(err)
	}
	set := string(issuer.TokenIssuer().JWKS())
	if !json.Valid([]byte(set)) || strings.Contains(set, `"d"`) || strings.Contains(set, base64.RawURLEncoding.EncodeToString(private.Seed())) {
		t.Errorf("key set: %s", set)
	}
	if other := open(t, config("production")).TokenIssuer(); other.KeyID() == issuer.TokenIssuer().KeyID() || other.URL() == issuer.TokenIssuer().URL() {
		t.Error("two environments share a key or a URL")
	}
}

// The example of RFC 8037, appendix A.3: key and thumbprint.
func TestTheKeyIDIsTheThumbprintOfTheRFC(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := jwt.NewTokenIssuer(base, "staging", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := issuer.KeyID(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
}

func BenchmarkIssue(b *testing.B) {
	issuer := open(b, config("staging"))
	o := order(issuertest.Describe(b, issuer, wish(b, 0, "orders/*:read,write")))
	for b.Loop() {
		if _, _, err := issuer.Issue(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}
