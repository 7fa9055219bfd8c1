package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// NewTransport goes to the providers directly, whatever proxy the environment names, over HTTP/1.1 with
// connections that are kept. It never asks for a compressed answer: one that cannot be read cannot be
// scrubbed. HTTP/2 is left out because its client sends some requests twice by itself.
func NewTransport() *http.Transport {
	only := new(http.Protocols)
	only.SetHTTP1(true)
	return &http.Transport{
		Proxy: nil, Protocols: only, DisableCompression: true,
		DialContext:     (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns: 256, MaxIdleConnsPerHost: 128, // how many there are is bounded by tunnels, each of which has one call: no lease waits for another's
		IdleConnTimeout: 30 * time.Second,
		ReadBufferSize:  16 << 10, WriteBufferSize: 16 << 10,
	}
}

// forward sends what was judged, once, and passes the answer on. An error is to be answered; after an
// answer has begun, a failure ends the connection instead, so that no tool takes a part for the whole.
func (c *call) forward() error {
	// What a caller sees of a call that passed may break off; what the log says of it does not.
	defer func() {
		c.proxy.broker.Used(context.WithoutCancel(c.conn.life), c.tunnel.Presented, c.pass, c.asked, c.outcome)
	}()
	c.outcome = outcomeUnknown
	sent := new(atomic.Bool)
	request, err := c.outgoing(sent)
	if err != nil {
		c.outcome = "not sent"
		return err
	}
	response, err := c.proxy.transport.RoundTrip(request)
	if err != nil {
		return c.unanswered(err, sent.Load())
	}
	defer response.Body.Close()
	c.status, c.outcome = response.StatusCode, strconv.Itoa(response.StatusCode)
	return c.answer(response)
}

const outcomeUnknown = "outcome unknown"

// unanswered says what is known of a call without an answer. It is never sent again.
func (c *call) unanswered(err error, sent bool) error {
	timeout, is := errors.AsType[net.Error](err)
	why := "the provider broke off"
	switch {
	case c.tunnel.Ends.Err() != nil:
		why = "the lease ended"
	case c.request.Context().Err() != nil:
		why = "the caller broke off"
	case is && timeout.Timeout():
		why = "timeout"
	}
	if !sent {
		c.outcome = "not sent: the provider cannot be reached"
		return broker.Errorf(broker.CodeUnavailable, "the provider cannot be reached, nothing was sent").WithNext("try again").Because(c.tunnel.quote(err))
	}
	c.outcome = why + ": " + outcomeUnknown
	if c.verdict.Class == judge.Read {
		return broker.Errorf(codeUnknown, "there is no answer: %s", why).WithNext("try again").Because(c.tunnel.quote(err))
	}
	return broker.Errorf(codeUnknown, "%s: whether it was done is not known, and it is not sent again", why).WithNext("look at what is there before you try again").Because(c.tunnel.quote(err))
}

// outgoing makes the request from the verdict alone.
func (c *call) outgoing(sent *atomic.Bool) (*http.Request, error) {
	send := c.verdict.Send
	to, err := address(c.tunnel.provider.Base(), send)
	if err != nil {
		return nil, err
	}
	request := &http.Request{
		Method: send.Method, URL: to, Host: to.Host, Header: c.header(send),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(send.Body)), Body: c.body(send.Body),
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	return request.WithContext(httptrace.WithClientTrace(c.context(), trace)), nil
}

// context ends with the lease. What is more than a read goes on without its caller: once it was let pass,
// it is better known how it came out.
func (c *call) context() context.Context {
	if c.verdict.Class == judge.Read {
		return c.request.Context()
	}
	return c.conn.life
}

// body is one that http.Transport cannot send again by itself. It would, on a kept connection that breaks,
// for GET, HEAD, OPTIONS and TRACE without a body, and for what has GetBody; that is fine for reads.
func (c *call) body(body []byte) io.ReadCloser {
	if len(body) > 0 || c.verdict.Class != judge.Read && lacksBody(c.verdict.Send.Method) {
		return sendOnce{bytes.NewReader(body)}
	}
	return http.NoBody
}

// lacksBody are the methods for which the transport finds out by itself that a body is empty.
func lacksBody(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// sendOnce hides what its reader is: a type that the transport knows could be read again.
type sendOnce struct{ io.Reader }

// Close is io.Closer's.
func (sendOnce) Close() error { return nil }

// address is the provider's own, with the path and the query of the verdict and nothing else.
func address(base string, send judge.Send) (*url.URL, error) {
	wrong := broker.Errorf(broker.CodeInternal, "what was judged makes no request")
	at, err := url.Parse(base)
	if err != nil || at.Host == "" || at.User != nil {
		return nil, wrong
	}
	path, err := url.PathUnescape(send.Path)
	if err != nil || !strings.HasPrefix(send.Path, "/") || !isToken(send.Method) {
		return nil, wrong
	}
	to := &url.URL{Scheme: at.Scheme, Host: at.Host, Path: path, RawPath: send.Path, RawQuery: send.Query.Encode()}
	if to.EscapedPath() != send.Path || strings.HasPrefix(send.Path, "//") {
		return nil, wrong // it would go out as something else than what was judged
	}
	return to, nil
}

// passedOn are the headers of a caller that reach the provider. None of them changes what a call does, and
// none chooses the version of an API: rows are written for one.
func passedOn() []string {
	return []string{"Accept", "User-Agent", "If-None-Match", "If-Modified-Since"}
}

func (c *call) header(send judge.Send) http.Header {
	header := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"hourkey"}}
	for _, name := range passedOn() {
		if values := c.request.Header.Values(name); len(values) == 1 {
			header[name] = values
		}
	}
	if !c.verdict.Answer.Plain() {
		header.Set("Accept", "application/json") // in another form an answer cannot be filtered
	}
	if c.tellsByTag() {
		header.Del("If-None-Match") // a 304 would tell whether a masked value was guessed
		header.Del("If-Modified-Since")
	}
	if len(send.Body) > 0 && send.ContentType != "" {
		header.Set("Content-Type", send.ContentType)
	}
	credential, scrub := c.tunnel.credential()
	maps.Copy(header, credential)
	c.scrub = scrub // the answer is scrubbed of what this request was sent with
	return header
}
