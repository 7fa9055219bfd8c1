package aws

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// service is what can be done at one of AWS's services: the actions of each class, and the ARNs that they are about.
// Every action stands here by its name; actions/ says that none of them is worth more than its class. The lists are short:
// each name stands twice in a session policy, which has 2,048 characters.
type service struct {
	name     string
	pattern  *regexp.Regexp // of a name
	before   []string       // what stands before the name in its ARNs, one for each; S3 has a form of its own
	part     string         // what an ARN ends in that is about the parts of the thing; empty: it has none
	asks     string         // the permission to ask what a write there could lose; empty where it loses nothing
	whole    broker.Actions // for which a name must be whole, not a prefix
	whyWhole string
	rows     []row
}

// row is one or more actions of a class on one kind of thing.
type row struct {
	class   broker.Actions
	on      kind
	actions string // separated by blanks, without the service
}

// kind is what an action is about, and so which ARNs it is allowed on.
type kind string

const (
	object  kind = "object"  // an S3 key
	listing kind = "listing" // the keys of a bucket, within the prefix
	asked   kind = "asked"   // the bucket or the table itself, which the issuer asks what a write could lose
	named   kind = "named"   // the thing
	parts   kind = "parts"   // the thing, and what is part of it: streams, indexes, versions
)

const (
	s3Name     = "s3"
	dynamoName = "dynamodb"
)

// services is the table of what can be asked for. ARN forms: the service authorization reference of each service.
var services = map[string]service{
	s3Name: {
		name: s3Name, asks: asksVersions,
		rows: []row{
			{broker.Read, object, "GetObject GetObjectVersion"},
			{broker.Read, listing, "ListBucket ListBucketVersions"},
			{broker.Write, object, "PutObject"},
			{broker.Delete, object, "AbortMultipartUpload DeleteObject DeleteObjectVersion"},
		},
	},
	"sqs": {
		name: "sqs", before: []string{""}, pattern: regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}(\.fifo)?$`),
		rows: []row{
			{broker.Read, named, "GetQueueAttributes GetQueueUrl"},
			{broker.Write, named, "SendMessage"},
			{broker.Delete, named, "ChangeMessageVisibility DeleteMessage PurgeQueue ReceiveMessage"},
		},
	},
	dynamoName: {
		name: dynamoName, before: []string{"table/"}, part: "/index/*", asks: asksExpiry, pattern: regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`),
		whole: broker.Write, whyWhole: "so that it can be asked whether its items expire",
		rows: []row{
			{broker.Read, named, "BatchGetItem DescribeTable GetItem"},
			{broker.Read, parts, "Query Scan"},
			{broker.Write, named, "PutItem UpdateItem"},
			{broker.Delete, named, "BatchWriteItem DeleteItem"},
		},
	},
	"logs": {
		name: "logs", before: []string{"log-group:"}, part: ":*", pattern: regexp.MustCompile(`^[A-Za-z0-9_/.#-]{1,512}$`),
		rows: []row{
			{broker.Read, parts, "DescribeLogStreams FilterLogEvents GetLogEvents"},
			{broker.Write, parts, "CreateLogStream PutLogEvents"},
			{broker.Delete, parts, "DeleteLogStream"},
		},
	},
	"ecr": {
		name: "ecr", before: []string{"repository/"}, pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9/_.-]{0,255}$`),
		rows: []row{
			{broker.Read, named, "BatchCheckLayerAvailability BatchGetImage DescribeImages GetDownloadUrlForLayer ListImages"},
			{broker.Write, named, "CompleteLayerUpload InitiateLayerUpload PutImage UploadLayerPart"},
			{broker.Delete, named, "BatchDeleteImage"},
		},
	},
	"lambda": {
		name: "lambda", before: []string{"function:"}, part: ":*", pattern: regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`),
		whole: broker.Write, whyWhole: "since what a function does it does with a role of its own",
		rows: []row{
			{broker.Read, parts, "GetAlias GetFunctionConcurrency ListAliases"},
			{broker.Write, parts, "InvokeFunction"},
		},
	},
	"rds": {
		name: "rds", before: []string{"cluster:", "db:"}, pattern: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,62}$`),
		rows: []row{
			{broker.Read, parts, "DescribeDBClusters DescribeDBInstances DescribeDBLogFiles DescribeDBSnapshots"},
		},
	},
}

func serviceNames() string { return strings.Join(slices.Sorted(maps.Keys(services)), ", ") }

// actions gives what a class may do, as service:Action.
func (s service) actions(class broker.Actions) []string {
	var list []string
	for _, r := range s.rows {
		if r.class == class {
			list = append(list, r.names(s.name)...)
		}
	}
	return list
}

func (r row) names(service string) []string {
	names := strings.Fields(r.actions)
	for at, name := range names {
		names[at] = service + ":" + name
	}
	return names
}

// has gives the classes that a service has a list for.
func (s service) has() broker.Actions {
	var all broker.Actions
	for _, r := range s.rows {
		all |= r.class
	}
	return all
}

// arns gives the ARNs that actions on a kind of thing are allowed on.
func (i *Issuer) arns(t thing, on kind) []string {
	if t.service.name == s3Name {
		arn := "arn:" + i.role.partition + ":s3:::" + t.bucket
		if on == object {
			arn += "/" + t.pattern()
		}
		return []string{arn}
	}
	var list []string
	for _, before := range t.service.before {
		arn := strings.Join([]string{"arn", i.role.partition, t.service.name, i.config.Settings.Region, i.role.account, before + t.pattern()}, ":")
		list = append(list, arn)
		if on == parts && t.service.part != "" && !t.prefix { // a prefix covers them already
			list = append(list, arn+t.service.part)
		}
	}
	return list
}
