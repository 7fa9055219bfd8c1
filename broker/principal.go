package broker

import (
	"encoding/json"
	"time"
)

// Agent is a program that asks for credentials, on behalf of its owner (RFC 8693 `act`).
type Agent struct {
	Name         string          `json:"name"`
	Owner        string          `json:"owner"` // a human
	State        AgentState      `json:"state"`
	Key          json.RawMessage `json:"key,omitempty"`        // public JWK, RFC 7517
	Thumbprint   string          `json:"thumbprint,omitempty"` // RFC 7638, SHA-256, base64url
	CodeHash     string          `json:"code_hash,omitempty"`  // of the one-time enrolment code
	CodeExpires  time.Time       `json:"code_expires,omitzero"`
	Created      time.Time       `json:"created"`
	Activated    time.Time       `json:"activated,omitzero"`
	FormerThumbs []string        `json:"former_thumbprints,omitempty"`
}

// AgentState is how far an agent's enrolment has come.
type AgentState string

// The states of an agent.
const (
	AgentInvited AgentState = "invited" // has a one-time code
	AgentInert   AgentState = "inert"   // has a key; its owner has not signed it yet
	AgentActive  AgentState = "active"
	AgentRemoved AgentState = "removed"
)

// Meta places agents by name.
func (a *Agent) Meta() Meta { return Meta{Kind: "agent", Key: a.Name, Format: 1} }

// Human is a person. What a human may do comes from groups and roles of the configuration.
type Human struct {
	Name    string    `json:"name"`
	Handle  []byte    `json:"handle"` // WebAuthn user handle, 32 random bytes
	Created time.Time `json:"created"`
	Reset   time.Time `json:"reset,omitzero"` // the last `human reset`, shown on every page for 7 days
}

// Meta places humans by name.
func (h *Human) Meta() Meta { return Meta{Kind: "human", Key: h.Name, Format: 1} }

// Passkey is a WebAuthn credential of a human.
type Passkey struct {
	ID         string          `json:"id"` // credential id, base64url
	Human      string          `json:"human"`
	Credential json.RawMessage `json:"credential"` // the verifier's own encoding of public key and flags
	Counter    uint32          `json:"counter"`    // signature counter, WebAuthn level 3 section 6.1.1
	Created    time.Time       `json:"created"`
	UsableFrom time.Time       `json:"usable_from"` // approvals before this are refused
	Name       string          `json:"name,omitempty"`
	Further    bool            `json:"further,omitempty"` // not this human's first: added to another one, or replacing lost ones
	UserHandle []byte          `json:"user_handle"`
}

// Meta places passkeys by credential id, and by human.
func (p *Passkey) Meta() Meta {
	return Meta{Kind: "passkey", Key: p.ID, Format: 1, Index: []Entry{{Name: "human/" + p.Human}}}
}

// Invite lets a human make a first passkey. Its code is shown once; only the hash is kept.
type Invite struct {
	Human    string      `json:"human"`
	CodeHash string      `json:"code_hash"`
	State    InviteState `json:"state"`
	Needs    int         `json:"needs"`              // signatures of distinct operators
	Signed   []string    `json:"signed"`             // operators
	Groups   []string    `json:"groups"`             // of the newcomer, when invited
	Replaces bool        `json:"replaces,omitempty"` // the human's passkeys are lost, and go when the new one is made
	Passkey  *Passkey    `json:"passkey,omitempty"`  // made after single sign-on: there is no code, this key waits
	Account  string      `json:"account,omitempty"`  // of the single sign-on
	By       string      `json:"by"`                 // actor
	Nonce    []byte      `json:"nonce"`              // 16 random bytes: what is compared by voice is nobody's choice
	Instead  string      `json:"instead,omitempty"`  // actor and time of an invite that still waited and is gone
	Created  time.Time   `json:"created"`
	Expires  time.Time   `json:"expires"`
}

// InviteState is how far an invite has come.
type InviteState string

// The states of an invite.
const (
	InviteInert  InviteState = "inert"  // waits for signatures of operators
	InviteUsable InviteState = "usable" // the code may be typed in
	InviteUsed   InviteState = "used"
)

// Meta places invites by human: a new invite replaces the former.
func (i *Invite) Meta() Meta { return Meta{Kind: "invite", Key: i.Human, Format: 1} }

// Freeze stops issuing, and ends leases, for whatever it names.
type Freeze struct {
	Of     FreezeKind `json:"of"`
	Name   string     `json:"name"` // empty for FreezeAll
	By     string     `json:"by"`   // actor
	Reason string     `json:"reason"`
	At     time.Time  `json:"at"`
	Until  time.Time  `json:"until,omitzero"` // zero: until lifted
}

// FreezeKind is what a freeze names.
type FreezeKind string

// The kinds of freeze.
const (
	FreezeAgent       FreezeKind = "agent"
	FreezeTask        FreezeKind = "task"
	FreezeEnvironment FreezeKind = "environment"
	FreezeAll         FreezeKind = "all"
)

// ID names the freeze: "agent:claude-code", "all".
func (f Freeze) ID() string {
	if f.Of == FreezeAll {
		return string(FreezeAll)
	}
	return string(f.Of) + ":" + f.Name
}

// Meta places freezes by ID.
func (f *Freeze) Meta() Meta { return Meta{Kind: "freeze", Key: f.ID(), Format: 1} }

// Pin is the identity of a target as it was learned and confirmed (invariant 12).
type Pin struct {
	Environment string    `json:"environment"`
	Target      string    `json:"target"`
	Identity    Identity  `json:"identity"`
	Seen        Identity  `json:"seen"` // what the provider said last; differs from Identity after a change
	Learned     time.Time `json:"learned"`
	ConfirmedBy string    `json:"confirmed_by,omitempty"` // an operator; "broker" for local issuers
	Confirmed   time.Time `json:"confirmed,omitzero"`
}

// Meta places pins by environment/target.
func (p *Pin) Meta() Meta {
	return Meta{Kind: "pin", Key: p.Environment + "/" + p.Target, Format: 1}
}

// Installation is what this store belongs to.
type Installation struct {
	ID       string    `json:"id"`     // 8 characters of [0-9a-z]; in every name at a provider
	Former   []string  `json:"former"` // ids before a restore; still swept
	Epoch    int       `json:"epoch"`
	Began    string    `json:"began,omitempty"`    // the old checkpoint that the epoch names
	SameUser time.Time `json:"same_user,omitzero"` // when a local peer first had the broker's uid; for good
	Reset    time.Time `json:"reset,omitzero"`
}

// Meta places the one record.
func (i *Installation) Meta() Meta { return Meta{Kind: "installation", Key: "installation", Format: 1} }

// Digest identifies what the owner of an agent signs.
func (a Agent) Digest() string {
	return digest("hourkey/agent/1", struct{ Name, Owner, State, Thumbprint string }{a.Name, a.Owner, string(a.State), a.Thumbprint})
}

// Digest identifies what an operator signs to admit a newcomer.
func (i Invite) Digest() string {
	key := ""
	if i.Passkey != nil {
		key = i.Passkey.Digest()
	}
	return digest("hourkey/invite/3", struct {
		Human, CodeHash, State, By, Account, Passkey, Instead string
		Nonce                                                 []byte
		Groups                                                []string
		Replaces                                              bool
	}{i.Human, i.CodeHash, string(i.State), i.By, i.Account, key, i.Instead, i.Nonce, i.Groups, i.Replaces})
}

// Digest identifies what an operator signs to lift a freeze.
func (f Freeze) Digest() string { return digest("hourkey/freeze/1", f) }

// Digest identifies what an operator signs to confirm a target.
func (p Pin) Digest() string {
	return digest("hourkey/pin/1", struct {
		Environment, Target string
		Seen                Identity
	}{p.Environment, p.Target, p.Seen})
}

// IsConfirmed tells whether an operator confirmed the identity that the provider told last.
func (p Pin) IsConfirmed() bool { return !p.Confirmed.IsZero() && p.Identity.ID == p.Seen.ID }
