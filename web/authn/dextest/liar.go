package dextest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const kid = "liar-1"

// Liar is a token issuer that can be honest and that a test can make lie. Hooks are set before it is asked.
type Liar struct {
	Issuer string
	Key    *rsa.PrivateKey

	Metadata func(map[string]any)                              // changes what it says of itself
	Mint     func(claims jwt.MapClaims) (token string)         // makes the ID token; nil: Sign
	Answer   func(fields map[string]any)                       // changes the token endpoint's answer
	OnPath   func(w http.ResponseWriter, r *http.Request) bool // takes a call over; true when it answered
	Close    func()

	t      testing.TB
	now    func() time.Time
	client Client

	mu    sync.Mutex
	codes map[string]grant // code → what it stands for
	asked map[string]int   // path → calls
}

// signingKey is every Liar's: making one takes longer than most tests.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

type grant struct {
	challenge, nonce string
	claims           map[string]any
}

// NewLiar runs one on loopback until the test ends. Its tokens are made at now.
func NewLiar(t testing.TB, client Client, now func() time.Time) *Liar {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	l := &Liar{t: t, Key: key, now: now, client: client, codes: map[string]grant{}, asked: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(l.serve))
	l.Issuer, l.Close = server.URL, server.Close
	t.Cleanup(server.Close)
	return l
}

// Asked tells how often a path was asked for.
func (l *Liar) Asked(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path]
}

func (l *Liar) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.asked[r.URL.Path]++
	l.mu.Unlock()
	if l.OnPath != nil && l.OnPath(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		says := map[string]any{
			"issuer": l.Issuer, "authorization_endpoint": l.Issuer + "/authorize", "token_endpoint": l.Issuer + "/token", "jwks_uri": l.Issuer + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}, "scopes_supported": []string{"openid", "email", "groups"},
		}
		if l.Metadata != nil {
			l.Metadata(says)
		}
		send(w, http.StatusOK, says)
	case "/keys":
		send(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
			"n": base64.RawURLEncoding.EncodeToString(l.Key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(l.Key.E)).Bytes()),
		}}})
	case "/token":
		l.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func send(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// Allow does what a token issuer does when its human agrees: it gives the address to send the browser back
// to, with a code that stands for these claims.
func (l *Liar) Allow(link string, claims map[string]any) (callback string) {
	l.t.Helper()
	at, err := url.Parse(link)
	if err != nil {
		l.t.Fatal(err)
	}
	q := at.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("client_id") != l.client.ID ||
		q.Get("redirect_uri") != l.client.Redirect || q.Get("state") == "" || q.Get("nonce") == "" {
		l.t.Fatalf("this is no authorization request with PKCE, state and nonce: %s", link)
	}
	code := rand.Text()
	l.mu.Lock()
	l.codes[code] = grant{q.Get("code_challenge"), q.Get("nonce"), claims}
	l.mu.Unlock()
	return l.client.Redirect + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

// token is the token endpoint: it checks the client, the code, and PKCE.
func (l *Liar) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	l.mu.Lock()
	given, known := l.codes[r.FormValue("code")]
	delete(l.codes, r.FormValue("code"))
	l.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case id != l.client.ID || secret != l.client.Secret:
		send(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "not with " + secret})
		return
	case !known || base64.RawURLEncoding.EncodeToString(sum[:]) != given.challenge || r.FormValue("redirect_uri") != l.client.Redirect:
		send(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := jwt.MapClaims{"iss": l.Issuer, "aud": l.client.ID, "nonce": given.nonce, "iat": l.now().Unix(), "exp": l.now().Add(5 * time.Minute).Unix()}
	for name, value := range given.claims {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	mint := l.Sign
	if l.Mint != nil {
		mint = l.Mint
	}
	fields := map[string]any{"access_token": "access-of-liar", "token_type": "Bearer", "expires_in": 300, "id_token": mint(claims)}
	if l.Answer != nil {
		l.Answer(fields)
	}
	send(w, http.StatusOK, fields)
}

// Sign signs claims as an honest token issuer does.
func (l *Liar) Sign(claims jwt.MapClaims) string {
	return l.SignWith(jwt.SigningMethodRS256, l.Key, claims, nil)
}

// SignWith signs claims by any method and key, with more in the header.
func (l *Liar) SignWith(method jwt.SigningMethod, key any, claims jwt.MapClaims, header map[string]any) string {
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(key)
	if err != nil {
		l.t.Errorf("signing: %v", err)
	}
	return signed
}
