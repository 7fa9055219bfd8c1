package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// tokenMetadata tells services where the keys of an environment's target-token issuer are (after
// OpenID Connect Discovery 1.0 section 3; there are no ID tokens here, so only what a verifier needs).
func (s *Server) tokenMetadata(c *call) error {
	environment := c.param("environment")
	if _, err := s.keysOf(c, environment); err != nil {
		return err
	}
	issuer := s.origin + "/t/" + environment
	s.cacheable(c)
	return c.answer(http.StatusOK, map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/jwks.json", "introspection_endpoint": issuer + "/introspect",
		"response_types_supported": []string{}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"EdDSA"},
	})
}

// tokenKeys gives the public keys of an environment's target-token issuer (RFC 7517).
func (s *Server) tokenKeys(c *call) error {
	keys, err := s.keysOf(c, c.param("environment"))
	if err != nil {
		return err
	}
	s.cacheable(c)
	c.send(http.StatusOK, "application/jwk-set+json", keys)
	return nil
}

// introspect tells a service whether a token of this environment still holds (RFC 7662): signed by our key,
// not expired, and its lease neither released, revoked nor frozen. It says nothing else about a token, so
// that whoever holds one may ask; a token has 80 random bits in its name, and scanning finds none.
func (s *Server) introspect(c *call) error {
	environment := c.param("environment")
	keys, err := s.keysOf(c, environment)
	if err != nil {
		return err
	}
	form, err := c.formOf("token", "token_type_hint")
	if err != nil {
		return err
	}
	active := false
	if name, ok := authn.TargetToken(form.Get("token"), keys, s.origin+"/t/"+environment, s.now()); ok {
		if active, err = s.broker.IsLive(c.ctx(), environment, name); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, map[string]bool{"active": active})
}

func (s *Server) keysOf(c *call, environment string) ([]byte, error) {
	if s.targetKeys == nil || !broker.IsName(environment) {
		return nil, broker.Errorf(broker.CodeNotFound, "there is no token issuer here")
	}
	return s.targetKeys(c.ctx(), environment)
}

// cacheable is for public keys, which every service asks for: five minutes.
func (s *Server) cacheable(c *call) {
	c.writer.Header().Set("Cache-Control", "public, max-age=300")
}

// health says that the process answers.
func (s *Server) health(c *call) error {
	return c.answer(http.StatusOK, map[string]bool{"ok": true})
}

// readiness keeps the last answer for a second, so that asking often costs nothing.
type readiness struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

// readyPage says that requests can be answered: the store reads and writes, the clock is right.
func (s *Server) readyPage(c *call) error {
	if err := s.ready.ask(c.ctx(), s.now(), s.isReady); err != nil {
		return err
	}
	return c.answer(http.StatusOK, map[string]bool{"ready": true})
}

func (r *readiness) ask(ctx context.Context, now time.Time, look func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || now.Sub(r.asked) >= time.Second || now.Before(r.asked) {
		looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), quick) // others get this answer too: who asks may hang up
		defer cancel()
		r.asked, r.err = now, look(looking)
	}
	return r.err
}

func (s *Server) isReady(ctx context.Context) error {
	status, err := s.broker.Status(ctx)
	switch {
	case err != nil:
		return broker.Errorf(broker.CodeUnavailable, "the store cannot be read").Because(err)
	case !status.Writable:
		return broker.Errorf(broker.CodeUnavailable, "the store cannot be written: nothing is issued")
	case status.Behind:
		return broker.Errorf(broker.CodeUnavailable, "the clock is behind the last event: nothing is issued")
	}
	return nil
}
