package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
)

// The refusals that only HTTP knows.
const (
	codeTooLarge  broker.Code = "too_large"
	codeMediaType broker.Code = "unsupported_media_type"
	codeMethod    broker.Code = "method_not_allowed"
	codeHost      broker.Code = "misdirected"
)

// kindOfProblem is what a code means over HTTP: the status, a title that never changes, what
// /problems/{code} says about it, and the error of RFC 6749 section 5.2 at the token endpoint.
type kindOfProblem struct {
	status int
	title  string
	means  string
	oauth  string
}

// problems is the one table from a code to its meaning over HTTP. A code that is not in it is internal.
func problems(code broker.Code) kindOfProblem {
	switch code {
	case broker.CodeInvalid:
		return kindOfProblem{http.StatusBadRequest, "The request cannot be understood", "Something in the request is missing, unknown or malformed; `field` names it.", "invalid_request"}
	case broker.CodeUnauthenticated:
		return kindOfProblem{http.StatusUnauthorized, "Nobody known is calling", "Authenticate first: an agent at /oauth/token, a human with a passkey.", "invalid_client"}
	case broker.CodeForbidden:
		return kindOfProblem{http.StatusForbidden, "This caller may not do this", "The caller is known, and this is for others.", "unauthorized_client"}
	case broker.CodeNotFound:
		return kindOfProblem{http.StatusNotFound, "There is no such thing", "It does not exist, or it is not the caller's to see.", "invalid_request"}
	case broker.CodeDenied:
		return kindOfProblem{http.StatusForbidden, "Policy or a human said no", "`reasons` names the lines that decided; ask for less, or for something else.", "unauthorized_client"}
	case broker.CodePending:
		return kindOfProblem{http.StatusConflict, "A human has not decided yet", "Wait with GET /v1/requests/{id}?wait=30s, then collect.", "invalid_request"}
	case broker.CodeSlowDown:
		return kindOfProblem{http.StatusTooManyRequests, "Too many, too fast", "Wait as long as Retry-After says.", "slow_down"}
	case broker.CodeExpired:
		return kindOfProblem{http.StatusGone, "It is too late", "It was decided or issued too long ago; make a new request.", "invalid_request"}
	case broker.CodeConflict:
		return kindOfProblem{http.StatusConflict, "Something changed meanwhile", "Look at it again, then decide again.", "invalid_request"}
	case broker.CodeFrozen:
		return kindOfProblem{http.StatusLocked, "A freeze is in force", "An operator stopped issuing, and an operator lifts it.", "unauthorized_client"}
	case broker.CodeWall:
		return kindOfProblem{http.StatusConflict, "The provider does not hold a wall", "`next` says how to build it; until then nothing is issued there.", "invalid_request"}
	case broker.CodeUnconfirmed:
		return kindOfProblem{http.StatusConflict, "No operator has confirmed this target", "An operator confirms with a passkey which target this is.", "invalid_request"}
	case broker.CodeUnavailable:
		return kindOfProblem{http.StatusServiceUnavailable, "Not now", "A provider or the store cannot be reached; nothing was issued. Try again.", "temporarily_unavailable"}
	case codeTooLarge:
		return kindOfProblem{http.StatusRequestEntityTooLarge, "The request is too large", "Bodies have at most 64 KiB.", "invalid_request"}
	case codeMediaType:
		return kindOfProblem{http.StatusUnsupportedMediaType, "The body is of another type", "The API reads application/json; the token endpoint a form.", "invalid_request"}
	case codeMethod:
		return kindOfProblem{http.StatusMethodNotAllowed, "This path has another method", "Allow names the methods.", "invalid_request"}
	case codeHost:
		return kindOfProblem{http.StatusMisdirectedRequest, "Another host is asked for", "Call the broker by the address in its configuration.", "invalid_request"}
	case authn.CodeGrantType:
		return kindOfProblem{http.StatusBadRequest, "Another grant type is expected", "Agents use client_credentials.", "unsupported_grant_type"}
	case broker.CodeInternal:
	}
	return kindOfProblem{http.StatusInternalServerError, "The broker failed", "Its log has the cause, under the id in `instance`.", "server_error"}
}

// refusal is the part of an error that may leave, and the code that decides the status. Whatever is no
// broker.Error may hold anything, so nothing of it is told.
func refusal(err error) *broker.Error {
	e, ours := errors.AsType[*broker.Error](err)
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case ours && problems(e.Code).status != http.StatusInternalServerError:
		return e
	case isTooLarge:
		return broker.Errorf(codeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case !ours && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return broker.Errorf(broker.CodeUnavailable, "it took too long").WithNext("try again")
	}
	return broker.Errorf(broker.CodeInternal, "the broker failed").WithNext("ask the operator to look at the log, under the id in `instance`")
}

// fail answers with an error, and logs what of it may not leave.
func (s *Server) fail(c *call, err error) {
	told := refusal(err)
	kind := problems(told.Code)
	s.logFailure(c, told, kind.status, err)
	header := c.writer.Header()
	if kind.status == http.StatusTooManyRequests || kind.status == http.StatusServiceUnavailable {
		if header.Get("Retry-After") == "" {
			header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(told.After.Seconds())))))
		}
	}
	if c.oauth {
		s.failToken(c, told, kind)
		return
	}
	if kind.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="hourkey"`)
	}
	raw, err := json.Marshal(api.Problem{
		Type: api.PathProblems + string(told.Code), Title: kind.title, Status: kind.status, Detail: told.Message, Instance: "urn:hourkey:call:" + c.id,
		Code: string(told.Code), Field: told.Field, Next: told.Next, Reasons: reasons(told.Reasons),
	})
	if err != nil {
		kind.status, raw = http.StatusInternalServerError, []byte(`{}`)
	}
	c.send(kind.status, "application/problem+json", raw)
}

func (s *Server) logFailure(c *call, told *broker.Error, status int, err error) {
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.log.LogAttrs(c.request.Context(), level, "refused", slog.String("call", c.id), slog.String("route", c.route), slog.String("code", string(told.Code)), slog.Any("error", err))
}

// failToken answers as RFC 6749 section 5.2 wants it.
func (s *Server) failToken(c *call, told *broker.Error, kind kindOfProblem) {
	words := told.Message
	if told.Next != "" {
		words += "; " + told.Next
	}
	raw, err := json.Marshal(api.TokenError{Error: kind.oauth, Description: oauthText(words)})
	if err != nil {
		raw = []byte(`{"error":"server_error"}`)
	}
	c.send(kind.oauthStatus(), "application/json", raw)
}

// oauthStatus is 400 for what RFC 6749 section 5.2 has no other status for.
func (k kindOfProblem) oauthStatus() int {
	switch k.oauth {
	case "invalid_request", "unauthorized_client", "unsupported_grant_type":
		if k.status != http.StatusRequestEntityTooLarge && k.status != http.StatusUnsupportedMediaType {
			return http.StatusBadRequest
		}
	}
	return k.status
}

// oauthText keeps to the characters that RFC 6749 section 5.2 allows in error_description.
func oauthText(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\' || r == '`':
			return '\''
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, text)
}

func reasons(from []broker.Reason) []api.Reason {
	to := make([]api.Reason, len(from))
	for i, r := range from {
		to[i] = api.Reason{Where: r.Where, Rule: r.Rule, Outcome: string(r.Outcome), Text: r.Text}
	}
	return to
}

// problem answers what a problem's type means, in words.
func (s *Server) problem(c *call) error {
	code := broker.Code(c.param("code"))
	kind := problems(code)
	if kind.status == http.StatusInternalServerError && code != broker.CodeInternal {
		return broker.Errorf(broker.CodeNotFound, "there is no such problem")
	}
	c.send(http.StatusOK, "text/plain; charset=utf-8", []byte(string(code)+": "+kind.title+".\n"+kind.means+"\n"))
	return nil
}
