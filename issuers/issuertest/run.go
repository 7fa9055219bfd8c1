package issuertest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	many    = 64               // leases at once
	patient = 90 * time.Second // for one test, against a slow machine
)

// Run runs the suite. Each test issues under an installation name of its own, so that the suite can
// run beside others on the same server.
func Run(t *testing.T, h Harness) {
	t.Helper()
	s := &suite{Harness: h, installation: fmt.Sprintf("t%08x", rand.Uint32())}
	if h.SecretNames == nil || h.Refused == nil || h.Use == nil || h.Elsewhere == nil || h.Reopen == nil || h.Short == 0 {
		t.Fatal("issuertest: the harness lacks a required field")
	}
	for _, one := range []struct {
		name string
		test func(*testing.T)
	}{
		{"a description is concrete, complete and repeatable", s.describes},
		{"what does not exist or gives power is refused at describe", s.refusesAtDescribe},
		{"capabilities are held to", s.capabilities},
		{"read and write work, delete is refused", s.readWrite},
		{"another environment is refused", s.elsewhere},
		{"attacks from outside the grant are refused", s.outside},
		{"delete works where it was granted, and the other lease still cannot", s.deletes},
		{"a revoked lease is dead, its open connection too", s.deadAfterRevoke},
		{"a lease is dead at its TTL while nobody calls the issuer", s.deadAtTTL},
		{"a longer life than described is never issued", s.neverLonger},
		{"64 leases at once on one resource", s.manyAtOnce},
		{"revoking twice, or what never was, is fine", s.revokeTwice},
		{"names that are not ours are left alone", s.foreignNames},
		{"an orphan is found and ended, another installation's is left alone", s.orphans},
		{"no secret in any error", s.noSecretInErrors},
	} {
		t.Run(one.name, one.test)
	}
}

type suite struct {
	Harness
	installation string

	mu      sync.Mutex
	serial  int
	errors  []string // every error text that was seen
	secrets []string // every secret that was issued
}

// name makes a lease name of this suite's installation.
func (s *suite) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return fmt.Sprintf("hk-%s-%06d", s.installation, s.serial)
}

func (s *suite) prefix() string { return "hk-" + s.installation + "-" }

// saw remembers an error's texts for the search for secrets, and gives it back.
func (s *suite) saw(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := err; e != nil; e = errors.Unwrap(e) {
		s.errors = append(s.errors, fmt.Sprintf("%v %+v %#v", e, e, e))
	}
	if b, ok := errors.AsType[*broker.Error](err); ok {
		s.errors = append(s.errors, b.Message, b.Next, b.Field)
	}
	return err
}

func (s *suite) keep(c broker.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.SecretNames {
		if value := c.Values[name].Reveal(); value != "" {
			s.secrets = append(s.secrets, value)
		}
	}
}

// order describes a wish and makes the order for it, under a fresh name.
func (s *suite) order(t *testing.T, wish broker.Wish, ttl time.Duration) broker.Order {
	t.Helper()
	wish.TTL = ttl
	description, err := s.Issuer.Describe(ctx(t), wish)
	if s.saw(err) != nil {
		t.Fatalf("Describe(%v): %v", broker.Texts(wish.Scopes), err)
	}
	return s.orderFor(description, ttl)
}

func (s *suite) orderFor(description broker.Description, ttl time.Duration) broker.Order {
	name := s.name()
	return broker.Order{
		Name: name, Lease: strings.TrimPrefix(name, s.prefix()), Description: description, TTL: ttl,
		Expires: time.Now().UTC().Add(ttl), Agent: "conformance", Owner: "nobody", Task: "conformance",
	}
}

// issued is a lease of the suite.
type issued struct {
	broker.Order
	credential broker.Credential
	handle     broker.Handle
}

// issue issues for a wish and ends the lease with the test.
func (s *suite) issue(t *testing.T, wish broker.Wish, ttl time.Duration) issued {
	t.Helper()
	order := s.order(t, wish, ttl)
	credential, handle, err := s.Issuer.Issue(ctx(t), order)
	s.endWith(t, order.Name, handle)
	if s.saw(err) != nil {
		t.Fatalf("Issue: %v", err)
	}
	s.keep(credential)
	return issued{order, credential, handle}
}

func (s *suite) endWith(t *testing.T, name string, handle broker.Handle) {
	t.Cleanup(func() {
		c, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		if err := s.saw(s.Issuer.Revoke(c, name, handle)); err != nil {
			t.Errorf("Revoke(%s) at the end of the test: %v", name, err)
		}
	})
}

// allowed fails unless the use was done; refused fails unless the provider itself refused it.
func (s *suite) allowed(t *testing.T, what string, err error) {
	t.Helper()
	if s.saw(err) != nil {
		t.Errorf("%s: %v; want it to work", what, err)
	}
}

func (s *suite) refused(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: it worked; want it refused", what)
	case !s.Refused(s.saw(err)):
		t.Errorf("%s: %v; want a refusal by the provider, this is a fault", what, err)
	}
}

func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	return c
}

// forms gives a secret as it might hide in a text.
func forms(secret string) []string {
	raw := []byte(secret)
	return []string{
		secret, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
}

// leaks gives the texts in which one of the secrets stands, in any form.
func leaks(texts, secrets []string) []string {
	var found []string
	for _, text := range texts {
		for _, secret := range secrets {
			if secret != "" && slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
				found = append(found, text)
			}
		}
	}
	return found
}
