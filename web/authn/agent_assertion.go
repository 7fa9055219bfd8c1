package authn

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// The bounds of what an agent signs.
const (
	maxSigned  = 4096            // bytes of a compact JWS
	clockSkew  = 5 * time.Second // an agent's clock may be so much ahead of ours
	minTokenID = 16              // characters of a jti
	maxTokenID = 128
)

// signedHeader is all that the header of something an agent signed may hold: no jwk, jku, x5u or crit,
// with which the signer would choose the key or the rules.
type signedHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// assertionClaims are those of RFC 7523 section 3, and ClaimCodeHash for an enrolment proof.
type assertionClaims struct {
	jwt.RegisteredClaims
	CodeHash string `json:"code_sha256,omitempty"` // api.ClaimCodeHash
}

// peek reads an unverified text strictly. Only the name in it is used before the signature is verified,
// to find the key.
func peek(text, typ string) (claims assertionClaims, err error) {
	var header signedHeader
	parts := strings.Split(text, ".")
	if len(text) > maxSigned || len(parts) != 3 {
		return claims, badClient("it is not a compact JWS of at most 4096 bytes")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil || api.Strict(raw, &header) != nil {
		return claims, badClient("its header is not JSON with alg, typ and kid alone")
	}
	if header.Type != typ {
		return claims, badClient("its typ must be " + typ)
	}
	raw, err = base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || api.Unambiguous(raw) != nil || json.Unmarshal(raw, &claims) != nil {
		return claims, badClient("its claims are not JSON of the right types, each named once")
	}
	return claims, nil
}

// checkSigned verifies the signature by that one key and the claims that everything signed by an agent
// has: an audience that is one of ours, and a life that lies within the last minute.
func checkSigned(text string, key AgentKey, now time.Time, audiences ...string) (*assertionClaims, error) {
	claims := &assertionClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{key.Algorithm}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	if _, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key.Public, nil }); err != nil {
		return nil, badClient("it is not signed with " + key.Algorithm + " by the agent's key").Because(err)
	}
	if len(claims.Audience) != 1 || !slices.Contains(audiences, claims.Audience[0]) {
		return nil, badClient("its aud must be " + audiences[0] + " alone").WithNext("use the broker's own address, as it is in its configuration")
	}
	return claims, checkLife(claims, now)
}

// checkLife wants a life of at most a minute, begun within the last minute. A text that could be kept
// for later would have to be remembered for as long.
func checkLife(claims *assertionClaims, now time.Time) error {
	if claims.IssuedAt == nil || claims.ExpiresAt == nil {
		return badClient("it must have iat and exp")
	}
	issued, expires := claims.IssuedAt.Time, claims.ExpiresAt.Time
	switch {
	case issued.After(now.Add(clockSkew)), claims.NotBefore != nil && claims.NotBefore.After(now.Add(clockSkew)):
		return badClient("it is from the future").WithNext("set the agent's clock")
	case !now.Before(expires), now.Sub(issued) > api.AssertionLife:
		return badClient("it is older than its life, or than a minute").WithNext("make a new one for each call; if it was new, set the agent's clock")
	case expires.Sub(issued) > api.AssertionLife:
		return badClient("it would live longer than a minute")
	}
	return nil
}

// verify tells which agent made the assertion.
func (a *Agents) verify(ctx context.Context, text string) (*assertionClaims, broker.Agent, error) {
	claimed, err := peek(text, api.TypAssertion)
	if err != nil {
		return nil, broker.Agent{}, aboutAssertion(err)
	}
	if claimed.Issuer == "" || claimed.Issuer != claimed.Subject || !broker.IsAgentName(claimed.Subject) {
		return nil, broker.Agent{}, badClient("the assertion's iss and sub must both be the agent's name")
	}
	agent, key, err := a.keyOf(ctx, claimed.Subject)
	if err != nil {
		return nil, broker.Agent{}, err
	}
	var claims *assertionClaims
	a.turns.do(func() { claims, err = checkSigned(text, key, a.now(), a.origin, a.origin+api.PathToken) })
	if err != nil {
		return nil, broker.Agent{}, aboutAssertion(err)
	}
	if len(claims.ID) < minTokenID || len(claims.ID) > maxTokenID {
		return nil, broker.Agent{}, badClient("the assertion's jti must have 16 to 128 characters")
	}
	return claims, agent, nil
}

// keyOf gives the key of an agent. To somebody who has proved nothing, an agent without a key is one
// that is not known.
func (a *Agents) keyOf(ctx context.Context, name string) (broker.Agent, AgentKey, error) {
	agent, err := a.broker.Agent(ctx, name)
	if broker.CodeOf(err) == broker.CodeNotFound || err == nil && len(agent.Key) == 0 {
		return broker.Agent{}, AgentKey{}, badClient("no such agent is enrolled here").WithNext("run `hourkey enroll` with a one-time code from an operator")
	}
	if err != nil {
		return broker.Agent{}, AgentKey{}, err
	}
	key, err := ParseAgentKey(agent.Key)
	if err != nil {
		return broker.Agent{}, AgentKey{}, broker.Errorf(broker.CodeInternal, "the key of agent %s cannot be read", name).Because(err)
	}
	return agent, key, nil
}

func aboutAssertion(err error) error {
	return prefixed("the client assertion is refused: ", err)
}

func prefixed(prefix string, err error) error {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		e.Message = prefix + e.Message
	}
	return err
}

// proof is what an enrolment proof must say.
type proof struct{ name, audience, codeHash string }

func (p proof) verify(key AgentKey, text string, now time.Time) error {
	if _, err := peek(text, api.TypEnrollProof); err != nil {
		return aboutProof(err)
	}
	claims, err := checkSigned(text, key, now, p.audience)
	if err != nil {
		return aboutProof(err)
	}
	if claims.Subject != p.name || claims.CodeHash != p.codeHash {
		return aboutProof(badClient("it is not over this name and this code"))
	}
	return nil
}

func aboutProof(err error) error {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		e.Field = "proof"
	}
	return recoded(prefixed("the enrolment proof is refused: ", err), broker.CodeInvalid)
}
