package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// call is one request on its way through the table.
type call struct {
	writer  http.ResponseWriter
	request *http.Request
	id      string     // of this call, in the log and in every problem
	address netip.Addr // of the client; a trusted proxy's word counts
	route   string     // "GET /v1/requests/{id}"
	oauth   bool       // errors go out as RFC 6749 wants them
	caller  broker.Caller
	kinds   who
	gin     *gin.Context // for the parameters of the path
}

func (c *call) ctx() context.Context { return c.request.Context() }

func (c *call) param(name string) string { return c.gin.Param(name) }

// query gives the query's values. One that is not among names, or is there twice, is refused: a typo
// must not mean "all".
func (c *call) query(names ...string) (url.Values, error) {
	if c.request.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(c.request.URL.RawQuery)
	if err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "the query cannot be read")
	}
	for name, all := range values {
		if !known(names, name) || len(all) != 1 {
			return nil, broker.Errorf(broker.CodeInvalid, "the query's %.40q is unknown, or there twice", name).WithField(printable(name))
		}
	}
	return values, nil
}

func known(names []string, name string) bool { return slices.Contains(names, name) }

// check refuses a body of another type than the route's before anything is read.
func (c *call) check(want body) error {
	switch given, _, _ := mime.ParseMediaType(c.request.Header.Get("Content-Type")); {
	case c.request.Header.Get("Content-Encoding") != "":
		return broker.Errorf(codeMediaType, "the body must not be encoded")
	case want == jsonBody && given != "application/json":
		return broker.Errorf(codeMediaType, "the body must be application/json").WithField("Content-Type")
	case want == formBody && given != "application/x-www-form-urlencoded":
		return broker.Errorf(codeMediaType, "the body must be application/x-www-form-urlencoded").WithField("Content-Type")
	case want == noBody && c.request.ContentLength != 0:
		return broker.Errorf(broker.CodeInvalid, "this call has no body")
	}
	return nil
}

// body reads all of it; its length is bounded already.
func (c *call) body() ([]byte, error) {
	var raw bytes.Buffer
	if n := c.request.ContentLength; n > 0 {
		raw.Grow(int(n) + bytes.MinRead)
	}
	if _, err := raw.ReadFrom(c.request.Body); err != nil {
		return nil, unread(err)
	}
	return raw.Bytes(), nil
}

// unread tells a body that is too large from one that stopped coming.
func unread(err error) error {
	if refusal(err).Code == codeTooLarge {
		return err
	}
	return broker.Errorf(broker.CodeInvalid, "the body could not be read to its end").Because(err)
}

// decode reads a strict JSON body.
func (c *call) decode(into any) error {
	raw, err := c.body()
	if err != nil {
		return err
	}
	if err := api.Strict(raw, into); err != nil {
		return broker.Errorf(broker.CodeInvalid, "the body is not the JSON that is expected: %s", printable(err.Error()))
	}
	return nil
}

// answer sends JSON.
func (c *call) answer(status int, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	c.send(status, "application/json", raw)
	return nil
}

// send sends the whole answer at once.
func (c *call) send(status int, contentType string, raw []byte) {
	c.writer.Header()["Content-Type"] = []string{contentType}
	c.writer.WriteHeader(status)
	_, _ = io.Copy(c.writer, bytes.NewReader(raw)) // a client that went away is none of our errors
}

// printable bounds what a caller sent, and drops what cannot be seen, before it goes into an answer.
func printable(text string) string {
	clean := make([]rune, 0, 100)
	for _, r := range text {
		if len(clean) == 100 {
			return string(clean) + "..."
		}
		if r >= 0x20 && r < 0x7f {
			clean = append(clean, r)
		}
	}
	return string(clean)
}
