package aws_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

func check(t *testing.T, issuer *aws.Issuer) map[string]broker.Finding {
	t.Helper()
	by := map[string]broker.Finding{}
	for _, f := range issuertest.Findings(t, issuer) {
		if f.Problem == "" || f.Mend == "" {
			t.Errorf("%+v lacks what is wrong, or what mends it", f)
		}
		by[f.Object] = f
	}
	return by
}

// Where all is as documented only the bucket and the table are told of, whose writes count as deleting.
func TestCheckIsSilentAboutTheDocumentedSetup(t *testing.T) {
	found := check(t, newCloud().issuer(t))
	if len(found) != 2 || !strings.Contains(found["s3/acme-loose"].Mend, "put-bucket-versioning --bucket acme-loose") || found["dynamodb/sessions"].Refuses {
		t.Errorf("found %+v", found)
	}
}

// Each permission that the broker's user, or the role, lacks is named, with the policy that gives it.
func TestCheckNamesEachPermissionThatIsMissing(t *testing.T) {
	for denied, want := range map[string]struct {
		objects []string
		refuses bool
		mend    string
	}{
		"sts:AssumeRole":                        {[]string{"sts:AssumeRole"}, true, `"Principal": {"AWS": "` + userARN + `"}`},
		"sts:TagSession":                        {[]string{"sts:TagSession"}, true, `"sts:TagSession"`},
		"sts:SetSourceIdentity":                 {[]string{"sts:SetSourceIdentity"}, true, `"sts:SetSourceIdentity"`},
		"key":                                   {[]string{"broker key"}, true, "access_key"},
		"s3:GetBucketVersioning acme-staging":   {[]string{"role s3:GetBucketVersioning s3/acme-staging"}, false, `"Action":"s3:GetBucketVersioning"`},
		"dynamodb:DescribeTimeToLive":           {[]string{"role dynamodb:DescribeTimeToLive dynamodb/orders", "role dynamodb:DescribeTimeToLive dynamodb/tf-locks"}, false, `"Action":"dynamodb:DescribeTimeToLive"`},
		"sts:TagSession, sts:SetSourceIdentity": {[]string{"sts:TagSession", "sts:SetSourceIdentity"}, true, roleARN},
	} {
		t.Run(denied, func(t *testing.T) {
			c := newCloud()
			for permission := range strings.SplitSeq(denied, ", ") {
				c.denies[permission] = true
			}
			found := check(t, c.issuer(t))
			for _, object := range want.objects {
				f, told := found[object]
				if !told || f.Refuses != want.refuses || !strings.Contains(f.Mend, want.mend) {
					t.Errorf("%s: found %+v of %+v", object, f, found)
				}
			}
			if strings.Contains(denied, "sts:") && len(found) > 4 {
				t.Errorf("found more than the missing ones: %+v", found)
			}
		})
	}
}

// Each permission that the broker's own user has beyond its role is named.
func TestCheckNamesEachPermissionThatTheBrokersUserHasTooMuch(t *testing.T) {
	for _, permission := range []string{
		"s3:ListAllMyBuckets", "iam:ListUsers", "ec2:DescribeInstances", "rds:DescribeDBInstances", "sqs:ListQueues", "dynamodb:ListTables",
		"logs:DescribeLogGroups", "ecr:DescribeRepositories", "secretsmanager:ListSecrets", "lambda:ListFunctions",
	} {
		c := newCloud()
		c.may[permission] = true
		f, told := check(t, c.issuer(t))["broker "+permission]
		if !told || f.Refuses || !strings.Contains(f.Mend, roleARN) {
			t.Errorf("%s: %+v", permission, f)
		}
		if n := slices.Index(c.taken(), permission); n < 0 {
			t.Errorf("%s was not tried", permission)
		}
	}
}

// What check prints to mend is enough: a session within it may do what leases do.
func TestPrintedRolePolicyIsEnoughForEveryLease(t *testing.T) {
	issuer := newCloud().issuer(t)
	role := read(t, issuer.RolePolicy())
	for _, scope := range everyScope {
		policy := policyOf(t, issuer, later, scope)
		for _, resource := range mine {
			for _, class := range []broker.Actions{broker.Read, broker.Write, broker.Delete} {
				for _, action := range aws.Given(class) {
					c := call{action, resource, now("s3:prefix", "app/")}
					if wide, narrow := inSession(everything, policy, nothing, c), inSession(role, policy, nothing, c); wide != narrow {
						t.Errorf("%s: %s on %s is %s with a wide role, and %s with the printed one", scope, action, resource, wide, narrow)
					}
				}
			}
		}
	}
	user := read(t, issuer.UserPolicy())
	for action, want := range map[string]verdict{"sts:AssumeRole": allowed, "sts:TagSession": allowed, "sts:SetSourceIdentity": allowed, "s3:GetObject": implicit, "iam:PassRole": implicit} {
		if got := evaluate(user, call{action, roleARN, nil}); got != want {
			t.Errorf("the printed user policy: %s on the role is %s; want %s", action, got, want)
		}
	}
	if got := evaluate(user, call{"sts:AssumeRole", "arn:aws:iam::111122223333:role/admin", nil}); got != implicit {
		t.Errorf("the printed user policy: another role is %s", got)
	}
}

func TestCheckAtMinIO(t *testing.T) {
	s := newSite(t)
	found := check(t, s.issuer(t))
	if len(found) != 2 || found["s3/"+s.loose].Refuses || found["s3/"+s.loose].Mend == "" {
		t.Errorf("found %+v; want the one bucket that is not versioned, and the root user's others", found)
	}
	if wide := found["broker buckets"]; wide.Refuses || wide.Mend == "" || !strings.Contains(wide.Problem, " buckets that the file does not list") {
		t.Errorf("the broker's user is root: %+v", wide)
	}
	s.Version(t, s.bucket, types.BucketVersioningStatusSuspended)
	if found := check(t, s.issuer(t)); len(found) != 3 {
		t.Errorf("found %+v; want both buckets as well", found)
	}
	config := s.config()
	config.SecretKey = broker.NewSecret("wrong")
	if found := check(t, open(t, config)); !found["broker key"].Refuses {
		t.Errorf("a wrong key: found %+v", found)
	}
	config = s.config()
	config.AccessKey = broker.NewSecret("nobody-of-that-name")
	if found := check(t, open(t, config)); !found["broker key"].Refuses {
		t.Errorf("an unknown key: found %+v", found)
	}
}
