package authn

import (
	"encoding/base64"
	"encoding/json"

	"github.com/hourkey/hourkey/broker"
)

// CreationOptions asks a browser for a new passkey: PublicKeyCredentialCreationOptionsJSON of WebAuthn
// level 3, section 5.1.8. Binary members are base64url.
type CreationOptions struct {
	RP          entity       `json:"rp"`
	User        userEntity   `json:"user"`
	Challenge   string       `json:"challenge"`
	Parameters  []parameter  `json:"pubKeyCredParams"`
	Exclude     []descriptor `json:"excludeCredentials"`
	Selection   selection    `json:"authenticatorSelection"`
	Attestation string       `json:"attestation"`
	Timeout     int64        `json:"timeout"` // milliseconds
}

// RequestOptions asks a browser for a signature: PublicKeyCredentialRequestOptionsJSON of WebAuthn
// level 3, section 5.1.9. Without Allow the human chooses among the discoverable passkeys.
type RequestOptions struct {
	RPID             string       `json:"rpId"`
	Challenge        string       `json:"challenge"`
	Allow            []descriptor `json:"allowCredentials"`
	UserVerification string       `json:"userVerification"`
	Timeout          int64        `json:"timeout"` // milliseconds
}

type entity struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type userEntity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

type parameter struct {
	Type      string `json:"type"`
	Algorithm int64  `json:"alg"`
}

type descriptor struct {
	Type       string   `json:"type"`
	ID         string   `json:"id"`
	Transports []string `json:"transports,omitempty"`
}

type selection struct {
	ResidentKey        string `json:"residentKey"`
	RequireResidentKey bool   `json:"requireResidentKey"` // for browsers of level 1
	UserVerification   string `json:"userVerification"`
}

const publicKey, required = "public-key", "required"

// Creation asks for a discoverable passkey with user verification, and for no attestation.
func (v *Verifier) Creation(human broker.Human, challenge []byte, have []broker.Passkey) CreationOptions {
	options := CreationOptions{
		RP:          entity{ID: v.rpID, Name: "Hourkey"},
		User:        userEntity{ID: base64.RawURLEncoding.EncodeToString(human.Handle), Name: human.Name, DisplayName: human.Name},
		Challenge:   base64.RawURLEncoding.EncodeToString(challenge),
		Exclude:     descriptors(have),
		Selection:   selection{ResidentKey: required, RequireResidentKey: true, UserVerification: required},
		Attestation: "none",
		Timeout:     broker.SignFor.Milliseconds(),
	}
	for _, algorithm := range algorithms() {
		options.Parameters = append(options.Parameters, parameter{Type: publicKey, Algorithm: int64(algorithm)})
	}
	return options
}

// Request asks for a signature over challenge by one of the passkeys, or by any discoverable one when
// none is given.
func (v *Verifier) Request(challenge []byte, passkeys []broker.Passkey) RequestOptions {
	return RequestOptions{
		RPID:             v.rpID,
		Challenge:        base64.RawURLEncoding.EncodeToString(challenge),
		Allow:            descriptors(passkeys),
		UserVerification: required,
		Timeout:          broker.SignFor.Milliseconds(),
	}
}

func descriptors(passkeys []broker.Passkey) []descriptor {
	list := make([]descriptor, 0, len(passkeys))
	for _, passkey := range passkeys {
		var record keyRecord
		if err := json.Unmarshal(passkey.Credential, &record); err != nil {
			continue // a record that cannot be read cannot sign either; Verify says so
		}
		list = append(list, descriptor{Type: publicKey, ID: passkey.ID, Transports: record.Transports})
	}
	return list
}
