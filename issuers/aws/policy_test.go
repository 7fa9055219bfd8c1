package aws_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/actions"
)

const later = "2999-01-01T00:00:00Z"

// policyOf is the session policy of a lease at AWS, whose scopes are those that were asked for.
func policyOf(t *testing.T, issuer *aws.Issuer, end string, texts ...string) document {
	t.Helper()
	policy, err := issuer.SessionPolicy(describe(t, issuer, wish(t, texts...)), end)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, policy)
}

// What is sent to STS, to the letter: this is what a security engineer reads.
func TestSessionPolicyReadsLikeThis(t *testing.T) {
	got := strings.Join(describe(t, newCloud().issuer(t), wish(t, "s3/acme-staging/app/*:read,write", "sqs/orders:write")).Native, "\n")
	want := `sts:AssumeRole arn:aws:iam::111122223333:role/hourkey/hourkey-staging
session name and source identity: {lease}; tags: hourkey:agent and hourkey:task as of the request
{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion","s3:PutObject"],"Resource":"arn:aws:s3:::acme-staging/app/*"}
{"Effect":"Allow","Action":["s3:ListBucket","s3:ListBucketVersions"],"Resource":"arn:aws:s3:::acme-staging","Condition":{"StringLike":{"s3:prefix":"app/*"}}}
{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"arn:aws:sqs:eu-central-1:111122223333:orders"}
{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"s3:ResourceAccount":"111122223333"}}}
{"Effect":"Deny","NotAction":["s3:GetObject","s3:GetObjectVersion","s3:ListBucket","s3:ListBucketVersions","s3:PutObject","sqs:SendMessage"],"Resource":"*"}
{"Effect":"Deny","Action":"*","NotResource":["arn:aws:s3:::acme-staging","arn:aws:s3:::acme-staging/app/*","arn:aws:sqs:eu-central-1:111122223333:orders"]}
{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThanEquals":{"aws:CurrentTime":"{end of the lease..}"}}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// everyScope asks for all that there is, for reading and, where a service has it, for writing.
var everyScope = []string{
	"s3/acme-staging/*:read,write", "sqs/orders:read,write", "dynamodb/orders:read,write", "logs//aws/lambda/orders:read,write",
	"ecr/shop/*:read,write", "lambda/orders:read,write", "rds/orders:read",
}

// mine are ARNs that those leases are about, one of each kind.
var mine = []string{
	"arn:aws:s3:::acme-staging/app/one", "arn:aws:s3:::acme-staging", "arn:aws:sqs:eu-central-1:111122223333:orders",
	"arn:aws:dynamodb:eu-central-1:111122223333:table/orders", "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/index/by-day",
	"arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/orders:log-stream:today", "arn:aws:ecr:eu-central-1:111122223333:repository/shop/api",
	"arn:aws:lambda:eu-central-1:111122223333:function:orders", "arn:aws:rds:eu-central-1:111122223333:db:orders",
}

// foreign are others, near and far.
var foreign = []string{
	"*", "arn:aws:s3:::acme-production/app/one", "arn:aws:s3:::acme-staging-2", "arn:aws:sqs:eu-central-1:111122223333:orders-production",
	"arn:aws:sqs:eu-west-1:111122223333:orders", "arn:aws:sqs:eu-central-1:444455556666:orders", "arn:aws:dynamodb:eu-central-1:111122223333:table/orders2",
	"arn:aws:rds:eu-central-1:111122223333:snapshot:orders", "arn:aws:iam::111122223333:role/admin", "arn:aws:lambda:eu-central-1:111122223333:function:orders-production",
	"arn:aws-cn:sqs:eu-central-1:111122223333:orders", "arn:aws-us-gov:s3:::acme-staging/app/one", "arn:aws:s3:eu-central-1:111122223333:accesspoint/all/object/app/one",
	"arn:aws:dynamodb:eu-central-1:111122223333:table/orders/backup/1", "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/1",
	"arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/orders-production", "arn:aws:ec2:eu-central-1:111122223333:instance/i-1",
}

// Every one of AWS's actions, on a leased thing and on others, with the widest role behind it and a resource policy that
// gives everything to the session: only what the lists give is allowed, and all else is denied, not just not allowed.
func TestAWideRoleAndAWideResourcePolicyAddNothing(t *testing.T) {
	issuer, when := newCloud().issuer(t), now("s3:prefix", "app/")
	for _, scope := range everyScope { // one by one: together they would not fit into one policy
		policy := policyOf(t, issuer, later, scope)
		given := map[string]bool{}
		for _, class := range []broker.Actions{broker.Read, broker.Write} {
			for _, action := range aws.Given(class) {
				given[action] = true
			}
		}
		count := map[verdict]int{}
		for action := range actions.All() {
			for _, resource := range append(mine, foreign...) {
				if !given[action] && resource != mine[0] && resource != "*" && resource != mine[2] {
					continue // an action that is denied as such is denied everywhere: three places are enough
				}
				got := inSession(everything, policy, everything, call{action, resource, when})
				count[got]++
				if got == allowed && !given[action] {
					t.Errorf("%s: %s on %s is allowed (%s)", scope, action, resource, actions.Classify(action).ClassName())
				}
			}
		}
		for action := range given {
			for _, resource := range foreign {
				if got := inSession(everything, policy, everything, call{action, resource, when}); got != explicit {
					t.Errorf("%s: %s on %s, which is another's, is %s", scope, action, resource, got)
				}
			}
		}
		if count[allowed] == 0 || count[implicit] > 0 {
			t.Errorf("%s: %v; want something allowed, and nothing that a resource policy could add", scope, count)
		}
	}
}

// What a lease gives is exactly its lists, on its own things.
func TestALeaseMayDoWhatItsListsSay(t *testing.T) {
	issuer, when := newCloud().issuer(t), now("s3:prefix", "app/one")
	for _, c := range []struct {
		scope, resource string
		allows          string
	}{
		{"s3/acme-staging/app/*:read", mine[0], "s3:GetObject s3:GetObjectVersion"},
		{"s3/acme-staging/app/*:read,write", mine[0], "s3:GetObject s3:GetObjectVersion s3:PutObject"},
		{"s3/acme-staging/app/*:write", mine[0], "s3:PutObject"},
		{"s3/acme-staging/app/*:delete", mine[0], "s3:AbortMultipartUpload s3:DeleteObject s3:DeleteObjectVersion"},
		{"s3/acme-staging/app/*:read", mine[1], "s3:ListBucket s3:ListBucketVersions"},
		{"s3/acme-staging/app/one:read", mine[0], "s3:GetObject s3:GetObjectVersion"},
		{"s3/acme-staging/app/on:read", mine[0], ""},
		{"sqs/orders:write", mine[2], "sqs:SendMessage"},
		{"sqs/orders:read,write", mine[2], "sqs:SendMessage sqs:GetQueueAttributes sqs:GetQueueUrl"},
		{"dynamodb/orders:write", mine[3], "dynamodb:PutItem dynamodb:UpdateItem"},
		{"dynamodb/orders:read", mine[4], "dynamodb:Query dynamodb:Scan"},
		{"logs//aws/lambda/orders:write", mine[5], "logs:CreateLogStream logs:PutLogEvents"},
		{"ecr/shop/*:write", mine[6], "ecr:InitiateLayerUpload ecr:UploadLayerPart ecr:CompleteLayerUpload ecr:PutImage"},
		{"lambda/orders:write", mine[7], "lambda:InvokeFunction"},
		{"lambda/orders:write", mine[7] + ":live", "lambda:InvokeFunction"},
		{"lambda/jobs-*:read", "arn:aws:lambda:eu-central-1:111122223333:function:jobs-night", "lambda:GetAlias lambda:ListAliases lambda:GetFunctionConcurrency"},
		{"rds/orders:read", mine[8], "rds:DescribeDBClusters rds:DescribeDBInstances rds:DescribeDBLogFiles rds:DescribeDBSnapshots"},
	} {
		policy := policyOf(t, issuer, later, c.scope)
		want := map[string]bool{}
		for action := range strings.FieldsSeq(c.allows) {
			want[action] = true
		}
		got := map[string]bool{}
		for action := range actions.All() {
			if inSession(everything, policy, nothing, call{action, c.resource, when}) == allowed {
				got[action] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s on %s (-want +got):\n%s", c.scope, c.resource, diff)
		}
	}
}

// When the lease is over everything is denied, while the session still exists: STS makes none shorter than 15 minutes.
func TestAfterTheEndEverythingIsDenied(t *testing.T) {
	issuer := newCloud().issuer(t)
	for _, scope := range everyScope {
		policy := policyOf(t, issuer, time.Now().Add(-time.Second).UTC().Format(time.RFC3339), scope)
		for _, resource := range mine {
			for _, class := range []broker.Actions{broker.Read, broker.Write} {
				for _, action := range aws.Given(class) {
					if got := inSession(everything, policy, everything, call{action, resource, now("s3:prefix", "app/")}); got != explicit {
						t.Errorf("%s: %s on %s is %s after the end", scope, action, resource, got)
					}
				}
			}
		}
	}
}

// One place is read and another written: a resource policy that gives everything does not add the one to the other.
func TestMixedLeaseDoesNotCrossItsClasses(t *testing.T) {
	issuer := newCloud().issuer(t, func(s *aws.Settings) {
		s.Resources = append(s.Resources, "sqs/jobs", "dynamodb/stock", "ecr/base")
		s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/terraform.tfstate.tflock", Why: "Terraform removes its own lock"}}
	})
	arn := func(rest string) string {
		return "arn:aws:" + strings.ReplaceAll(rest, "::", ":eu-central-1:111122223333:")
	}
	for scopes, want := range map[string]map[string]verdict{
		"s3/acme-staging/a/*:read s3/acme-staging/b/*:write": {
			"s3:GetObject arn:aws:s3:::acme-staging/a/x": allowed, "s3:PutObject arn:aws:s3:::acme-staging/b/x": allowed,
			"s3:PutObject arn:aws:s3:::acme-staging/a/x": explicit, "s3:GetObject arn:aws:s3:::acme-staging/b/x": explicit,
		},
		"s3/acme-staging/*:read s3/acme-staging/b/*:write": { // one within the other
			"s3:GetObject arn:aws:s3:::acme-staging/b/x": allowed, "s3:PutObject arn:aws:s3:::acme-staging/b/x": allowed, "s3:PutObject arn:aws:s3:::acme-staging/a/x": explicit,
		},
		"s3/acme-staging/a/*:read s3/acme-state/shop/*:write": {
			"s3:DeleteObject arn:aws:s3:::acme-state/shop/terraform.tfstate.tflock": allowed, "s3:DeleteObject arn:aws:s3:::acme-staging/a/x": explicit,
			"s3:PutObject arn:aws:s3:::acme-staging/a/x": explicit, "s3:PutObject arn:aws:s3:::acme-state/shop/x": allowed,
		},
		"sqs/orders:read sqs/jobs:write": {
			"sqs:SendMessage " + arn("sqs::jobs"): allowed, "sqs:SendMessage " + arn("sqs::orders"): explicit, "sqs:GetQueueUrl " + arn("sqs::jobs"): explicit,
		},
		"ecr/shop/*:read ecr/base:read,write sqs/orders:write": {
			"ecr:PutImage " + arn("ecr::repository/base"): allowed, "ecr:PutImage " + arn("ecr::repository/shop/api"): explicit, "ecr:ListImages " + arn("ecr::repository/shop/api"): allowed,
			"sqs:SendMessage " + arn("sqs::orders"): allowed,
		},
	} {
		policy := policyOf(t, issuer, later, strings.Fields(scopes)...)
		for one, verdict := range want {
			action, resource, _ := strings.Cut(one, " ")
			if got := inSession(everything, policy, everything, call{action, resource, now()}); got != verdict {
				t.Errorf("%s: %s is %s; want %s", scopes, one, got, verdict)
			}
		}
	}
}

// A bucket's name that was given up can be anybody's: the ARN says nothing of the account.
func TestBucketOfAnotherAccountUnderTheSameNameIsDenied(t *testing.T) {
	issuer := newCloud().issuer(t)
	policy := policyOf(t, issuer, later, "s3/acme-staging/app/*:read,write")
	for _, action := range []string{"s3:GetObject", "s3:PutObject"} {
		theirs := call{action, mine[0], map[string][]string{"aws:CurrentTime": now()["aws:CurrentTime"], "s3:ResourceAccount": {"444455556666"}}}
		untold := call{action, mine[0], map[string][]string{"aws:CurrentTime": now()["aws:CurrentTime"]}}
		for _, c := range []call{theirs, untold} {
			if got := inSession(everything, policy, everything, c); got != explicit {
				t.Errorf("%s, account %v: %s", action, c.context["s3:ResourceAccount"], got)
			}
		}
		if got := inSession(everything, policy, everything, call{action, mine[0], now()}); got != allowed {
			t.Errorf("%s in the own account: %s", action, got)
		}
	}
}

// The keys of a bucket are listed within the prefix, and nowhere else.
func TestListingStaysWithinThePrefix(t *testing.T) {
	issuer := newCloud().issuer(t)
	for scopes, want := range map[string]map[string]verdict{
		"s3/acme-staging/app/*:read":                              {"app/": allowed, "app/x": allowed, "app": implicit, "": implicit, "application": implicit, "other/": implicit},
		"s3/acme-staging/app/one:read":                            {"app/one": explicit, "app/": explicit, "app/one2": explicit}, // the list of a key would show its neighbours
		"s3/acme-staging/*:read":                                  {"": allowed, "anything": allowed},
		"s3/acme-staging/a/*:read s3/acme-staging/b/*:read,write": {"a/": allowed, "b/": allowed, "c/": implicit},
		"s3/acme-staging/a/*:read s3/acme-loose/b/*:read":         {"a/": allowed, "b/": implicit},
	} {
		policy := policyOf(t, issuer, later, strings.Fields(scopes)...)
		for prefix, verdict := range want {
			if got := inSession(everything, policy, nothing, call{"s3:ListBucket", "arn:aws:s3:::acme-staging", now("s3:prefix", prefix)}); got != verdict {
				t.Errorf("%s: listing %q is %s; want %s", scopes, prefix, got, verdict)
			}
		}
		if got := inSession(everything, policy, nothing, call{"s3:ListBucket", "arn:aws:s3:::acme-staging", now()}); (got == allowed) != (want[""] == allowed) {
			t.Errorf("%s: listing without a prefix is %s", scopes, got)
		}
	}
}

// One item of the lock table may be removed: the lock of that state.
func TestTerraformLockTableLosesTheLockAlone(t *testing.T) {
	issuer := newCloud().issuer(t, func(s *aws.Settings) {
		s.Locks = []aws.Lock{
			{Object: "dynamodb/tf-locks/acme-state/shop/terraform.tfstate", Why: "Terraform removes its own lock"},
			{Object: "s3/acme-state/shop/terraform.tfstate.tflock", Why: "Terraform removes its own lock"},
		}
	})
	table := "arn:aws:dynamodb:eu-central-1:111122223333:table/tf-locks"
	byTable := policyOf(t, issuer, later, "dynamodb/tf-locks:read,write", "s3/acme-staging/*:read,write")
	byFile := policyOf(t, issuer, later, "s3/acme-state/shop/*:read,write")
	for what, c := range map[string]struct {
		call call
		want verdict
	}{
		"the lock":                    {call{"dynamodb:DeleteItem", table, now("dynamodb:LeadingKeys", "acme-state/shop/terraform.tfstate")}, allowed},
		"another state's lock":        {call{"dynamodb:DeleteItem", table, now("dynamodb:LeadingKeys", "acme-state/bank/terraform.tfstate")}, explicit},
		"the state's digest":          {call{"dynamodb:DeleteItem", table, now("dynamodb:LeadingKeys", "acme-state/shop/terraform.tfstate-md5")}, explicit},
		"an item of no key":           {call{"dynamodb:DeleteItem", table, now()}, implicit},
		"several items":               {call{"dynamodb:DeleteItem", table, now("dynamodb:LeadingKeys", "acme-state/shop/terraform.tfstate", "dynamodb:LeadingKeys", "x")}, explicit},
		"another table":               {call{"dynamodb:DeleteItem", table + "2", now("dynamodb:LeadingKeys", "acme-state/shop/terraform.tfstate")}, explicit},
		"a batch":                     {call{"dynamodb:BatchWriteItem", table, now("dynamodb:LeadingKeys", "acme-state/shop/terraform.tfstate")}, explicit},
		"the table":                   {call{"dynamodb:DeleteTable", table, now()}, explicit},
		"the lock file":               {call{"s3:DeleteObject", "arn:aws:s3:::acme-state/shop/terraform.tfstate.tflock", now()}, allowed},
		"the state":                   {call{"s3:DeleteObject", "arn:aws:s3:::acme-state/shop/terraform.tfstate", now()}, explicit},
		"a version of the lock file":  {call{"s3:DeleteObjectVersion", "arn:aws:s3:::acme-state/shop/terraform.tfstate.tflock", now()}, explicit},
		"writing the state":           {call{"s3:PutObject", "arn:aws:s3:::acme-state/shop/terraform.tfstate", now()}, allowed},
		"writing the lock":            {call{"dynamodb:PutItem", table, now()}, allowed},
		"writing elsewhere in bucket": {call{"s3:PutObject", "arn:aws:s3:::acme-state/bank/terraform.tfstate", now()}, explicit},
	} {
		policy := byTable
		if strings.HasPrefix(c.call.action, "s3:") {
			policy = byFile
		}
		if got := inSession(everything, policy, nothing, c.call); got != c.want {
			t.Errorf("%s: %s is %s; want %s", what, c.call.action, got, c.want)
		}
	}
	// With a lock beside a place where deleting was approved, both hold.
	both := policyOf(t, issuer, later, "s3/acme-state/shop/*:write", "s3/acme-staging/tmp/*:delete")
	for resource, want := range map[string]verdict{
		"arn:aws:s3:::acme-state/shop/terraform.tfstate.tflock": allowed, "arn:aws:s3:::acme-staging/tmp/x": allowed,
		"arn:aws:s3:::acme-state/shop/terraform.tfstate": explicit, "arn:aws:s3:::acme-staging/app/x": explicit,
	} {
		if got := inSession(everything, both, nothing, call{"s3:DeleteObject", resource, now()}); got != want {
			t.Errorf("beside an approved deletion, s3:DeleteObject on %s is %s; want %s", resource, got, want)
		}
	}
}

// No list of ours has an action that is worth more than its class, is unknown, or stands for several.
func TestNoActionOfAListIsWorthMoreThanItsClass(t *testing.T) {
	for _, class := range []broker.Actions{broker.Read, broker.Write, broker.Delete} {
		for _, action := range aws.Given(class) {
			if v := actions.Classify(action); v.Class != class || v.Action != action {
				t.Errorf("%s is given for %s; it is %s: %s", action, class, v.ClassName(), v.Why)
			}
		}
	}
	for _, action := range aws.Looks() {
		if v := actions.Classify(action); v.Class != broker.Read {
			t.Errorf("the issuer itself does %s, which is %s", action, v.ClassName())
		}
	}
	if len(aws.Given(broker.Admin)) > 0 {
		t.Error("a list gives admin")
	}
}

// Where NotAction is not known, the actions of S3 that are denied by name are all that destroy or give power there.
func TestWhatIsDeniedByNameIsAllThatDestroysObjects(t *testing.T) {
	patterns := strings.Fields(aws.Dangerous)
	for action := range actions.All() {
		name, isS3 := strings.CutPrefix(action, "s3:")
		onObjects := strings.Contains(name, "Object") || strings.Contains(name, "Bucket") && !strings.Contains(name, "Metadata") && !strings.Contains(name, "Abac")
		if !isS3 || !onObjects {
			continue
		}
		v := actions.Classify(action)
		if v.Class&(broker.Read|broker.Write) != 0 || strings.Contains(name, "AccessPoint") || strings.Contains(name, "Get") {
			continue
		}
		denied := false
		for _, p := range patterns {
			denied = denied || glob(p, action, true)
		}
		if !denied && name != "PutObjectAcl" && name != "PutObjectVersionAcl" && name != "ObjectOwnerOverrideToBucketOwner" && name != "UpdateObjectEncryption" { // MinIO refuses a policy that names these
			t.Errorf("%s is %s, and is not denied by name", action, v.ClassName())
		}
	}
}

// Too much for one policy is told before STS is asked.
func TestAPolicyThatIsTooLongIsRefusedBeforehand(t *testing.T) {
	c := newCloud()
	var many []string
	for n := range 12 {
		many = append(many, "s3/acme-staging/a-rather-long-prefix-number-"+strings.Repeat("x", 60)+string(rune('a'+n))+"/*:read,write")
	}
	issuer := c.issuer(t)
	_, err := issuer.Describe(t.Context(), wish(t, many...))
	if broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "2048") || next(err) == "" {
		t.Errorf("Describe: %v; want it refused with the number of characters and a next step", err)
	}
	for _, call := range c.taken() {
		if strings.Contains(call, "AssumeRole") && len(c.last.Get("Policy")) > 2048 {
			t.Errorf("STS was asked: %s", call)
		}
	}
}
