package authn

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/hourkey/hourkey/broker"
)

// Verifier checks what a browser brings back from a passkey: signatures (WebAuthn level 3, section
// 7.2) and new passkeys (section 7.1). User verification is always required. It keeps nothing: a
// challenge is used once because whoever made it consumes it, not because of anything here.
type Verifier struct {
	library *webauthn.WebAuthn
	rpID    string
	origins []string
}

var _ broker.Verifier = (*Verifier)(nil)

// NewVerifier makes the verifier of a relying party. rpID is a domain name, and every origin must lie
// within it: https, or http on localhost.
func NewVerifier(rpID string, origins []string) (*Verifier, error) {
	if len(origins) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "passkeys need the origin of the approval page").WithField("origin")
	}
	for _, origin := range origins {
		if why := wrongOrigin(rpID, origin); why != "" {
			return nil, broker.Errorf(broker.CodeInvalid, "origin %q %s", origin, why).WithField("origin").
				WithNext("write it like https://hourkey.example, or http://localhost:8443 on one machine")
		}
	}
	library, err := webauthn.New(&webauthn.Config{RPID: rpID, RPDisplayName: "Hourkey", RPOrigins: origins})
	if err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "%q cannot be the domain of passkeys", rpID).WithField("origin").Because(err)
	}
	return &Verifier{library: library, rpID: rpID, origins: slices.Clone(origins)}, nil
}

// wrongOrigin says what is wrong with an origin, empty if nothing. It wants exactly the text that a
// browser sends, because origins are compared as text.
func wrongOrigin(rpID, origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin {
		return "is not scheme://host[:port] in lower case"
	}
	host := u.Hostname()
	if host != rpID && !strings.HasSuffix(host, "."+rpID) {
		return "does not lie within " + rpID
	}
	if u.Scheme == "https" || u.Scheme == "http" && host == "localhost" {
		return ""
	}
	return "is not https, nor http on localhost: browsers give no passkey there"
}

// keyRecord is how a Passkey's Credential is kept. It is ours, so that a new version of the library
// reads old records.
type keyRecord struct {
	PublicKey      []byte   `json:"public_key"` // COSE_Key, RFC 9052 section 7
	BackupEligible bool     `json:"backup_eligible"`
	Transports     []string `json:"transports,omitempty"`
}

// Verify implements broker.Verifier. Beyond the library's checks it wants the exact origin (the library
// compares without case and path), no foreign frame, and a signature counter that rose unless both are
// zero. A kept assertion is verified again with the passkey's Counter set to zero.
func (v *Verifier) Verify(passkey broker.Passkey, challenge []byte, assertion broker.Assertion) (uint32, error) {
	parsed, err := parseAssertion(assertion)
	if err != nil {
		return 0, refused("it cannot be read").Because(err)
	}
	if assertion.CredentialID != passkey.ID {
		return 0, refused("it is another passkey's")
	}
	if err := v.checkClient(parsed.Response.CollectedClientData); err != nil {
		return 0, err
	}
	if !parsed.Response.AuthenticatorData.Flags.HasUserVerified() {
		return 0, refused("the device did not check that it was you (PIN, finger or face)")
	}
	user, err := userOf(passkey, parsed.RawID)
	if err != nil {
		return 0, err
	}
	credential, err := v.library.ValidateLogin(user, webauthn.SessionData{
		Challenge:            base64.RawURLEncoding.EncodeToString(challenge),
		RelyingPartyID:       v.rpID,
		UserID:               passkey.UserHandle,
		AllowedCredentialIDs: [][]byte{parsed.RawID},
		UserVerification:     protocol.VerificationRequired,
	}, parsed)
	if err != nil {
		return 0, refused("it does not sign what was shown here").Because(err)
	}
	if credential.Authenticator.CloneWarning {
		return 0, refused("its counter went back: the passkey may have been copied")
	}
	return parsed.Response.AuthenticatorData.Counter, nil
}

// checkClient refuses client data of another origin, or of a page in a foreign frame.
func (v *Verifier) checkClient(client protocol.CollectedClientData) error {
	if !slices.Contains(v.origins, client.Origin) {
		return refused("it was made on another site")
	}
	if client.CrossOrigin || client.TopOrigin != "" {
		return refused("it was made inside a frame of another site")
	}
	return nil
}

func refused(why string) *broker.Error {
	return broker.Errorf(broker.CodeForbidden, "the passkey's signature was refused: %s", why).
		WithNext("load the page again and sign what it shows")
}

func parseAssertion(a broker.Assertion) (*protocol.ParsedCredentialAssertionData, error) {
	id, err := base64.RawURLEncoding.DecodeString(a.CredentialID)
	if err != nil {
		return nil, err
	}
	response := protocol.CredentialAssertionResponse{
		PublicKeyCredential: protocol.PublicKeyCredential{
			Credential: protocol.Credential{ID: a.CredentialID, Type: string(protocol.PublicKeyCredentialType)},
			RawID:      id,
		},
		AssertionResponse: protocol.AuthenticatorAssertionResponse{
			AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: a.ClientDataJSON},
			AuthenticatorData:     a.AuthenticatorData,
			Signature:             a.Signature,
			UserHandle:            a.UserHandle,
		},
	}
	return response.Parse()
}

// user is a passkey's holder, as the library wants to see one.
type user struct {
	name        string
	handle      []byte
	credentials []webauthn.Credential
}

func (u user) WebAuthnID() []byte                         { return u.handle }
func (u user) WebAuthnName() string                       { return u.name }
func (u user) WebAuthnDisplayName() string                { return u.name }
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func userOf(passkey broker.Passkey, id []byte) (user, error) {
	var record keyRecord
	if err := json.Unmarshal(passkey.Credential, &record); err != nil {
		return user{}, broker.Errorf(broker.CodeInternal, "the kept passkey cannot be read").Because(err)
	}
	return user{name: passkey.Human, handle: passkey.UserHandle, credentials: []webauthn.Credential{{
		ID:            id,
		PublicKey:     record.PublicKey,
		Flags:         webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: record.BackupEligible},
		Authenticator: webauthn.Authenticator{SignCount: passkey.Counter},
	}}}, nil
}

// algorithms are what a new passkey may sign with, best first.
func algorithms() []webauthncose.COSEAlgorithmIdentifier {
	return []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgEdDSA, webauthncose.AlgES256, webauthncose.AlgRS256}
}
