package session

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
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

// token gives a token that lives: the held one, renewed or replaced when two thirds of its time are over. One at a time asks
// Vault for another; who waited meanwhile gets what came of it, a failure too.
func (s *Session) token(ctx context.Context) (token, error) {
	began := s.config.Now()
	if held := s.holds(); began.Before(held.renewAt) {
		return held, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return token{}, ctx.Err()
	}
	defer func() { <-s.turn }()
	held := s.holds()
	switch {
	case s.config.Now().Before(held.renewAt):
		return held, nil
	case s.failed.err != nil && s.failed.at.After(began):
		return token{}, s.failed.err
	}
	fresh, err := s.fresh(ctx, held)
	if err != nil {
		now := s.config.Now()
		if !now.Add(leastLife).Before(held.expires) {
			if ctx.Err() == nil { // else it failed for this caller alone
				s.failed = failure{err, now}
			}
			return token{}, err
		}
		fresh = held
		fresh.renewAt = now.Add(retryAfter)
	}
	s.keep(fresh)
	return fresh, nil
}

// failure is how the last attempt to get a token came out. Only who holds the turn touches it.
type failure struct {
	err error
	at  time.Time
}

// fresh renews a token, or logs in. A renewal that gives much less than the token once had means that its longest life
// comes to an end: then another login is made, in time.
func (s *Session) fresh(ctx context.Context, held token) (token, error) {
	byHand := s.config.Settings.Login.Token != ""
	if held.value != "" && held.renewable { // whether it lives, Vault knows better than a clock that may have been set
		renewed, err := s.renew(ctx, held)
		if err == nil && (byHand || renewed.life > held.life/2) {
			return renewed, nil
		}
		if err != nil && StatusOf(err) == 0 { // past the longest life, Vault answers 500
			return token{}, err // it could not be asked
		}
	}
	secret, err := s.config.Resolve("login", s.config.Settings.Login.secret())
	if err != nil {
		return token{}, err
	}
	if s.refused.counts(secret, s.config.Now()) {
		return token{}, s.refused.err
	}
	return s.enter(ctx, secret)
}

// renew asks for more time for the held token.
func (s *Session) renew(ctx context.Context, held token) (token, error) {
	answer, err := filled(s.as(held.value).WriteWithContext(ctx, "auth/token/renew-self", map[string]any{}))
	if err != nil {
		return token{}, err
	}
	if answer.Auth == nil || answer.Auth.LeaseDuration > mostLife {
		return token{}, noToken("renewal")
	}
	answer.Auth.ClientToken = held.value
	return s.counted(answer.Auth), nil
}

// mostLife is longer than Vault lets any token live by default (32 days), and short enough to count with.
const mostLife = 10 * 365 * 24 * 60 * 60

// lives tells whether seconds are a time that a token can have: with none it would be renewed without end.
func lives(seconds int) bool { return seconds > 0 && seconds <= mostLife }

func noToken(what string) error {
	return &api.ResponseError{StatusCode: http.StatusBadGateway, Errors: []string{"the " + what + " was answered without a token that lives"}}
}

// counted computes when a token must be renewed.
func (s *Session) counted(auth *api.SecretAuth) token {
	now, life := s.config.Now(), time.Duration(auth.LeaseDuration)*time.Second
	return token{value: auth.ClientToken, renewable: auth.Renewable, life: life, renewAt: now.Add(life * 2 / 3), expires: now.Add(life)}
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
	s.timer = time.AfterFunc(max(after, time.Second), s.renewal)
}

// refresh renews before anybody needs it. A failure is told to whoever calls next; until then it is tried again.
func (s *Session) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	_, _ = s.token(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	after := s.held.renewAt.Sub(s.config.Now())
	if after <= 0 {
		after = retryAfter
	}
	s.schedule(after)
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
