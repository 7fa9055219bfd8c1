// Package authn finds out who is calling: agents by their keys (private_key_jwt and our own access
// tokens), humans by their passkeys and sessions.
//
// It owns: the checks of RFC 7523, RFC 9068 and WebAuthn level 3, the memory of used assertions, and
// sessions. It keeps them through broker.Store.
//
// It does not know: what a caller may do (web and broker decide that), nor any page or route.
//
// It trusts: golang-jwt and go-webauthn to check signatures, and neither to remember what was used.
package authn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// CodeGrantType is the one refusal of the token endpoint that the broker has no code for.
const CodeGrantType broker.Code = "unsupported_grant_type"

// AgentsConfig is what Agents depends on; all of it is required.
type AgentsConfig struct {
	Broker *broker.Broker
	Store  broker.Store       // remembers assertions that were used
	Origin string             // of the broker: the issuer of access tokens
	Key    ed25519.PrivateKey // signs access tokens
	Now    func() time.Time
}

// Agents tells which agent is calling. An agent proves its key once (an assertion, at the token
// endpoint), gets an access token for ten minutes, and shows that. Whether the agent may still do
// anything is asked of the broker at every call.
type Agents struct {
	broker *broker.Broker
	store  broker.Store
	origin string
	now    func() time.Time
	tokens *accessTokens
	turns  turns
}

// NewAgents makes the authentication of agents.
func NewAgents(config AgentsConfig) (*Agents, error) {
	if config.Broker == nil || config.Store == nil || config.Now == nil || config.Origin == "" || len(config.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("authn: AgentsConfig wants Broker, Store, Origin, Key and Now")
	}
	return &Agents{
		broker: config.Broker, store: config.Store, origin: config.Origin, now: config.Now,
		tokens: newAccessTokens(config.Origin, config.Key, config.Now), turns: newTurns(),
	}, nil
}

// Proven is an agent that has proved to hold its key, by an assertion that is not yet used up.
type Proven struct {
	Caller broker.Caller
	claims *assertionClaims
}

// Prove verifies a token request (RFC 6749 section 4.4 with RFC 7523 section 2.2). It writes nothing.
// An agent that may not call all the same is refused in clear words, but only after it has proved who
// it is.
func (a *Agents) Prove(ctx context.Context, form url.Values) (Proven, error) {
	assertion, err := assertionOf(form)
	if err != nil {
		return Proven{}, err
	}
	claims, agent, err := a.verify(ctx, assertion)
	if err != nil {
		return Proven{}, err
	}
	if id := form.Get("client_id"); id != "" && id != agent.Name {
		return Proven{}, badClient("client_id is not the subject of the assertion")
	}
	caller := broker.Caller{Kind: broker.CallerAgent, Name: agent.Name, Key: agent.Thumbprint}
	return Proven{caller, claims}, a.mayCall(ctx, agent)
}

// Grant uses the assertion up, durably, and gives an access token (RFC 9068) for TokenLife.
func (a *Agents) Grant(ctx context.Context, proven Proven) (token string, err error) {
	if err := a.remember(ctx, proven.Caller.Name, proven.claims); err != nil {
		return "", err
	}
	return a.tokens.issue(proven.Caller)
}

func assertionOf(form url.Values) (string, error) {
	for name, values := range form {
		if len(values) != 1 { // RFC 6749 section 3.2
			return "", broker.Errorf(broker.CodeInvalid, "the parameter %.40q is given more than once", name).WithField("form")
		}
	}
	if grant := form.Get("grant_type"); grant != api.GrantClientCredentials {
		return "", broker.Errorf(CodeGrantType, "grant_type must be %s", api.GrantClientCredentials).WithField("grant_type")
	}
	if form.Has("client_secret") || form.Get("client_assertion_type") != api.AssertionTypeJWT {
		return "", badClient("agents authenticate with private_key_jwt alone: client_assertion_type must be " + api.AssertionTypeJWT)
	}
	return form.Get("client_assertion"), nil
}

// mayCall refuses, in clear words, an agent that has proved its key and may not call all the same.
func (a *Agents) mayCall(ctx context.Context, agent broker.Agent) error {
	if err := active(agent); err != nil {
		return err
	}
	freezes, err := a.broker.Freezes(ctx)
	if err != nil {
		return err
	}
	for _, freeze := range freezes {
		if freeze.Of == broker.FreezeAll || freeze.Of == broker.FreezeAgent && freeze.Name == agent.Name {
			return broker.Errorf(broker.CodeFrozen, "a freeze of %s is in force", freeze.ID()).WithNext("wait until an operator lifts it")
		}
	}
	return nil
}

func active(agent broker.Agent) error {
	switch agent.State {
	case broker.AgentActive:
		return nil
	case broker.AgentInert:
		return broker.Errorf(broker.CodeForbidden, "agent %s has a key that its owner %s has not signed yet", agent.Name, agent.Owner).
			WithNext("ask %s to compare the key %s on the approval page and sign it", agent.Owner, agent.Thumbprint)
	case broker.AgentRemoved:
		return broker.Errorf(broker.CodeForbidden, "agent %s was removed", agent.Name).WithNext("ask an operator for a new enrolment")
	case broker.AgentInvited:
		return broker.Errorf(broker.CodeForbidden, "agent %s has not enrolled a key yet", agent.Name).WithNext("run `hourkey enroll` with the one-time code")
	}
	return broker.Errorf(broker.CodeForbidden, "agent %s is in an unknown state", agent.Name)
}

// Known tells the caller of a token that was verified before, at the cost of a hash. ok is false when
// it must be verified by Authenticate.
func (a *Agents) Known(bearer string) (caller broker.Caller, ok bool) { return a.tokens.known(bearer) }

// Authenticate verifies an access token. It says nothing about the agent's state: see Check.
func (a *Agents) Authenticate(bearer string) (caller broker.Caller, err error) {
	a.turns.do(func() { caller, err = a.tokens.verify(bearer) })
	return caller, err
}

// Check refuses a caller whose agent was removed, or has another key, since the token was issued.
func (a *Agents) Check(ctx context.Context, caller broker.Caller) error {
	agent, err := a.broker.Agent(ctx, caller.Name)
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		return broker.Errorf(broker.CodeUnauthenticated, "agent %s is not known", caller.Name)
	case err != nil:
		return err
	case agent.State != broker.AgentActive:
		return recoded(active(agent), broker.CodeUnauthenticated)
	case agent.Thumbprint != caller.Key:
		return broker.Errorf(broker.CodeUnauthenticated, "agent %s has another key since this token was issued", caller.Name).
			WithNext("authenticate again with the present key")
	}
	return nil
}

// Enrol gives an invited agent its key after it has proved to hold it: else whoever saw a code could
// bind somebody else's public key to it.
func (a *Agents) Enrol(ctx context.Context, wish api.EnrollRequest) (broker.Agent, error) {
	if !broker.IsAgentName(wish.Name) {
		return broker.Agent{}, broker.Errorf(broker.CodeInvalid, "the name is not an agent's").WithField("name")
	}
	if wish.Code == "" {
		return broker.Agent{}, broker.Errorf(broker.CodeInvalid, "the one-time code is missing").WithField("code")
	}
	key, err := ParseAgentKey(wish.JWK)
	if err != nil {
		return broker.Agent{}, err
	}
	sum := sha256.Sum256([]byte(wish.Code))
	text := proof{name: wish.Name, audience: a.origin + api.PathAgentsEnroll, codeHash: base64.RawURLEncoding.EncodeToString(sum[:])}
	if err := text.verify(key, wish.Proof, a.now()); err != nil {
		return broker.Agent{}, err
	}
	return a.broker.EnrolAgent(ctx, wish.Name, broker.NewSecret(wish.Code), key.JWK, key.Thumbprint)
}

// recoded is err under another code: to whoever shows an old token, all of it means "authenticate".
func recoded(err error, code broker.Code) error {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		e.Code = code
	}
	return err
}

func badClient(problem string) *broker.Error {
	return broker.Errorf(broker.CodeUnauthenticated, "%s", problem)
}

// newTokenID is the jti of an access token.
func newTokenID() string { return rand.Text() }
