package broker

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// Act is what a human signs with a passkey.
type Act string

// The acts.
const (
	ActApprove       Act = "approve-request"
	ActActivateAgent Act = "activate-agent" // by the owner
	ActAdmitHuman    Act = "admit-human"    // by an operator
	ActConfirmTarget Act = "confirm-target" // by an operator
	ActLiftFreeze    Act = "lift-freeze"    // by an operator
	ActAddPasskey    Act = "add-passkey"    // by a passkey of the same human
	ActRemovePasskey Act = "remove-passkey" // by another passkey of the same human
)

// SignFor is how long a statement that was shown may be signed.
const SignFor = 5 * time.Minute

// StatementsOfOne is how many statements wait for one human's signature at most, in all tabs and browsers together: when
// another is shown, the oldest go.
const StatementsOfOne = 8

// Statement is exactly what a human signs. Its canonical JSON (RFC 8785), a domain and a nonce make
// the WebAuthn challenge:
//
//	challenge = nonce ‖ SHA-256( "hourkey/statement/1" ‖ 0x00 ‖ nonce ‖ canonical JSON )
//
// so that anyone with the kept assertion can check offline that this key signed this.
type Statement struct {
	Act       Act             `json:"act"`
	Subject   string          `json:"subject"`         // request id, agent name, human, environment/target, freeze id, passkey id
	Digest    string          `json:"subject_digest"`  // of the subject as it was shown
	Says      string          `json:"says"`            // one sentence, as shown
	Items     []StatementItem `json:"items"`           // for ActApprove: the scope as granted
	Typed     []string        `json:"typed,omitempty"` // protected environments whose names the reviewer typed, because this lets delete there
	TTL       int64           `json:"ttl_seconds"`
	Config    string          `json:"config"`
	AgentKey  string          `json:"agent_key"`
	Reviewer  string          `json:"reviewer"`
	Origin    string          `json:"origin"`
	Expires   string          `json:"expires"` // RFC 3339, UTC
	Installed string          `json:"installation"`
}

// StatementItem is one item of a request as granted.
type StatementItem struct {
	Environment string   `json:"environment"`
	Target      string   `json:"target"`
	Identity    string   `json:"identity"`
	Scopes      []string `json:"scopes"`
	Reaches     []string `json:"reaches"`
	Description string   `json:"description_digest"`
}

const (
	statementDomain = "hourkey/statement/1\x00"
	nonceSize       = 16
)

// Canonical gives the RFC 8785 form of the statement.
func (s Statement) Canonical() []byte { return canonical(s) }

// Challenge is what the authenticator signs, 16 + 32 bytes.
func (s Statement) Challenge(nonce []byte) []byte {
	sum := sha256.New()
	sum.Write([]byte(statementDomain))
	sum.Write(nonce)
	sum.Write(s.Canonical())
	return sum.Sum(bytes.Clone(nonce))
}

// Assertion is what a browser's navigator.credentials.get gave, undecoded but for base64url
// (WebAuthn level 3, section 5.2.2).
type Assertion struct {
	CredentialID      string `json:"credential_id"` // base64url
	ClientDataJSON    []byte `json:"client_data_json"`
	AuthenticatorData []byte `json:"authenticator_data"`
	Signature         []byte `json:"signature"`
	UserHandle        []byte `json:"user_handle"`
}

// Ceremony is a statement that was shown to a human and waits for the signature. Signing consumes it.
type Ceremony struct {
	Nonce     string    `json:"nonce"` // base64url
	Statement Statement `json:"statement"`
	Items     []Item    `json:"items,omitempty"` // for ActApprove: as narrowed and described
	Expires   time.Time `json:"expires"`
}

// Meta places ceremonies by nonce, and in all and for each human by when they can be forgotten.
func (c *Ceremony) Meta() Meta {
	return Meta{Kind: "ceremony", Key: c.Nonce, Format: 1, Index: []Entry{
		{Name: "expires", Order: order(c.Expires)}, {Name: "human/" + c.Statement.Reviewer, Order: order(c.Expires)},
	}}
}

// makeRoom forgets the oldest statements that wait for this human's signature, as many as are too many beside one more.
// The attack: whoever has stolen a session has statements made without end, each as large as its request.
func makeRoom(tx Tx, human string) error {
	waiting, err := list[Ceremony](tx, "ceremony", "human/"+human)
	if err != nil {
		return err
	}
	for i := range len(waiting) - StatementsOfOne + 1 {
		if err := tx.Delete(&waiting[i]); err != nil {
			return err
		}
	}
	return nil
}

// Challenge is the ceremony's WebAuthn challenge.
func (c *Ceremony) Challenge() ([]byte, error) {
	nonce, err := base64.RawURLEncoding.DecodeString(c.Nonce)
	if err != nil || len(nonce) != nonceSize {
		return nil, Errorf(CodeInvalid, "the nonce is not %d bytes of base64url", nonceSize).WithField("nonce")
	}
	return c.Statement.Challenge(nonce), nil
}

// Approval is one human's signature under a request. The assertion is kept for anyone to check.
type Approval struct {
	Request   string    `json:"request"`
	Reviewer  string    `json:"reviewer"`
	Passkey   string    `json:"passkey"`
	Nonce     string    `json:"nonce"`
	Statement Statement `json:"statement"`
	Items     []Item    `json:"items"` // as narrowed
	Assertion Assertion `json:"assertion"`
	At        time.Time `json:"at"`
	Void      string    `json:"void,omitempty"` // why it no longer counts; empty while it does
}

// Meta places approvals by request and reviewer: nobody counts twice. One that no longer counts makes room for another
// of the same human.
func (a *Approval) Meta() Meta {
	if a.Void != "" {
		return Meta{Kind: "approval", Key: a.Request + "/" + a.Reviewer + "/" + a.Nonce, Format: 1, Index: []Entry{{Name: "void/" + a.Request}}}
	}
	return Meta{Kind: "approval", Key: a.Request + "/" + a.Reviewer, Format: 1, Index: []Entry{{Name: "request/" + a.Request}}}
}

func statementItems(items []Item) []StatementItem {
	out := make([]StatementItem, len(items))
	for i, item := range items {
		d := item.Description
		out[i] = StatementItem{item.Environment, item.Target, d.Identity, Texts(d.Scopes), d.Reaches, d.Digest()}
	}
	return out
}

// digest is the base64url SHA-256 of a domain, a zero byte, and v as encoding/json writes it: v's types
// are fixed structs without maps, so that equal values have equal bytes.
func digest(domain string, v any) string {
	raw, err := json.Marshal(v)
	must(err)
	sum := sha256.New()
	sum.Write([]byte(domain + "\x00"))
	sum.Write(raw)
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// canonical is the RFC 8785 form of v, which must hold no floating-point number: json.Marshal, then
// objects with sorted keys. Go's encoder escapes <, >, &, U+2028 and U+2029; RFC 8785 does not.
func canonical(v any) []byte {
	var out bytes.Buffer
	raw, err := json.Marshal(v)
	must(err)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	must(decoder.Decode(&tree))
	writeCanonical(&out, tree)
	return out.Bytes()
}

// must stops on what only a mistake in this package can cause: a type that does not encode.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
