package aws

import (
	"context"
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
	i.seen = seen
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
	seen := &looked{identity: got.identity, caller: caller, session: got.Credentials, s3: i.newS3(static(got.Credentials)), at: at}
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
	if finding, wrong := unfit(arn); wrong {
		return "", broker.Errorf(broker.CodeWall, "%s: %s [%s]", i.config.Ref, finding.Problem, finding.Object).WithNext("%s", finding.Mend)
	}
	return arn, nil
}

// isUnsupported: MinIO answers InvalidParameterValue to an action of STS that it does not have.
func isUnsupported(err error) bool {
	return slices.Contains([]string{"InvalidParameterValue", "InvalidAction", "NotImplemented", "MethodNotAllowed", "UnknownOperationException"}, codeOf(err))
}

// unfit says why a credential must not be the broker's own.
func unfit(arn string) (broker.Finding, bool) {
	const mend = "make an IAM user for the broker, with sts:AssumeRole on the one role as its only permission, and name its access key in access_key and secret_key"
	switch {
	case strings.Contains(arn, ":assumed-role/"), strings.Contains(arn, ":federated-user/"):
		return broker.Finding{Refuses: true, Object: "role chaining", Problem: "the broker's own credential is a session (" + arn + "): sessions made of sessions live an hour at most and carry the first one's identity", Mend: mend}, true
	case strings.HasSuffix(arn, ":root"):
		return broker.Finding{Refuses: true, Object: "account root", Problem: "the broker's own credential is the account's root (" + arn + "), which nothing limits", Mend: mend}, true
	}
	return broker.Finding{}, false
}

// lookPolicy lets a session ask whether buckets are versioned and whether tables expire items, and nothing else.
func (i *Issuer) lookPolicy() policy {
	var buckets, tables []string
	for _, t := range i.listed {
		switch t.service.name {
		case s3Name:
			buckets = append(buckets, i.arns(t, bucket)...)
		case "dynamodb":
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
// session whose policy has ended must be refused what the looking one is allowed.
func (i *Issuer) prove(ctx context.Context, seen *looked) error {
	p := i.lookPolicy()
	over := statement{
		Effect: "Deny", Action: p.Statement[0].Action, Resource: many{"*"},
		Condition: condition{"DateGreaterThanEquals": {"aws:CurrentTime": {shown(i.config.Now().Add(-time.Minute))}}},
	}
	p.Statement = append(p.Statement, over)
	text, err := i.text(p)
	if err != nil {
		return err
	}
	ended, err := i.assume(ctx, session{name: lookName, policy: text, duration: stsFloor})
	if err != nil {
		return err
	}
	name := i.listed[0].bucket
	if _, err := seen.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name}); err != nil {
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
	return nil
}

// versioned asks whether a bucket keeps what is overwritten. It must belong to the role's account.
func (i *Issuer) versioned(ctx context.Context, seen *looked, name string) (bool, error) {
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
