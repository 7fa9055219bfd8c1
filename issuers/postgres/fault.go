package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hourkey/hourkey/broker"
)

// The SQLSTATEs that are told apart (PostgreSQL documentation, appendix A).
const (
	stateInvalidPassword     = "28P01"
	stateNotAuthorized       = "28000"
	stateTooPrivileged       = "42501"
	stateDuplicateObject     = "42710"
	stateUndefinedObject     = "42704"
	stateDependentsExist     = "2BP01"
	stateLockNotAvailable    = "55P03"
	stateInternal            = "XX000"
	stateSerialization       = "40001"
	stateDeadlock            = "40P01"
	stateReadOnlyTransaction = "25006"
)

// fault turns a failure into an error for the caller. The cause is kept as text without the admin's
// password, for the operator's log alone.
func (i *Issuer) fault(doing string, err error) error {
	if known, ok := errors.AsType[*broker.Error](err); ok {
		return known
	}
	text := err.Error()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Detail != "" {
		text += ": " + e.Detail
	}
	cause := errors.New(i.scrub(text))
	target := i.config.Ref.String()
	switch state := stateOf(err); {
	case state == stateInvalidPassword || state == stateNotAuthorized:
		return broker.Errorf(broker.CodeUnavailable, "%s: the server refused the admin login", target).Because(cause).
			WithNext("ask the operator to run hourkeyd check --live")
	case state == stateTooPrivileged:
		return broker.Errorf(broker.CodeUnavailable, "%s: the admin login lacks a permission for %s", target, doing).Because(cause).
			WithNext("ask the operator to run hourkeyd check --live: it prints the SQL that mends it")
	case state == stateReadOnlyTransaction:
		return broker.Errorf(broker.CodeUnavailable, "%s: the server is a read-only standby", target).Because(cause)
	case errors.Is(err, context.Canceled):
		return broker.Errorf(broker.CodeUnavailable, "%s: %s was cancelled", target, doing).Because(cause)
	}
	return broker.Errorf(broker.CodeUnavailable, "%s: %s failed at the database", target, doing).Because(cause)
}

func (i *Issuer) scrub(text string) string {
	if password := i.route.admin.Password; password != "" {
		return strings.ReplaceAll(text, password, "REDACTED")
	}
	return text
}

// stateOf gives the SQLSTATE of a server's error, empty if it is none.
func stateOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// isPassing tells whether the same transaction may succeed when tried again. "tuple concurrently updated",
// which a GRANT meets when another session changes the same privileges, has no code of its own, and its
// text depends on the server's language.
func isPassing(err error) bool {
	state := stateOf(err)
	return state == stateSerialization || state == stateDeadlock || state == stateInternal
}

func (i *Issuer) badName(name string) error {
	return broker.Errorf(broker.CodeInternal, "%q is not the name of a lease: expected hk-, then a-z, 0-9 and dashes, at most 63 bytes", fmt.Sprintf("%.80s", name))
}
