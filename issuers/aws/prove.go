package aws

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// prove tries a server that is not AWS: does it hold a session to its policy, and does it know what time it is? A
// session whose policy has ended must be refused what the looking one is allowed. And does the policy hold for the
// server's own administration?
func (i *Issuer) prove(ctx context.Context, seen *looked) error {
	name, err := i.askable(ctx, seen)
	if err != nil {
		return err
	}
	p := i.lookPolicy()
	p = append(p, statement{
		Effect: "Deny", Action: p[0].Action, Resource: many{"*"},
		Condition: condition{"DateGreaterThanEquals": {"aws:CurrentTime": {inIAM(i.config.Now().Add(-time.Minute))}}},
	})
	text, err := i.document(p.lines())
	if err != nil {
		return err
	}
	ended, err := i.assume(ctx, session{name: lookName, policy: text, duration: stsFloor})
	if err != nil {
		return err
	}
	_, err = i.newS3(ended.Credentials).GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
	switch {
	case err == nil:
		return missingWall{
			object:  "session policy",
			problem: "the server does not hold sessions to their policy, or not to its end: a lease would be as wide as the broker's user, and would not end in time",
			mend:    "use a server that evaluates session policies with aws:CurrentTime, like AWS or MinIO",
		}
	case !isDenied(err):
		return err
	}
	return i.proveAdministration(ctx, ended.Credentials)
}

// askable gives a bucket whose versioning the broker's user may ask for.
func (i *Issuer) askable(ctx context.Context, seen *looked) (string, error) {
	var refused []string
	for _, t := range i.listed {
		_, err := i.versioned(ctx, seen, t.bucket)
		switch {
		case err == nil:
			return t.bucket, nil
		case !isDenied(err) && !isMissing(err):
			return "", err
		}
		refused = append(refused, "s3/"+t.bucket)
	}
	return "", missingWall{
		object:  asksVersions + " " + strings.Join(refused, " "),
		problem: "the broker's user may not " + asksVersions + " on any bucket that the file lists, or there is none of them: neither their versioning nor the server's session policies can be tried",
		mend:    "give the broker's user at the server this policy:\n" + i.RolePolicy(),
	}
}

// proveAdministration tries whether a session may use MinIO's administration for itself. Releases before 2025-10-15 take
// only an explicit deny there (CVE-2025-62506): such a session could make itself a lasting key with all its user's power.
// Who is asked about is the session itself; nothing is changed. Other servers do not know the path.
func (i *Issuer) proveAdministration(ctx context.Context, as aws.Credentials) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.config.Settings.Endpoint+"/minio/admin/v3/user-info?accessKey="+url.QueryEscape(as.AccessKeyID), http.NoBody)
	if err != nil {
		return err
	}
	status, answer, err := i.send(request, as, "", s3Name, i.config.Settings.Region)
	if err != nil {
		return err
	}
	if code := refusal(status, answer); status == http.StatusOK || strings.HasPrefix(code, "XMinioAdmin") {
		return missingWall{
			object:  "server administration",
			problem: "the server lets a session into its administration in spite of its policy (" + code + "): a lease could make itself a lasting key",
			mend:    "upgrade MinIO: releases before 2025-10-15 have this hole (CVE-2025-62506)",
		}
	}
	return nil
}
