package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/hourkey/hourkey/broker"
)

// ErrNotRunning is the cause of an error that says that no broker answers at the socket.
var ErrNotRunning = errors.New("no broker at the socket")

// Client speaks to a running broker.
type Client struct {
	data string
	http *http.Client
}

// Dial makes the client of the broker that runs on a data folder. It connects at the first call.
func Dial(data string) (*Client, error) {
	path, err := SocketPath(data)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true, // a command makes one call; no connection stays behind
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}
	return &Client{data: data, http: &http.Client{Transport: transport}}, nil
}

// Call sends in (nil: nothing) and reads the answer into out.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	response, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode != http.StatusOK {
		var problem Problem
		if err := decoder.Decode(&problem); err != nil || problem.Code == "" {
			return broker.Errorf(broker.CodeInternal, "the broker answered %s", response.Status)
		}
		return problem.Err()
	}
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("reading the broker's answer: %w", err)
	}
	return nil
}

// Stream copies the answer to GET path. Without the trailer that says so, it is not whole.
func (c *Client) Stream(ctx context.Context, path string, to io.Writer) error {
	response, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return broker.Errorf(broker.CodeInternal, "the broker answered %s", response.Status)
	}
	if _, err := io.Copy(to, response.Body); err != nil {
		return fmt.Errorf("copying from the broker: %w", err)
	}
	if response.Trailer.Get(trailerDone) != "true" {
		why, _ := url.QueryUnescape(response.Trailer.Get(trailerProblem))
		if why == "" {
			why = "the broker broke off"
		}
		return broker.Errorf(broker.CodeUnavailable, "the copy is not whole: %s", why).WithNext("try again")
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://hourkeyd"+path, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	response, err := c.http.Do(request)
	switch {
	case err == nil:
		return response, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, broker.Errorf(broker.CodeUnavailable, "no broker is running on %s", c.data).
			WithNext("start it with `hourkeyd serve`").Because(ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return nil, broker.Errorf(broker.CodeForbidden, "the admin socket in %s belongs to another user", c.data).
			WithNext("run this as the broker's OS user, or as root")
	default:
		return nil, fmt.Errorf("calling the broker: %w", err)
	}
}
