package authn

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The clocks of a session.
const (
	SessionIdle = 30 * time.Minute // without a request
	SessionLife = 12 * time.Hour   // whatever happens

	touchEvery  = time.Minute // how exactly Seen is kept; saves a commit per page
	tokenSize   = 32
	sweepAtOnce = 100
)

// Session is a browser in which a human signed in with a passkey. It reads pages and denies; to
// approve, the passkey signs each time anew. The token is only in the browser; the store has its hash.
type Session struct {
	Hash    string    `json:"hash"` // base64url SHA-256 of the token
	Human   string    `json:"human"`
	Passkey string    `json:"passkey"` // that signed in; the session dies with it
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
}

// Meta places sessions by the token's hash, and by when they end at the latest.
func (s *Session) Meta() broker.Meta {
	return broker.Meta{Kind: "session", Key: s.Hash, Format: 1, Index: []broker.Entry{
		{Name: "created", Order: s.Created.UTC().Format("20060102150405.000000000")},
	}}
}

func (s *Session) over(now time.Time) bool {
	return !now.Before(s.Created.Add(SessionLife)) || !now.Before(s.Seen.Add(SessionIdle))
}

// Sessions starts, finds and ends sessions.
type Sessions struct {
	store  broker.Store
	now    func() time.Time
	cookie string
	secure bool
}

// NewSessions keeps sessions in the store. secure is false on plain http, which only localhost has:
// then the cookie cannot have the __Host- prefix (RFC 6265bis, section 4.1.3.2).
func NewSessions(store broker.Store, now func() time.Time, secure bool) *Sessions {
	cookie := "hourkey-session"
	if secure {
		cookie = "__Host-" + cookie
	}
	return &Sessions{store: store, now: now, cookie: cookie, secure: secure}
}

// Start begins a session and gives its cookie. The token is always new: nobody can plant one.
func (s *Sessions) Start(ctx context.Context, human, passkey string) (*http.Cookie, error) {
	raw := make([]byte, tokenSize)
	_, _ = rand.Read(raw) // never fails: it stops the program instead (crypto/rand)
	token := base64.RawURLEncoding.EncodeToString(raw)
	now := s.now().UTC()
	session := &Session{Hash: hashOf(token), Human: human, Passkey: passkey, Created: now, Seen: now}
	err := s.store.Update(ctx, func(tx broker.Tx) error {
		if err := sweepSessions(tx, now); err != nil {
			return err
		}
		return tx.Save(session)
	})
	if err != nil {
		return nil, err
	}
	return s.bake(token, int(SessionLife/time.Second)), nil
}

// sweepSessions forgets sessions that are past their life. An idle one is refused by Find and goes
// with the others.
func sweepSessions(tx broker.Tx, now time.Time) error {
	var over []*Session
	err := tx.Scan("session", "created", func(raw []byte) error {
		session := &Session{}
		if err := json.Unmarshal(raw, session); err != nil {
			return err
		}
		if now.Before(session.Created.Add(SessionLife)) || len(over) == sweepAtOnce {
			return broker.ErrStop
		}
		over = append(over, session)
		return nil
	})
	if err != nil {
		return err
	}
	for _, session := range over {
		if err := tx.Delete(session); err != nil {
			return err
		}
	}
	return nil
}

// Find gives the session of a request; CodeUnauthenticated if there is none, or it is over, or its
// passkey is no longer the human's.
func (s *Sessions) Find(r *http.Request) (Session, error) {
	nobody := broker.Errorf(broker.CodeUnauthenticated, "nobody is signed in").WithNext("sign in with your passkey")
	cookie, err := r.Cookie(s.cookie)
	if err != nil || len(cookie.Value) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return Session{}, nobody
	}
	session := &Session{Hash: hashOf(cookie.Value)}
	passkey := &broker.Passkey{}
	err = s.store.View(r.Context(), func(reader broker.Reader) error {
		if err := reader.Load(session); err != nil {
			return err
		}
		passkey.ID = session.Passkey
		return reader.Load(passkey)
	})
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		return Session{}, nobody
	case err != nil:
		return Session{}, err
	case session.over(s.now()), passkey.Human != session.Human:
		return Session{}, nobody
	}
	return *session, nil
}

// Touch says that the session was used, at most once a minute in the store.
func (s *Sessions) Touch(ctx context.Context, session Session) error {
	now := s.now().UTC()
	if now.Before(session.Seen.Add(touchEvery)) {
		return nil
	}
	return s.store.Update(ctx, func(tx broker.Tx) error {
		kept := &Session{Hash: session.Hash}
		if err := tx.Load(kept); err != nil {
			return err // signed out meanwhile: stays so
		}
		kept.Seen = now
		return tx.Save(kept)
	})
}

// End forgets a session.
func (s *Sessions) End(ctx context.Context, session Session) error {
	return s.store.Update(ctx, func(tx broker.Tx) error { return tx.Delete(&session) })
}

// Forget is the cookie that makes the browser forget its token.
func (s *Sessions) Forget() *http.Cookie { return s.bake("", -1) }

func (s *Sessions) bake(value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure but on http://localhost, where browsers would drop it
		Name: s.cookie, Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
