package aws_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
)

func TestSettingsThatCannotBeRightAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*aws.Settings)
		field  string
	}{
		"no role":                     {func(s *aws.Settings) { s.Role = "" }, "role"},
		"a user instead of a role":    {func(s *aws.Settings) { s.Role = userARN }, "role"},
		"a role with a star":          {func(s *aws.Settings) { s.Role = "arn:aws:iam::111122223333:role/*" }, "role"},
		"two roles in one text":       {func(s *aws.Settings) { s.Role = roleARN + "\n" + roleARN }, "role"},
		"a region that is a host":     {func(s *aws.Settings) { s.Region = "eu-central-1.evil.example/" }, "region"},
		"no region":                   {func(s *aws.Settings) { s.Region = "" }, "region"},
		"no resources":                {func(s *aws.Settings) { s.Resources = nil }, "resources"},
		"all buckets":                 {func(s *aws.Settings) { s.Resources = []string{"s3/*"} }, "resources"},
		"a prefix of buckets":         {func(s *aws.Settings) { s.Resources = []string{"s3/acme-*"} }, "resources"},
		"everything":                  {func(s *aws.Settings) { s.Resources = []string{"*"} }, "resources"},
		"an ARN":                      {func(s *aws.Settings) { s.Resources = []string{"arn:aws:s3:::acme"} }, "resources"},
		"an unknown service":          {func(s *aws.Settings) { s.Resources = []string{"ec2/i-1"} }, "resources"},
		"a policy variable":           {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/${aws:userid}/*"} }, "resources"},
		"a question mark, one of any": {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/a?b"} }, "resources"},
		"a star inside":               {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/*/x"} }, "resources"},
		"a way up":                    {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/a/../b"} }, "resources"},
		"an entry twice":              {func(s *aws.Settings) { s.Resources = append(s.Resources, s.Resources[0]) }, "resources"},
		"more than a policy can name": {func(s *aws.Settings) { s.Resources = manyBuckets() }, "resources"},
		"plain http":                  {func(s *aws.Settings) { s.Endpoint, s.Resources = "http://minio.example:9000", s.Resources[:1] }, "endpoint"},
		"a password in the endpoint":  {func(s *aws.Settings) { s.Endpoint, s.Resources = "https://a:b@minio.example", s.Resources[:1] }, "endpoint"},
		"a queue at an endpoint":      {func(s *aws.Settings) { s.Endpoint = "https://minio.example" }, "resources"},
		"a lock without a reason":     {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/x.tflock"}} }, "locks"},
		"a lock that is the state": {func(s *aws.Settings) {
			s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/terraform.tfstate", Why: "x"}}
		}, "locks"},
		"a lock that is a prefix":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/*", Why: "x"}} }, "locks"},
		"a lock of another place":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-production/x.tflock", Why: "x"}} }, "locks"},
		"a lock table without an item": {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "dynamodb/tf-locks", Why: "x"}} }, "locks"},
		"a lock item with a star":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "dynamodb/tf-locks/*", Why: "x"}} }, "locks"},
		"a lock in a queue":            {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "sqs/orders", Why: "x"}} }, "locks"},
	} {
		_, err := aws.New(newCloud().config(test.change))
		e, ok := err.(*broker.Error) //nolint:errorlint // it is not wrapped
		if !ok || e.Code != broker.CodeInvalid || e.Field != test.field {
			t.Errorf("%s: %v; want it refused for %s", name, err, test.field)
		}
	}
	for what, change := range map[string]func(*aws.Config){
		"key":    func(c *aws.Config) { c.AccessKey = broker.Secret{} },
		"secret": func(c *aws.Config) { c.SecretKey = broker.Secret{} },
		"clock":  func(c *aws.Config) { c.Now = nil },
		"target": func(c *aws.Config) { c.Ref.Target = "" },
	} {
		config := newCloud().config()
		change(&config)
		if _, err := aws.New(config); err == nil {
			t.Errorf("no %s: opened", what)
		}
	}
}

func manyBuckets() []string {
	var list []string
	for n := range 60 {
		list = append(list, "s3/acme-staging-with-a-long-name-"+strings.Repeat("x", n)[:n/4]+string(rune('a'+n%26))+"/*")
	}
	return list
}

// What an agent may write into a scope and what a session policy would make of it.
func TestScopesThatAPolicyWouldReadOtherwiseAreRefused(t *testing.T) {
	issuer := newCloud().issuer(t)
	for name, resource := range map[string]string{
		"another environment's bucket":      "s3/acme-production/app/*",
		"a bucket whose name begins alike":  "s3/acme-staging-2/*",
		"a prefix above what is listed":     "s3/acme-state/*",
		"beside what is listed":             "s3/acme-state/shopping/x",
		"a policy variable":                 "s3/acme-staging/${aws:username}",
		"one character of any":              "s3/acme-staging/a?c",
		"a way up":                          "s3/acme-staging/app/../secret",
		"a way up at the end":               "s3/acme-staging/app/..",
		"an empty part":                     "s3/acme-staging//x",
		"a leading slash":                   "s3/acme-staging//",
		"no key":                            "s3/acme-staging/",
		"the bucket alone":                  "s3/acme-staging",
		"a quote":                           `s3/acme-staging/"`,
		"a character beyond ASCII":          "s3/acme-staging/übersicht",
		"a blank":                           "s3/acme-staging/a b",
		"another queue":                     "sqs/orders-production",
		"a part of a table":                 "dynamodb/orders/index/x",
		"another account's ARN":             "arn:aws:s3:::acme-staging/app",
		"a function's prefix beside others": "lambda/job*",
	} {
		if d, err := issuer.Describe(t.Context(), broker.Wish{Scopes: []broker.Scope{{Target: "files", Resource: broker.Resource(resource), Actions: broker.Read}}}); err == nil {
			// A prefix above several entries stands for those that lie in it, never for more.
			if !broker.Covers([]broker.Scope{{Target: "files", Resource: "s3/acme-state/shop/*", Actions: broker.Read}, {Target: "files", Resource: "lambda/jobs-*", Actions: broker.Read}}, d.Scopes) {
				t.Errorf("%s: described as %v", name, broker.Texts(d.Scopes))
			}
		}
	}
	for scope, code := range map[string]broker.Code{
		"rds/orders:write": broker.CodeInvalid, "rds/orders:delete": broker.CodeInvalid, "lambda/orders:delete": broker.CodeInvalid,
		"lambda/jobs-*:write": broker.CodeInvalid, "s3/acme-staging/*:admin": broker.CodeInvalid, "*:write": broker.CodeInvalid,
		"s3/nowhere/*:read": broker.CodeDenied,
	} {
		if _, err := issuer.Describe(t.Context(), wish(t, scope)); broker.CodeOf(err) != code {
			t.Errorf("%s: %v; want %s", scope, err, code)
		}
	}
	if _, err := issuer.Describe(t.Context(), broker.Wish{}); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("no scope: %v", err)
	}
	other := wish(t, "s3/acme-staging/*:read")
	other.Scopes[0].Target = "elsewhere"
	if _, err := issuer.Describe(t.Context(), other); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("another target's scope: %v", err)
	}
}

// A server that takes a session policy and does not hold the session to it would hand out all that its user may.
func TestServerThatIgnoresSessionPoliciesIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		obeys bool
		want  broker.Code
	}{"ignores it": {false, broker.CodeWall}, "holds the session to it": {true, ""}} {
		t.Run(name, func(t *testing.T) {
			c := newCloud()
			c.broken = func(r *http.Request) *http.Response {
				if r.Method == http.MethodPost {
					return nil // the model's STS
				}
				if over := strings.Contains(r.Header.Get("Authorization"), "Credential=ended/"); over && test.obeys {
					return respond(r, 403, `<Error><Code>AccessDenied</Code></Error>`)
				}
				return respond(r, 200, `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
			}
			c.lie = func(a *answer) {
				if a.Packed = ""; strings.Contains(c.last.Get("Policy"), "aws:CurrentTime") {
					a.Key = "ended"
				}
			}
			config := c.config(func(s *aws.Settings) {
				s.Endpoint, s.Resources, s.Role = "https://sts.minio.example", []string{"s3/acme-staging/*"}, roleARN
			})
			issuer := open(t, config)
			_, err := issuer.Describe(t.Context(), wish(t, "s3/acme-staging/*:read"))
			if broker.CodeOf(err) != test.want {
				t.Errorf("Describe: %v; want %q", err, test.want)
			}
			found, err := issuer.Check(t.Context())
			if told := len(found) == 1 && found[0].Object == "session policy" && found[0].Refuses; err != nil || told != (test.want != "") {
				t.Errorf("Check: %+v, %v", found, err)
			}
		})
	}
}
