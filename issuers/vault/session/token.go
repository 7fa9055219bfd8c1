package session

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

const (
	leastLife  = 10 * time.Second // a token that has less than this is not used for a call that begins now
	retryAfter = 10 * time.Second // a renewal that a timer began and that failed
)

// token is the session's own, and when something must be done about it.
type token struct {
	value     string
	renewable bool
	life      time.Duration // as it was given or last renewed
	renewAt   time.Time
	expires   time.Time
}

// token gives a token that lives: the held one, renewed or replaced when two thirds of its time are over.
func (s *Session) token(ctx context.Context) (token, error) {
	if held := s.holds(); s.config.Now().Before(held.renewAt) {
		return held, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return token{}, ctx.Err()
	}
	defer func() { <-s.turn }()
	held := s.holds()
	if s.config.Now().Before(held.renewAt) {
		return held, nil // somebody else was quicker
	}
	fresh, err := s.fresh(ctx, held)
	if err == nil {
		s.keep(fresh)
		return fresh, nil
	}
	if s.config.Now().Add(leastLife).Before(held.expires) {
		return held, nil // Vault will be asked again at the next call
	}
	return token{}, err
}

// fresh renews a token, or logs in. A renewal that gives much less than the token once had means that its longest life
// comes to an end: then another login is made, in time.
func (s *Session) fresh(ctx context.Context, held token) (token, error) {
	byHand := s.config.Settings.Login.Token != ""
	if held.value != "" && held.renewable && s.config.Now().Before(held.expires) {
		renewed, err := s.renew(ctx, held)
		if err == nil && (byHand || renewed.life > held.life/2) {
			return renewed, nil
		}
		if err != nil && StatusOf(err) != http.StatusForbidden && StatusOf(err) != http.StatusBadRequest {
			return token{}, err // Vault did not say no: it could not be asked
		}
	}
	secret, err := s.config.Resolve("login", s.config.Settings.Login.secret())
	if err != nil {
		return token{}, err
	}
	var gave token
	if byHand {
		gave, err = s.inspect(ctx, secret)
	} else {
		gave, err = s.logIn(ctx, secret)
	}
	if err != nil {
		return token{}, s.fault("logging in", err, secret.Reveal())
	}
	return gave, s.admit(ctx, gave)
}

// logIn gets a token by the configured method.
func (s *Session) logIn(ctx context.Context, secret broker.Secret) (token, error) {
	path, body := s.config.Settings.Login.request(secret)
	answer, err := filled(s.as("").WriteWithContext(ctx, path, body))
	if err != nil {
		return token{}, err
	}
	if answer.Auth == nil || answer.Auth.ClientToken == "" {
		return token{}, &api.ResponseError{StatusCode: http.StatusBadGateway, Errors: []string{"the login was answered without a token"}}
	}
	return s.counted(answer.Auth), refuseRoot(answer.Auth.TokenPolicies, answer.Auth.Policies, answer.Auth.IdentityPolicies)
}

// request is the login's path and body.
func (l Login) request(secret broker.Secret) (path string, body map[string]any) {
	switch {
	case l.AppRole.RoleID != "":
		return "auth/" + cmp.Or(l.AppRole.Mount, "approle") + "/login", map[string]any{"role_id": l.AppRole.RoleID, "secret_id": secret.Reveal()}
	case l.Kubernetes.Role != "":
		return "auth/" + cmp.Or(l.Kubernetes.Mount, "kubernetes") + "/login", map[string]any{"role": l.Kubernetes.Role, "jwt": secret.Reveal()}
	default:
		return "auth/" + cmp.Or(l.JWT.Mount, "jwt") + "/login", map[string]any{"role": l.JWT.Role, "jwt": secret.Reveal()}
	}
}

// inspect asks what a token made by hand is.
func (s *Session) inspect(ctx context.Context, secret broker.Secret) (token, error) {
	answer, err := s.Ask(ctx, secret, "auth/token/lookup-self", nil)
	if err != nil {
		return token{}, err
	}
	renewable, _ := answer.Data["renewable"].(bool)
	gave := s.counted(&api.SecretAuth{ClientToken: secret.Reveal(), Renewable: renewable, LeaseDuration: int(Number(answer.Data["ttl"]))})
	return gave, refuseRoot(Texts(answer.Data["policies"]), Texts(answer.Data["identity_policies"]))
}

// renew asks for more time for the held token.
func (s *Session) renew(ctx context.Context, held token) (token, error) {
	answer, err := filled(s.as(held.value).WriteWithContext(ctx, "auth/token/renew-self", map[string]any{}))
	if err != nil {
		return token{}, err
	}
	if answer.Auth == nil {
		return token{}, &api.ResponseError{StatusCode: http.StatusBadGateway, Errors: []string{"the renewal was answered without a token"}}
	}
	answer.Auth.ClientToken = held.value
	return s.counted(answer.Auth), nil
}

// counted computes when a token must be renewed.
func (s *Session) counted(auth *api.SecretAuth) token {
	now, life := s.config.Now(), time.Duration(auth.LeaseDuration)*time.Second
	return token{value: auth.ClientToken, renewable: auth.Renewable, life: life, renewAt: now.Add(life * 2 / 3), expires: now.Add(life)}
}

// almighty are paths at which nobody may write who is not in effect root: who writes policies, or the roles of
// tokens, gives itself whatever it likes.
func almighty() []string {
	return []string{"sys/policies/acl/hourkey-probe", "auth/token/roles/hourkey-probe", "sys/auth/hourkey-probe", "sys/raw/hourkey-probe"}
}

// admit refuses a token that could do everything: whoever came by it would need no broker.
func (s *Session) admit(ctx context.Context, gave token) error {
	can, err := s.capabilities(ctx, gave.value, almighty())
	if StatusOf(err) == http.StatusForbidden {
		return broker.Errorf(broker.CodeWall, "the broker's login at Vault may not be asked what it may do, so nobody could tell whether it is too much").
			WithNext("leave Vault's policy default with it, or add: path \"sys/capabilities-self\" { capabilities = [\"update\"] }")
	}
	if err != nil {
		return s.fault("asking what the broker's own token may do", err, gave.value)
	}
	for _, path := range almighty() {
		if slices.ContainsFunc(can[path], func(c string) bool { return slices.Contains([]string{"root", "create", "update", "sudo"}, c) }) {
			return tooMighty("may write at " + path)
		}
	}
	return nil
}

func refuseRoot(lists ...[]string) error {
	if slices.Contains(slices.Concat(lists...), "root") {
		return tooMighty("has the policy root")
	}
	return nil
}

func tooMighty(why string) error {
	return broker.Errorf(broker.CodeWall, "the broker's login at Vault %s: with it everything could be done, and Hourkey does not hold such a token", why).
		WithNext("write a policy of what is needed alone, attach it to an AppRole, and log in by that: `hourkeyd check --live` and docs/providers/vault.md have the lines")
}

// Capabilities asks what the session's own token may do at each path (sys/capabilities-self).
func (s *Session) Capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	own, err := s.token(ctx)
	if err != nil {
		return nil, err
	}
	return s.capabilities(ctx, own.value, paths)
}

func (s *Session) capabilities(ctx context.Context, token string, paths []string) (map[string][]string, error) {
	answer, err := filled(s.as(token).WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths}))
	if err != nil {
		return nil, err
	}
	can := map[string][]string{} // path → capabilities
	for _, path := range paths {
		can[path] = Texts(answer.Data[path])
		if len(can[path]) == 0 {
			return nil, &api.ResponseError{StatusCode: http.StatusBadGateway, Errors: []string{"the answer lacks a path that was asked about"}}
		}
	}
	return can, nil
}

// holds gives the token that is held, or none.
func (s *Session) holds() token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// keep holds a token and renews it by a timer, so that a login that may be made a few times only is not used up by
// a broker that has nothing to do for a while.
func (s *Session) keep(fresh token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = fresh
	s.schedule(fresh.renewAt.Sub(s.config.Now()))
}

// schedule is called with mu held.
func (s *Session) schedule(after time.Duration) {
	if s.closed {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(max(after, time.Second), s.refresh)
}

// refresh renews before anybody needs it. A failure is told to whoever calls next; until then it is tried again.
func (s *Session) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), loginWithin)
	defer cancel()
	if _, err := s.token(ctx); err == nil && s.config.Now().Before(s.holds().renewAt) {
		return // keep has set the next time
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule(retryAfter)
}

// drop forgets a token that Vault does not know any more.
func (s *Session) drop(dead token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.value == dead.value {
		s.held = token{}
	}
}

// Number reads a JSON number, 0 for anything else.
func Number(value any) int64 {
	n, ok := value.(json.Number)
	if !ok {
		return 0
	}
	whole, err := n.Int64()
	if err != nil {
		return 0
	}
	return whole
}

// Texts reads a JSON list of texts; what is no text in it is left out.
func Texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(list))
	for _, one := range list {
		if text, ok := one.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}
