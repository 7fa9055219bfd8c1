package service_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/examples/resource-server/service"
)

// The tokens here are put together by hand, byte for byte, so that no library's good manners stand
// between an attack and the service.

const (
	issuer   = "https://hourkey.example/t/staging"
	audience = "https://orders.example"
)

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

type parts = map[string]any

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func keySet(keys map[string]ed25519.PrivateKey) []byte {
	var members []string
	for kid, key := range keys {
		members = append(members, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":%q,"x":%q}`,
			kid, base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	}
	return []byte(`{"keys":[` + strings.Join(members, ",") + `]}`)
}

func header(change parts) parts {
	h := parts{"alg": "EdDSA", "typ": "at+jwt", "kid": "staging-1"}
	maps.Copy(h, change)
	return h
}

func claims(change parts) parts {
	c := parts{
		"iss": issuer, "aud": audience, "sub": "claude-code", "jti": "hk-i1-l1",
		"iat": noon().Unix(), "exp": noon().Add(5 * time.Minute).Unix(),
		"scope": "orders/*:read orders/*:write",
	}
	maps.Copy(c, change)
	for name, value := range c {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func sign(key ed25519.PrivateKey, h, c parts) string {
	input := encode(h) + "." + encode(c)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

func good(change parts) string { return sign(testKey("staging"), header(nil), claims(change)) }

func newServer(t *testing.T) *httptest.Server {
	t.Helper()
	keys := keySet(map[string]ed25519.PrivateKey{"staging-1": testKey("staging"), "staging-2": testKey("staging, second")})
	verifier, err := service.NewVerifier(issuer, audience, keys, noon)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.New(verifier))
	t.Cleanup(server.Close)
	return server
}

func call(t *testing.T, server *httptest.Server, token, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}

func TestForgedAndForeignTokensAreRefused(t *testing.T) {
	server := newServer(t)
	public := testKey("staging").Public().(ed25519.PublicKey)
	staging := testKey("staging")

	attacks := map[string]string{
		"no token":                 "",
		"not a token":              "x.y.z",
		"four parts":               good(nil) + ".x",
		"a token of 9 KiB":         good(parts{"padding": strings.Repeat("x", 9<<10)}),
		"alg none":                 encode(header(parts{"alg": "none"})) + "." + encode(claims(nil)) + ".",
		"alg None":                 encode(header(parts{"alg": "None"})) + "." + encode(claims(nil)) + ".",
		"alg none, signature kept": strings.Join([]string{encode(header(parts{"alg": "none"})), encode(claims(nil)), strings.Split(good(nil), ".")[2]}, "."),
		"alg missing":              sign(staging, parts{"typ": "at+jwt", "kid": "staging-1"}, claims(nil)),
		"alg a list":               sign(staging, header(parts{"alg": []string{"EdDSA"}}), claims(nil)),
		"HS256, public key as the secret": func() string {
			input := encode(header(parts{"alg": "HS256"})) + "." + encode(claims(nil))
			mac := hmac.New(sha256.New, public)
			mac.Write([]byte(input))
			return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}(),
		"alg ES256 named, EdDSA signed": sign(staging, header(parts{"alg": "ES256"}), claims(nil)),
		"typ JWT":                       sign(staging, header(parts{"typ": "JWT"}), claims(nil)),
		"typ of a client assertion":     sign(staging, header(parts{"typ": "client-authentication+jwt"}), claims(nil)),
		"typ missing":                   sign(staging, parts{"alg": "EdDSA", "kid": "staging-1"}, claims(nil)),
		"crit extension":                sign(staging, header(parts{"crit": []string{"b64"}, "b64": false}), claims(nil)),
		"kid unknown":                   sign(staging, header(parts{"kid": "production-1"}), claims(nil)),
		"kid missing":                   sign(staging, parts{"alg": "EdDSA", "typ": "at+jwt"}, claims(nil)),
		"kid empty":                     sign(staging, header(parts{"kid": ""}), claims(nil)),
		"kid a path":                    sign(staging, header(parts{"kid": "../../dev/null"}), claims(nil)),
		"kid confusion: another key of the issuer": sign(staging, header(parts{"kid": "staging-2"}), claims(nil)),
		"kid of staging, key of production":        sign(testKey("production"), header(nil), claims(nil)),
		"the token brings its own key": sign(testKey("thief"), header(parts{
			"jwk": parts{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(testKey("thief").Public().(ed25519.PublicKey))},
			"jku": "https://thief.example/jwks.json",
		}), claims(nil)),
		"iss of another environment":     good(parts{"iss": "https://hourkey.example/t/production"}),
		"iss with a slash more":          good(parts{"iss": issuer + "/"}),
		"iss missing":                    good(parts{"iss": nil}),
		"aud of another service":         good(parts{"aud": "https://payments.example"}),
		"aud a prefix of ours":           good(parts{"aud": "https://orders.exampl"}),
		"aud missing":                    good(parts{"aud": nil}),
		"aud an empty list":              good(parts{"aud": []string{}}),
		"exp now":                        good(parts{"exp": noon().Unix()}),
		"exp a second ago":               good(parts{"exp": noon().Unix() - 1}),
		"exp missing":                    good(parts{"exp": nil}),
		"exp a text":                     good(parts{"exp": "tomorrow"}),
		"nbf tomorrow":                   good(parts{"nbf": noon().Add(24 * time.Hour).Unix()}),
		"sub missing":                    good(parts{"sub": nil}),
		"jti missing":                    good(parts{"jti": nil}),
		"claims changed, signature kept": swapClaims(good(nil), claims(parts{"scope": "orders/*:delete"})),
		"signature cut":                  good(nil)[:len(good(nil))-4],
		"signature with a non-zero tail": nonCanonicalTail(good(nil)),
		"padding added to the base64":    good(nil) + "==",
		"a newline inside":               strings.Replace(good(nil), ".", ".\t", 1),
	}
	for name, token := range attacks {
		t.Run(name, func(t *testing.T) {
			status, answer := call(t, server, token, http.MethodGet, "/orders/42", "")
			if status != http.StatusUnauthorized {
				t.Errorf("status %d, want 401", status)
			}
			if token != "" && strings.Contains(answer, token) {
				t.Errorf("the answer repeats the token")
			}
		})
	}
	if status, _ := call(t, server, good(nil), http.MethodPut, "/orders/42", "paid"); status != http.StatusNoContent {
		t.Errorf("the good token: status %d, want 204; the attacks above prove nothing", status)
	}
}

func swapClaims(token string, c parts) string {
	three := strings.Split(token, ".")
	three[1] = encode(c)
	return strings.Join(three, ".")
}

// nonCanonicalTail changes the unused bits of the last base64 character: the same bytes, another text.
func nonCanonicalTail(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func TestATokenInTheQueryOrTwiceIsRefused(t *testing.T) {
	server := newServer(t)
	if status, _ := call(t, server, "", http.MethodGet, "/orders/42?access_token="+good(nil), ""); status != http.StatusUnauthorized {
		t.Errorf("in the query: status %d, want 401", status)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/orders/42", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header["Authorization"] = []string{"Bearer " + good(nil), "Bearer " + good(nil)}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("two headers: status %d, want 401", response.StatusCode)
	}
}

func TestScopeIsHeldByMethodAndPath(t *testing.T) {
	server := newServer(t)
	const (
		one    = "orders/42:read"
		folder = "orders/*:read orders/*:write"
	)
	for _, c := range []struct {
		name, scope, method, path string
		want                      int
	}{
		{"read what is there", folder, "GET", "/orders/1", 200},
		{"read what is not", folder, "GET", "/orders/absent", 404},
		{"write", folder, "PUT", "/orders/42", 204},
		{"list a folder that is covered whole", folder, "GET", "/orders/", 200},
		{"delete when it was given", "orders/*:delete", "DELETE", "/orders/2", 204},

		{"delete with read and write", folder, "DELETE", "/orders/1", 403},
		{"write with read", one, "PUT", "/orders/42", 403},
		{"read with write", "orders/*:write", "GET", "/orders/1", 403},
		{"another resource", folder, "GET", "/payments/1", 403},
		{"a name that begins like a literal", one, "GET", "/orders/421", 403},
		{"a folder with a literal", one, "GET", "/orders/", 403},
		{"a folder above the prefix", "orders/4*:read", "GET", "/orders/", 403},
		{"no scope", "", "GET", "/orders/1", 403},
		{"a scope without action", "orders/1", "GET", "/orders/1", 403},
		{"a scope of a bare action", ":read", "GET", "/orders/1", 403},
		{"the action as a prefix", "orders/*:re", "GET", "/orders/1", 403},
		{"POST that tunnels a DELETE", folder, "POST", "/orders/1", 405},
		{"PATCH", folder, "PATCH", "/orders/1", 405},
		{"OPTIONS", folder, "OPTIONS", "/orders/1", 405},
		{"an unknown method", folder, "DELETE2", "/orders/1", 405},
		{"the folder itself written", folder, "PUT", "/orders/", 400},
		{"the folder itself deleted", "orders/*:delete", "DELETE", "/orders/", 400},
		{"the root", "*:read", "GET", "/", 400},
		{"a star as a name", folder, "PUT", "/orders/*", 400},
		{"dots out of the folder", folder, "GET", "/orders/../payments/1", 400},
		{"dots, encoded", folder, "GET", "/orders/..%2fpayments/1", 400},
		{"dots, encoded whole", folder, "GET", "/orders/%2e%2e/payments/1", 400},
		{"two slashes", folder, "GET", "/orders//1", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"/orders/1", "/orders/2"} {
				if status, _ := call(t, server, good(nil), "PUT", name, "new"); status != http.StatusNoContent {
					t.Fatalf("making %s: status %d", name, status)
				}
			}
			token := good(parts{"scope": c.scope})
			if status, answer := call(t, server, token, c.method, c.path, "x"); status != c.want {
				t.Errorf("%s %s with %q: status %d (%s), want %d", c.method, c.path, c.scope, status, strings.TrimSpace(answer), c.want)
			}
		})
	}
}

func TestAnOverlongValueIsRefused(t *testing.T) {
	server := newServer(t)
	if status, _ := call(t, server, good(nil), http.MethodPut, "/orders/42", strings.Repeat("x", 65<<10)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", status)
	}
	if status, _ := call(t, server, good(nil), http.MethodGet, "/orders/42", ""); status != http.StatusNotFound {
		t.Errorf("after the refusal: status %d, want 404", status)
	}
}

func TestAServiceDoesNotStartWithoutItsPins(t *testing.T) {
	ours := keySet(map[string]ed25519.PrivateKey{"staging-1": testKey("staging")})
	for name, c := range map[string]struct {
		issuer, audience string
		keys             string
	}{
		"no issuer":       {"", audience, string(ours)},
		"no audience":     {issuer, "", string(ours)},
		"no JSON":         {issuer, audience, "<html>"},
		"no keys":         {issuer, audience, `{"keys":[]}`},
		"a symmetric key": {issuer, audience, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a","alg":"HS256"}]}`},
		"a short key":     {issuer, audience, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"a","x":"AAAA"}]}`},
		"no kid":          {issuer, audience, strings.Replace(string(ours), `"staging-1"`, `""`, 1)},
		"a kid twice":     {issuer, audience, strings.Replace(string(ours), `]}`, `,`+strings.TrimSuffix(strings.TrimPrefix(string(ours), `{"keys":[`), `]}`)+`]}`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := service.NewVerifier(c.issuer, c.audience, []byte(c.keys), noon); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := service.NewVerifier(issuer, audience, ours, noon); err != nil {
		t.Errorf("with all: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	verifier, err := service.NewVerifier(issuer, audience, keySet(map[string]ed25519.PrivateKey{"staging-1": testKey("staging")}), noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(header(parts{"alg": "none"})), encode(claims(nil)), "")
	f.Add(encode(header(nil)), encode(claims(parts{"scope": "*:admin"})), strings.Split(good(nil), ".")[2])
	f.Add(encode(header(parts{"kid": 7})), encode(claims(parts{"aud": []int{1}})), "AAAA")
	f.Fuzz(func(t *testing.T, h, c, signature string) {
		token := h + "." + c + "." + signature
		three := strings.Split(good(nil), ".")
		if _, err := verifier.Verify(token); err == nil && (h != three[0] || c != three[1]) {
			t.Errorf("accepted a token that nobody signed: %s", token)
		}
	})
}
