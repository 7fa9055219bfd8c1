package authn

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	challengeSize = 32
	challengesMax = 4096 // under way at once; the oldest gives way
)

// Challenges hands out WebAuthn challenges for registering a passkey, each good for one answer within
// broker.SignFor. They live in memory: a restart only means to try again. T is what the ceremony needs at
// its end. Only who has a one-time code, or is signed in, may begin: a stranger could push out the others.
//
// Challenges of signing in are made by SignIns. Those of acts are not made here: broker.Ceremony makes them
// from the statement.
type Challenges[T any] struct {
	now func() time.Time

	mu    sync.Mutex
	held  map[string]held[T] // challenge, base64url → what it stands for
	order []string           // of held, oldest first; answered ones may linger until they expire
}

type held[T any] struct {
	value   T
	expires time.Time
}

// NewChallenges makes an empty set.
func NewChallenges[T any](now func() time.Time) *Challenges[T] {
	return &Challenges[T]{now: now, held: map[string]held[T]{}}
}

// Begin makes a challenge that stands for value.
func (c *Challenges[T]) Begin(value T) []byte {
	challenge := make([]byte, challengeSize)
	_, _ = rand.Read(challenge) // never fails: it stops the program instead (crypto/rand)
	key := base64.RawURLEncoding.EncodeToString(challenge)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	c.held[key] = held[T]{value: value, expires: c.now().Add(broker.SignFor)}
	c.order = append(c.order, key)
	return challenge
}

// forget drops what has expired, and the oldest while there are too many.
func (c *Challenges[T]) forget() {
	now := c.now()
	for len(c.order) > 0 {
		oldest, found := c.held[c.order[0]]
		if found && now.Before(oldest.expires) && len(c.order) < challengesMax {
			return
		}
		delete(c.held, c.order[0])
		c.order = c.order[1:]
	}
}

// Finish consumes the challenge that the client data answers, right or wrong: the attack is an answer
// that is sent twice.
func (c *Challenges[T]) Finish(clientDataJSON []byte) (challenge []byte, value T, err error) {
	text, err := challengeIn(clientDataJSON)
	if err != nil {
		return nil, value, staleAnswer().Because(err)
	}
	c.mu.Lock()
	entry, found := c.held[text]
	delete(c.held, text)
	c.mu.Unlock()
	if !found || !c.now().Before(entry.expires) {
		return nil, value, staleAnswer()
	}
	challenge, err = base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, value, staleAnswer().Because(err)
	}
	return challenge, entry.value, nil
}

// challengeIn gives the challenge that client data answers, base64url (WebAuthn level 3, section 5.8.1).
func challengeIn(clientDataJSON []byte) (string, error) {
	var client struct {
		Challenge string `json:"challenge"`
	}
	err := json.Unmarshal(clientDataJSON, &client)
	return client.Challenge, err
}

func staleAnswer() *broker.Error {
	return broker.Errorf(broker.CodeExpired, "this answer is not to a question of this page, or it came too late or twice").
		WithNext("load the page again")
}
