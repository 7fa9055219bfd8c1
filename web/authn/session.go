package authn

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The clocks of a session, at their longest.
const (
	SessionIdle = 30 * time.Minute // without a request
	SessionLife = 12 * time.Hour   // whatever happens

	touchEvery  = time.Minute // how exactly Seen is kept, or a quarter of idle; saves a commit per page
	tokenSize   = 32
	sweepAtOnce = 100

	maxUserAgent = 200 // characters of it that are kept
)

// SessionsOfOne is how many sessions one human has at most: the one that was used longest ago ends when another begins.
// It bounds what all of them can do together, because each is counted by itself.
const SessionsOfOne = 8

// Via is how a human signed in.
type Via string

// The ways in.
const (
	ViaPasskey Via = "passkey"
	ViaSignOn  Via = "sso" // single sign-on by OpenID Connect
)

// Session is a browser in which a human signed in. It reads pages and denies; to approve, a passkey signs
// each time anew, so a session alone approves nothing. The token is only in the browser; the store has
// its hash.
type Session struct {
	Hash    string    `json:"hash"` // base64url SHA-256 of the token
	ID      string    `json:"id"`   // names the session to humans; opens nothing
	Human   string    `json:"human"`
	Via     Via       `json:"via"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`

	Passkey string `json:"passkey,omitempty"` // that signed in; a session by passkey dies with it

	// The account that signed on; the session dies when the human's Login is gone, is another
	// account's, or has no groups any more.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Proved is when the human last proved to the provider who it is, zero where that was not demanded.
	Proved time.Time `json:"proved,omitzero"`

	Address   string `json:"address,omitempty"`    // from which it was begun
	UserAgent string `json:"user_agent,omitempty"` // the browser's own words, cut
}

// Meta places sessions by the token's hash, by human, and by when they end at the latest.
func (s *Session) Meta() broker.Meta {
	created := s.Created.UTC().Format("20060102150405.000000000")
	return broker.Meta{Kind: "session", Key: s.Hash, Format: 1, Index: []broker.Entry{
		{Name: "created", Order: created}, {Name: "human/" + s.Human, Order: created},
	}}
}

// SessionsConfig is what Sessions depend on. Store and Now are required.
type SessionsConfig struct {
	Store  broker.Store
	Now    func() time.Time
	Secure bool          // the origin is https; plain http has only localhost
	Idle   time.Duration // default and most SessionIdle
	Life   time.Duration // default and most SessionLife
}

// Sessions starts, finds, lists and ends sessions.
type Sessions struct {
	store      broker.Store
	now        func() time.Time
	cookie     string
	secure     bool
	idle, life time.Duration
}

// NewSessions keeps sessions in the store. On plain http the cookie cannot have the __Host- prefix
// (RFC 6265bis, section 4.1.3.2).
func NewSessions(config SessionsConfig) *Sessions {
	return &Sessions{
		store: config.Store, now: config.Now, cookie: cookieName("hourkey-session", config.Secure), secure: config.Secure,
		idle: atMost(config.Idle, SessionIdle), life: atMost(config.Life, SessionLife),
	}
}

func atMost(wish, most time.Duration) time.Duration {
	if wish <= 0 || wish > most {
		return most
	}
	return wish
}

// cookieName has the prefix by which browsers bind a cookie to this host, where they allow it.
func cookieName(name string, secure bool) string {
	if secure {
		return "__Host-" + name
	}
	return name
}

// over tells whether the session's time is over. One without an ID was begun by an earlier version, and
// could not be listed: its human signs in once more.
func (s *Sessions) over(session Session) bool {
	const ahead = time.Minute // a clock that is put right by less ends no session; one that is set back makes none younger
	now := s.now()
	return session.ID == "" || !now.Before(session.Created.Add(s.life)) || !now.Before(session.Seen.Add(s.idle)) || now.Before(session.Seen.Add(-ahead))
}

// Start begins a session by passkey.
func (s *Sessions) Start(ctx context.Context, human, passkey string) (*http.Cookie, error) {
	return s.Begin(ctx, Session{Human: human, Via: ViaPasskey, Passkey: passkey})
}

// Begin begins a session as begun describes it and gives its cookie. The token is always new: nobody can
// plant one. Hash, ID, Created and Seen are set here.
func (s *Sessions) Begin(ctx context.Context, begun Session) (*http.Cookie, error) {
	token, now := newToken(), s.now().UTC()
	begun.Hash, begun.ID, begun.Created, begun.Seen = hashOf(token), rand.Text()[:16], now, now
	begun.UserAgent = clipped(begun.UserAgent)
	err := s.store.Update(ctx, func(tx broker.Tx) error {
		if err := errors.Join(s.sweep(tx, now), s.makeRoom(tx, begun.Human)); err != nil {
			return err
		}
		return tx.Save(&begun)
	})
	if err != nil {
		return nil, err
	}
	return s.bake(token, int(s.life/time.Second)), nil
}

// newToken is 256 random bits, base64url.
func newToken() string {
	raw := make([]byte, tokenSize)
	_, _ = rand.Read(raw) // never fails: it stops the program instead (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// clipped cuts what a browser says of itself, on the border of a character.
func clipped(text string) string {
	n := 0
	for at := range text {
		if n++; n > maxUserAgent {
			return strings.ToValidUTF8(text[:at], "")
		}
	}
	return strings.ToValidUTF8(text, "")
}

// sweep forgets sessions that are past their life. An idle one is refused by Find and goes with the
// others.
func (s *Sessions) sweep(tx broker.Tx, now time.Time) error {
	var over []*Session
	err := tx.Scan("session", "created", func(raw []byte) error {
		session := &Session{}
		if err := json.Unmarshal(raw, session); err != nil {
			return err
		}
		if now.Before(session.Created.Add(s.life)) || len(over) == sweepAtOnce {
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

// makeRoom ends the sessions of a human that are too many beside one more, the longest unused first.
func (s *Sessions) makeRoom(tx broker.Tx, human string) error {
	all, err := sessionsOf(tx, human)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b Session) int { return a.Seen.Compare(b.Seen) })
	for i := range len(all) - SessionsOfOne + 1 {
		if err := tx.Delete(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// Find gives the session of a request; CodeUnauthenticated if there is none, or it is over, or what it
// was begun with holds no longer.
func (s *Sessions) Find(r *http.Request) (Session, error) {
	cookie, err := r.Cookie(s.cookie)
	if err != nil || len(cookie.Value) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return Session{}, nobody()
	}
	return s.Again(r.Context(), Session{Hash: hashOf(cookie.Value)})
}

// Again finds a session once more, as it is now; CodeUnauthenticated as Find.
func (s *Sessions) Again(ctx context.Context, former Session) (Session, error) {
	session, holds := Session{Hash: former.Hash}, false
	err := s.store.View(ctx, func(reader broker.Reader) (err error) {
		if err := reader.Load(&session); err != nil {
			return err
		}
		holds, err = s.holds(reader, session)
		return err
	})
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		return Session{}, nobody()
	case err != nil:
		return Session{}, err
	case !holds:
		return Session{}, nobody()
	}
	return session, nil
}

func nobody() *broker.Error {
	return broker.Errorf(broker.CodeUnauthenticated, "nobody is signed in").WithNext("sign in")
}

// holds tells whether a session is good now: in its time, and what it was begun with is still the
// human's.
func (s *Sessions) holds(r broker.Reader, session Session) (bool, error) {
	if s.over(session) {
		return false, nil
	}
	var still bool
	var err error
	switch session.Via {
	case ViaPasskey:
		passkey := broker.Passkey{ID: session.Passkey}
		err = r.Load(&passkey)
		still = passkey.Human == session.Human
	case ViaSignOn:
		login := broker.Login{Human: session.Human}
		err = r.Load(&login)
		still = len(login.Groups) > 0 && login.Issuer == session.Issuer && login.Subject == session.Subject
	}
	if broker.CodeOf(err) == broker.CodeNotFound {
		return false, nil
	}
	return still && err == nil, err
}

// Touch says that the session was used; the store hears of it at most once a minute.
func (s *Sessions) Touch(ctx context.Context, session Session) error {
	now := s.now().UTC()
	if now.Before(session.Seen.Add(min(touchEvery, s.idle/4))) {
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
