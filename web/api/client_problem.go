package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// Error gives the problem's one sentence.
func (p *Problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Detail
	case p.Title != "":
		return p.Title
	default:
		return fmt.Sprintf("the broker answered %d %s", p.Status, http.StatusText(p.Status))
	}
}

// AsProblem gives the refusal that err is, if it is one.
func AsProblem(err error) (*Problem, bool) { return errors.AsType[*Problem](err) }

// decodeProblem reads a refusal (RFC 9457). What is no problem document becomes one of its status, so
// that a proxy's error page is told apart from the broker's word and never shown.
func decodeProblem(status int, contentType string, body []byte) *Problem {
	var problem Problem
	media, _, _ := mime.ParseMediaType(contentType)
	if media != "application/problem+json" || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return foreignProblem(status)
	}
	problem.Status = status
	return &problem
}

// foreignProblem is for an answer that does not come from a broker.
func foreignProblem(status int) *Problem {
	code := CodeInternal
	switch status {
	case http.StatusTooManyRequests:
		code = CodeSlowDown
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = CodeUnavailable
	}
	return &Problem{
		Status: status, Code: code, Title: http.StatusText(status),
		Detail: fmt.Sprintf("the answer %d %s is not a broker's", status, http.StatusText(status)),
		Next:   "check that the URL is that of a Hourkey broker, and what stands in front of it",
	}
}

// decodeTokenError reads a refusal of the token endpoint (RFC 6749 section 5.2). That shape has no
// place for the next step: the broker writes it behind a semicolon.
func decodeTokenError(status int, body []byte) *Problem {
	var refusal TokenError
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		return foreignProblem(status)
	}
	problem := &Problem{Status: status, Title: http.StatusText(status), Code: tokenCode(refusal.Error)}
	problem.Detail, problem.Next, _ = strings.Cut(refusal.Description, "; ")
	if problem.Detail == "" {
		problem.Detail = "the broker refused to authenticate this agent: " + refusal.Error
	}
	return problem
}

// tokenCode is the code of a Problem that says the same.
func tokenCode(oauth string) string {
	switch oauth {
	case "invalid_client":
		return CodeUnauthenticated
	case "unauthorized_client":
		return CodeForbidden
	case CodeSlowDown, CodeUnavailable:
		return oauth
	case "server_error":
		return CodeInternal
	default:
		return CodeInvalid
	}
}
