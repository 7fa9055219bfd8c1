package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

const apiPath = "/graphql/v2"

// answer is what a GraphQL server says (GraphQL specification, section 7).
type answer struct {
	status int
	raw    string          // the whole body
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Message    string `json:"message"`
		Extensions struct {
			Code    string `json:"code"`
			Request string `json:"request"` // that waits for a human
			URL     string `json:"url"`     // where that human decides
		} `json:"extensions"`
	} `json:"errors"`
}

// refusal is what a tool shows of an error, empty if there is none.
func (a answer) refusal() string {
	if len(a.Errors) == 0 {
		return ""
	}
	return a.Errors[0].Message
}

// pending is the request of a call that waits for a human: id, page, the line that says so, and the phrase that the
// page must show. The zero value is of a call that does not.
type pending struct{ id, page, line, phrase string }

func (a answer) pending() pending {
	if len(a.Errors) == 0 || a.Errors[0].Extensions.Code != api.CodePending {
		return pending{}
	}
	e := a.Errors[0]
	return pending{id: e.Extensions.Request, page: e.Extensions.URL, line: e.Message}
}

// post is `curl -X POST … -d '{"query":…}'`, as anybody can call.
func post(ctx context.Context, client *http.Client, url, token, query string) (a answer, err error) {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return a, fmt.Errorf("encoding a query: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+apiPath, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(r)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return a, err
	}
	a.status, a.raw = response.StatusCode, string(raw)
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("reading the answer %q: %w", raw, err)
	}
	return a, nil
}

// lease is the agent's side of a lease behind the gateway: what hourkey exec holds for its child.
type lease struct {
	api.Gateway

	expires time.Time
	client  *http.Client
	saw     func(text string) // everything that reaches the agent
}

// use makes a lease of a credential. The tunnels are opened with proofs by the agent's key.
func (d *drill) use(credential api.Credential) (*lease, error) {
	if credential.Gateway == nil {
		return nil, off("what was issued does not go through the gateway")
	}
	l := &lease{Gateway: *credential.Gateway, expires: credential.Expires, saw: d.saw}
	l.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		stream, err := d.agent.OpenTunnel(ctx, api.Tunnel{Token: l.Token, Host: l.Hosts[0], Plain: true})
		if err != nil {
			return nil, err
		}
		return tunnel{stream}, nil
	}}}
	d.leases = append(d.leases, l)
	return l, nil
}

// call goes through the gateway. The credential of Railway is not the agent's to add.
func (l *lease) call(ctx context.Context, query string) (answer, error) {
	a, err := post(ctx, l.client, "http://"+l.Hosts[0], "", query)
	l.saw(a.raw)
	return a, err
}

// tunnel lets an HTTP client use a stream as a connection. The client sets no deadlines.
type tunnel struct{ api.Stream }

func (tunnel) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "tunnel"} }
func (tunnel) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "tunnel"} }
func (tunnel) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (tunnel) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (tunnel) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// sight is everything that reached the agent since it works through Hourkey.
type sight struct{ text strings.Builder }

func (s *sight) saw(text string) { s.text.WriteString(text + "\n") }

// sawCredentials notes what a child of hourkey exec could come to see, and its forwarder.
func (s *sight) sawCredentials(credentials []api.Credential) error {
	for _, c := range credentials {
		for _, value := range c.Values {
			s.saw(value.Reveal())
		}
		if c.Gateway != nil {
			s.saw(c.Gateway.Token.Reveal())
		}
	}
	raw, err := json.Marshal(credentials)
	s.saw(string(raw))
	return err
}
