package session

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

const mostOfCause = 400 // bytes of what Vault said, for the operator's log

// StatusOf gives the HTTP status of Vault's refusal, 0 for any other failure and for none.
func StatusOf(err error) int {
	if refusal, ok := errors.AsType[*api.ResponseError](err); ok {
		return refusal.StatusCode
	}
	return 0
}

// Says tells whether Vault's refusal holds a text.
func Says(err error, text string) bool {
	refusal, ok := errors.AsType[*api.ResponseError](err)
	return ok && strings.Contains(strings.Join(refusal.Errors, "\n"), text)
}

// Fault turns a failure into an error for the caller: doing says what was being done, at whose target. The cause is
// kept for the operator's log, without the secrets that were in play.
func (s *Session) Fault(target, doing string, err error, secrets ...broker.Secret) error {
	hidden := []string{s.holds().value}
	for _, secret := range secrets {
		hidden = append(hidden, secret.Reveal())
	}
	failed := s.fault(doing, err, hidden...)
	if known, ok := errors.AsType[*broker.Error](failed); ok && target != "" && !strings.HasPrefix(known.Message, target+": ") {
		placed := *known
		placed.Message = target + ": " + known.Message
		return &placed
	}
	return failed
}

func (s *Session) fault(doing string, err error, hidden ...string) error {
	if known, ok := errors.AsType[*broker.Error](err); ok {
		return known
	}
	cause := errors.New(scrub(err, hidden))
	fail := func(format string, args ...any) *broker.Error {
		return broker.Errorf(broker.CodeUnavailable, format, args...).Because(cause)
	}
	switch status := StatusOf(err); {
	case errors.Is(err, context.Canceled):
		return fail("%s was cancelled", doing)
	case errors.Is(err, context.DeadlineExceeded):
		return fail("%s: Vault did not answer in time", doing)
	case status == 0:
		return fail("%s: Vault cannot be reached, or its answer cannot be read", doing).WithNext("try again; if it lasts, ask the operator for `hourkeyd check --live`")
	case status == http.StatusForbidden:
		return fail("%s: Vault refused the broker's own login, or it lacks a permission", doing).
			WithNext("ask the operator to run hourkeyd check --live: it prints the policy that mends it")
	case status == http.StatusNotFound:
		return fail("%s: Vault has nothing at a path that the environment's file names", doing).WithNext("ask the operator to run hourkeyd check --live")
	case status == http.StatusTooManyRequests:
		return fail("%s: Vault's rate limit was reached", doing).WithNext("try again in a minute")
	case status == http.StatusServiceUnavailable:
		return fail("%s: Vault is sealed or not ready", doing).WithNext("try again when it is unsealed")
	case status < http.StatusInternalServerError:
		return fail("%s: Vault refused (status %d)", doing, status).WithNext("ask the operator to run hourkeyd check --live")
	default:
		return fail("%s: Vault failed (status %d)", doing, status).WithNext("try again; the operator's log has Vault's own words")
	}
}

// refused is the error of a login to which Vault said no.
func (l Login) refused(status int, err error) error {
	refusal := broker.Errorf(broker.CodeUnavailable, "logging in: Vault refused the broker's login").Because(errors.Unwrap(err))
	switch {
	case l.AppRole.RoleID != "" && status == http.StatusForbidden:
		return refusal.WithNext("after five wrong secret ids Vault locks an AppRole for a quarter of an hour, also for the right one: the operator waits, or unlocks it at sys/locked-users; " +
			"or there is no AppRole mount of that name, or it is not open to the broker's address")
	case l.AppRole.RoleID != "":
		return refusal.WithNext("the operator makes a new secret id and puts it where secret_id refers to; another one is tried at once, the same one only after %s", refusedFor)
	case l.Token != "":
		return refusal.WithNext("the operator makes a new token and puts it where token refers to")
	}
	return refusal.WithNext("the operator looks whether Vault's role takes this token: its subject, its audience, its time")
}

// scrub gives an error's text on one line, without secrets.
func scrub(err error, hidden []string) string {
	text := err.Error()
	if refusal, ok := errors.AsType[*api.ResponseError](err); ok { // its own text repeats the URL
		text = strings.Join(refusal.Errors, "; ")
	}
	for _, secret := range hidden {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "REDACTED")
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > mostOfCause {
		text = strings.ToValidUTF8(text[:mostOfCause], "") + "…"
	}
	return text
}
