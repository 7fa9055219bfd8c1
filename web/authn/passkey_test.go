package authn

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

const (
	testRPID   = "hourkey.example"
	testOrigin = "https://hourkey.example"
)

var testHandle = bytes.Repeat([]byte{7}, 32)

func newVerifier(t *testing.T) *Verifier {
	t.Helper()
	v, err := NewVerifier(testRPID, []string{testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func register(t *testing.T, v *Verifier, key *softkey.Key, c softkey.Ceremony) (broker.Passkey, error) {
	t.Helper()
	r, err := key.Register(testHandle, c)
	if err != nil {
		t.Fatal(err)
	}
	return v.Register(testHandle, challengeOf("register"), Attestation(r))
}

func enrolled(t *testing.T, v *Verifier, synced bool) (*softkey.Key, broker.Passkey) {
	t.Helper()
	key, err := softkey.New(testRPID)
	if err != nil {
		t.Fatal(err)
	}
	key.Synced = synced
	passkey, err := register(t, v, key, softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("register")})
	if err != nil {
		t.Fatal(err)
	}
	return key, passkey
}

func challengeOf(what string) []byte { return []byte(what + strings.Repeat(".", 48-len(what))) }

func sign(t *testing.T, key *softkey.Key, c softkey.Ceremony) broker.Assertion {
	t.Helper()
	a, err := key.Assert(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAnHonestSignatureIsAccepted(t *testing.T) {
	v := newVerifier(t)
	for _, synced := range []bool{false, true} {
		key, passkey := enrolled(t, v, synced)
		for range 2 {
			assertion := sign(t, key, softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("act")})
			counter, err := v.Verify(passkey, challengeOf("act"), assertion)
			if err != nil || counter != key.Counter {
				t.Fatalf("synced %v: counter %d, %v", synced, counter, err)
			}
			passkey.Counter = counter
		}
	}
}

// Each case is one lie; everything else about the signature is honest.
func TestEveryLieInAnAssertionIsRefused(t *testing.T) {
	v := newVerifier(t)
	honest := softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("act")}
	lies := map[string]func(*softkey.Ceremony){
		"for another challenge":      func(c *softkey.Ceremony) { c.Challenge = challengeOf("another act") },
		"without user verification":  func(c *softkey.Ceremony) { c.NoUser = true },
		"without presence":           func(c *softkey.Ceremony) { c.NoPresence = true },
		"on another site":            func(c *softkey.Ceremony) { c.Origin = "https://hourkey.example.evil.test" },
		"on another port":            func(c *softkey.Ceremony) { c.Origin = "https://hourkey.example:8443" },
		"over plain http":            func(c *softkey.Ceremony) { c.Origin = "http://hourkey.example" },
		"origin in another case":     func(c *softkey.Ceremony) { c.Origin = "https://HOURKEY.example" },
		"origin with a path":         func(c *softkey.Ceremony) { c.Origin = testOrigin + "/x" },
		"in a frame of another site": func(c *softkey.Ceremony) { c.CrossOrigin = true },
		"below another top page": func(c *softkey.Ceremony) {
			c.CrossOrigin, c.TopOrigin = true, "https://evil.test"
		},
		"for another relying party":     func(c *softkey.Ceremony) { c.RPID = "evil.test" },
		"a registration as signature":   func(c *softkey.Ceremony) { c.Type = "webauthn.create" },
		"backed up but not eligible":    func(c *softkey.Ceremony) { c.BackedUp = true },
		"by a copy with an old counter": func(c *softkey.Ceremony) { c.SameCounter = true },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			key, passkey := enrolled(t, v, false)
			first := sign(t, key, honest)
			counter, err := v.Verify(passkey, honest.Challenge, first)
			if err != nil {
				t.Fatal(err)
			}
			passkey.Counter = counter
			ceremony := honest
			lie(&ceremony)
			if _, err := v.Verify(passkey, honest.Challenge, sign(t, key, ceremony)); broker.CodeOf(err) != broker.CodeForbidden {
				t.Fatalf("accepted, or another error: %v", err)
			}
		})
	}
}

func TestAReplayedAssertionIsRefusedByItsCounter(t *testing.T) {
	v := newVerifier(t)
	key, passkey := enrolled(t, v, false)
	assertion := sign(t, key, softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("act")})
	passkey.Counter, _ = v.Verify(passkey, challengeOf("act"), assertion)
	if _, err := v.Verify(passkey, challengeOf("act"), assertion); broker.CodeOf(err) != broker.CodeForbidden {
		t.Fatalf("a replay was accepted: %v", err)
	}
	passkey.Counter = 0 // as the broker does to check a kept approval
	if _, err := v.Verify(passkey, challengeOf("act"), assertion); err != nil {
		t.Fatalf("a kept assertion no longer verifies: %v", err)
	}
}

func TestAnAssertionThatWasTamperedWithIsRefused(t *testing.T) {
	v := newVerifier(t)
	key, passkey := enrolled(t, v, true)
	other, otherPasskey := enrolled(t, v, true)
	ceremony := softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("act")}
	honest := sign(t, key, ceremony)
	flip := func(b []byte, at int) []byte {
		out := bytes.Clone(b)
		out[at] ^= 1
		return out
	}
	for name, tamper := range map[string]func(*broker.Assertion){
		"signature":          func(a *broker.Assertion) { a.Signature = flip(a.Signature, len(a.Signature)-1) },
		"no signature":       func(a *broker.Assertion) { a.Signature = nil },
		"counter":            func(a *broker.Assertion) { a.AuthenticatorData = flip(a.AuthenticatorData, 36) },
		"eligible flag":      func(a *broker.Assertion) { a.AuthenticatorData = flip(a.AuthenticatorData, 32) },
		"trailing data":      func(a *broker.Assertion) { a.AuthenticatorData = append(bytes.Clone(a.AuthenticatorData), 0) },
		"short data":         func(a *broker.Assertion) { a.AuthenticatorData = a.AuthenticatorData[:30] },
		"client data":        func(a *broker.Assertion) { a.ClientDataJSON = append(bytes.Clone(a.ClientDataJSON), ' ') },
		"no client data":     func(a *broker.Assertion) { a.ClientDataJSON = nil },
		"another user":       func(a *broker.Assertion) { a.UserHandle = bytes.Repeat([]byte{8}, 32) },
		"another key's name": func(a *broker.Assertion) { a.CredentialID = otherPasskey.ID },
		"another key":        func(a *broker.Assertion) { *a = sign(t, other, ceremony); a.CredentialID = passkey.ID },
		"id with a newline":  func(a *broker.Assertion) { a.CredentialID += "\n" },
		"nothing":            func(a *broker.Assertion) { *a = broker.Assertion{} },
	} {
		t.Run(name, func(t *testing.T) {
			assertion := honest
			tamper(&assertion)
			if _, err := v.Verify(passkey, ceremony.Challenge, assertion); broker.CodeOf(err) != broker.CodeForbidden {
				t.Fatalf("accepted, or another error: %v", err)
			}
		})
	}
}

func TestEveryLieInARegistrationIsRefused(t *testing.T) {
	v := newVerifier(t)
	for name, lie := range map[string]func(*softkey.Ceremony){
		"for another challenge":      func(c *softkey.Ceremony) { c.Challenge = challengeOf("another") },
		"without user verification":  func(c *softkey.Ceremony) { c.NoUser = true },
		"on another site":            func(c *softkey.Ceremony) { c.Origin = "https://evil.test" },
		"in a foreign frame":         func(c *softkey.Ceremony) { c.CrossOrigin = true },
		"for another relying party":  func(c *softkey.Ceremony) { c.RPID = "evil.test" },
		"an assertion's type":        func(c *softkey.Ceremony) { c.Type = "webauthn.get" },
		"backed up but not eligible": func(c *softkey.Ceremony) { c.BackedUp = true },
	} {
		t.Run(name, func(t *testing.T) {
			key, err := softkey.New(testRPID)
			if err != nil {
				t.Fatal(err)
			}
			ceremony := softkey.Ceremony{Origin: testOrigin, Challenge: challengeOf("register")}
			lie(&ceremony)
			if _, err := register(t, v, key, ceremony); broker.CodeOf(err) != broker.CodeForbidden {
				t.Fatalf("accepted, or another error: %v", err)
			}
		})
	}
}

func TestAVerifierRefusesOriginsThatBrowsersGiveNoPasskey(t *testing.T) {
	for rpID, origin := range map[string]string{
		"hourkey.example":  "http://hourkey.example",
		"hourkey.example.": "https://hourkey.example",
		"127.0.0.1":        "http://127.0.0.1:8443",
		"localhost":        "http://localhost:8443/",
		"example.com":      "https://badexample.com",
		"a.example":        "https://A.example",
	} {
		if _, err := NewVerifier(rpID, []string{origin}); err == nil {
			t.Errorf("%s at %s was accepted", rpID, origin)
		}
	}
	for rpID, origin := range map[string]string{"localhost": "http://localhost:8443", "example.com": "https://keys.example.com"} {
		if _, err := NewVerifier(rpID, []string{origin}); err != nil {
			t.Errorf("%s at %s: %v", rpID, origin, err)
		}
	}
}

func TestAChallengeIsGoodForOneAnswerWithinFiveMinutes(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	challenges := NewChallenges[string](func() time.Time { return now })
	key, err := softkey.New(testRPID)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(challenge []byte) []byte {
		return sign(t, key, softkey.Ceremony{Origin: testOrigin, Challenge: challenge}).ClientDataJSON
	}
	challenge := challenges.Begin("alice")
	got, value, err := challenges.Finish(answer(challenge))
	if err != nil || value != "alice" || !bytes.Equal(got, challenge) {
		t.Fatalf("%q %v", value, err)
	}
	if _, _, err := challenges.Finish(answer(challenge)); broker.CodeOf(err) != broker.CodeExpired {
		t.Fatalf("a second answer was taken: %v", err)
	}
	late := challenges.Begin("bob")
	now = now.Add(broker.SignFor)
	if _, _, err := challenges.Finish(answer(late)); broker.CodeOf(err) != broker.CodeExpired {
		t.Fatalf("a late answer was taken: %v", err)
	}
	if _, _, err := challenges.Finish(answer(make([]byte, 32))); broker.CodeOf(err) != broker.CodeExpired {
		t.Fatalf("an answer to nothing was taken: %v", err)
	}
}

func TestAskingForManyChallengesDoesNotFillTheMemory(t *testing.T) {
	challenges := NewChallenges[int](func() time.Time { return time.Unix(0, 0) })
	for i := range 3 * challengesMax {
		challenges.Begin(i)
	}
	if len(challenges.held) > challengesMax || len(challenges.order) > challengesMax {
		t.Fatalf("%d challenges are held", len(challenges.held))
	}
}
