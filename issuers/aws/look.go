package aws

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/broker"
)

// looked is the role as it was last looked at: whose session one gets, and a session that may only look.
type looked struct {
	identity broker.Identity
	caller   string // ARN of the broker's own user; empty where the server does not say
	session  aws.Credentials
	s3       *s3.Client
	at       time.Time
	// asked maps the buckets that were asked about while looking to what they answered: nothing is asked twice for one
	// request. It is the caller's who looked; to all later ones it is nil, since a bucket can be another a moment later.
	asked map[string]versioning
}

// versioning is what a bucket answered about its versions.
type versioning struct {
	kept bool
	err  error
}

// lookFor is how long that session is used. It is good for 15 minutes.
const lookFor = 10 * time.Minute

// lookName is the name of those sessions. It is no lease's.
const lookName = "hourkey-look"

// look gives the role as it was looked at a while ago, or looks anew. One caller at a time does the work.
func (i *Issuer) look(ctx context.Context) (*looked, error) { return i.lookOrRenew(ctx, lookFor) }

// lookAnew asks the provider in any case.
func (i *Issuer) lookAnew(ctx context.Context) (*looked, error) { return i.lookOrRenew(ctx, 0) }

func (i *Issuer) lookOrRenew(ctx context.Context, believed time.Duration) (*looked, error) {
	select {
	case i.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, i.fault("waiting for STS", ctx.Err())
	}
	defer func() { <-i.looking }()
	if i.seen != nil {
		if age := i.config.Now().Sub(i.seen.at); age >= 0 && age < believed {
			return i.seen, nil
		}
	}
	i.seen = nil
	seen, err := i.lookNow(ctx)
	if err != nil {
		return nil, i.fault("looking at the role", err)
	}
	later := *seen
	later.asked = nil
	i.seen = &later
	return seen, nil
}

// forget makes the next caller look anew: what was seen may have changed. Who is looking just now sees it anyway.
func (i *Issuer) forget() {
	select {
	case i.looking <- struct{}{}:
		i.seen = nil
		<-i.looking
	default:
	}
}

func (i *Issuer) lookNow(ctx context.Context) (*looked, error) {
	caller, err := i.caller(ctx)
	if err != nil {
		return nil, err
	}
	text, err := i.text(i.lookPolicy())
	if err != nil {
		return nil, err
	}
	at := i.config.Now()
	got, err := i.assume(ctx, session{name: lookName, policy: text, duration: stsFloor})
	if err != nil {
		return nil, err
	}
	seen := &looked{identity: got.identity, caller: caller, session: got.Credentials, s3: i.newS3(static(got.Credentials)), at: at, asked: map[string]versioning{}}
	if i.isCompatible() {
		if err := i.prove(ctx, seen); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// caller asks STS whose key the broker holds. A session's is refused: it could assume a role for an hour at most, bears
// somebody else's source identity, and dies itself.
func (i *Issuer) caller(ctx context.Context) (string, error) {
	out, err := i.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		if i.isCompatible() && isUnsupported(err) {
			return "", nil
		}
		return "", err
	}
	arn := aws.ToString(out.Arn)
	if finding, wrong := i.unfit(arn); wrong {
		return "", broker.Errorf(broker.CodeWall, "%s: %s [%s]", i.config.Ref, finding.Problem, finding.Object).WithNext("%s", finding.Mend)
	}
	return arn, nil
}

// isUnsupported: MinIO answers InvalidParameterValue to an action of STS that it does not have.
func isUnsupported(err error) bool {
	return slices.Contains([]string{"InvalidParameterValue", "InvalidAction", "NotImplemented", "MethodNotAllowed", "UnknownOperationException"}, codeOf(err))
}

var userPattern = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:user/`)

// unfit says why a credential must not be the broker's own. At AWS only an IAM user's is fit: whoever says nothing of
// itself may be a session as well.
func (i *Issuer) unfit(arn string) (broker.Finding, bool) {
	finding := broker.Finding{
		Refuses: true,
		Mend:    "make an IAM user for the broker, with sts:AssumeRole on the one role as its only permission, and name its access key in access_key and secret_key",
	}
	switch {
	case strings.Contains(arn, ":sts::"):
		finding.Object, finding.Problem = "role chaining", "the broker's own credential is a session ("+arn+"): sessions made of sessions live an hour at most and carry the first one's identity"
	case strings.HasSuffix(arn, ":root"):
		finding.Object, finding.Problem = "account root", "the broker's own credential is the account's root ("+arn+"), which nothing limits"
	case !i.isCompatible() && !userPattern.MatchString(arn):
		finding.Object, finding.Problem = "broker key", fmt.Sprintf("the broker's own credential is not an IAM user's: STS says %q", arn)
	default:
		return broker.Finding{}, false
	}
	return finding, true
}

// lookPolicy lets a session ask whether buckets are versioned and whether tables expire items, and nothing else.
func (i *Issuer) lookPolicy() policy {
	var buckets, tables []string
	for _, t := range i.listed {
		switch t.service.name {
		case s3Name:
			buckets = append(buckets, i.arns(t, bucket)...)
		case dynamoName:
			tables = append(tables, i.arns(t, named)...)
		}
	}
	var statements []statement
	for _, look := range []struct {
		action string
		arns   []string
	}{{"dynamodb:DescribeTimeToLive", tables}, {"s3:GetBucketVersioning", buckets}} {
		slices.Sort(look.arns)
		if len(look.arns) > 0 {
			statements = append(statements, statement{Effect: "Allow", Action: many{look.action}, Resource: slices.Compact(look.arns)})
		}
	}
	if len(statements) == 0 {
		statements = []statement{{Effect: "Deny", Action: many{"*"}, Resource: many{"*"}}}
	}
	return policy{Version: "2012-10-17", Statement: statements}
}

// prove tries a server that is not AWS: does it hold a session to its policy, and does it know what time it is? A
// session whose policy has ended must be refused what the looking one is allowed. And does the policy hold for the
// server's own administration?
func (i *Issuer) prove(ctx context.Context, seen *looked) error {
	name, err := i.askable(ctx, seen)
	if err != nil {
		return err
	}
	p := i.lookPolicy()
	p.Statement = append(p.Statement, statement{
		Effect: "Deny", Action: p.Statement[0].Action, Resource: many{"*"},
		Condition: condition{"DateGreaterThanEquals": {"aws:CurrentTime": {shown(i.config.Now().Add(-time.Minute))}}},
	})
	text, err := i.text(p)
	if err != nil {
		return err
	}
	ended, err := i.assume(ctx, session{name: lookName, policy: text, duration: stsFloor})
	if err != nil {
		return err
	}
	_, err = i.newS3(static(ended.Credentials)).GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
	switch {
	case err == nil:
		return broker.Errorf(broker.CodeWall, "%s: the server does not hold sessions to their policy, or not to its end: a lease would be as wide as the broker's user, and would not end in time [session policy]", i.config.Ref).
			WithNext("use a server that evaluates session policies with aws:CurrentTime, like AWS or MinIO")
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
	return "", broker.Errorf(broker.CodeWall, "%s: the broker's user may not s3:GetBucketVersioning on any bucket that the file lists, or there is none of them: neither their versioning nor the server's session policies can be tried [s3:GetBucketVersioning %s]",
		i.config.Ref, strings.Join(refused, " ")).WithNext("give the broker's user at the server this policy:\n%s", i.RolePolicy())
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
		return broker.Errorf(broker.CodeWall, "%s: the server lets a session into its administration in spite of its policy (%s): a lease could make itself a lasting key [server administration]", i.config.Ref, code).
			WithNext("upgrade MinIO: releases before 2025-10-15 have this hole (CVE-2025-62506)")
	}
	return nil
}

// versioned tells whether a bucket keeps what is overwritten. Who looked at the role just now asks each bucket once.
func (i *Issuer) versioned(ctx context.Context, seen *looked, name string) (bool, error) {
	if answer, known := seen.asked[name]; known {
		return answer.kept, answer.err
	}
	kept, err := i.askVersioned(ctx, seen, name)
	if seen.asked != nil {
		seen.asked[name] = versioning{kept, err}
	}
	return kept, err
}

// askVersioned asks the bucket. It must belong to the role's account.
func (i *Issuer) askVersioned(ctx context.Context, seen *looked, name string) (bool, error) {
	input := &s3.GetBucketVersioningInput{Bucket: &name}
	if !i.isCompatible() {
		input.ExpectedBucketOwner = &i.role.account
	}
	out, err := seen.s3.GetBucketVersioning(ctx, input)
	if err != nil {
		return false, err
	}
	return out.Status == s3types.BucketVersioningStatusEnabled, nil
}
