package aws_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
)

// blocks gives the code blocks of the page of one language, in their order.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "issuers", "aws.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(page, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

// settings reads the target of an environment's file as the page shows it.
func settings(t *testing.T, text string) aws.Settings {
	t.Helper()
	var file struct {
		Targets map[string]struct{ AWS aws.Settings }
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file.Targets["files"].AWS
}

// What the page says to paste at AWS is what the issuer of its environment file wants.
func TestThePageHasThePoliciesThatAreWanted(t *testing.T) {
	c := newCloud()
	config := c.config(func(s *aws.Settings) { *s = settings(t, blocks(t, "yaml")[0]) })
	issuer := open(t, config)
	policies := blocks(t, "json")
	for at, want := range []string{issuer.UserPolicy(), aws.TrustPolicy("arn:aws:iam::" + account + ":user/hourkey"), issuer.RolePolicy()} {
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(policies[at])); diff != "" {
			t.Errorf("policy %d of the page (-wanted +there):\n%s", at+1, diff)
		}
		if !json.Valid([]byte(policies[at])) {
			t.Errorf("policy %d of the page is no JSON", at+1)
		}
	}
	c.role, c.buckets, c.tables = "hourkey-staging", map[string]string{"acme-staging": "Enabled", "acme-staging-state": "Enabled"}, map[string]string{"staging-orders": "DISABLED"}
	d := describe(t, issuer, wish(t, "s3/acme-staging-state/shop/*:read,write"))
	if len(d.Exceptions) != 1 {
		t.Errorf("the worked example of a state has the exceptions %v; want its lock", d.Exceptions)
	}
	describe(t, issuer, wish(t, "s3/acme-staging/*:read,write", "sqs/staging-orders:read,write", "dynamodb/staging-orders:read,write")) // "three services fit"
	one, err := issuer.SessionPolicy(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read,write")), later)
	if err != nil || len(one) < 700 || len(one) > 900 { // "about 800"
		t.Errorf("the policy for one prefix has %d characters: %v", len(one), err)
	}
}

// The worked example of a state hangs together: the lock is that of the backend's key, the task gives what the backend does,
// and the run ends as it says.
func TestThePagesStateIsOneExample(t *testing.T) {
	c := newCloud()
	file := settings(t, blocks(t, "yaml")[0])
	backend := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^ +(\w+) += "([^"]+)"$`).FindAllStringSubmatch(blocks(t, "hcl")[0], -1) {
		backend[match[1]] = match[2]
	}
	if lock := "s3/" + backend["bucket"] + "/" + backend["key"] + ".tflock"; len(file.Locks) != 1 || file.Locks[0].Object != lock || file.Region != backend["region"] {
		t.Errorf("the file has the locks %+v in %s; the backend's is %s in %s", file.Locks, file.Region, lock, backend["region"])
	}
	var tasks map[string]struct{ Gives []string }
	if err := yaml.Unmarshal([]byte(blocks(t, "yaml")[1]), &tasks); err != nil {
		t.Fatal(err)
	}
	c.role, c.buckets = "hourkey-staging", map[string]string{backend["bucket"]: "Enabled"}
	issuer := open(t, c.config(func(s *aws.Settings) { *s = file }))
	policy := policyOf(t, issuer, later, strings.TrimPrefix(tasks["plan-shop"].Gives[0], "files:"))
	state := "arn:aws:s3:::" + backend["bucket"] + "/" + backend["key"]
	for _, test := range []struct {
		call call
		want verdict
	}{
		{call{"s3:GetObject", state, now()}, allowed}, {call{"s3:PutObject", state, now()}, allowed}, {call{"s3:PutObject", state + ".tflock", now()}, allowed},
		{call{"s3:DeleteObject", state + ".tflock", now()}, allowed}, {call{"s3:DeleteObject", state, now()}, explicit},
		{call{"s3:ListBucket", "arn:aws:s3:::" + backend["bucket"], now("s3:prefix", "shop/")}, allowed},
	} {
		if got := inSession(everything, policy, nothing, test.call); got != test.want {
			t.Errorf("%s on %s is %s; want %s", test.call.action, test.call.resource, got, test.want)
		}
	}
	run := blocks(t, "console")[0]
	for _, part := range []string{"--task plan-shop --environment staging", "aws s3 ls s3://" + backend["bucket"] + "/shop/", "aws s3 rm s3://" + backend["bucket"] + "/" + backend["key"]} {
		if !strings.Contains(run, part) {
			t.Errorf("the worked run has no %q:\n%s", part, run)
		}
	}
}

// The lines for a server that is not AWS, run at one: afterwards a lease of that user works in its bucket, and neither the
// lease nor the user reaches another environment's.
func TestThePagesLinesMakeAUserForOneEnvironmentAtMinIO(t *testing.T) {
	t.Parallel()
	server(t) // skips where there is none
	own, err := miniotest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	s := &site{Server: own, other: "production", ref: broker.TargetRef{Environment: "staging", Target: "files"}}
	s.Bucket(t, "acme-staging", false, "app/one")
	s.Bucket(t, s.other, true, "app/one")
	const secret = "secret-of-staging-0123456789"
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "policy.json"), []byte(blocks(t, "json")[3]), 0o600); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(blocks(t, "sh")[0]) {
		s.MC(t, folder, strings.ReplaceAll(strings.TrimSpace(line), `"$STAGING_MINIO_SECRET_KEY"`, secret))
	}
	config := s.config(func(to *aws.Settings) {
		*to = settings(t, blocks(t, "yaml")[2])
		to.Endpoint = s.URL
	})
	config.AccessKey, config.SecretKey = broker.NewSecret("hourkey-staging"), broker.NewSecret(secret)
	issuer := open(t, config)
	if found := check(t, issuer); len(found) != 0 {
		t.Errorf("check finds %+v", found)
	}
	c := s.as(lease(t, issuer, "s3/acme-staging/*:read,write"))
	read := func(ctx context.Context, client *s3.Client, bucket string) error {
		return ignore(client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: ptr("app/one")}))
	}
	if err := read(t.Context(), c, "acme-staging"); err != nil {
		t.Errorf("the lease: %v", err)
	}
	for what, client := range map[string]*s3.Client{"the lease": c, "the broker's user": s.S3("hourkey-staging", secret, "")} {
		if err := read(t.Context(), client, s.other); err == nil || !refused(err) {
			t.Errorf("%s in another environment's bucket: %v; want it refused", what, err)
		}
	}
	s.MC(t, folder, "mc admin user disable minio hourkey-staging")
	if err := read(t.Context(), c, "acme-staging"); err == nil {
		t.Error("the lease works on when its user is disabled")
	}
}
