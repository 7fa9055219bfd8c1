package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/hourkey/hourkey/broker"
)

// codeOf gives the provider's own code for a refusal, empty when the error is none.
func codeOf(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

func hasCode(err error, codes ...string) bool { return slices.Contains(codes, codeOf(err)) }

// isDenied tells whether the provider itself says that this may not be done.
func isDenied(err error) bool {
	return hasCode(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
}

// isWrongKey tells whether the provider does not take the broker's own key.
func isWrongKey(err error) bool {
	return hasCode(err, "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId", "UnrecognizedClientException", "ExpiredToken")
}

// isMissing tells whether there is no such bucket or table, or not in this region.
func isMissing(err error) bool {
	return hasCode(err, "NoSuchBucket", "ResourceNotFoundException", "TableNotFoundException", "PermanentRedirect", "MovedPermanently")
}

// isUnsupported: MinIO answers InvalidParameterValue to an action of STS that it does not have.
func isUnsupported(err error) bool {
	return hasCode(err, "InvalidParameterValue", "InvalidAction", "NotImplemented", "MethodNotAllowed", "UnknownOperationException")
}

// isUnreachable tells whether nobody answered at all: no such host, or nothing that listens there.
func isUnreachable(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// reachable is what to see to when nobody answers.
func (i *Issuer) reachable() string {
	if i.isCompatible() {
		return "see that the server runs, and that endpoint is its address"
	}
	return "see that the broker's machine reaches AWS in region " + i.config.Settings.Region + ": name service, proxy, firewall"
}

// missingWall is a wall that the provider, or the broker's own credential, does not hold. Check tells it as a finding; to
// everybody else fault makes a CodeWall of it.
type missingWall struct{ object, problem, mend string }

func (m missingWall) Error() string { return m.problem + " [" + m.object + "]" }

func (m missingWall) finding() broker.Finding {
	return broker.Finding{Refuses: true, Object: m.object, Problem: m.problem, Mend: m.mend}
}

// fault turns a failure into an error for the caller. The SDK's own error is not kept: one about an answer that cannot be
// read carries that answer, credentials and all. Its text is, for the operator's log, without the broker's key.
func (i *Issuer) fault(doing string, err error) error {
	if known, ok := errors.AsType[*broker.Error](err); ok {
		return known
	}
	if wall, missing := errors.AsType[missingWall](err); missing {
		return broker.Errorf(broker.CodeWall, "%s: %s", i.config.Ref, wall).WithNext("%s", wall.mend)
	}
	target, cause := i.config.Ref.String(), i.cause(err)
	switch code := codeOf(err); {
	case isWrongKey(err):
		return broker.Errorf(broker.CodeUnavailable, "%s: the provider does not take the broker's access key", target).Because(cause).
			WithNext("ask the operator to run hourkeyd check --live")
	case isDenied(err):
		return broker.Errorf(broker.CodeUnavailable, "%s: the broker's user, or the role, lacks a permission for %s", target, doing).Because(cause).
			WithNext("ask the operator to run hourkeyd check --live: it prints the policy that mends it")
	case isMissing(err):
		return broker.Errorf(broker.CodeNotFound, "%s: what is to be written to does not exist in region %s (%s)", target, i.config.Settings.Region, code).WithField("scope").Because(cause).
			WithNext("ask the operator to run hourkeyd check --live: it names what is missing")
	case code == "PackedPolicyTooLarge":
		return broker.Errorf(broker.CodeInvalid, "%s: the session policy for this is too large for STS", target).WithField("scope").Because(cause).
			WithNext("ask for fewer resources at once, or for one prefix instead of several names")
	case errors.Is(err, context.Canceled):
		return broker.Errorf(broker.CodeUnavailable, "%s: %s was cancelled", target, doing).Because(cause)
	case errors.Is(err, context.DeadlineExceeded):
		return broker.Errorf(broker.CodeUnavailable, "%s: %s took too long", target, doing).Because(cause).WithNext("try again")
	case isUnreachable(err):
		return broker.Errorf(broker.CodeUnavailable, "%s: %s failed: there is no connection to the provider", target, doing).Because(cause).
			WithNext("%s", i.reachable())
	}
	return broker.Errorf(broker.CodeUnavailable, "%s: %s failed at the provider", target, doing).Because(cause).WithNext("try again")
}

// cause is what of an error goes to the log.
func (i *Issuer) cause(err error) error {
	if _, unread := errors.AsType[*smithy.DeserializationError](err); unread {
		return errors.New("the provider's answer cannot be read")
	}
	const most = 400
	text := strings.ReplaceAll(err.Error(), i.config.SecretKey.Reveal(), "REDACTED")
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		text = fmt.Sprintf("%s: %s", e.ErrorCode(), strings.ReplaceAll(e.ErrorMessage(), i.config.SecretKey.Reveal(), "REDACTED"))
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return errors.New(text)
}

func (i *Issuer) badName(name string) error {
	return broker.Errorf(broker.CodeInternal, "%.80q is not the name of a lease: expected hk-, then a-z, 0-9 and dashes, at most 63 bytes", name)
}
