package web

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
)

func set(name string, value any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) { c[name] = value }
}

func unset(name string) func(jwt.MapClaims) { return func(c jwt.MapClaims) { delete(c, name) } }

// handSigned makes a JWS whose parts are given as they stand.
func handSigned(header, claims string, sign func(text string) []byte) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

// attacks are assertions that must give nothing, by the name of the attack.
func (a *testAgent) attacks() map[string]string {
	now := a.Clock.Now()
	good, err := json.Marshal(a.claims())
	if err != nil {
		a.Fatal(err)
	}
	typ := `"typ":"` + api.TypAssertion + `"`
	raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(string(a.key.JWK), `"x":"`)[1][:43])
	hs256 := func(key []byte) func(string) []byte {
		return func(text string) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(text))
			return mac.Sum(nil)
		}
	}
	nothing := func(string) []byte { return nil }
	stranger, _ := newKey(a)
	other := &testAgent{site: a.site, name: a.name, private: stranger}
	return map[string]string{
		"too old":                       a.assertion(set("iat", now.Add(-2*time.Minute).Unix()), set("exp", now.Add(-time.Minute).Unix())),
		"old but not expired":           a.assertion(set("iat", now.Add(-61*time.Second).Unix()), set("exp", now.Add(30*time.Second).Unix())),
		"lives longer than a minute":    a.assertion(set("exp", now.Add(61*time.Second).Unix())),
		"lives for ever":                a.assertion(unset("exp")),
		"without iat":                   a.assertion(unset("iat")),
		"from the future":               a.assertion(set("iat", now.Add(30*time.Second).Unix()), set("exp", now.Add(60*time.Second).Unix())),
		"not valid yet":                 a.assertion(set("nbf", now.Add(20*time.Second).Unix())),
		"time as text":                  a.assertion(set("exp", "2099-01-01")),
		"time beyond all times":         a.assertion(set("exp", 1e300)),
		"for another server":            a.assertion(set("aud", "https://other.example/oauth/token")),
		"for two servers":               a.assertion(set("aud", []string{brokertest.Origin, "https://other.example"})),
		"for nobody":                    a.assertion(unset("aud")),
		"for the enrolment":             a.assertion(set("aud", brokertest.Origin+api.PathAgentsEnroll)),
		"iss is another":                a.assertion(set("iss", "mallory")),
		"sub is another":                a.assertion(set("sub", "mallory")),
		"an agent that is not there":    a.assertion(set("iss", "mallory"), set("sub", "mallory")),
		"a name that is none":           a.assertion(set("iss", "../claude"), set("sub", "../claude")),
		"without jti":                   a.assertion(unset("jti")),
		"a short jti":                   a.assertion(set("jti", "1")),
		"a huge jti":                    a.assertion(set("jti", strings.Repeat("j", 129))),
		"signed by another key":         other.assertion(),
		"signature cut":                 strings.TrimSuffix(a.assertion(), "A")[:200],
		"alg none":                      handSigned(`{"alg":"none",`+typ+`}`, string(good), nothing),
		"alg None":                      handSigned(`{"alg":"None",`+typ+`}`, string(good), nothing),
		"alg empty":                     handSigned(`{"alg":"",`+typ+`}`, string(good), nothing),
		"HS256 with the public key":     handSigned(`{"alg":"HS256",`+typ+`}`, string(good), hs256(raw)),
		"HS256 with the public JWK":     handSigned(`{"alg":"HS256",`+typ+`}`, string(good), hs256(a.key.JWK)),
		"alg of another kind of key":    a.sign(a.claims(), map[string]any{"alg": "ES256"}),
		"typ JWT":                       a.sign(a.claims(), map[string]any{"typ": "JWT"}),
		"typ of an access token":        a.sign(a.claims(), map[string]any{"typ": "at+jwt"}),
		"typ of an enrolment proof":     a.sign(a.claims(), map[string]any{"typ": api.TypEnrollProof}),
		"brings its own key":            other.sign(other.claims(), map[string]any{"jwk": json.RawMessage(a.key.JWK)}),
		"says where its key is":         other.sign(other.claims(), map[string]any{"jku": "https://evil.example/jwks"}),
		"crit":                          a.sign(a.claims(), map[string]any{"crit": []string{"b64"}, "b64": false}),
		"alg twice":                     handSigned(`{"alg":"EdDSA","alg":"none",`+typ+`}`, string(good), nothing),
		"sub twice":                     a.handSigned(`{"sub":"mallory",` + string(good)[1:]),
		"sub twice, in another case":    a.handSigned(`{"SUB":"mallory",` + string(good)[1:]),
		"two values":                    a.handSigned(string(good) + string(good)),
		"padded":                        a.assertion() + "=",
		"four parts":                    a.assertion() + ".e30",
		"empty":                         "",
		"dots":                          "..",
		"a JSON serialisation":          `{"payload":"e30","signatures":[]}`,
		"huge":                          strings.Repeat("a", 5000),
		"not UTF-8":                     a.handSigned("{\"sub\":\"\xff\"}"),
		"deeply nested":                 a.handSigned(`{"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`),
		"an access token as assertion":  a.token(),
		"signed over another algorithm": handSigned(`{"alg":"EdDSA",`+typ+`}`, string(good), hs256(raw)),
	}
}

func (a *testAgent) handSigned(claims string) string {
	return handSigned(`{"alg":"EdDSA","typ":"`+api.TypAssertion+`"}`, claims, func(text string) []byte {
		signature, err := a.private.Sign(rand.Reader, []byte(text), crypto.Hash(0))
		if err != nil {
			a.Fatal(err)
		}
		return signature
	})
}

// TestAssertionRefused: none of the attacks gives a token, and none writes anything.
func TestAssertionRefused(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst = 1000 })
	attacks := x.agent.attacks()
	before := x.Store.Updates()
	for name, assertion := range attacks {
		t.Run(name, func(t *testing.T) {
			x.postForm(tokenForm(assertion)).wantTokenError(http.StatusUnauthorized, "invalid_client")
		})
	}
	if x.Store.Updates() != before {
		t.Errorf("a refused assertion wrote to the store")
	}
}

// TestTokenFormRefused: what is wrong about the form, not the assertion.
func TestTokenFormRefused(t *testing.T) {
	x := newSite(t)
	good := func(change func(url.Values)) url.Values {
		form := tokenForm(x.agent.assertion())
		change(form)
		return form
	}
	for name, c := range map[string]struct {
		form url.Values
		code string
	}{
		"another grant":         {good(func(f url.Values) { f.Set("grant_type", "password") }), "unsupported_grant_type"},
		"no grant":              {good(func(f url.Values) { f.Del("grant_type") }), "unsupported_grant_type"},
		"grant twice":           {good(func(f url.Values) { f.Add("grant_type", api.GrantClientCredentials) }), "invalid_request"},
		"assertion twice":       {good(func(f url.Values) { f.Add("client_assertion", x.agent.assertion()) }), "invalid_request"},
		"a secret":              {good(func(f url.Values) { f.Set("client_secret", "s") }), "invalid_client"},
		"another assertion":     {good(func(f url.Values) { f.Set("client_assertion_type", "saml") }), "invalid_client"},
		"client_id of another":  {good(func(f url.Values) { f.Set("client_id", "mallory") }), "invalid_client"},
		"nothing":               {url.Values{}, "unsupported_grant_type"},
		"assertion not to read": {good(func(f url.Values) { f.Set("client_assertion", "\x00") }), "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			status := http.StatusBadRequest
			if c.code == "invalid_client" {
				status = http.StatusUnauthorized
			}
			x.postForm(c.form).wantTokenError(status, c.code)
		})
	}
	body := tokenForm(x.agent.assertion()).Encode()
	x.do("POST", api.PathToken, body).wantTokenError(http.StatusUnsupportedMediaType, "invalid_request")
	asForm := header("Content-Type", "application/x-www-form-urlencoded")
	x.do("POST", api.PathToken+"?grant_type=x", body, asForm).wantTokenError(http.StatusBadRequest, "invalid_request")
	x.do("POST", api.PathToken, body, asForm, header("Authorization", "Basic eDp5")).wantTokenError(http.StatusBadRequest, "invalid_request")
	x.do("POST", api.PathToken, strings.Repeat("a", 70_000), asForm).wantTokenError(http.StatusRequestEntityTooLarge, "invalid_request")
	x.do("POST", api.PathToken, "a=%zz", asForm).wantTokenError(http.StatusBadRequest, "invalid_request")
}

// TestAssertionReplayed: once is once, also after a restart, and also when the clock was set back.
func TestAssertionReplayed(t *testing.T) {
	x := newSite(t)
	form := tokenForm(x.agent.assertion())
	x.postForm(form).want(http.StatusOK)
	x.postForm(form).wantTokenError(http.StatusUnauthorized, "invalid_client")
	x.serve()
	words := x.postForm(form).wantTokenError(http.StatusUnauthorized, "invalid_client")
	if !strings.Contains(words, "used before") {
		t.Errorf("the refusal does not say why: %s", words)
	}
	x.Clock.Advance(2 * time.Minute)
	x.postForm(tokenForm(x.agent.assertion())).want(http.StatusOK) // prunes
	x.Clock.Advance(-2 * time.Minute)
	x.postForm(form).wantTokenError(http.StatusUnauthorized, "invalid_client")
}

// TestAssertionOfTwoAgentsWithOneID: a jti is an agent's own; nobody uses up another's.
func TestAssertionOfTwoAgentsWithOneID(t *testing.T) {
	x := newSite(t)
	other := x.newAgent("other", broker.AgentActive)
	id := set("jti", "the-very-same-identifier")
	x.postForm(tokenForm(x.agent.assertion(id))).want(http.StatusOK)
	x.postForm(tokenForm(other.assertion(id))).want(http.StatusOK)
	x.postForm(tokenForm(other.assertion(id))).wantTokenError(http.StatusUnauthorized, "invalid_client")
}

// TestUsedAssertionsAreForgotten: the records do not pile up.
func TestUsedAssertionsAreForgotten(t *testing.T) {
	x := newSite(t)
	count := func() (n int) {
		err := x.Store.View(t.Context(), func(r broker.Reader) error {
			return r.Scan("assertion", "", func([]byte) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 10 {
		x.agent.token()
	}
	if count() != 10 {
		t.Fatalf("%d used assertions are remembered, want 10", count())
	}
	x.Clock.Advance(10 * time.Minute)
	x.agent.token()
	if count() != 1 {
		t.Errorf("%d used assertions are remembered ten minutes later, want 1", count())
	}
}

// TestAgentsThatMayNotCall: with a good assertion, and refused in words that tell what to do.
func TestAgentsThatMayNotCall(t *testing.T) {
	for state, words := range map[broker.AgentState]string{
		broker.AgentInert: "has not signed", broker.AgentRemoved: "was removed", broker.AgentInvited: "has not enrolled", "odd": "unknown state",
	} {
		t.Run(string(state), func(t *testing.T) {
			x := newSite(t)
			a := x.newAgent("sleeper", state)
			got := x.postForm(tokenForm(a.assertion())).wantTokenError(http.StatusBadRequest, "unauthorized_client")
			if !strings.Contains(got, words) {
				t.Errorf("got %q, want it to say %q", got, words)
			}
		})
	}
	for _, freeze := range []broker.Freeze{{Of: broker.FreezeAll}, {Of: broker.FreezeAgent, Name: "claude"}} {
		t.Run("frozen "+freeze.ID(), func(t *testing.T) {
			x := newSite(t)
			if _, err := x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, freeze); err != nil {
				t.Fatal(err)
			}
			got := x.postForm(tokenForm(x.agent.assertion())).wantTokenError(http.StatusBadRequest, "unauthorized_client")
			if !strings.Contains(got, "freeze") {
				t.Errorf("got %q, want it to name the freeze", got)
			}
		})
	}
}

// TestTokenNotGivenWhenItCannotBeRemembered: a full disk must not make assertions usable twice.
func TestTokenNotGivenWhenItCannotBeRemembered(t *testing.T) {
	x := newSite(t)
	x.Store.Fail(http.ErrHandlerTimeout)
	form := tokenForm(x.agent.assertion())
	x.postForm(form).wantTokenError(http.StatusServiceUnavailable, "temporarily_unavailable")
	x.Store.Fail(nil)
	x.postForm(form).want(http.StatusOK)
}

// TestAccessTokenIsRFC9068 reads our token as a foreign resource server would.
func TestAccessTokenIsRFC9068(t *testing.T) {
	x := newSite(t)
	answer := x.postForm(tokenForm(x.agent.assertion())).want(http.StatusOK)
	if answer.Header().Get("Cache-Control") != "no-store" {
		t.Error("a token may be cached")
	}
	var given struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	answer.decode(&given)
	claims := jwt.MapClaims{}
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(brokertest.Origin), jwt.WithAudience(brokertest.Origin+"/v1"), jwt.WithTimeFunc(x.Clock.Now)).
		ParseWithClaims(given.AccessToken, claims, func(*jwt.Token) (any, error) { return x.config.AccessKey.Public(), nil })
	if err != nil {
		t.Fatal(err)
	}
	confirm, _ := claims["cnf"].(map[string]any)
	if token.Header["typ"] != "at+jwt" || claims["sub"] != "claude" || claims["client_id"] != "claude" || claims["jti"] == "" || confirm["jkt"] != x.agent.key.Thumbprint {
		t.Errorf("got %v %v", token.Header, claims)
	}
	if given.TokenType != "Bearer" || given.ExpiresIn > 600 || claims["exp"].(float64)-claims["iat"].(float64) > 600 {
		t.Errorf("it lives longer than ten minutes: %+v", given)
	}
}

// TestForgedAccessToken: what is not exactly our own access token is none.
func TestForgedAccessToken(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst = 1000 })
	good := x.agent.token()
	x.do("GET", api.PathTasks, "", bearer(good)).want(http.StatusOK)
	var claims jwt.MapClaims
	parsed, _, err := jwt.NewParser().ParseUnverified(good, &claims)
	if err != nil {
		t.Fatal(err)
	}
	kid := parsed.Header["kid"]
	forge := func(key any, method jwt.SigningMethod, header map[string]any, change ...func(jwt.MapClaims)) string {
		copied := jwt.MapClaims{}
		for name, value := range claims {
			copied[name] = value
		}
		for _, c := range change {
			c(copied)
		}
		token := jwt.NewWithClaims(method, copied)
		token.Header["typ"], token.Header["kid"] = "at+jwt", kid
		for name, value := range header {
			token.Header[name] = value
		}
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	ours, stranger := x.config.AccessKey, x.agent.private
	public := []byte(ours[32:])
	for name, token := range map[string]string{
		"signed by an agent":             forge(stranger, jwt.SigningMethodEdDSA, nil),
		"HS256 with our public key":      forge(public, jwt.SigningMethodHS256, nil),
		"alg none":                       forge(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, nil),
		"typ of a target token":          forge(ours, jwt.SigningMethodEdDSA, map[string]any{"typ": "JWT"}),
		"kid of another key":             forge(ours, jwt.SigningMethodEdDSA, map[string]any{"kid": "other"}),
		"one header more":                forge(ours, jwt.SigningMethodEdDSA, map[string]any{"crit": []string{"x"}}),
		"of another environment":         forge(ours, jwt.SigningMethodEdDSA, nil, set("iss", brokertest.Origin+"/t/staging")),
		"for a service":                  forge(ours, jwt.SigningMethodEdDSA, nil, set("aud", "orders")),
		"for ever":                       forge(ours, jwt.SigningMethodEdDSA, nil, unset("exp")),
		"for an hour":                    forge(ours, jwt.SigningMethodEdDSA, nil, set("exp", x.Clock.Now().Add(time.Hour).Unix())),
		"without key":                    forge(ours, jwt.SigningMethodEdDSA, nil, unset("cnf")),
		"of a client that is not itself": forge(ours, jwt.SigningMethodEdDSA, nil, set("client_id", "mallory")),
		"of another key of the agent":    forge(ours, jwt.SigningMethodEdDSA, nil, set("cnf", map[string]string{"jkt": "other"})),
		"of an agent that is not there":  forge(ours, jwt.SigningMethodEdDSA, nil, set("sub", "mallory"), set("client_id", "mallory")),
		"cut":                            good[:len(good)-2],
		"changed":                        strings.Replace(good, ".", ".A", 1),
		"an assertion":                   x.agent.assertion(),
		"huge":                           strings.Repeat("a", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			x.do("GET", api.PathTasks, "", bearer(token)).wantProblem(broker.CodeUnauthenticated)
			x.do("GET", api.PathTasks, "", bearer(token)).wantProblem(broker.CodeUnauthenticated)
		})
	}
	for _, value := range []string{"Basic " + good, "Bearer", "Bearer ", good, "DPoP " + good} {
		x.do("GET", api.PathTasks, "", header("Authorization", value)).wantProblem(broker.CodeUnauthenticated)
	}
}

// TestTokenAfterItsEnd: a token ends when its time is over, its agent is removed, or has another key,
// whether or not it was verified before.
func TestTokenAfterItsEnd(t *testing.T) {
	ends := map[string]func(x *site){
		"expired": func(x *site) { x.Clock.Advance(authn.TokenLife) },
		"agent removed": func(x *site) {
			if err := x.RemoveAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "claude"); err != nil {
				t.Fatal(err)
			}
		},
		"another key": func(x *site) { x.newAgent("claude", broker.AgentActive) },
		"inert again": func(x *site) {
			x.save(&broker.Agent{Name: "claude", Owner: "alice", State: broker.AgentInert, Key: x.agent.key.JWK, Thumbprint: x.agent.key.Thumbprint})
		},
		"another access key": func(x *site) { x.config.AccessKey = x.newAgent("z", broker.AgentActive).private; x.serve() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			token := x.agent.token()
			x.do("GET", api.PathTasks, "", bearer(token)).want(http.StatusOK)
			end(x)
			x.do("GET", api.PathTasks, "", bearer(token)).wantProblem(broker.CodeUnauthenticated)
			x.do("POST", api.PathRequests, wish, bearer(token)).wantProblem(broker.CodeUnauthenticated)
		})
	}
}

// TestAgentWithES256 authenticates with a P-256 key, as hardware often has.
func TestAgentWithES256(t *testing.T) {
	x := newSite(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	key, err := authn.ParseAgentKey([]byte(`{"kty":"EC","crv":"P-256","x":"` + encode(point[1:33]) + `","y":"` + encode(point[33:]) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	x.save(&broker.Agent{Name: "tpm", Owner: "alice", State: broker.AgentActive, Key: key.JWK, Thumbprint: key.Thumbprint})
	a := &testAgent{site: x, name: "tpm"}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, a.claims())
	token.Header["typ"] = api.TypAssertion
	signed, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	x.postForm(tokenForm(signed)).want(http.StatusOK)
}

// FuzzTokenEndpoint: whatever is sent, the answer is well-formed, nothing but a good assertion gives a
// token, and nothing panics.
func FuzzTokenEndpoint(f *testing.F) {
	x := newSite(f, func(c *Config) { c.Limits.StrangerRate, c.Log = 1e9, nil })
	for _, assertion := range x.agent.attacks() {
		f.Add(tokenForm(assertion).Encode())
	}
	f.Add("grant_type=client_credentials&grant_type=x")
	f.Add("client_assertion=%zz;&=&%00=\xff")
	before := x.Store.Updates()
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", brokertest.Origin+api.PathToken, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		x.server.ServeHTTP(w, r)
		var e api.TokenError
		if w.Code < 400 || w.Code >= 500 || json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Error == "" {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if x.Store.Updates() != before {
			t.Error("it wrote to the store")
		}
	})
}
