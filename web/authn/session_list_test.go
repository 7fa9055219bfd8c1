package authn

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

// signedOn begins a session by single sign-on for alice, whose login is kept with these groups.
func (b *sessionBed) signedOn(t *testing.T, groups ...string) *http.Cookie {
	t.Helper()
	b.save(t, &broker.Login{Human: "alice", Issuer: "https://login.test", Subject: "1", Groups: groups})
	return b.begin(t, Session{Human: "alice", Via: ViaSignOn, Issuer: "https://login.test", Subject: "1"})
}

func (b *sessionBed) begin(t *testing.T, begun Session) *http.Cookie {
	t.Helper()
	cookie, err := b.sessions.Begin(context.Background(), begun)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func (b *sessionBed) good(t *testing.T, cookie *http.Cookie) Session {
	t.Helper()
	session, err := b.find(cookie)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// A human who left a group at the token issuer, and signed on elsewhere since, has no session left here.
func TestASessionBySignOnDiesWithItsGroupsItsLoginOrItsAccount(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, bed *sessionBed){
		"no group left": func(t *testing.T, bed *sessionBed) {
			bed.save(t, &broker.Login{Human: "alice", Issuer: "https://login.test", Subject: "1"})
		},
		"no login left": func(t *testing.T, bed *sessionBed) {
			err := bed.store.Update(context.Background(), func(tx broker.Tx) error { return tx.Delete(&broker.Login{Human: "alice"}) })
			if err != nil {
				t.Fatal(err)
			}
		},
		"another subject": func(t *testing.T, bed *sessionBed) {
			bed.save(t, &broker.Login{Human: "alice", Issuer: "https://login.test", Subject: "2", Groups: []string{"team"}})
		},
		"another issuer": func(t *testing.T, bed *sessionBed) {
			bed.save(t, &broker.Login{Human: "alice", Issuer: "https://evil.test", Subject: "1", Groups: []string{"team"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bed := newSessionBed(t)
			cookie, byPasskey := bed.signedOn(t, "team"), bed.start(t)
			bed.good(t, cookie)
			change(t, bed)
			bed.refuses(t, cookie, name)
			bed.good(t, byPasskey) // which is none of the token issuer's business
			if list, err := bed.sessions.List(context.Background(), "alice"); err != nil || len(list) != 1 {
				t.Errorf("%d are listed, %v", len(list), err)
			}
		})
	}
}

func TestASessionThatSaysNotHowItWasBegunIsNone(t *testing.T) {
	bed := newSessionBed(t)
	bed.refuses(t, bed.begin(t, Session{Human: "alice", Passkey: "key"}), "by nothing")
	bed.refuses(t, bed.begin(t, Session{Human: "alice", Via: "magic", Passkey: "key"}), "by magic")
	bed.refuses(t, bed.begin(t, Session{Human: "alice", Via: ViaSignOn}), "by single sign-on without account")
	bed.refuses(t, bed.begin(t, Session{Human: "alice", Via: ViaPasskey}), "by no passkey")
}

func TestASessionOfAnEarlierVersionCannotBeListedAndIsOver(t *testing.T) {
	bed := newSessionBed(t)
	cookie := bed.start(t)
	session := bed.good(t, cookie)
	session.ID = ""
	bed.save(t, &session)
	bed.refuses(t, cookie, "without ID")
}

func TestSessionsAreListedWithWhatTheirHumanKnowsThemBy(t *testing.T) {
	bed := newSessionBed(t)
	first := bed.begin(t, Session{Human: "alice", Via: ViaPasskey, Passkey: "key", Address: "192.0.2.1", UserAgent: strings.Repeat("ü", 300) + "\xff"})
	bed.now = bed.now.Add(time.Minute)
	second := bed.start(t)
	bed.save(t, &broker.Passkey{ID: "bobs", Human: "bob"})
	bed.begin(t, Session{Human: "bob", Via: ViaPasskey, Passkey: "bobs"})
	bed.save(t, &broker.Passkey{ID: "als", Human: "alice-2"})
	bed.begin(t, Session{Human: "alice-2", Via: ViaPasskey, Passkey: "als"})

	list, err := bed.sessions.List(context.Background(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Session{bed.good(t, second), bed.good(t, first)}, list); diff != "" {
		t.Fatal(diff)
	}
	if got := list[1]; got.Address != "192.0.2.1" || utf8.RuneCountInString(got.UserAgent) != maxUserAgent || !utf8.ValidString(got.UserAgent) || got.ID == "" || got.ID == list[0].ID || strings.Contains(got.Hash, got.ID) {
		t.Errorf("%+v", got)
	}
	bed.now = bed.now.Add(SessionIdle - time.Minute)
	if list, err := bed.sessions.List(context.Background(), "alice"); err != nil || len(list) != 1 {
		t.Errorf("an idle one is listed: %v, %v", list, err)
	}
}

func TestAHumanEndsTheirOwnSessionsAndNobodyElses(t *testing.T) {
	bed := newSessionBed(t)
	ctx := context.Background()
	mine, other, third := bed.start(t), bed.start(t), bed.start(t)
	bed.save(t, &broker.Passkey{ID: "bobs", Human: "bob"})
	bobs := bed.begin(t, Session{Human: "bob", Via: ViaPasskey, Passkey: "bobs"})

	for _, id := range []string{bed.good(t, bobs).ID, "", bed.good(t, mine).Hash} {
		if err := bed.sessions.EndByID(ctx, "alice", id); broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("ending %q: %v", id, err)
		}
	}
	if err := bed.sessions.EndByID(ctx, "alice", bed.good(t, other).ID); err != nil {
		t.Fatal(err)
	}
	bed.refuses(t, other, "ended by its ID")
	if ended, err := bed.sessions.EndOthers(ctx, bed.good(t, mine)); err != nil || ended != 1 {
		t.Fatalf("%d ended, %v", ended, err)
	}
	bed.refuses(t, third, "ended as another")
	bed.good(t, mine)
	bed.good(t, bobs)
}

func TestConfiguredClocksAreNeverLongerThanOurs(t *testing.T) {
	for _, test := range []struct{ idle, life, wantIdle, wantLife time.Duration }{
		{0, 0, SessionIdle, SessionLife},
		{time.Hour, 48 * time.Hour, SessionIdle, SessionLife},
		{-time.Hour, -time.Hour, SessionIdle, SessionLife},
		{5 * time.Minute, time.Hour, 5 * time.Minute, time.Hour},
	} {
		bed := newSessionBed(t)
		bed.sessions = NewSessions(SessionsConfig{Store: bed.store, Now: func() time.Time { return bed.now }, Idle: test.idle, Life: test.life})
		cookie := bed.start(t)
		if cookie.MaxAge != int(test.wantLife/time.Second) || cookie.Name != "hourkey-session" {
			t.Errorf("%+v", cookie)
		}
		bed.now = bed.now.Add(test.wantIdle - time.Second)
		bed.good(t, cookie)
		bed.now = bed.now.Add(time.Second)
		bed.refuses(t, cookie, "idle for "+test.wantIdle.String())
	}
}

// A session of one minute must not end under the hands of who uses it.
func TestAShortSessionLivesWhileItIsUsed(t *testing.T) {
	bed := newSessionBed(t)
	bed.sessions = NewSessions(SessionsConfig{Store: bed.store, Now: func() time.Time { return bed.now }, Idle: time.Minute, Life: 10 * time.Minute})
	cookie := bed.start(t)
	for range 17 {
		bed.now = bed.now.Add(35 * time.Second)
		if err := bed.sessions.Touch(context.Background(), bed.good(t, cookie)); err != nil {
			t.Fatal(err)
		}
	}
	bed.now = bed.now.Add(35 * time.Second)
	bed.refuses(t, cookie, "past its life")
}

func TestASessionThatEndedIsNotFoundAgain(t *testing.T) {
	bed := newSessionBed(t)
	session := bed.good(t, bed.start(t))
	if again, err := bed.sessions.Again(context.Background(), session); err != nil || again.ID != session.ID {
		t.Fatal(err)
	}
	if err := bed.sessions.End(context.Background(), session); err != nil {
		t.Fatal(err)
	}
	for _, former := range []Session{session, {}} {
		if _, err := bed.sessions.Again(context.Background(), former); broker.CodeOf(err) != broker.CodeUnauthenticated {
			t.Errorf("got %v", err)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if _, err := bed.sessions.Find(r); broker.CodeOf(err) != broker.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
}
