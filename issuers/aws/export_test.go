package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
)

// SessionPolicy is the policy of a lease that was described, with its end.
func (i *Issuer) SessionPolicy(d broker.Description, end string) (string, error) {
	grants, err := i.resolve(d.Scopes)
	if err != nil {
		return "", err
	}
	text, err := i.document(i.sessionPolicy(grants).lines())
	return strings.ReplaceAll(text, openEnd, end), err
}

// AllowShortLeases has an issuer at a server that is not AWS make leases as short as at AWS, that end by their policy. The
// clients of most tests do not lie about the time; TestMinIOBelievesTheClient has one that does.
func AllowShortLeases(i *Issuer) *Issuer {
	i.floor = ttlFloor
	return i
}

// EndBySession has an issuer believe that nothing but the session's own end ends a lease, as at MinIO.
func EndBySession(i *Issuer) *Issuer {
	i.floor = stsFloor
	return i
}

// Looking is the client that looks up what a write could lose.
func (i *Issuer) Looking(ctx context.Context) (*s3.Client, error) {
	seen, err := i.look(ctx)
	if err != nil {
		return nil, err
	}
	return seen.s3, nil
}

// Given lists what each service gives for a class, as SERVICE:ACTION.
func Given(class broker.Actions) []string {
	var list []string
	for _, s := range services {
		list = append(list, s.actions(class)...)
	}
	return list
}

// Looks are the actions that the issuer itself is allowed.
func Looks() []string { return []string{asksVersions, asksExpiry} }

// Dangerous are the patterns that are denied by name where NotAction is not known.
const Dangerous = dangerous

// Canonical is the one spelling of an endpoint.
func Canonical(endpoint string) string { return canonical(endpoint) }
