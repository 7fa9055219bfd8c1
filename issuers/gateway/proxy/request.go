package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The bounds of a request's body. It is read whole before it is judged: what a caller breaks off half-way
// never reaches the provider.
const (
	mostJudged   = 1 << 20   // bytes, of a body that is read by a pack
	mostRaw      = 32 << 20  // of one that is passed on as it is
	smallBody    = 64 << 10  // of one that needs no room from the budget
	mostBuffered = 256 << 20 // of all large bodies and answers together
	bodyWithin   = time.Minute
)

// overrides name headers with which a server, or what stands before it, takes a request for another one
// than its request line says.
func overrides() []string {
	return []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Method", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri"}
}

// admit refuses what HTTP can say and a judge could not see. It fills what is known of the call so far.
func (c *call) admit() error {
	r := c.request
	c.given.Method, c.given.ContentType = r.Method, r.Header.Get("Content-Type")
	if why := c.conn.guard.why(); why != "" {
		return invalid(why)
	}
	var authority string
	authority, c.given.Path, c.given.Query = splitTarget(r.RequestURI)
	switch {
	case !strings.HasPrefix(c.given.Path, "/") || r.Method == http.MethodConnect:
		return invalid("the target of a request in a tunnel is a path")
	case authority != "" && !c.isHost(authority):
		return broker.Errorf(codeHost, "this tunnel leads to %s, and the request line names %q", c.tunnel.host, clip(authority))
	case !c.tunnel.plain && !c.isHost(r.Host):
		return broker.Errorf(codeHost, "this tunnel leads to %s, and the Host header names %q", c.tunnel.host, clip(r.Host))
	case len(r.Header.Values("Upgrade")) > 0 || hasToken(r.Header, "Connection", "upgrade"):
		return invalid("upgrades, websockets among them, are not passed: what is said over one cannot be judged")
	case len(r.Trailer) > 0:
		return invalid("trailers are not passed")
	case len(r.Header.Values("Content-Type")) > 1:
		return invalid("the request has two Content-Type headers")
	}
	return c.admitHeader()
}

func (c *call) admitHeader() error {
	for _, name := range overrides() {
		if c.request.Header.Get(name) != "" {
			return invalid("the header " + name + " is refused: a request is what its request line says").WithNext("send the method and the path that you mean")
		}
	}
	query, err := url.ParseQuery(c.given.Query)
	if err != nil || query.Has("_method") {
		return invalid("the query cannot be read, or overrides the method with _method")
	}
	for _, encoding := range c.request.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return broker.Errorf(codeMediaType, "a body that is encoded (%s) is not passed", clip(encoding)).WithNext("send it as it is")
		}
	}
	return nil
}

// isHost compares with the tunnel's host on its one port.
func (c *call) isHost(authority string) bool {
	return strings.EqualFold(strings.TrimSuffix(authority, ":443"), c.tunnel.host)
}

// splitTarget takes the target of a request line apart (RFC 9112 section 3.2), as it was sent. authority is
// empty unless the target is in the absolute form.
func splitTarget(target string) (authority, path, query string) {
	if !strings.HasPrefix(target, "/") {
		scheme, rest, found := strings.Cut(target, "://")
		if !found || !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "http") {
			return "", "", ""
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		authority, target = rest[:end], rest[end:]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return authority, path, query
}

// read reads the body whole, within its bounds.
func (c *call) read() error {
	if c.request.ContentLength > mostRaw {
		return tooLarge(mostRaw)
	}
	if c.request.ContentLength == 0 {
		return nil
	}
	late := time.AfterFunc(bodyWithin, func() { c.deadline(time.Unix(1, 0)) })
	body, err := c.readBody()
	if !late.Stop() {
		return invalid("the body of the request took longer than " + bodyWithin.String())
	}
	if err != nil {
		return err
	}
	if len(c.request.Trailer) > 0 { // those that no Trailer header announced
		return invalid("trailers are not passed")
	}
	c.given.Body = body
	return nil
}

func (c *call) deadline(at time.Time) {
	_ = http.NewResponseController(c.writer).SetReadDeadline(at) // fails when the connection is closed
}

// readBody takes more than a judge would read only of a call whose row passes its body on as it is.
func (c *call) readBody() ([]byte, error) {
	body, err := readUpTo(c.request.Body, smallBody, c.request.ContentLength)
	if err != nil || len(body) <= smallBody {
		return body, err
	}
	if !c.room(mostJudged) {
		return nil, busy()
	}
	more, err := readUpTo(c.request.Body, mostJudged-len(body), c.request.ContentLength-int64(len(body)))
	if body = append(body, more...); err != nil || len(body) <= mostJudged {
		return body, err
	}
	if !c.tunnel.pack.Judge(c.given, false).Send.Raw {
		return nil, tooLarge(mostJudged)
	}
	if !c.room(mostRaw) {
		return nil, busy()
	}
	rest, err := readUpTo(c.request.Body, mostRaw-len(body), c.request.ContentLength-int64(len(body)))
	if body = append(body, rest...); err == nil && len(body) > mostRaw {
		return nil, tooLarge(mostRaw)
	}
	return body, err
}

func busy() *broker.Error {
	return broker.Errorf(broker.CodeUnavailable, "too many large bodies are under way").WithNext("try again")
}

// room takes bytes of the budget until the call ends, and tells whether there were so many.
func (c *call) room(bytes int64) bool {
	if !c.proxy.bodies.take(bytes) {
		return false
	}
	c.took += bytes
	return true
}

// readUpTo gives one byte more than most, at most. length is what the head promised, negative if nothing; a
// promise alone takes little memory.
func readUpTo(from io.Reader, most int, length int64) ([]byte, error) {
	room := min(max(length, 512)+1, int64(most)+1, smallBody+1)
	body := make([]byte, 0, room)
	for len(body) <= most {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := from.Read(body[len(body):min(cap(body), most+1)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, invalid("the body of the request did not arrive whole").Because(err)
		}
	}
	return body, nil
}

func invalid(message string) *broker.Error { return broker.Errorf(broker.CodeInvalid, "%s", message) }

func tooLarge(most int64) *broker.Error {
	return broker.Errorf(codeTooLarge, "the body of the request has more than %d bytes", most)
}
