package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
)

// surplus are calls that only look, one for each service where a wide credential would do most harm.
func surplus() []question {
	query := func(action, version string) string { return "Action=" + action + "&Version=" + version }
	return []question{
		{permission: "iam:ListUsers", host: "iam", body: query("ListUsers", "2010-05-08") + "&MaxItems=1"},
		{permission: "ec2:DescribeInstances", host: "ec2", body: query("DescribeInstances", "2016-11-15") + "&MaxResults=5"},
		{permission: "rds:DescribeDBInstances", host: "rds", body: query("DescribeDBInstances", "2014-10-31") + "&MaxRecords=20"},
		{permission: "sqs:ListQueues", host: "sqs", body: query("ListQueues", "2012-11-05")},
		{permission: "dynamodb:ListTables", host: "dynamodb", target: "1.0 DynamoDB_20120810.ListTables", body: `{"Limit":1}`},
		{permission: "logs:DescribeLogGroups", host: "logs", target: "1.1 Logs_20140328.DescribeLogGroups", body: `{"limit":1}`},
		{permission: "ecr:DescribeRepositories", host: "api.ecr", target: "1.1 AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", body: `{"maxResults":1}`},
		{permission: "secretsmanager:ListSecrets", host: "secretsmanager", target: "1.1 secretsmanager.ListSecrets", body: `{"MaxResults":1}`},
		{permission: "lambda:ListFunctions", host: "lambda", path: "2015-03-31/functions/?MaxItems=1"},
	}
}

// checkSurplus tries what the broker's own user should not be able to.
func (i *Issuer) checkSurplus(ctx context.Context) ([]broker.Finding, error) {
	var may []string
	if _, err := i.newS3(i.own).ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)}); err == nil {
		may = append(may, "s3:ListAllMyBuckets")
	}
	for _, q := range surplus() {
		if ctx.Err() != nil {
			return nil, i.fault("trying what the broker's user may", ctx.Err())
		}
		if _, err := i.ask(ctx, i.own, q); err == nil {
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
	has, err := i.newS3(i.own).ListBuckets(ctx, &s3.ListBucketsInput{})
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
