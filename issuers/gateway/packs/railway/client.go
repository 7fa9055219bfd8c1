package railway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	maxAnswer = 16 << 20 // bytes of an answer to a look-up
	patience  = 10 * time.Second
)

// client asks Railway with the real token. It follows no redirect, reads bounded answers, and asks nothing
// while the account's requests of the hour are used up.
type client struct {
	base   string // scheme and host
	attach func(http.Header)
	http   *http.Client
	now    func() time.Time

	mu      sync.Mutex
	blocked time.Time // until then Railway takes no request
	limit   string    // how many requests it takes in an hour, as it said; empty if it did not
}

func newClient(base string, attach func(http.Header), given *http.Client, now func() time.Time) *client {
	own := http.Client{}
	if given != nil {
		own = *given
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token goes nowhere else
	return &client{base: base, attach: attach, http: &own, now: now}
}

// errNotThere is Railway's answer to an id that is not there, or that the token does not reach.
var errNotThere = errors.New("railway: not there")

// ask sends one document. The answer's data is decoded into into. Errors are broker.CodeUnavailable, or
// errNotThere.
func (c *client) ask(ctx context.Context, document string, variables map[string]any, into any) error {
	if err := c.limited(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.send(ctx, document, variables)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := c.status(answer); err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return unavailable("Railway's answer broke off").Because(err)
	case len(body) > maxAnswer:
		return unavailable("Railway's answer is larger than %d MB", maxAnswer>>20)
	}
	return c.read(answer, body, into)
}

func (c *client) send(ctx context.Context, document string, variables map[string]any) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return nil, fmt.Errorf("encoding a look-up: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a look-up: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "hourkey")
	c.attach(request.Header)
	answer, err := c.http.Do(request)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, unavailable("Railway does not answer: nothing can be looked up").Because(err)
	case err != nil:
		return nil, unavailable("Railway cannot be reached: nothing can be looked up").Because(err)
	}
	return answer, nil
}

// status says what is wrong with an answer by its status. Railway's GraphQL errors come with 200 and with 400.
func (c *client) status(answer *http.Response) error {
	switch code := answer.StatusCode; {
	case code == http.StatusTooManyRequests:
		return c.block(answer.Header)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return unavailable("Railway does not take the broker's token").WithNext("ask the operator to look at the target's token")
	case code >= 300 && code < 400:
		return unavailable("Railway redirects elsewhere (status %d), and the token is sent to no other host", code)
	case code != http.StatusOK && code != http.StatusBadRequest:
		return unavailable("Railway answers with status %d: nothing can be looked up", code)
	}
	return nil
}

// read takes the answer apart. What Railway said of an error is for the operator alone.
func (c *client) read(response *http.Response, body []byte, into any) error {
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return unavailable("Railway's answer is no GraphQL answer").Because(err)
	}
	if len(answer.Errors) > 0 {
		return c.failed(response.Header, answer.Errors[0].Message)
	}
	decoder := json.NewDecoder(bytes.NewReader(answer.Data))
	decoder.UseNumber() // a digest is made of what is staged: no number may be rounded
	if err := decoder.Decode(into); err != nil {
		return unavailable("Railway's answer is not as its schema says").Because(err)
	}
	return nil
}

// failed says what an error in an answer means.
func (c *client) failed(header http.Header, message string) error {
	switch lower := strings.ToLower(message); {
	case strings.Contains(lower, "rate limit"), strings.Contains(lower, "too many requests"):
		return c.block(header)
	case strings.Contains(lower, "not found"), strings.Contains(lower, "not authorized"):
		return errNotThere
	}
	return unavailable("Railway could not answer a look-up").Because(fmt.Errorf("railway: %.200q", message))
}

// block remembers how long nothing is to be asked, and says so.
func (c *client) block(header http.Header) error {
	until := c.now().Add(time.Minute) // if Railway does not say
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds >= 0 && seconds <= 24*3600 {
		until = c.now().Add(time.Duration(seconds) * time.Second)
	}
	c.mu.Lock()
	c.blocked = until
	if limit, err := strconv.Atoi(header.Get("X-RateLimit-Limit")); err == nil {
		c.limit = strconv.Itoa(limit) + " an hour"
	}
	c.mu.Unlock()
	return c.limited()
}

// limited says that the requests of the hour are used up, if they are.
func (c *client) limited() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.now().Before(c.blocked) {
		return nil
	}
	said := ""
	if c.limit != "" {
		said = " (" + c.limit + ")"
	}
	return unavailable("Railway's rate limit%s is used up: nothing can be looked up", said).
		WithNext("try again after %s", c.blocked.UTC().Format(time.RFC3339))
}

func unavailable(format string, arguments ...any) *broker.Error {
	return broker.Errorf(broker.CodeUnavailable, format, arguments...)
}
