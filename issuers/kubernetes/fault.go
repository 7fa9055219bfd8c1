package kubernetes

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// refusal is an answer of the server that is no success (API conventions: kind Status).
type refusal struct {
	Status  int    `json:"-"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("HTTP %d %.60q: %.600q", r.Status, r.Reason, r.Message)
}

// asRefusal gives the server's own answer, if err is one.
func asRefusal(err error) (*refusal, bool) { return errors.AsType[*refusal](err) }

// isStatus tells whether err is the server's answer with this status.
func isStatus(err error, status int) bool {
	r, answered := asRefusal(err)
	return answered && r.Status == status
}

// isGone tells whether err is the server's own word that there is no such object. What stands in between, and knows nothing of
// objects, answers 404 as well.
func isGone(err error) bool {
	r, answered := asRefusal(err)
	return answered && r.Status == http.StatusNotFound && r.Reason == "NotFound"
}

// errOtherKind is an answer that is JSON, and not what was asked for: an empty one would look like an empty list, or like no right.
var errOtherKind = errors.New("the answer is of another kind")

// refused reads an answer that is no success, as far as it can be read.
func refused(status int, raw []byte) error {
	r := &refusal{}
	if json.Unmarshal(raw, r) != nil {
		r = &refusal{}
	}
	r.Status = status
	return r
}

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
	case isGone(err) && doing == findingPlace:
		return failed("the cluster has no namespace %s", i.config.Settings.Namespace).WithNext("ask the operator whether namespace and server are the right ones")
	case isUntrusted(err):
		return failed("the server's certificate is of no authority that ca names").
			WithNext("ask the operator: ca must hold the authority of this server's certificate (kubectl config view --raw has it)")
	case isMisnamed(err):
		return failed("the server's certificate is for another name than server has").WithNext("ask the operator: server must be a name or an address that the certificate has")
	case errors.Is(err, context.Canceled):
		return failed("%s was cancelled", doing).WithNext("try again")
	}
	return failed("%s failed at the cluster", doing).WithNext("try again in a minute; if it goes on, ask the operator to run hourkeyd check --live, and to read the broker's log")
}

// isUntrusted tells whether the server's certificate is of an authority that nobody named.
func isUntrusted(err error) bool {
	_, is := errors.AsType[x509.UnknownAuthorityError](err)
	return is
}

func isMisnamed(err error) bool {
	_, is := errors.AsType[x509.HostnameError](err)
	return is
}

func (i *Issuer) badName(name string) error {
	return broker.Errorf(broker.CodeInternal, "%.80q is not the name of a lease: expected hk-, then a-z, 0-9 and dashes, at most 63 bytes", name)
}

// isLeaseName tells whether a broker can have given the name (invariant 8): no other object is ever created or deleted here.
func isLeaseName(name string) bool {
	return broker.IsLeaseName(name) && !strings.HasSuffix(name, "-") && name != leasesProbe && name != endsProbe && name != nobody
}
