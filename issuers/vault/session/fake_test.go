package session_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/vault/session"
)

// fake answers as Vault does where a test needs what a real one does not do: it counts, waits, and lies.
type fake struct {
	*httptest.Server
	secondsOfLife int
	before        func(w http.ResponseWriter, r *http.Request) (answered bool) // may be nil

	mu    sync.Mutex
	calls map[string]int // path → how often
	token int            // serial of the newest
}

func newFake(tb testing.TB, secondsOfLife int) *fake {
	tb.Helper()
	f := &fake{secondsOfLife: secondsOfLife, calls: map[string]int{}}
	f.Server = httptest.NewServer(f)
	tb.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	f.mu.Lock()
	f.calls[path]++
	f.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	auth := func(token string) map[string]any {
		return map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": f.secondsOfLife, "renewable": true}}
	}
	var answer any
	switch path {
	case "auth/approle/login":
		f.mu.Lock()
		f.token++
		answer = auth(fmt.Sprintf("token-%d", f.token))
		f.mu.Unlock()
	case "auth/token/renew-self":
		answer = auth(r.Header.Get("X-Vault-Token"))
	case "sys/capabilities-self":
		var asked struct{ Paths []string }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		can := map[string]any{}
		for _, path := range asked.Paths {
			can[path] = []string{"deny"}
		}
		answer = map[string]any{"data": can}
	default:
		answer = map[string]any{"data": map[string]any{"id": r.Header.Get("X-Vault-Token")}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// called tells how often a path was asked.
func (f *fake) called(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

func (f *fake) settings() session.Settings {
	return session.Settings{Address: f.URL, Login: session.Login{AppRole: session.AppRole{RoleID: "r", SecretID: "env:SECRET"}}}
}

func (f *fake) open(tb testing.TB) *session.Session {
	tb.Helper()
	return open(tb, f.settings(), map[string]string{"env:SECRET": "the-secret-id"})
}

// eventually waits until something holds; a slow machine makes it slow, not wrong.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it did not come about: " + what)
		}
	}
}

// refuse answers as Vault does when it says no.
func refuse(w http.ResponseWriter, status int, why string) bool {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{why}})
	return true
}
