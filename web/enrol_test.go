package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/api"
)

// proofClaims are those of a good proof over the code.
func (a *testAgent) proofClaims(code string) jwt.MapClaims {
	sum := sha256.Sum256([]byte(code))
	now := a.Clock.Now()
	return jwt.MapClaims{
		"sub": a.name, "aud": brokertest.Origin + api.PathAgentsEnroll, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		api.ClaimCodeHash: base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

var typProof = map[string]any{"typ": api.TypEnrollProof}

// TestEnrolmentRefused: a code alone, or a key that is not the caller's, enrols nobody; and the code is
// not used up by trying.
func TestEnrolmentRefused(t *testing.T) {
	x := newSite(t)
	private, key := newKey(t)
	a := &testAgent{site: x, name: "new/comer", private: private, key: key}
	secret, err := x.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, a.name, "alice")
	if err != nil {
		t.Fatal(err)
	}
	code := secret.Reveal()
	spoilt := func(name string, value any) string {
		claims := a.proofClaims(code)
		claims[name] = value
		return a.sign(claims, typProof)
	}
	good := a.sign(a.proofClaims(code), typProof)
	other := x.newAgent("other", broker.AgentActive)
	other.name = a.name
	now := x.Clock.Now()
	hidden := strings.TrimSuffix(string(key.JWK), "}") + `,"d":"AAAA"}`
	for name, c := range map[string]struct {
		agent, code string
		jwk         string
		proof       string
		want        broker.Code
	}{
		"no proof":                  {a.name, code, string(key.JWK), "", broker.CodeInvalid},
		"proof by another key":      {a.name, code, string(key.JWK), other.sign(other.proofClaims(code), typProof), broker.CodeInvalid},
		"somebody else's key":       {a.name, code, string(other.key.JWK), good, broker.CodeInvalid},
		"proof over another code":   {a.name, code, string(key.JWK), a.sign(a.proofClaims("other"), typProof), broker.CodeInvalid},
		"proof for another server":  {a.name, code, string(key.JWK), spoilt("aud", "https://other.example/v1/agents/enroll"), broker.CodeInvalid},
		"proof for the token":       {a.name, code, string(key.JWK), spoilt("aud", brokertest.Origin+api.PathToken), broker.CodeInvalid},
		"proof for another name":    {a.name, code, string(key.JWK), spoilt("sub", "claude"), broker.CodeInvalid},
		"old proof":                 {a.name, code, string(key.JWK), spoilt("iat", now.Add(-2*time.Minute).Unix()), broker.CodeInvalid},
		"an assertion as proof":     {a.name, code, string(key.JWK), a.assertion(), broker.CodeInvalid},
		"wrong code":                {a.name, "guess", string(key.JWK), a.sign(a.proofClaims("guess"), typProof), broker.CodeForbidden},
		"no code":                   {a.name, "", string(key.JWK), good, broker.CodeInvalid},
		"another agent's name":      {"claude", code, string(key.JWK), a.sign(jwtWith(a.proofClaims(code), "sub", "claude"), typProof), broker.CodeForbidden},
		"a name that is none":       {"../x", code, string(key.JWK), good, broker.CodeInvalid},
		"a private key":             {a.name, code, hidden, good, broker.CodeInvalid},
		"a symmetric key":           {a.name, code, `{"kty":"oct","k":"AAAA"}`, good, broker.CodeInvalid},
		"RSA":                       {a.name, code, `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, good, broker.CodeInvalid},
		"a point off the curve":     {a.name, code, `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`, good, broker.CodeInvalid},
		"a key for encryption":      {a.name, code, strings.TrimSuffix(string(key.JWK), "}") + `,"use":"enc"}`, good, broker.CodeInvalid},
		"coordinate in other bytes": {a.name, code, strings.Replace(string(key.JWK), `"x":"`, `"x":"=`, 1), good, broker.CodeInvalid},
		"no key":                    {a.name, code, `null`, good, broker.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			p := x.do("POST", api.PathAgentsEnroll, enrolment(c.agent, c.code, c.jwk, c.proof)).wantProblem(c.want)
			if text := fmt.Sprint(p) + x.log.String(); strings.Contains(text, code) {
				t.Error("the code is in an answer or in the log")
			}
		})
	}
	x.do("POST", api.PathAgentsEnroll, enrolment(a.name, code, string(key.JWK), good)).want(http.StatusCreated)
	x.do("POST", api.PathAgentsEnroll, enrolment(a.name, code, string(key.JWK), good)).wantProblem(broker.CodeForbidden) // once
}

func jwtWith(claims jwt.MapClaims, name string, value any) jwt.MapClaims {
	claims[name] = value
	return claims
}

func enrolment(name, code, jwk, proof string) string {
	raw, err := json.Marshal(api.EnrollRequest{Name: name, Code: code, JWK: json.RawMessage(jwk), Proof: proof})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// TestCodesAreGuessedSlowly: guesses are counted before anything is looked up.
func TestCodesAreGuessedSlowly(t *testing.T) {
	x := newSite(t, func(c *Config) { c.Limits.StrangerBurst = 5 })
	_, key := newKey(t)
	body := enrolment("claude", "guess", string(key.JWK), "x")
	for range 5 {
		x.do("POST", api.PathAgentsEnroll, body).wantProblem(broker.CodeInvalid)
	}
	asked := x.do("POST", api.PathAgentsEnroll, body)
	asked.wantProblem(broker.CodeSlowDown)
	if asked.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", asked.Header().Get("Retry-After"))
	}
}
