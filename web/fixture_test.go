package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
)

// site is a World with a Server in front of it.
type site struct {
	*brokertest.World
	server *Server
	config Config
	log    *logBuffer
	agent  *testAgent // "claude", active
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(raw []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(raw)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	x := &site{World: brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Groups["auditors"] = []string{"dora"}
		c.Configuration.Groups["readers"] = []string{"erin"} // reviews staging and nothing else
		c.Configuration.Roles[broker.RoleAuditor] = []string{"auditors"}
		staging := c.Configuration.Environments["staging"]
		staging.Reviewers = []string{"team", "readers"}
		c.Configuration.Environments["staging"] = staging
	}), log: &logBuffer{}}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x.config = Config{
		Broker: x.Broker, Store: x.Store, Origin: brokertest.Origin, AccessKey: key, Now: x.Clock.Now,
		Log: slog.New(slog.NewJSONHandler(x.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&x.config)
	}
	x.agent = x.newAgent("claude", broker.AgentActive)
	x.Agent = broker.Caller{Kind: broker.CallerAgent, Name: "claude", Key: x.agent.key.Thumbprint}
	x.serve()
	return x
}

// serve makes the server anew on the same store, as a restart does.
func (x *site) serve() {
	x.Helper()
	x.Reopen()
	x.config.Broker, x.config.Metrics = x.Broker, nil
	server, err := New(x.config)
	if err != nil {
		x.Fatal(err)
	}
	x.server = server
}

// testAgent holds a private key.
type testAgent struct {
	*site
	name    string
	private ed25519.PrivateKey
	key     authn.AgentKey
}

func newKey(t testing.TB) (ed25519.PrivateKey, authn.AgentKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := authn.ParseAgentKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	return private, key
}

func (x *site) newAgent(name string, state broker.AgentState) *testAgent {
	x.Helper()
	private, key := newKey(x)
	a := &testAgent{site: x, name: name, private: private, key: key}
	x.save(&broker.Agent{Name: name, Owner: "alice", State: state, Key: key.JWK, Thumbprint: key.Thumbprint})
	return a
}

func (x *site) save(record broker.Record) {
	x.Helper()
	if err := x.Store.Update(x.Context(), func(tx broker.Tx) error { return tx.Save(record) }); err != nil {
		x.Fatal(err)
	}
}

// claims are those of a good assertion; change may spoil them.
func (a *testAgent) claims(change ...func(jwt.MapClaims)) jwt.MapClaims {
	now := a.Clock.Now()
	claims := jwt.MapClaims{
		"iss": a.name, "sub": a.name, "aud": brokertest.Origin + api.PathToken,
		"iat": now.Unix(), "exp": now.Add(30 * time.Second).Unix(), "jti": rand.Text(),
	}
	for _, c := range change {
		c(claims)
	}
	return claims
}

func (a *testAgent) sign(claims jwt.MapClaims, header map[string]any) string {
	a.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["typ"] = api.TypAssertion
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(a.private)
	if err != nil {
		a.Fatal(err)
	}
	return signed
}

func (a *testAgent) assertion(change ...func(jwt.MapClaims)) string {
	return a.sign(a.claims(change...), nil)
}

func tokenForm(assertion string) url.Values {
	return url.Values{"grant_type": {api.GrantClientCredentials}, "client_assertion_type": {api.AssertionTypeJWT}, "client_assertion": {assertion}}
}

// token gets an access token, or fails the test.
func (a *testAgent) token() string {
	a.Helper()
	answer := a.postForm(tokenForm(a.assertion()))
	var token struct {
		AccessToken string `json:"access_token"`
	}
	answer.want(http.StatusOK).decode(&token)
	return token.AccessToken
}

func (x *site) postForm(form url.Values) *answer {
	x.Helper()
	return x.do("POST", api.PathToken, form.Encode(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
}

// do sends one request over TLS from 192.0.2.1, JSON unless change says otherwise.
func (x *site) do(method, path, body string, change ...func(*http.Request)) *answer {
	x.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(x.Context(), method, brokertest.Origin+path, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	x.server.ServeHTTP(w, r)
	return &answer{ResponseRecorder: w, t: x, asked: method + " " + path}
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// signIn gives a human a session and what a browser would send with it.
func (x *site) signIn(human string) func(*http.Request) {
	x.Helper()
	x.save(&broker.Human{Name: human, Handle: []byte(human)})
	x.save(&broker.Passkey{ID: human + "-key", Human: human})
	cookie, err := x.server.sessions.Start(x.Context(), human, human+"-key")
	if err != nil {
		x.Fatal(err)
	}
	return func(r *http.Request) {
		r.AddCookie(cookie)
		r.Header.Set("Origin", brokertest.Origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
}

type answer struct {
	*httptest.ResponseRecorder
	t     testing.TB
	asked string
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.asked, a.Code, a.Body, status)
	}
	return a
}

func (a *answer) decode(into any) {
	a.t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), into); err != nil {
		a.t.Fatalf("%s: %v in %s", a.asked, err, a.Body)
	}
}

// wantProblem wants a problem of that code, with everything that one must have.
func (a *answer) wantProblem(code broker.Code) api.Problem {
	a.t.Helper()
	var p api.Problem
	if got := a.Header().Get("Content-Type"); got != "application/problem+json" {
		a.t.Fatalf("%s: got %d %s of type %s, want a problem", a.asked, a.Code, a.Body, got)
	}
	a.decode(&p)
	if p.Code != string(code) || p.Status != a.Code || p.Status != problems(code).status || p.Type != api.PathProblems+string(code) || p.Detail == "" || p.Title == "" || p.Instance == "" {
		a.t.Fatalf("%s: got %+v, want the code %s", a.asked, p, code)
	}
	return p
}

// wantTokenError wants an error of RFC 6749 section 5.2.
func (a *answer) wantTokenError(status int, code string) string {
	a.t.Helper()
	var e api.TokenError
	a.want(status).decode(&e)
	if e.Error != code || e.Description == "" {
		a.t.Fatalf("%s: got %+v, want %s", a.asked, e, code)
	}
	return e.Description
}

const wish = `{"task":"fix","environments":["staging"]}`

// submit asks for what the task gives in staging.
func (x *site) submit(token, body string, change ...func(*http.Request)) api.Request {
	x.Helper()
	var request api.Request
	x.do("POST", api.PathRequests, body, append(change, bearer(token))...).want(http.StatusCreated).decode(&request)
	return request
}

// targetKeys has a token issuer in staging alone.
func targetKeys(_ context.Context, environment string) (json.RawMessage, error) {
	if environment != "staging" {
		return nil, broker.Errorf(broker.CodeNotFound, "no token issuer in %s", environment)
	}
	return json.RawMessage(`{"keys":[]}`), nil
}
