package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	signInDomain = "hourkey/sign-in/1\x00"
	signInRandom = len(spentID{})   // WebAuthn wants 16 bytes at least (level 3, section 13.4.3)
	signInBody   = signInRandom + 8 // random bytes and age
	signInSize   = signInBody + sha256.Size
)

// SignIns hands out the challenges of signing in, each good for one answer within broker.SignFor. Whoever asks for
// one has proved nothing, so nothing is kept for it: the attack is strangers who ask until there is no room for the
// challenge that a human has before them. A challenge carries its age under a key of ours:
//
//	challenge = random (16) ‖ age in ns (8, big endian) ‖ HMAC-SHA-256( key, "hourkey/sign-in/1" ‖ 0x00 ‖ random ‖ age )
//
// It is 56 bytes long, and that of a statement (broker.Statement) 48: neither passes for the other. The key lives as
// long as the process; a restart only means to try again.
type SignIns struct {
	now   func() time.Time
	key   []byte
	spent *spent // random bytes of challenges that were answered
}

// NewSignIns makes a key.
func NewSignIns(now func() time.Time) *SignIns {
	s := &SignIns{now: now, key: make([]byte, sha256.Size), spent: newSpent(broker.SignFor, now())}
	_, _ = rand.Read(s.key) // never fails: it stops the program instead (crypto/rand)
	return s
}

// Begin makes a challenge.
func (s *SignIns) Begin() []byte {
	challenge := make([]byte, signInBody, signInSize)
	_, _ = rand.Read(challenge[:signInRandom])
	binary.BigEndian.PutUint64(challenge[signInRandom:], uint64(s.spent.age(s.now()))) //nolint:gosec // isOver refuses what is negative
	return append(challenge, s.mac(challenge)...)
}

func (s *SignIns) mac(body []byte) []byte {
	sum := hmac.New(sha256.New, s.key)
	sum.Write([]byte(signInDomain))
	sum.Write(body)
	return sum.Sum(nil)
}

// Finish uses up the challenge that the client data answers, right or wrong: the attack is an answer that is sent
// twice.
func (s *SignIns) Finish(clientDataJSON []byte) (challenge []byte, err error) {
	text, err := challengeIn(clientDataJSON)
	if err != nil {
		return nil, staleAnswer().Because(err)
	}
	challenge, err = base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(challenge) != signInSize || !hmac.Equal(challenge[signInBody:], s.mac(challenge[:signInBody])) {
		return nil, staleAnswer()
	}
	made := time.Duration(binary.BigEndian.Uint64(challenge[signInRandom:signInBody])) //nolint:gosec // isOver refuses what is negative
	if !s.spent.use(spentID(challenge[:signInRandom]), made, s.now()) {
		return nil, staleAnswer()
	}
	return challenge, nil
}
