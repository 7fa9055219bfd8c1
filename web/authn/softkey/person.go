package softkey

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Person is a human with a browser and a software passkey: it goes the way of the pages over HTTP,
// reads the digest that a page shows, and signs what the broker prepares.
type Person struct {
	Key  *Key
	Lie  func(*Ceremony)     // changes what is signed, nil for the honest
	Edit func(*http.Request) // changes each request before it is sent, nil for none

	// Typed are the names of protected environments that this person types when asked to approve a delete.
	Typed []string

	origin string
	client *http.Client
}

// Refusal is an answer that is not what was asked for.
type Refusal struct {
	Status int
	Body   string
}

// Error gives the status and the body.
func (r *Refusal) Error() string { return fmt.Sprintf("status %d: %s", r.Status, r.Body) }

// NewPerson gives somebody without a passkey yet. transport nil is http.DefaultTransport.
func NewPerson(origin string, transport http.RoundTripper) (*Person, error) {
	at, err := url.Parse(origin)
	if err != nil {
		return nil, fmt.Errorf("reading the origin: %w", err)
	}
	key, err := New(at.Hostname())
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("making a cookie jar: %w", err)
	}
	return &Person{Key: key, origin: origin, client: &http.Client{Jar: jar, Transport: transport}}, nil
}

// Enrol types in a name and a one-time code, makes the passkey, and is signed in.
func (p *Person) Enrol(ctx context.Context, name, code string) error {
	page, err := p.Submit(ctx, "/invite", url.Values{"name": {name}, "code": {code}})
	if err != nil {
		return err
	}
	var options struct {
		Challenge base64url `json:"challenge"`
		User      struct {
			ID base64url `json:"id"`
		} `json:"user"`
	}
	if err := json.Unmarshal([]byte(attribute(page, "data-options")), &options); err != nil {
		return fmt.Errorf("reading the page's options: %w", err)
	}
	made, err := p.Key.Register(options.User.ID, p.ceremony(options.Challenge))
	if err != nil {
		return err
	}
	return p.Post(ctx, "/invite/passkey", map[string]any{
		"credential_id": made.CredentialID, "client_data_json": base64url(made.ClientDataJSON),
		"attestation_object": base64url(made.AttestationObject), "transports": made.Transports,
	}, nil)
}

// SignIn signs in with the passkey.
func (p *Person) SignIn(ctx context.Context) error {
	var asked asked
	if err := p.Post(ctx, "/sign-in/prepare", struct{}{}, &asked); err != nil {
		return err
	}
	answer, err := p.assert(asked.Options.Challenge)
	if err != nil {
		return err
	}
	return p.Post(ctx, "/sign-in", answer, nil)
}

// Prepared is a statement that waits for a signature.
type Prepared struct {
	Nonce     string
	Says      string // one sentence
	Statement string // canonical JSON
	Challenge []byte
}

// asked is what /sign/prepare and /sign-in/prepare answer.
type asked struct {
	Nonce     string `json:"nonce"`
	Says      string `json:"says"`
	Statement string `json:"statement"`
	Options   struct {
		Challenge base64url `json:"challenge"`
	} `json:"options"`
}

// Prepare asks for the statement of an act on a subject whose page showed digest.
func (p *Person) Prepare(ctx context.Context, act broker.Act, subject, digest string) (Prepared, error) {
	var asked asked
	body := map[string]any{"act": act, "subject": subject, "digest": digest}
	if act == broker.ActApprove && len(p.Typed) > 0 {
		body["typed"] = p.Typed
	}
	err := p.Post(ctx, "/sign/prepare", body, &asked)
	return Prepared{asked.Nonce, asked.Says, asked.Statement, asked.Options.Challenge}, err
}

// Sign signs a prepared statement.
func (p *Person) Sign(ctx context.Context, prepared Prepared) error {
	answer, err := p.assert(prepared.Challenge)
	if err != nil {
		return err
	}
	return p.Post(ctx, "/sign", map[string]any{"nonce": prepared.Nonce, "assertion": answer}, nil)
}

// Approve does what a human does on the page of a subject: reads it, prepares, signs. It gives the page.
func (p *Person) Approve(ctx context.Context, act broker.Act, path, subject string) (page string, err error) {
	page, digest, err := p.Read(ctx, path)
	if err != nil {
		return page, err
	}
	if digest == "" {
		return page, errors.New("nothing on this page waits for this person: " + path)
	}
	prepared, err := p.Prepare(ctx, act, subject, digest)
	if err != nil {
		return page, err
	}
	return page, p.Sign(ctx, prepared)
}

// Deny denies a request as its page shows it.
func (p *Person) Deny(ctx context.Context, id, words string) error {
	_, digest, err := p.Read(ctx, "/requests/"+id)
	if err != nil {
		return err
	}
	_, err = p.Submit(ctx, "/requests/"+id+"/deny", url.Values{"digest": {digest}, "words": {words}})
	return err
}

// Read loads a page, and gives the digest of what it offers to sign or to deny, empty for nothing.
func (p *Person) Read(ctx context.Context, path string) (page, digest string, err error) {
	raw, err := p.do(ctx, http.MethodGet, path, "", nil)
	page = string(raw)
	if digest = attribute(page, "data-digest"); digest == "" {
		digest = attribute(page, `name="digest" value`)
	}
	return page, digest, err
}

// Submit sends a form, as the page's own button does, and gives the page that follows.
func (p *Person) Submit(ctx context.Context, path string, form url.Values) (page string, err error) {
	raw, err := p.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(form.Encode()))
	return string(raw), err
}

// Post sends JSON, as the page's own script does.
func (p *Person) Post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	answer, err := p.do(ctx, http.MethodPost, path, "application/json", raw)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	return nil
}

func (p *Person) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.origin+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Origin", p.origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if p.Edit != nil {
		p.Edit(r)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return raw, &Refusal{answer.StatusCode, string(raw)}
	}
	return raw, nil
}

func (p *Person) ceremony(challenge []byte) Ceremony {
	c := Ceremony{Origin: p.origin, Challenge: challenge}
	if p.Lie != nil {
		p.Lie(&c)
	}
	return c
}

// assert signs a challenge and writes it as the page's script does.
func (p *Person) assert(challenge []byte) (map[string]any, error) {
	a, err := p.Key.Assert(p.ceremony(challenge))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"credential_id": a.CredentialID, "client_data_json": base64url(a.ClientDataJSON), "authenticator_data": base64url(a.AuthenticatorData),
		"signature": base64url(a.Signature), "user_handle": base64url(a.UserHandle),
	}, nil
}

// base64url is binary data: base64url without padding in JSON.
type base64url []byte

// MarshalText writes base64url.
func (b base64url) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(b)), nil
}

// UnmarshalText reads base64url.
func (b *base64url) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	*b = raw
	return err
}

// attribute gives the first value of an attribute in a page of ours.
func attribute(page, name string) string {
	_, rest, found := strings.Cut(page, name+`="`)
	if !found {
		return ""
	}
	value := regexp.MustCompile(`^[^"]*`).FindString(rest)
	return html.UnescapeString(value)
}
