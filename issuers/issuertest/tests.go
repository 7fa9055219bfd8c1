package issuertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

func (s *suite) describes(t *testing.T) {
	wish := s.ReadWrite
	wish.TTL = s.Short
	first, err := s.Issuer.Describe(ctx(t), wish)
	if s.saw(err) != nil {
		t.Fatal(err)
	}
	second, err := s.Issuer.Describe(ctx(t), wish)
	if s.saw(err) != nil {
		t.Fatal(err)
	}
	if first.Digest() != second.Digest() {
		t.Errorf("two descriptions of one wish differ:\n%s", cmp.Diff(first, second))
	}
	if got, want := broker.AllActions(first.Scopes), broker.AllActions(wish.Scopes); got != want {
		t.Errorf("described actions are %s; want %s, never smaller or larger", got, want)
	}
	if !broker.Covers(wish.Scopes, first.Scopes) {
		t.Errorf("described %v reaches beyond what was asked, %v", broker.Texts(first.Scopes), broker.Texts(wish.Scopes))
	}
	if first.Identity == "" || len(first.Native) == 0 || len(first.Walls) == 0 || first.Ends == "" || len(first.Reaches) == 0 {
		t.Errorf("a description lacks identity, native policy, walls, reaches or how it ends: %+v", first)
	}
	if first.TTL <= 0 || first.TTL > max(wish.TTL, s.Issuer.Capabilities().TTLFloor) {
		t.Errorf("described TTL is %s; want at most the %s asked for", first.TTL, wish.TTL)
	}
	s.matchesIdentity(t, first)
}

func (s *suite) matchesIdentity(t *testing.T, d broker.Description) {
	t.Helper()
	who, err := s.Issuer.Identify(ctx(t))
	if s.saw(err) != nil {
		t.Fatal(err)
	}
	if who.ID != d.Identity || who.Shown == "" {
		t.Errorf("Identify gives %+v; want the identity %q of the description, and something to show", who, d.Identity)
	}
	again, err := s.Reopen(t).Identify(ctx(t))
	if s.saw(err) != nil || again != who {
		t.Errorf("Identify after a restart: %+v, %v; want %+v", again, err, who)
	}
}

func (s *suite) refusesAtDescribe(t *testing.T) {
	for what, wish := range map[string]broker.Wish{"unknown resource": s.Unknown, "admin": s.Admin} {
		if len(wish.Scopes) == 0 {
			continue
		}
		wish.TTL = s.Short
		if d, err := s.Issuer.Describe(ctx(t), wish); s.saw(err) == nil {
			t.Errorf("%s: described as %v; want it refused", what, broker.Texts(d.Scopes))
		}
	}
	for what, ttl := range map[string]time.Duration{"below the floor": s.Issuer.Capabilities().TTLFloor / 2, "over the hour": broker.Hour + time.Second} {
		wish := s.ReadWrite
		if wish.TTL = ttl; ttl == 0 {
			continue // no floor
		}
		if d, err := s.Issuer.Describe(ctx(t), wish); s.saw(err) == nil {
			t.Errorf("TTL %s: described with TTL %s; want it refused", what, d.TTL)
		}
	}
}

func (s *suite) capabilities(t *testing.T) {
	c := s.Issuer.Capabilities()
	if c.Kind == "" || c.Ends == "" {
		t.Errorf("capabilities lack kind or how surely a lease ends: %+v", c)
	}
	if c.TTLFloor < 0 || c.TTLMax < 0 || c.TTLMax > broker.Hour || c.TTLFloor > broker.Hour {
		t.Errorf("TTL floor %s and maximum %s; want them within the hour", c.TTLFloor, c.TTLMax)
	}
	if s.Short < c.TTLFloor {
		t.Errorf("harness: Short is %s, below the declared floor %s", s.Short, c.TTLFloor)
	}
	if again := s.Reopen(t).Capabilities(); again != c {
		t.Errorf("capabilities change with a restart: %+v, then %+v", c, again)
	}
}

func (s *suite) readWrite(t *testing.T) {
	lease := s.issue(t, s.ReadWrite, time.Minute)
	s.allowed(t, "read", s.Use(ctx(t), lease.credential, broker.Read))
	s.allowed(t, "write", s.Use(ctx(t), lease.credential, broker.Write))
	s.refused(t, "delete without the grant", s.Use(ctx(t), lease.credential, broker.Delete))
	if len(s.SecretNames) == 0 || lease.credential.Values[s.SecretNames[0]].IsZero() {
		t.Errorf("the credential holds no %v", s.SecretNames)
	}
	if late := lease.credential.Expires.Sub(lease.Expires); late > 0 {
		t.Errorf("the credential expires %s after what was ordered", late)
	}
	if diff := cmp.Diff(broker.Texts(lease.credential.Scopes), broker.Texts(lease.Description.Scopes)); diff != "" {
		t.Errorf("the credential's scopes are not those described:\n%s", diff)
	}
}

func (s *suite) elsewhere(t *testing.T) {
	lease := s.issue(t, s.Delete, time.Minute)
	s.allowed(t, "read at home", s.Use(ctx(t), lease.credential, broker.Read))
	s.refused(t, "the other environment", s.Elsewhere(ctx(t), lease.credential))
}

func (s *suite) outside(t *testing.T) {
	lease := s.issue(t, s.ReadWrite, time.Minute)
	for attack, try := range s.Outside {
		s.refused(t, attack, try(ctx(t), lease.credential))
	}
}

func (s *suite) deletes(t *testing.T) {
	old := s.issue(t, s.ReadWrite, time.Minute)
	approved := s.issue(t, s.Delete, time.Minute)
	s.allowed(t, "delete, as granted", s.Use(ctx(t), approved.credential, broker.Delete))
	s.refused(t, "delete with the other lease", s.Use(ctx(t), old.credential, broker.Delete))
}

func (s *suite) deadAfterRevoke(t *testing.T) {
	lease := s.issue(t, s.ReadWrite, time.Minute)
	session := s.connect(t, lease.credential)
	if err := s.saw(s.Issuer.Revoke(ctx(t), lease.Name, lease.handle)); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	if !s.Issuer.Capabilities().EndsEarly {
		t.Log("this issuer declares that a lease cannot be ended before its TTL")
		return
	}
	s.refused(t, "use after revoke", s.Use(ctx(t), lease.credential, broker.Read))
	if session != nil {
		s.refused(t, "the open connection after revoke", session.Do(ctx(t), broker.Read))
	}
}

func (s *suite) connect(t *testing.T, credential broker.Credential) Session {
	t.Helper()
	if s.Connect == nil {
		return nil
	}
	session, err := s.Connect(ctx(t), credential)
	if s.saw(err) != nil {
		t.Fatalf("Connect: %v", err)
	}
	t.Cleanup(session.Close)
	s.allowed(t, "the open connection before the end", session.Do(ctx(t), broker.Read))
	return session
}

// deadAtTTL calls nothing of the issuer until the TTL has passed: as if the broker had died.
func (s *suite) deadAtTTL(t *testing.T) {
	lease, session := s.inUse(t)
	time.Sleep(time.Until(lease.Expires) + 500*time.Millisecond)
	s.refused(t, "use after the TTL", s.Use(ctx(t), lease.credential, broker.Read))
	if session == nil {
		return
	}
	if !s.SessionOutlivesTTL {
		s.refused(t, "the open connection after the TTL", session.Do(ctx(t), broker.Read))
		return
	}
	s.allowed(t, "the open connection after the TTL, declared to go on", session.Do(ctx(t), broker.Read))
	if err := s.saw(s.Reopen(t).Revoke(ctx(t), lease.Name, lease.handle)); err != nil {
		t.Fatalf("Revoke by a broker started anew: %v", err)
	}
	s.refused(t, "the open connection after a broker came back", session.Do(ctx(t), broker.Read))
}

// inUse gives a short lease that was used, and its open connection. On a machine that stood still it may have been over before; then the
// next one has twice as much.
func (s *suite) inUse(t *testing.T) (issued, Session) {
	t.Helper()
	for ttl := s.Short; ; ttl *= 2 {
		lease, session, err := s.tryUse(t, s.order(t, s.ReadWrite, ttl))
		if s.saw(err) == nil {
			return lease, session
		}
		ends := lease.Expires
		if told := lease.credential.Expires; !told.IsZero() && told.Before(ends) {
			ends = told
		}
		if time.Now().Before(ends) || 2*ttl >= time.Minute {
			t.Fatalf("a lease of %s, before its TTL: %v", ttl, err)
		}
	}
}

func (s *suite) tryUse(t *testing.T, order broker.Order) (issued, Session, error) {
	t.Helper()
	credential, handle, err := s.Issuer.Issue(ctx(t), order)
	s.endWith(t, order.Name, handle)
	lease := issued{order, credential, handle}
	if err != nil {
		return lease, nil, err
	}
	s.keep(credential)
	if err := s.Use(ctx(t), credential, broker.Read); err != nil || s.Connect == nil {
		return lease, nil, err
	}
	session, err := s.Connect(ctx(t), credential)
	if err != nil {
		return lease, nil, err
	}
	t.Cleanup(session.Close)
	return lease, session, session.Do(ctx(t), broker.Read)
}

func (s *suite) neverLonger(t *testing.T) {
	for what, change := range map[string]func(*broker.Order){
		"longer than described": func(o *broker.Order) { o.TTL = o.Description.TTL + time.Minute },
		"longer than the hour":  func(o *broker.Order) { o.TTL, o.Description.TTL = broker.Hour+time.Minute, broker.Hour+time.Minute },
		"no time at all":        func(o *broker.Order) { o.TTL = 0 },
	} {
		order := s.order(t, s.ReadWrite, time.Minute)
		change(&order)
		order.Expires = time.Now().UTC().Add(order.TTL)
		_, handle, err := s.Issuer.Issue(ctx(t), order)
		s.endWith(t, order.Name, handle)
		if s.saw(err) == nil {
			t.Errorf("%s: issued; want it refused", what)
		}
	}
}

// manyAtOnce issues, uses and ends 64 leases on one resource, all at the same time.
func (s *suite) manyAtOnce(t *testing.T) {
	wish := s.ReadWrite
	wish.TTL = time.Minute
	description, err := s.Issuer.Describe(ctx(t), wish)
	if s.saw(err) != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range many {
		all.Go(func() { s.oneOfMany(t, description) })
	}
	all.Wait()
}

func (s *suite) oneOfMany(t *testing.T, description broker.Description) {
	c, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	order := s.orderFor(description, time.Minute)
	credential, handle, err := s.Issuer.Issue(c, order)
	s.endWith(t, order.Name, handle)
	if s.saw(err) != nil {
		t.Errorf("Issue, one of %d: %v", many, err)
		return
	}
	s.keep(credential)
	s.allowed(t, "read, one of many", s.Use(c, credential, broker.Read))
	s.allowed(t, "write, one of many", s.Use(c, credential, broker.Write))
	if err := s.saw(s.Issuer.Revoke(c, order.Name, handle)); err != nil {
		t.Errorf("Revoke, one of %d: %v", many, err)
	}
	if s.Issuer.Capabilities().EndsEarly {
		s.refused(t, "use after revoke, one of many", s.Use(c, credential, broker.Read))
	}
}

func (s *suite) revokeTwice(t *testing.T) {
	lease := s.issue(t, s.ReadWrite, time.Minute)
	for _, handle := range []broker.Handle{lease.handle, lease.handle, nil} {
		if err := s.saw(s.Issuer.Revoke(ctx(t), lease.Name, handle)); err != nil {
			t.Errorf("Revoke again (handle of %d bytes): %v", len(handle), err)
		}
	}
	if err := s.saw(s.Issuer.Revoke(ctx(t), s.name(), nil)); err != nil {
		t.Errorf("Revoke of what never was: %v", err)
	}
}

// foreignNames: an issuer must not touch a name that this product cannot have given.
func (s *suite) foreignNames(t *testing.T) {
	for _, name := range []string{"postgres", "", "hk-", `hk-a"; DROP ROLE x; --`, "hk-" + strings.Repeat("a", 61), "HK-A-B"} {
		order := s.order(t, s.ReadWrite, time.Minute)
		order.Name = name
		if _, _, err := s.Issuer.Issue(ctx(t), order); s.saw(err) == nil {
			t.Errorf("Issue under the name %q was done; want it refused", name)
		}
		if _, lists := s.Issuer.(broker.Lister); !lists {
			continue // an issuer that ends nothing by name need not judge it
		}
		if err := s.Issuer.Revoke(ctx(t), name, nil); s.saw(err) == nil {
			t.Errorf("Revoke(%q) was done; want it refused", name)
		}
	}
}

func (s *suite) orphans(t *testing.T) {
	if _, lists := s.Issuer.(broker.Lister); !lists {
		t.Log("this issuer's provider cannot list: the broker's issuing record is the account (invariant 8)")
		return
	}
	mine := s.issue(t, s.ReadWrite, time.Minute)
	other := &suite{Harness: s.Harness, installation: s.installation + "x"}
	theirs := other.issue(t, s.ReadWrite, time.Minute)
	fresh := s.Reopen(t)
	if names := s.list(t, fresh); !slices.Contains(names, mine.Name) || slices.Contains(names, theirs.Name) {
		t.Errorf("List(%q) gives %v; want %s and never %s", s.prefix(), names, mine.Name, theirs.Name)
	}
	if err := s.saw(fresh.Revoke(ctx(t), mine.Name, nil)); err != nil { // an orphan has no handle
		t.Fatalf("ending the orphan: %v", err)
	}
	if names := s.list(t, fresh); slices.Contains(names, mine.Name) {
		t.Errorf("the orphan is still listed: %v", names)
	}
	s.allowed(t, "the other installation's lease", s.Use(ctx(t), theirs.credential, broker.Read))
	if s.Issuer.Capabilities().EndsEarly {
		s.refused(t, "the ended orphan", s.Use(ctx(t), mine.credential, broker.Read))
	}
}

func (s *suite) list(t *testing.T, issuer Issuer) []string {
	t.Helper()
	names, err := issuer.(broker.Lister).List(ctx(t), s.prefix())
	if s.saw(err) != nil {
		t.Fatalf("List: %v", err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, s.prefix()) {
			t.Errorf("List(%q) gives %q", s.prefix(), name)
		}
	}
	return names
}

// noSecretInErrors makes further errors and then searches all that the suite has seen.
func (s *suite) noSecretInErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	order := s.order(t, s.ReadWrite, time.Minute)
	_, handle, err := s.Issuer.Issue(cancelled, order)
	s.endWith(t, order.Name, handle)
	if s.saw(err) == nil && !s.Issuer.Capabilities().Local {
		t.Error("Issue under a cancelled context was done")
	}
	_ = s.saw(s.Issuer.Revoke(cancelled, order.Name, handle))
	if s.Fault != nil {
		s.provoke(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) == 0 || len(s.secrets) < many {
		t.Fatalf("searched %d errors for %d secrets: too few to mean something", len(s.errors), len(s.secrets))
	}
	for _, text := range leaks(s.errors, append(slices.Clone(s.Secrets), s.secrets...)) {
		t.Errorf("a secret stands in an error (not printed here), %d bytes long", len(text))
	}
}

func (s *suite) provoke(t *testing.T) {
	broken, err := s.Fault(t)
	if s.saw(err) != nil {
		return
	}
	wish := s.ReadWrite
	wish.TTL = time.Minute
	if _, err := broken.Describe(ctx(t), wish); s.saw(err) == nil {
		t.Error("an issuer that cannot work described")
	}
	if _, _, err := broken.Issue(ctx(t), s.order(t, s.ReadWrite, time.Minute)); s.saw(err) == nil {
		t.Error("an issuer that cannot work issued")
	}
	if _, err := broken.Identify(ctx(t)); s.saw(err) == nil {
		t.Error("an issuer that cannot work identified itself")
	}
}
