package broker

import (
	"errors"
	"fmt"
	"time"
)

// Code is the stable name of a kind of error. Only web turns a code into an HTTP status.
type Code string

// The codes. Those with an OAuth name are used as RFC 8628 section 3.5 defines them.
const (
	CodeInvalid         Code = "invalid_request"         // the caller's words cannot be understood
	CodeUnauthenticated Code = "unauthenticated"         // nobody known is calling
	CodeForbidden       Code = "forbidden"               // known, but not allowed to do this
	CodeNotFound        Code = "not_found"               // no such thing, or not the caller's to see
	CodeDenied          Code = "access_denied"           // policy or a human said no
	CodePending         Code = "authorization_pending"   // a human has not decided yet
	CodeSlowDown        Code = "slow_down"               // too many, too fast
	CodeExpired         Code = "expired_token"           // it was decided or issued too long ago
	CodeConflict        Code = "conflict"                // something changed since it was shown
	CodeFrozen          Code = "frozen"                  // a freeze is in force
	CodeWall            Code = "wall_missing"            // the provider does not hold the wall; says how to build it
	CodeUnconfirmed     Code = "target_unconfirmed"      // no operator has confirmed the target's identity
	CodeUnavailable     Code = "temporarily_unavailable" // a provider or the store cannot be reached
	CodeInternal        Code = "internal"                // ours to mend
)

// Error is what every exported function of this module returns for a refusal or a failure.
// Message, Field, Next and Reasons are for the caller; Err is for the operator's log and never leaves.
type Error struct {
	Code    Code
	Message string        // one sentence: what is refused, and why
	Field   string        // the input that was wrong, empty if none
	Next    string        // the next step, empty if there is none
	Reasons []Reason      // the lines that decided, for a denial
	Request string        // that waits for a human, for CodePending of a call through the gateway
	URL     string        // where that human decides
	After   time.Duration // when to try again, for CodeSlowDown; 0: soon
	Err     error
}

// Error gives the message and, for logs, the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return fmt.Sprintf("%s: %v", e.Message, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf tells the code of err; an error that carries none is CodeInternal, nil is empty.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Errorf makes an error of a code whose message may be shown to the caller.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithNext says what the caller can do next.
func (e *Error) WithNext(format string, args ...any) *Error {
	e.Next = fmt.Sprintf(format, args...)
	return e
}

// WithField names the input that was wrong.
func (e *Error) WithField(name string) *Error {
	e.Field = name
	return e
}

// In says after how long the same may be tried again.
func (e *Error) In(wait time.Duration) *Error {
	e.After = wait
	return e
}

// Because keeps the cause for the operator. The cause must hold no secret (invariant 10).
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}
