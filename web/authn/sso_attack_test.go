package authn

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/dextest"
)

// Each is a token that the token endpoint gives, and that must let nobody in.
func TestATokenThatWasNotMadeForThisSignOnIsRefused(t *testing.T) {
	b := newSignOnBed(t)
	stolen, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&b.liar.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	spoilt := func(name string, value any) func(jwt.MapClaims) string {
		return func(claims jwt.MapClaims) string {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
			return b.liar.Sign(claims)
		}
	}
	with := func(method jwt.SigningMethod, key any, header map[string]any) func(jwt.MapClaims) string {
		return func(claims jwt.MapClaims) string { return b.liar.SignWith(method, key, claims, header) }
	}
	for name, mint := range map[string]func(jwt.MapClaims) string{
		"for another audience":              spoilt("aud", "wiki"),
		"for nobody":                        spoilt("aud", nil),
		"for two, and given to nobody":      spoilt("aud", []string{"hourkey", "wiki"}),
		"given to another":                  spoilt("azp", "wiki"),
		"given to a number":                 spoilt("azp", 7),
		"with another nonce":                spoilt("nonce", "another"),
		"without nonce":                     spoilt("nonce", nil),
		"without expiry":                    spoilt("exp", nil),
		"expired":                           spoilt("exp", b.now.Add(-time.Second).Unix()),
		"not valid yet":                     spoilt("nbf", b.now.Add(time.Hour).Unix()),
		"of the future":                     spoilt("iat", b.now.Add(time.Hour).Unix()),
		"of another issuer":                 spoilt("iss", "https://evil.test"),
		"of an issuer with a slash":         spoilt("iss", b.liar.Issuer+"/"),
		"about nobody":                      spoilt("sub", nil),
		"about a book":                      spoilt("sub", strings.Repeat("s", 256)),
		"beside another access token":       spoilt("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"signed by nobody":                  with(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"HS256 with the public key (PEM)":   with(jwt.SigningMethodHS256, inPEM, nil),
		"HS256 with the public key (DER)":   with(jwt.SigningMethodHS256, public, nil),
		"HS256 with our own secret":         with(jwt.SigningMethodHS256, []byte(clientSecret), nil),
		"signed by another key":             with(jwt.SigningMethodRS256, stolen, nil),
		"signed by a key of another name":   with(jwt.SigningMethodRS256, stolen, map[string]any{"kid": "mine"}),
		"signed by a key that it brings":    with(jwt.SigningMethodRS256, stolen, map[string]any{"jwk": publicJWK(stolen), "kid": ""}),
		"signed by a key that it points to": with(jwt.SigningMethodRS256, stolen, map[string]any{"jku": "https://evil.test/keys"}),
		"no token":                          func(jwt.MapClaims) string { return "" },
		"no JWT":                            func(jwt.MapClaims) string { return "a.b.c" },
		"a book": func(claims jwt.MapClaims) string {
			claims["story"] = strings.Repeat("once upon a time ", 6000)
			return b.liar.Sign(claims)
		},
		"its signature cut off": func(claims jwt.MapClaims) string {
			text := b.liar.Sign(claims)
			return text[:strings.LastIndex(text, ".")+1]
		},
		"with other claims than were signed": func(claims jwt.MapClaims) string {
			honest := strings.Split(b.liar.Sign(claims), ".")
			claims["sub"] = "0002"
			return strings.Join([]string{honest[0], strings.Split(b.liar.Sign(claims), ".")[1], honest[2]}, ".")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.liar.Mint = mint
			_, err := b.signOn(SignOn{}, alice())
			b.refused(err, broker.CodeForbidden, "ID token was refused")
		})
	}
	b.liar.Mint = spoilt("azp", "hourkey")
	if _, err := b.signOn(SignOn{}, alice()); err != nil {
		t.Fatalf("an honest token is refused: %v", err)
	}
}

func publicJWK(key *rsa.PrivateKey) map[string]string {
	text := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "RSA", "n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}
}

func TestAnUnverifiedEmailNamesNobody(t *testing.T) {
	b := newSignOnBed(t)
	for _, verified := range []any{false, nil, "true", 1, "yes", []bool{true}} {
		t.Run(fmt.Sprint(verified), func(t *testing.T) {
			_, err := b.signOn(SignOn{}, alice("email_verified", verified))
			b.refused(err, broker.CodeForbidden, "has not verified your e-mail address")
		})
	}
	b = newSignOnBed(t, func(s *SignOnSettings) { s.NameClaim = "preferred_username" })
	got, err := b.signOn(SignOn{}, alice("preferred_username", "bob", "email_verified", false))
	if err != nil || got.Account.Email != "" {
		t.Fatalf("an address that is not verified is told as one that is: %q, %v", got.Account.Email, err)
	}
}

// Login CSRF: who began a sign-on has somebody else's browser finish it.
func TestASignOnIsFinishedByTheBrowserThatBeganIt(t *testing.T) {
	b := newSignOnBed(t)
	for name, cookie := range map[string]func(own *http.Cookie) *http.Cookie{
		"without cookie":   func(*http.Cookie) *http.Cookie { return nil },
		"an empty cookie":  func(own *http.Cookie) *http.Cookie { return &http.Cookie{Name: own.Name} },
		"a made up cookie": func(own *http.Cookie) *http.Cookie { return &http.Cookie{Name: own.Name, Value: newToken()} },
		"cookie of a session": func(own *http.Cookie) *http.Cookie {
			return &http.Cookie{Name: "__Host-hourkey-session", Value: own.Value}
		},
		"another browser's": func(*http.Cookie) *http.Cookie {
			_, cookie := b.begin(SignOn{})
			return cookie
		},
	} {
		t.Run(name, func(t *testing.T) {
			link, own := b.begin(SignOn{})
			callback, asked := b.liar.Allow(link, alice()), b.liar.Asked("/token")
			_, err := b.finish(callback, cookie(own))
			b.refused(err, broker.CodeForbidden, "another browser")
			if b.liar.Asked("/token") != asked {
				t.Error("a code was sent to the token issuer")
			}
			if _, err = b.finish(callback, own); err != nil { // whoever saw the link takes nothing from its browser
				t.Error(err)
			}
		})
	}
}

// The attack: a browser makes a sign-on up, or changes what was sealed into its cookie: another session to end, another
// place to go on to, another verifier.
func TestASignOnThatWasMadeUpOrChangedIsRefused(t *testing.T) {
	b, other := newSignOnBed(t), newSignOnBed(t)
	link, own := b.begin(SignOn{Next: "/requests/x"})
	callback := b.liar.Allow(link, alice())
	raw, err := base64.RawURLEncoding.DecodeString(own.Value)
	if err != nil || strings.Contains(string(raw), "requests") {
		t.Fatalf("the cookie can be read: %q %v", raw, err)
	}
	for at := range raw {
		changed := bytes.Clone(raw)
		changed[at] ^= 1
		_, err := b.finish(callback, &http.Cookie{Name: own.Name, Value: base64.RawURLEncoding.EncodeToString(changed)})
		b.refused(err, broker.CodeForbidden, "another browser")
	}
	for name, value := range map[string]string{"cut": own.Value[:40], "padded": own.Value + "AAAA", "very long": strings.Repeat("A", 1<<16), "in the clear": `{"state":"x"}`} {
		t.Log(name)
		_, err := b.finish(callback, &http.Cookie{Name: own.Name, Value: value})
		b.refused(err, broker.CodeForbidden, "another browser")
	}
	_, err = other.finish(callback, own) // sealed by another process, or before a restart
	b.refused(err, broker.CodeForbidden, "another browser")
	if _, err := b.finish(callback, own); err != nil {
		t.Fatal(err)
	}
}

func TestACodeIsTakenOnce(t *testing.T) {
	b := newSignOnBed(t)
	link, cookie := b.begin(SignOn{})
	callback := b.liar.Allow(link, alice())
	if _, err := b.finish(callback, cookie); err != nil {
		t.Fatal(err)
	}
	_, err := b.finish(callback, cookie)
	b.refused(err, broker.CodeExpired, "not known here")

	other, second := b.begin(SignOn{}) // a code of one flow in the answer of another: PKCE
	replayed, _ := url.Parse(b.liar.Allow(link, alice()))
	mine, _ := url.Parse(b.liar.Allow(other, alice()))
	q := mine.Query()
	q.Set("code", replayed.Query().Get("code"))
	_, err = b.finish(signOnOrigin+PathSignOnCallback+"?"+q.Encode(), second)
	b.refused(err, broker.CodeForbidden, "did not take its own code")
}

func TestASignOnThatTookTooLongIsOver(t *testing.T) {
	b := newSignOnBed(t)
	link, cookie := b.begin(SignOn{})
	b.now = b.now.Add(flowFor)
	_, err := b.finish(b.liar.Allow(link, alice()), cookie)
	b.refused(err, broker.CodeExpired, "too long")
}

// A mix-up: the answer of one token issuer is brought to a flow of another (RFC 9700, section 4.4).
func TestAnAnswerOfAnotherTokenIssuerIsRefused(t *testing.T) {
	b := newSignOnBed(t)
	for _, iss := range []string{"https://evil.test", b.liar.Issuer + "/", strings.ToUpper(b.liar.Issuer)} {
		link, cookie := b.begin(SignOn{})
		_, err := b.finish(b.liar.Allow(link, alice())+"&iss="+url.QueryEscape(iss), cookie)
		b.refused(err, broker.CodeForbidden, "not from the token issuer that was asked")
	}
	link, cookie := b.begin(SignOn{})
	if _, err := b.finish(b.liar.Allow(link, alice())+"&iss="+url.QueryEscape(b.liar.Issuer), cookie); err != nil {
		t.Fatal(err)
	}

	announced := newSignOnBed(t)
	announced.liar.Metadata = func(says map[string]any) { says["authorization_response_iss_parameter_supported"] = true }
	_, err := announced.signOn(SignOn{}, alice())
	announced.refused(err, broker.CodeForbidden, "not from the token issuer that was asked")

	link, cookie = b.begin(SignOn{})
	callback := b.liar.Allow(link, alice())
	elsewhere := dextest.NewLiar(t, dextest.Client{ID: "hourkey", Secret: clientSecret, Redirect: signOnOrigin + PathSignOnCallback}, func() time.Time { return b.now })
	settings := b.settings
	settings.Issuer = elsewhere.Issuer
	if err := b.sso.Use(&settings); err != nil {
		t.Fatal(err)
	}
	_, err = b.finish(callback, cookie)
	b.refused(err, broker.CodeExpired, "the configuration of single sign-on changed")
	if elsewhere.Asked("/token") != 0 {
		t.Error("the code of one token issuer was sent to another")
	}
}

func TestAnswersWithoutAUsableCode(t *testing.T) {
	b := newSignOnBed(t)
	for query, want := range map[string]struct {
		code  broker.Code
		words string
	}{
		"error=access_denied":                                      {broker.CodeForbidden, "did not let you in"},
		"error=login_required":                                     {broker.CodeForbidden, "wants something of you"},
		"error=server_error":                                       {broker.CodeUnavailable, "does not work now"},
		"error=" + url.QueryEscape("<b>call 555 now</b>"):          {broker.CodeForbidden, "refused what was asked"},
		"error=x&error_description=" + url.QueryEscape("call 555"): {broker.CodeForbidden, "refused what was asked"},
		"":                                    {broker.CodeInvalid, "no code"},
		"code=" + strings.Repeat("c", 4097):   {broker.CodeInvalid, "no code"},
		"code=a&code=b":                       {broker.CodeInvalid, "code twice"},
		"code=a&state=b":                      {broker.CodeInvalid, "state twice"},
		"code=a&iss=b&iss=c":                  {broker.CodeInvalid, "iss twice"},
		"code=a;b":                            {broker.CodeInvalid, "cannot be read"},
		"error=access_denied&iss=https://e.x": {broker.CodeForbidden, "not from the token issuer"},
	} {
		t.Run(query[:min(len(query), 40)], func(t *testing.T) {
			link, cookie := b.begin(SignOn{})
			at, _ := url.Parse(link)
			_, err := b.finish(signOnOrigin+PathSignOnCallback+"?state="+at.Query().Get("state")+"&"+query, cookie)
			b.refused(err, want.code, want.words)
			if strings.Contains(err.Error(), "555") {
				t.Errorf("words out of the URL are repeated: %v", err)
			}
		})
	}
	_, err := b.finish(signOnOrigin+PathSignOnCallback, nil)
	b.refused(err, broker.CodeExpired, "not known here")
}

// Strangers begin, from as many addresses as they like, and never come back: that took the places of what others began.
func TestStrangersDoNotPushOutASignOnUnderWay(t *testing.T) {
	b := newSignOnBed(t)
	link, cookie := b.begin(SignOn{})
	callback := b.liar.Allow(link, alice())
	for range 20_000 {
		if _, _, err := b.sso.Begin(t.Context(), SignOn{}); err != nil {
			t.Fatal(err)
		}
	}
	if kept := len(b.sso.flows.spent.young.used); kept != 0 {
		t.Errorf("%d sign-ons that merely wait are kept", kept)
	}
	if _, err := b.finish(callback, cookie); err != nil {
		t.Fatalf("the honest one was pushed out: %v", err)
	}
	if got := b.liar.Asked("/.well-known/openid-configuration"); got != 1 {
		t.Errorf("the token issuer was asked %d times about itself", got)
	}
}
