package authn

import (
	"encoding/base64"
	"encoding/json"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/hourkey/hourkey/broker"
)

// Attestation is what a browser's navigator.credentials.create gave, undecoded but for base64url
// (WebAuthn level 3, section 5.2.1).
type Attestation struct {
	CredentialID      string // base64url
	ClientDataJSON    []byte
	AttestationObject []byte
	Transports        []string
}

// Register checks a new passkey and gives its record. Which device made it is not asked (attestation
// none): an invite says who enrols, an attestation would say only on what. Human, Created and
// UsableFrom are the caller's to set.
func (v *Verifier) Register(handle, challenge []byte, attestation Attestation) (broker.Passkey, error) {
	parsed, err := parseAttestation(attestation)
	if err != nil {
		return broker.Passkey{}, refusedPasskey("it cannot be read").Because(err)
	}
	if err := v.checkClient(parsed.Response.CollectedClientData); err != nil {
		return broker.Passkey{}, err
	}
	format := protocol.AttestationFormat(parsed.Response.AttestationObject.Format)
	if format != protocol.AttestationFormatNone && format != protocol.AttestationFormatPacked { // packed: some attest themselves unasked
		return broker.Passkey{}, refusedPasskey("it carries an attestation that was not asked for")
	}
	credential, err := v.library.CreateCredential(user{handle: handle}, webauthn.SessionData{
		Challenge:        base64.RawURLEncoding.EncodeToString(challenge),
		RelyingPartyID:   v.rpID,
		UserID:           handle,
		UserVerification: protocol.VerificationRequired,
		CredParams:       parameters(),
	}, parsed)
	if err != nil {
		return broker.Passkey{}, refusedPasskey("it does not answer what this page asked").Because(err)
	}
	return passkeyOf(credential, handle, attestation.Transports)
}

func passkeyOf(credential *webauthn.Credential, handle []byte, transports []string) (broker.Passkey, error) {
	record, err := json.Marshal(keyRecord{
		PublicKey:      credential.PublicKey,
		BackupEligible: credential.Flags.BackupEligible,
		Transports:     knownTransports(transports),
	})
	if err != nil {
		return broker.Passkey{}, broker.Errorf(broker.CodeInternal, "the passkey cannot be kept").Because(err)
	}
	return broker.Passkey{
		ID:         base64.RawURLEncoding.EncodeToString(credential.ID),
		Credential: record,
		Counter:    credential.Authenticator.SignCount,
		UserHandle: handle,
	}, nil
}

func refusedPasskey(why string) *broker.Error {
	return broker.Errorf(broker.CodeForbidden, "the new passkey was refused: %s", why).WithNext("start again from the invite page")
}

func parseAttestation(a Attestation) (*protocol.ParsedCredentialCreationData, error) {
	id, err := base64.RawURLEncoding.DecodeString(a.CredentialID)
	if err != nil {
		return nil, err
	}
	response := protocol.CredentialCreationResponse{
		PublicKeyCredential: protocol.PublicKeyCredential{
			Credential: protocol.Credential{ID: a.CredentialID, Type: string(protocol.PublicKeyCredentialType)},
			RawID:      id,
		},
		AttestationResponse: protocol.AuthenticatorAttestationResponse{
			AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: a.ClientDataJSON},
			AttestationObject:     a.AttestationObject,
		},
	}
	return response.Parse()
}

func parameters() []protocol.CredentialParameter {
	var list []protocol.CredentialParameter
	for _, algorithm := range algorithms() {
		list = append(list, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: algorithm})
	}
	return list
}

// knownTransports keeps the transports that level 3 names (section 5.8.4); a browser sent them, and
// later pages hand them to browsers.
func knownTransports(sent []string) []string {
	var known []string
	for _, transport := range sent {
		switch transport {
		case "usb", "nfc", "ble", "smart-card", "hybrid", "internal":
			if len(known) < 6 {
				known = append(known, transport)
			}
		}
	}
	return known
}
