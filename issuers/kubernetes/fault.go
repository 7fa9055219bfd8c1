package kubernetes

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// asRefusal gives the server's own answer, if err is one.
func asRefusal(err error) (*refusal, bool) { return errors.AsType[*refusal](err) }

func isCancelled(err error) bool { return errors.Is(err, context.Canceled) }

// fault turns a failure into an error for the caller. The cause is kept, without the broker's token, for the operator's log alone.
func (i *Issuer) fault(doing string, err error, also ...broker.Secret) error {
	if known, ok := errors.AsType[*broker.Error](err); ok {
		return known
	}
	cause, target := errors.New(i.client.scrub(err.Error(), also...)), i.config.Ref.String()
	failed := func(format string, args ...any) *broker.Error {
		return broker.Errorf(broker.CodeUnavailable, target+": "+format, args...).Because(cause)
	}
	r, answered := asRefusal(err)
	switch {
	case answered && r.Status == http.StatusUnauthorized:
		return failed("the server refused the admin login: it does not know the broker's token, or no longer").WithNext("ask the operator to run hourkeyd check --live")
	case answered && r.Status == http.StatusForbidden:
		return failed("the broker's account lacks a permission for %s", doing).
			WithNext("ask the operator to run hourkeyd check --live: it prints the YAML that mends it")
	case answered && r.Status == http.StatusTooManyRequests:
		return failed("the server is too busy for %s", doing).WithNext("try again in a minute")
	case isCancelled(err):
		return failed("%s was cancelled", doing).WithNext("try again")
	}
	return failed("%s failed at the cluster", doing).WithNext("try again in a minute; if it goes on, ask the operator to run hourkeyd check --live, and to read the broker's log")
}

func (i *Issuer) badName(name string) error {
	return broker.Errorf(broker.CodeInternal, "%.80q is not the name of a lease: expected hk-, then a-z, 0-9 and dashes, at most 63 bytes", name)
}

// isLeaseName tells whether a broker can have given the name (invariant 8): no other object is ever created or deleted here.
func isLeaseName(name string) bool {
	return broker.IsLeaseName(name) && !strings.HasSuffix(name, "-") && name != leasesProbe && name != nobody
}
