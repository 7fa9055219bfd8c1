package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

const (
	mostRewritten = 16 << 20    // bytes, of an answer that is filtered
	freeAnswer    = 1 << 20     // of an answer that needs no room from the budget
	treeOf        = 4           // times the text is what it takes in memory while it is filtered
	smallAnswer   = 64 << 10    // of an answer that is read whole although it could be streamed
	stallAfter    = time.Minute // for a caller that does not read: then its connection is cut
)

// answer passes the provider's answer on: filtered and masked as its verdict says, without the real
// credential in whatever form. No error comes after the first byte.
func (c *call) answer(response *http.Response) error {
	if response.StatusCode < 200 {
		return c.unshown(response, "it is no answer to a call")
	}
	for _, encoding := range response.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return c.unshown(response, "it is encoded, and that was not asked for")
		}
	}
	if c.verdict.Send.Method == http.MethodHead || response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified {
		c.answerHeader(response, -1)
		return nil
	}
	if c.verdict.Answer.Plain() && (response.ContentLength < 0 || response.ContentLength > smallAnswer) {
		c.stream(response)
		return nil
	}
	body, err := c.readAnswer(response)
	if err == nil && !c.verdict.Answer.Plain() {
		body, err = c.rewritten(response, body)
	}
	if err != nil {
		return err
	}
	body = c.scrub.all(body)
	stalled := time.AfterFunc(stallAfter, c.conn.cut)
	defer stalled.Stop()
	c.answerHeader(response, len(body))
	_, _ = c.writer.Write(body) // who asked may be gone
	return nil
}

// readAnswer refuses an answer that is shorter than its head says: net/http tells. Large ones share a
// budget, so that no caller fills the memory by asking for many at once.
func (c *call) readAnswer(response *http.Response) ([]byte, error) {
	if response.ContentLength > mostRewritten {
		return nil, c.unshown(response, "it is too large to be filtered")
	}
	body, err := readUpTo(response.Body, freeAnswer, response.ContentLength)
	if err == nil && len(body) > freeAnswer {
		if !c.room(treeOf * mostRewritten) {
			return nil, c.unshown(response, "too many large ones are under way")
		}
		var rest []byte
		rest, err = readUpTo(response.Body, mostRewritten-len(body), response.ContentLength-int64(len(body)))
		body = append(body, rest...)
	}
	if err != nil {
		return nil, c.unshown(response, "it broke off")
	}
	if len(body) > mostRewritten {
		return nil, c.unshown(response, "it is too large to be filtered")
	}
	return body, nil
}

// rewritten keeps the answer to what the lease may see.
func (c *call) rewritten(response *http.Response, body []byte) ([]byte, error) {
	switch {
	case response.StatusCode < 400 && response.StatusCode >= 300:
		return nil, nil // Location says it all
	case response.StatusCode >= 400 && !speaksGraphQL(c.tunnel.pack):
		return body, nil // what went wrong, and none of the lists that are kept to what the lease may see
	case len(body) > 0 && !isJSON(response.Header):
		return nil, c.unshown(response, "it cannot be filtered, because it is not JSON")
	}
	sight := c.tunnel.provider.Sight()
	sight.Secrets = c.pass.Secrets
	kept, err := c.verdict.Answer.Rewrite(body, sight)
	if err != nil {
		return nil, c.unshown(response, "it cannot be filtered")
	}
	return kept, nil
}

// isJSON goes by what the provider says. The attack: the same values in a form that is not looked into.
func isJSON(header http.Header) bool {
	media, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	charset := strings.ToLower(parameters["charset"])
	return err == nil && (media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) && (charset == "" || charset == "utf-8")
}

// speaksGraphQL: an answer with errors may hold data as well.
func speaksGraphQL(pack gateway.Pack) bool {
	rows := pack.Rows()
	return rows == nil || len(rows.Types) > 0
}

// unshown is the error for an answer that does not pass. It tells how the call itself came out.
func (c *call) unshown(response *http.Response, why string) *broker.Error {
	e := broker.Errorf(codeAnswer, "the provider answered %d, and its answer is not shown: %s", response.StatusCode, why)
	if response.StatusCode < 400 && c.verdict.Class != judge.Read {
		return e.WithNext("look at what is there before you try again")
	}
	return e
}

// stream passes an answer on as it comes. When it breaks off, so does the connection: a part never looks
// like the whole.
func (c *call) stream(response *http.Response) {
	c.answerHeader(response, -1)
	control := http.NewResponseController(c.writer)
	stalled := time.AfterFunc(stallAfter, c.conn.cut)
	defer stalled.Stop()
	scrubbed := scrubbing{scrubber: c.scrub}
	chunk := make([]byte, 32<<10)
	for {
		stalled.Stop() // the provider may take its time, the caller may not
		n, err := response.Body.Read(chunk)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			c.outcome += ": the answer broke off"
			panic(http.ErrAbortHandler)
		}
		stalled.Reset(stallAfter)
		if _, err := c.writer.Write(scrubbed.next(chunk[:n], ended)); err != nil || ended {
			return
		}
		_ = control.Flush() // fails as the next Write will
	}
}

// isShown names the headers of a provider that reach a caller. Cookies, challenges and what is about one
// connection are not among them.
func isShown(name string) bool {
	switch name {
	case "Content-Type", "Content-Language", "Content-Disposition", "Etag", "Last-Modified", "Cache-Control", "Expires", "Vary", "Date", "Location", "Link",
		"Retry-After", "Allow", "Deprecation", "Sunset", "X-Request-Id", "X-Github-Media-Type", "X-Github-Request-Id", "X-Github-Api-Version-Selected",
		"X-Accepted-Github-Permissions", "X-Railway-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "X-Ratelimit-") || strings.HasPrefix(name, "Ratelimit")
}

// isValidator names what is made of a whole answer, often a digest of it: beside one that is masked it would
// tell what was taken out.
func isValidator(name string) bool { return name == "Etag" || name == "Last-Modified" }

// tellsByTag: what a HEAD is judged as has no body to filter, and the tags of one that has.
func (c *call) tellsByTag() bool {
	return !c.verdict.Answer.Plain() || c.verdict.Send.Method == http.MethodHead
}

// answerHeader writes the head. length is negative when it is not known.
func (c *call) answerHeader(response *http.Response, length int) {
	header := c.writer.Header()
	for name, values := range response.Header {
		if !isShown(name) || isValidator(name) && c.tellsByTag() {
			continue
		}
		for _, value := range values {
			header.Add(name, c.scrub.text(value))
		}
	}
	if length >= 0 {
		header.Set("Content-Length", strconv.Itoa(length))
	}
	if header.Get("Content-Type") == "" {
		header["Content-Type"] = nil // else net/http would guess
	}
	header.Set("X-Content-Type-Options", "nosniff")
	c.writer.WriteHeader(response.StatusCode)
}
