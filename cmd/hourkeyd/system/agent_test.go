package system

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/web/api"
)

// agent speaks the API by itself: the client of web/api repeats what was lost, and hides its tokens.
type agent struct {
	name, origin, task string
	key                ed25519.PrivateKey
	vault              *vault

	mu    sync.Mutex
	token string
}

func enrol(i *installation, name, code string) *agent {
	i.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(i, err)
	client, err := api.NewClient(api.ClientConfig{Origin: i.origin, Agent: name, Key: key, Now: time.Now})
	must(i, err)
	_, err = client.Enroll(i.Context(), api.NewSecret(code))
	must(i, err)
	return &agent{name: name, origin: i.origin, task: task, key: key, vault: i.vault}
}

// bearer gives an access token, a new one after forget.
func (a *agent) bearer() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" {
		return a.token, nil
	}
	now := time.Now()
	assertion := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: a.name, Subject: a.name, Audience: jwt.ClaimStrings{a.origin}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(30 * time.Second)),
	})
	assertion.Header["typ"] = api.TypAssertion
	signed, err := assertion.SignedString(a.key)
	if err != nil {
		return "", err
	}
	answer, err := http.PostForm(a.origin+api.PathToken, url.Values{
		"grant_type": {api.GrantClientCredentials}, "client_assertion_type": {api.AssertionTypeJWT}, "client_assertion": {signed},
	})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		return "", err
	}
	if token.AccessToken == "" {
		return "", &api.Problem{Status: answer.StatusCode, Code: token.Error, Detail: "no access token"}
	}
	a.vault.keep("assertion", signed)
	a.vault.keep("access token", token.AccessToken)
	a.token = token.AccessToken
	return a.token, nil
}

func (a *agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = ""
}

// call makes one exchange, once. A refusal is a *api.Problem.
func (a *agent) call(ctx context.Context, method, path string, header http.Header, in, out any) error {
	status, text, err := a.send(ctx, method, path, header, in)
	if err == nil && status == http.StatusUnauthorized {
		a.forget() // it was issued too long ago
		status, text, err = a.send(ctx, method, path, header, in)
	}
	if err != nil {
		return err
	}
	if status >= 300 {
		problem := &api.Problem{}
		if err := json.Unmarshal(text, problem); err != nil {
			return fmt.Errorf("status %d: %q", status, text)
		}
		return problem
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (a *agent) send(ctx context.Context, method, path string, header http.Header, in any) (int, []byte, error) {
	token, err := a.bearer()
	if err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	if in == nil {
		body = nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.origin+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// request asks for scopes in an environment, for a time (0: the task's).
func (a *agent) request(ctx context.Context, environment string, ttl time.Duration, scopes ...string) (r api.Request, err error) {
	err = a.call(ctx, http.MethodPost, api.PathRequests, nil, api.RequestCreate{
		Task: a.task, Environments: []string{environment}, Scopes: scopes, TTLSeconds: int64(ttl / time.Second), Reason: "the nightly run wants it",
	}, &r)
	return r, err
}

func (a *agent) collect(ctx context.Context, request string) (api.Credential, error) {
	var list api.CredentialList
	if err := a.call(ctx, http.MethodPost, strings.Replace(api.PathCredentials, "{id}", request, 1), nil, nil, &list); err != nil {
		return api.Credential{}, err
	}
	if len(list.Credentials) != 1 {
		return api.Credential{}, fmt.Errorf("%d credentials", len(list.Credentials))
	}
	for _, name := range secretValues() {
		a.vault.keep("password", list.Credentials[0].Values[name].Reveal())
	}
	return list.Credentials[0], nil
}

// secretValues are the variables of credentials that are secret by themselves.
func secretValues() []string {
	return []string{"PGPASSWORD", "VAULT_TOKEN", "KUBE_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
}

func (a *agent) release(ctx context.Context, lease string) error {
	return a.call(ctx, http.MethodDelete, strings.Replace(api.PathLease, "{id}", lease, 1), nil, nil, nil)
}

// get is request and collect at once, for what needs nobody.
func (a *agent) get(ctx context.Context, environment string, ttl time.Duration, scopes ...string) (api.Credential, error) {
	request, err := a.request(ctx, environment, ttl, scopes...)
	if err != nil {
		return api.Credential{}, err
	}
	return a.collect(ctx, request.ID)
}

// key is get in staging, which must succeed.
func (i *installation) key(ttl time.Duration, scopes ...string) api.Credential {
	i.Helper()
	c, err := i.agent.get(i.Context(), "staging", ttl, scopes...)
	must(i, err)
	return c
}

// refused wants a refusal with one of these codes.
func refused(tb testing.TB, what string, err error, codes ...string) {
	tb.Helper()
	problem, ok := errors.AsType[*api.Problem](err)
	if ok {
		for _, code := range codes {
			if problem.Code == code {
				return
			}
		}
		tb.Errorf("%s: got %s: %s; want %v", what, problem.Code, problem.Detail, codes)
		return
	}
	tb.Errorf("%s: got %v, want a refusal %v", what, err, codes)
}
