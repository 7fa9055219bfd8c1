package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The client's bounds.
const (
	maxAnswer      = 4 << 20          // bytes of an answer
	answerTime     = 30 * time.Second // for one answer, beside what a call adds
	collectTime    = 60 * time.Second // added where the broker has to call providers
	pollTime       = 30 * time.Second // of one long poll
	pollGap        = time.Second      // at least, between two polls
	attempts       = 5                // of one call
	firstDelay     = 250 * time.Millisecond
	longestDelay   = time.Minute     // a Retry-After beyond this is told, not waited for
	outagePatience = 2 * time.Minute // of Await, with a broker that does not answer
)

// ParseOrigin checks a broker's URL and gives its origin: scheme, host and port alone. Plain http is
// taken for this machine only: anywhere else a token would cross a network in the open.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", errors.New("the broker's URL must look like https://hourkey.example")
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return "", errors.New("the broker's URL is scheme, host and port alone, like https://hourkey.example:8443")
	case u.Scheme == "https":
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	case u.Scheme == "http":
		return "", errors.New("plain http is for a broker on this machine alone: use https, with HOURKEY_CA for a private authority")
	default:
		return "", fmt.Errorf("the broker's URL has scheme %q: expected https", u.Scheme)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback() || strings.EqualFold(host, "localhost")
}

// newHTTPClient makes a client that follows no redirect, so that the token goes to the origin alone.
func newHTTPClient(transport *http.Transport) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newTransport connects to the origin; plain http stays on this machine.
func newTransport(origin string, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		DialContext:         dialer.DialContext,
		Proxy:               http.ProxyFromEnvironment,
	}
	if strings.HasPrefix(origin, "http://") {
		transport.Proxy = nil
		dialer.Control = loopbackOnly
	}
	return transport
}

// loopbackOnly refuses a "localhost" that resolves to another machine.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
		return errors.New("plain http to another machine is refused")
	}
	return nil
}

// call is one exchange with the broker.
type call struct {
	method         string
	path           string
	query          url.Values
	body           any // nil: none
	idempotencyKey string
	anonymous      bool          // without an access token
	once           bool          // never repeated
	extra          time.Duration // beyond answerTime
}

// call makes the exchange, repeated where that helps, and decodes the answer into answer unless nil.
func (c *Client) call(ctx context.Context, one call, answer any) error {
	var body []byte
	if one.body != nil {
		text, err := json.Marshal(one.body)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = text
	}
	return c.repeat(ctx, one.once, func(ctx context.Context) error {
		err := c.try(ctx, one, body, answer)
		if problem, refused := AsProblem(err); refused && problem.Status == http.StatusUnauthorized && !one.anonymous && c.forget() {
			err = c.try(ctx, one, body, answer) // the broker no longer took the cached token: once more with a fresh one
		}
		return err
	})
}

// try makes the exchange once.
func (c *Client) try(ctx context.Context, one call, body []byte, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime+one.extra, errNoAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, one.method, c.origin+one.path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	request.URL.RawQuery = one.query.Encode()
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if one.idempotencyKey != "" {
		request.Header.Set(HeaderIdempotencyKey, one.idempotencyKey)
	}
	if !one.anonymous {
		token, err := c.accessToken(ctx)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	response, text, err := c.send(request)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return refusal(response, decodeProblem(response.StatusCode, response.Header.Get("Content-Type"), text))
	}
	return decodeAnswer(response, text, answer)
}

// send gives the whole answer, bounded.
func (c *Client) send(request *http.Request) (*http.Response, []byte, error) {
	request.Header.Set("User-Agent", c.userAgent)
	request.Header.Set("Accept", "application/json, application/problem+json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, c.lost(request.Context(), err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, c.lost(request.Context(), err)
	}
	if len(text) > maxAnswer {
		return nil, nil, fmt.Errorf("the answer of %s is longer than %d bytes", c.origin, maxAnswer)
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return nil, nil, fmt.Errorf("%s answers with a redirect, which is never followed: use the broker's own URL", c.origin)
	}
	return response, text, nil
}

// decodeAnswer reads a JSON answer; fields that this client does not know are a newer broker's.
func decodeAnswer(response *http.Response, text []byte, answer any) error {
	if answer == nil || response.StatusCode == http.StatusNoContent {
		return nil
	}
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if media != "application/json" {
		return foreignProblem(response.StatusCode)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return errors.New("the broker's answer cannot be read: is it newer than this hourkey?") // the cause could quote a secret
	}
	return nil
}

// errNoAnswer is why a call is given up.
var errNoAnswer = errors.New("no answer in time")

// lostError is a call whose outcome is not known.
type lostError struct {
	origin string
	cause  error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("cannot reach the broker at %s: %v", e.origin, e.cause)
}

func (e *lostError) Unwrap() error { return e.cause }

// lost tells a connection that failed from a caller who gave up.
func (c *Client) lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errNoAnswer) {
		return cause
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // the URL says nothing new
	}
	if context.Cause(ctx) != nil {
		err = errNoAnswer
	}
	return &lostError{origin: c.origin, cause: err}
}

// laterError is a refusal that says when to come again.
type laterError struct {
	*Problem
	after time.Duration // 0: it does not say
}

func (e *laterError) Unwrap() error { return e.Problem }

// refusal keeps what the Retry-After header (RFC 9110 section 10.2.3) says beside the problem.
func refusal(response *http.Response, problem *Problem) error {
	header := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(header); err == nil && seconds >= 0 {
		return &laterError{problem, time.Duration(seconds) * time.Second}
	}
	if problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusBadGateway || problem.Status == http.StatusGatewayTimeout {
		return &laterError{problem, 0}
	}
	return problem
}

// passing tells whether err may be gone when the call is repeated.
func passing(err error) bool {
	if _, lost := errors.AsType[*lostError](err); lost {
		return !isCertificate(err)
	}
	_, later := errors.AsType[*laterError](err)
	return later
}

// isCertificate tells whether the other side is not who it should be. Asking again would not help.
func isCertificate(err error) bool {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	return unverified
}

// repeat runs try until it succeeds or repeating cannot help, with growing, jittered pauses.
func (c *Client) repeat(ctx context.Context, once bool, try func(context.Context) error) error {
	delay := firstDelay
	for n := 1; ; n++ {
		err := try(ctx)
		if err == nil || once || n == attempts || !passing(err) {
			return err
		}
		pause := jitter(delay)
		if later, ok := errors.AsType[*laterError](err); ok {
			if later.after > longestDelay {
				return err
			}
			pause = max(pause, later.after)
		}
		if c.sleep(ctx, pause) != nil {
			return context.Cause(ctx)
		}
		delay *= 2
	}
}

// jitter gives between half of d and d, so that many agents do not come back at once.
func jitter(d time.Duration) time.Duration {
	var one [1]byte
	_, _ = rand.Read(one[:]) // never fails
	return d/2 + d/2*time.Duration(one[0])/255
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
