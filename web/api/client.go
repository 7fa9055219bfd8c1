package api

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ClientConfig is what a Client depends on. Origin, Agent, Key and Now are required.
type ClientConfig struct {
	Origin    string             // of the broker, as ParseOrigin gives it
	Agent     string             // the agent's name
	Key       ed25519.PrivateKey // the agent's own; it signs assertions and never leaves
	Roots     *x509.CertPool     // nil: the system's
	UserAgent string             // default "hourkey"
	Now       func() time.Time

	// Sleep waits for d or until ctx ends. Tests replace it; nil is a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Client talks to one broker as one agent. Its methods are safe for concurrent use. They repeat what a
// lost connection or a busy broker prevented, politely and a few times; every call is safe to repeat but
// Enroll, which is sent once. A refusal is a *Problem; other errors are about the way there.
type Client struct {
	origin    string
	agent     string
	key       ed25519.PrivateKey
	userAgent string
	http      *http.Client
	tunnels   *http.Client // HTTP/1.1 alone
	now       func() time.Time
	sleep     func(context.Context, time.Duration) error

	mu      sync.Mutex // guards the access token, which is kept in memory alone
	token   Secret
	renewAt time.Time
}

// NewClient makes a client. It calls nobody.
func NewClient(config ClientConfig) (*Client, error) {
	origin, err := ParseOrigin(config.Origin)
	if err != nil {
		return nil, err
	}
	if config.Agent == "" || len(config.Key) != ed25519.PrivateKeySize || config.Now == nil {
		return nil, errors.New("api: ClientConfig wants Agent, an Ed25519 Key and Now")
	}
	c := &Client{
		origin: origin, agent: config.Agent, key: config.Key, userAgent: config.UserAgent,
		http: newHTTPClient(newTransport(origin, config.Roots)), tunnels: newHTTPClient(newTunnelTransport(origin, config.Roots)),
		now: config.Now, sleep: config.Sleep,
	}
	if c.userAgent == "" {
		c.userAgent = "hourkey"
	}
	if c.sleep == nil {
		c.sleep = sleep
	}
	return c, nil
}

// Enroll gives the broker this agent's public key, with the one-time code that the operator passed on.
// It is sent once: a code whose answer was lost is used up, and the operator makes a new one.
func (c *Client) Enroll(ctx context.Context, code Secret) (EnrollResponse, error) {
	proof := c.signEnrollment(code)
	body := EnrollRequest{Name: c.agent, Code: code.Reveal(), JWK: PublicJWK(c.publicKey()), Proof: proof}
	var answer EnrollResponse
	err := c.call(ctx, call{method: http.MethodPost, path: PathAgentsEnroll, body: body, anonymous: true, once: true}, &answer)
	return answer, err
}

// Tasks lists what this agent may ask for.
func (c *Client) Tasks(ctx context.Context) ([]Task, error) {
	var answer TaskList
	err := c.call(ctx, call{method: http.MethodGet, path: PathTasks}, &answer)
	return answer.Tasks, err
}

// Submit asks for credentials. A denial by policy is a *Problem with CodeDenied. The same
// idempotency key with the same ask gives the same request; NewIdempotencyKey makes one.
func (c *Client) Submit(ctx context.Context, ask RequestCreate, idempotencyKey string) (Request, error) {
	var answer Request
	err := c.call(ctx, call{method: http.MethodPost, path: PathRequests, body: ask, idempotencyKey: idempotencyKey}, &answer)
	return answer, err
}

// NewIdempotencyKey makes a fresh value for Submit.
func NewIdempotencyKey() string { return rand.Text() }

// Request gives one request of this agent. While it is pending the broker holds the answer back for
// up to wait (at most MaxWait); 0 answers at once.
func (c *Client) Request(ctx context.Context, id string, wait time.Duration) (Request, error) {
	return c.request(ctx, id, wait, url.Values{})
}

func (c *Client) request(ctx context.Context, id string, wait time.Duration, query url.Values) (Request, error) {
	one := call{method: http.MethodGet, path: withID(PathRequest, id)}
	if wait = min(wait, MaxWait).Truncate(time.Second); wait > 0 {
		query.Set("wait", wait.String())
		one.query, one.extra = query, wait
	}
	var answer Request
	err := c.call(ctx, one, &answer)
	return answer, err
}

// Requests lists this agent's requests, newest first.
func (c *Client) Requests(ctx context.Context) ([]Request, error) {
	var answer RequestList
	err := c.call(ctx, call{method: http.MethodGet, path: PathRequests}, &answer)
	return answer.Requests, err
}

// Cancel withdraws a request.
func (c *Client) Cancel(ctx context.Context, id string) (Request, error) {
	var answer Request
	err := c.call(ctx, call{method: http.MethodDelete, path: withID(PathRequest, id)}, &answer)
	return answer, err
}

// Collect issues what was granted. Collecting again ends what was issued before and issues anew with
// the original end; that is also what a repetition after a lost answer does.
func (c *Client) Collect(ctx context.Context, id string) ([]Credential, error) {
	var answer CredentialList
	err := c.call(ctx, call{method: http.MethodPost, path: withID(PathCredentials, id), extra: collectTime}, &answer)
	return answer.Credentials, err
}

// Leases lists this agent's leases, newest first: the open ones, or all.
func (c *Client) Leases(ctx context.Context, all bool) ([]Lease, error) {
	one := call{method: http.MethodGet, path: PathLeases}
	if all {
		one.query = url.Values{"all": {"true"}}
	}
	var answer LeaseList
	err := c.call(ctx, one, &answer)
	return answer.Leases, err
}

// Release ends a lease of this agent.
func (c *Client) Release(ctx context.Context, lease string) error {
	return c.call(ctx, call{method: http.MethodDelete, path: withID(PathLease, lease), extra: collectTime}, nil)
}

// Await long-polls until the request is no longer pending, its own deadline has passed at the broker,
// or ctx ends. Short outages of the broker are waited through.
func (c *Client) Await(ctx context.Context, id string) (Request, error) {
	return c.Follow(ctx, id, func(Request) {})
}

// Follow is Await, and hands every answer in which the request is still pending to seen: one comes at least
// every half a minute, and when one more human has signed.
func (c *Client) Follow(ctx context.Context, id string, seen func(Request)) (Request, error) {
	var failing time.Time
	signed := 0
	for {
		asked := c.now()
		request, err := c.request(ctx, id, pollTime, url.Values{"signed": {strconv.Itoa(signed)}})
		switch {
		case err == nil && request.State != StatePending:
			return request, nil
		case ctx.Err() != nil:
			return request, context.Cause(ctx)
		case err == nil:
			failing, signed = time.Time{}, request.Signed
			seen(request)
		case !passing(err):
			return request, err
		case failing.IsZero():
			failing = asked
		case c.now().Sub(failing) > outagePatience:
			return request, err
		}
		if spent := c.now().Sub(asked); spent < pollGap {
			if err := c.sleep(ctx, pollGap-spent); err != nil {
				return request, context.Cause(ctx)
			}
		}
	}
}

// withID puts an id into one of the paths. Whatever the id holds, it stays one segment.
func withID(path, id string) string {
	return strings.Replace(path, "{id}", url.PathEscape(id), 1)
}

// publicKey is the agent's own.
func (c *Client) publicKey() ed25519.PublicKey {
	public, ok := c.key.Public().(ed25519.PublicKey)
	if !ok { // ed25519 documents the type; NewClient checked the length
		panic("api: an Ed25519 key without an Ed25519 public key")
	}
	return public
}
