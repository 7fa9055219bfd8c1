package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest/freeport"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
)

// between stands between the broker and Vault, and spoils what passes.
type between struct {
	*httptest.Server
	mu    sync.Mutex
	spoil func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	seen  []string // METHOD path
}

func newBetween(tb testing.TB, address string) *between {
	tb.Helper()
	at, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(at)
	b := &between{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		spoil := b.spoil
		b.seen = append(b.seen, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/"))
		b.mu.Unlock()
		if spoil == nil {
			forward.ServeHTTP(w, r)
			return
		}
		spoil(w, r, forward)
	}))
	tb.Cleanup(b.Close)
	return b
}

// calls lists what has passed.
func (b *between) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

// on spoils the paths that hold a text; an empty text ends it.
func (b *between) on(text string, spoil func(w http.ResponseWriter, r *http.Request, forward http.Handler)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoil = nil
	if text == "" {
		return
	}
	b.spoil = func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if strings.Contains(r.URL.Path, text) {
			spoil(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	}
}

// The ways in which Vault can fail. Those called "done" have done what was asked, and the answer is lost.
var faults = map[string]func(http.ResponseWriter, *http.Request, http.Handler){
	"the connection is cut": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w) },
	"done, and the connection is cut": func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), r)
		cut(w)
	},
	"done, and half of the answer comes": func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		kept := httptest.NewRecorder()
		forward.ServeHTTP(kept, r)
		w.Header().Set("Content-Length", fmt.Sprint(kept.Body.Len()+100))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(kept.Body.Bytes()[:kept.Body.Len()/2])
		cut(w)
	},
	"done, and the answer says nothing": func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), r)
		_, _ = w.Write([]byte(`{}`))
	},
	"done, and the answer is no JSON": func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), r)
		_, _ = w.Write([]byte(`<html>welcome</html>`))
	},
	"an error of a proxy": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "bad gateway", http.StatusBadGateway)
	},
	"sealed": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer(w, http.StatusServiceUnavailable, "Vault is sealed")
	},
	"a rate limit": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer(w, http.StatusTooManyRequests, "quota exceeded")
	},
	"a standby that does not forward": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer(w, 473, "performance standby") // 472: of another data centre; 429, and in health alone: a standby
	},
	"a redirect to another host": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://127.0.0.1:1/v1/stolen", http.StatusTemporaryRedirect)
	},
}

// someFaults are all of them with HOURKEY_TEST_ALL=1, and else those after which something is there that nobody knows of.
func someFaults() map[string]func(http.ResponseWriter, *http.Request, http.Handler) {
	some := maps.Clone(faults)
	if !issuertest.Whole() {
		maps.DeleteFunc(some, func(name string, _ func(http.ResponseWriter, *http.Request, http.Handler)) bool {
			return !strings.HasPrefix(name, "done") && name != "sealed"
		})
	}
	return some
}

func answer(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[%q]}`, text)
}

func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// Whatever goes wrong while a lease is issued: an error that says what, no credential, and an end that leaves nothing.
func TestVaultFailsWhileIssuing(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	t.Parallel()
	d := describe(t, issuer, wish(t, "public.orders:read,write"))
	serial := 0
	for _, step := range []string{"auth/token/create/", "/creds/"} {
		for name, fault := range someFaults() {
			serial++
			lease := fmt.Sprintf("hk-fault-%d", serial)
			t.Run(step+" "+name, func(t *testing.T) {
				b.on(step, fault)
				_, handle, err := issuer.Issue(t.Context(), orderFor(d, lease))
				b.on("", nil)
				if broker.CodeOf(err) != broker.CodeUnavailable && broker.CodeOf(err) != broker.CodeWall {
					t.Errorf("Issue: %v; want it refused as unavailable", err)
				}
				if err := issuer.Revoke(t.Context(), lease, handle); err != nil {
					t.Errorf("Revoke: %v", err)
				}
				s.nothingLeft(t, issuer, lease)
			})
		}
	}
}

// nothingLeft asks Vault for the lease's token and PostgreSQL for its login.
func (s *shop) nothingLeft(t *testing.T, issuer *vault.Issuer, lease string) {
	t.Helper()
	names, err := issuer.List(t.Context(), lease)
	if err != nil || len(names) != 0 {
		t.Errorf("List: %v, %v; want nothing", names, err)
	}
	if err := database.Try(s.staging, "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '"+lease+"') THEN RAISE 'the login is still there'; END IF; END $$"); err != nil {
		t.Error(err)
	}
}

// Whatever goes wrong while a lease is ended: the end is not taken for done, and done again it is.
func TestVaultFailsWhileEnding(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	t.Parallel()
	serial := 0
	for _, step := range []string{"sys/leases/revoke/", "auth/token/revoke-accessor", "auth/token/lookup-accessor", "sys/leases/lookup"} {
		for name, fault := range someFaults() {
			serial++
			lease := fmt.Sprintf("hk-end-%d", serial)
			t.Run(step+" "+name, func(t *testing.T) {
				_, handle, err := issuer.Issue(t.Context(), orderFor(describe(t, issuer, wish(t, "public.orders:read,write")), lease))
				if err != nil {
					t.Fatal(err)
				}
				b.on(step, fault)
				err = issuer.Revoke(t.Context(), lease, handle)
				b.on("", nil)
				// An empty success is no proof: the look afterwards is. So it may pass where the end itself was done.
				if err == nil && !strings.HasPrefix(name, "done, and the answer says nothing") {
					t.Error("the end was taken for done")
				}
				if err := issuer.Revoke(t.Context(), lease, handle); err != nil {
					t.Errorf("Revoke, once more: %v", err)
				}
				s.nothingLeft(t, issuer, lease)
			})
		}
	}
}

// A Vault that says that everything is done, and does nothing, is not believed.
func TestVaultThatPretendsToEnd(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	_, handle := lease(t, issuer, "hk-pretend-1", "public.orders:read,write")
	b.on("revoke", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNoContent) })
	err := issuer.Revoke(t.Context(), "hk-pretend-1", handle)
	b.on("", nil)
	if broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("Revoke: %v; want it not taken for done", err)
	}
}

// A token with more than was asked for is not used: other policies, a longer life, a renewal, an identity.
func TestVaultGivesMoreThanWasAskedFor(t *testing.T) {
	d := newKV(t)
	issuer := d.issuer(t)
	description := describe(t, issuer, wish(t, "app/*:read,write"))
	for name, change := range map[string]func(auth map[string]any){
		"another policy":      func(auth map[string]any) { auth["policies"] = []string{"root"} },
		"a policy more":       func(auth map[string]any) { auth["token_policies"] = append(auth["policies"].([]any), "default") },
		"an identity's":       func(auth map[string]any) { auth["identity_policies"] = []string{"wide"} },
		"an identity":         func(auth map[string]any) { auth["entity_id"] = "8c1b" },
		"a longer life":       func(auth map[string]any) { auth["lease_duration"] = 3601 },
		"no end at all":       func(auth map[string]any) { auth["lease_duration"] = 0 },
		"a renewal":           func(auth map[string]any) { auth["renewable"] = true },
		"a parent":            func(auth map[string]any) { auth["orphan"] = false },
		"no accessor":         func(auth map[string]any) { auth["accessor"] = "" },
		"no token":            func(auth map[string]any) { auth["client_token"] = "" },
		"nothing to be ended": func(auth map[string]any) { clear(auth) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBetween(t, server.Address)
			d.settings.Address = b.URL
			issuer := d.issuer(t)
			b.on("auth/token/create/", rewrite(func(answer map[string]any) { change(answer["auth"].(map[string]any)) }))
			credential, handle, err := issuer.Issue(t.Context(), orderFor(description, "hk-more-1"))
			b.on("", nil)
			if broker.CodeOf(err) != broker.CodeUnavailable || len(credential.Values) > 0 {
				t.Errorf("Issue: %v; want it refused", err)
			}
			if err := issuer.Revoke(t.Context(), "hk-more-1", handle); err != nil {
				t.Errorf("Revoke: %v", err)
			}
			if names, err := issuer.List(t.Context(), "hk-more-"); err != nil || len(names) > 0 {
				t.Errorf("List: %v, %v", names, err)
			}
		})
	}
}

// patience is less than the time after which a session gives up by itself.
const patience = 10 * time.Second

// hangs has a step never be answered. The caller gives up when it hangs; waited gives how long it was held after that, and ends the hanging.
func (b *between) hangs(t *testing.T, step string) (ctx context.Context, waited func() time.Duration) {
	t.Helper()
	ctx, giveUp := context.WithCancel(t.Context())
	released, since := make(chan struct{}), make(chan time.Time, 1)
	b.on(step, func(http.ResponseWriter, *http.Request, http.Handler) {
		select {
		case since <- time.Now():
			giveUp()
		default:
		}
		<-released
	})
	return ctx, func() time.Duration {
		giveUp()
		close(released)
		b.on("", nil)
		select {
		case began := <-since:
			return time.Since(began)
		default:
			t.Errorf("%s: nothing has hung", step)
			return 0
		}
	}
}

// A Vault that hangs holds nobody longer than the caller waits.
func TestSlowVault(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "public.orders:read,write"))
	for _, step := range []string{"auth/token/create/", "/creds/", "sys/mounts/"} {
		ctx, waited := b.hangs(t, step)
		var err error
		var handle broker.Handle
		if step == "sys/mounts/" {
			_, err = issuer.Describe(ctx, wish(t, "public.orders:read,write"))
		} else {
			_, handle, err = issuer.Issue(ctx, orderFor(d, "hk-slow-1"))
		}
		if took := waited(); broker.CodeOf(err) != broker.CodeUnavailable || took > patience {
			t.Errorf("%s: %v after %s; want it unavailable when the caller gives up", step, err, took)
		}
		if err := issuer.Revoke(t.Context(), "hk-slow-1", handle); err != nil {
			t.Errorf("Revoke: %v", err)
		}
	}
}

// Nor does one that hangs while a lease is ended: the end is not taken for done, and done again it is.
func TestSlowVaultAtTheEnd(t *testing.T) {
	s := newShop(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	t.Parallel()
	for n, step := range []string{"sys/leases/revoke/", "auth/token/revoke-accessor", "auth/token/lookup-accessor", "sys/leases/lookup"} {
		name := fmt.Sprintf("hk-slow-end-%d", n)
		_, handle := lease(t, issuer, name, "public.orders:read,write")
		ctx, waited := b.hangs(t, step)
		err := issuer.Revoke(ctx, name, handle)
		if took := waited(); broker.CodeOf(err) != broker.CodeUnavailable || took > patience {
			t.Errorf("%s: %v after %s; want it unavailable when the caller gives up", step, err, took)
		}
		if err := issuer.Revoke(t.Context(), name, handle); err != nil {
			t.Errorf("Revoke, once more: %v", err)
		}
		s.nothingLeft(t, issuer, name)
	}
}

// With nobody at the address, or no login, every call says so, in time, and names no secret.
func TestVaultIsNotThere(t *testing.T) {
	d := newKV(t)
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	d.settings.Address = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	issuer := d.issuer(t)
	_, describeErr := issuer.Describe(t.Context(), wish(t, "app/*:read"))
	_, identifyErr := issuer.Identify(t.Context())
	_, checkErr := issuer.Check(t.Context())
	_, listErr := issuer.List(t.Context(), "hk-")
	for what, err := range map[string]error{
		"Describe": describeErr, "Identify": identifyErr, "Check": checkErr, "List": listErr,
		"Revoke": issuer.Revoke(t.Context(), "hk-gone-1", broker.Handle(`{"accessor":"a"}`)), "Revoke without a handle": issuer.Revoke(t.Context(), "hk-gone-1", nil),
	} {
		if broker.CodeOf(err) != broker.CodeUnavailable || next(err) == "" || strings.Contains(fmt.Sprintf("%+v", err), d.secretID) {
			t.Errorf("%s: %v; want it unavailable, with a next step", what, err)
		}
	}
}

// While the database is down, Vault cannot end a login: the lease is not taken for ended, and when the database is back it is.
func TestDatabaseIsDownAtTheEnd(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	_, handle := lease(t, issuer, "hk-dbdown-1", "public.orders:read,write")
	database.Exec(t, "postgres", "ALTER ROLE "+s.admin+" NOLOGIN", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+s.admin+"'")
	_, _, issueErr := issuer.Issue(t.Context(), orderFor(describe(t, issuer, wish(t, "public.orders:read,write")), "hk-dbdown-2"))
	endErr := issuer.Revoke(t.Context(), "hk-dbdown-1", handle)
	database.Exec(t, "postgres", "ALTER ROLE "+s.admin+" LOGIN")
	for what, err := range map[string]error{"Issue": issueErr, "Revoke": endErr} {
		if broker.CodeOf(err) != broker.CodeUnavailable || next(err) == "" || strings.Contains(fmt.Sprintf("%+v", err), s.adminPassword) {
			t.Errorf("%s while the database is down: %v; want it unavailable, with a next step", what, err)
		}
	}
	if err := issuer.Revoke(t.Context(), "hk-dbdown-1", handle); err != nil {
		t.Errorf("Revoke when it is back: %v", err)
	}
	if err := issuer.Revoke(t.Context(), "hk-dbdown-2", nil); err != nil {
		t.Errorf("Revoke of what was not issued: %v", err)
	}
	s.nothingLeft(t, issuer, "hk-dbdown-1")
}

// The broker dies at every step of issuing: one that is started anew finds what there is by its name, and ends it.
func TestBrokerDiesWhileIssuing(t *testing.T) {
	s := newShop(t)
	for _, point := range vault.Failpoints()[:2] {
		for _, when := range []string{"before ", "after "} {
			t.Run(when+point, func(t *testing.T) {
				fresh := s.issuer(t)
				order := orderFor(describe(t, fresh, wish(t, "public.orders:read,write")), "hk-crash-1")
				died := issuertest.Dies(when+point, func(failpoint func(string)) {
					config := s.config()
					config.Failpoint = failpoint
					_, _, _ = open(t, config).Issue(t.Context(), order)
				})
				if !died {
					t.Error("the failpoint was not reached")
				}
				names, err := fresh.List(t.Context(), "hk-crash-")
				if want := when+point != "before issue token"; err != nil || slices.Contains(names, "hk-crash-1") != want {
					t.Errorf("List: %v, %v; want it there: %t", names, err, want)
				}
				if err := fresh.Revoke(t.Context(), "hk-crash-1", nil); err != nil {
					t.Errorf("Revoke: %v", err)
				}
				s.nothingLeft(t, fresh, "hk-crash-1")
			})
		}
	}
}

// rewrite changes an answer on its way.
func rewrite(change func(map[string]any)) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		kept := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		forward.ServeHTTP(kept, r)
		var answer map[string]any
		if err := json.Unmarshal(kept.Body.Bytes(), &answer); err == nil {
			change(answer)
		}
		w.WriteHeader(kept.Code)
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// Nothing is asked twice: not within a description, and not within an issue.
func TestNothingIsLookedUpTwice(t *testing.T) {
	for engine, s := range map[string]*site{"database": newShop(t).site, "kv": newKV(t).site, "pki": newOffice(t).site, "ssh": newHarbour(t).site} {
		b := newBetween(t, server.Address)
		s.settings.Address = b.URL
		issuer := s.issuer(t)
		asked := map[string]string{"database": "public.orders:read,write", "kv": "app/*:read,write", "pki": "orders-api:read,write", "ssh": "web-host:read,write"}[engine]
		d := describe(t, issuer, wish(t, asked)) // the login is made here
		for what, act := range map[string]func() error{
			"Describe": func() error { _, err := issuer.Describe(t.Context(), wish(t, asked)); return err },
			"Issue": func() error {
				_, handle, err := issuer.Issue(t.Context(), orderFor(d, "hk-once-1"))
				t.Cleanup(func() { _ = issuer.Revoke(context.Background(), "hk-once-1", handle) })
				return err
			},
		} {
			b.on("", nil)
			before := len(b.calls())
			if err := act(); err != nil {
				t.Fatal(err)
			}
			calls := slices.Sorted(slices.Values(b.calls()[before:]))
			if once := slices.Compact(slices.Clone(calls)); len(once) != len(calls) {
				t.Errorf("%s, %s: %q", engine, what, calls)
			}
		}
	}
}
