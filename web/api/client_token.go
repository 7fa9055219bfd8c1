package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// accessToken gives the cached token, or asks for one with a fresh assertion.
func (c *Client) accessToken(ctx context.Context) (Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Before(c.renewAt) {
		return c.token, nil
	}
	answer, err := c.askToken(ctx)
	if err != nil {
		return Secret{}, err
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	c.token, c.renewAt = answer.AccessToken, c.now().Add(life*9/10)
	return c.token, nil
}

// forget drops the cached token and tells whether there was one.
func (c *Client) forget() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cached := c.token != Secret{}
	c.token, c.renewAt = Secret{}, time.Time{}
	return cached
}

// askToken is RFC 6749 section 4.4 with the client authentication of RFC 7523 section 2.2.
func (c *Client) askToken(ctx context.Context) (TokenResponse, error) {
	form := url.Values{
		"grant_type":            {GrantClientCredentials},
		"client_assertion_type": {AssertionTypeJWT},
		"client_assertion":      {c.signAssertion()},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+PathToken, strings.NewReader(form.Encode()))
	if err != nil {
		return TokenResponse{}, fmt.Errorf("making the token request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, text, err := c.send(request)
	if err != nil {
		return TokenResponse{}, err
	}
	if response.StatusCode != http.StatusOK {
		return TokenResponse{}, refusal(response, decodeTokenError(response.StatusCode, text))
	}
	var answer TokenResponse
	if err := json.Unmarshal(text, &answer); err != nil || !strings.EqualFold(answer.TokenType, "Bearer") || answer.AccessToken == (Secret{}) {
		return TokenResponse{}, errors.New("the broker's token answer cannot be read")
	}
	return answer, nil
}
