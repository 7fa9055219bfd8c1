// Package softkey is a passkey in software: an authenticator and the part of a browser that speaks to
// it. The demo plays its reviewer with it, and the tests their attackers: every field of a Ceremony
// can lie.
//
// It owns one ES256 key per Key. It knows nothing of pages or sessions; Person does. It protects
// nothing: the key lies in memory, and nobody is asked for a finger.
package softkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/hourkey/hourkey/broker"
)

// Key is a discoverable ES256 passkey for one relying party.
type Key struct {
	ID         []byte
	RPID       string
	UserHandle []byte // what Register was given; an assertion carries it
	Counter    uint32 // of the last signature; zero and Synced: none is kept
	Synced     bool   // backup eligible and backed up, as passkeys of phones are; these keep no counter
	private    *ecdsa.PrivateKey
}

// New makes a key for a relying party.
func New(rpID string) (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a software passkey: %w", err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails: it stops the program instead (crypto/rand)
	return &Key{ID: id, RPID: rpID, private: private}, nil
}

// Ceremony is what a browser and an authenticator are told, or claim. The zero value of every field
// but Origin and Challenge is the honest one.
type Ceremony struct {
	Origin      string
	Challenge   []byte
	Type        string // default webauthn.get, or webauthn.create when registering
	RPID        string // default the key's
	CrossOrigin bool
	TopOrigin   string
	NoUser      bool // user verification did not happen
	NoPresence  bool
	BackedUp    bool // says backed up, eligible or not
	SameCounter bool // the counter does not rise, as in a copy of the key
}

// Registration is what navigator.credentials.create gives.
type Registration struct {
	CredentialID      string // base64url
	ClientDataJSON    []byte
	AttestationObject []byte
	Transports        []string
}

// Flags of authenticator data (WebAuthn level 3, section 6.1).
const (
	flagUserPresent    = 1 << 0
	flagUserVerified   = 1 << 2
	flagBackupEligible = 1 << 3
	flagBackedUp       = 1 << 4
	flagAttested       = 1 << 6
)

// Register answers a creation challenge with the key, attestation none.
func (k *Key) Register(userHandle []byte, c Ceremony) (Registration, error) {
	k.UserHandle = userHandle
	client, err := c.clientData("webauthn.create")
	if err != nil {
		return Registration{}, err
	}
	public, err := k.cose()
	if err != nil {
		return Registration{}, err
	}
	data := k.authenticatorData(c, flagAttested)
	data = append(data, make([]byte, 16)...)                      // AAGUID: not told
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.ID))) //nolint:gosec // 32
	data = append(append(data, k.ID...), public...)               // section 6.5.1
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		return Registration{}, fmt.Errorf("encoding the attestation: %w", err)
	}
	return Registration{base64.RawURLEncoding.EncodeToString(k.ID), client, object, []string{"internal"}}, nil
}

// Assert signs a challenge.
func (k *Key) Assert(c Ceremony) (broker.Assertion, error) {
	if !c.SameCounter && !k.Synced {
		k.Counter++
	}
	client, err := c.clientData("webauthn.get")
	if err != nil {
		return broker.Assertion{}, err
	}
	data := k.authenticatorData(c, 0)
	clientHash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), clientHash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		return broker.Assertion{}, fmt.Errorf("signing with a software passkey: %w", err)
	}
	return broker.Assertion{
		CredentialID:      base64.RawURLEncoding.EncodeToString(k.ID),
		ClientDataJSON:    client,
		AuthenticatorData: data,
		Signature:         signature,
		UserHandle:        k.UserHandle,
	}, nil
}

// clientData is the browser's part: WebAuthn level 3, section 5.8.1.
func (c Ceremony) clientData(kind string) ([]byte, error) {
	if c.Type != "" {
		kind = c.Type
	}
	raw, err := json.Marshal(struct {
		Type        string `json:"type"`
		Challenge   string `json:"challenge"`
		Origin      string `json:"origin"`
		CrossOrigin bool   `json:"crossOrigin"`
		TopOrigin   string `json:"topOrigin,omitempty"`
	}{kind, base64.RawURLEncoding.EncodeToString(c.Challenge), c.Origin, c.CrossOrigin, c.TopOrigin})
	if err != nil {
		return nil, fmt.Errorf("encoding client data: %w", err)
	}
	return raw, nil
}

func (k *Key) authenticatorData(c Ceremony, flags byte) []byte {
	rpID := k.RPID
	if c.RPID != "" {
		rpID = c.RPID
	}
	if !c.NoPresence {
		flags |= flagUserPresent
	}
	if !c.NoUser {
		flags |= flagUserVerified
	}
	if k.Synced {
		flags |= flagBackupEligible | flagBackedUp
	}
	if c.BackedUp {
		flags |= flagBackedUp
	}
	hash := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), k.Counter)
}

// cose is the public key as RFC 9053 section 7.1.1 writes it: kty EC2, alg ES256, crv P-256, x, y.
func (k *Key) cose() ([]byte, error) {
	public, err := k.private.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	x, y := public[1:33], public[33:65]
	raw, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: x, -3: y})
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return raw, nil
}
