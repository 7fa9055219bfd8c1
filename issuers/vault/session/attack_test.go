package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// Whoever answers in Vault's place, or a misled Vault, sends the client elsewhere: neither the login nor the token goes there.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for _, at := range []string{"auth/approle/login", "kv/data/x"} {
			f := newFake(t, 3600)
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/"+at {
					return false
				}
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
				return true
			}
			s := f.open(t)
			_, err := s.Read(t.Context(), "kv/data/x")
			if err = s.Fault("t", "reading", err); broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("%d at %s: %v", status, at, err)
			}
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d calls went where the redirect led", n)
	}
}

// An AppRole that is asked five times by a wrong secret id is locked by Vault, also for the right one: the broker does not do that
// to itself, however often it is asked, and takes the right one at once.
func TestWrongSecretIDDoesNotLockTheRole(t *testing.T) {
	t.Parallel()
	settings, secrets := approle(t, vault(t), "1h", "2h", nil)
	var wrong atomic.Bool
	wrong.Store(true)
	s, err := session.New(session.Config{Settings: settings, Now: time.Now, Resolve: func(_, reference string) (broker.Secret, error) {
		if wrong.Load() {
			return broker.NewSecret("a wrong secret id"), nil
		}
		return broker.NewSecret(secrets[reference]), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := s.Read(t.Context(), "kv-refs/x")
			if e, ok := errors.AsType[*broker.Error](err); !ok || e.Code != broker.CodeUnavailable || !strings.Contains(e.Next, "secret id") || strings.Contains(fmt.Sprintf("%+v", err), "a wrong secret id") {
				t.Errorf("a wrong secret id: %v", err)
			}
		})
	}
	all.Wait()
	wrong.Store(false)
	whoAmI(t, s)
}

// The token is over, and everybody asks at once: one login.
func TestManyCallsAfterTheEndLogInOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t, 3600)
	var revoked atomic.Bool
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		return revoked.Load() && r.Header.Get("X-Vault-Token") == "token-1" && refuse(w, http.StatusForbidden, "permission denied")
	}
	s := f.open(t)
	read := func() {
		if _, err := s.Read(t.Context(), "kv/data/x"); err != nil {
			t.Error(err)
		}
	}
	read()
	revoked.Store(true)
	var all sync.WaitGroup
	for range 64 {
		all.Go(read)
	}
	all.Wait()
	if n := f.called("auth/approle/login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// Vault hangs, and everybody asks at once: those who waited for a login that failed do not each wait for another.
func TestManyCallsDoNotQueueForAVaultThatFails(t *testing.T) {
	t.Parallel()
	f := newFake(t, 3600)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		time.Sleep(time.Second) // in which all have come
		return refuse(w, http.StatusInternalServerError, "internal error")
	}
	s := f.open(t)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if _, err := s.Read(t.Context(), "kv/data/x"); err == nil {
				t.Error("it was answered")
			}
		})
	}
	all.Wait()
	if n := f.called("auth/approle/login"); n > 8 {
		t.Errorf("%d logins", n)
	}
}

// Who asked goes away in the middle of a login: its answer is kept, for the secret id may be good for one only.
func TestCallerWhoGoesAwayWastesNoLogin(t *testing.T) {
	t.Parallel()
	f := newFake(t, 3600)
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/login") {
			cancel()
		}
		return false
	}
	s := f.open(t)
	_, _ = s.Read(ctx, "kv/data/x")
	if _, err := s.Read(t.Context(), "kv/data/x"); err != nil {
		t.Fatal(err)
	}
	if n := f.called("auth/approle/login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// Somebody sets the machine's clock: a token that lives goes on to be used, and a secret id of one use is enough.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	settings, secrets := approle(t, vault(t), "1h", "20000h", map[string]any{"secret_id_num_uses": 1})
	var ahead atomic.Int64
	s, err := session.New(session.Config{
		Settings: settings, Now: func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }, // without the monotonic reading
		Resolve: func(_, reference string) (broker.Secret, error) { return broker.NewSecret(secrets[reference]), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	first := whoAmI(t, s)
	for _, jump := range []time.Duration{41 * time.Minute, -24 * time.Hour, 365 * 24 * time.Hour, 0} {
		ahead.Store(int64(jump))
		if now := whoAmI(t, s); now != first {
			t.Errorf("%s: it logged in again", jump)
		}
	}
}

// A token whose time is none, or more than anybody can count, would be renewed without end.
func TestTokenWithoutATime(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{0, -1, 1 << 62} {
		f := newFake(t, seconds)
		if _, err := f.open(t).Read(t.Context(), "kv/data/x"); err == nil {
			t.Errorf("%d seconds: it was held", seconds)
		}
	}
}

// A login that may not look itself up is no reason to log in again at each refusal.
func TestLoginThatMayNotLookItselfUp(t *testing.T) {
	t.Parallel()
	server := vault(t)
	server.Write(t, "sys/policies/acl/narrow", map[string]any{"policy": `path "sys/capabilities-self" { capabilities = ["update"] }`})
	settings, secrets := approle(t, server, "1h", "2h", map[string]any{"secret_id_num_uses": 1, "token_no_default_policy": true, "token_policies": "narrow"})
	s := open(t, settings, secrets)
	for range 3 {
		if _, err := s.Read(t.Context(), "kv-refs/x"); session.StatusOf(err) != http.StatusForbidden {
			t.Errorf("reading what is not allowed: %v", err)
		}
	}
}

// Each of these rights is as good as root: whoever has the broker's login gives itself the rest.
func TestLoginThatCouldGiveItselfMore(t *testing.T) {
	t.Parallel()
	server := vault(t)
	for at, path := range []string{"sys/policies/acl/*", "sys/policy/*", "auth/token/roles/*", "identity/entity", "identity/group", "sys/auth/*", "sys/raw/*", "auth/+/role/*"} {
		policy := fmt.Sprintf("mighty-%d", at)
		server.Write(t, "sys/policies/acl/"+policy, map[string]any{"policy": fmt.Sprintf("path %q { capabilities = [\"create\", \"update\"] }", path)})
		settings, secrets := approle(t, server, "1h", "2h", map[string]any{"token_policies": policy})
		if _, err := open(t, settings, secrets).Read(t.Context(), "auth/token/lookup-self"); broker.CodeOf(err) != broker.CodeWall {
			t.Errorf("%s: %v; want the login refused", path, err)
		}
	}
}

// After Close nothing calls Vault by itself any more: what was replaced does not keep the old token alive.
func TestClosedSessionRenewsNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t, 1)
	s := f.open(t)
	if _, err := s.Read(t.Context(), "kv/data/x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a renewal", func() bool { return f.called("auth/token/renew-self") > 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	renewals := func() int { return f.called("auth/token/renew-self") }
	eventually(t, "an end of the renewals", func() bool { // one that had begun may still come
		before := renewals()
		time.Sleep(2 * time.Second) // in which an open session renews
		return renewals() == before
	})
}

// Vault's own words may repeat what it was sent: no error carries that on.
func TestErrorsRepeatNoSecret(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"auth/approle/login", "kv/data/x"} {
		f := newFake(t, 3600)
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == "/v1/"+at && refuse(w, http.StatusBadRequest, "bad: "+r.Header.Get("X-Vault-Token")+" the-secret-id")
		}
		_, err := f.open(t).Secret(t.Context(), "kv/data/x#y")
		if text := fmt.Sprintf("%+v %v", err, errors.Unwrap(err)); err == nil || strings.Contains(text, "token-") || at != "kv/data/x" && strings.Contains(text, "the-secret-id") {
			t.Errorf("%s: %s", at, text)
		}
	}
}

// The namespace goes with every call but that which asks who answers: Vault has that outside of namespaces.
func TestNamespace(t *testing.T) {
	t.Parallel()
	f := newFake(t, 3600)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		want := "team/a"
		if r.URL.Path == "/v1/sys/health" {
			want = ""
			_, _ = w.Write([]byte(`{"initialized":true,"cluster_id":"c"}`))
		}
		if got := r.Header.Get("X-Vault-Namespace"); got != want {
			t.Errorf("%s: namespace %q", r.URL.Path, got)
		}
		return want == ""
	}
	settings := f.settings()
	settings.Namespace = "team/a"
	s := open(t, settings, map[string]string{"env:SECRET": "x"})
	if _, err := s.Read(t.Context(), "kv/data/x"); err != nil {
		t.Error(err)
	}
	if id, err := s.ClusterID(t.Context()); err != nil || id != "c" {
		t.Errorf("%q, %v", id, err)
	}
}

// What a reference must not be: Vault's own paths hold the broker's token, and what is made anew at each reading has no end.
func TestReferenceToWhatIsNoKeptSecret(t *testing.T) {
	t.Parallel()
	f := newFake(t, 3600)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/v1/database/creds/admin":
			_, _ = w.Write([]byte(`{"lease_id":"database/creds/admin/1","data":{"password":"planted"}}`))
		case "/v1/kv/data/deleted":
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"data":{"data":null,"metadata":{"version":1}}}`))
		case "/v1/kv/data/odd":
			_, _ = w.Write([]byte(`{"data":{"data":{"number":7,"yes":true,"nested":{"a":"planted"},"list":["planted"],"empty":"","newline":"\n","null":null},"metadata":{}}}`))
		default:
			return false
		}
		return true
	}
	s := f.open(t)
	for _, reference := range []string{
		"auth/token/lookup-self#id", "sys/x#y", "cubbyhole/x#id", "identity/x#id", "database/creds/admin#password", "kv/data/deleted#x",
		"kv/data/odd#number", "kv/data/odd#yes", "kv/data/odd#nested", "kv/data/odd#list", "kv/data/odd#empty", "kv/data/odd#newline", "kv/data/odd#null", "kv/data/odd#metadata",
		"kv/data/%2e%2e/x#id", "kv/data%2fx#id", "kv/data/x#id\n", "kv/data/x\n#id", "kv/data/x?version=1#id", "/kv/x#id", "kv/x/#id", "kv//x#id", "kv/../sys/x#id", "kv/.x#id", "kv/data/x#", "#id", "kv/data/ö#id",
	} {
		if secret, err := s.Secret(t.Context(), reference); err == nil || !secret.IsZero() || strings.Contains(fmt.Sprintf("%+v", err), "planted") {
			t.Errorf("%q: %v", reference, err)
		}
	}
	if n := f.called("auth/token/lookup-self") + f.called("cubbyhole/x") + f.called("sys/x"); n > 0 {
		t.Errorf("Vault's own paths were read %d times", n)
	}
}
