package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
)

// Check tries, permission by permission, what the broker's user and the role lack and what they have too much of, and
// tells what of the resources makes a write a delete. It changes nothing: the sessions that it makes may not even look.
func (i *Issuer) Check(ctx context.Context) ([]broker.Finding, error) {
	caller, found, err := i.checkCaller(ctx)
	if err != nil || len(found) > 0 {
		return found, err
	}
	found, stop, err := i.checkTrust(ctx, caller)
	if err != nil || stop {
		return found, err
	}
	seen, err := i.lookAnew(ctx)
	if err != nil {
		if wall, missing := asFinding(err); missing {
			return append(found, wall), nil
		}
		return nil, err
	}
	more, err := i.checkResources(ctx, seen)
	if err != nil {
		return nil, err
	}
	found = append(found, more...)
	check := i.checkSurplus
	if i.isCompatible() {
		check = i.checkBuckets
	}
	surplus, err := check(ctx)
	return append(found, surplus...), err
}

// checkCaller asks whose key the broker holds. With a finding nothing else can be tried.
func (i *Issuer) checkCaller(ctx context.Context) (caller string, found []broker.Finding, err error) {
	caller, err = i.caller(ctx)
	if wall, missing := asFinding(err); missing {
		return "", []broker.Finding{wall}, nil
	}
	switch {
	case err == nil:
		return caller, nil, nil
	case isWrongKey(err):
		return "", []broker.Finding{{
			Refuses: true, Object: "broker key", Problem: "the provider does not take the broker's access key (" + codeOf(err) + ")",
			Mend: "make a new access key for the broker's user, and put it where access_key and secret_key refer to",
		}}, nil
	}
	return "", nil, i.fault("asking whose key this is", err)
}

func asFinding(err error) (broker.Finding, bool) {
	if broker.CodeOf(err) != broker.CodeWall {
		return broker.Finding{}, false
	}
	known, _ := errors.AsType[*broker.Error](err)
	problem, object, _ := strings.Cut(strings.TrimSuffix(known.Message, "]"), " [")
	return broker.Finding{Refuses: true, Object: object, Problem: problem, Mend: known.Next}, true
}

// powerless is the policy of a session that may do nothing.
const powerless = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`

// checkTrust assumes the role bare, with tags, and with a source identity: each wants a permission of its own, both of the
// broker's user and of the role's trust policy.
func (i *Issuer) checkTrust(ctx context.Context, caller string) (found []broker.Finding, stop bool, err error) {
	for _, try := range []struct {
		permission string
		session    session
	}{
		{"sts:AssumeRole", session{name: lookName}},
		{"sts:TagSession", session{name: lookName, tags: map[string]string{tagAgent: "check", tagTask: "check"}}},
		{"sts:SetSourceIdentity", session{name: lookName, isLease: true}},
	} {
		try.session.policy, try.session.duration = powerless, stsFloor
		_, err := i.assume(ctx, try.session)
		switch {
		case isDenied(err) && i.isCompatible(): // it wants no permission: the key is wrong, or its user unknown
			return []broker.Finding{{
				Refuses: true, Object: "broker key", Problem: "the server makes no session for the broker's access key: it does not know the key, or its user",
				Mend: "make a user for the broker at the server, with a policy for the buckets of " + strings.Join(i.config.Settings.Resources, ", ") + ", and put its key where access_key and secret_key refer to",
			}}, true, nil
		case isDenied(err):
			found = append(found, broker.Finding{
				Refuses: true, Object: try.permission,
				Problem: "the broker's user may not " + try.permission + " on " + i.role.arn + ", by its own policy or by the role's trust policy",
				Mend:    "trust policy of the role:\n" + TrustPolicy(caller) + "\npolicy of the broker's user:\n" + i.UserPolicy(),
			})
			if try.permission == "sts:AssumeRole" {
				return found, true, nil
			}
		case err != nil:
			return nil, true, i.fault("assuming the role", err)
		}
	}
	return found, false, nil
}

// checkResources asks about each bucket and table of the file what a write there could lose.
func (i *Issuer) checkResources(ctx context.Context, seen *looked) ([]broker.Finding, error) {
	var found []broker.Finding
	known := map[string]bool{}
	for _, t := range i.listed {
		place := grant{thing: t}.place()
		if known[place] || t.service.name == dynamoName && t.prefix {
			continue
		}
		known[place] = true
		finding, err := i.checkResource(ctx, seen, t, place)
		if err != nil {
			return nil, err
		}
		if finding.Object != "" {
			found = append(found, finding)
		}
	}
	return found, nil
}

func (i *Issuer) checkResource(ctx context.Context, seen *looked, t thing, place string) (finding broker.Finding, err error) {
	permission, risky := "", false
	switch t.service.name {
	case s3Name:
		permission = "s3:GetBucketVersioning"
		risky, err = i.versioned(ctx, seen, t.bucket)
		risky = !risky
		finding = broker.Finding{
			Object: place, Problem: "the bucket is not versioned, so requests to write there count as deleting",
			Mend: "aws s3api put-bucket-versioning --bucket " + t.bucket + " --versioning-configuration Status=Enabled",
		}
	case dynamoName:
		permission = "dynamodb:DescribeTimeToLive"
		risky, err = i.expires(ctx, seen, t.name)
		finding = broker.Finding{
			Object: place, Problem: "the table has a time to live, so requests to write there count as deleting",
			Mend: "leave it, and let such requests be approved; or keep what may expire in a table of its own",
		}
	default:
		return broker.Finding{}, nil
	}
	switch {
	case isDenied(err):
		return broker.Finding{
			Object: "role " + permission + " " + place, Problem: "requests to write there are refused: the role may not " + permission + " on " + place + ", or it is another account's",
			Mend: i.RolePolicy(),
		}, nil
	case isMissing(err):
		return broker.Finding{
			Object: place, Problem: "there is no such place in region " + i.config.Settings.Region + " (" + codeOf(err) + "): requests for it come to nothing",
			Mend: "make it, correct the region, or take it out of resources",
		}, nil
	case err != nil:
		return broker.Finding{}, i.fault("asking about "+place, err)
	case !risky:
		return broker.Finding{}, nil
	}
	return finding, nil
}

// surplus are calls that only look, one for each service where a wide credential would do most harm.
func surplus() []question {
	query := func(action, version string) string { return "Action=" + action + "&Version=" + version }
	return []question{
		{"iam:ListUsers", "iam", "", "", query("ListUsers", "2010-05-08") + "&MaxItems=1"},
		{"ec2:DescribeInstances", "ec2", "", "", query("DescribeInstances", "2016-11-15") + "&MaxResults=5"},
		{"rds:DescribeDBInstances", "rds", "", "", query("DescribeDBInstances", "2014-10-31") + "&MaxRecords=20"},
		{"sqs:ListQueues", "sqs", "", "", query("ListQueues", "2012-11-05")},
		{"dynamodb:ListTables", "dynamodb", "1.0 DynamoDB_20120810.ListTables", "", `{"Limit":1}`},
		{"logs:DescribeLogGroups", "logs", "1.1 Logs_20140328.DescribeLogGroups", "", `{"limit":1}`},
		{"ecr:DescribeRepositories", "api.ecr", "1.1 AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", "", `{"maxResults":1}`},
		{"secretsmanager:ListSecrets", "secretsmanager", "1.1 secretsmanager.ListSecrets", "", `{"MaxResults":1}`},
		{"lambda:ListFunctions", "lambda", "", "2015-03-31/functions/?MaxItems=1", ""},
	}
}

// checkSurplus tries what the broker's own user should not be able to.
func (i *Issuer) checkSurplus(ctx context.Context) ([]broker.Finding, error) {
	own, err := i.ownCredentials(ctx)
	if err != nil {
		return nil, i.fault("reading the broker's key", err)
	}
	var may []string
	_, err = i.newS3(static(own)).ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	if err == nil {
		may = append(may, "s3:ListAllMyBuckets")
	}
	for _, q := range surplus() {
		if ctx.Err() != nil {
			return nil, i.fault("trying what the broker's user may", ctx.Err())
		}
		if _, err := i.ask(ctx, own, q); err == nil {
			may = append(may, q.permission)
		}
	}
	found := make([]broker.Finding, 0, len(may))
	for _, permission := range may {
		found = append(found, broker.Finding{
			Object: "broker " + permission, Problem: "the broker's own user may " + permission + ": it needs to assume one role, and nothing else",
			Mend: i.UserPolicy(),
		})
	}
	return found, nil
}

// checkBuckets asks a server that is not AWS which buckets the broker's user has: sessions are made of it, so what it has
// beyond the file is one mistake away from a lease. A server that does not tell is not asked further.
func (i *Issuer) checkBuckets(ctx context.Context) ([]broker.Finding, error) {
	own, err := i.ownCredentials(ctx)
	if err != nil {
		return nil, i.fault("reading the broker's key", err)
	}
	has, err := i.newS3(static(own)).ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return nil, nil //nolint:nilerr // it may not list: all the better
	}
	var beyond []string
	for _, bucket := range has.Buckets {
		name := aws.ToString(bucket.Name)
		if !slices.ContainsFunc(i.listed, func(t thing) bool { return t.bucket == name }) {
			beyond = append(beyond, name)
		}
	}
	if len(beyond) == 0 {
		return nil, nil
	}
	return []broker.Finding{{
		Object: "broker buckets", Problem: "the broker's user reaches buckets that the file does not list: " + shorten(beyond),
		Mend: "one user for each environment, with a policy for its buckets alone:\n" + i.RolePolicy(),
	}}, nil
}

// shorten names the first few.
func shorten(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:few], ", ") + ", …"
}

// UserPolicy is what the broker's user needs, and all that it needs.
func (i *Issuer) UserPolicy() string {
	return pretty(policy{Version: "2012-10-17", Statement: []statement{
		{Effect: "Allow", Action: many{"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"}, Resource: many{i.role.arn}},
	}})
}

// TrustPolicy is the role's: the broker's user, by its ARN, and nobody else, may assume it.
func TrustPolicy(user string) string {
	return fmt.Sprintf(`{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": %q},
      "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
    }
  ]
}`, user)
}

// RolePolicy is what the role needs so that all that the file lists can be read and written.
func (i *Issuer) RolePolicy() string {
	var grants []grant
	for _, t := range i.listed {
		grants = append(grants, grant{t, t.service.has()})
	}
	statements := allow(i.allowed(grants))
	for at := range statements {
		statements[at].Condition = nil // the sessions have their own
	}
	statements = append(statements, slices.DeleteFunc(i.lookPolicy().Statement, func(s statement) bool { return s.Effect == "Deny" })...)
	return pretty(policy{Version: "2012-10-17", Statement: statements})
}

func pretty(p policy) string {
	var b strings.Builder
	b.WriteString("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n")
	for at, line := range lines(p) {
		comma := ","
		if at == len(p.Statement)-1 {
			comma = ""
		}
		b.WriteString("    " + line + comma + "\n")
	}
	b.WriteString("  ]\n}")
	return b.String()
}
