package authn

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// answerTo is what a browser says that it answers.
func answerTo(challenge []byte) []byte {
	raw, err := json.Marshal(map[string]string{"type": "webauthn.get", "challenge": base64.RawURLEncoding.EncodeToString(challenge)})
	if err != nil {
		panic(err)
	}
	return raw
}

func wantStale(t *testing.T, what string, err error) {
	t.Helper()
	if broker.CodeOf(err) != broker.CodeExpired {
		t.Errorf("%s was taken: %v", what, err)
	}
}

// The attack: strangers ask for sign-in challenges until there is no room for the one that a human is answering.
func TestStrangersDoNotPushOutASignInUnderWay(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := NewSignIns(func() time.Time { return now })
	mine := s.Begin()
	for range 20_000 {
		s.Begin()
	}
	if kept := len(s.spent.young.used); kept != 0 {
		t.Errorf("%d challenges that nobody answered are kept", kept)
	}
	got, err := s.Finish(answerTo(mine))
	if err != nil || !bytes.Equal(got, mine) {
		t.Fatalf("the human's answer is refused: %v", err)
	}
}

func TestASignInChallengeIsGoodForOneAnswerWithinFiveMinutes(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := NewSignIns(func() time.Time { return now })
	first, late := s.Begin(), s.Begin()
	if len(first) != signInSize || bytes.Equal(first[:signInRandom], late[:signInRandom]) {
		t.Fatalf("%x and %x", first, late)
	}
	now = now.Add(broker.SignFor - 1)
	if _, err := s.Finish(answerTo(first)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Finish(answerTo(first))
	wantStale(t, "a second answer", err)
	now = now.Add(1)
	_, err = s.Finish(answerTo(late))
	wantStale(t, "a late answer", err)
	_, err = s.Finish(answerTo(first))
	wantStale(t, "a second answer, later", err)
}

// The attack: a challenge that nobody asked for here, so that an answer which was made once, elsewhere or long ago, is good.
func TestASignInChallengeThatWasMadeUpIsRefused(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s := NewSignIns(clock)
	honest := s.Begin()
	for at := range honest {
		changed := bytes.Clone(honest)
		changed[at] ^= 1
		_, err := s.Finish(answerTo(changed))
		wantStale(t, "a challenge with another byte", err)
	}
	for name, made := range map[string]int64{"of the future": int64(time.Hour), "of before the start": -1, "of long before": -1 << 63} {
		forged := bytes.Clone(honest[:signInBody])
		binary.BigEndian.PutUint64(forged[signInRandom:], uint64(made))
		_, err := s.Finish(answerTo(append(forged, s.mac(forged)...)))
		wantStale(t, "a challenge "+name, err)
	}
	_, err := NewSignIns(clock).Finish(answerTo(honest))
	wantStale(t, "a challenge of before a restart", err)
	for _, other := range [][]byte{nil, make([]byte, 16), make([]byte, 48), make([]byte, signInSize), append(bytes.Clone(honest), 0)} {
		_, err := s.Finish(answerTo(other))
		wantStale(t, "no challenge of ours", err)
	}
	for _, text := range []string{"", "{", `{"challenge":7}`, `{"challenge":"` + base64.URLEncoding.EncodeToString(honest) + `"}`} {
		_, err := s.Finish([]byte(text))
		wantStale(t, "no client data", err)
	}
	if _, err := s.Finish(answerTo(honest)); err != nil {
		t.Errorf("the honest one is used up by lies: %v", err)
	}
}

// The attack: answers to so many challenges of one's own that a used one is forgotten, and good again.
func TestAFloodOfAnswersMakesNoUsedOneGoodAgain(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := newSpent(time.Minute, now)
	s.most = 100
	id := func(n int) (id spentID) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	made := map[int]time.Duration{}
	for n := range 1000 {
		now = now.Add(time.Millisecond)
		if made[n] = s.age(now); !s.use(id(n), made[n], now) {
			t.Fatalf("%d is refused", n)
		}
		if kept := len(s.young.used) + len(s.old.used); kept > 200 {
			t.Fatalf("%d are kept", kept)
		}
	}
	for n := range 1000 {
		if s.use(id(n), made[n], now) {
			t.Fatalf("%d is good a second time", n)
		}
	}
	if s.use(id(2000), made[1], now) {
		t.Error("what is older than what was forgotten is good")
	}
	if !s.use(id(2001), s.age(now), now) {
		t.Error("what is new is refused")
	}
	now = now.Add(time.Minute)
	s.use(id(3000), s.age(now), now)
	now = now.Add(time.Minute)
	s.use(id(3001), s.age(now), now)
	if len(s.young.used)+len(s.old.used) != 2 {
		t.Errorf("%d and %d are kept after their time", len(s.young.used), len(s.old.used))
	}
}
