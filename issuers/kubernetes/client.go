package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// client makes calls to one API server. It is safe for concurrent use.
type client struct {
	base  *url.URL
	http  *http.Client
	renew func() (broker.Secret, error) // nil where a client certificate stands for the broker

	mu    sync.Mutex
	token broker.Secret
}

const (
	dialFor   = 10 * time.Second
	answerFor = 20 * time.Second // for one call, within the broker's own limit of 30 s
	// An answer is JSON: pages of 500 objects, or one object. Metadata of an object is at most some 100 KiB, and far less in truth.
	mostAnswer = 32 << 20
	pageSize   = 500
)

// newClient connects to nothing. Redirects are not followed and no proxy is used: the broker's token goes to the server that
// the configuration names and nowhere else.
func newClient(a access) *client {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	return &client{
		base: a.server, renew: a.renew, token: a.token,
		http: &http.Client{
			Timeout: answerFor, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: nil, Protocols: both, TLSClientConfig: a.tls, TLSHandshakeTimeout: dialFor,
				DialContext:            (&net.Dialer{Timeout: dialFor, KeepAlive: 30 * time.Second}).DialContext,
				MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
				HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second}, // a connection that died unseen
			},
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// call is one call. With metadataOnly the server leaves out what is in objects: then no secret of the cluster comes to the broker.
type call struct {
	method       string
	path         string
	query        url.Values
	body         any
	metadataOnly bool
	as           broker.Secret // a lease's token; the broker's own if empty
}

func (c *client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path}, into)
}

// getMetadata reads an object without what is in it.
func (c *client) getMetadata(ctx context.Context, path string, into any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, metadataOnly: true}, into)
}

func (c *client) post(ctx context.Context, path string, body, into any) error {
	return c.do(ctx, call{method: http.MethodPost, path: path, body: body}, into)
}

// dryRun has the server judge what making an object would be answered. Nothing comes of it either way.
func (c *client) dryRun(ctx context.Context, path string, body any) error {
	return c.do(ctx, call{method: http.MethodPost, path: path, query: url.Values{"dryRun": {"All"}}, body: body}, nil)
}

// do makes one call and reads the answer into into, which may be nil. When the server does not know the broker's token it is read
// again, once: a token in a file is exchanged for a newer one now and then.
func (c *client) do(ctx context.Context, asked call, into any) error {
	token := asked.as
	if token.IsZero() {
		token = c.current()
	}
	err := c.try(ctx, asked, token, into)
	if !isStatus(err, http.StatusUnauthorized) || !asked.as.IsZero() || c.renew == nil {
		return err
	}
	newer, failed := c.renew()
	if failed != nil || newer.Reveal() == token.Reveal() {
		return err
	}
	c.mu.Lock()
	c.token = newer
	c.mu.Unlock()
	return c.try(ctx, asked, newer, into)
}

func (c *client) current() broker.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

func (c *client) try(ctx context.Context, asked call, token broker.Secret, into any) error {
	request, err := c.request(ctx, asked, token)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case len(raw) > mostAnswer:
		return errTooLong
	case response.StatusCode < 200 || response.StatusCode > 299:
		return refused(response.StatusCode, raw)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("the answer is no JSON of the kind expected") // its text may repeat what was answered: a token
	}
	return nil
}

func (c *client) request(ctx context.Context, asked call, token broker.Secret) (*http.Request, error) {
	var body io.Reader
	if asked.body != nil {
		raw, err := json.Marshal(asked.body)
		if err != nil {
			return nil, fmt.Errorf("writing the call: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	where := c.base.JoinPath(asked.path)
	where.RawQuery = asked.query.Encode()
	request, err := http.NewRequestWithContext(ctx, asked.method, where.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "hourkey")
	request.Header.Set("Accept", "application/json")
	if asked.metadataOnly {
		request.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
		if asked.query.Has("limit") {
			request.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return request, nil
}

var errTooLong = errors.New("the answer is longer than " + strconv.Itoa(mostAnswer) + " bytes")

// list gives every object of a list, page by page. Where a page is too long, a shorter one is asked for: who owns any namespace can make
// objects that are as large as the server takes them, in lists that the issuers of all namespaces read.
func list[T any](ctx context.Context, c *client, asked call, each func(T)) error {
	asked.method = http.MethodGet
	query := asked.query
	if query == nil {
		query = url.Values{}
	}
	asked.query = query
	for size := pageSize; ; {
		query.Set("limit", strconv.Itoa(size))
		var p page[T]
		err := c.do(ctx, asked, &p)
		if errors.Is(err, errTooLong) && size > 1 {
			size /= 2
			continue
		}
		if err != nil {
			return err
		}
		if !strings.HasSuffix(p.Kind, "List") {
			return errOtherKind
		}
		for _, item := range p.Items {
			each(item)
		}
		if p.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", p.Metadata.Continue)
	}
}

// jwtPattern finds tokens that a server repeats, also those that never came to us whole.
var jwtPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*`)

// scrub takes secrets out of a text.
func (c *client) scrub(text string, also ...broker.Secret) string {
	text = jwtPattern.ReplaceAllString(text, "REDACTED")
	for _, secret := range append(also, c.current()) {
		if !secret.IsZero() {
			text = strings.ReplaceAll(text, secret.Reveal(), "REDACTED")
		}
	}
	return text
}
