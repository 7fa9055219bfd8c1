package authn

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

type sessionBed struct {
	store    *brokertest.Store
	sessions *Sessions
	now      time.Time
}

func newSessionBed(t *testing.T) *sessionBed {
	t.Helper()
	bed := &sessionBed{store: &brokertest.Store{}, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	bed.sessions = NewSessions(SessionsConfig{Store: bed.store, Now: func() time.Time { return bed.now }, Secure: true})
	bed.save(t, &broker.Passkey{ID: "key", Human: "alice"})
	return bed
}

func (b *sessionBed) save(t *testing.T, record broker.Record) {
	t.Helper()
	if err := b.store.Update(context.Background(), func(tx broker.Tx) error { return tx.Save(record) }); err != nil {
		t.Fatal(err)
	}
}

func (b *sessionBed) start(t *testing.T) *http.Cookie {
	t.Helper()
	cookie, err := b.sessions.Start(context.Background(), "alice", "key")
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func (b *sessionBed) find(cookie *http.Cookie) (Session, error) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(cookie)
	return b.sessions.Find(r)
}

func (b *sessionBed) refuses(t *testing.T, cookie *http.Cookie, what string) {
	t.Helper()
	if _, err := b.find(cookie); broker.CodeOf(err) != broker.CodeUnauthenticated {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestTheSessionCookieIsBoundToThisHostAndHiddenFromScripts(t *testing.T) {
	cookie := newSessionBed(t).start(t)
	if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly ||
		cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Fatalf("%+v", cookie)
	}
}

func TestTheStoreDoesNotHoldTheTokenOfASession(t *testing.T) {
	bed := newSessionBed(t)
	cookie := bed.start(t)
	err := bed.store.View(context.Background(), func(r broker.Reader) error {
		return r.Scan("session", "", func(raw []byte) error {
			if strings.Contains(string(raw), cookie.Value) {
				t.Errorf("the token is in the store: %s", raw)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestASessionEndsAfterHalfAnHourWithoutUseAndTwelveHoursWithIt(t *testing.T) {
	bed := newSessionBed(t)
	idle := bed.start(t)
	bed.now = bed.now.Add(SessionIdle)
	bed.refuses(t, idle, "idle")

	used := bed.start(t)
	began := bed.now
	for bed.now.Before(began.Add(SessionLife - 20*time.Minute)) {
		bed.now = bed.now.Add(20 * time.Minute)
		session, err := bed.find(used)
		if err != nil {
			t.Fatalf("after %s: %v", bed.now.Sub(began), err)
		}
		if err := bed.sessions.Touch(context.Background(), session); err != nil {
			t.Fatal(err)
		}
	}
	bed.now = began.Add(SessionLife)
	bed.refuses(t, used, "after its life")
}

func TestASessionDiesWithItsPasskey(t *testing.T) {
	bed := newSessionBed(t)
	cookie := bed.start(t)
	err := bed.store.Update(context.Background(), func(tx broker.Tx) error { return tx.Delete(&broker.Passkey{ID: "key"}) })
	if err != nil {
		t.Fatal(err)
	}
	bed.refuses(t, cookie, "passkey removed")
	bed.save(t, &broker.Passkey{ID: "key", Human: "mallory"})
	bed.refuses(t, cookie, "passkey of another human")
}

func TestSigningOutEndsTheSessionForGood(t *testing.T) {
	bed := newSessionBed(t)
	cookie := bed.start(t)
	session, err := bed.find(cookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.sessions.End(context.Background(), session); err != nil {
		t.Fatal(err)
	}
	bed.refuses(t, cookie, "signed out")
	bed.now = bed.now.Add(2 * touchEvery)
	if err := bed.sessions.Touch(context.Background(), session); err == nil {
		t.Fatal("a request that was under way brought the session back")
	}
	bed.refuses(t, cookie, "signed out, then touched")
}

func TestAGuessedOrPlantedTokenFindsNothing(t *testing.T) {
	bed := newSessionBed(t)
	cookie := bed.start(t)
	for _, value := range []string{"", "x", strings.Repeat("A", 43), hashOf(cookie.Value)} {
		planted := *cookie
		planted.Value = value
		bed.refuses(t, &planted, "planted "+value)
	}
}

func TestOldSessionsAreForgottenAtTheNextSignIn(t *testing.T) {
	bed := newSessionBed(t)
	for range 3 {
		bed.start(t)
	}
	bed.now = bed.now.Add(SessionLife)
	bed.start(t)
	kept := 0
	err := bed.store.View(context.Background(), func(r broker.Reader) error {
		return r.Scan("session", "", func([]byte) error { kept++; return nil })
	})
	if err != nil || kept != 1 {
		t.Fatalf("%d sessions are kept, %v", kept, err)
	}
}
