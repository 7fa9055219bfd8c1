package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// The refusals that only HTTP knows.
const (
	codeTooLarge  broker.Code = "too_large"
	codeMediaType broker.Code = "unsupported_media_type"
	codeHost      broker.Code = "misdirected"
	codeAnswer    broker.Code = "provider_failed" // the provider's answer cannot be passed on
	codeUnknown   broker.Code = "outcome_unknown" // it was sent, and there is no answer
)

// tunnelProblem is RFC 9457 (application/problem+json): why a tunnel was not opened.
type tunnelProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Next   string `json:"next,omitempty"`
}

// refuseTunnel answers instead of 101.
func (p *Proxy) refuseTunnel(w http.ResponseWriter, r *http.Request, err error) {
	told := refusal(err)
	status := tunnelStatus(told.Code)
	p.log.LogAttrs(r.Context(), slog.LevelInfo, "tunnel refused", slog.String("code", string(told.Code)), slog.Any("error", err))
	raw, err := json.Marshal(tunnelProblem{"/problems/" + string(told.Code), "The tunnel was not opened", status, told.Message, string(told.Code), told.Next})
	if err != nil {
		raw = []byte(`{}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `DPoP algs="EdDSA ES256"`) // RFC 9449 section 7.1
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // who asked may be gone
}

func tunnelStatus(code broker.Code) int {
	switch code {
	case broker.CodeInvalid:
		return http.StatusBadRequest
	case broker.CodeUnauthenticated, broker.CodeExpired:
		return http.StatusUnauthorized
	case broker.CodeForbidden, broker.CodeDenied, broker.CodeFrozen, broker.CodeWall, broker.CodeUnconfirmed, broker.CodeNotFound:
		return http.StatusForbidden
	default:
		return http.StatusServiceUnavailable
	}
}

// callStatus is the status of a refused call. What waits for a human is a refusal too: a tool takes any
// 2xx for done.
func callStatus(code broker.Code) int {
	switch code {
	case broker.CodeInvalid:
		return http.StatusBadRequest
	case broker.CodeDenied, broker.CodeForbidden, broker.CodeFrozen, broker.CodeWall, broker.CodeUnconfirmed, broker.CodePending, broker.CodeExpired:
		return http.StatusForbidden
	case broker.CodeUnauthenticated:
		return http.StatusUnauthorized
	case broker.CodeNotFound:
		return http.StatusNotFound
	case broker.CodeConflict:
		return http.StatusConflict
	case broker.CodeSlowDown:
		return http.StatusTooManyRequests
	case broker.CodeUnavailable:
		return http.StatusServiceUnavailable
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeMediaType:
		return http.StatusUnsupportedMediaType
	case codeHost:
		return http.StatusMisdirectedRequest
	case codeAnswer:
		return http.StatusBadGateway
	case codeUnknown:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// refusal is the part of an error that may leave. Whatever is no broker.Error may hold anything, so nothing
// of it is told.
func refusal(err error) *broker.Error {
	if e, ours := errors.AsType[*broker.Error](err); ours {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return broker.Errorf(broker.CodeUnavailable, "it took too long, or was broken off").WithNext("try again")
	}
	return broker.Errorf(broker.CodeInternal, "the broker failed").WithNext("ask the operator to look at its log")
}

// oneLine is message and next step together, without line breaks: what a tool shows of an error is often
// its first line.
func oneLine(told *broker.Error) string {
	text := told.Message
	if told.Next != "" {
		text += "; " + told.Next
	}
	return strings.Join(strings.Fields(text), " ")
}
