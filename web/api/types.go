// Package api holds what goes over the wire between an agent and the broker, and the Go client.
//
// It owns: paths, JSON shapes, the shapes of the signed texts an agent makes, and the client. It does
// not know the broker: it imports no other package of ours, so that the agent's side stays small. It
// trusts nobody's JSON: a client shows what it got and decides nothing on it.
//
// Every scope is written target:resource:actions, every time is RFC 3339 in UTC, every span of time is
// a whole number of seconds. A server refuses fields that it does not know; a client ignores them.
package api

import (
	"encoding/json"
	"time"
)

// The paths of the API. An {id} is replaced as RFC 3986 section 3.3 wants it.
const (
	PathToken         = "/oauth/token"                  // POST, form, RFC 6749 section 4.4 with RFC 7523
	PathAgentsEnroll  = "/v1/agents/enroll"             // POST EnrollRequest → EnrollResponse
	PathTasks         = "/v1/tasks"                     // GET → TaskList
	PathRequests      = "/v1/requests"                  // GET → RequestList; POST RequestCreate → Request
	PathRequest       = "/v1/requests/{id}"             // GET [?wait=30s[&signed=N]] → Request; DELETE: cancel → Request
	PathCredentials   = "/v1/requests/{id}/credentials" // POST, no body → CredentialList
	PathLeases        = "/v1/leases"                    // GET [?all=true] → LeaseList
	PathLease         = "/v1/leases/{id}"               // DELETE: release → 204
	PathLeaseRevoke   = "/v1/leases/{id}/revoke"        // POST, no body → 204
	PathFreeze        = "/v1/freeze"                    // GET → FreezeList; POST FreezeCreate → FreezeResult
	PathAudit         = "/v1/audit"                     // GET [?from=N&limit=M] → AuditPage
	PathApprovals     = "/v1/approvals"                 // GET → RequestList; GET ?request=ID → ApprovalList
	PathProblems      = "/problems/"                    // GET /problems/{code}: what a Problem's type means
	PathTokenIssuer   = "/t/{environment}"              // base of a target-token issuer
	PathTokenMetadata = PathTokenIssuer + "/.well-known/openid-configuration"
	PathTokenKeys     = PathTokenIssuer + "/jwks.json"
	PathIntrospect    = PathTokenIssuer + "/introspect" // POST, form, RFC 7662: {"active": true or false}
	PathHealth        = "/healthz"
	PathReady         = "/readyz"
	PathMetrics       = "/metrics"
)

// HeaderIdempotencyKey on POST /v1/requests makes a repetition of the same ask give the first one's
// request. 1 to 128 characters of visible ASCII.
const HeaderIdempotencyKey = "Idempotency-Key"

// MaxWait is the longest that GET /v1/requests/{id}?wait= holds an answer back; more is shortened.
const MaxWait = 60 * time.Second

// What an agent signs. All are compact JWS (RFC 7515) with alg EdDSA (Ed25519) or ES256 by the agent's
// own key, and exactly the typ that is named here.
//
// A client assertion (RFC 7523 section 3) has iss = sub = the agent's name, aud = the issuer (the
// broker's origin, "https://hourkey.example") or that followed by PathToken, iat, exp at most
// AssertionLife later, and a jti of 16 to 128 characters that was never used before.
//
// An enrolment proof has sub = the agent's name, aud = the broker's origin followed by
// PathAgentsEnroll, iat, exp at most AssertionLife later, and ClaimCodeHash.
const (
	GrantClientCredentials = "client_credentials"
	AssertionTypeJWT       = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	TypAssertion           = "client-authentication+jwt"
	TypEnrollProof         = "hourkey-enrolment+jwt"
	ClaimCodeHash          = "code_sha256" // base64url without padding of SHA-256 over the code as it was given
	AssertionLife          = 60 * time.Second
)

// TokenResponse is RFC 6749 section 5.1. The token is an RFC 9068 access token for this API.
type TokenResponse struct {
	AccessToken Secret `json:"access_token"`
	TokenType   string `json:"token_type"` // "Bearer"
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// TokenError is RFC 6749 section 5.2, for PathToken alone; everything else answers with a Problem.
type TokenError struct {
	Error       string `json:"error"` // invalid_request, invalid_client, unauthorized_client, unsupported_grant_type, slow_down, temporarily_unavailable
	Description string `json:"error_description,omitempty"`
}

// EnrollRequest gives an invited agent its key.
type EnrollRequest struct {
	Name  string          `json:"name"`
	Code  string          `json:"code"`  // one-time, as `hourkeyd agent add` printed it
	JWK   json.RawMessage `json:"jwk"`   // public key, RFC 7517: OKP Ed25519 or EC P-256
	Proof string          `json:"proof"` // enrolment proof by that key
}

// EnrollResponse is the agent as it stands: inert until its owner signs it.
type EnrollResponse struct {
	Name       string `json:"name"`
	Owner      string `json:"owner"`
	State      string `json:"state"`
	Thumbprint string `json:"thumbprint"` // RFC 7638; the owner compares it
	Next       string `json:"next"`       // what must happen before the agent can do anything
}

// Task is a named kind of work that the caller may ask for.
type Task struct {
	Name         string   `json:"name"`
	Summary      string   `json:"summary"`
	Environments []string `json:"environments"`
	Gives        []string `json:"gives"`                   // scopes
	WithApproval []string `json:"with_approval,omitempty"` // scopes that a human decides
	TTLSeconds   int64    `json:"ttl_seconds,omitempty"`   // 0: the task does not say
}

// TaskList answers PathTasks.
type TaskList struct {
	Tasks []Task `json:"tasks"`
}

// RequestCreate asks for credentials.
type RequestCreate struct {
	Task         string   `json:"task"`
	Environments []string `json:"environments"`
	Scopes       []string `json:"scopes,omitempty"`      // none: what the task gives
	TTLSeconds   int64    `json:"ttl_seconds,omitempty"` // 0: what the task says
	Reason       string   `json:"reason,omitempty"`      // the agent's words: shown to reviewers, never decided on
	Collect      bool     `json:"collect,omitempty"`     // when nothing waits for a human, the answer holds the credentials
}

// The states of a request.
const (
	StatePending   = "pending"  // humans decide; wait for it
	StateApproved  = "approved" // collect it before Deadline
	StateCollected = "collected"
	StateDenied    = "denied"
	StateExpired   = "expired"
	StateCancelled = "cancelled"
)

// Request is an ask that was decided, or waits for humans.
type Request struct {
	ID           string    `json:"id"`
	Agent        string    `json:"agent"`
	Owner        string    `json:"owner"`
	Task         string    `json:"task"`
	Environments []string  `json:"environments"`
	State        string    `json:"state"`
	TTLSeconds   int64     `json:"ttl_seconds"`
	Items        []Item    `json:"items"`
	Outcome      string    `json:"outcome"` // allow, escalate
	Reasons      []Reason  `json:"reasons,omitempty"`
	Needs        []Need    `json:"needs,omitempty"`   // humans who must approve
	Signed       int       `json:"signed,omitempty"`  // humans whose approval counts so far
	Verdict      string    `json:"verdict,omitempty"` // a reviewer's words on a denial; why it expired, when that was not its time
	Reason       string    `json:"reason,omitempty"`  // the agent's own words
	Repeats      int       `json:"repeats,omitempty"` // how often the same was asked again while it waits: that gives this request
	Created      time.Time `json:"created"`
	Deadline     time.Time `json:"deadline"`         // pending: for the humans; approved: for collecting
	Expires      time.Time `json:"expires,omitzero"` // of its leases, from the first collect on
	Page         string    `json:"page,omitempty"`   // where a reviewer decides; the link carries no authority
	Phrase       string    `json:"phrase,omitempty"` // while pending: four words that the page must show too; no secret
	Digest       string    `json:"digest,omitempty"` // while pending: of what a reviewer is shown and signs
	Collected    int       `json:"collected"`        // times
	Config       string    `json:"config"`           // hash of the configuration it was decided under
	Taken        []Taken   `json:"taken,omitempty"`  // what reviewers took away; Items is what is left

	Operation *Operation `json:"operation,omitempty"` // one call through the gateway, instead of a credential

	// Credentials are there only in the answer to a RequestCreate that said Collect, and only once.
	Credentials []Credential `json:"credentials,omitempty"`
}

// Item is one target of a request.
type Item struct {
	Environment string   `json:"environment"`
	Target      string   `json:"target"`
	Asked       []string `json:"asked"`             // scopes
	Scopes      []string `json:"scopes"`            // concrete, as they would be issued
	Reaches     []string `json:"reaches,omitempty"` // every environment in which something is reached
	Native      []string `json:"native,omitempty"`  // the provider's own policy, line by line
	Ends        string   `json:"ends,omitempty"`    // how surely it ends
	TTLSeconds  int64    `json:"ttl_seconds"`
}

// Taken is what reviewers took away from one target of a request.
type Taken struct {
	Environment string   `json:"environment"`
	Target      string   `json:"target"`
	Whole       bool     `json:"whole,omitempty"`       // this target was denied: there is no item of it left
	Scopes      []string `json:"scopes,omitempty"`      // that were there, and are no longer there in full
	TTLSeconds  int64    `json:"ttl_seconds,omitempty"` // it would have lived so long; 0: that is unchanged
}

// Operation is one call through the gateway that humans decide, instead of a credential: after the approval
// the agent makes the same call again.
type Operation struct {
	Lease string `json:"lease"`
	Text  string `json:"text"`
}

// Reason is one line that decided.
type Reason struct {
	Where   string `json:"where"` // file:line
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"` // allow, escalate, deny
	Text    string `json:"text"`
}

// Need is how many distinct humans must approve for one environment.
type Need struct {
	Environment string `json:"environment"`
	Humans      int    `json:"humans"`
}

// RequestList answers PathRequests, newest first.
type RequestList struct {
	Requests []Request `json:"requests"`
}

// Credential is secret material for one target. It is answered once and never stored.
type Credential struct {
	Environment string            `json:"environment"`
	Target      string            `json:"target"`
	Lease       string            `json:"lease"`
	Scopes      []string          `json:"scopes"`
	Values      map[string]Secret `json:"values"` // environment variable → value, as exec gives it to the child
	Gateway     *Gateway          `json:"gateway,omitempty"`
	Expires     time.Time         `json:"expires"`
}

// Gateway is a credential that works through the broker's tunnel alone (PathTunnel), presented with a
// DPoP proof (RFC 9449) by the agent's key. It is for a forwarder, never for a child's environment.
type Gateway struct {
	Token     Secret            `json:"token"`
	Hosts     []string          `json:"hosts"`     // that the tunnel leads to, the main one first; port 443
	CA        string            `json:"ca"`        // PEM: to be trusted for these hosts alone, until the lease ends
	Variables map[string]string `json:"variables"` // variable → value for the child; {base} and {placeholder} are filled in
}

// CredentialList answers PathCredentials: all items of the request.
type CredentialList struct {
	Credentials []Credential `json:"credentials"`
}

// Lease is the life of one credential.
type Lease struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"` // at the provider
	Request     string    `json:"request"`
	Agent       string    `json:"agent"`
	Task        string    `json:"task"`
	Environment string    `json:"environment"`
	Target      string    `json:"target"`
	Scopes      []string  `json:"scopes"`
	State       string    `json:"state"` // issuing, live, ending, ended, stuck
	Cause       string    `json:"cause,omitempty"`
	By          string    `json:"by,omitempty"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	Ended       time.Time `json:"ended,omitzero"`
	Problem     string    `json:"problem,omitempty"` // why ending it has not succeeded yet; for operators and auditors
}

// LeaseList answers PathLeases, newest first.
type LeaseList struct {
	Leases []Lease `json:"leases"`
}

// FreezeCreate stops issuing for what it names and ends its leases.
type FreezeCreate struct {
	Of      string `json:"of"`                // agent, task, environment, all
	Name    string `json:"name,omitempty"`    // empty for all
	Reason  string `json:"reason"`            //
	Seconds int64  `json:"seconds,omitempty"` // 0: until a human lifts it with a passkey
}

// Freeze is one that is in force.
type Freeze struct {
	ID     string    `json:"id"`
	Of     string    `json:"of"`
	Name   string    `json:"name,omitempty"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"`
}

// FreezeList answers GET PathFreeze.
type FreezeList struct {
	Freezes []Freeze `json:"freezes"`
}

// FreezeResult answers POST PathFreeze.
type FreezeResult struct {
	ID    string `json:"id"`
	Ended int    `json:"ended"` // leases whose end the provider confirmed
}

// AuditEvent is one record of the log.
type AuditEvent struct {
	Number  uint64          `json:"number"`
	Type    string          `json:"type"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// AuditPage answers PathAudit. The next page begins at Next; a page without events is the end for now.
type AuditPage struct {
	Events []AuditEvent `json:"events"`
	Next   uint64       `json:"next"`
}

// Approval is one human's signature under a request, with everything that proves it offline.
type Approval struct {
	Request   string          `json:"request"`
	Reviewer  string          `json:"reviewer"`
	Passkey   string          `json:"passkey"`
	Nonce     string          `json:"nonce"`
	Statement json.RawMessage `json:"statement"` // RFC 8785
	Assertion json.RawMessage `json:"assertion"`
	At        time.Time       `json:"at"`
	Void      string          `json:"void,omitempty"` // why it no longer counts; empty while it does
}

// ApprovalList answers PathApprovals?request=ID.
type ApprovalList struct {
	Approvals []Approval `json:"approvals"`
}

// Problem is RFC 9457 (application/problem+json). Type is PathProblems followed by Code; both are stable.
type Problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`             // one sentence: what is refused, and why
	Instance string   `json:"instance,omitempty"` // urn:uuid or id of the HTTP request, as in the broker's log
	Code     string   `json:"code"`
	Field    string   `json:"field,omitempty"`   // the input that was wrong
	Next     string   `json:"next,omitempty"`    // the next step
	Reasons  []Reason `json:"reasons,omitempty"` // the lines that decided
}

// The codes of a Problem.
const (
	CodeInvalid         = "invalid_request"
	CodeUnauthenticated = "unauthenticated"
	CodeForbidden       = "forbidden"
	CodeNotFound        = "not_found"
	CodeDenied          = "access_denied"
	CodePending         = "authorization_pending" // wait, then collect again
	CodeSlowDown        = "slow_down"             // Retry-After says when
	CodeExpired         = "expired_token"
	CodeConflict        = "conflict"
	CodeFrozen          = "frozen"
	CodeWall            = "wall_missing"
	CodeUnconfirmed     = "target_unconfirmed"
	CodeUnavailable     = "temporarily_unavailable"
	CodeInternal        = "internal"
)
